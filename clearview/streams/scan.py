"""The blind search of a patch: scores, lines in every cell of proper motion, and the streams they belong to.

After Via Machinae (Shih et al. 2021, arXiv:2104.12789; 2023, arXiv:2303.01529), with two differences. Lines are looked
for in small cells of both proper motions, among all stars and among those of highest score, where Via Machinae takes
the hundred stars of highest score in windows of 6 mas/yr (which `ScanConfig.as_published` does); and a line counts for
what a stream along it explains of the stars around it, in place, motion, colour and magnitude.
"""

import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy.table import Table

from clearview import checks
from clearview.catalogs import Catalog
from clearview.catalogs.frames import basis, sky_point
from clearview.flows import CheckpointError, Progress
from clearview.flows.checkpoint import write_whole
from clearview.flows.fit import HISTORY, OnProgress
from clearview.mocks.patch import from_patch
from clearview.streams.anomaly import Anode, Cathode, Cwola, Scores, score_regions
from clearview.streams.cells import PIXEL, Cells, Excess, compact
from clearview.streams.distance import photometric_distance
from clearview.streams.known import PM_OFFSET, nearest_known
from clearview.streams.lines import Footprint, HoughConfig, hough
from clearview.streams.members import MemberConfig, Members, NoStream, along_and_across, fit_members
from clearview.streams.regions import SCANS, Fiducial, SignalRegion, signal_regions

DIGEST = ("lon", "lat", *SCANS)
"""Columns that tell one patch from another."""

METHODS = {"Anode": Anode, "Cwola": Cwola, "Cathode": Cathode}


@dataclass(frozen=True)
class ScanConfig:
    """What a scan does.

    Attributes:
        method: how stars are scored, `Anode`, `Cwola` or `Cathode`, for lines among those of highest score; None scores
            none: it takes seconds a patch in place of minutes, and is what tests/benchmarks/streams_injected.py tells
            of.
        width: of the signal regions, mas/yr.
        step: from one to the next, mas/yr.
        folds: no star is scored by a model that saw it; see `score_regions`.
        sky: whether lon and lat are features. Without them a score knows nothing of the sky, so that no line can come
            from it, and permutations of the sky keep it.
        cells: sizes of the cells of both proper motions in which lines are looked for, mas/yr.
        counted: whether lines are looked for among all stars of a cell.
        tops: how many stars of highest score in a cell lines are looked for among.
        widths: of the windows across a line, deg.
        fewest: stars of a cell.
        reach: cells cover proper motions within so much of zero, mas/yr.
        least: z of a line that is looked at more closely.
        most: how many lines are.
        weakest: strength of a candidate that is told.
        fiducial: which stars lines are made of.
        hough: radius and steps of the transform, and the published significance.
        members: how members are told.
        seed: of the scores.
    """

    method: Anode | Cwola | Cathode | None = None
    width: float = 6.0
    step: float = 1.0
    folds: int = 2
    sky: bool = False
    cells: tuple[float, ...] = (1.0, 2.0)
    counted: bool = True
    tops: tuple[int, ...] = (100,)
    widths: tuple[float, ...] = (0.6, 1.0)
    fewest: int = 20
    reach: float = 20.0
    least: float = 4.2
    most: int = 40
    weakest: float = 6.0
    fiducial: Fiducial = field(default_factory=Fiducial)
    hough: HoughConfig = field(default_factory=HoughConfig)
    members: MemberConfig = field(default_factory=MemberConfig)
    seed: int = 0

    def __post_init__(self):
        checks.a(self.method, (*METHODS.values(), type(None)), "a method: Anode, Cwola, Cathode or None")
        checks.a(self.fiducial, Fiducial, "fiducial as a Fiducial")
        checks.a(self.hough, HoughConfig, "hough as a HoughConfig")
        checks.a(self.members, MemberConfig, "members as a MemberConfig")
        checks.numbers(self, width=(0.1, 1e3), step=(0.01, 1e3), reach=(1, 40), least=(0, 1e3), weakest=(0, 1e3))
        checks.numbers(self, whole=True, folds=(2, 100), fewest=(5, 10**9), most=(1, 1000), seed=checks.SEEDS)
        for name, low, high, whole in (
            ("cells", 0.5, 2 * self.reach, False), ("widths", self.hough.r_step, self.hough.radius, False),
            ("tops", 5, 10**9, True),
        ):  # fmt: skip
            values = getattr(self, name)
            found = tuple(values) if isinstance(values, list | tuple) else (values,)
            found = tuple(checks.number(f"one of {name}", v, low, high, whole=whole) for v in found)
            if not found and name != "tops":
                raise ValueError(f"Expected at least one of {name}, got none; give one.")
            object.__setattr__(self, name, found)
        for width in self.widths:
            HoughConfig(self.hough.radius, self.hough.theta_step, self.hough.r_step, width=width)  # refuses an even one
        for size in self.cells:
            if size % PIXEL:
                raise ValueError(f"Expected sizes of cells as multiples of {PIXEL:g} mas/yr, got {size:g}; round them.")
        for name in ("sky", "counted"):
            checks.a(getattr(self, name), bool, f"{name} as True or False")
        if not self.counted and (self.method is None or not self.tops):
            raise ValueError("Expected stars to look for lines among, got neither counted nor tops; choose one.")

    @classmethod
    def as_published(cls, method: Any = None, **changes: Any) -> "ScanConfig":
        """Windows of 6 mas/yr and their hundred stars of highest score, with the sky among the features."""
        given = {"cells": (6.0,), "counted": False, "tops": (100,), "widths": (1.0,), "sky": True}
        return cls(method=Anode() if method is None else method, **{**given, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` takes them."""
        plain = dataclasses.asdict(self)
        if self.method is not None:
            plain["method"] = {"name": type(self.method).__name__, **plain["method"]}
        return json.loads(json.dumps(plain))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ScanConfig":
        """The config that `to_dict` told.

        Raises:
            TypeError, ValueError: for what tells none.
        """
        given: dict[str, Any] = dict(checks.a(values, Mapping, "a ScanConfig as a mapping"))
        method = given.get("method")
        if method is not None:
            method = dict(checks.a(method, Mapping, "a method as a mapping"))
            if (name := method.pop("name", None)) not in tuple(METHODS):
                raise ValueError(f"Expected a method among {', '.join(METHODS)}, got {checks.shown(name)}; choose one.")
            given["method"] = checks.from_plain(METHODS[name], method)
        for name, kind in (("fiducial", Fiducial), ("hough", HoughConfig), ("members", MemberConfig)):
            if name in given:
                plain = checks.a(given[name], Mapping, f"{name} as a mapping")
                given[name] = checks.from_plain(kind, _tuples(plain))
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(given) - known):
            raise ValueError(
                f"Expected a ScanConfig with the fields {', '.join(sorted(known))}, got {checks.shown(unknown[0])}; "
                "correct its name."
            )
        return cls(**_tuples(given))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


class View(NamedTuple):
    """A patch as the search sees it.

    Attributes:
        x: (N,) lon cos(lat), deg.
        y: (N,) lat, deg.
        pm: (N, 2) pm_lon, pm_lat, mas/yr.
        error: (N, 2) of these, mas/yr, or None.
        cmd: (N, 2) colour and magnitude, mag, or None.
        searched: (K,) rows of the fiducial stars outside of clumps.
        clear: (N,) stars outside of clumps.
    """

    x: np.ndarray
    y: np.ndarray
    pm: np.ndarray
    error: np.ndarray | None
    cmd: np.ndarray | None
    searched: np.ndarray
    clear: np.ndarray


def view_of(stars: Catalog, config: ScanConfig) -> View:
    """The stars of `Patch.of` as arrays, with the fiducial ones and the clumps told apart.

    Raises:
        KeyError: without lon, lat, pm_lon or pm_lat.
        ValueError: if the photometry of the fiducial cuts is missing (unless ``fiducial.missing`` says "skip"), or too
            few stars are left.
    """
    checks.a(stars, Catalog, "a Catalog").require(("lon", "lat", *SCANS))
    lon, lat = (np.asarray(stars[name], float) for name in ("lon", "lat"))
    x, y = lon * np.cos(np.deg2rad(lat)), lat
    pm = np.stack([np.asarray(stars[name], float) for name in SCANS], 1)
    if wrong := int((~np.isfinite(pm).all(1) | ~np.isfinite(x + y)).sum()):
        raise ValueError(
            f"Expected finite lon, lat and proper motions, got {wrong:,} stars without; take the stars of a Patch."
        )
    fiducial = config.fiducial
    keep = fiducial.select(stars)
    names = fiducial.color_column, fiducial.magnitude_column
    cmd = None
    if all(name in stars for name in names):
        cmd = np.stack([np.ma.filled(np.ma.asarray(stars[name], float), np.nan) for name in names], 1)
        cmd[~(np.abs(cmd) < 50)] = np.nan  # magnitudes that stand for none
    error = None
    if "pmra_error" in stars and "pmdec_error" in stars:
        both = [np.ma.filled(np.ma.asarray(stars[name], float), np.nan) for name in ("pmra_error", "pmdec_error")]
        mean = np.hypot(*both) / np.sqrt(2)
        known = np.isfinite(mean)
        mean[~known] = np.median(mean[known]) if known.any() else 0.0  # who has no error is no better than the others
        error = np.repeat(mean[:, None], 2, axis=1)
    rows = np.flatnonzero(keep)
    if len(rows) < 10 * config.fewest:
        raise ValueError(
            f"Expected at least {10 * config.fewest} fiducial stars to search, got {len(rows)} of {len(stars):,}"
            + ("" if cmd is None else f", of which {int((~np.isfinite(cmd).all(1)).sum()):,} have no photometry")
            + "; choose another patch, or wider cuts."
        )
    clumped = compact(x, y, pm, searched=rows, reach=config.reach)
    return View(x, y, pm, error, cmd, np.flatnonzero(keep & ~clumped), ~clumped)


def score_patch(
    stars: Catalog, config: ScanConfig, *, regions: Sequence[SignalRegion] | None = None, on_progress: OnProgress = None
) -> dict[str, tuple[list, Scores]]:
    """For each scanned proper motion its signal regions and the scores of their stars.

    The features are the other proper motion, colour and magnitude as far as they are there, and the sky if
    ``config.sky``. Stars without all features have no score.

    Args:
        stars: of `Patch.of`.
        config: what to do.
        regions: those to score; by default all of the patch, see `signal_regions`.
        on_progress: called with `Progress`; returning False cancels.

    Raises:
        ValueError: as `signal_regions` and `score_regions`.
    """
    names = [n for n in (config.fiducial.color_column, config.fiducial.magnitude_column) if n in stars]
    refused: list[str] = []
    out: dict[str, tuple[list, Scores]] = {}
    scans = [scan for scan in SCANS if regions is None or any(r.scan == scan for r in regions)]
    for number, scan in enumerate(scans):
        columns = [SCANS[1 - SCANS.index(scan)], *names, *(("lon", "lat") if config.sky else ())]
        table = np.stack([np.ma.filled(np.ma.asarray(stars[name], float), np.nan) for name in columns], 1)
        whole = np.isfinite(table).all(1)
        if regions is None:
            try:
                found = signal_regions(stars, scan, width=config.width, step=config.step, fewest=_fewest(stars))
            except ValueError as problem:  # the other proper motion may have some
                refused.append(str(problem))
                continue
            found = [r for r in found if abs(r.middle) <= config.reach]
        else:
            found = [r for r in regions if r.scan == scan]
        if not found:
            refused.append(
                f"Expected signal regions of {scan} within {config.reach:g} mas/yr, got none; widen the reach."
            )
            continue

        def tell(progress, number=number, scan=scan):
            return on_progress is None or on_progress(
                progress._replace(stage=f"{scan}: {progress.stage}", fraction=(number + progress.fraction) / len(scans))
            )

        scores = score_regions(
            config.method, table[whole], np.asarray(stars[scan], float)[whole], [(r.low, r.high) for r in found],
            seed=config.seed, folds=config.folds, on_progress=tell,
        )  # fmt: skip
        spread = []
        for values in scores.ln_ratio:
            of_all = np.full(len(stars), np.nan, np.float32)
            of_all[whole] = values
            spread.append(of_all)
        out[scan] = found, scores._replace(ln_ratio=spread)
        if scores.stopped != "finished":
            break
    if refused and not out:
        raise ValueError(refused[0])
    if refused:
        scan, (found, made) = out.popitem()
        out[scan] = found, made._replace(message=" ".join([made.message, *refused]))
    return out


def _fewest(stars: Catalog) -> int:
    """Stars that a signal region and either sideband need: as published, or fewer of a small patch."""
    return int(np.clip(len(stars) // 100, 100, 1000))


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


def _plain(value):
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


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
        candidates = _with_units(Table({n: _column(n, v) for n, v in header["candidates"].items()}))
        ends = np.cumsum([0, *header["rows"]])
        if ends[-1] != table.num_rows or len(candidates) != len(header["rows"]):
            raise ValueError("rows")
        columns = {n: table[n].to_numpy() for n in table.column_names}
        members = [_with_units(Table({n: c[i:j] for n, c in columns.items()})) for i, j in pairwise(ends)]
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


def _column(name: str, values: list):
    if name in _TEXTS:
        return np.array(values, str)
    return np.array([np.nan if v is None else v for v in values])


_TEXTS = ("found_by", "flags", "known")
_UNKNOWN = {"known": "", "offset": np.nan, "overlap": np.nan, "pm_offset": np.nan}
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


def _with_units(table: Table) -> Table:
    for name in table.colnames:
        if name in _UNITS:
            column: Any = table[name]
            column.unit = _UNITS[name]
    return table


def scan_patch(stars: Catalog, config: ScanConfig | None = None, *, on_progress: OnProgress = None) -> Scan:
    """Search a patch for streams, blind over all its proper motions.

    Args:
        stars: of `Patch.of`: lon, lat, pm_lon, pm_lat, and as far as they are there colour, magnitude, and errors of
            the proper motions.
        config: what to do.
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
    seconds, scores, notes = {"scores": 0.0, "lines": 0.0, "streams": 0.0}, None, ""
    start = 0.0 if config.method is None else 0.8
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
        return result(_candidates([]), [], "cancelled", f"Scan: cancelled during the {stage}; nothing was found yet.")

    if config.method is not None:
        scores = score_patch(
            stars, config,
            on_progress=None if on_progress is None else lambda p: on_progress(p._replace(fraction=start * p.fraction)),
        )  # fmt: skip
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
            ids = np.ma.asarray(stars["source_id"][own])
            table["source_id"] = ids.filled(-1 if ids.dtype.kind in "iu" else "")
        table |= {name: np.asarray(stars[name][own], float) for name in ("ra", "dec") if name in stars}
        table |= {
            "probability": made.probability.astype(np.float32), "along": along, "across": across,
            "motion_probability": made.motion_probability.astype(np.float32),
        }  # fmt: skip
        tables.append(_with_units(Table(table)))
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
            **_UNKNOWN,
        })  # fmt: skip
        if center is not None:
            told[-1] |= nearest_known(*track_of_candidate(center, told[-1]))
    return _candidates(told), tables


_COLUMNS = (
    "strength", "z", "sigma", "gain", "count", "angle", "theta", "r", "shift", "slope", "bend", "length", "width", "ra",
    "dec", "pm_lon", "pm_lat", "pm_lon_slope", "pm_lat_slope", "pm_spread", "distance", "distance_error", "first",
    "last", "found_by", "flags", "known", "offset", "overlap", "pm_offset",
)  # fmt: skip


def _candidates(rows: list[dict[str, Any]]) -> Table:
    kinds = {name: str if name in _TEXTS else float for name in _COLUMNS}
    return _with_units(Table({n: np.array([row[n] for row in rows], dtype=k) for n, k in kinds.items()}))


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


def track_of_candidate(center, row: Any, points: int = 21) -> np.ndarray:
    """(4, points) ra, dec [deg], pmra, pmdec [mas/yr] from end to end of a row of `Scan.candidates`."""
    along = np.linspace(row["first"], row["last"], points)
    x, y = _places(along, (row["shift"], row["slope"], row["bend"]), np.deg2rad(row["theta"]), row["r"])
    t = (along - along.mean()) / 10
    motion = (row[name] + row[f"{name}_slope"] * t for name in SCANS)
    return np.array(from_patch(center, x / np.cos(np.deg2rad(y)), y, *motion))


def _places(along: np.ndarray, track, theta: float, r: float) -> tuple[np.ndarray, np.ndarray]:
    """x, y [deg] in the plane of the patch."""
    across = r + np.vander(along / 10, 3, increasing=True) @ np.asarray(track)
    return along * np.cos(theta) + across * np.sin(theta), along * np.sin(theta) - across * np.cos(theta)


def track_of(center, along, track, theta: float, r: float) -> tuple[np.ndarray, np.ndarray]:
    """ra, dec [deg] of places ``along`` a track [deg] from its line, in a patch around ``center``."""
    x, y = _places(np.asarray(along, float), track, theta, r)
    out = basis(x / np.cos(np.deg2rad(y)), y)[0] @ np.array(basis(*sky_point(center, "center")))
    return np.rad2deg(np.arctan2(out[:, 1], out[:, 0])) % 360, np.rad2deg(np.arcsin(np.clip(out[:, 2], -1, 1)))
