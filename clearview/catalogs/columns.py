"""What the columns of a star table are called and measured in: the door where any table becomes canonical."""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table

from clearview.checks import a, shown, texts

HEADER = "CLRVIEW"
"""Key under which a written file keeps its meta and cut reports (a FITS keyword has at most 8 letters)."""

PHASE_SPACE = ("x", "y", "z", "vx", "vy", "vz")

# Units in gaia_source, from the data model of Gaia DR3 (the same since DR1 where the column existed).
_GAIA = {
    "deg": "ra dec l b ecl_lon ecl_lat",
    "mas": "ra_error dec_error parallax parallax_error",
    "mas / yr": "pm pmra pmra_error pmdec pmdec_error",
    "km / s": "radial_velocity radial_velocity_error",
    "mag": "phot_g_mean_mag phot_bp_mean_mag phot_rp_mean_mag grvs_mag bp_rp bp_g g_rp",
    "pc": "distance_gspphot distance_gspphot_lower distance_gspphot_upper",
}
_OURS = {
    "kpc": "distance distance_error x y z",
    "km / s": "vx vy vz v_los v_los_error",
    "deg": "lon lat phi1 phi2",
    "mas / yr": "pm_lon pm_lat pm_phi1 pm_phi2",
    "mag": "phot_g_mean_mag0 bp_rp0",
}


def _by_name(table):
    return {name: u.Unit(unit) for unit, names in table.items() for name in names.split()}


GAIA = _by_name(_GAIA)
UNITS = GAIA | _by_name(_OURS)
"""The canonical unit of every column that cannot do without one."""

SUFFIXES = {s: u.Unit(s) for s in ("deg", "rad", "arcmin", "arcsec", "mas", "kpc", "pc", "mag")}
SUFFIXES |= {"masyr": u.mas / u.yr, "kms": u.km / u.s}
# The logarithm of a distance is not in kpc.
_SUFFIXED = re.compile(rf"(?!log)(?P<root>.+?)(?P<error>_err(?:or)?)?_(?P<suffix>{'|'.join(SUFFIXES)})")
_ALIASES = {
    **dict.fromkeys(("vrad", "vlos", "rv", "radvel"), "radial_velocity"),
    **dict.fromkeys(("pm_ra_cosdec", "pmra_cosdec"), "pmra"),
    "pm_dec": "pmdec",
    "dist": "distance",
    "plx": "parallax",
    "G": "phot_g_mean_mag",
    "BP": "phot_bp_mean_mag",
    "RP": "phot_rp_mean_mag",
}


_IDENTIFIERS = ("source_id", "solution_id")


class ColumnError(KeyError):
    """A column that is not there; unlike its parent it prints its sentence without quotes."""

    __str__ = Exception.__str__


def listed(names: Iterable[str], most: int = 40) -> str:
    """``names`` in a sentence, the end of a very long list cut off."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def unknown(name, available: Iterable[str], what="a column") -> ColumnError:
    """The error for a wrong name: lists the right ones, and the nearest."""
    available = list(available)
    near = get_close_matches(str(name), available, 1)
    hint = f"did you mean {near[0]!r}?" if near else "use one of these."
    return ColumnError(f"Expected {what} among {listed(available)}, got {name!r}; {hint}")


def parse_unit(text) -> u.UnitBase:
    """A unit as files spell it; one that cannot be understood stays as it is and converts to nothing."""
    text = str(text).strip()
    quantity = re.fullmatch(r"[A-Za-z][A-Za-z ]*\[(.+)\]", text)  # "Angle[deg]", as in the first Gaia release
    for style in (None, "vounit", "cds"):
        try:
            return u.Unit(quantity[1] if quantity else text, format=style)
        except ValueError:
            pass
    return u.Unit(text, parse_strict="silent")  # pyright: ignore[reportCallIssue]


def _told(name, unit) -> u.UnitBase:
    try:
        return u.Unit(unit)
    except (ValueError, TypeError):
        raise ValueError(f"Expected a unit such as 'mas / yr' for {name}, got {unit!r}; correct it.") from None


def canonical_names(
    available: Iterable[str], names: Mapping[str, str] | None = None, suffixes: bool = True
) -> dict[str, tuple[str, u.UnitBase | None]]:
    """What each column of a file is to be called, and the unit that its name tells.

    Args:
        available: the names of the file.
        names: canonical name to name in the file; these come first, and replace a column of that name.
        suffixes: whether an ending such as ``_mas`` tells a unit: ``pmra_masyr`` is ``pmra`` in mas/yr.

    Raises:
        ColumnError: if ``names`` names a column that is not there, or two columns would have the same name.
    """
    if not isinstance(names or {}, Mapping) or not all(isinstance(name, str) and name for name in names or ()):
        raise ValueError(f"Expected names as a mapping, got {shown(names)}; write names={{'pmra': 'your column'}}.")
    available, told = list(available), {column: name for name, column in (names or {}).items()}
    if len(told) < len(names or ()):
        raise ColumnError(f"Expected another column for each name, got names={shown(names)}; choose one name for it.")
    for column in told:
        if column not in available:
            raise unknown(column, available)
    taken, found = {*available, *told.values()}, {}
    for column in available:
        name, unit = column, None
        if suffixes and (match := _SUFFIXED.fullmatch(column)):
            unit = SUFFIXES[match["suffix"]]
            if column not in UNITS:
                name = _ALIASES.get(match["root"], match["root"]) + ("_error" if match["error"] else "")
                # The file's own column of that name comes first; this one keeps its long name.
                name = column if name in taken else name
        if column in told or name not in told.values():
            found[column] = (told.get(column, name), unit)
    canonical = [name for name, _ in found.values()]
    for name in canonical:
        if canonical.count(name) > 1:
            both = listed(column for column, (other, _) in found.items() if other == name)
            raise ColumnError(
                f"Expected one column for {name}, got {both}; choose with names={{{name!r}: the column}}."
            )
    return found


def wanted_columns(columns: Iterable[str] | None) -> list[str] | None:
    """The columns asked for, in a list; None for all.

    Raises:
        TypeError: if they are no names.
        ValueError: if there is none in it.
    """
    wanted = None if columns is None else texts("columns", columns)
    if wanted == []:
        raise ValueError("Expected at least one column in columns=, got none; leave it out to read all of them.")
    return wanted


def choose_columns(available: Iterable[str], wanted: list[str] | None, names, units) -> tuple[list[str], Any, Any]:
    """The columns of a file to read, and what of ``names`` and ``units`` is about them.

    Args:
        available: the names of the file.
        wanted: those asked for, by either name; None for all.
        names, units: as `clearview.catalogs.read_catalog` takes them.

    Raises:
        ColumnError: if one is not there.
    """
    available = list(available)
    if wanted is None:
        return available, names, units
    called = {column: column for column in available}  # canonical name, or the file's own, to the file's own
    called |= {name: column for column, (name, _) in canonical_names(available, names).items()}
    for name in wanted:
        if name not in called:
            raise unknown(name, called)
    # What was told about the columns left out was right, but has no place any more.
    here = {called[name]: None for name in wanted}
    names = {name: column for name, column in (names or {}).items() if column in here}
    if isinstance(units, Mapping):
        units = {name: unit for name, unit in units.items() if called.get(name) in {*here, None}}
    return list(here), names, units


def name_and_measure(table: Any, names=None, units=None, frame="clearview") -> Table:
    """A raw table under canonical names, each column in the unit that the caller, the file or its name tells.

    Columns are shared with ``table``. See `clearview.catalogs.read_catalog` for the arguments and errors.
    """
    if frame not in ("clearview", "astropy"):
        raise ValueError(f"Expected frame 'clearview' or 'astropy', got {frame!r}; choose one of them.")
    ours = HEADER in table.meta
    if ours and frame == "astropy":
        raise ValueError("Expected frame='clearview' for a file that ClearView wrote, got 'astropy'; leave it out.")
    found = canonical_names(table.colnames, names, suffixes=not ours)
    if not (units is None or units == "gaia" or isinstance(units, Mapping)):
        raise ValueError(f"Expected units as a mapping or 'gaia', got {units!r}; write units={{'parallax': 'mas'}}.")
    told = {name: _told(name, unit) for name, unit in units.items()} if isinstance(units, Mapping) else {}
    for name in told.keys() - found.keys() - {name for name, _ in found.values()}:
        raise unknown(name, [name for name, _ in found.values()], "the units of a column")
    # A file says that it is Gaia's by naming Gaia as its source or release.
    says = " ".join(str(v) for k, v in table.meta.items() if k.lower() in ("source", "release", "catalog"))
    gaia = units == "gaia" or re.search(r"\bgaia[ _]?(e?dr\d|source)", says, re.IGNORECASE) is not None
    found_units = []
    for raw, (name, suffix) in found.items():
        column: Any = table[raw]
        unit, clear = getattr(column, "unit", None), told.get(name, told.get(raw))
        if clear is None and unit is not None and suffix not in (None, unit) and raw not in UNITS:
            raise ValueError(
                f"Expected {raw} in the unit of its name, got {unit} in the file; tell units={{{name!r}: its unit}}."
            )
        guesses = (clear, unit, suffix, GAIA.get(name) if gaia else None)
        found_units.append(next((g for g in guesses if g is not None), None))
    columns, called = [table[raw] for raw in found], [name for name, _ in found.values()]
    table = Table(columns, names=called, meta=table.meta, copy=False)
    for column, unit in zip(table.itercols(), found_units, strict=True):
        if isinstance(column, Column):  # another kind is refused by name later
            column.unit = unit
    if frame == "astropy":
        for name in {"x", "y", "vx", "vy"} & set(table.colnames):
            table[name] = -table[name]
    return table


def standardise(table: Table) -> Table:
    """``table`` with native, read-only columns in canonical units; whatever is canonical already is shared.

    A masked measurement becomes NaN, a masked text is empty; a masked integer without a unit (an identifier)
    stays masked.

    Raises:
        ValueError: if there is no star, a measurement has no unit, a wrong one, or no numbers.
    """
    if len(table) == 0:
        raise ValueError("Expected a table with at least one star, got an empty one; check the file or query.")
    bare = {n: str(UNITS[n]) for n in table.colnames if n in UNITS and getattr(table[n], "unit", None) is None}
    if bare:
        gaia = ", or units='gaia' if they are as in the Gaia archive" if bare.keys() <= GAIA.keys() else ""
        raise ValueError(
            f"Expected a unit for {listed(bare)}, got none in the file; tell them, for example units={bare}{gaia}."
        )
    return Table([_standard(table[name], name) for name in table.colnames], copy=False)


def _standard(column, name: str) -> Any:
    if not isinstance(column, Column) or column.ndim != 1:
        raise ValueError(
            f"Expected one value per star in column {name}, got {type(column).__name__} of shape "
            f"{column.shape}; leave it out with columns=."
        )
    masked = isinstance(column, MaskedColumn) and bool(np.any(column.mask))
    values, target = (
        np.asarray(column.data.data if isinstance(column, MaskedColumn) else column.data),
        UNITS.get(name),
    )
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as problem:
            raise ValueError(f"Expected text as UTF-8 in column {name}, got {problem}; leave it out.") from None
    if name in _IDENTIFIERS and values.dtype.kind == "f" and np.nanmax(np.abs(values), initial=0) > 2**53:
        raise ValueError(
            f"Expected whole numbers of 64 bits in column {name}, got {values.dtype}, which lacks their last digits; "
            "leave it out with columns=."
        )
    if values.dtype.kind == "O":
        if not all(isinstance(value, str) or value is None for value in values):
            odd = next(type(value).__name__ for value in values if not isinstance(value, str) and value is not None)
            raise ValueError(f"Expected one value per star in column {name}, got {odd}; leave it out with columns=.")
        values = np.array([value or "" for value in values])
    if masked and values.dtype.kind == "U":
        values, masked = np.where(column.mask, "", values), False
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    if target is not None and values.dtype.kind not in "fiu":
        raise ValueError(f"Expected numbers in column {name}, got {str(values[0])!r}; correct or leave it out.")
    if masked and (values.dtype.kind == "f" or target is not None or column.unit is not None):
        dtype = values.dtype if values.dtype.kind == "f" else np.dtype(float)
        values, masked = np.where(column.mask, dtype.type(np.nan), values.astype(dtype)), False
    unit = column.unit
    if target is not None and unit != target:
        values, unit = _convert(values, unit, target, name), target
    if unit == u.dimensionless_unscaled:  # files do not tell it from no unit
        unit = None
    values = values.view()
    values.flags.writeable = False
    kind, mask = (MaskedColumn, {"mask": column.mask}) if masked else (Column, {})
    return kind(values, name=name, unit=unit, description=column.description, copy=False, **mask)


def _convert(values, unit, target, name):
    try:
        factor = unit.to(target)
    except (u.UnitsError, ValueError, TypeError):
        factor = np.nan
    # A parallax in degrees can be converted, but no catalogue has one: it is a wrong label.
    if not 0.999e-3 <= factor <= 1001:
        raise ValueError(
            f"Expected {name} in {target} or a unit near it, got {unit}; correct it with units={{{name!r}: its unit}}."
        )
    return values * (values.dtype.type(factor) if values.dtype.kind == "f" else factor)


def plain(meta: Mapping, *, strict: bool = True) -> dict:
    """A deep copy of ``meta`` in plain JSON values; what is not one is refused, or dropped if not strict.

    Raises:
        ValueError: if a value is not made of strings, numbers, booleans, lists and dicts.
    """
    kept = {}
    for key, value in a(meta, Mapping, "meta as a mapping").items():
        try:
            kept[str(key)] = json.loads(json.dumps(value, default=lambda v: v.tolist(), allow_nan=False))
        except (TypeError, ValueError, AttributeError):
            if strict:
                raise ValueError(
                    f"Expected plain JSON values in meta, got {type(value).__name__} {value!r} for {key!r}; "
                    "convert it to finite numbers or strings."
                ) from None
    return kept


def from_arrow(arrow: pa.Table, units: Mapping[str, str] | None = None) -> Table:
    """An astropy table that shares the memory of ``arrow`` where it can, with the units of the fields."""
    table = Table()
    for field, chunks in zip(arrow.schema, arrow.columns, strict=True):
        if pa.types.is_dictionary(field.type):
            chunks = chunks.cast(field.type.value_type)
        if pa.types.is_null(field.type):
            chunks = chunks.cast(pa.float64())
        if chunks.null_count and (pa.types.is_integer(chunks.type) or pa.types.is_boolean(chunks.type)):
            # Through NaN a 64-bit identifier would lose its last digits.
            values: Any = MaskedColumn(
                chunks.fill_null(pa.scalar(0).cast(chunks.type)).to_numpy(), mask=chunks.is_null().to_numpy()
            )
        elif pa.types.is_string(chunks.type) or pa.types.is_large_string(chunks.type):
            values = Column(chunks.fill_null("").to_numpy().astype(str))
        else:
            values = Column(chunks.to_numpy(), copy=False)
        said = field.metadata or {}
        unit = (said.get(b"unit") or said.get(b"units") or b"").decode() or (units or {}).get(field.name)
        values.unit = parse_unit(unit) if unit else None
        table.add_column(values, name=field.name, copy=False)
    return table


def from_frame(data: Any) -> Any:
    """The raw table of a pandas frame, without its index.

    Raises:
        TypeError: if it is none, or its ``attrs`` hold something else.
        ValueError: if a column is of several types.
    """
    import pandas as pd

    attrs = a(data, pd.DataFrame, "a pandas DataFrame").attrs
    for key in ("units", "meta"):
        a(attrs.get(key, {}), Mapping, f"{key} in attrs as a mapping")
    try:
        arrow = pa.Table.from_pandas(data, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as problem:
        raise ValueError(f"Expected columns of one type each, got {problem}; clean the table.") from None
    table: Any = from_arrow(arrow, attrs.get("units"))
    table.meta.update(attrs.get("meta", {}))
    return table


def to_arrow(table: Any, header: str) -> pa.Table:
    """The inverse of `from_arrow`: units go to the fields, ``header`` to the schema."""
    arrays, fields = [], []
    for name in table.colnames:
        column = table[name]
        mask = np.asarray(column.mask) if isinstance(column, MaskedColumn) else None
        arrays.append(pa.array(np.asarray(column.data), mask=mask))
        unit = None if column.unit is None else {"unit": str(column.unit)}
        fields.append(pa.field(name, arrays[-1].type, metadata=unit))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={HEADER: header}))
