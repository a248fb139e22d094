"""What lives as long as the process: all caches of `nodes/`, and the request that is handled. Nothing else changes."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from .server import find_server, is_running

if TYPE_CHECKING:
    from asyncio import Future

    from ...lorchestra.analysis.strengths import Strengths
    from ...lorchestra.fit.badge import Badge
    from ...lorchestra.library.catalog import Library
    from ...lorchestra.library.database import Database
    from ...lorchestra.library.facts import Facts, File
    from ...lorchestra.library.thumbnails import Thumbnails
    from ...lorchestra.lora.cache import LoraCache
    from ...lorchestra.models.base import Base
    from ...lorchestra.service.service import FindRoute, Service
    from ..routes.jobs import Jobs
    from .live.calls import Chain, KnownForwards, Trace
    from .model_layers import ModelLayers
    from .protocols import BaseModel, Layer, Patcher

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The values that were asked for last, at most so many; from any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Value | None:
        """The value of a key, if it is there."""
        with self._lock:
            return self._values.get(key)

    def find_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key. Threads do not wait for each other: two may make the same one at once."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        made = make()
        with self._lock:
            self._values[key] = made
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return made


request: ContextVar[Mapping[str, object] | None] = ContextVar("lorchestra_request", default=None)
"""The body of the request to queue a prompt that this task handles."""

bases: Recent[Base | None] = Recent(4)
"""Bases in files, by path and key: the model, a refiner, a pair of Wan's."""

badges: Recent[Badge] = Recent(20_000)
"""By the keys of a LoRA file and of a model."""

strengths: Recent[Strengths] = Recent(5_000)
"""How strong LoRA files are, by their keys."""

model_layers: WeakKeyDictionary[BaseModel, ModelLayers] = WeakKeyDictionary()
"""Of the models that are loaded."""

live_factors: WeakValueDictionary[object, Patcher] = WeakValueDictionary()
"""What the factors of a live stack were made of → their patcher, as long as ComfyUI keeps a model that uses it."""

live_traces: WeakKeyDictionary[BaseModel, dict[str, Trace]] = WeakKeyDictionary()
"""What runs told of layers with live LoRAs, by path."""

services: Recent[Future[tuple[Service, FindRoute]]] = Recent(1)
"""The service of published workflows and what it can do, once it was asked for something."""

live_forwards: KnownForwards = WeakKeyDictionary()
"""What the forwards of classes of layers take."""

live_chains: WeakKeyDictionary[Layer, Chain] = WeakKeyDictionary()
"""The hooks on layers, while live stacks run."""


@cache
def quick_jobs() -> Jobs:
    """Threads that answer what takes a moment."""
    from ..routes.jobs import Jobs

    return Jobs("quick", 2, 200)


@cache
def long_jobs() -> Jobs:
    """The thread that answers what takes minutes: hashes of whole files."""
    from ..routes.jobs import Jobs

    return Jobs("long", 1, 50)


@cache
def strength_jobs() -> Jobs:
    """The thread that reads whole LoRA files to tell how strong they are."""
    from ..routes.jobs import Jobs

    return Jobs("strengths", 1, 50)


@cache
def picture_jobs() -> Jobs:
    """Threads that read and shrink pictures: a grid asks for many at once, and nothing else is to wait for them."""
    from ..routes.jobs import Jobs

    return Jobs("pictures", 2, 500)


@cache
def thumbnails() -> Thumbnails:
    """The thumbnails of previews; files that only this ComfyUI reads, not its users."""
    import folder_paths

    from ...lorchestra.library.thumbnails import Thumbnails

    return Thumbnails(Path(folder_paths.get_user_directory(), "__lorchestra", "thumbnails"))


@cache
def lora_cache() -> LoraCache:
    """The opened LoRA files, shared by all nodes."""
    from ...lorchestra.lora.cache import LoraCache

    return LoraCache()


@cache
def catalog() -> Database:
    """What is kept of files from one start to the next; a file that only this ComfyUI reads, not its users."""
    import folder_paths

    from ...lorchestra.library.database import Database

    return Database(Path(folder_paths.get_user_directory(), "__lorchestra", "catalog.sqlite"))


@cache
def warn_once(sentence: str) -> None:
    """A line in the log, and none when the same is to be said again."""
    logging.warning("[Lorchestra] %s", sentence)


_START_SECONDS = 5.0
"""After which files are read: until then ComfyUI loads other packs."""


@cache
def read_files_soon() -> None:
    """Has all LoRA files read in the background, once, if this ComfyUI serves."""
    if find_server() is not None:
        timer = threading.Timer(_START_SECONDS, lambda: lora_library().read_in_background())
        timer.daemon = True
        timer.start()


@cache
def lora_library() -> Library:
    """The library of LoRA files in ComfyUI's folders; nothing is read until it is asked for something."""
    return _library("loras")


@cache
def model_libraries() -> tuple[Library, ...]:
    """Checkpoints and diffusion models, each kind by itself; a file is read when something is asked of it."""
    from ...lorchestra.library.model_facts import MODEL_FOLDERS, read_model_facts

    return tuple(_library(folder, read_model_facts) for folder in MODEL_FOLDERS)


def checkpoint_library() -> Library:
    """The one of checkpoints among them."""
    return next(library for library in model_libraries() if library.folder == "checkpoints")


def _library(folder: str, read: Callable[[File], Facts] | None = None) -> Library:
    """One for each kind of folder: two would keep different things of the same file."""
    import folder_paths

    from ...lorchestra.library.catalog import Library

    return Library(
        lambda: folder_paths.get_filename_list(folder),
        lambda: folder_paths.get_folder_paths(folder),
        is_running,
        catalog(),
        folder,
        read,
    )
