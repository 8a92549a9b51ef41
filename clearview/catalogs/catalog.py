"""A table of stars with units and a history."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from clearview.checks import a, number, path_of, strict_json
from clearview.units import SUN, Sun, strip

from .columns import (
    HEADER,
    PHASE_SPACE,
    ColumnError,
    from_frame,
    listed,
    name_and_measure,
    plain,
    standardise,
    unknown,
)
from .deredden import Reddening, deredden
from .formats import file_format
from .frames import GreatCircle, to_galactocentric, to_patch, to_stream
from .select import Cut, CutReport, judge

if TYPE_CHECKING:
    import pandas as pd

_RELEASE = re.compile(r"gaia[ _]?(e?dr\d)", re.IGNORECASE)


class Catalog:
    """Stars in rows, measurements in columns, each in one canonical unit: deg, mas, mas/yr, km/s, kpc or mag.

    A catalogue does not change: cuts and transformations return new ones, which share what stays the same,
    and the arrays are read-only. Columns keep the dtype of their file. Positions x, y, z and velocities
    vx, vy, vz are in the internal Galactocentric frame of `clearview.units`.

    Args:
        table: astropy table under canonical names, with units; not copied, so leave it alone afterwards (or
            use `from_table`, which copies and renames).
        meta: where the stars come from, in JSON values: ``source``, ``release``, ``mock`` (its parameters),
            ``file`` and ``origin`` (see `clearview.read_catalog`), and what the transformations leave: ``sun`` and
            ``distance``, ``patch``, ``stream``.
        report: what was cut already.

    Raises:
        TypeError: if ``table`` is no astropy table.
        ValueError: if there is no star, or a measurement has no unit, a wrong one, or no numbers.
    """

    def __init__(self, table: Table, *, meta: Mapping[str, Any] | None = None, report: Iterable[CutReport] = ()):
        if not isinstance(table, Table):
            raise TypeError(f"Expected an astropy Table, got {type(table).__name__}; use Catalog.from_pandas.")
        self._table: Any = standardise(table)
        self._meta = plain(meta or {})
        if not isinstance(sun := self._meta.get("sun"), str | None):  # text is a foreign file's
            Sun.of(sun)
        self._report = tuple(report)
        self._digests: dict[tuple[str, ...] | None, str] = {}

    @classmethod
    def from_table(cls, table: Table, names=None, units=None, *, frame: str = "clearview") -> "Catalog":
        """From a copy of an astropy Table or QTable; the arguments are those of `clearview.read_catalog`."""
        return cls._of_raw(Table(a(table, Table, "an astropy Table"), copy=True), names, units, frame)

    @classmethod
    def from_pandas(cls, data: "pd.DataFrame", names=None, units=None, *, frame: str = "clearview") -> "Catalog":
        """From a copy of a pandas frame; units may be in ``data.attrs["units"]``, as `to_pandas` writes."""
        return cls.from_table(from_frame(data), names, units, frame=frame)

    @classmethod
    def from_phase_space(cls, x, v, *, columns: Mapping[str, Any] | None = None, meta=None) -> "Catalog":
        """From positions and velocities in the internal frame.

        Args:
            x: (N, 3) positions, kpc (plain numbers), or a Quantity.
            v: (N, 3) velocities, km/s (plain numbers), or a Quantity.
            columns: more (N,) columns by canonical name, as Quantities if they have units.
            meta: provenance; ``mock`` holds the parameters of a mock.

        Raises:
            ValueError: if the shapes are not (N, 3), or a further column is wrong.
        """
        x, v = (strip(a, unit, name=n) if hasattr(a, "unit") else np.asarray(a)
                for a, unit, n in ((x, "kpc", "x"), (v, "km/s", "v")))  # fmt: skip
        if x.ndim != 2 or x.shape != v.shape or x.shape[1] != 3:
            raise ValueError(
                f"Expected x and v of one shape (N, 3), got {x.shape} and {v.shape}; stack the components."
            )
        if {x.dtype.kind, v.dtype.kind} - set("fiu"):
            raise ValueError(f"Expected x and v as numbers, got {x.dtype} and {v.dtype}; convert them.")
        parts = [u.Quantity(x[:, i], u.kpc, copy=False) for i in range(3)]
        parts += [u.Quantity(v[:, i], u.km / u.s, copy=False) for i in range(3)]
        rest = dict(columns or {})
        for name, values in rest.items():
            if np.shape(values) != (len(x),):
                raise ValueError(f"Expected {name} of shape ({len(x)},), got {np.shape(values)}; one value a star.")
        return cls(Table({**dict(zip(PHASE_SPACE, parts, strict=True)), **rest}), meta=meta)

    @classmethod
    def _of_raw(cls, table: Any, names, units, frame, file: Mapping[str, Any] | None = None) -> "Catalog":
        table, report = name_and_measure(table, names, units, frame), []
        meta = dict(table.meta or {})
        if (header := meta.pop(HEADER, None)) is not None:
            try:
                saved = strict_json(header)
                meta, report = dict(saved["meta"]), [_report_of(*r) for r in saved["report"]]
            except (ValueError, KeyError, TypeError):
                raise ValueError("Expected ClearView's header as JSON, got a damaged one; use another copy.") from None
        elif file is not None:
            releases = {found.upper() for found in _RELEASE.findall(" ".join(map(str, meta.values())))}
            if len(releases) == 1:
                meta.setdefault("release", f"Gaia {releases.pop()}")
        if file is not None:
            # The first file stays, those between are forgotten, so that the history does not grow.
            first = meta.get("origin", meta.get("file"))
            meta |= {"file": file} | ({"origin": first} if isinstance(first, dict) else {})
        return cls(table, meta=plain(meta, strict=False), report=report)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, name) -> bool:
        return name in self._table.colnames

    def __getitem__(self, name: str) -> np.ndarray:
        """(N,) read-only values in the canonical unit; masked if an identifier is missing for some stars."""
        return self._column(name).data

    def _column(self, name):
        if name not in self:
            raise unknown(name, self.columns)
        return self._table[name]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._table.colnames)

    def unit(self, name: str) -> u.UnitBase | None:
        """The unit of a column, None if it has none."""
        return self._column(name).unit

    def quantity(self, name: str) -> u.Quantity:
        """(N,) values with their unit."""
        return u.Quantity(self[name], self.unit(name), copy=False)

    def require(self, names: Iterable[str]) -> None:
        """Checks that the columns are there.

        Raises:
            KeyError: naming those which are not.
        """
        names = list(names)
        missing = [name for name in names if name not in self]
        if missing:
            raise ColumnError(
                f"Expected columns {listed(names)}, got none for {listed(missing)}; the catalogue has "
                f"{listed(self.columns)}, so map yours with names={{{missing[0]!r}: your column}}."
            )

    @property
    def meta(self) -> dict[str, Any]:
        """A copy of the provenance, plain JSON values."""
        return plain(self._meta)

    @property
    def report(self) -> tuple[CutReport, ...]:
        """What was removed so far, in order."""
        return self._report

    @property
    def sun(self) -> Sun:
        """The Sun of the frame: that of ``meta["sun"]`` if it says so, else `clearview.units.SUN`."""
        sun = self._meta.get("sun")
        return Sun.of(sun) if isinstance(sun, dict) else SUN

    @property
    def has_phase_space(self) -> bool:
        """Whether x, y, z, vx, vy, vz are there."""
        return all(name in self for name in PHASE_SPACE)

    @cached_property
    def phase_space(self) -> np.ndarray:
        """(N, 6) float32, read-only: x, y, z [kpc], vx, vy, vz [km/s] in the internal frame.

        Raises:
            KeyError: if they are not there yet.
            ValueError: if a value is not finite.
        """
        if not self.has_phase_space:
            raise ColumnError(
                f"Expected columns {listed(PHASE_SPACE)}, got {listed(self.columns)}; call to_galactocentric() first."
            )
        out = np.empty((len(self), 6), np.float32)
        for i, name in enumerate(PHASE_SPACE):
            out[:, i] = self[name]
        if bad := np.count_nonzero(~np.isfinite(out).all(1)):
            raise ValueError(
                f"Expected finite phase space, got {bad:,} of {len(self):,} stars without; "
                "call to_galactocentric(), which removes and reports them."
            )
        out.flags.writeable = False
        return out

    def digest(self, columns: Iterable[str] | None = None) -> str:
        """16 hexadecimal digits (the start of a SHA-256) that recognise the phase space.

        Or the ``columns`` named, if any: their names in this order, canonical units, types and values.

        Raises:
            KeyError: if a column is not there.
            ValueError: if no column is named.
        """
        names = columns if columns is None else (columns,) if isinstance(columns, str) else tuple(columns)
        if names not in self._digests:
            self._digests[names] = self._digest(names)
        return self._digests[names]

    def _digest(self, names: tuple[str, ...] | None) -> str:
        if names is None:
            return hashlib.sha256(self.phase_space.data).hexdigest()[:16]
        if not names:
            raise ValueError("Expected at least one column to make a digest of, got none; name some.")
        self.require(names)
        sha = hashlib.sha256()
        for name in names:
            for part in (name, str(self.unit(name)), *_canonical(self[name])):
                part = part.encode() if isinstance(part, str) else part
                sha.update(len(part).to_bytes(8, "little") + part)
        return sha.hexdigest()[:16]

    def select(self, *cuts: Cut | Sequence[Cut]) -> "Catalog":
        """The stars that pass all cuts; each cut's report counts what it removed after those before it.

        Raises:
            KeyError: if a cut needs a column that is not there.
            TypeError: if something is not a cut.
            ValueError: if no star is left, naming the cut that removed the last.
        """
        return self.take(*judge(self, cuts))

    def take(self, keep: np.ndarray, reports: Iterable[CutReport] = ()) -> "Catalog":
        """The stars where ``keep`` (N,) is True, with ``reports`` added to the history.

        Raises:
            ValueError: if ``keep`` is not a boolean per star, or none is left.
        """
        keep = np.asarray(keep)
        if keep.dtype != bool or keep.shape != (len(self),):
            raise ValueError(
                f"Expected {len(self)} booleans, got {keep.dtype} of shape {keep.shape}; compare a column."
            )
        table = self._table if keep.all() else self._table[np.flatnonzero(keep)]
        return Catalog(table, meta=self._meta, report=[*self._report, *reports])

    def only(self, columns: Iterable[str]) -> "Catalog":
        """With these columns alone.

        Raises:
            KeyError: if one is not there.
        """
        columns = list(columns)
        self.require(columns)
        return Catalog(self._table[columns], meta=self._meta, report=self._report)

    def with_columns(self, columns: Mapping[str, Any], *, meta: Mapping[str, Any] | None = None) -> "Catalog":
        """With (N,) columns added or replaced, as Quantities where there is a unit; ``meta`` is merged."""
        table = self._table.copy(copy_data=False)
        for name, values in columns.items():
            if np.shape(values) != (len(self),):
                raise ValueError(f"Expected {name} of shape ({len(self)},), got {np.shape(values)}; one value a star.")
            table[name] = values
        return Catalog(table, meta={**self._meta, **(meta or {})}, report=self._report)

    def to_galactocentric(self, sun: Sun | str | None = None, distance: str | None = None) -> "Catalog":
        """With x, y, z, vx, vy, vz; see `clearview.catalogs.to_galactocentric`."""
        return to_galactocentric(self, sun, distance)

    def deredden(self, ebv: Reddening, *, law: str | None = None, distance: float | None = None) -> "Catalog":
        """With phot_g_mean_mag0 and bp_rp0, without dust; see `clearview.catalogs.deredden`."""
        return deredden(self, ebv, law=law, distance=distance)

    def to_patch(self, center: tuple[float, float]) -> "Catalog":
        """With lon, lat, pm_lon, pm_lat around ``center`` (ra, dec); see `clearview.catalogs.to_patch`."""
        return to_patch(self, center)

    def to_stream(self, stream: str | GreatCircle = "GD-1", *, reflex_distance: float | None = None) -> "Catalog":
        """With phi1, phi2, pm_phi1, pm_phi2 along a stream; see `clearview.catalogs.to_stream`."""
        return to_stream(self, stream, reflex_distance=reflex_distance)

    def to_pandas(self) -> "pd.DataFrame":
        """A pandas frame (a copy); units and meta are in its ``attrs``."""
        frame = self._table.to_pandas(index=False)
        frame.attrs = {"units": {n: str(c.unit) for n, c in self._table.items() if c.unit}, "meta": self.meta}
        return frame

    def write(self, path: str | Path, overwrite: bool = False) -> None:
        """Writes Parquet, FITS, CSV (as ECSV, which keeps units and types), VOTable or HDF5 (a dataset a column, with
        its unit in the attribute ``unit``), by the ending of ``path``. `clearview.read_catalog` gives the same back.

        Raises:
            FileExistsError: if the file is there and ``overwrite`` is not set.
            FileNotFoundError: if its folder is not there.
            ValueError: if the ending is not known, or the format cannot hold a column; a file that was there stays.
        """
        path = path_of(path)
        kind = file_format(path)
        if path.suffix == ".gz":
            raise ValueError(f"Expected a name without .gz to write, got {path.name}; compress it afterwards.")
        if path.exists() and not overwrite:
            raise FileExistsError(f"Expected a new file, got {path}, which exists; pass overwrite=True to replace it.")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"Expected a folder to write to, got {path.parent}, which is none; make it first.")
        header = json.dumps({"meta": self._meta, "report": self._report})
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            for name, column in self._table.items():
                code = "U" if column.dtype.kind == "U" else f"{column.dtype.kind}{column.dtype.itemsize}"
                if kind.holds is not None and code not in kind.holds.split():
                    raise TypeError(f"{column.dtype} in column {name}")
            kind.write(self._table, partial, header)
            partial.replace(path)
        except (TypeError, ValueError, NotImplementedError) as problem:
            raise ValueError(
                f"Expected columns that {kind.name} can hold, got one that it cannot ({problem}); choose another."
            ) from problem
        finally:
            partial.unlink(missing_ok=True)

    def _origin(self) -> str:
        """Where the stars come from and what was done to them, in a line; empty if the meta is in words not ours."""
        try:
            return self._told()
        except (KeyError, TypeError, ValueError, IndexError):
            return ""

    def _told(self) -> str:
        told = {key: value for key, value in self._meta.items() if isinstance(value, dict)}
        parts = [
            f"{first}{told[key]['name']} ({told[key]['format']}, {told[key]['rows']:,} rows)"
            for key, first in (("file", ""), ("origin", "first "))
            if "rows" in told.get(key, ())
        ]
        parts += [str(self._meta[key]) for key in ("source", "release") if self._meta.get(key)]
        if self.has_phase_space and "distance" in self._meta:
            name = f" ({self.sun.name})" if self.sun.name else ""
            parts.append(f"x, y, z by {self._meta['distance']} with the Sun at {self.sun.R:g} kpc{name}")
        if "center" in told.get("patch", ()):
            parts.append("lon, lat around ra, dec = {:g}, {:g}".format(*told["patch"]["center"]))
        if "pole" in told.get("stream", ()):
            parts.append(f"phi1, phi2 along {told['stream'].get('name') or 'a great circle'}")
            if reflex := told["stream"].get("reflex"):
                parts[-1] += f", the Sun's motion taken out of pm_phi1, pm_phi2 at {reflex['distance']:g} kpc"
        if "law" in (dust := told.get("dereddened", {})):
            parts.append(f"phot_g_mean_mag0, bp_rp0 by {dust['law']} with E(B-V) from {dust['E(B-V)']}")
            lost = [(dust[key], key.replace("_", " ")) for key in ("no_colour", "no_reddening", "out_of_range")]
            if any(count for count, _ in lost):
                parts[-1] += f" (NaN: {', '.join(f'{count:,} {why}' for count, why in lost if count)})"
        return "; ".join(part if len(part) < 160 else f"{part[:157]}..." for part in parts)

    def _described(self) -> list[str]:
        return [f"{n} [{c.unit}]" if c.unit else n for n, c in self._table.items()]

    def __repr__(self):
        lines = [f"Catalog of {len(self):,} stars", f"columns: {', '.join(self._described())}"]
        origin = [f"from: {self._origin()}"] if self._origin() else []
        return "\n  ".join([*lines, *origin, *(f"cut: {report}" for report in self._report)])

    def _repr_html_(self):
        cuts = "".join(f"<li>{escape(str(report))}</li>" for report in self._report)
        origin = f"<br>from: {escape(self._origin())}" if self._origin() else ""
        return (
            f"<div><b>Catalog of {len(self):,} stars</b><br>{escape(', '.join(self._described()))}{origin}"
            f"{f'<ul>{cuts}</ul>' if cuts else ''}</div>"
        )


def _report_of(name, before, after, nonfinite) -> CutReport:
    number("before", before, 0, whole=True)
    number("after", after, 0, before, whole=True)
    number("nonfinite", nonfinite, 0, before - after, whole=True)
    return CutReport(a(name, str, "a name"), before, after, nonfinite)


def _canonical(values: np.ndarray) -> tuple[str, bytes, bytes]:
    """The type, values and gaps of a column in bytes that do not depend on how it is kept."""
    mask = np.ma.getmaskarray(values)
    values = np.ma.filled(values, 0) if mask.any() else np.asarray(values)
    if values.dtype.kind == "U":
        return "U", "\0".join(values).encode(), b""
    if values.dtype.kind == "f":  # a NaN has many bit patterns, and zero has two
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values + 0)
    return values.dtype.newbyteorder("<").str, values.astype(values.dtype.newbyteorder("<")).tobytes(), mask.tobytes()
