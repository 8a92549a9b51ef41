"""What bias the measurement errors of the stars make, by simulation-extrapolation (SIMEX).

Stars measured once more within their errors carry these twice. With more and more noise added, an estimate can be
followed and extrapolated to none (Cook & Stefanski 1994, J. Am. Stat. Assoc. 89, 1314).
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from clearview.catalogs import Catalog
from clearview.catalogs.errors import resample
from clearview.dynamics.maps import EDGE, EXTRAPOLATED, MapFit
from clearview.dynamics.potential import fit_potential, score_gradients


class Simex(NamedTuple):
    """An estimate extrapolated to no measurement errors.

    Attributes:
        naive: the estimate from the stars as they are.
        each: extrapolated, of each random draw (the first axis).
    """

    naive: np.ndarray
    each: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """Extrapolated; the bias of ``naive`` is the difference."""
        return self.each.mean(0)

    @property
    def error(self) -> np.ndarray:
        """Of ``value``, by the random draws alone; the finite number of stars is not in it."""
        return self.each.std(0, ddof=1) / np.sqrt(len(self.each))


def simex(
    estimate: Callable[[Catalog], Any], catalog: Catalog, *, scales: Sequence[float] = (0.5, 1.0, 1.5), draws: int = 4,
    seed: int = 0,
) -> Simex | None:  # fmt: skip
    """Simulation-extrapolation of any estimate from stars with errors.

    Errors add in quadrature: stars measured once more with ``scale`` times their errors have 1 + scale^2 times the
    variance. A parabola in scale^2 through the estimates is read off at -1: exact for an estimate that is quadratic
    in the variance, and less than the whole bias for one that is steeper.

    Args:
        estimate: of a catalogue: a number or an array, as ``lambda stars: np.median(stars["pmra"])``.
        catalog: with errors, see `clearview.catalogs.errors.resample`.
        scales: of the added noise, two or more.
        draws: how often; one draw has the same random numbers at all scales.
        seed: of these.

    Returns:
        The estimate extrapolated, or None as soon as an estimate is None.

    Raises:
        KeyError, ValueError: for fewer than two scales or draws, or a catalogue that cannot be resampled.
    """
    if len(set(scales)) < max(2, len(scales)) or min(scales) <= 0 or draws < 2:
        raise ValueError(f"Expected two or more draws and scales above 0, got {draws} and {tuple(scales)}; correct.")
    variance = np.array([0.0, *(s**2 for s in scales)])
    weights = np.array([1.0, -1.0, 1.0]) @ np.linalg.pinv(np.vander(variance, 3, increasing=True))
    if (first := estimate(catalog)) is None:
        return None
    each = []
    for i in range(draws):
        noisier = [first]
        for scale in scales:
            if (found := estimate(resample(catalog, seed + i, scale).catalog)) is None:
                return None
            noisier.append(found)
        each.append(np.tensordot(weights, np.asarray(noisier, float), 1))
    return Simex(np.asarray(first, float), np.stack(each))


def simex_map(
    fit: MapFit, catalog: Catalog, *, scales: Sequence[float] = (0.7, 1.4), draws: int = 2,
    on_batch: Callable[[int, int], object] | None = None,
) -> MapFit | None:  # fmt: skip
    """The map with its potential extrapolated to no measurement errors, by `simex` with the f(x, v) of the map.

    It takes out most of the bias of a field, which is the difference of the two maps' fields. The spread of the
    potential then holds the scatter of the random draws, too (few draws tell it roughly), but not what extrapolating
    does to the noise of finite stars. f(x, v) stays that of the stars as they are.

    Args:
        fit: a finished map.
        catalog: its stars, with errors, and those beyond the ball that the errors may carry into it.
        scales, draws: see `simex`; the potential is solved 1 + len(scales) * draws times.
        on_batch: called with (done, all); returning False stops.

    Returns:
        The map, or None if stopped.

    Raises:
        ValueError: for what is no finished map, or one that is extrapolated already, or a catalogue with next to no
            star beyond the ball.
        KeyError, ValueError: for a catalogue that cannot be resampled.
    """
    if not (isinstance(fit, MapFit) and fit.complete and fit.has_potential):
        raise ValueError(f"Expected a finished map, got {type(fit).__name__}: {fit.message} Finish one with fit_map.")
    if EXTRAPOLATED in fit.source:
        raise ValueError("Expected a map as fitted, got one that is extrapolated already; give the first one.")
    resample(catalog, 0)  # what cannot be is refused before any work
    if len(catalog) - (inside := len(in_ball(fit, catalog)[0])) < 0.002 * inside:
        raise ValueError(
            f"Expected stars beyond the ball of {fit.radius:.3g} kpc, too, which errors carry into it, got "
            f"{len(catalog) - inside:,} beside {inside:,} in it; cut the catalogue at a larger radius than the map's."
        )
    stars, count, solved = thinned(fit, catalog), 1 + len(scales) * draws, 0

    def coefficients(stars):
        nonlocal solved
        found = refit(
            fit, stars, on_batch=lambda done, size: on_batch is None or on_batch(solved * size + done, count * size)
        )  # fmt: skip
        solved += 1
        return found and found.series.coefficients

    if (found := simex(coefficients, stars, scales=scales, draws=draws)) is None:
        return None
    value = fit.series.coefficients + np.asarray(found.value - found.naive)
    scatter = (found.each - found.value) / np.sqrt(draws * (draws - 1))
    spread = np.linalg.qr(np.concatenate([np.asarray(fit.series.spread).T, scatter])).R.T
    parts = tuple(jnp.asarray(a, jnp.float32) for a in (value, spread))
    series = eqx.tree_at(lambda s: (s.coefficients, s.spread), fit.series, parts)
    message = f"{fit.message} Extrapolated to no measurement errors ({draws} draws)."
    return dataclasses.replace(fit, series=series, message=message, source={**fit.source, EXTRAPOLATED: draws})


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
