"""A patch as its search sees it, and the scores of its stars."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clearview import checks
from clearview.catalogs import Catalog
from clearview.flows.fit import OnProgress
from clearview.streams.anomaly import Scores, score_regions
from clearview.streams.cells import compact
from clearview.streams.config import ScanConfig
from clearview.streams.regions import SCANS, SignalRegion, signal_regions

DIGEST = ("lon", "lat", *SCANS)
"""Columns that tell one patch from another."""


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
                found = signal_regions(stars, scan, width=config.width, step=config.step, fewest=fewest_of(stars))
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


def fewest_of(stars: Catalog) -> int:
    """Stars that a signal region and either sideband need: as published, or fewer of a small patch."""
    return int(np.clip(len(stars) // 100, 100, 1000))
