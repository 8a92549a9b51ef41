"""What a large catalogue is read from: Parquet files, also those of a HATS catalogue, and partitions of Dask."""

import glob
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from clearview.checks import path_of

from .columns import from_frame
from .formats import FormatError, check_beginning, file_format, parquet_table, unreadable

ROWS = 2**18
"""Rows of a batch: what is in memory at a time."""


@dataclass(frozen=True)
class ParquetPart:
    """One Parquet file, as it was when the catalogue was opened.

    Attributes:
        label: its name below the folder of all files.
        path: where it is.
        rows: how many it has.
        size, changed: bytes, and when it was written, ns.
        kinds: name to type and unit of its columns.
        columns: those that are read.
    """

    label: str
    path: Path
    rows: int
    size: int
    changed: int
    kinds: dict[str, tuple[str, str]]
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, label: str, path: Path) -> "ParquetPart":
        with _opened(label, path) as file, _readable(label):
            said = path.stat()
            kinds = _kinds(file.schema_arrow)
            return cls(label, path, file.metadata.num_rows, said.st_size, said.st_mtime_ns, kinds, tuple(kinds))

    def end(self) -> bytes:
        """The end of the file, which tells types, sizes and statistics of its columns."""
        with _readable(self.label), open(self.path, "rb") as file:
            file.seek(-8, os.SEEK_END)
            length = int.from_bytes(file.read(4), "little")
            file.seek(-8 - length, os.SEEK_END)
            return file.read()

    def bounds(self, name: str) -> tuple[float, float]:
        """Between which numbers a column lies, as the file tells without being read; infinite where it does not."""
        with _opened(self.label, self.path) as file, _readable(self.label):
            told = file.metadata
            columns = [told.schema.column(i).path for i in range(told.num_columns)]
            if name not in columns:
                return -np.inf, np.inf
            groups = [told.row_group(i).column(columns.index(name)).statistics for i in range(told.num_row_groups)]
            if not all(group is not None and group.has_min_max for group in groups):
                return -np.inf, np.inf
            return min(float(group.min) for group in groups), max(float(group.max) for group in groups)

    def tables(self) -> Iterator[Any]:
        """Its rows as raw tables, at most `ROWS` each."""
        rows = 0
        with _opened(self.label, self.path) as file, _readable(self.label):
            said = self.path.stat()
            if (said.st_size, said.st_mtime_ns) != (self.size, self.changed):
                raise FormatError(
                    f"Expected {self.label} as it was when the catalogue was opened, got another; open it anew."
                )
            for batch in file.iter_batches(ROWS, columns=list(self.columns)):
                rows += batch.num_rows
                if batch.num_rows:
                    yield parquet_table(pa.Table.from_batches([batch]))
        if rows != self.rows:
            raise FormatError(f"Expected {self.rows:,} rows in {self.label}, got {rows:,}; copy it again.")


def _opened(label: str, path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise FileNotFoundError(f"Expected the Parquet file {label}, got none at {path}; bring it back.")
    with _readable(label):
        if (kind := file_format(path)).name != "Parquet":
            raise FormatError(
                f"Expected Parquet files, got {label}; read it with read_catalog and write it as Parquet."
            )
        check_beginning(path, kind)
        return pq.ParquetFile(path, page_checksum_verification=True)


@contextmanager
def _readable(label: str) -> Iterator[None]:
    try:
        yield
    except (FormatError, MemoryError):
        raise
    except Exception as problem:  # arrow has several kinds for a damaged file
        raise unreadable("Parquet", label, problem) from problem


def _kinds(schema: pa.Schema) -> dict[str, tuple[str, str]]:
    said = json.loads((schema.metadata or {}).get(b"PANDAS_ATTRS", b"{}")).get("units", {})
    kinds = {}
    for field in schema:
        if field.name in kinds:
            raise FormatError(f"Expected one column {field.name}, got two; write the file anew.")
        type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        unit = (field.metadata or {}).get(b"unit", (field.metadata or {}).get(b"units", b"")).decode()
        kinds[field.name] = str(type_).removeprefix("large_"), unit or said.get(field.name, "")
    return kinds


def check_alike(part: ParquetPart, first: ParquetPart, columns: Iterable[str]) -> None:
    """Refuses a file whose ``columns`` are not those of the first.

    Raises:
        ValueError: naming the file and what is different.
    """
    columns = list(columns)
    if odd := [name for name in columns if (name in first.kinds) != (name in part.kinds)]:
        got = ", ".join(f"{'no ' if name in first.kinds else ''}{name}" for name in odd[:5])
        raise ValueError(
            f"Expected the columns of {first.label} in {part.label}, got {got}; name those that all have with columns=."
        )
    for name in columns:
        one, other = first.kinds[name], part.kinds[name]
        if one != other and "null" not in (one[0], other[0]):
            a, b = (f"{kind} in {unit}" if unit else kind for kind, unit in (one, other))
            raise ValueError(f"Expected {name} in {part.label} as in {first.label}, {a}, got {b}; write it anew.")


@dataclass(frozen=True)
class DaskPart:
    """One partition of a Dask object."""

    label: str
    compute: Callable[[], Any]
    rows: int = 1

    def tables(self) -> Iterator[Any]:
        try:
            frame = self.compute()
        except Exception as problem:  # of whatever it is computed with
            said = " ".join(str(problem).split())[:120] or type(problem).__name__
            raise ValueError(
                f"Expected {self.label} to be computed, got {said!r}; compute it by hand to see more."
            ) from problem
        for first in range(0, len(frame), ROWS):
            yield from_frame(frame.iloc[first : first + ROWS])


def dask_parts(source: Any) -> list[DaskPart]:
    parts = list(np.ravel(source.to_delayed()))
    if not parts:
        raise ValueError("Expected a catalogue with partitions, got none; check the query.")
    return [DaskPart(f"partition {i}", part.compute) for i, part in enumerate(parts)]


def parquet_parts(path: Any) -> tuple[list[ParquetPart], dict[str, Any]]:
    """The files that ``path`` means, in the order of their numbers, and what the meta says of them."""
    if isinstance(path, list | tuple):
        paths = [path_of(one) for one in path]
        root, name = None, paths[0].parent.name if paths else ""
    else:
        root = path = path_of(path)
        name = path.name
        if path.is_dir() and (said := _properties(path)) is not None:
            return _hats(path, said)
        if path.is_dir():
            paths = [p for p in path.rglob("*") if p.suffix in (".parquet", ".pq") and not _hidden(p.relative_to(path))]
        elif glob.has_magic(str(path)) and not path.exists():
            paths, root = [Path(p) for p in glob.glob(str(path), recursive=True)], None
        else:
            paths, root = [path], path.parent
        paths = sorted(paths, key=_natural)
    if not paths:
        raise FileNotFoundError(f"Expected Parquet files, got none at {path}; check the path.")
    files = [ParquetPart.of(p.relative_to(root).as_posix() if root else p.name, p) for p in paths]
    return files, {"name": name, "format": "Parquet"} | ({"files": len(files)} if len(files) > 1 else {})


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _natural(path: Path) -> list[Any]:
    return [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", path.as_posix())]


def _properties(folder: Path) -> dict[str, str] | None:
    """What a HATS catalogue says of itself; None for another folder."""
    for name in ("collection.properties", "hats.properties", "properties"):
        if (folder / name).is_file():
            lines = (line.partition("=") for line in (folder / name).read_text().splitlines())
            return {key.strip(): value.strip() for key, equals, value in lines if equals and not key.startswith("#")}
    return None


def _hats(folder: Path, said: dict[str, str]) -> tuple[list[ParquetPart], dict[str, Any]]:
    if (
        "dataproduct_type" not in said and "hats_primary_table_url" in said
    ):  # a collection: it stands beside its margins
        folder = folder / said["hats_primary_table_url"]
        said = _properties(folder) or {}
    if (kind := said.get("dataproduct_type", "object")) not in ("object", "source", "nested"):
        raise ValueError(
            f"Expected a HATS catalogue of stars, got one of type {kind} in {folder.name}; open its main one."
        )
    # A partition is a file, or a folder of files.
    dirs = folder.glob("dataset/Norder=*/Dir=*/Npix=*")
    paths = [p for one in dirs for p in (one.rglob("*.parquet") if one.is_dir() else [one])]
    if not paths:
        raise FileNotFoundError(f"Expected dataset/Norder=*/Dir=*/Npix=*.parquet in {folder}, got none; copy it again.")
    files = [ParquetPart.of(p.relative_to(folder).as_posix(), p) for p in sorted(paths, key=_natural)]
    there, rows = {(int(k), int(n)) for f in files for k, n in _pixels(f.label)}, sum(f.rows for f in files)
    if (info := folder / "partition_info.csv").is_file():
        table = Table.read(info, format="ascii.csv")
        for order, pixel in zip(table["Norder"], table["Npix"], strict=True):
            if (int(order), int(pixel)) not in there:
                raise FileNotFoundError(
                    f"Expected Norder={order}, Npix={pixel} of partition_info.csv in {folder.name}, got no such "
                    "partition; copy it again."
                )
    if (told := said.get("hats_nrows", "")).isdigit() and int(told) != rows:
        raise ValueError(
            f"Expected the {int(told):,} rows that its properties tell in {folder.name}, got {rows:,}; copy it again."
        )
    return files, {"name": said.get("obs_collection", folder.name), "format": "HATS", "files": len(files)}


def _pixels(label: str) -> list[tuple[str, str]]:
    return re.findall(r"Norder=(\d+)/.*Npix=(\d+)", label)
