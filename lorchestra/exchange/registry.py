"""All dialects."""

from __future__ import annotations

from ..errors import DialectError, quoted
from .a1111 import DIALECT as A1111
from .civitai import DIALECT as CIVITAI
from .civitai_orchestration import DIALECT as CIVITAI_ORCHESTRATION
from .comfyui import DIALECT as COMFYUI
from .dialect import Dialect
from .diffusers_script import DIALECT as DIFFUSERS
from .draw_things import DIALECT as DRAW_THINGS
from .fal import FAL, FAL_INPUT, FAL_WAN
from .infotext import DIALECT as INFOTEXT
from .invokeai import DIALECT as INVOKEAI
from .invokeai import GRAPH as INVOKEAI_GRAPH
from .lightx2v import DIALECT as LIGHTX2V
from .lora_manager import DIALECT as LORA_MANAGER
from .lora_manager_recipe import DIALECT as LORA_MANAGER_RECIPE
from .replicate import DIALECT as REPLICATE
from .replicate import MULTI as REPLICATE_MULTI
from .rgthree import DIALECT as RGTHREE
from .runware import DIALECT as RUNWARE
from .sglang import DIALECT as SGLANG
from .swarmui import DIALECT as SWARMUI
from .swarmui import PROMPT as SWARMUI_PROMPT
from .together import DIALECT as TOGETHER
from .vllm_omni import DIALECT as VLLM_OMNI

DIALECTS: tuple[Dialect, ...] = (
    RUNWARE, A1111, RGTHREE, LORA_MANAGER, LORA_MANAGER_RECIPE, COMFYUI, CIVITAI, CIVITAI_ORCHESTRATION, INFOTEXT,
    SWARMUI, SWARMUI_PROMPT, FAL, FAL_INPUT, FAL_WAN, REPLICATE, REPLICATE_MULTI, TOGETHER, DIFFUSERS, INVOKEAI,
    INVOKEAI_GRAPH, DRAW_THINGS, SGLANG, VLLM_OMNI, LIGHTX2V,
)  # fmt: skip
"""Every dialect. To add one:

1. Write `exchange/<id>.py` with the pure functions `read(value) -> Reading` and `write(stack) -> Writing` and a
   `DIALECT` at its end. Neither touches the disk or the network. What the dialect cannot say becomes a `Loss`; what
   would be wrong if it were written anyway (a weight out of range, a row without a name) is a `DialectError` with the
   row's number. Nothing is dropped or clamped without one of the two.
2. Add its line above, its id to `FORMS` in `nodes/export.py`, and if its text can be told from the others', to
   `parse.RECOGNISED`.
3. Give it its limits and what it keeps, and add the requests that the program documents to
   `tests/lorchestra/exchange/test_services.py`. `test_dialects.py` holds that `read(write(stack).value)` gives the
   stack back, less the losses.

The command line takes its choices from here. An option of `read` or `write` is a keyword argument with a default,
named in `read_options` or `write_options`, and a flag of the same name in `cli/export.py`.
"""


def find_dialect(id: str) -> Dialect | None:  # noqa: A002 - it is the dialect's id
    """The dialect of that id, or None."""
    return next((dialect for dialect in DIALECTS if dialect.id == id), None)


def find_dialect_or_raise(id: str) -> Dialect:  # noqa: A002
    """The dialect of that id; raises `DialectError`, which lists the known ones."""
    dialect = find_dialect(id)
    if dialect is None:
        known = ", ".join(dialect.id for dialect in DIALECTS)
        raise DialectError(f"there is no dialect {quoted(id)}; choose one of {known}")
    return dialect
