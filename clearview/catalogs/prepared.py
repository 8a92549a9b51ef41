"""The columns of a catalogue as files of plain numbers, which are mapped into memory as they are used."""

import glob
import hashlib
import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from .catalog import Catalog
from .columns import PHASE_SPACE, parse_unit
from .partitions import ROWS
from .select import CutReport

HEADER = "columns.json"
_POINTS = "phase_space.bin"


class _Kept:
    """The file of one column, and that of its mask once a value is missing."""

    def __init__(self, path: Path, values: Any, unit: Any, stack: ExitStack):
        self.path, self.dtype, self.unit, self.stack = path, values.dtype, unit, stack
        self.file, self.mask = opened(path, stack), None

    def add(self, values: Any, before: int) -> None:
        if self.mask is None and np.ma.is_masked(values):
            self.mask = opened(self.path.with_suffix(".mask"), self.stack)
            for first in range(0, before, ROWS):
                put(self.mask, np.zeros(min(ROWS, before - first), bool))
        if self.mask is not None:
            put(self.mask, np.ma.getmaskarray(values))
        values = np.ma.getdata(values)
        if (wider := np.result_type(self.dtype, values.dtype)) != self.dtype:
            self._widen(wider, before)
        put(self.file, values.astype(self.dtype))

    def _widen(self, dtype: Any, before: int) -> None:
        """A whole number with a unit becomes a float where one is missing, also in the batches before."""
        old = np.memmap(self.path, self.dtype, "r", shape=(before,))
        self.path = self.path.with_suffix(f".{dtype.str[1:]}")
        self.file, self.dtype = opened(self.path, self.stack), dtype
        for first in range(0, before, ROWS):
            put(self.file, old[first : first + ROWS].astype(dtype))
        Path(old.filename or "").unlink()

    def told(self, name: str) -> dict[str, Any]:
        """As it stands in the header."""
        for file in filter(None, (self.file, self.mask)):
            os.fsync(file.fileno())
        told = {"name": name, "file": self.path.name, "dtype": self.dtype.str, "unit": str(self.unit or "")}
        return told | {"mask": None if self.mask is None else self.path.with_suffix(".mask").name}


class Written:
    """The files of a prepared catalogue while they are written."""

    def __init__(self, folder: Path, keep: list[str] | None, stack: ExitStack):
        self.folder, self.keep, self.stack = folder, keep, stack
        self.rows, self.columns, self.points, self.sha = 0, {}, None, hashlib.sha256()

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
            self.sha.update(batch.phase_space.data)
            put(self.points, batch.phase_space)
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
            self.points = opened(self.folder / _POINTS, self.stack)

    def finish(self) -> dict[str, Any]:
        """The header."""
        if self.points is not None:
            os.fsync(self.points.fileno())
        digest = None if self.points is None else self.sha.hexdigest()[:16]
        columns = [column.told(name) for name, column in self.columns.items()]
        return {"version": 1, "rows": self.rows, "digest": digest, "columns": columns}


def opened(path: Path, stack: ExitStack) -> Any:
    """A file to write without a buffer, which would complain of a full disk again when it is closed."""
    return stack.enter_context(open(path, "wb", buffering=0))


def put(file: Any, values: np.ndarray | bytes) -> None:
    """Writes all of it; what is written is on its way to the disk, or it is said that there is no room."""
    left = memoryview(values).cast("B")  # pyright: ignore[reportArgumentType]
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as problem:
        raise OSError(
            f"Expected room for the columns in {Path(file.name).parent.parent}, got {problem.strerror!r}; free some or "
            "name another folder, and call again."
        ) from problem


def sweep(folder: Path) -> None:
    """Removes what killed runs left behind."""
    if os.name != "posix":  # elsewhere there is no harmless signal to ask with
        return
    for old in folder.parent.glob(f".{glob.escape(folder.name)}.*.partial"):
        try:
            os.kill(int(old.name.split(".")[-2]), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(old, ignore_errors=True)
        except PermissionError:  # another's, alive
            pass


def header_of(folder: Path) -> dict[str, Any]:
    """What is kept in a folder; empty if nothing of ours is."""
    try:
        header = json.loads((folder / HEADER).read_text())
        return header if header["version"] == 1 else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def load_prepared(folder: str | Path) -> Catalog:
    """The catalogue that `LargeCatalog.prepare` wrote; its columns stay on the disk and are read as they are used.

    Raises:
        ValueError: if there is none in the folder, or it is damaged.
    """
    folder = Path(folder)
    if not (header := header_of(folder)):
        raise ValueError(f"Expected a folder that LargeCatalog.prepare wrote, got {folder}; prepare the catalogue.")
    try:
        rows, digest = int(header["rows"]), header["digest"]
        table = Table({told["name"]: _column(folder, told, rows) for told in header["columns"]}, copy=False)
        catalog = Catalog(table, meta=header["meta"], report=[CutReport(*report) for report in header["report"]])
        if digest is not None:
            # In place of what it would copy from the columns.
            catalog.__dict__["phase_space"] = _mapped(folder / _POINTS, "<f4", (rows, 6))
            if catalog.digest() != digest:
                raise ValueError(f"stars with digest {catalog.digest()} instead of {digest}")
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ValueError(
            f"Expected undamaged columns in {folder}, got {problem}; delete it and prepare the catalogue again."
        ) from problem
    return catalog


def _column(folder: Path, told: dict[str, Any], rows: int) -> Any:
    unit: Any = parse_unit(told["unit"]) if told["unit"] else None
    values: Any = _mapped(folder / told["file"], told["dtype"], (rows,))
    if told["mask"] is None:
        return Column(values, unit=unit, copy=False)
    return MaskedColumn(values, mask=_mapped(folder / told["mask"], "?", (rows,)), unit=unit, copy=False)


def _mapped(path: Path, dtype: str, shape: tuple[int, ...]) -> np.memmap:
    if (kind := np.dtype(dtype)).kind not in "fiub":
        raise ValueError(f"no numbers but {dtype} in {path.name}")
    wanted = kind.itemsize * int(np.prod(shape))
    size = path.stat().st_size if path.is_file() else 0
    if not size or size != wanted:
        raise ValueError(f"{size:,} instead of {wanted:,} bytes in {path.name}")
    return np.memmap(path, kind, "r", shape=shape)
