"""The infotext of the run in which a stack is exported, from the prompt that is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...lorchestra.errors import StackError
from . import process, prompt

if TYPE_CHECKING:
    from ...lorchestra.exchange.dialect import Writing
    from ...lorchestra.exchange.infotext import UsedLora
    from ...lorchestra.stack import Stack


def write_infotext(stack: Stack, queued: Mapping[str, object] | None, writing: Writing) -> Writing:
    """The infotext of the run, for the node that saves its picture.

    `writing` is that of the stack alone; it stays, with a loss that says why, if the prompt does not tell the run.
    """
    from ...lorchestra.exchange import infotext
    from ...lorchestra.exchange.dialect import Loss, Writing
    from ...lorchestra.exchange.names import stem

    try:
        run = prompt.read_sampling(queued or {})
    except StackError as error:
        loss = Loss(None, "run", f"only the LoRAs are written: {error.reason}")
        return Writing(writing.text, writing.value, (*writing.losses, loss))
    text = infotext.write_infotext(
        infotext.Run(
            prompt=run.positive,
            negative=run.negative,
            steps=run.steps,
            sampler=infotext.sampler_name(run.sampler),
            schedule=infotext.schedule_name(run.scheduler),
            cfg=run.cfg,
            seed=run.seed,
            width=run.width,
            height=run.height,
            denoise=run.denoise,
            model=stem(run.model).removesuffix(".gguf") if run.model else None,
            model_hash=_model_hash(run.model) if run.model else None,
            loras=_used(stack),
        )
    )
    return Writing(text, text, writing.losses)


def _model_hash(name: str) -> str | None:
    """The SHA-256 of the only model that is listed so, if it is known; nothing is hashed for it."""
    found = [(library, file) for library in process.model_libraries() if (file := library.find_file(name))]
    if len(found) != 1:
        return None
    library, file = found[0]
    library.facts(file)  # it may not have been read yet
    identity = library.find_identity(file)
    library.save()
    return identity and identity[0]


def _used(stack: Stack) -> tuple[UsedLora, ...]:
    """The active rows, each with the hash of its tensors where that is known."""
    from ...lorchestra.exchange.infotext import UsedLora
    from ...lorchestra.exchange.names import stem

    shelf = process.lora_library()
    active = [entry for entry in stack.entries if entry.active]
    tensors: dict[str, str] = {}
    for file in shelf.files({entry.lora for entry in active}):
        hashes, facts = shelf.find_hashes(file), shelf.facts(file)
        known = hashes.tensors if hashes else next(iter(sorted(facts.hashes)), None)
        if known:
            tensors[file.name] = known
    return tuple(UsedLora(stem(entry.lora), entry.model, entry.clip, tensors.get(entry.lora)) for entry in active)
