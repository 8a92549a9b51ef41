"""Reading catalogues from files."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from clearview.checks import path_of

from .catalog import Catalog
from .columns import ColumnError, choose_columns, wanted_columns
from .formats import FormatError, check_beginning, file_format, unreadable


def read_catalog(
    path: str | Path,
    *,
    names: Mapping[str, str] | None = None,
    units: Mapping[str, str] | str | None = None,
    columns: Iterable[str] | None = None,
    table: str | None = None,
    frame: str = "clearview",
) -> Catalog:
    """Reads a star catalogue from a Parquet, FITS, CSV or ECSV, VOTable or HDF5 file.

    The ending of the name tells which: ``.parquet .pq``, ``.fits .fit``, ``.csv .ecsv``, ``.vot .votable .xml`` (all
    but Parquet also with ``.gz``), ``.h5 .hdf5 .hdf``. In HDF5 a table is what astropy writes, or a group of
    equal-length 1-D datasets with their units in the attribute ``unit`` or ``units``.

    Columns of the Gaia archive are understood by their names. A unit is read from the file (FITS, ECSV and
    VOTable headers; ``unit`` in the metadata of a Parquet field) or from the ending of a name, ``_deg _rad _arcmin
    _arcsec _mas _masyr _kms _kpc _pc _mag``, which is taken off: ``pmra_masyr`` is ``pmra``, ``vrad_kms`` and
    ``rv_kms`` are ``radial_velocity``, ``G_mag`` is ``phot_g_mean_mag``, ``parallax_err_mas`` is
    ``parallax_error``. A measurement without a unit is refused; only in a file whose ``source``, ``release``
    or ``catalog`` metadata names Gaia do Gaia's columns have the archive's units. Convertible units are
    converted. A missing text is empty, a missing measurement NaN, a missing identifier masked.

    ``meta["file"]`` of the catalogue says where it was read from: name (without the folder), format, rows, bytes;
    ``meta["origin"]`` the same of the file that the stars first came from, if ClearView has written them since.
    ``meta["release"]`` is Gaia's if the file names just one.

    Args:
        path: the file.
        names: canonical name to name in the file, ``{"radial_velocity": "RV"}``.
        units: name to unit, ``{"parallax": "mas"}``, which overrides the file; or ``"gaia"``: columns without
            a unit are in those of the Gaia archive.
        columns: the columns to read, by either name; all by default. The others take no memory, and in
            Parquet and HDF5 are not read from the disk either.
        table: which table to read of a file with several: the path in HDF5, the name in FITS and VOTable.
        frame: the convention of x, y, z, vx, vy, vz: ``"clearview"`` (see `clearview.units`) or
            ``"astropy"``, whose x, y, vx, vy have the other sign.

    Raises:
        FileNotFoundError: if there is no such file.
        KeyError: if a column that was asked for is not in it.
        ValueError: if it cannot be read, is empty, has several tables or is of another kind than its name
            tells, or a column has no unit, a wrong one, or no numbers.
        MemoryError: if it does not fit.
    """
    path = path_of(path)
    if not path.exists():
        raise FileNotFoundError(f"Expected a catalogue file, got {path}, which does not exist; check the path.")
    if path.is_dir():
        raise IsADirectoryError(f"Expected a catalogue file, got {path}, which is a folder; name a file in it.")
    kind = file_format(path)

    wanted, told = wanted_columns(columns), (names, units)

    def pick(available: Iterable[str]) -> list[str]:
        nonlocal told
        chosen, *told = choose_columns(available, wanted, names, units)
        return chosen

    try:
        check_beginning(path, kind)
        raw = kind.read(path, pick, table)
    except (ColumnError, FormatError):
        raise
    except MemoryError as problem:
        raise MemoryError(
            f"Expected a table that fits into memory, got {path.name} ({problem}); read fewer columns with columns=."
        ) from problem
    except Exception as problem:  # each library has its own kinds for a damaged file
        raise unreadable(kind.name, path.name, problem) from problem
    file = {"name": path.name, "format": kind.name, "rows": len(raw), "bytes": path.stat().st_size}
    return Catalog._of_raw(raw, *told, frame, file)
