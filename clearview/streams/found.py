"""What a scan found: candidates, their members and tracks, and the file that holds them."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy.table import Table

from clearview import checks
from clearview.catalogs.frames import basis, sky_point
from clearview.flows import CheckpointError
from clearview.flows.checkpoint import write_whole
from clearview.mocks.patch import from_patch
from clearview.streams.config import ScanConfig
from clearview.streams.regions import SCANS

_TEXTS = ("found_by", "flags", "known")


_UNITS = {
    **dict.fromkeys(
        (
            "theta",
            "r",
            "length",
            "width",
            "along",
            "across",
            "ra",
            "dec",
            "bend",
            "slope",
            "shift",
            "first",
            "last",
            "offset",
        ),
        u.deg,
    ),
    **dict.fromkeys(("distance", "distance_error"), u.kpc),
    **dict.fromkeys(("pm_lon", "pm_lat", "pm_spread", "pm_offset"), u.mas / u.yr),
    **dict.fromkeys(("pm_lon_slope", "pm_lat_slope"), u.mas / u.yr),
}


_COLUMNS = (
    "strength", "z", "sigma", "gain", "count", "angle", "theta", "r", "shift", "slope", "bend", "length", "width", "ra",
    "dec", "pm_lon", "pm_lat", "pm_lon_slope", "pm_lat_slope", "pm_spread", "distance", "distance_error", "first",
    "last", "found_by", "flags", "known", "offset", "overlap", "pm_offset",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scan:
    """What a scan found.

    Attributes:
        config: what was done.
        candidates: one row each, the strongest first; see `scan_patch`.
        members: for each candidate the stars near it: row in the patch, source_id if known, ra, dec, probability,
            motion_probability (without the place across the stream), along and across the line, deg.
        center: (ra, dec) of the patch, deg; None if its stars do not tell.
        stars: how many were in the patch.
        searched: how many of them were fiducial and outside of clumps.
        digest: of the stars.
        stopped: "finished" or "cancelled".
        message: in words.
        seconds: that the scores, the lines and the streams took.
        notes: of the scores.
    """

    config: ScanConfig
    candidates: Table = field(repr=False)
    members: list[Table] = field(repr=False)
    center: tuple[float, float] | None
    stars: int
    searched: int
    digest: str
    stopped: str
    message: str
    seconds: dict[str, float]
    notes: str = ""

    def save(self, path, *, overwrite: bool = False) -> None:
        """Write to one Parquet file: the members, with everything else in its metadata; `load_scan` reads it.

        Raises:
            FileExistsError: if the path exists and ``overwrite`` is not set.
            ValueError: for a scan that was cancelled.
        """
        path = checks.path_of(path)
        if self.stopped != "finished":
            raise ValueError(f"Expected a finished scan to save, got one that was {self.stopped}; run it again.")
        if path.exists() and not overwrite:
            raise FileExistsError(f"Expected a new file, {path} exists; choose another name or pass overwrite=True.")
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {
            "format": "clearview scan", "version": 1, "config": self.config.to_dict(), "center": self.center,
            "candidates": {n: [_plain(v) for v in self.candidates[n]] for n in self.candidates.colnames},
            "rows": [len(m) for m in self.members], "stars": self.stars, "searched": self.searched,
            "digest": self.digest, "message": self.message, "seconds": self.seconds, "notes": self.notes,
        }  # fmt: skip
        columns: dict[str, Any] = {}
        if self.members:
            columns = {n: np.concatenate([np.asarray(m[n]) for m in self.members]) for n in self.members[0].colnames}
        text = json.dumps(header)
        told = {"clearview": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}  # pages have sums of their own
        table = pa.table(columns).replace_schema_metadata(told)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, write_page_checksum=True)
        write_whole(path, buffer.getvalue())


def load_scan(path) -> Scan:
    """What `Scan.save` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is foreign or damaged.
    """
    path = checks.path_of(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a scan at {path}, got no such file; check the path.")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        text, digest = ((table.schema.metadata or {})[name] for name in (b"clearview", b"sha256"))
        if hashlib.sha256(text).hexdigest() != digest.decode():
            raise ValueError("sha256")
        header = checks.strict_json(text)
        if header["format"] != "clearview scan" or header["version"] != 1:
            raise KeyError("format")
        candidates = with_units(Table({n: _column(n, v) for n, v in header["candidates"].items()}))
        ends = np.cumsum([0, *header["rows"]])
        if ends[-1] != table.num_rows or len(candidates) != len(header["rows"]):
            raise ValueError("rows")
        columns = {n: table[n].to_numpy() for n in table.column_names}
        members = [with_units(Table({n: c[i:j] for n, c in columns.items()})) for i, j in pairwise(ends)]
        center = None if header["center"] is None else tuple(header["center"])
        return Scan(
            ScanConfig.from_dict(header["config"]), candidates, members, center, header["stars"],
            header["searched"], header["digest"], "finished", header["message"], header["seconds"], header["notes"],
        )  # fmt: skip
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as problem:
        raise CheckpointError(
            f"Expected a scan written by ClearView, got something else or a damaged file in {path} "
            f"({type(problem).__name__}); scan the patch again."
        ) from None


def _plain(value):
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _column(name: str, values: list):
    if name in _TEXTS:
        return np.array(values, str)
    return np.array([np.nan if v is None else v for v in values])


def with_units(table: Table) -> Table:
    for name in table.colnames:
        if name in _UNITS:
            column: Any = table[name]
            column.unit = _UNITS[name]
    return table


def candidate_table(rows: list[dict[str, Any]]) -> Table:
    """Rows of `Scan.candidates`; what one lacks is not known."""
    kinds = {name: (str, "") if name in _TEXTS else (float, np.nan) for name in _COLUMNS}
    return with_units(Table({n: np.array([row.get(n, k[1]) for row in rows], dtype=k[0]) for n, k in kinds.items()}))


def track_of(center, along, track, theta: float, r: float) -> tuple[np.ndarray, np.ndarray]:
    """ra, dec [deg] of places ``along`` a track [deg] from its line, in a patch around ``center``."""
    x, y = places_of(np.asarray(along, float), track, theta, r)
    out = basis(x / np.cos(np.deg2rad(y)), y)[0] @ np.array(basis(*sky_point(center, "center")))
    return np.rad2deg(np.arctan2(out[:, 1], out[:, 0])) % 360, np.rad2deg(np.arcsin(np.clip(out[:, 2], -1, 1)))


def track_of_candidate(center, row: Any, points: int = 21) -> np.ndarray:
    """(4, points) ra, dec [deg], pmra, pmdec [mas/yr] from end to end of a row of `Scan.candidates`."""
    along = np.linspace(row["first"], row["last"], points)
    x, y = places_of(along, (row["shift"], row["slope"], row["bend"]), np.deg2rad(row["theta"]), row["r"])
    t = (along - along.mean()) / 10
    motion = (row[name] + row[f"{name}_slope"] * t for name in SCANS)
    return np.array(from_patch(center, x / np.cos(np.deg2rad(y)), y, *motion))


def places_of(along: np.ndarray, track, theta: float, r: float) -> tuple[np.ndarray, np.ndarray]:
    """x, y [deg] in the plane of the patch."""
    across = r + np.vander(along / 10, 3, increasing=True) @ np.asarray(track)
    return along * np.cos(theta) + across * np.sin(theta), along * np.sin(theta) - across * np.cos(theta)
