"""The blind search of a patch: scores, lines in every cell of proper motion, and the streams they belong to.

After Via Machinae (Shih et al. 2021, arXiv:2104.12789; 2023, arXiv:2303.01529), with two differences. Lines are looked
for in small cells of both proper motions, among all stars and among those of highest score, where Via Machinae takes
the hundred stars of highest score in windows of 6 mas/yr and merges their lines (as `ScanConfig.as_published` does);
and a line counts for what a stream along it explains of the stars around it, in place, motion, colour and magnitude.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from astropy.table import Table

from clearview import checks
from clearview.catalogs import Catalog
from clearview.flows import Progress
from clearview.flows.fit import HISTORY, OnProgress
from clearview.streams.anomaly import Scores
from clearview.streams.cells import Cells, Excess
from clearview.streams.config import ScanConfig
from clearview.streams.distance import photometric_distance
from clearview.streams.found import Scan, candidate_table, track_of, track_of_candidate, with_units
from clearview.streams.known import PM_OFFSET, nearest_known
from clearview.streams.lines import Footprint, hough
from clearview.streams.members import Members, NoStream, along_and_across, fit_members
from clearview.streams.published import as_lines, protostreams
from clearview.streams.regions import SCANS
from clearview.streams.view import DIGEST, View, score_patch, view_of

Tell = Callable[[float], object]
"""Called with the fraction done, often enough to stop within a second: it raises `Cancelled` then."""


class Cancelled(Exception):
    """A scan is to stop."""


def steps(on_progress: OnProgress, stage: str, began: float, low: float, high: float) -> Tell:
    """Tells `Progress` of a stage that leads from ``low`` to ``high`` of the whole, a few times a second."""
    last = [0.0]

    def tell(fraction):
        now = time.monotonic()
        if on_progress is None or (now - last[0] < 0.1 and fraction < 1):
            return
        last[0], done, past = now, float(low + (high - low) * fraction), now - began
        left = past * (1 - done) / done if done > 0.02 else None
        told = Progress(stage, round(100 * done), 100, past, left, np.nan, np.nan, pd.DataFrame(columns=HISTORY), done)
        if on_progress(told) is False:
            raise Cancelled

    return tell


def find_lines(
    view: View, config: ScanConfig, scores: Mapping[str, tuple[list, Scores]] | None = None, *, tell: Tell | None = None
) -> list[Excess]:
    """The strongest line of every cell, among all stars and among those of highest score, the strongest first."""
    if config.merged:
        return as_lines(protostreams(view, config, scores or {}, tell=tell), config)
    rows = view.searched
    cells = Cells(view.x[rows], view.y[rows], view.pm[rows], config.hough, reach=config.reach)
    found = []
    for number, size in enumerate(config.cells):
        boxes = list(cells.boxes(size, config.fewest, config.fiducial.slow))
        for k, (i, j, edge) in enumerate(boxes):
            if tell is not None and k % 8 == 0:
                tell((number + k / len(boxes)) / len(config.cells))
            middle = cells.middle(i, j, edge)
            counts, stars = cells.counts(i, j, edge)
            reference, many = cells.reference(i, j, edge)
            if many < 2 * config.fewest:
                continue
            sets = [(counts, stars, "counts")] if config.counted else []
            inside = None
            for scan, (regions, made) in (scores or {}).items():
                center = middle[SCANS.index(scan)]
                nearest = min(range(len(regions)), key=lambda n: abs(regions[n].middle - center))
                if abs(regions[nearest].middle - center) > max(config.step, size) / 2:
                    continue
                inside = cells.rows_of(i, i + edge, j, j + edge) if inside is None else inside
                values = made.ln_ratio[nearest][rows[inside]]
                known = np.isfinite(values)
                for top in config.tops:
                    if known.sum() > top:
                        best = inside[known][np.argpartition(-values[known], top)[:top]]
                        sets.append((cells.transform(best), top, f"{scan} {top}"))
            for width in config.widths:
                for counts_of, many_of, name in sets:
                    z, a, b, count, expected = cells.strongest(counts_of, many_of, reference, many, width)
                    found.append(Excess(z, *cells.line(a, b), width, count, expected, middle, size, many_of, name))
    return sorted(found, key=lambda line: -line.z)


class Found(NamedTuple):
    """A line and the stream along it.

    Attributes:
        strength: root of z^2 of the line and of what the stream adds to ln(likelihood): a number to sort by, whose
            meaning comes from empty patches (`null_scans`).
        line: of the cell.
        members: among the fiducial stars.
    """

    strength: float
    line: Excess
    members: Members


def follow(view: View, lines: list[Excess], config: ScanConfig, *, tell: Tell | None = None) -> list[Found]:
    """The streams along the strongest lines, the strongest first, each once."""
    rows, chosen, out = view.searched, [], []
    for line in lines:
        if line.z < config.least or len(chosen) >= config.most:
            break
        if not any(_same(line, other) for other in chosen):
            chosen.append(line)
    for k, line in enumerate(chosen):
        if tell is not None:
            tell(k / len(chosen))
        try:
            members = _members(view, rows, line, config)
        except NoStream:
            continue
        out.append(Found(float(np.hypot(line.z, np.sqrt(max(members.gain, 0.0)))), line, members))
    out.sort(key=lambda f: -f.strength)
    kept: list[Found] = []
    for f in out:
        own = set(f.members.rows[f.members.probability > 0.5].tolist())
        others = [set(k.members.rows[k.members.probability > 0.5].tolist()) for k in kept]
        if not any(len(own & other) > 0.4 * max(min(len(own), len(other)), 1) for other in others):
            kept.append(f)
    return kept


def _members(view: View, rows, line: Excess, config: ScanConfig) -> Members:
    error, cmd = (None if v is None else v[rows] for v in (view.error, view.cmd))
    return fit_members(
        view.x[rows], view.y[rows], view.pm[rows], np.deg2rad(line.theta), line.r, line.pm, pm_error=error, cmd=cmd,
        config=config.members,
    )  # fmt: skip


def _same(a: Excess, b: Excess) -> bool:
    """Whether two lines are nearly one: neighbours in proper motion, and on the sky."""
    turn = abs(a.theta - b.theta)
    other = b.r if turn < 90 else -b.r
    near = max(abs(p - q) for p, q in zip(a.pm, b.pm, strict=True)) <= max(a.size, b.size)
    return near and min(turn, 180 - turn) < 15 and abs(a.r - other) < 2.0


def scan_patch(
    stars: Catalog, config: ScanConfig | None = None, *, scores: Mapping[str, tuple[list, Scores]] | None = None,
    on_progress: OnProgress = None,
) -> Scan:  # fmt: skip
    """Search a patch for streams, blind over all its proper motions.

    Args:
        stars: of `Patch.of`: lon, lat, pm_lon, pm_lat, and as far as they are there colour, magnitude, and errors of
            the proper motions.
        config: what to do.
        scores: of `score_patch`, if they are at hand.
        on_progress: called with `Progress`; returning False cancels.

    Returns:
        The scan. Its table has for each candidate: ``strength``, by which they are sorted; ``z`` of the line by Li & Ma
        1983, and ``sigma``, the largest as published (`hough`) of the cell's stars next to it; ``gain`` in
        ln(likelihood); ``count``, the expected number of members near the line in the patch; ``theta``, ``r``, and
        ``shift``, ``slope``, ``bend`` of the track from that line; ``angle`` of the track in its middle; ``length`` and
        ``width`` (a standard deviation); ``ra``, ``dec`` of its middle; ``pm_lon``, ``pm_lat`` there, their slopes over
        10 deg, and ``pm_spread``; a rough ``distance`` (see `photometric_distance`); ``first``, ``last``, the ends
        along the line; how it was ``found_by``; ``flags``: "edge" of the disc, "short" if nine tenths lie within
        4 deg, "few" for under 10 members, "cluster" if a clump (such as a globular cluster), whose stars are not
        searched, lies on the track and moves like it; and the ``known`` stream it is, if one is, with ``offset``,
        ``overlap`` and ``pm_offset`` (see `nearest_known`).

    Raises:
        KeyError, ValueError: as `view_of` and `score_patch`, before any long work.
    """
    config = ScanConfig() if config is None else config
    checks.a(config, ScanConfig, "a ScanConfig")
    began = time.monotonic()
    view, digest = view_of(stars, config), stars.digest(DIGEST)
    seconds, notes = {"scores": 0.0, "lines": 0.0, "streams": 0.0}, ""
    start = 0.8 if config.method is not None and scores is None else 0.0
    center = (stars.meta.get("patch") or {}).get("center")
    center = None if center is None else tuple(center)

    def result(candidates, members, stopped, message):
        return Scan(
            config, candidates, members, center, len(stars), len(view.searched), digest, stopped, message, seconds,
            notes,
        )  # fmt: skip

    def part(stage, low, high):
        return steps(on_progress, stage, began, *(start + (1 - start) * f for f in (low, high)))

    def cancelled(stage):
        return result(
            candidate_table([]), [], "cancelled", f"Scan: cancelled during the {stage}; nothing was found yet."
        )

    if config.method is not None:
        if scores is None:
            scores = score_patch(
                stars,
                config,
                on_progress=on_progress and (lambda p: on_progress(p._replace(fraction=start * p.fraction))),
            )
        seconds["scores"] = time.monotonic() - began
        notes = " ".join(made.message for _, made in scores.values())
        if any(made.stopped != "finished" for _, made in scores.values()):
            return cancelled("scores")
    stage = "lines"
    try:
        tick = time.monotonic()
        lines = find_lines(view, config, scores, tell=part(stage, 0.0, 0.4))
        seconds[stage], stage, tick = time.monotonic() - tick, "streams", time.monotonic()
        found = follow(view, lines, config, tell=part(stage, 0.4, 0.7))
        strong = [f for f in found if f.strength >= config.weakest]
        candidates, members = _tables(stars, view, strong, config, center, part(stage, 0.7, 1.0))
        seconds[stage] = time.monotonic() - tick
    except Cancelled:
        return cancelled(stage)
    with suppress(Cancelled):  # too late
        steps(on_progress, "finished", began, 1.0, 1.0)(1.0)
    return result(
        candidates, members, "finished",
        f"Scan: {len(candidates)} candidates among {len(view.searched):,} of {len(stars):,} stars"
        + ("." if lines else f", of which no cell held {config.fewest} with as many around; take larger cells."),
    )  # fmt: skip


def _tables(
    stars: Catalog, view: View, found: list[Found], config: ScanConfig, center, tell: Tell
) -> tuple[Table, list[Table]]:
    """The candidates and their members in the whole patch, fainter and redder stars too."""
    rows = np.flatnonzero(view.clear)
    fiducial = view.searched
    footprint = None
    told, tables = [], []
    for k, f in enumerate(found):
        tell(k / len(found))
        line = f.line
        theta = np.deg2rad(line.theta)
        try:
            made = _members(view, rows, line._replace(pm=tuple(f.members.motion[0])), config)
        except NoStream:
            continue
        own = rows[made.rows]
        along, across = along_and_across(view.x[own], view.y[own], theta, line.r)
        table: dict[str, Any] = {"row": own.astype(np.int32)}
        if "source_id" in stars:
            ids: Any = np.ma.asarray(stars["source_id"][own])
            ids = ids.astype(np.int64) if ids.dtype.kind == "u" else ids  # -1 stands for none
            table["source_id"] = ids.filled(-1 if ids.dtype.kind in "iu" else "")
        table |= {name: np.asarray(stars[name][own], float) for name in ("ra", "dec") if name in stars}
        table |= {
            "probability": made.probability.astype(np.float32), "along": along, "across": across,
            "motion_probability": made.motion_probability.astype(np.float32),
        }  # fmt: skip
        tables.append(with_units(Table(table)))
        in_cell = np.abs(view.pm[fiducial] - line.pm).max(1) < line.size / 2
        if footprint is None:
            footprint = Footprint(config.hough, np.stack([view.x[fiducial], view.y[fiducial]], 1))
        chosen = fiducial[in_cell]
        sigma = _published(hough(view.x[chosen], view.y[chosen], config.hough, reference=footprint), line)
        middle = float(np.mean(made.ends))
        length = float(np.ptp(made.ends))
        flags = [
            name for name, raised in (
                ("edge", abs(line.r) > config.hough.edge * config.hough.radius), ("short", length < 4.0),
                ("few", made.count < 10), ("cluster", _clump_on(view, made, theta, line.r)),
            ) if raised
        ]  # fmt: skip
        distance = np.nan, np.nan
        if view.cmd is not None:
            distance = photometric_distance(
                view.cmd[own, 0],
                view.cmd[own, 1],
                made.probability,
                g_limit=float(np.nanpercentile(view.cmd[:, 1], 99.9)),
            )
        place = np.full(1, np.nan), np.full(1, np.nan)
        if center is not None:
            place = track_of(center, np.array([middle]), made.track, theta, line.r)
        told.append({
            "strength": f.strength, "z": line.z, "sigma": sigma, "gain": f.members.gain, "count": made.count,
            "angle": (line.theta - np.rad2deg(np.arctan(made.track[1] / 10 + made.track[2] * middle / 50))) % 180,
            "theta": line.theta, "r": line.r, "shift": made.track[0], "slope": made.track[1], "bend": made.track[2],
            "length": length, "width": made.width, "ra": place[0][0], "dec": place[1][0],
            "pm_lon": made.motion[0, 0] + made.motion[1, 0] * middle / 10,
            "pm_lat": made.motion[0, 1] + made.motion[1, 1] * middle / 10,
            "pm_lon_slope": made.motion[1, 0], "pm_lat_slope": made.motion[1, 1], "pm_spread": made.spread,
            "distance": distance[0], "distance_error": distance[1],
            "first": made.ends[0], "last": made.ends[1], "found_by": line.found_by, "flags": ",".join(flags),
        })  # fmt: skip
        if center is not None:
            told[-1] |= nearest_known(*track_of_candidate(center, told[-1]))
    return candidate_table(told), tables


def _published(field, line: Excess) -> float:
    """The largest significance as published at the windows next to a line."""
    turn = field.theta.values[:, None] - line.theta
    other = np.where(np.abs(turn) > 90, -1, 1) * field.r.values[None, :]  # at the seam r has the other sign
    close = (np.abs((turn + 90) % 180 - 90) < 6) & (np.abs(other - line.r) < 0.7)
    values = field.significance.values[close]
    return float(np.nanmax(values)) if np.isfinite(values).any() else np.nan


def _clump_on(view: View, made: Members, theta: float, r: float, enough: int = 10) -> bool:
    """Whether stars that are left out with a clump lie on a track and move as it does, more than its own would be."""
    rows = np.flatnonzero(~view.clear)
    along, across = along_and_across(view.x[rows], view.y[rows], theta, r)
    off = across - np.vander(along / 10, 3, increasing=True) @ made.track
    moving = np.abs(view.pm[rows] - made.motion[0] - along[:, None] / 10 * made.motion[1]).max(1) < PM_OFFSET
    inside = (along > made.ends[0] - 1) & (along < made.ends[1] + 1)
    left = along[moving & inside & (np.abs(off) < 1.0)]
    holes = len(np.unique(np.floor(2 * left))) / 2  # deg along the track
    return len(left) > enough + 3 * holes * made.count / max(np.ptp(made.ends), 1.0)
