"""Reading catalogues from files."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from astropy.table import Table
from pyarrow import csv

from .catalog import Catalog, file_format
from .columns import ColumnError, canonical_names, from_arrow, unknown

Pick = Callable[[Iterable[str]], list[str]]


def read_catalog(
    path: str | Path,
    *,
    names: Mapping[str, str] | None = None,
    units: Mapping[str, str] | str | None = None,
    columns: Iterable[str] | None = None,
    frame: str = "clearview",
) -> Catalog:
    """Reads a star catalogue from a Parquet, FITS or CSV file (or ECSV, ``.csv.gz``, ``.fits.gz``).

    Columns of the Gaia archive are understood by their names. A unit is read from the file (FITS and ECSV
    headers; ``unit`` in the metadata of a Parquet field) or from the ending of a name, ``_deg _rad _arcmin
    _arcsec _mas _masyr _kms _kpc _pc _mag``, which is taken off: ``pmra_masyr`` is ``pmra``, ``vrad_kms`` and
    ``rv_kms`` are ``radial_velocity``, ``G_mag`` is ``phot_g_mean_mag``, ``parallax_err_mas`` is
    ``parallax_error``. A measurement without a unit is refused; only in a file whose ``source``, ``release``
    or ``catalog`` metadata names Gaia do Gaia's columns have the archive's units. Convertible units are
    converted.

    Args:
        path: the file.
        names: canonical name to name in the file, ``{"radial_velocity": "RV"}``.
        units: name to unit, ``{"parallax": "mas"}``, which overrides the file; or ``"gaia"``: columns without
            a unit are in those of the Gaia archive.
        columns: the columns to read, by either name; all by default.
        frame: the convention of x, y, z, vx, vy, vz: ``"clearview"`` (see `clearview.units`) or
            ``"astropy"``, whose x, y, vx, vy have the other sign.

    Raises:
        FileNotFoundError: if there is no such file.
        KeyError: if a column that was asked for is not in it.
        ValueError: if it cannot be read, is empty, or a column has no unit, a wrong one, or no numbers.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"Expected a catalogue file, got {path}, which does not exist; check the path.")
    if path.is_dir():
        raise IsADirectoryError(f"Expected a catalogue file, got {path}, which is a folder; name a file in it.")
    kind = file_format(path)

    wanted = None if columns is None else [columns] if isinstance(columns, str) else list(columns)
    called: dict[str, str] = {}  # canonical name, or the file's own, to the file's own

    def pick(available: Iterable[str]) -> list[str]:
        available = list(available)
        called.update((column, column) for column in available)
        called.update((name, column) for column, (name, _) in canonical_names(available, names).items())
        for name in wanted or ():
            if name not in called:
                raise unknown(name, called)
        return available if wanted is None else list(dict.fromkeys(called[name] for name in wanted))

    try:
        table = {"Parquet": _parquet, "FITS": _fits, "CSV": _csv}[kind](path, pick)
    except (ColumnError, MemoryError):
        raise
    except Exception as problem:  # each library has its own kinds for a damaged file
        said = " ".join(str(problem).split())[:120] or type(problem).__name__
        raise ValueError(
            f"Expected a readable {kind} file, got {path.name}, which could not be read ({said}); check the file."
        ) from problem
    if wanted is not None:  # what was told about the columns left out was right, but has no place any more
        here = set(table.colnames)
        names = {name: column for name, column in (names or {}).items() if column in here}
        if isinstance(units, Mapping):
            units = {name: unit for name, unit in units.items() if called.get(name) in {*here, None}}
    return Catalog._of_raw(table, names, units, frame)


def _parquet(path: Path, pick: Pick) -> Table:
    with pq.ParquetFile(path) as file:
        arrow = file.read(columns=pick(file.schema_arrow.names))
    found = (arrow.schema.metadata or {}).items()
    said = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in found}
    attrs = json.loads(said.pop("PANDAS_ATTRS", "{}"))
    table: Any = from_arrow(arrow, attrs.get("units"))
    meta = {key: value for key, value in said.items() if key not in ("pandas", "ARROW:schema")}
    table.meta.update({**attrs.get("meta", {}), **meta})
    return table


def _fits(path: Path, pick: Pick) -> Table:
    # Mapped memory would change under the catalogue when the file is overwritten.
    return _keep(Table.read(path, format="fits", memmap=False, mask_invalid=False), pick)


def _csv(path: Path, pick: Pick) -> Table:
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        first = file.readline()
        skip, line = 0, first
        while line.startswith("#"):
            skip, line = skip + 1, file.readline()
    if first.startswith("# %ECSV"):
        return _keep(Table.read(path, format="ascii.ecsv", fill_values=[("", "0"), ("null", "0")]), pick)
    rows = csv.ReadOptions(skip_rows=skip)
    with csv.open_csv(path, read_options=rows) as head:
        chosen = pick(head.schema.names)
    return from_arrow(csv.read_csv(path, rows, convert_options=csv.ConvertOptions(include_columns=chosen)))


def _keep(table: Table, pick: Pick) -> Table:
    chosen = pick(table.colnames)
    table.keep_columns(chosen)
    return table
