"""Known stellar streams, to compare candidates with: the tracks of galstreams.

Mateu 2023, MNRAS 520, 5225 (arXiv:2204.10326); see DATA.md for the licence and what was changed.
"""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import Table

from clearview.catalogs import Catalog, read_catalog
from clearview.catalogs.frames import basis, sky_point
from clearview.checks import ABOVE_0, number


def known_streams(*, newest: bool = False) -> Catalog:
    """The tracks, point by point in their order.

    Args:
        newest: one track for each stream, that of its newest reference.

    Returns:
        stream, reference, ra, dec [deg], distance [kpc], pmra, pmdec [mas/yr], radial_velocity [km/s] and width [deg],
        NaN where a track does not have them. A stream has as many tracks as it has references.
    """
    tracks = _tracks()
    if not newest:
        return tracks.table
    last = {track.stream: track.reference for track in sorted(tracks.each, key=_year)}
    names = zip(tracks.table["stream"], tracks.table["reference"], strict=True)
    return tracks.table.take(np.array([last[stream] == reference for stream, reference in names]))


def match_known(ra, dec, pmra=None, pmdec=None, *, within: float = 1.0, least: float = 0.5) -> Table:
    """Which known tracks a candidate follows.

    Args:
        ra: (K,) points along the candidate in their order, deg.
        dec: (K,) deg.
        pmra: (K,) proper motion there with cos(dec), mas/yr; or one for all. NaN where it is not known.
        pmdec: (K,) mas/yr, likewise.
        within: distance across a track within which a point lies on it, deg.
        least: share of the candidate's length that lies on a track that is listed. What crosses a track at an angle a
            has 2 ``within`` / sin(a) on it, and there are many tracks: without proper motions, 11 of 200 random lines
            of 16 deg match one.

    Returns:
        One row a track, those with the largest overlap first: ``stream``, ``reference``, ``offset`` [deg], median
        distance from the track of what lies on it; ``overlap``, share of the candidate's length; ``pm_offset``
        [mas/yr], median length of the difference in proper motion from the track's at the nearest place, NaN
        if either has none. A large one is no match, however near the track. The table has no rows if there is none.

    Raises:
        ValueError: if the points are no points of the sky, or the columns differ in length.
    """
    number("within", within, ABOVE_0, 90)
    number("least", least, 0, 1)
    ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
    if ra.shape != dec.shape or ra.ndim != 1 or not len(ra):
        raise ValueError(f"Expected ra and dec of one shape (K,), got {ra.shape} and {dec.shape}; give one a point.")
    if not (np.isfinite(ra).all() and (np.abs(dec) <= 90).all()):
        raise ValueError("Expected finite ra, and dec within 90 deg, got others; leave out points that have none.")
    if (pmra is None) != (pmdec is None):
        raise ValueError("Expected both pmra and pmdec, or neither, got one; give the other too.")
    try:
        motion = np.stack([np.broadcast_to(np.nan if k is None else np.asarray(k, float), ra.shape)
                           for k in (pmra, pmdec)], -1)  # fmt: skip
    except ValueError:
        raise ValueError("Expected pmra and pmdec of as many points as ra, got others; give one a point.") from None
    tracks, points = _tracks(), basis(ra, dec)[0]
    steps = np.r_[0.0, _angle(points[1:], points[:-1]), 0.0]
    length = (steps[1:] + steps[:-1]) if len(ra) > 1 and steps.any() else np.ones(len(ra))
    rows = []
    for track in tracks.each:
        far, segment, along = track.nearest(points)
        on = (far <= within) & np.isfinite(along)
        overlap = length[on].sum() / length.sum()
        if not on.any() or overlap < least:
            continue
        first, share = track.motion[segment[on]], along[on, None]
        there = first + share * (track.motion[segment[on] + 1] - first)
        apart = np.hypot(*(motion[on] - there).T)
        apart = np.median(apart[np.isfinite(apart)]) if np.isfinite(apart).any() else np.nan
        rows.append((track.stream, track.reference, np.median(far[on]), overlap, apart))
    rows.sort(key=lambda row: (-round(row[3], 3), row[2]))
    return _table(rows, offset=u.deg, overlap=None, pm_offset=u.mas / u.yr)


PM_OFFSET = 2.0
"""mas/yr within which a candidate moves as a known track does."""


def nearest_known(ra, dec, pmra, pmdec) -> dict[str, Any]:
    """The known track that most of a candidate's track follows and that moves like it, within `PM_OFFSET`.

    Args:
        ra, dec, pmra, pmdec: (K,) along the candidate's track, as `match_known` takes them.

    Returns:
        ``known``, its name, or "" if there is none, with ``offset`` [deg], ``overlap`` and ``pm_offset`` [mas/yr] as
        `match_known` has them; the last is NaN if that track has no proper motions.
    """
    matches: Any = match_known(ra, dec, pmra, pmdec)
    for match in matches:
        if not match["pm_offset"] > PM_OFFSET:
            numbers = {name: float(match[name]) for name in ("offset", "overlap", "pm_offset")}
            return {"known": str(match["stream"]), **numbers}
    return {"known": "", "offset": np.nan, "overlap": np.nan, "pm_offset": np.nan}


def tracks_in(center: tuple[float, float], radius: float, *, newest: bool = True) -> Table:
    """The parts of known tracks in a patch, to be drawn over it.

    Args:
        center: (ra, dec) [deg] of the patch.
        radius: deg.
        newest: one track for each stream, that of the newest reference of those that come into the patch.

    Returns:
        ``stream``, ``reference``, ``ra``, ``dec``, ``x``, ``y`` [deg], x = lon cos(lat) and y = lat in the frame of the
        patch, and ``pm_lon``, ``pm_lat`` [mas/yr] there, NaN if the track has none; x and y of a row without a number
        (NaN) part a track that leaves the patch and comes back, and tracks.

    Raises:
        ValueError: if the centre is no point of the sky, or the radius is not positive.
    """
    number("radius", radius, ABOVE_0, 180)
    frame = np.array(basis(*sky_point(center, "center")))
    found: dict[str, list] = {}
    for track in _tracks().each:
        near = track.points @ frame[0] >= np.cos(np.deg2rad(radius))
        if near.any():
            found.setdefault(track.stream, []).append((track, near))
    rows = []
    for several in found.values():
        several.sort(key=lambda k: _year(k[0]))
        for track, near in several[-1:] if newest else several:
            x, y, z = frame @ track.points.T
            lon, lat = np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arcsin(np.clip(z, -1, 1)))
            ends = np.flatnonzero(np.diff(near)) + 1
            for run in np.split(np.arange(len(near)), ends):
                if near[run[0]]:
                    flat = lon[run] * np.cos(np.deg2rad(lat[run]))
                    moving = sum(m[:, None] * way for m, way in zip(
                        track.motion[run].T, basis(track.ra[run], track.dec[run])[1:], strict=True
                    )) @ frame.T  # fmt: skip
                    motion = [(moving * way).sum(1) for way in basis(lon[run], lat[run])[1:]]
                    rows += zip([track.stream] * len(run), [track.reference] * len(run), track.ra[run], track.dec[run],
                                flat, lat[run], *motion, strict=True)  # fmt: skip
                    rows.append((track.stream, track.reference, *[np.nan] * 6))
    speed = u.mas / u.yr
    return _table(rows, ra=u.deg, dec=u.deg, x=u.deg, y=u.deg, pm_lon=speed, pm_lat=speed)


def _table(rows: list, **units: Any) -> Table:
    """Rows of stream, reference and numbers in these units."""
    table: Any = Table(
        rows=rows or None, names=("stream", "reference", *units), dtype=("U32", "U32", *[float] * len(units))
    )
    for name, unit in units.items():
        table[name].unit = unit
    return table


class _Track(NamedTuple):
    stream: str
    reference: str
    ra: np.ndarray
    dec: np.ndarray
    points: np.ndarray
    motion: np.ndarray

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(K,) distance [deg], segment, and share of the segment at the nearest place; NaN beyond the ends."""
        a, b = self.points[:-1], self.points[1:]
        normal = np.cross(a, b)
        size = np.linalg.norm(normal, axis=1)
        normal /= size[:, None]
        side = np.cross(normal, a)  # a quarter turn further along
        turned = np.arctan2(points @ side.T, points @ a.T)
        step = np.arctan2(size, (a * b).sum(1))
        inside = (turned >= 0) & (turned <= step)
        far = np.where(inside, np.arcsin(np.abs(np.clip(points @ normal.T, -1, 1))), np.inf)
        # At a bend a point may lie beside neither segment: then the corner between them is nearest.
        corner = _radians(points[:, None], self.points[None])
        best, knot, each = far.argmin(1), corner.argmin(1), np.arange(len(points))
        at_knot = corner[each, knot] < far[each, best]
        segment = np.where(at_knot, np.minimum(knot, len(a) - 1), best)
        share = np.where(at_knot, knot - segment, turned[each, best] / step[best])
        end = at_knot & ((knot == 0) | (knot == len(a)))
        # The ends themselves are on the track.
        beyond = end & (corner[each, knot] > 1e-9)
        distance = np.where(at_knot, corner[each, knot], far[each, best])
        return np.rad2deg(distance), segment, np.where(beyond, np.nan, share)


def _year(track: _Track) -> int:
    """In which references end: "ibata2024", "grillmair2017b"."""
    return int("".join(filter(str.isdigit, track.reference)) or 0)


class _Tracks(NamedTuple):
    table: Catalog
    each: list[_Track]


@lru_cache(maxsize=1)
def _tracks() -> _Tracks:
    table = read_catalog(Path(str(files("clearview") / "data" / "galstreams.parquet")))
    names = np.char.add(np.char.add(table["stream"], "|"), table["reference"])
    each = []
    for rows in np.split(np.arange(len(table)), np.flatnonzero(names[1:] != names[:-1]) + 1):
        points = basis(table["ra"][rows], table["dec"][rows])[0]
        rows = rows[np.r_[True, _angle(points[1:], points[:-1]) > 0]]  # a point that is there twice makes no segment
        ra, dec = table["ra"][rows], table["dec"][rows]
        motion = np.stack([table["pmra"][rows], table["pmdec"][rows]], -1).astype(float)
        first = rows[0]
        each.append(_Track(str(table["stream"][first]), str(table["reference"][first]), ra, dec,
                           basis(ra, dec)[0], motion))  # fmt: skip
    return _Tracks(table, each)


def _radians(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(...) angle between unit vectors, also where it is small."""
    return 2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1))


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.rad2deg(_radians(a, b))
