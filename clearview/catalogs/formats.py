"""One reader and one writer for each kind of file.

A reader is asked with ``pick``, which is told the columns of the file and answers which to read; the others are not
kept in memory. It is told ``which`` table to take where a file can have several. It gives an astropy table of plain
columns that need the file no more, each with its unit there, and whatever the file says of itself in ``meta``.
"""

import gzip
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from xml.parsers import expat

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits, votable
from astropy.io.votable.exceptions import W50
from astropy.io.votable.tree import Info
from astropy.table import Column, MaskedColumn, Table
from astropy.table.meta import get_header_from_yaml
from astropy.utils.exceptions import AstropyWarning
from pyarrow import csv

from .columns import HEADER, from_arrow, listed, parse_unit, to_arrow

Pick = Callable[[Iterable[str]], list[str]]
T = TypeVar("T")

_GZIP = b"\x1f\x8b"
_BEGINS = {b"PAR1": "Parquet", b"SIMPLE": "FITS", b"\x89HDF\r\n": "HDF5", b"<?xml": "VOTable", b"<VOTABLE": "VOTable"}
_MASK = ".mask"  # as astropy names the column that says where another one has no value
_META = ".__table_column_meta__"  # where astropy keeps units and meta of a table in HDF5
_ROWS = 100_000
_BLOCK = 1 << 18  # bytes of text; arrow reads some dozens ahead
_STRUCTURE = re.compile(  # cards that describe the table, not the stars
    r"(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDISP|TBCOL|TDIM|NAXIS|TC\w+)\d+"
    "|XTENSION|BITPIX|NAXIS|PCOUNT|GCOUNT|TFIELDS|THEAP|CHECKSUM|DATASUM|COMMENT|HISTORY|"
)


class FormatError(ValueError):
    """What is wrong with a file in a sentence of our own, not in that of a library."""


class Format(NamedTuple):
    """A kind of file: how to read and write it, and the types of numpy that it keeps as they are (None: it says)."""

    name: str
    read: Callable[[Path, Pick, str | None], Table]
    write: Callable[[Any, Path, str], None]
    holds: str | None = None


def file_format(path: Path) -> Format:
    """The kind of a file, by the ending of its name.

    Raises:
        ValueError: if the ending is not known.
    """
    for ending, kind in _FORMATS.items():
        if path.name.lower().endswith(ending):
            return kind
    raise ValueError(f"Expected a file ending in one of {listed(_FORMATS)}, got {path.name}; convert or rename it.")


def check_beginning(path: Path, kind: Format) -> None:
    """Refuses a file that begins as one of another kind than its name tells.

    Raises:
        ValueError: if it does.
    """
    with open(path, "rb") as file:
        begins = file.read(16).removeprefix(b"\xef\xbb\xbf")
    for magic, found in _BEGINS.items():
        if begins.startswith(magic) and found != kind.name:
            raise FormatError(f"Expected a {kind.name} file by the name {path.name}, got {found} inside; rename it.")


def _choose(found: Mapping[str, T], which: str | None, path: Path) -> T:
    """The table that was asked for, or the only one."""
    if which is not None and which in found:
        return found[which]
    if not found:
        raise FormatError(f"Expected a table of stars, got none in {path.name}; check the file.")
    if which is None and len(found) == 1:
        return next(iter(found.values()))
    got = f"{len(found)} of them" if which is None else repr(which)
    raise FormatError(
        f"Expected one table of {path.name} among {listed(found)}, got {got}; choose with table={next(iter(found))!r}."
    )


def _only(which: str | None, path: Path) -> None:
    if which is not None:
        raise FormatError(f"Expected no table= for {path.name}, which is one table, got {which!r}; leave it out.")


def _picked(pick: Pick, available: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """The columns to read, and those among them that are the mask of another."""
    available = list(available)
    masks = {name: name + _MASK for name in available if name + _MASK in available}
    chosen = pick([name for name in available if name not in masks.values()])
    return chosen, {name: masks[name] for name in chosen if name in masks}


def _column(values, mask, unit) -> Column:
    kind: Any = Column if mask is None else MaskedColumn
    unit = parse_unit(unit) if unit and unit != "None" else None
    return kind(values, unit=unit, copy=False, **({} if mask is None else {"mask": mask}))


def _text(value) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


# Parquet


def _read_parquet(path: Path, pick: Pick, which: str | None) -> Table:
    _only(which, path)
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        arrow = file.read(columns=pick(file.schema_arrow.names))
    said = {_text(key): _text(value) for key, value in (arrow.schema.metadata or {}).items()}
    attrs = json.loads(said.pop("PANDAS_ATTRS", "{}"))
    table: Any = from_arrow(arrow, attrs.get("units"))
    meta = {key: value for key, value in said.items() if key not in ("pandas", "ARROW:schema")}
    table.meta.update({**attrs.get("meta", {}), **meta})
    return table


def _write_parquet(table: Any, path: Path, header: str) -> None:
    arrow = to_arrow(table, header)
    floats: Any = [f.name for f in arrow.schema if pa.types.is_floating(f.type)]  # no value comes twice
    others: Any = [name for name in arrow.column_names if name not in floats]
    pq.write_table(
        arrow, path, compression="zstd", use_dictionary=others or False, use_byte_stream_split=floats or False,
        write_page_checksum=True,
    )  # fmt: skip


# FITS


def _read_fits(path: Path, pick: Pick, which: str | None) -> Table:
    with fits.open(path, memmap=True, character_as_bytes=True) as hdus:
        tables = {i: hdu for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)}
        names = [hdu.name for hdu in tables.values()]
        found = {hdu.name if names.count(hdu.name) == 1 and hdu.name else str(i): hdu for i, hdu in tables.items()}
        hdu: Any = _choose(found, which, path)
        meta = {key: value for key, value in hdu.header.items() if not _STRUCTURE.fullmatch(key)}
        meta |= {key: list(hdu.header[key]) for key in ("HISTORY",) if key in hdu.header}
        table: Any = Table(meta=meta)
        # Only the words of the columns are kept: astropy copies every column that is referred to when the file closes.
        said = {column.name: (column.unit, column.null) for column in hdu.columns}
        for name in pick(hdu.columns.names):
            (unit, null), values = said[name], np.asarray(hdu.data[name])
            # The missing value stands for the number in the file, before any scaling to floats.
            stored = values if values.dtype.kind in "iu" else hdu.data.view(np.ndarray)[name]
            mask = None if null is None else np.asarray(stored == null)
            if values.dtype.kind == "S":
                values = np.char.rstrip(values)
            # A copy, since mapped memory would change under the catalogue when the file is overwritten.
            values = np.array(values, values.dtype.newbyteorder("="))
            table.add_column(_column(values, mask, unit), name=name, copy=False)
    return table


def _write_fits(table: Any, path: Path, header: str) -> None:
    table = table.copy(copy_data=False)
    table.meta = {HEADER: header}
    for column in table.itercols():
        if isinstance(column, MaskedColumn):
            if column.dtype.kind == "b" or (column.dtype.kind == "u" and column.dtype.itemsize > 1):
                raise TypeError(f"{column.dtype} with missing values in column {column.name}")
            column.fill_value = _unused(column)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        hdu = fits.table_to_hdu(table)
    for name, column in table.items():  # a unit that the standard does not have, astropy leaves out
        if column.unit is not None and not hdu.columns[name].unit:
            hdu.columns[name].unit = str(column.unit)
    hdu.writeto(path)


def _unused(column: MaskedColumn) -> int:
    """A value that no star has, to stand for the missing one."""
    limits, taken = np.iinfo(column.dtype), set(column.compressed().tolist())
    for value in chain((limits.min, limits.max), range(limits.min, limits.max)):
        if value not in taken:
            return value
    raise TypeError(f"every {column.dtype} and missing values too in column {column.name}")


# CSV and ECSV


def _read_csv(path: Path, pick: Pick, which: str | None) -> Table:
    _only(which, path)
    with gzip.open(path, "rt", encoding="utf-8") if _zipped(path) else open(path, encoding="utf-8") as file:
        comments, line, size = [], file.readline(), 0
        while line.startswith("#"):
            comments.append(line[1:].removeprefix(" ").rstrip())
            size += len(line.encode())
            line = file.readline()
    rows = csv.ReadOptions(skip_rows=len(comments), block_size=_BLOCK + size)  # one block holds all that is skipped
    if comments and comments[0].startswith("%ECSV"):
        return _read_ecsv(path, pick, get_header_from_yaml(comments[1:]), rows)
    with csv.open_csv(path, rows) as first:
        chosen, schema = pick(first.schema.names), first.schema
    rows.use_threads = len(chosen) == len(schema.names)  # threads pile up parsed text faster than it is converted
    # With the types that the first rows tell, arrow need not keep the text of all rows in memory.
    types = {name: schema.field(name).type for name in chosen if not pa.types.is_null(schema.field(name).type)}
    for known in (types, {}):
        how = csv.ConvertOptions(include_columns=chosen, column_types=known)
        try:
            return from_arrow(csv.read_csv(path, rows, convert_options=how))
        except pa.ArrowInvalid:  # later rows tell another type
            if not known:
                raise
    raise AssertionError


def _read_ecsv(path: Path, pick: Pick, header: Any, rows: csv.ReadOptions) -> Table:
    said = {column["name"]: column for column in header["datatype"]}
    chosen, masks = _picked(pick, said)
    types = {name: _arrow_type(said[name]) for name in (*chosen, *masks.values())}
    rows.use_threads = len(types) == len(said)
    layout = csv.ParseOptions(delimiter=header.get("delimiter", " "), newlines_in_values=True)
    how = csv.ConvertOptions(
        column_types=types, include_columns=list(types), null_values=["", "null"], strings_can_be_null=True
    )
    units = {name: said[name]["unit"] for name in chosen if said[name].get("unit")}
    raw = from_arrow(csv.read_csv(path, rows, layout, how), units)
    table: Any = Table(meta=dict(header.get("meta") or {}))
    for name in chosen:
        column: Any = raw[name]
        if name in masks:
            column = MaskedColumn(column, mask=np.asarray(raw[masks[name]]))
        table.add_column(column, name=name, copy=False)
    return table


def _arrow_type(said: Mapping[str, Any]) -> pa.DataType:
    if "subtype" in said:
        raise FormatError(
            f"Expected one value per star in column {said['name']}, got {said['subtype']}; leave it out with columns=."
        )
    return pa.type_for_alias(said["datatype"])


def _write_csv(table: Any, path: Path, header: str) -> None:
    table = table.copy(copy_data=False)
    table.meta = {HEADER: header}
    table.write(path, format="ascii.ecsv", delimiter=",")


# VOTable


def _read_votable(path: Path, pick: Pick, which: str | None) -> Table:
    found = _votable_fields(path)
    number, fields = _choose({name: (i, fields) for i, (name, fields) in enumerate(found.items())}, which, path)
    chosen = pick(fields)
    # In the order of the file: in another, astropy gives columns the values of others (seen with BINARY2, 8.0).
    numbers = sorted(map(fields.index, chosen))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", W50)  # a unit that it does not know
        file: Any = votable.parse(path, columns=numbers, table_number=number, verify="ignore")
    element = next(t for t in file.iter_tables() if not t.is_empty())
    table: Any = Table(meta=_votable_meta(file, element))
    for field in element.fields:
        values, mask = element.array.data[field.ID], element.array.mask[field.ID]
        values = values if values.dtype.kind == "O" else np.array(values, values.dtype.newbyteorder("="))
        mask = np.array(mask) if mask.ndim == 1 and mask.any() else None
        table.add_column(_column(values, mask, str(field.unit)), name=field.name, copy=False)
    return table[chosen]


def _votable_fields(path: Path) -> dict[str, list[str]]:
    """The tables of a VOTable and their columns, without its data."""
    found: dict[str, list[str]] = {}
    root: list[str] = []

    def start(tag, attributes):
        tag = tag.rpartition(":")[2]
        if not root:
            root.append(tag)
        if root != ["VOTABLE"]:
            raise FormatError(f"Expected a VOTable in {path.name}, got XML that begins with {root[0]}; check the file.")
        if tag == "TABLE":
            label = attributes.get("name") or attributes.get("ID") or ""
            found[label if label and label not in found else str(len(found))] = []
        elif tag == "FIELD":
            found[next(reversed(found))].append(attributes["name"])

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    with gzip.open(path) if _zipped(path) else open(path, "rb") as file:
        parser.ParseFile(file)
    return found


def _votable_meta(file, element) -> dict[str, Any]:
    meta = {}
    for node in (file, *file.resources, element):
        if node.description:
            meta["description"] = " ".join(str(node.description).split())
        for system in getattr(node, "coordinate_systems", ()):
            meta["COOSYS"] = " ".join(filter(None, (system.ID, system.system, system.epoch)))
        meta |= {info.name: info.value for info in node.infos if info.value}
    return meta


def _write_votable(table: Any, path: Path, header: str) -> None:
    for name, column in table.items():
        if column.dtype.kind == "U" and any(max(map(ord, text), default=0) > 0xFFFF for text in column):
            raise TypeError(f"letters beyond the 16 bits of a VOTable in column {name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", W50)
        file = votable.from_table(table)
        file.resources[0].infos.append(Info(name=HEADER, value=header))
        file.get_first_table().format = "binary2"
        file.to_xml(str(path))


# HDF5


def _read_hdf5(path: Path, pick: Pick, which: str | None) -> Table:
    with h5py.File(path) as file:
        node: Any = _choose(_hdf5_tables(file), None if which is None else which.strip("/") or "/", path)
        if "pandas_type" in node.attrs:
            raise FormatError(
                "Expected an astropy Table or a group of equal-length 1-D datasets, got a pandas frame in "
                f"{path.name}; read it with pandas.read_hdf and give it to Catalog.from_pandas."
            )
        table: Any = Table(meta={key: _text(value) for key, value in (*file.attrs.items(), *node.attrs.items())})
        values, units = {}, {}
        if isinstance(node, h5py.Group):
            members: dict[str, Any] = {
                n: data for n, data in node.items() if isinstance(data, h5py.Dataset) and data.shape
            }
            chosen, masks = _picked(pick, members)
            lengths = {name: len(members[name]) for name in (*chosen, *masks.values())}
            if len(set(lengths.values())) > 1:
                got = listed(f"{name} ({length})" for name, length in lengths.items())
                raise FormatError(f"Expected columns of one length in {path.name}, got {got}; choose with columns=.")
            for name in lengths:
                text = h5py.check_string_dtype(members[name].dtype) is not None
                values[name] = (members[name].asstr(errors="replace") if text else members[name])[()]
                said = members[name].attrs
                units[name] = _text(np.ravel(said.get("unit", said.get("units", "")))[0])  # some write lists of one
        else:
            chosen, masks = _picked(pick, node.dtype.names)
            if node.name + _META in file:
                lines: Any = file[node.name + _META]
                head: Any = get_header_from_yaml(map(_text, lines))
                table.meta.update(head.get("meta") or {})
                units = {column["name"]: column.get("unit", "") for column in head["datatype"]}
            values = _hdf5_fields(node, [*chosen, *masks.values()])
    for name in chosen:
        mask = values[masks[name]] if name in masks else None
        table.add_column(_column(values[name], mask, str(units.get(name, ""))), name=name, copy=False)
    return table


def _hdf5_tables(file: h5py.File) -> dict[str, Any]:
    """Tables by their path: a dataset of rows, a group of columns, or a frame of pandas."""
    found: dict[str, Any] = {}

    def visit(name, node):
        if any(name.startswith(f"{frame}/") for frame, table in found.items() if "pandas_type" in table.attrs):
            return
        if "pandas_type" in node.attrs or (isinstance(node, h5py.Dataset) and node.dtype.names and node.ndim == 1):
            found[name] = node
        elif isinstance(node, h5py.Dataset) and node.shape and not name.endswith(_META):
            found[name.rpartition("/")[0] or "/"] = node.parent

    file.visititems(visit)
    return found


def _hdf5_fields(dataset, names: list[str]) -> dict[str, np.ndarray]:
    """Columns of a dataset of rows, some rows at a time: only the columns that are kept are ever whole in memory."""
    values = {name: np.empty(len(dataset), dataset.dtype[name]) for name in names}
    for start in range(0, len(dataset) if names else 0, _ROWS):
        part = dataset.fields(names)[start : start + _ROWS]
        for name in names:
            values[name][start : start + _ROWS] = part[name]
    return {n: np.fromiter(map(_text, v), object, len(v)) if v.dtype.kind == "O" else v for n, v in values.items()}


def _write_hdf5(table: Any, path: Path, header: str) -> None:
    # With the order tracked, columns keep theirs and a long header may have more than 64 kB.
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs[HEADER] = header
        for name, column in table.items():
            if "/" in name or name == ".":
                raise TypeError(f"a name with a slash, {name}")
            values = np.asarray(column.data.data if isinstance(column, MaskedColumn) else column.data)
            if values.dtype.kind == "U":
                values = np.array(values, h5py.string_dtype())
            file[name] = values
            if column.unit is not None:
                file[name].attrs["unit"] = str(column.unit)
            if isinstance(column, MaskedColumn):
                file[name + _MASK] = np.asarray(column.mask)


def _zipped(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == _GZIP


_PARQUET = Format("Parquet", _read_parquet, _write_parquet)
_FITS = Format("FITS", _read_fits, _write_fits, "b1 u1 i2 u2 i4 u4 i8 u8 f4 f8 U")
_CSV = Format("CSV", _read_csv, _write_csv, "b1 u1 i1 u2 i2 u4 i4 u8 i8 f4 f8 U")
_VOTABLE = Format("VOTable", _read_votable, _write_votable, "b1 u1 i2 i4 i8 f4 f8 U")
_HDF5 = Format("HDF5", _read_hdf5, _write_hdf5, "b1 u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8 U")
_FORMATS = {
    **dict.fromkeys((".parquet", ".pq"), _PARQUET),
    **dict.fromkeys((".fits", ".fit", ".fits.gz", ".fit.gz"), _FITS),
    **dict.fromkeys((".csv", ".ecsv", ".csv.gz", ".ecsv.gz"), _CSV),
    **dict.fromkeys((".vot", ".votable", ".xml", ".vot.gz", ".votable.gz", ".xml.gz"), _VOTABLE),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), _HDF5),
}
