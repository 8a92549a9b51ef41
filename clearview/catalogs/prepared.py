"""The columns of a catalogue as files of plain numbers, which are mapped into memory as they are used."""

import hashlib
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from clearview.checks import path_of

from .catalog import Catalog
from .columns import PHASE_SPACE, parse_unit
from .partitions import ROWS
from .select import CutReport

HEADER = "columns.json"
_POINTS = "phase_space.bin"
_RUNS: set[str] = set()
"""Unfinished folders of this process."""


class Out:
    """A file that is written from its beginning to its end."""

    def __init__(self, path: Path, stack: ExitStack):
        # Without a buffer, which would complain of a full disk again when it is closed.
        self.path, self.file, self.sha = path, stack.enter_context(FileIO(path, "w")), hashlib.sha256()

    def put(self, values: np.ndarray | bytes) -> None:
        """Writes all of it; what is written is on its way to the disk, or it is said that there is no room."""
        left = memoryview(values).cast("B")  # pyright: ignore[reportArgumentType]
        self.sha.update(left)
        try:
            while left:
                left = left[self.file.write(left) :]
        except OSError as problem:
            raise OSError(
                f"Expected room for the columns in {self.path.parent.parent}, got {problem.strerror!r}; free some or "
                "name another folder, and call again."
            ) from problem

    def finish(self) -> tuple[str, str]:
        """Its name and checksum, once it is on the disk."""
        os.fsync(self.file.fileno())
        return self.path.name, self.sha.hexdigest()[:16]


class _Kept:
    """The file of one column, and that of its mask once a value is missing."""

    def __init__(self, path: Path, values: Any, unit: Any, stack: ExitStack):
        self.dtype, self.unit, self.stack = values.dtype, unit, stack
        self.file, self.mask = Out(path, stack), None

    def add(self, values: Any, before: int) -> None:
        if self.mask is None and np.ma.is_masked(values):
            self.mask = Out(self.file.path.with_suffix(".mask"), self.stack)
            for first in range(0, before, ROWS):
                self.mask.put(np.zeros(min(ROWS, before - first), bool))
        if self.mask is not None:
            self.mask.put(np.ma.getmaskarray(values))
        values = np.ma.getdata(values)
        if (wider := np.result_type(self.dtype, values.dtype)) != self.dtype:
            self._widen(wider, before)
        self.file.put(values.astype(self.dtype))

    def _widen(self, dtype: Any, before: int) -> None:
        """A whole number with a unit becomes a float where one is missing, also in the batches before."""
        path = self.file.path
        old = np.memmap(path, self.dtype, "r", shape=(before,))
        self.file, self.dtype = Out(path.with_suffix(f".{dtype.str[1:]}"), self.stack), dtype
        for first in range(0, before, ROWS):
            self.file.put(old[first : first + ROWS].astype(dtype))
        path.unlink()

    def told(self, name: str) -> dict[str, Any]:
        """As it stands in the header."""
        told = {"name": name, "dtype": self.dtype.str, "unit": str(self.unit or ""), "file": self.file.finish()}
        return told | {"mask": None if self.mask is None else self.mask.finish()}


class Written:
    """The files of a prepared catalogue while they are written."""

    def __init__(self, folder: Path, keep: list[str] | None, stack: ExitStack):
        self.folder, self.keep, self.stack = folder, keep, stack
        self.rows, self.columns, self.points = 0, {}, None

    def add(self, batch: Catalog) -> None:
        if not self.rows:
            self._begin(batch)
        batch.require(self.columns)
        for name, column in self.columns.items():
            if batch.unit(name) != column.unit:
                raise ValueError(
                    f"Expected {name} in {column.unit}, got {batch.unit(name)}; tell units={{{name!r}: ...}}."
                )
            column.add(batch[name], self.rows)
        if self.points is not None:
            self.points.put(batch.phase_space)
        self.rows += len(batch)

    def _begin(self, batch: Catalog) -> None:
        numbers = [name for name in batch.columns if batch[name].dtype.kind in "fiub"]
        batch.require(self.keep or ())
        for name in self.keep or ():
            if name not in numbers:
                raise ValueError(f"Expected columns of numbers to keep, got texts in {name}; leave it out.")
        for i, name in enumerate(self.keep or numbers):
            self.columns[name] = _Kept(self.folder / f"{i}.bin", batch[name], batch.unit(name), self.stack)
        if set(PHASE_SPACE) <= set(self.columns):
            self.points = Out(self.folder / _POINTS, self.stack)

    def finish(self) -> dict[str, Any]:
        """The header."""
        digest = None if self.points is None else self.points.finish()[1]
        columns = [column.told(name) for name, column in self.columns.items()]
        return {"version": 1, "rows": self.rows, "digest": digest, "columns": columns}


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A new folder beside another to write in, gone in the end if it is still there; first goes what killed runs left.

    Its name tells the machine and the process: on a shared disk another machine's run may be alive, though its process
    is none here.
    """
    ours = f".{folder.name}.{platform.node()}."
    if os.name == "posix":  # elsewhere there is no harmless signal to ask with
        name = re.compile(re.escape(ours) + r"(\d+)\.[0-9a-f]{8}\.partial")
        for old in folder.absolute().parent.iterdir():
            if (found := name.fullmatch(old.name)) and old.name not in _RUNS and not _alive(int(found[1])):
                shutil.rmtree(old, ignore_errors=True)
    new = folder.with_name(f"{ours}{os.getpid()}.{secrets.token_hex(4)}.partial")
    new.mkdir()
    _RUNS.add(new.name)
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)
        _RUNS.discard(new.name)


def _alive(process: int) -> bool:
    """Whether another process is there; one with this one's number was before it, as happens in containers."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another's
        return True
    return process != os.getpid()


def header_of(folder: Path) -> dict[str, Any]:
    """What is kept in a folder; empty if nothing of ours is."""
    try:
        header = json.loads((folder / HEADER).read_text())
        return header if header["version"] == 1 else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def load_prepared(folder: str | Path) -> Catalog:
    """The catalogue that `LargeCatalog.prepare` wrote; its columns stay on the disk and are read as they are used.

    All files are read through once to see that they are as they were written.

    Raises:
        TypeError: if ``folder`` is no path.
        ValueError: if there is none in the folder, or it is damaged.
    """
    folder = path_of(folder)
    if not (header := header_of(folder)):
        raise ValueError(f"Expected a folder that LargeCatalog.prepare wrote, got {folder}; prepare the catalogue.")
    try:
        rows, digest = int(header["rows"]), header["digest"]
        table = Table({told["name"]: _column(folder, told, rows) for told in header["columns"]}, copy=False)
        catalog = Catalog(table, meta=header["meta"], report=[CutReport(*report) for report in header["report"]])
        if digest is not None:
            # In place of what it would copy from the columns, and of the digest, which is this file's checksum.
            catalog.__dict__["phase_space"] = _mapped(folder, (_POINTS, digest), "<f4", (rows, 6))
            catalog._digests[None] = digest
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ValueError(
            f"Expected undamaged columns in {folder}, got {problem}; delete it and prepare the catalogue again."
        ) from problem
    return catalog


def _column(folder: Path, told: dict[str, Any], rows: int) -> Any:
    unit: Any = parse_unit(told["unit"]) if told["unit"] else None
    values: Any = _mapped(folder, told["file"], told["dtype"], (rows,))
    if told["mask"] is None:
        return Column(values, unit=unit, copy=False)
    return MaskedColumn(values, mask=_mapped(folder, told["mask"], "?", (rows,)), unit=unit, copy=False)


def _mapped(folder: Path, file: tuple[str, str], dtype: str, shape: tuple[int, ...]) -> np.memmap:
    name, checksum = file
    path = folder / name
    if (kind := np.dtype(dtype)).kind not in "fiub":
        raise ValueError(f"no numbers but {dtype} in {path.name}")
    wanted = kind.itemsize * int(np.prod(shape))
    size = path.stat().st_size if path.is_file() else 0
    if not size or size != wanted:
        raise ValueError(f"{size:,} instead of {wanted:,} bytes in {path.name}")
    with open(path, "rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest()[:16] != checksum:
            raise ValueError(f"other numbers than were written in {path.name}")
    return np.memmap(path, kind, "r", shape=shape)
