"""Files that came in, for nodes to load, and files that jobs have made, each under a UUID."""

from __future__ import annotations

import contextlib
import mimetypes
import re
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from ..errors import FileProblem, quoted
from ..files.hashes import new_blake3
from ..files.key import find_state
from ..files.new_file import new_file
from ..files.opening import is_file, is_folder, open_regular
from ..limits import Json
from .backend import Backend, Made
from .callers import OWNER, Caller
from .http import Refusal, invalid, not_found
from .job import Job, Output, asset_url, iso
from .store import Asset, Store

BYTES = "application/octet-stream"
FOLDER = "lorchestra"
"""Below ComfyUI's folder for inputs: what was uploaded."""
MAX_UPLOAD = 100 * 1024 * 1024
"""Bytes of one upload, as ComfyUI's own."""
_MAX_TEXT = 4_000_000
_URL_SECONDS = 24 * 3600.0
_UNUSED_SECONDS = 30 * 24 * 3600.0
"""After which an upload that nobody uses goes, and a text that was shown."""
_CLEAN_SECONDS = 3600.0
_SPACE = uuid.UUID("6f1e8d6a-31a1-4f0f-9d2b-6a1f6b8a7c11")
"""In which the ids of what jobs make are made: the same file has the same id at every look."""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}", re.ASCII)


class Upload:
    """A file that comes in; nothing of it is left if it is not kept. From any thread, but one at a time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.NamedTemporaryFile("wb", prefix=".upload-", suffix=".part", dir=folder, delete=False)  # noqa: SIM115
        self.path = Path(self._file.name)
        self.size = 0
        self._digest = new_blake3()

    def write(self, data: bytes) -> None:
        """Adds bytes; raises `Refusal` (413) for too many."""
        self.size += len(data)
        if self.size > MAX_UPLOAD:
            raise Refusal(413, "payload_too_large", f"the file has more than {MAX_UPLOAD:,} bytes.", "file")
        if self._digest is not None:
            self._digest.update(data)
        self._file.write(data)

    def hash(self) -> str | None:
        """`blake3:…` of what came; None if it cannot be computed."""
        return None if self._digest is None else f"blake3:{self._digest.hexdigest()}"

    def keep(self, output: Path) -> None:
        """Gives it its name."""
        self._file.close()
        with contextlib.suppress(OSError):
            self.path.chmod(0o644)
        self.path.replace(output)

    def drop(self) -> None:
        """Removes what came, if it was not kept."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class Assets:
    """All assets of a service. Its methods read and write files: not on the event loop."""

    def __init__(self, store: Store, backend: Backend, texts: Path) -> None:
        self._store = store
        self._backend = backend
        self._texts = texts
        """Where texts that nodes show are kept, and the sheets of batches."""
        self._cleaned = 0.0

    def begin_upload(self) -> Upload:
        """A file to write an upload into."""
        self._clean()
        return Upload(self._backend.input_folder() / FOLDER)

    def keep_upload(self, upload: Upload, name: str, content_type: str, caller: Caller = OWNER) -> tuple[Asset, bool]:
        """The asset of an upload, and True if its bytes are new here; a caller's equal bytes are kept once."""
        hash_ = upload.hash()
        known = self._store.find_asset_by_hash(hash_, caller.name) if hash_ else None
        if known is not None and is_file(known.path):
            self._store.use_asset(known.id)
            return known, False
        own = str(uuid.uuid4())
        suffix = Path(name).suffix.lower()
        suffix = suffix if _SUFFIX.fullmatch(suffix) else mimetypes.guess_extension(content_type) or ".bin"
        output = upload.path.with_name(f"{own}{suffix}")
        upload.keep(output)
        asset = Asset(own, str(output), name, content_type, upload.size, hash_, time.time(), None, caller.name)
        if known is not None:
            self._store.remove_asset(known.id)
        self._store.add_assets([asset])
        return asset, True

    def add_bytes(self, data: bytes, name: str, content_type: str, caller: Caller = OWNER) -> Asset:
        """The asset of bytes that came in a request."""
        upload = self.begin_upload()
        try:
            upload.write(data)
            return self.keep_upload(upload, name, content_type, caller)[0]
        finally:
            upload.drop()

    def add_made(self, owner: str, data: bytes, name: str, content_type: str, caller: str | None = None) -> Asset:
        """The asset of bytes that the service has made itself; kept as long as their owner, a batch.

        Raises `FileProblem` and `OSError` where it cannot be kept.
        """
        own = str(uuid.uuid5(_SPACE, f"{owner}\0{name}"))
        path = self._texts / f"{own}{Path(name).suffix}"
        self._texts.mkdir(parents=True, exist_ok=True)
        with new_file(path, True) as file:
            file.write(data)
        asset = Asset(own, str(path), name, content_type, len(data), None, time.time(), owner, caller)
        self._store.add_assets([asset])
        return asset

    def find_or_raise(self, asset: str, caller: Caller) -> Asset:
        """An asset; raises `Refusal` (404), also for one that is not the caller's."""
        found = self._store.find_asset(asset) if len(asset) <= 100 else None
        if found is None or not caller.owns(found.caller):
            raise not_found(f"there is no asset {quoted(asset)}.")
        return found

    def find_content(self, asset: str, caller: Caller) -> tuple[Path, str]:
        """Where the bytes of an asset are, and of which type; raises `Refusal` (404)."""
        found = self.find_or_raise(asset, caller)
        if not is_file(found.path):
            raise Refusal(404, "output_unavailable", f"the file {quoted(found.name)} is not there any more.")
        return Path(found.path), found.content_type

    def read_content(self, asset: str) -> bytes:
        """The bytes themselves; raises `Refusal` (404), also for a file that goes meanwhile."""
        path, _ = self.find_content(asset, OWNER)
        try:
            with open_regular(path) as file:
                return file.read()
        except FileProblem as error:
            raise Refusal(404, "output_unavailable", f"{quoted(path.name)} cannot be read: {error.reason}.") from error

    def find_by_hash(self, hash_: str, caller: Caller) -> Asset | None:
        """An asset that the caller has uploaded by its `blake3:…`, if its file is there."""
        found = self._store.find_asset_by_hash(hash_.lower(), caller.name) if len(hash_) <= 100 else None
        return found if found is not None and is_file(found.path) else None

    def delete(self, asset: str, caller: Caller) -> None:
        """Deletes an asset that was uploaded; raises `Refusal` (404), and 409 for what a job has made."""
        found = self.find_or_raise(asset, caller)
        if found.job is not None:
            raise Refusal(409, "invalid_request", "this is the output of a job, and is kept as long as the job.")
        self._store.remove_asset(found.id)
        Path(found.path).unlink(missing_ok=True)

    def loadable(self, asset: str, caller: Caller = OWNER) -> str | None:
        """What a node that loads files calls an asset: a name in ComfyUI's folder; None if there is none.

        An output is copied to the inputs, since nodes load from there.
        """
        found = self._store.find_asset(asset) if len(asset) <= 100 else None
        if found is None or not caller.owns(found.caller) or not is_file(found.path):
            return None
        self._store.use_asset(found.id)
        path, folder = Path(found.path), self._backend.input_folder() / FOLDER
        if path.parent != folder:
            folder.mkdir(parents=True, exist_ok=True)
            copy = folder / f"{found.id}{path.suffix.lower()}"
            if not is_file(copy):
                with open_regular(path) as source, new_file(copy, True) as target:
                    while block := source.read(1 << 20):
                        target.write(block)
            path = copy
        return f"{FOLDER}/{path.name}"

    def _clean(self) -> None:
        """Removes what nobody has used for a long time, now and then: else the disk fills."""
        now = time.time()
        if now - self._cleaned < _CLEAN_SECONDS:
            return
        self._cleaned = now
        for asset in self._store.unused_uploads(now - _UNUSED_SECONDS):
            self._store.remove_asset(asset.id)
            Path(asset.path).unlink(missing_ok=True)
        # Texts, copies of outputs that were sent in again, and uploads that never came to their end.
        for folder in (self._texts, self._backend.input_folder() / FOLDER):
            for path in folder.iterdir() if is_folder(folder) else ():
                state = find_state(path)
                is_old = state is not None and state[0] / 1e9 < now - _UNUSED_SECONDS
                known = self._store.find_asset(path.stem) if is_old else None
                is_sheet = known is not None and known.path == str(path) and path.suffix == ".png"
                if is_old and not is_sheet and (known is None or known.path != str(path) or known.job is not None):
                    path.unlink(missing_ok=True)

    def of_job(self, job: Job, files: Iterable[Made]) -> list[tuple[Asset, Output]]:
        """The assets of what a job has made; those that are new are kept."""
        found = [item for made in files if (item := self._of_job(job.id, made, job.caller)) is not None]
        self._store.add_assets([asset for asset, _ in found])
        return found

    def _of_job(self, job: str, made: Made, caller: str | None) -> tuple[Asset, Output] | None:
        parts = (job, made.node, made.type, made.folder, made.subfolder, made.name, made.text or "")
        own = str(uuid.uuid5(_SPACE, "\0".join(parts)))
        if made.text is not None:
            path = self._write_text(own, made.text)
        else:
            path = self._backend.find_file(made)
        if path is None:
            return None
        try:
            size = path.stat().st_size
        except OSError:
            return None
        kind = mimetypes.guess_type(made.name)[0] or BYTES
        asset = Asset(own, str(path), made.name, kind, size, None, time.time(), job, caller)
        return asset, Output(own, made.node, made.name, made.type, kind, size)

    def _write_text(self, own: str, text: str) -> Path | None:
        path = self._texts / f"{own}.txt"
        if not is_file(path):
            self._texts.mkdir(parents=True, exist_ok=True)
            try:
                with new_file(path, True) as file:
                    file.write(text[:_MAX_TEXT].encode("utf-8", "replace"))
            except FileProblem:
                return None
        return path

    def read(self, job: Job, most: int) -> dict[str, bytes]:
        """The bytes of all outputs of a job, by their ids; raises `Refusal` (413) if they are more than `most`."""
        if sum(output.size_bytes for output in job.outputs) > most:
            raise Refusal(
                413, "payload_too_large", f"the outputs have more than {most:,} bytes. Ask for URLs.", "outputs"
            )
        return {output.id: self.read_content(output.id) for output in job.outputs}


def to_json(asset: Asset, base: str, created_new: bool | None = None) -> dict[str, Json]:
    """The official asset, at `base`."""
    shown: dict[str, Json] = {
        "id": asset.id,
        "hash": asset.hash,
        "size_bytes": asset.size,
        "content_type": asset.content_type,
        "file_path": asset.name,
        "created_at": iso(asset.created),
        "url": asset_url(base, asset.id),
        "url_expires_at": iso(time.time() + _URL_SECONDS),
        "expires_at": None,
    }
    if created_new is not None:
        shown["created_new"] = created_new
    if asset.job is not None:
        shown["job_id"] = asset.job
    return shown


def check_file_path(text: Json, path: str = "file_path") -> str:
    """The name of an upload; raises `Refusal` for one that leads elsewhere than to the inputs."""
    if not isinstance(text, str) or not text or len(text) > 500:
        raise invalid(f"{quoted(text)} cannot be the name of a file.", path)
    parts = text.replace("\\", "/").split("/")
    if parts[0] == "input" and len(parts) > 1:
        parts = parts[1:]
    if parts[0] == "" or any(part in ("..", ".", "") or ":" in part for part in parts):
        raise invalid(f"{quoted(text)} leads out of the folder of inputs.", path)
    if parts[0] in ("models", "checkpoints", "loras", "diffusion_models", "vae", "output", "temp", "custom_nodes"):
        raise invalid(f"{quoted(text)} is not among the inputs, and nothing is uploaded elsewhere.", path)
    return "/".join(parts)
