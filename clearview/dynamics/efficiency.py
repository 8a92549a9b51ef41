"""Potential and selection efficiency together: what dust hides changes where stars are seen, not how they move there.

With f_seen = eps(x) f the velocities p(v | x) at a place are untouched, and the Boltzmann equation reads

    v . d ln p/dx + v . d ln n/dx - grad Phi . d ln p/dv = 0

with the density n that would be seen without dust: Phi and ln n follow from p(v | x) alone, and eps = n_seen / n. The
joint form (Putney et al. 2024, arXiv:2412.14236) has ln n_seen - ln eps in the place of ln n. Only gradients stand in
the equation, so constants are fixed where there is no dust, near the Sun, and far from the plane, where all dust is in
front of the stars: ln eps is as one over the sine of the latitude there, and how far below 0 is found with the rest.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import random
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import isotonic_regression

from clearview import checks
from clearview.catalogs import Catalog
from clearview.dynamics.fields import provenance_of, slice_points
from clearview.dynamics.maps import MapConfig, MapFit
from clearview.dynamics.potential import rate_at_center, score_gradients, star_by_star, usable
from clearview.dynamics.prior import tide_prior
from clearview.dynamics.series import PotentialConfig, PotentialSeries, at_places, chunks, in_full
from clearview.field import Axis, Quantity, make_field
from clearview.flows import PhaseSpace

FORMS = ("velocities", "joint")

CORRELATED = 5.0
"""Variance of the equations' noise over that of ``pointwise`` independent residuals: errors of learnt gradients are
alike over large regions. Chosen on dusty mocks of 300,000 stars with the default flows and config (seeds 98, 100, 101),
so that ``acc_formal_pull`` of tests/benchmarks/dust.py comes near 1. Flows trained more shortly err by more."""

FINEST = 80
"""Kernels in the ball's radius at most: their grid of (4 x 80)^3 cells takes 2 GB."""


@dataclass(frozen=True)
class EfficiencyConfig:
    """How potential and efficiency are fitted.

    Attributes:
        form: "velocities" solves for ln n from p(v | x) alone; "joint" for ln eps, beside the learnt ln n_seen.
        potential: of the potential; ``pointwise`` is larger than without dust, the equation being the only one.
        stars: the equation is taken at up to this many of the stars.
        smooth: weight of the prior on the change of the second derivatives of ln n.
        clear_height: |z| above which there is next to no dust, kpc.
        clear_error: how nearly ln eps is 0 within ``clear_distance``, and above that height -veil / sin |b|.
        clear_distance: of the Sun, kpc.
        veil: how far below 0 ln eps is expected to be toward the poles, for the dust in front.
        smoothing: standard deviation of the kernel in which stars are counted, kpc: eps is that of the kernel.
        map: of the map of the seen stars, for `fit_dusty`; only its density is used.
    """

    form: str = "velocities"
    potential: PotentialConfig = field(default_factory=lambda: PotentialConfig(pointwise=1200.0))
    stars: int = 200_000
    smooth: float = 30.0
    clear_height: float = 0.6
    clear_error: float = 0.03
    clear_distance: float = 0.5
    veil: float = 0.05
    smoothing: float = 0.15
    map: MapConfig = field(default_factory=lambda: MapConfig(potential=None))

    def __post_init__(self):
        checks.parts(self)
        if self.form not in FORMS:
            raise ValueError(f"Expected a form among {', '.join(FORMS)}, got {self.form!r}; choose one.")
        positive = "smooth", "clear_height", "clear_error", "clear_distance", "veil", "smoothing"
        checks.numbers(self, whole=True, stars=(1, checks.MOST))
        checks.numbers(self, **dict.fromkeys(positive, (checks.ABOVE_0, checks.MOST)))


@dataclass(frozen=True)
class EfficiencyFit:
    """Potential, density without dust and efficiency of the same stars. Positions are (N, 3) kpc.

    Attributes:
        seen: the map whose density of the seen stars was used.
        series: the potential.
        other, constant: their sum is ln n, per kpc^3 for one seen star in all, or with the joint form ln eps.
        rays: eps along sight lines from the center, coordinates l, b [deg] and distance [kpc].
        config: how it was made.
        message: one sentence about it.
    """

    seen: MapFit
    series: PotentialSeries
    other: PotentialSeries
    constant: float
    rays: xr.DataArray
    config: EfficiencyConfig
    message: str

    has_density, has_potential, stopped = False, True, "finished"
    """As of a `MapFit`: what draws its potential draws this, too."""

    @property
    def stars(self) -> int:
        """How many were learnt from."""
        return self.seen.stars

    @property
    def data_digest(self) -> str:
        """Of the catalogue's phase space."""
        return self.seen.data_digest

    @property
    def history(self):
        """Losses of the map of the seen stars."""
        return self.seen.history

    @property
    def center(self) -> np.ndarray:
        """(3,) kpc."""
        return self.seen.center

    @property
    def radius(self) -> float:
        """Of the ball, kpc."""
        return self.seen.radius

    @property
    def provenance(self) -> dict[str, Any]:
        """Where its fields come from."""
        of_seen = {k: v for k, v in self.seen.provenance.items() if k != "symmetry_assumed"}
        own = {"form": self.config.form, "smoothing_kpc": self.config.smoothing}
        return of_seen | own | self.config.potential.provenance

    def acceleration(self, x) -> np.ndarray:
        """(N, 3) acceleration, (km/s)^2/kpc."""
        return at_places(self.series, x, "acceleration")

    def acceleration_covariance(self, x) -> np.ndarray:
        """(N, 3, 3) covariance of the acceleration that the fit leaves open; see `MapFit.acceleration_covariance`."""
        return at_places(self.series, x, "acceleration_covariance")

    def potential(self, x) -> np.ndarray:
        """(N,) potential, (km/s)^2, up to a constant."""
        return at_places(self.series, x)

    def log_n(self, x) -> np.ndarray:
        """(N,) ln of the density without dust, per kpc^3 for one seen star in all."""
        value = at_places(self.other, x) + self.constant
        return value if self.config.form == "velocities" else _log_n(self.seen, x) - value

    def log_f(self, x, v) -> np.ndarray:
        """(N,) ln f without dust at x and v (N, 3) [km/s], per kpc^3 (km/s)^3 for one seen star in all."""
        log_p = self.seen.log_f(x, v) - np.asarray(self.seen.density.log_n(jnp.asarray(x, jnp.float32)))
        return log_p + self.log_n(x)

    def efficiency(self, x) -> np.ndarray:
        """(N,) share of the stars that is seen, within the kernel about x; NaN outside the ball."""
        step = np.asarray(x, float) - self.center
        distance = np.linalg.norm(step, axis=-1)
        l = np.rad2deg(np.arctan2(-step[..., 1], -step[..., 0])) % 360
        b = np.rad2deg(np.arcsin(np.clip(step[..., 2] / np.maximum(distance, 1e-9), -1, 1)))
        grid = tuple(self.rays[name].values for name in ("l", "b", "distance"))
        look = RegularGridInterpolator(grid, self.rays.values)
        last = self.rays.distance.values[-1]
        return np.where(distance < self.radius, look(np.stack([l, b, np.minimum(distance, last)], -1)), np.nan)


def efficiency_field(fit: EfficiencyFit, axes: Sequence[Axis], fixed: Mapping[str, float]) -> xr.Dataset:
    """Density seen, density without dust, and efficiency on a slice.

    Args:
        fit: from `fit_efficiency`.
        axes, fixed: as of `acceleration_field`.

    Returns:
        efficiency, log_n_seen and log_n [ln kpc^-3, for one seen star in all]; NaN outside the ball.
    """
    x = slice_points(axes, fixed)
    shape, points = x.shape[:-1], x.reshape(-1, 3)
    inside = np.linalg.norm(x - fit.center, axis=-1) < fit.radius
    log_seen = np.asarray(fit.seen.density.log_n(jnp.asarray(points, jnp.float32)))
    values = {
        "efficiency": Quantity(fit.efficiency(points), "", "efficiency ε"),
        "log_n_seen": Quantity(log_seen, "ln(kpc⁻³)", "ln n seen"),
        "log_n": Quantity(fit.log_n(points), "ln(kpc⁻³)", "ln n corrected"),
    }
    shown = {
        name: q._replace(values=np.where(inside, np.asarray(q.values).reshape(shape), np.nan).astype(np.float32))
        for name, q in values.items()
    }
    return make_field(axes, shown, provenance_of(fit, fixed))


def fit_efficiency(
    seen: MapFit, catalog: Catalog, config: EfficiencyConfig | None = None,
    *, on_batch: Callable[[int, int], object] | None = None,
) -> EfficiencyFit | None:  # fmt: skip
    """Solve for potential, density without dust and efficiency.

    Args:
        seen: a map of the seen stars, the density of which is trained (``MapConfig(potential=None)`` is enough).
        catalog: those stars.
        config: how to fit.
        on_batch: called with (stars done, of how many); returning False stops.

    Returns:
        The fit, or None if stopped.

    Raises:
        ValueError: for a map without a density, other stars than it was learnt from, a ball without places
            ``clear_height`` from the plane, or a smoothing below the radius / `FINEST`.
    """
    config = config or EfficiencyConfig()
    if not seen.has_density:
        raise ValueError(f"Expected a trained density, this fit stopped before ({seen.message}) Resume it first.")
    if np.linalg.norm(seen.center - seen.sun.position) > 0.05:
        raise ValueError(f"Expected a ball about the Sun, where sight lines begin, got its center at {seen.center}.")
    if catalog.digest() != seen.data_digest:
        raise ValueError(
            f"Expected the stars that the map was learnt from (digest {seen.data_digest}), got others "
            f"({catalog.digest()}); load that catalogue or train anew."
        )
    x, v = np.split(np.asarray(catalog.phase_space, np.float32), 2, axis=1)
    inside = np.linalg.norm(x - seen.center, axis=1) < seen.radius * (1 - 1e-5)
    x, v = x[inside], v[inside]
    if config.smoothing < seen.radius / FINEST:
        raise ValueError(
            f"Expected a smoothing of at least {seen.radius / FINEST:.3g} kpc in a ball of {seen.radius:.3g} kpc, got "
            f"{config.smoothing}; use a larger one or a smaller ball."
        )
    series = PotentialSeries(seen.center, seen.radius, seen.series.height, config.potential)
    clear, weight, column = _clear_places(seen, config)
    chosen = np.asarray(random.permutation(random.key(seen.config.seed), len(x))[: config.stars])
    density = seen.density if config.form == "joint" else _Velocities(seen.density)
    gradients = score_gradients(density, x[chosen], v[chosen], on_batch=on_batch)
    if gradients is None:
        return None
    stars, q = usable(gradients, series, config.potential.edge)
    stars = type(stars)(*(a[q < config.potential.edge] for a in stars))
    near = np.argsort(np.linalg.norm(x - seen.center, axis=1))[:5000]
    around = score_gradients(seen.density, x[near], v[near])
    assert around is not None  # nobody was asked
    rate = rate_at_center(around, np.arange(len(near)))

    size, sign = config.potential.size, 1.0 if config.form == "joint" else -1.0
    rows = np.concatenate([np.asarray(_rows(series, *part)) for part in chunks(stars.x, stars.v, stars.g)])
    rows[:, size:] *= sign
    # ln n bends as the potential does, in units of the squared dispersion, and so does its prior.
    dispersion2 = 0.455 / np.median(stars.g[:, 2].astype(float) ** 2)
    bends = dataclasses.replace(config.potential, smooth=config.smooth / 10, smooth_density=config.smooth, symmetry=())
    # The last two unknowns are the constant of ln n, or ln eps, and the veil.
    prior, constant = np.zeros((2 * size + 2,) * 2), np.zeros(2 * size + 2)
    prior[:size, :size] = tide_prior(series, rate, config.potential)
    prior[size:-2, size:-2] = tide_prior(series, rate, bends) * dispersion2**2
    prior[-1, -1] = config.veil**-2
    known = np.column_stack([_functions(series, clear), np.ones(len(clear)), sign * column])
    value = _log_n(seen, clear) if config.form == "velocities" else np.zeros(len(clear))
    prior[size:, size:] += (known.T * weight) @ known
    constant[size:] += (known.T * weight) @ value
    rows = np.concatenate([rows, np.zeros((len(rows), 2), np.float32)], axis=1)
    solved, _, normal = star_by_star(
        rows, stars.drift, prior, constant, weight=config.potential.pointwise, outlier=config.potential.outlier
    )  # fmt: skip
    c, e = (jnp.asarray(part, jnp.float32) for part in (solved[:size], solved[size:-2]))
    potential, other = (eqx.tree_at(lambda s: s.coefficients, series, part) for part in (c, e))
    covariance = np.linalg.inv(normal + prior)
    covariance = covariance + (CORRELATED - 1) * covariance @ normal @ covariance
    spread = np.linalg.cholesky(covariance[:size, :size])
    potential = eqx.tree_at(lambda s: s.spread, potential, jnp.asarray(spread, jnp.float32))
    level = float(solved[-2])
    rays = _rays(x, other, level, seen, config)
    at_bound = float((rays > 0.999).mean())
    if at_bound > 0.9:
        message = f"Efficiency is 1 at {at_bound:.0%} of the places: no dust is seen, or the fit failed."
    elif float(rays.sel(distance=slice(config.clear_distance, None)).median()) < 0.05:
        message = "Efficiency is below 0.05 at most places: all dust, or the fit failed."
    else:
        message = (
            f"Efficiency from {float(rays.min()):.2g} to {float(rays.max()):.2g}, {at_bound:.0%} of the places at 1; "
            f"for dust in front {np.exp(-solved[-1]):.2f} toward the poles."
        )
    return EfficiencyFit(seen, potential, other, level, rays, config, message + config.potential.assumed)


class _Velocities(eqx.Module):
    """ln p(v | x) in the place of ln f."""

    density: PhaseSpace

    def log_f(self, x, v):
        return self.density.p.log_prob(*self.density.velocity_input(x, v))


@eqx.filter_jit
@in_full
def _rows(series, x, v, g):
    def one(x, v, g):
        gradient = series.functions(x, 1)
        return jnp.concatenate([gradient @ g, gradient @ v])

    return jax.vmap(one)(x, v, g)


def _functions(series, x) -> np.ndarray:
    call = eqx.filter_jit(lambda series, x: jax.vmap(lambda x: series.functions(x))(x))
    return np.concatenate([np.asarray(call(series, part)) for (part,) in chunks(np.asarray(x, np.float32))])


def _log_n(seen: MapFit, x) -> np.ndarray:
    call = eqx.filter_jit(lambda density, x: density.log_n(x))
    return np.concatenate([np.asarray(call(seen.density, part)) for (part,) in chunks(np.asarray(x, np.float32))])


def _clear_places(seen: MapFit, config: EfficiencyConfig):
    """(N, 3) places next to free of dust, (N,) what each counts as, 300 in all far from the plane and 30 near the Sun,
    and (N,) the dust in front of them, in that toward the poles."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(6000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    share = rng.uniform(size=(6000, 1)) ** (1 / 3)
    far = seen.center + 0.95 * seen.radius * direction * share
    far = far[np.abs(far[:, 2]) > config.clear_height]
    if len(far) < 100:
        raise ValueError(
            f"Expected places more than {config.clear_height} kpc from the plane in the ball of {seen.radius:.3g} kpc, "
            "got next to none; lower clear_height."
        )
    near = seen.center + min(config.clear_distance, 0.9 * seen.radius) * (direction * share)[:500]
    weight = np.concatenate([np.full(len(far), 300 / len(far)), np.full(len(near), 30 / len(near))])
    step = far - seen.center
    column = np.linalg.norm(step, axis=1) / np.maximum(np.abs(step[:, 2]), 1e-3)
    column = np.concatenate([np.minimum(column, 6.0), np.zeros(len(near))])
    return np.concatenate([far, near]), weight / config.clear_error**2, column


def _rays(x, other: PotentialSeries, constant: float, seen: MapFit, config: EfficiencyConfig) -> xr.DataArray:
    """eps on sight lines: seen stars over all, both within the kernel, not rising outward, 1 at the center.

    Counts and density lie on a cubic grid of half the kernel's width and are smoothed there.
    """
    cell = config.smoothing / 2
    half = int(np.ceil(seen.radius / cell))
    edges = [c + cell * np.arange(-half, half + 1) for c in seen.center]
    counts = np.histogramdd(x, bins=edges)[0].astype(np.float32)
    middles = np.stack(np.meshgrid(*(0.5 * (e[1:] + e[:-1]) for e in edges), indexing="ij"), -1).reshape(-1, 3)
    inside = np.linalg.norm(middles - seen.center, axis=1) < seen.radius
    every = np.zeros(len(middles), np.float32)
    values = np.concatenate([at_places(other, part) for (part,) in chunks(middles[inside], size=1 << 17)])
    if config.form == "velocities":
        every[inside] = len(x) * cell**3 * np.exp(values + constant)
        every = every.reshape(counts.shape)
        smooth_seen, smooth_every = (gaussian_filter(a, 2.0, mode="constant") for a in (counts, every))
        ratio = smooth_seen / np.maximum(smooth_every, 1e-6)
    else:
        every[inside] = np.exp(values + constant)
        ratio, smooth_every = every.reshape(counts.shape), np.ones_like(counts)
    l, b = np.arange(0.0, 361.0), np.arange(-90.0, 91.0)
    distance = np.arange(0, seen.radius, config.smoothing)
    along, up = np.meshgrid(np.deg2rad(l), np.deg2rad(b), indexing="ij")
    direction = np.stack([-np.cos(up) * np.cos(along), -np.cos(up) * np.sin(along), np.sin(up)], -1)
    at = (direction[..., None] * distance / cell + half - 0.5).transpose(2, 0, 1, 3)  # (3, l, b, distance)
    ratio, weight = (map_coordinates(a, at.reshape(3, -1), order=1, mode="nearest").reshape(at.shape[1:])
                     for a in (ratio, smooth_every))  # fmt: skip
    ratio[..., 0], weight[..., 0] = 1.0, weight.max()
    falling = np.empty(ratio.shape, np.float32)
    for i, j in np.ndindex(*ratio.shape[:2]):
        ray, trust = ratio[i, j], np.maximum(weight[i, j], 1e-6)
        falling[i, j] = isotonic_regression(ray, weights=trust, increasing=False).x
    coords = {"l": ("l", l, {"units": "deg"}), "b": ("b", b, {"units": "deg"}),
              "distance": ("distance", distance, {"units": "kpc"})}  # fmt: skip
    return xr.DataArray(np.minimum(falling, 1.0), coords, ("l", "b", "distance"), "efficiency", {"units": ""})
