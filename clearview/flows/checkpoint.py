"""Checkpoints: one line of JSON, then the arrays as plain .npy records. Nothing in them can be executed."""

import hashlib
import io
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx

import clearview
from clearview.checks import path_of, shown, strict_json

_MAGIC, FORMAT = "clearview", 3
_LONGEST = 1 << 28  # bytes of the first line, so that a foreign file without lines is not read whole

T = TypeVar("T")


class CheckpointError(ValueError):
    """A checkpoint that is foreign, damaged, or of another version or shape."""


class OtherVersion(CheckpointError):
    """A checkpoint of another version or kind: it is whole, and nobody else's work is to take its place.

    Attributes:
        kind: what it holds.
    """

    def __init__(self, sentence: str, kind: Any = None):
        super().__init__(sentence)
        self.kind = kind


def write_whole(path: Path, data: bytes, *, keep: bool = False) -> None:
    """Write a file whole or not at all, even if the program is killed, the disk is full or the power is cut.

    With ``keep`` the file that was there becomes `before`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            _keep(path, partial.with_suffix(".before.partial"))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def _keep(path: Path, link: Path) -> None:
    """Make the file at ``path``, which stays there, the one `before`."""
    try:
        os.link(path, link)
        link.replace(before(path))
    except OSError:  # a file system without links: for a moment there is none at the path
        path.replace(before(path))
    finally:
        link.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlast a power cut, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def before(path) -> Path:
    """Where `save` keeps the checkpoint before the one at ``path``."""
    path = Path(path)
    return path.with_name(f"{path.name}.before")


def set_aside(path: Path) -> None:
    """Rename what cannot be used, so that nothing takes it for good and nothing overwrites what is."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    with suppress(OSError):  # where nothing can be renamed
        path.rename(next(name for name in names if not name.exists()))


@contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Whether this is the only one at work; the system lets go of the lock when the process ends, however it does."""
    import fcntl

    path.parent.mkdir(exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def write_plan(path: Path, what: str, version: int, plan: dict[str, Any]) -> None:
    """Write down what is to be done ("job", ...), for `read_plan`."""
    whole = {"format": f"clearview {what}", "version": version, "sha256": _plan_digest(plan), what: plan}
    write_whole(path, json.dumps(whole, indent=1).encode())


def read_plan(path: Path, what: str, version: int, *, made_by: str = "Job.create") -> dict[str, Any]:
    """What `write_plan` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is foreign, damaged or of another version; the sentence tells to call ``made_by``.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a {what} in {path.parent}, got no {path.name} there; make one with {made_by}."
        )
    try:
        whole = json.loads(path.read_bytes())
        if whole["format"] != f"clearview {what}":
            raise KeyError
        found, digest, plan = whole["version"], whole["sha256"], dict(whole[what])
    except (ValueError, KeyError, TypeError, RecursionError):
        found, digest, plan = version, "", {}
    if found != version:
        raise ValueError(f"Expected a {what} of version {version}, {path} has version {found!r}; use that ClearView.")
    if digest != _plan_digest(plan):
        raise ValueError(
            f"Expected a {what} as {made_by} wrote it, {path} is damaged or was changed; delete that file and call "
            f"{made_by} with the same arguments: what is finished is kept."
        )
    return plan


def _plan_digest(plan) -> str:
    return hashlib.sha256(json.dumps(plan).encode()).hexdigest()


def _digest(header, payload: bytes) -> str:
    return hashlib.sha256(json.dumps(header).encode() + b"\n" + payload).hexdigest()


def save(path, kind: str, header: dict[str, Any], arrays, *, overwrite: bool = False, keep: bool = False) -> Path:
    """Write ``arrays`` (a pytree) behind a JSON ``header``, whole or not at all.

    Args:
        path: of the file.
        kind: what it is ("map", ...); `load` asks for the same.
        header: JSON-able; `load` hands it to whoever rebuilds the pytree.
        arrays: pytree whose array leaves are written.
        overwrite: allow the path to exist.
        keep: keep the file that was there as `before`; see `last_good`.

    Raises:
        FileExistsError: if the path exists and ``overwrite`` is False.
    """
    path = path_of(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"Expected a new file, {path} exists; choose another name or pass overwrite=True.")
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, arrays)
    payload = buffer.getvalue()
    first = dict(
        format=_MAGIC, version=FORMAT, kind=kind, clearview_version=clearview.__version__, header=header,
        size=len(payload), sha256=_digest(header, payload),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(first, allow_nan=False).encode() + b"\n" + payload, keep=keep)
    return path


def last_good(path, read: Callable[[Path], T], lost: list[str]) -> T | None:
    """``read(path)``, or if that is damaged or missing, of the one before it; None if there is neither.

    A damaged file is renamed (``.damaged``), so that the next `save` does not keep it in place of the good one.

    Args:
        path: of a checkpoint saved with ``keep``.
        read: raises as `load` does.
        lost: gets a sentence for each damaged file.

    Raises:
        OtherVersion: for a checkpoint of another version or kind, which stays as it is.
    """
    for file in (Path(path), before(path)):
        try:
            return read(file)
        except FileNotFoundError:  # cut off between two renames, nothing is lost
            continue
        except OtherVersion:
            raise
        except CheckpointError as problem:
            lost.append(str(problem))
            set_aside(file)
    return None


def load(path, kind: str, build: Callable[[dict[str, Any]], Any]) -> tuple[dict[str, Any], Any]:
    """Read a checkpoint: its header, and the pytree shaped like ``build(header)``.

    Args:
        path: of the file.
        kind: expected.
        build: makes a pytree of the same structure from the header; its values do not matter.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is foreign, damaged, or of other shapes.
        OtherVersion: if it is of another kind or version; a CheckpointError, too.
    """
    path = path_of(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a ClearView checkpoint at {path}, got no such file; check the path.")
    with open(path, "rb") as file:
        try:
            first = strict_json(file.readline(_LONGEST))
            if first["format"] != _MAGIC:
                raise KeyError
            version, found, header = first["version"], first["kind"], first["header"]
            size, digest = first["size"], first["sha256"]
        except (ValueError, KeyError, TypeError):
            raise CheckpointError(
                f"Expected a ClearView checkpoint, got some other file in {path}; check the path."
            ) from None
        if version not in (2, FORMAT):
            raise OtherVersion(
                f"Expected checkpoint version {FORMAT}, got version {shown(version)} in {path} (written by ClearView "
                f"{shown(first.get('clearview_version'))}); train again or use that ClearView.", found,
            )  # fmt: skip
        if found != kind:
            raise OtherVersion(
                f"Expected a checkpoint of a {kind}, got {path}, which holds a {found}; choose another file.", found
            )
        payload = file.read()
    # Version 2 had no digest of the header.
    if len(payload) != size or digest != (
        hashlib.sha256(payload).hexdigest() if version == 2 else _digest(header, payload)
    ):
        raise CheckpointError(
            f"Expected an intact header and {shown(size)} bytes of arrays, got {path}, which is truncated or damaged "
            f"({len(payload)} bytes); use another copy."
        )
    with described(path):
        like = eqx.filter_eval_shape(build, header)
        return header, eqx.tree_deserialise_leaves(io.BytesIO(payload), like)


@contextmanager
def described(path) -> Iterator[None]:
    """What goes wrong within is the fault of the header of ``path``, which describes no such thing.

    Raises:
        CheckpointError: for every exception.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"Expected arrays of the shapes that the header of {path} describes, got others; use another copy, as it "
            f"was written by another program or changed ({type(error).__name__})."
        ) from error
