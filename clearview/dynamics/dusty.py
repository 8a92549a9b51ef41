"""From stars behind dust to potential, density and efficiency in one go, and the files of the result."""

import dataclasses
from typing import Any

import numpy as np
import xarray as xr

from clearview import checks, flows
from clearview.catalogs import Catalog
from clearview.dynamics.efficiency import EfficiencyConfig, EfficiencyFit, fit_efficiency
from clearview.dynamics.maps import (
    MapFit,
    blank,
    estimate_seconds,
    fit_map,
    load_map,
    packed,
    save_map,
    unpacked,
)
from clearview.dynamics.series import PotentialSeries
from clearview.flows.checkpoint import OtherVersion
from clearview.flows.fit import OnPreview, OnProgress, Progress

LEARNING = 0.7
"""Of the time is for the map of the seen stars, the rest for what follows from it."""


def fit_dusty(
    catalog: Catalog,
    config: EfficiencyConfig | None = None,
    *,
    on_progress: OnProgress = None,
    on_preview: OnPreview = None,
    resume: MapFit | None = None,
) -> EfficiencyFit | MapFit:
    """`fit_map` of the seen stars and then `fit_efficiency`.

    Args:
        catalog: the stars, in phase space.
        config: what to do.
        on_progress: as for `fit_map`; returning False cancels.
        on_preview: taken for the sake of likeness; there is none.
        resume: the cancelled map that an earlier call returned.

    Returns:
        The fit; the map of the seen stars as far as it went, if cancelled or diverged before.

    Raises:
        ValueError: as `fit_map` and `fit_efficiency`.
    """
    config, last = config or EfficiencyConfig(), None

    def told(p: Progress) -> Any:
        nonlocal last
        last = p._replace(
            fraction=LEARNING * p.fraction, remaining=None if p.remaining is None else p.remaining / LEARNING
        )
        return None if on_progress is None else on_progress(last)

    def batch(done: int, of: int) -> Any:
        nothing = Progress("gradients", 0, 0, 0.0, None, np.nan, np.nan, seen.history, LEARNING)
        p, share = last or nothing, LEARNING + (1 - LEARNING) * done / of
        return (
            None
            if on_progress is None
            else on_progress(p._replace(stage="gradients", fraction=share, remaining=p.seconds * (1 - share) / share))
        )

    seen = fit_map(catalog, None if resume else config.map, on_progress=told, resume=resume)
    if seen.stopped != "finished":
        return seen
    fit = fit_efficiency(seen, catalog, config, on_batch=batch)
    message = "Gradients: cancelled; the map of the seen stars is learnt."
    return dataclasses.replace(seen, stopped="cancelled", message=message) if fit is None else fit


def estimate_dusty(stars: int | Catalog, config: EfficiencyConfig | None = None) -> float:
    """Roughly how many seconds `fit_dusty` takes on this machine; see `estimate_seconds`."""
    return estimate_seconds(stars, (config or EfficiencyConfig()).map) / LEARNING


def save_fit(fit: EfficiencyFit | MapFit, path, *, overwrite: bool = False):
    """Write a fit, with dust or without, to one file without pickle; a map as `save_map` does."""
    if isinstance(fit, MapFit):
        return save_map(fit, path, overwrite=overwrite)
    seen, arrays = packed(checks.a(fit, EfficiencyFit, "a fit").seen)
    header = dict(
        seen=seen, config=dataclasses.asdict(fit.config), constant=fit.constant, message=fit.message,
        rays=[[float(c[0]), float(c[-1]), c.size] for c in (fit.rays[n] for n in _AXES)],
    )  # fmt: skip
    arrays = (*arrays, fit.series, fit.other, np.asarray(fit.rays.transpose(*_AXES).values, np.float32))
    return flows.save(path, "efficiency", header, arrays, overwrite=overwrite)


def load_fit(path) -> EfficiencyFit | MapFit:
    """Read what `save_fit` or `save_map` wrote.

    Raises:
        FileNotFoundError, CheckpointError: see `clearview.flows.load`.
    """

    def build(header):
        seen, config = header["seen"], checks.from_plain(EfficiencyConfig, header["config"])
        series = PotentialSeries(seen["config"]["center"], 1.0, 1.0, config.potential)
        shape = [checks.number("size", size, 1, 2000, whole=True) for _, _, size in header["rays"]]
        return (*blank(seen), series, series, np.zeros(shape, np.float32))

    try:
        header, (*seen, series, other, rays) = flows.load(path, "efficiency", build)
    except OtherVersion as problem:
        if problem.kind == "map":  # whose own version `load_map` looks at
            return load_map(path)
        raise
    with flows.described(path):
        axes = {
            n: (n, np.linspace(*ends), {"units": u}) for (n, u), ends in zip(_AXES.items(), header["rays"], strict=True)
        }
        return EfficiencyFit(
            unpacked(header["seen"], tuple(seen), path), series, other, checks.number("constant", header["constant"]),
            xr.DataArray(np.asarray(rays), axes, tuple(axes), "efficiency", {"units": ""}),
            checks.from_plain(EfficiencyConfig, header["config"]), checks.a(header["message"], str, "a message"),
        )  # fmt: skip


_AXES = {"l": "deg", "b": "deg", "distance": "kpc"}
