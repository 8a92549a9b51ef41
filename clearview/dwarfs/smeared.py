"""JFlow (arXiv:2505.00763): a spherical galaxy learnt from x, y and v_z alone, by comparing smeared stars and draws."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jax import lax, random
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import expit
from scipy.stats import chi, norm

import clearview
from clearview import checks
from clearview.catalogs import Catalog
from clearview.dwarfs.jeans import Anisotropy
from clearview.dwarfs.spherical import SphericalCNF, SphericalConfig, VelocityEllipsoid
from clearview.dwarfs.stars import digest_of, enough_members, stars_of
from clearview.flows import Fit, FitConfig, optimise
from clearview.flows.checkpoint import described, load, save
from clearview.flows.fit import HISTORY, OnProgress, pack_history, unpack_history
from clearview.halos import factors
from clearview.units import G

SMEARING = ("averaged", "plain")

INDEPENDENT = 5
"""Radii at which sigma_r is expected to bend independently: stars cover about so many e-folds."""

QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)

EDGE = 10
"""Half-light radii at which the halo ends that J and D are of: few stars tell of what is beyond."""

REACH = 0.05, 10.0
"""Half-light radii between which the density may be told to fall."""

WORTH = 10.0
"""Least gain in ln(likelihood) by a galaxy over a foreground alone."""

LOWEST = -100.0
"""The least beta that is taken."""

_BLOCK = 64

_NO_VELOCITY = 1e30  # as the error, km/s: training data must be finite

_STRATA = 4096
_QUANTILES = chi(3).ppf((np.arange(_STRATA) + 0.5) / _STRATA).astype(np.float32)
"""Of the radius of a standard normal in 3-D."""


@dataclass(frozen=True)
class JFlowConfig:
    """How `fit_jflow` learns.

    Attributes:
        tracers: of n(r).
        motions: of sigma_r(r).
        beta: the velocity anisotropy, given, the same everywhere.
        anisotropy_radius: of Osipkov and Merritt, kpc, instead.
        smearing: "plain", the paper's sum over kernels in x, y and v_z; or "averaged", of draws replaced by their mean
            over what symmetry leaves open, the azimuth on the sky and the velocity at a place, and of kernels in
            asinh(R/R_h), R_h being the median distance R from the centre on the sky: far fewer draws for the same
            noise, no smearing of velocities, and stars far out are smeared more.
        bandwidth: of the kernel at the start and at the end; in units of R_h and of the velocity dispersion.
        anneal: share of the training in which the bandwidth falls, geometrically; it stays from there on.
        bend: standard deviation that is expected of d^2 ln sigma_r/d(ln r)^2, at `INDEPENDENT` radii. Density is a
            second derivative: without such a prior it follows the noise of the velocities.
        falling: how far, about as a standard deviation of d ln M/d ln r, the mass may stray from a density that is
            positive and falls outwards, between `REACH` half-light radii; None lets it.
        radii, cosines: of draws at each step, fresh; their product is N_G.
        kernels: N_K, smeared copies of each star.
        foreground: whether some stars are no members: even on the sky, Gaussian in velocity.
        radius: of the field on the sky, kpc, beyond which no star could be seen; None is no limit, or with a
            ``foreground`` the outermost star.
        distance: kpc; without it there are no J- and D-factors.
        angle: of these, deg.
        members: trained side by side, each, if there are several, of a bootstrap of the stars and with other centers of
            the priors.
        training: of all.
        seed: of all random numbers.

    Raises:
        ValueError: for no such smearing, or a number out of bounds.
    """

    tracers: SphericalConfig = field(default_factory=SphericalConfig)
    motions: SphericalConfig = field(default_factory=lambda: SphericalConfig(16))
    beta: float = 0.0
    anisotropy_radius: float | None = None
    smearing: str = "averaged"
    bandwidth: tuple[float, ...] = (0.5, 0.1)
    anneal: float = 0.5
    bend: float = 0.1
    falling: float | None = 0.1
    radii: int = 128
    cosines: int = 8
    kernels: int = 1
    foreground: bool = False
    radius: float | None = None
    distance: float | None = None
    angle: float = 0.5
    members: int = 8
    training: FitConfig = field(
        default_factory=lambda: FitConfig(
            epochs=1, min_steps=1200, batch_size=256, learning_rate=1e-2, b2=0.99, validation=0.0, average=0.1
        )
    )
    seed: int = 0

    def __post_init__(self):
        checks.parts(self)
        checks.numbers(self, beta=(LOWEST, checks.BELOW_1))
        positive = (checks.ABOVE_0, 1e6)
        checks.numbers(
            self, optional=True, anisotropy_radius=positive, radius=positive, distance=positive, falling=positive
        )
        checks.numbers(self, angle=(checks.ABOVE_0, 89.0))
        checks.a(self.foreground, bool, "foreground as True or False")
        if self.anisotropy_radius is not None and self.beta:
            raise ValueError(
                f"Expected a constant anisotropy or a radius, got {self.beta:g} and {self.anisotropy_radius:g} kpc; "
                "choose one."
            )
        if self.smearing not in SMEARING:
            raise ValueError(
                f"Expected smearing among {', '.join(SMEARING)}, got {checks.shown(self.smearing)}; choose one."
            )
        ends = tuple(self.bandwidth) if isinstance(self.bandwidth, tuple | list) else ()
        if len(ends) != 2:
            raise ValueError(
                f"Expected bandwidth as that at the start and at the end, got {checks.shown(self.bandwidth)}; give two."
            )
        ends = tuple(float(checks.number("bandwidth", end, checks.ABOVE_0, 100)) for end in ends)
        object.__setattr__(self, "bandwidth", ends)
        checks.numbers(self, anneal=(checks.ABOVE_0, 1), bend=(checks.ABOVE_0, checks.MOST))
        checks.numbers(self, whole=True, radii=(8, 10**6), cosines=(1, 10**6), kernels=(1, 1000), members=(1, 1000))
        checks.numbers(self, whole=True, seed=checks.SEEDS)

    @property
    def anisotropy(self) -> Anisotropy:
        """beta(r)."""
        ra = self.anisotropy_radius
        return Anisotropy(self.beta, self.beta) if ra is None else Anisotropy(0.0, 1.0, ra)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "JFlowConfig":
        """The inverse of `to_dict`; see `clearview.checks.from_plain`."""
        return checks.from_plain(cls, values)


class JFlow(eqx.Module):
    """A spherical galaxy: n(r) and p(v | r), and the mass that holds it together.

    Attributes:
        tracers: n(r), kpc.
        motions: the Gaussian of the velocities, km/s.
        free: standard normal before the data: of the systemic velocity, and of the foreground's mean, spread and share
            among stars with and without a velocity; see `motion` and `background`.
        centers: of the priors of ``free`` and of the bends, not learnt. Each of several members has its own draw from
            these priors: with stars drawn anew it scatters as the posterior does where all is Gaussian, which a
            bootstrap alone does not, since a prior that holds still narrows it.
        edge: radius of the field on the sky, kpc, if it has one.
        config: how it learns.
        stars: how many it learns from, against which the prior is weighed.
    """

    tracers: SphericalCNF
    motions: VelocityEllipsoid
    free: Float[Array, "5"]
    centers: Float[Array, "10"]
    edge: Float[Array, ""]
    config: JFlowConfig = eqx.field(static=True)
    stars: int = eqx.field(static=True)

    def __init__(
        self, half_light: float, dispersion: float, stars: int, config: JFlowConfig | None = None, *,
        edge: float | None = None, key: PRNGKeyArray,
    ):  # fmt: skip
        self.config, self.stars = config or JFlowConfig(), stars
        scale = half_light / 1.1774  # the median distance of a normal in 2-D
        self.tracers = SphericalCNF(scale, self.config.tracers, key=key)
        self.motions = VelocityEllipsoid(half_light, dispersion, self.config.anisotropy, self.config.motions, key=key)
        edge = edge or self.config.radius or 100 * half_light
        drawn = random.normal(random.fold_in(key, 1), (5 + INDEPENDENT,))
        self.free, self.centers = jnp.zeros(5), drawn * (self.config.members > 1)
        self.edge = jnp.asarray(edge, jnp.result_type(float))

    @property
    def motion(self) -> Float[Array, ""]:
        """Systemic velocity less the rough one that the stars' velocities are counted from, km/s."""
        return 2 * lax.stop_gradient(self.motions.spread) * self.free[0]

    @property
    def background(self) -> dict[str, Float[Array, ""]]:
        """The foreground's part of the stars "with" and "without" velocities, and its "mean" and "spread", km/s.

        Of the same prior as in `clearview.dwarfs.model.Model`.
        """
        fractions = jax.nn.sigmoid(1.5 * self.free[3:] - 1.0)
        return {
            "with": fractions[0], "without": fractions[1], "mean": 100 * self.free[1],
            "spread": 80 * jnp.exp(0.7 * self.free[2]),
        }  # fmt: skip

    @eqx.filter_jit
    def sample(self, key: PRNGKeyArray, count: int) -> Float[Array, "count 6"]:
        """Stars x, y, z [kpc], vx, vy, vz [km/s]."""
        x = self.tracers.sample(random.fold_in(key, 0), (count,))
        return jnp.concatenate([x, self.motions.draw(random.fold_in(key, 1), x, self.tracers.slope)], axis=1)

    def loss(self, key: PRNGKeyArray, R, v, error, *, done=1.0) -> Float[Array, ""]:
        """The smeared negative log likelihood of stars, per star, and the prior's.

        -1/(N N_K) sum_a sum_b ln [1/N_G sum_c K_h(w_a + eps_b - w_c)], w = (x, y, v_z): eps_b is drawn from the very
        kernel, so that both sides are smeared alike and the least is at the truth. Errors of the velocities
        smear the stars already, so they widen only the kernel. Draws beyond the field are left out. The foreground
        is a second sum, of draws that are even in the field.

        Args:
            key: of the draws.
            R: (N,) distances from the centre on the sky, kpc.
            v, error: (N,) km/s; of a tracer without a velocity the error is `_NO_VELOCITY`.
            done: share of the training behind, for the bandwidth.
        """
        begin, end = self.config.bandwidth
        way = jnp.minimum(done / self.config.anneal, 1.0)
        width = begin ** (1 - way) * end**way
        keys = random.split(key, self.config.kernels)
        likely = jax.vmap(lambda key: self._smeared(width, key, R, v, error))(keys).mean()
        bends = jax.vmap(self._bend)(lax.stop_gradient(self._radii(key))) / self.config.bend
        free, bend = jnp.split(lax.stop_gradient(self.centers), [len(self.free)])
        # The radii rise, and each of as many equal parts of the stars is expected to bend by itself.
        bends -= bend[jnp.arange(len(bends)) * INDEPENDENT // len(bends)]
        prior = INDEPENDENT * (bends**2).mean() + ((self.free - free) ** 2).sum()
        if self.config.falling is not None:
            prior += INDEPENDENT * ((self._strayed() / self.config.falling) ** 2).mean()
        return -likely + 0.5 * prior / self.stars

    def _bend(self, r):
        """d^2 ln sigma_r/d(ln r)^2, the tracers' cusp apart."""
        return _rising(lambda s: _rising(lambda s: self.motions.log_sigma(jnp.exp(s)), s)[1], jnp.log(r))[1]

    def _strayed(self):
        """How far d ln M/d ln r is from between 0, a positive density, and 3, one that falls, along ln r."""
        # By differences, through which the gradient compiles far faster than through second derivatives.
        s, step = jnp.linspace(jnp.log(REACH[0]), jnp.log(REACH[1]), 40, retstep=True)
        s = s + jnp.log(lax.stop_gradient(self.motions.scale))
        r = jnp.exp(s)
        log_sigma = jax.vmap(self.motions.log_sigma, (0, None))(r, self.tracers.slope)
        log_pressure = jax.vmap(self.tracers._log_density)(r) + 2 * log_sigma
        unit = (r * jnp.exp(2 * log_sigma))[1:-1]
        pull = (log_pressure[:-2] - log_pressure[2:]) / (2 * step) - 2 * self.motions.anisotropy.beta(r[1:-1])
        mass = unit * pull
        # The centre's pull may be none at all. Of r^3, the steepest mass, this slope is 3 exactly.
        level = (unit * jnp.sqrt(pull**2 + 0.02**2))[1:-1]
        rise = 3 / (2 * jnp.sinh(3 * step)) * (mass[2:] - mass[:-2]) / level
        # A pull that changes its sign has no finite slope, and no more than its logarithm should count.
        return jnp.log1p(jax.nn.relu(-rise) + jax.nn.relu(rise - 3))

    def _radii(self, key):
        """Radii of draws of n, stratified."""
        strata = self._strata(key)
        return jax.vmap(self.tracers.radius)(jnp.interp(strata * _STRATA - 0.5, jnp.arange(_STRATA), _QUANTILES))

    def _smeared(self, width, key, R, v, error):
        """(N,) logarithm of the draws' smeared density at smeared stars."""
        scale, spread = lax.stop_gradient((self.motions.scale, self.motions.spread))
        edge = lax.stop_gradient(self.edge)
        a, b, c, d = random.split(key, 4)
        off = random.normal(a, R.shape)
        v = v - self.motion
        if self.config.smearing == "averaged":
            blur, at, to = 0.0, jnp.arcsinh(R / scale) + width * off, lambda p: jnp.arcsinh(p / scale)
            places, variance = self._places(c)
            even = edge * jnp.sqrt(self._strata(b))
            velocities = jnp.zeros_like(places)
            end, drawn = to(edge), to(places)

            def near(places):
                return -0.5 * (((at[:, None] - to(places)) / width) ** 2 + jnp.log(2 * jnp.pi * width**2))

        else:
            blur, h, count = width * spread, width * scale, self.config.radii * self.config.cosines
            stars = self.sample(c, count)
            at = R + h * off, h * random.normal(b, R.shape)  # a sphere may be turned so
            v = v + blur * random.normal(d, v.shape)
            places, velocities, variance = stars[:, :2].T, stars[:, 5], 0.0
            turn, out = random.uniform(random.fold_in(b, 0), (2, count))
            even = edge * jnp.sqrt(out) * jnp.stack([jnp.cos(2 * jnp.pi * turn), jnp.sin(2 * jnp.pi * turn)])
            end, drawn = edge / scale, jnp.hypot(*places) / scale

            def near(places):
                far = sum((star[:, None] - place) ** 2 for star, place in zip(at, places, strict=True)) / h**2
                return -0.5 * far - jnp.log(2 * jnp.pi * h**2)

        log_k = near(places) + _of_velocities(v[:, None] - velocities, variance + blur**2, error[:, None])
        # Softer than a step, so that what leaves the field has a gradient; sharper than the kernel.
        seen = -jax.nn.softplus((drawn - end) / (0.3 * width)) if self._bounded else jnp.zeros_like(drawn)
        members = logsumexp(log_k + seen, axis=1) - logsumexp(seen)
        others = logsumexp(near(even), axis=1) - jnp.log(even.shape[-1])
        return jnp.logaddexp(*self._mixed(members, others, v + self.motion, error, blur**2))

    @property
    def _bounded(self) -> bool:
        return self.config.foreground or self.config.radius is not None

    def _mixed(self, members, others, v, error, blur2=0.0):
        """(N,) each: ln of members' density times their share, and that of the foreground, whose place is given."""
        if not self.config.foreground:
            return members, jnp.full_like(members, -jnp.inf)
        b = self.background
        share = jnp.where(error < _NO_VELOCITY, b["with"], b["without"])
        others = others + _of_velocities(v - b["mean"], b["spread"] ** 2 + blur2, error)
        return jnp.log1p(-share) + members, jnp.log(share) + others

    @eqx.filter_jit
    def membership(
        self, R: Float[Array, " N"], v: Float[Array, " N"], error: Float[Array, " N"]
    ) -> Float[Array, "2 N"]:
        """ln of the density per kpc^2 (and km/s) of members and of the foreground, without smearing; see `loss`."""

        def one(star):
            R, v, error = star
            r, weight = self.tracers.line_of_sight(R)
            stars = jnp.log(weight) + self.tracers.log_density(r)
            radial = jnp.exp(2 * jax.vmap(self.motions.log_sigma, (0, None))(r, self.tracers.slope))
            along = radial * (1 - self.motions.anisotropy.beta(r) * (R / r) ** 2)
            return logsumexp(stars + _of_velocities(v - self.motion, along, error))

        members = lax.map(one, (R, v, error), batch_size=256) - jnp.log(self._share())
        others = jnp.full_like(members, -jnp.log(jnp.pi)) - 2 * jnp.log(self.edge)
        return jnp.stack(self._mixed(members, others, v, error))

    def _share(self):
        """Part of the members that is within the field."""
        if not self._bounded:
            return 1.0
        ln_r = jnp.log(self.motions.scale) + jnp.linspace(jnp.log(1e-4), jnp.log(1e3), 400)
        inside = 1 - jnp.sqrt(jnp.maximum(1 - (self.edge / jnp.exp(ln_r)) ** 2, 0))
        shells = 4 * jnp.pi * jnp.exp(3 * ln_r + self.tracers.log_density(jnp.exp(ln_r)))
        return jnp.trapezoid(shells * inside, ln_r)

    def _strata(self, key):
        """(radii,) between 0 and 1, stratified."""
        count = self.config.radii
        return (jnp.arange(count) + random.uniform(key, (count,))) / count

    def _places(self, key):
        """Distances on the sky of draws of n, stratified, and the variance of v_z at each place."""
        radii, cosines = self.config.radii, self.config.cosines
        r = self._radii(random.fold_in(key, 0))
        mu = (jnp.arange(cosines) + random.uniform(random.fold_in(key, 1), (radii, cosines))) / cosines
        sine2 = 1 - mu**2
        radial = jnp.exp(2 * jax.vmap(self.motions.log_sigma, (0, None))(r, self.tracers.slope))
        variance = radial[:, None] * (1 - self.motions.anisotropy.beta(r)[:, None] * sine2)
        return (r[:, None] * jnp.sqrt(sine2)).ravel(), variance.ravel()

    @eqx.filter_jit
    def profiles(self, r: Float[Array, " N"]) -> dict[str, Float[Array, " N"]]:
        """Of radii [kpc]: n [kpc^-3], sigma_r [km/s], and by Jeans' equation M [Msun] and rho [Msun/kpc^3].

        n and `seen`'s Sigma are of one star within the field, or in all if that has no edge.

        d(n sigma^2)/dr + 2 beta n sigma^2/r = -n G M/r^2 and rho = dM/dr/(4 pi r^2), both by automatic
        differentiation; where the stars do not say otherwise they may come out negative.
        """
        slope, share = self.tracers.slope, self._share()

        def log_pressure(s):
            return self.tracers._log_density(jnp.exp(s)) + 2 * self.motions.log_sigma(jnp.exp(s), slope)

        def mass(s):
            r = jnp.exp(s)
            sigma2 = jnp.exp(2 * self.motions.log_sigma(r, slope))
            return -r * sigma2 / G * (_rising(log_pressure, s)[1] + 2 * self.motions.anisotropy.beta(r))

        def one(r):
            s = jnp.log(r)
            inside, rise = _rising(mass, s)
            return {
                "n": jnp.exp(self.tracers._log_density(r)) / share,
                "sigma_r": jnp.exp(self.motions.log_sigma(r, slope)),
                "mass": inside,
                "rho": rise / (4 * jnp.pi * r**3),
            }

        return jax.vmap(one)(r)

    @eqx.filter_jit
    def seen(self, R: Float[Array, " N"]) -> dict[str, Float[Array, " N"]]:
        """Of distances R [kpc] on the sky: Sigma [kpc^-2] and the dispersion sigma_los of v_z [km/s]."""
        r, weight = self.tracers.line_of_sight(R)
        stars = weight * jnp.exp(self.tracers.log_density(r))
        log_sigma = jax.vmap(self.motions.log_sigma, (0, None))(r.ravel(), self.tracers.slope).reshape(r.shape)
        along = jnp.exp(2 * log_sigma) * (1 - self.motions.anisotropy.beta(r) * (R[:, None] / r) ** 2)
        total = stars.sum(-1)
        return {"Sigma": total / self._share(), "sigma_los": jnp.sqrt((stars * along).sum(-1) / total)}


class InnerSlope(NamedTuple):
    """What the members of a `JFlowFit` say of the halo's slope at one radius.

    Attributes:
        share: of the members that find it shallower than ``threshold``. No probability: there is no prior of the slope.
        slope: (members,) d ln rho/d ln r, rising; NaN, at the end, of those whose density is not positive there.
        radius: kpc.
        threshold: between core and cusp.
        message: in words.
    """

    share: float
    slope: np.ndarray
    radius: float
    threshold: float
    message: str


@dataclass
class JFlowFit:
    """A galaxy learnt by `fit_jflow`.

    Attributes:
        config: how.
        model: a `JFlow` whose arrays have the members on their first axis.
        half_light_radius: median distance of the stars on the sky, kpc.
        stars: how many were learnt from.
        digest: of the catalogue.
        velocity: rough systemic velocity, km/s, from which the model counts; see `systemic_velocity`.
        membership: (stars,) probability of each to be a member, the mean over the members of the ensemble; 1 without
            a foreground, NaN of a fit with one that is not finished.
        stopped: "finished", "cancelled" or "diverged".
        message: one sentence about how it ended.
        history: losses, columns stage, step, train, validation.
        seconds: that it took.
        result: of `clearview.flows.optimise`, to go on from.
    """

    config: JFlowConfig
    model: JFlow
    half_light_radius: float
    stars: int
    digest: str
    velocity: float
    membership: np.ndarray
    stopped: str
    message: str
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=HISTORY))
    seconds: float = 0.0
    result: Fit | None = None

    @property
    def systemic_velocity(self) -> np.ndarray:
        """(members,) km/s along the line of sight."""
        return self.velocity + np.asarray(eqx.filter_vmap(lambda m: m.motion)(self.model), float)

    @property
    def background(self) -> dict[str, np.ndarray]:
        """(members,) each: the foreground's part of stars "with" and "without" velocities, "mean" and "spread", km/s.

        Raises:
            ValueError: for a fit without a foreground.
        """
        if not self.config.foreground:
            raise ValueError("Expected a fit with a foreground, got one without; set foreground=True.")
        found = eqx.filter_vmap(lambda m: m.background)(self.model)
        found = {name: np.asarray(values, float) for name, values in found.items()}
        return found | {"mean": found["mean"] + self.velocity}

    def members(self, r) -> dict[str, np.ndarray]:
        """(members, N) profiles at r (N,) [kpc]: see `JFlow.profiles` and `JFlow.seen`; slope is d ln rho/d ln r."""
        r = np.asarray(r, np.float32)
        if r.ndim != 1 or not r.size or not (np.isfinite(r) & (r > 0)).all():
            raise ValueError(f"Expected radii (N,) above 0 kpc, got {checks.shown(r)}; correct them.")
        # Blocks of one length, as each would be compiled by itself, which takes far longer than to compute it.
        blocks = np.pad(r, (0, -len(r) % _BLOCK), mode="edge").reshape(-1, _BLOCK)
        parts = [_both(self.model, jnp.asarray(block)) for block in blocks]
        found = {k: np.concatenate([np.asarray(part[k], float) for part in parts], 1)[:, : len(r)] for k in parts[0]}
        with np.errstate(invalid="ignore", divide="ignore"):
            found["v_c"] = np.sqrt(G * found["mass"] / np.asarray(r))
            found["slope"] = np.full_like(found["rho"], np.nan)
            if len(r) > 1:
                found["slope"] = np.gradient(np.log(found["rho"]), np.log(np.asarray(r)), axis=1)
        return found

    def density(self, r) -> np.ndarray:
        """(members, N) mass density at r (N,) [kpc], Msun/kpc^3."""
        return self.members(r)["rho"]

    def mass(self, r) -> np.ndarray:
        """(members, N) mass within r (N,) [kpc], Msun."""
        return self.members(r)["mass"]

    def field(self, r=None, *, quantiles: Sequence[float] = QUANTILES) -> xr.Dataset:
        """Profiles as quantiles over the members, as rough as these are few.

        Each member has other stars and other centers of the priors, so that their spread is near a posterior where
        training has come to its end; how often such bands hold the truth was tried on too few mocks to say. The
        outermost quantiles of few members are their least and their most.

        Args:
            r: radii, kpc; by default from 0.05 to 10 half-light radii.
            quantiles: between 0 and 1.

        Returns:
            rho [Msun/kpc^3], M [Msun], v_c [km/s], slope, beta, n [kpc^-3], sigma_r [km/s] over (quantile, r), and
            Sigma [kpc^-2], sigma_los [km/s] over (quantile, R); NaN where a member finds a negative mass. J
            [GeV^2 cm^-5] and D [GeV cm^-2] over (quantile) within ``config.angle`` if the distance is known, of a halo
            that ends at `EDGE` half-light radii, and without the places where its density comes out negative.

        Raises:
            ValueError: for radii that do not rise from above 0.
        """
        r = np.asarray(self.half_light_radius * np.geomspace(0.05, 10, 64) if r is None else r, float)
        if r.ndim != 1 or len(r) < 2 or not (r[0] > 0 and (np.diff(r) > 0).all()):
            raise ValueError(f"Expected radii that rise from above 0 kpc, got {checks.shown(r)}; sort them.")
        quantiles = [checks.number("one of the quantiles", value, 0, 1) for value in quantiles]
        found = self.members(r)
        found["beta"] = np.broadcast_to(self.config.anisotropy.beta(r), found["n"].shape)
        names = dict(
            rho=("rho", "Msun / kpc3", "ρ"), M=("mass", "Msun", "M"), v_c=("v_c", "km / s", "v_c"),
            slope=("slope", "", "d ln ρ / d ln r"), beta=("beta", "", "β"), n=("n", "kpc-3", "n"),
            sigma_r=("sigma_r", "km / s", "σ_r"), Sigma=("Sigma", "kpc-2", "Σ"),
            sigma_los=("sigma_los", "km / s", "σ_los"),
        )  # fmt: skip
        data = {}
        for name, (source, units, label) in names.items():
            along = "R" if name in ("Sigma", "sigma_los") else "r"
            values = np.quantile(found[source], quantiles, axis=0, method="weibull")  # unbiased for few members
            data[name] = (("quantile", along), values, {"units": units, "long_name": label})
        if self.config.distance is not None:
            sphere = self.half_light_radius * np.geomspace(1e-3, EDGE, 2 * _BLOCK)
            densities = np.maximum(self.density(sphere), 0)
            data |= factors(sphere, densities, self.config.distance, self.config.angle, quantiles)
        axes = {name: (name, r, {"units": "kpc", "long_name": name}) for name in ("r", "R")}
        told = dict(
            source="JFlowFit", stars=self.stars, data_digest=self.digest, members=self.config.members,
            seed=self.config.seed, clearview_version=clearview.__version__,
        )  # fmt: skip
        return xr.Dataset(data, {**axes, "quantile": list(quantiles)}, told)

    def core_or_cusp(self, radius: float = 0.15, threshold: float = -0.7) -> InnerSlope:
        """Whether the density is flat at ``radius`` [kpc], and what the members disagree about.

        Raises:
            ValueError: for a radius that is not positive, or a threshold not between -3 and 0.
        """
        checks.number("threshold", threshold, -3, 0)
        # Wide against the noise of single precision, narrow against what the flow can bend in.
        near = checks.number("radius", radius, checks.ABOVE_0, 1e6) * np.exp([-0.05, 0.0, 0.05])
        slope = np.sort(self.members(near)["slope"][:, 1])
        found, several = slope[np.isfinite(slope)], len(slope) > 1
        share = float(np.mean(slope > threshold))
        if not len(found):
            words = f"No fit finds a positive density at {radius:g} kpc, so that it has no slope there."
        elif not several:
            words = f"The slope of the density at {radius:g} kpc is {found[0]:.2f} in the one fit, without a spread."
        else:
            words = (
                f"The slope of the density at {radius:g} kpc is {np.median(found):.2f} in the median of {len(found)} "
                f"of {len(slope)} bootstraps of the stars, and from {found[0]:.2f} to {found[-1]:.2f}; {share:.0%} "
                f"find it shallower than {threshold:g}. That spread is of the finite number of stars and of how "
                "sigma_r may bend, not of what is assumed (the anisotropy, how the density falls), and no credible "
                "interval."
            )
        return InnerSlope(share, slope, radius, threshold, words)

    def save(self, path, *, overwrite: bool = False) -> None:
        """Write to one file; `load_jflow` reads it. What ``resume`` needs is left out.

        Raises:
            FileExistsError: if the path exists and ``overwrite`` is not set.
            ValueError: for a fit that is not finished.
        """
        if self.stopped != "finished":
            raise ValueError(f"Expected a finished fit to save, got one that was {self.stopped}; run it again.")
        told = {name: getattr(self, name) for name in _TOLD}
        header = {"config": self.config.to_dict(), "history": pack_history(self.history), **told}
        save(path, "jflow", header, [self.model, self.membership], overwrite=overwrite)


_TOLD = ("half_light_radius", "stars", "digest", "velocity", "stopped", "message", "seconds")


def load_jflow(path) -> JFlowFit:
    """What `JFlowFit.save` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is foreign or damaged.
    """

    def build(h):
        model = _start(JFlowConfig.from_dict(h["config"]), h["half_light_radius"], 1.0, h["stars"])
        return [model, jnp.zeros(h["stars"], jnp.float32)]

    header, (model, membership) = load(path, "jflow", build)
    with described(path):
        config, history = JFlowConfig.from_dict(header["config"]), unpack_history(header["history"])
        told = {name: header[name] for name in _TOLD}
        return JFlowFit(config, model, membership=np.asarray(membership), history=history, **told)


def _start(config: JFlowConfig, half: float, spread: float, stars: int, edge: float | None = None) -> JFlow:
    """All members before training, as one model."""
    keys = jnp.stack([random.fold_in(random.key(config.seed), i) for i in range(config.members)])
    return eqx.filter_vmap(lambda key: JFlow(half, spread, stars, config, edge=edge, key=key))(keys)


def fit_jflow(
    stars: Catalog, config: JFlowConfig | None = None, *, on_progress: OnProgress = None, resume: JFlowFit | None = None
) -> JFlowFit:
    """Learn a spherical galaxy from x, y and v_z of its stars by JFlow's smeared likelihood (arXiv:2505.00763).

    Args:
        stars: with the columns that `clearview.dwarfs.fit_dwarf` takes; members of the galaxy, unless
            ``config.foreground``.
        config: what to do; not with ``resume``, which brings its own.
        on_progress: called with `clearview.flows.Progress`; returning False cancels.
        resume: a cancelled fit of the same stars.

    Raises:
        TypeError, KeyError, ValueError: as `fit_dwarf`, or for a ``resume`` of other stars; at the end if the stars
            turn out to be nearly all foreground.
    """
    began = time.monotonic()
    checks.a(config, (JFlowConfig, type(None)), "a JFlowConfig")
    checks.a(resume, (JFlowFit, type(None)), "a JFlowFit to resume")
    given = resume.config if resume is not None else config or JFlowConfig()
    seen = stars_of(stars, foreground=given.foreground, radius=given.radius)
    digest = digest_of(stars)
    if resume is not None:
        if config is not None and config != resume.config:
            raise ValueError("Expected no config with resume, got another one; a resumed fit keeps its own.")
        if digest != resume.digest:
            raise ValueError("Expected the stars that the fit began with, got others; train anew.")
    config, known = given, np.isfinite(seen.v)
    error = np.where(known, seen.error, _NO_VELOCITY)
    center = seen.center
    if not config.foreground:
        center = float(np.average(seen.v[known], weights=1 / (seen.spread**2 + error[known] ** 2)))
    v = np.where(known, seen.v - center, 0.0)
    key = random.key(config.seed)
    edge = float(seen.R.max()) if config.foreground and config.radius is None else config.radius
    start = _start(config, seen.half, seen.spread, len(v), edge)
    data = tuple(a.astype(np.float32) for a in (seen.R, v, error))
    result = optimise(
        start, _loss, data, config.training, key=key, on_progress=on_progress, stage="galaxy", members=config.members,
        bootstrap=config.members > 1, annealed=True, resume=resume and resume.result,
    )  # fmt: skip
    message, membership = result.message, np.full(len(v), np.nan if config.foreground else 1, np.float32)
    if result.stopped == "finished":
        message = f"Galaxy finished: {len(v):,} stars, {int(known.sum()):,} of them with velocities."
        if config.foreground:
            both = np.asarray(_each_membership(result.model, *data), float)
            membership = expit(both[:, 0] - both[:, 1]).mean(0).astype(np.float32)
            # The galaxy may bend until it takes a part of the foreground for its own: it has to be worth it.
            gain = float(np.logaddexp(both[:, 0], both[:, 1]).sum(1).mean() - _foreground_alone(data, known, edge))
            enough_members(float(membership[known].sum()) if gain > WORTH else 0.0, int(known.sum()))
            message = f"{message[:-1]}; about {membership.sum():,.0f} are members."
    return JFlowFit(
        config, result.model, seen.half, len(v), digest, center, membership, result.stopped, message, result.history,
        time.monotonic() - began + (0.0 if resume is None else resume.seconds), result,
    )  # fmt: skip


def _foreground_alone(data, known, edge):
    """ln of the likelihood of stars that are even in the field and Gaussian in velocity."""
    v = data[1][known]
    return norm.logpdf(v, v.mean(), v.std()).sum() - len(known) * np.log(np.pi * edge**2)


def _of_velocities(off, variance, error):
    """ln of the Gaussian of velocities with these errors, 0 of stars without one."""
    known = error < _NO_VELOCITY
    total = variance + jnp.where(known, error, 1.0) ** 2
    return jnp.where(known, -0.5 * (off**2 / total + jnp.log(2 * jnp.pi * total)), 0.0)


@eqx.filter_jit
def _each_membership(members, R, v, error):
    return eqx.filter_vmap(lambda m: m.membership(R, v, error))(members)


@eqx.filter_jit
def _both(members, r):
    return eqx.filter_vmap(lambda m: m.profiles(r) | m.seen(r))(members)


def _rising(function, at):
    """A function of one number, and its derivative, carried forwards: backwards through the flow's integration takes
    far longer to compile.
    """
    return jax.jvp(function, (at,), (jnp.ones_like(at),))


def _loss(model, key, R, v, error, *, done):
    return model.loss(key, R, v, error, done=done)
