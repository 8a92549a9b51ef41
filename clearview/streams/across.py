"""Streams over the sky: what the scans of neighbouring patches found, each stream once.

After Via Machinae (Shih et al. 2023, arXiv:2303.01529), with the members of candidates in place of the stars of
protostreams.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from astropy import units as u
from astropy.table import Table, unique, vstack

from clearview.catalogs.frames import basis
from clearview.streams.found import Scan, places_of, track_of_candidate
from clearview.streams.known import nearest_known
from clearview.streams.lines import Line
from clearview.streams.merge import AS_PUBLISHED, MergeConfig, Protostream, merge_patches
from clearview.streams.regions import Patch

MEMBER = 0.5
"""Probability above which a star counts as a member."""


def protostreams_of(scan: Scan, center: tuple[float, float]) -> list[Protostream]:
    """The candidates of a scan as `merge_patches` takes them: their members, and the line nearest to their track.

    Args:
        scan: of a patch.
        center: (ra, dec) [deg] of the patch.
    """
    out, rows = [], cast(Any, scan.candidates)
    for row, members in zip(rows, scan.members, strict=True):
        ids, known = _identifiers(members["source_id"])
        ids = ids[known & (np.asarray(members["probability"]) > MEMBER)]
        theta, r = _chord(row)
        line = Line(theta, r, float(row["strength"]), round(row["count"]), 0.0, "edge" in str(row["flags"]))
        out.append(Protostream((), np.unique(ids), line, center))
    return out


def check_identifiers(column: Any) -> None:
    """Every star has an identifier of its own, by which it is known in several patches.

    Raises:
        ValueError: if one has none, or that of another, or they are neither whole numbers nor text.
    """
    ids, known = _identifiers(column)
    lost, twice = np.count_nonzero(~known), np.count_nonzero(known) - len(np.unique(ids[known]))
    if lost or twice:
        raise ValueError(
            f"Expected a source_id of its own for each of {len(ids):,} stars, got {lost:,} without and {twice:,} with "
            f"that of another; {_LEAVE}."
        )


_LEAVE = "correct the column, or leave it out to have the stars numbered"


def _identifiers(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """(N,) identifiers, as whole numbers or text, and whether they are any."""
    values, mask = np.ma.getdata(column), np.ma.getmaskarray(np.ma.asarray(column))
    if values.dtype.kind == "O" and all(isinstance(value, str | None) for value in values):
        values = np.array(["" if value is None else value for value in values], str)
    if values.dtype.kind not in "iuU":
        raise ValueError(f"Expected source_id as whole numbers or text, got {values.dtype}; {_LEAVE}.")
    return values, ~mask & (values != "" if values.dtype.kind == "U" else values >= 0)


def _chord(row: Any) -> tuple[float, float]:
    """theta, r [deg] of the straight line through both ends of a candidate's track."""
    track = [row[name] for name in ("shift", "slope", "bend")]
    ends = np.array([row["first"], row["last"]], float)
    (x0, x1), (y0, y1) = places_of(ends, track, np.deg2rad(row["theta"]), row["r"])
    theta = np.arctan2(y1 - y0, x1 - x0) % np.pi
    return float(np.rad2deg(theta)), float(x0 * np.sin(theta) - y0 * np.cos(theta))


def merge_scans(
    scans: Mapping[int, Scan], patches: Sequence[Patch], config: MergeConfig = AS_PUBLISHED
) -> tuple[Table, list[Table]]:
    """Streams over the sky of what was found in patches, by `merge_patches`.

    Args:
        scans: by the number of the patch; their stars have a ``source_id``.
        patches: all of them.
        config: when what two patches found is one stream.

    Returns:
        A table with a row for each stream, the strongest first: ``strength`` and ``sigma``, roots of the sums of the
        squares of those in each patch; ``patches`` where it was found and ``parts``, the candidates there as
        "patch:row", the strongest first; ``members``, how many stars have a probability above one half, and ``count``,
        what the probabilities add up to, each star once; ``ra``, ``dec`` and ``pmra``, ``pmdec`` at the middle of its
        strongest part; ``pole_ra``, ``pole_dec`` of that part's great circle; ``length`` along it that nine tenths of
        the members span; ``width`` of that part; its ``found_by`` and ``flags``, "edge" only if it lies at the edge
        of every patch; ``known``, the track that most of it follows, if one does that moves like it (`nearest_known`),
        with the ``offset``, the ``overlap`` and the ``pm_offset``, NaN if that track has no proper motions. And for
        each the stars near it, as the scans have them, each once.

    Raises:
        ValueError: if one ``source_id`` stands for stars at two places, or is neither a whole number nor text.
    """
    parts: list[Protostream] = []
    owners: dict[int, tuple[int, int]] = {}
    for number in sorted(scans):
        for row, part in enumerate(protostreams_of(scans[number], patches[number].center)):
            owners[id(part)] = number, row
            parts.append(part)
    if not parts:
        return Table({"strength": np.zeros(0)}), []
    near = _stacked([table for number in sorted(scans) for table in scans[number].members], ["source_id", "ra", "dec"])
    stars: Any = unique(near, "source_id")
    same = np.searchsorted(stars["source_id"], near["source_id"])
    if other := np.count_nonzero(np.abs([near[name] - stars[name][same] for name in ("ra", "dec")]).max(0) > 1e-6):
        raise ValueError(
            f"Expected stars of one place for each source_id, got {other:,} with that of a star elsewhere; {_LEAVE}."
        )
    # The members are those of whole patches, so that two patches share all that lies in both.
    hough = scans[min(scans)].config.hough
    radius = float(np.floor(min(p.radius for p in patches) / hough.r_step + 1e-9) * hough.r_step)
    hough = dataclasses.replace(hough, radius=max(radius, hough.radius))
    streams = merge_patches(parts, stars["source_id"], stars["ra"], stars["dec"], config, hough=hough)
    rows, tables = [], []
    for stream in streams:
        found = [owners[id(part)] for part in stream.parts]
        number, first = found[0]
        row: Any = scans[number].candidates[first]
        members = _members_of([scans[n].members[k] for n, k in found])
        best: dict[int, float] = {}
        for n, k in found:
            sigma = float(scans[n].candidates["sigma"][k])  # pyright: ignore
            best[n] = max(best.get(n, 0.0), sigma if np.isfinite(sigma) else 0.0)
        pole, probability = stream.parts[0].pole, np.asarray(members["probability"], float)
        tracks = [track_of_candidate(patches[n].center, scans[n].candidates[k]) for n, k in found]
        middle = tracks[0][:, tracks[0].shape[1] // 2]
        angle = _along(np.concatenate(tracks, 1)[:2], pole, middle[:2])
        sure = probability > MEMBER
        span = _along([np.asarray(members[name], float)[sure] for name in ("ra", "dec")], pole, middle[:2])
        flags = {flag for flag in str(row["flags"]).split(",") if flag and (flag != "edge" or stream.edge)}
        rows.append({
            "strength": stream.sigma, "sigma": float(np.sqrt(sum(s**2 for s in best.values()))),
            "patches": ",".join(map(str, sorted(best))), "parts": ",".join(f"{n}:{k}" for n, k in found),
            "members": int(sure.sum()), "count": float(probability.sum()),
            **dict(zip(("ra", "dec", "pmra", "pmdec"), map(float, middle), strict=True)),
            "pole_ra": pole[0], "pole_dec": pole[1],
            "length": float(np.ptp(np.quantile(span, [0.05, 0.95]))) if sure.any() else 0.0,
            "width": float(row["width"]), "found_by": str(row["found_by"]), "flags": ",".join(sorted(flags)),
            **nearest_known(*np.concatenate(tracks, 1)[:, np.argsort(angle, kind="stable")]),
        })  # fmt: skip
        tables.append(members)
    table: Any = Table(rows=rows)
    for name in ("ra", "dec", "pole_ra", "pole_dec", "length", "width", "offset"):
        table[name].unit = u.deg
    for name in ("pmra", "pmdec", "pm_offset"):
        table[name].unit = u.mas / u.yr
    return table, tables


def _stacked(tables: list[Table], names: list[str]) -> Any:
    """The stars of all tables that have an identifier."""
    known = []
    for table in tables:
        part: Any = table[names]
        part["source_id"], rows = _identifiers(part["source_id"])
        known.append(part[rows])
    return vstack(known, metadata_conflicts="silent")


def _members_of(tables: list[Table]) -> Table:
    """Of all parts of a stream, the highest probability of a star first."""
    both = _stacked(tables, ["source_id", "ra", "dec", "probability", "motion_probability"])
    both = both[np.lexsort((-np.asarray(both["probability"]), both["source_id"]))]
    return unique(both, "source_id", keep="first")  # pyright: ignore[reportReturnType]


def tracks_of(table: Table, scans: Mapping[int, Scan], patches: Sequence[Patch]) -> Table:
    """The tracks of streams over the sky, point by point, as `clearview.figures.sky_map` draws them.

    Args:
        table: that `merge_scans` made
        scans: of these,
        patches: in these.

    Returns:
        ``stream``, the row of the table; ``reference``, the part "patch:row", each of which has a line of its own;
        ``ra``, ``dec`` [deg], ``pmra``, ``pmdec`` [mas/yr] from one end to the other.
    """
    rows: list[tuple] = []
    found: Any = table["parts"] if len(table) else []
    for stream, parts in enumerate(found):
        for part in str(parts).split(","):
            number, row = map(int, part.split(":"))
            track = track_of_candidate(patches[number].center, scans[number].candidates[row])
            rows += [(str(stream), part, *point) for point in track.T]
    names = "stream", "reference", "ra", "dec", "pmra", "pmdec"
    out: Any = Table(rows=rows or None, names=names, dtype=("U8", "U16", *[float] * 4))
    for name in names[2:]:
        out[name].unit = u.mas / u.yr if name.startswith("pm") else u.deg
    return out


def _along(place: Any, pole: tuple[float, float], middle: Any) -> np.ndarray:
    """(N,) angle [deg] of places (ra, dec) along the great circle of a pole, from the one nearest to ``middle``."""
    up, to = (basis(float(ra), float(dec))[0] for ra, dec in (pole, middle))
    to = to - (to @ up) * up
    out = basis(*place)[0]
    return np.rad2deg(np.arctan2(out @ np.cross(up, to), out @ to))
