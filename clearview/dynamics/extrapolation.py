"""What bias the measurement errors of the stars make, by simulation-extrapolation (SIMEX).

Stars measured once more within their errors carry these twice. With more and more noise added, an estimate can be
followed and extrapolated to none (Cook & Stefanski 1994, J. Am. Stat. Assoc. 89, 1314).
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from clearview.catalogs import Catalog
from clearview.catalogs.errors import resample
from clearview.dynamics.maps import EDGE, MapFit
from clearview.dynamics.potential import fit_potential, score_gradients


class Simex(NamedTuple):
    """An estimate extrapolated to no measurement errors.

    Attributes:
        naive: the estimate from the stars as they are.
        value: extrapolated; the bias of ``naive`` is the difference.
        error: of ``value``, by the random draws alone; the finite number of stars is not in it.
    """

    naive: np.ndarray
    value: np.ndarray
    error: np.ndarray


def simex(
    estimate: Callable[[Catalog], Any], catalog: Catalog, *, scales: Sequence[float] = (0.5, 1.0, 1.5), draws: int = 4,
    seed: int = 0,
) -> Simex:  # fmt: skip
    """Simulation-extrapolation of any estimate from stars with errors.

    Errors add in quadrature: stars measured once more with ``scale`` times their errors have 1 + scale^2 times the
    variance. A parabola in scale^2 through the estimates is read off at -1: exact for an estimate that is quadratic
    in the variance, and less than the whole bias for one that is steeper.

    Args:
        estimate: of a catalogue: a number or an array, as ``lambda stars: refit(fit, stars).acceleration(x)``.
        catalog: with errors, see `clearview.catalogs.errors.resample`.
        scales: of the added noise, two or more.
        draws: how often; one draw has the same random numbers at all scales.
        seed: of these.

    Raises:
        KeyError, ValueError: for fewer than two scales or draws, or a catalogue that cannot be resampled.
    """
    if len(set(scales)) < max(2, len(scales)) or min(scales) <= 0 or draws < 2:
        raise ValueError(f"Expected two or more draws and scales above 0, got {draws} and {tuple(scales)}; correct.")
    variance = np.array([0.0, *(s**2 for s in scales)])
    weights = np.array([1.0, -1.0, 1.0]) @ np.linalg.pinv(np.vander(variance, 3, increasing=True))
    naive, each = np.asarray(estimate(catalog), float), []
    for i in range(draws):
        noisier = [np.asarray(estimate(resample(catalog, seed + i, s).catalog), float) for s in scales]
        each.append(np.tensordot(weights, np.stack([naive, *noisier]), 1))
    return Simex(naive, np.mean(each, axis=0), np.std(each, axis=0, ddof=1) / np.sqrt(draws))


def bias_field(
    fit: MapFit, catalog: Catalog, function: Callable[..., xr.Dataset], *args, draws: int = 4, **kwargs
) -> xr.Dataset:  # fmt: skip
    """A field and what the measurement errors added to it, by `simex` with the f(x, v) of the map.

    Args:
        fit: a finished map.
        catalog: its stars, with errors.
        function: of a map, ``args`` and ``kwargs``, giving a field.
        draws: see `simex`.

    Returns:
        The map's field; beside each variable q stand ``q_bias``, to be taken off q, and ``q_bias_error``.

    Raises:
        KeyError, ValueError: for a catalogue that cannot be resampled.
    """
    out = function(fit, *args, **kwargs)

    def estimate(stars):
        return np.stack([np.asarray(v, float) for v in function(refit(fit, stars), *args, **kwargs).values()])

    found = simex(estimate, thinned(fit, catalog), draws=draws)
    added = {}
    for q, value, error in zip(out, found.naive - found.value, found.error, strict=True):
        added[f"{q}_bias"] = beside(out[q], value, "bias by measurement errors")
        added[f"{q}_bias_error"] = beside(out[q], error, "error of that bias")
    return out.assign(added)


def beside(variable: xr.DataArray, values, words: str):
    """``values`` as a companion of a field's variable, in its units."""
    label = f"{variable.attrs.get('long_name', variable.name)}, {words}"
    return variable.dims, np.asarray(values, np.float32), variable.attrs | {"long_name": label}


def refit(fit: MapFit, catalog: Catalog, *, on_batch: Callable[[int, int], object] | None = None) -> MapFit | None:
    """The potential solved anew from all of other stars, with the f(x, v) of a finished map: no training.

    Args:
        fit: the map; its ball is kept.
        catalog: the stars.
        on_batch: called with (done, all); returning False stops.

    Returns:
        The map of these stars, or None if stopped.

    Raises:
        ValueError: for fewer than 1,000 stars in the ball.
    """
    x, v = in_ball(fit, catalog)

    def half(number: int, done: int, size: int):
        return None if on_batch is None else on_batch(done + number * size, 2 * size)

    gradients = score_gradients(fit.density, x, v, on_batch=partial(half, 0))
    series = gradients and fit_potential(fit.series, gradients, fit.config.potential, on_batch=partial(half, 1))
    return series and dataclasses.replace(fit, series=series, stars=len(x), data_digest=catalog.digest())


def in_ball(fit: MapFit, catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) kpc and (N, 3) km/s of the stars in the map's ball."""
    x, v = np.split(np.asarray(catalog.phase_space, np.float32), 2, axis=1)
    inside = np.linalg.norm(x - fit.center, axis=1) < fit.radius * EDGE
    return x[inside], v[inside]


def thinned(fit: MapFit, catalog: Catalog) -> Catalog:
    """About as many stars as the potential is fitted to, with those beyond the ball, since errors move them in."""
    most = fit.stars if fit.config.potential is None else fit.config.potential.stars
    if most >= fit.stars:
        return catalog
    return catalog.take(np.random.default_rng(0).random(len(catalog)) < most / fit.stars)
