"""The prior and the likelihood of a dwarf: every parameter is a standard normal one before the data.

The halo's logarithmic slope is free at knots in ln r, tied to its neighbours by a Gaussian process, wide enough for a
core and for a cusp; the stars' density is a `RadialFlow`, and Jeans' equation makes of both what is seen.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from scipy.interpolate import CubicSpline

from clearview.dwarfs.jeans import Anisotropy, Sphere, mass, moments_los
from clearview.dwarfs.radial import KNOTS, RadialFlow
from clearview.units import G

SLOPES = np.geomspace(0.06, 20.0, 9)
"""Radii in half-light radii at which the halo's slope is free; it is constant beyond."""

_LENGTH, _SPREAD = 1.3, 0.75  # of the Gaussian process, in ln r and in slope
_SHARP = 3.0  # of the softplus that keeps the density from rising outwards
_STEEPEST = np.where(SLOPES < 1, 2.6, 4.0)  # with 3 and more the mass of the centre has no end
PIVOT = 1.7  # half-light radii within which the mass is best known (Walker et al. 2009; Wolf et al. 2010)
_TURNS = np.array([0.5, 1.5, 5.0])  # half-light radii between which the free anisotropy is nearly constant
_LOOSE = np.array([[0.25, 0.45, 0.45, 0.45], [0.0, 0.07, 0.07, 0.07]])  # spread and mean of the change there
_LEAST, _MOST = -1.6, 7.0  # excess of a distribution of velocities
_WIDE = 0.25  # part of the wider Gaussian, which is nearest to isotropic and radial mocks with cores and cusps
_GAMMA = 1.6  # largest slope of the stars at the centre


def prior_slope(x):
    """Median of -d ln rho / d ln r at x half-light radii: between core and cusp inside, that of a halo outside."""
    return 0.6 + 2.2 * x / (x + 6.0)


class Scales(NamedTuple):
    """Numbers that the parameters are measured in: rough values from the stars.

    Attributes:
        half: half-light radius, kpc.
        center: systemic velocity, km/s.
        spread: dispersion, km/s.
        field: radius of the field on the sky, kpc; None if there is no end.
        photometric: whether some stars have no velocity.
        flow: ln of the scale and the steps of the stars' profile where it is held fast.
    """

    half: float
    center: float
    spread: float
    field: float | None
    photometric: bool
    flow: tuple[float, ...] = ()


class State(NamedTuple):
    """A galaxy, on the grid of a `Sphere`: ln rho [Msun/kpc^3], M [Msun], ln n [1/kpc^3], and the rest."""

    ln_rho: Any
    inside: Any
    ln_n: Any
    anisotropy: Anisotropy
    flow: RadialFlow


@dataclass(frozen=True, eq=False)
class Model:
    """From parameters (D,) to a galaxy and to ln(probability).

    Attributes:
        config: a `DwarfConfig`.
        scales: of the stars.
    """

    config: Any
    scales: Scales

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many parameters there are of each kind, in their order."""
        config = self.config
        return {
            "mass": 1, "slopes": len(SLOPES), "tracer": 1 + len(KNOTS) + (config.tracer_slope is None),
            "anisotropy": {"given": 0, "constant": 1, "osipkov-merritt": 1, "free": 4}[config.anisotropy],
            "velocity": 1, "foreground": (3 + self.scales.photometric) if config.foreground else 0,
        }  # fmt: skip

    @property
    def size(self) -> int:
        """How many there are."""
        return sum(self.sizes.values())

    def parts(self, w) -> dict[str, Any]:
        """The parameters (..., D) by kind."""
        ends = np.cumsum([0, *self.sizes.values()])
        return {name: w[..., i:j] for name, i, j in zip(self.sizes, ends, ends[1:], strict=False)}

    @cached_property
    def sphere(self) -> Sphere:
        """The grid that everything is integrated on, seen at the radii where stars may be."""
        half = self.scales.half
        edge = self.scales.field or 60 * half
        low, high = 3e-4 * half, max(400 * half, 7 * edge)
        size = int(150 * np.log(high / low) / np.log(400 / 3e-4))
        return Sphere.of(np.geomspace(1e-3 * half, edge, 48), low=low, high=high, size=size)

    @cached_property
    def _basis(self):
        """Slopes at the knots, as hats on the grid, and their integrals from the pivot."""
        t = np.log(self.sphere.r / self.scales.half)
        hats = np.stack([np.interp(t, np.log(SLOPES), row) for row in np.eye(len(SLOPES))], 1)
        fine = np.linspace(t[0], t[-1], 20001)
        integrals = []
        for row in np.eye(len(SLOPES)):
            y = np.interp(fine, np.log(SLOPES), row)
            total = np.concatenate([[0], np.cumsum((y[1:] + y[:-1]) / 2) * (fine[1] - fine[0])])
            integrals.append(np.interp(t, fine, total) - np.interp(0.0, fine, total))
        return hats, np.stack(integrals, 1)

    @cached_property
    def _process(self):
        gap = np.log(SLOPES)[:, None] - np.log(SLOPES)
        covariance = np.exp(-0.5 * (gap / _LENGTH) ** 2) + 1e-3 * np.eye(len(SLOPES))
        return _SPREAD * np.linalg.cholesky(covariance), prior_slope(SLOPES)

    def knots(self, w):
        """(..., K) -d ln rho / d ln r at the knots."""
        root, mean = self._process
        free = jax.nn.softplus(_SHARP * (mean + self.parts(w)["slopes"] @ root.T)) / _SHARP
        return _STEEPEST - jax.nn.softplus(_SHARP * (_STEEPEST - free)) / _SHARP

    def slope(self, w, r):
        """(..., M) d ln rho / d ln r at r (M,) [kpc]."""
        t = np.log(np.asarray(r) / self.scales.half)
        return -self.knots(w) @ np.stack([np.interp(t, np.log(SLOPES), row) for row in np.eye(len(SLOPES))])

    def anisotropy(self, w) -> Anisotropy:
        """beta(r), of one galaxy."""
        config, half, p = self.config, self.scales.half, self.parts(w)["anisotropy"]
        if config.anisotropy == "given":
            if config.anisotropy_radius is not None:
                return Anisotropy(0.0, 1.0, config.anisotropy_radius)
            return Anisotropy(config.beta, config.beta)
        if config.anisotropy == "osipkov-merritt":
            return Anisotropy(0.0, 1.0, half * jnp.exp(0.7 + 1.2 * p[0]))
        # beta / (2 - beta) lies between -1, all tangential, and 1, all radial (Read, Walker & Steger 2018).
        if config.anisotropy == "constant":
            even = jnp.tanh(0.45 * p[0])
            beta = 2 * even / (1 + even)
            return Anisotropy(beta, beta)
        # Each value lies where stars are: a radius of change would leave what is beyond it without any.
        even = jnp.tanh(jnp.cumsum(_LOOSE[0] * p + _LOOSE[1]))
        beta = 2 * even / (1 + even)
        return Anisotropy(beta[0], beta[1:], half * _TURNS)

    def flow(self, w) -> RadialFlow:
        """The stars' density."""
        p = self.parts(w)["tracer"]
        steps = jnp.exp(jnp.cumsum(0.3 * p[1 : 1 + len(KNOTS)]))
        fixed = self.config.tracer_slope
        gamma = _GAMMA * jax.nn.sigmoid(1.3 * p[-1] - 1.3) if fixed is None else jnp.asarray(fixed, w.dtype)
        return RadialFlow(jnp.log(self.scales.half) + 0.5 * p[0], jnp.concatenate([1 - gamma[None] / 3, steps]))

    def state(self, w) -> State:
        """The galaxy of the parameters w (D,)."""
        sphere, parts = self.sphere, self.parts(w)
        ln_rho = -(self._basis[1] @ self.knots(w))
        inside = mass(sphere, jnp.exp(ln_rho))
        ln_r = np.log(sphere.r)
        pivot = jnp.exp(jnp.interp(np.log(PIVOT * self.scales.half), ln_r, jnp.log(inside)))
        # Wolf et al. 2010 (arXiv:0908.2995): four dispersions squared times the half-light radius over G.
        wanted = 4 * PIVOT * self.scales.spread**2 * self.scales.half / G
        scale = jnp.log(wanted) + 1.5 * parts["mass"][0] - jnp.log(pivot)
        flow = self.flow(w)
        return State(ln_rho + scale, inside * jnp.exp(scale), flow.log_density(sphere.r), self.anisotropy(w), flow)

    def seen(self, state: State):
        """(K,) sigma_los^2, Sigma, of one star within the field, and <v^4>/sigma^4 - 3 at the radii on the sky."""
        sphere = self.sphere
        variance, fourth, surface = moments_los(sphere, jnp.exp(state.ln_n), state.inside, state.anisotropy)
        if self.scales.field is not None:
            t = np.log(sphere.R)
            weights = CubicSpline(t, np.eye(len(t))).antiderivative()(t[-1]) * 2 * np.pi * sphere.R**2
            surface = surface / (surface @ weights + np.pi * sphere.R[0] ** 2 * surface[0])
        return variance, surface, fourth / variance**2 - 3

    def background(self, w) -> dict[str, Any]:
        """Part of the foreground among stars with and without velocities, its mean [km/s] and spread [km/s]."""
        p = self.parts(w)["foreground"]
        fractions = jax.nn.sigmoid(1.5 * p[..., 2:] - 1.0)
        return {
            "with": fractions[..., 0], "without": fractions[..., -1],
            "mean": self.scales.center + 100.0 * p[..., 0], "spread": 80.0 * jnp.exp(0.7 * p[..., 1]),
        }  # fmt: skip

    def center(self, w):
        """Systemic velocity, km/s."""
        return self.scales.center + 2 * self.scales.spread * self.parts(w)["velocity"][..., 0]


class Likelihood:
    """ln(probability) of the stars at parameters w (D,), and of each that it is a member.

    Args:
        model: what makes of w what is seen.
        seen: the stars.
    """

    def __init__(self, model: Model, seen):
        self.model = model
        known = np.isfinite(seen.v)
        spline = CubicSpline(np.log(model.sphere.R), np.eye(len(model.sphere.R)))
        self.known = known
        self.with_v, self.without = (spline(np.log(seen.R[rows])) for rows in (known, ~known))
        self.v, self.error2 = seen.v[known], seen.error[known] ** 2
        field = model.scales.field
        self.ln_even = 0.0 if field is None else -np.log(np.pi * field**2)

    def __call__(self, w):
        """ln of the posterior, but for a constant."""
        both, sky, place = self._terms(w)
        if self.model.config.places == "photometric":  # of the stars with velocities, p(v | R) alone
            both = (_together(both) - _together(place),)
        return _together(both).sum() + _together(sky).sum() - 0.5 * (w**2).sum()

    def _terms(self, w) -> Any:
        """ln of the densities of members and of the foreground: of stars with velocities, of those without, and of the
        places of those with.
        """
        model = self.model
        variance, surface, excess = model.seen(model.state(w))
        ln_surface, ln_variance = jnp.log(surface), jnp.log(variance)
        at_stars = self.with_v @ jnp.stack([ln_surface, ln_variance, levelled(excess)], axis=1)
        own = jnp.exp(at_stars[:, 1])
        total, offset = own + self.error2, self.v - model.center(w)
        if model.config.moments == 4:
            # Of a Gaussian error nothing is added to the fourth cumulant.
            # In single precision, a third of the time: a star's error of 1e-6 is nothing to a chain.
            single = (a.astype(jnp.float32) for a in (offset, total, at_stars[:, 2] * (own / total) ** 2))
            ln_v = ln_losvd(*single).astype(total.dtype)
        else:
            ln_v = _ln_gauss(offset, total)
        ln_both = at_stars[:, 0] + ln_v
        ln_sky = self.without @ ln_surface
        if not model.config.foreground:
            return (ln_both,), (ln_sky,), (at_stars[:, 0],)
        other = model.background(w)
        ln_other = self.ln_even + _ln_gauss(self.v - other["mean"], other["spread"] ** 2 + self.error2)
        members, others = jnp.log1p(-other["with"]), jnp.log(other["with"])
        return (
            (members + ln_both, others + ln_other),
            (jnp.log1p(-other["without"]) + ln_sky, jnp.log(other["without"]) + self.ln_even + 0 * ln_sky),
            (members + at_stars[:, 0], others + self.ln_even + 0 * ln_v),
        )

    def membership(self, w):
        """(N,) probability of being a member, with velocities first."""
        parts = [jnp.exp(terms[0] - _together(terms)) for terms in self._terms(w)[:2]]
        return jnp.concatenate(parts)


def _together(terms):
    """(N,) ln of the sum of what is given by its logarithms."""
    return terms[0] if len(terms) == 1 else logsumexp(jnp.stack(terms), axis=0)


def levelled(excess):
    """Fourth cumulants that `ln_losvd` has a density for: as they are near 0, and within -1.6 and 7."""
    low, high = (1 + (excess / _LEAST) ** 6) ** (1 / 6), (1 + (excess / _MOST) ** 6) ** (1 / 6)
    return excess / jnp.where(excess < 0, low, high)


def ln_losvd(x, variance, excess):
    """ln density of velocities x [km/s] of that variance and fourth cumulant ``excess`` * variance^2; 0 is a Gaussian.

    Above 0 it is a quarter of a wider Gaussian and the rest of a narrower one, below 0 half of one to each side: the
    simplest that have a fourth moment of their own (compare Sanders & Evans 2020, arXiv:2009.07858). ``excess`` lies
    between -2 and 9, see `levelled`.
    """
    # The square roots have no slope at 0: no gradient may see them there.
    apart = jnp.sqrt(jnp.maximum(excess, 1e-8) / (3 * _WIDE * (1 - _WIDE)))
    aside = jnp.sqrt(jnp.maximum(-excess, 1e-8) / 2)
    wide = excess > 0
    middle = jnp.where(wide, 0.0, jnp.sqrt(aside))
    first = 1 / jnp.where(wide, 1 + (1 - _WIDE) * apart, 1 - aside)
    second = jnp.where(wide, 1 / (1 - _WIDE * apart), first)
    part = jnp.where(wide, _WIDE, 0.5)
    # The second Gaussian over the first, which is the larger one far out: nothing overflows.
    z = jnp.abs(x) / jnp.sqrt(variance)
    ratio = jnp.exp(-0.5 * z**2 * (second - first) - 2 * middle * z * first)
    both = jnp.log(part * jnp.sqrt(first) + (1 - part) * jnp.sqrt(second) * ratio)
    return both - 0.5 * (z - middle) ** 2 * first - 0.5 * jnp.log(2 * np.pi * variance)


def _ln_gauss(x, variance):
    return -0.5 * (x**2 / variance + jnp.log(2 * np.pi * variance))
