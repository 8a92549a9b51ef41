"""The fast route from stars on the sky to the dark halo: a radial flow, Jeans' equation, and a Markov chain.

As GravSphere (Read & Steger 2017, arXiv:1701.04833) it leaves the halo free and marginalises over all else; unlike it,
every star counts by itself, with its own error and its own chance of being a member.
"""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import minimize

import clearview
from clearview import checks
from clearview.catalogs import Catalog
from clearview.dwarfs import hmc
from clearview.dwarfs.baseline import Binned, BinnedModel, held_fast
from clearview.dwarfs.jeans import pressure
from clearview.dwarfs.model import Likelihood, Model, Scales
from clearview.dwarfs.stars import FEWEST, Seen, digest_of, enough_members, stars_of
from clearview.flows import Progress
from clearview.flows.checkpoint import described, load, save
from clearview.flows.fit import HISTORY, OnProgress
from clearview.halos import factors

try:
    from jax import enable_x64  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # before jax 0.8
    from jax.experimental import enable_x64  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

Kind = Literal["given", "constant", "osipkov-merritt", "free"]
_OFF = 8  # dispersions: a member so far off would weigh more than all others
RHAT, ENOUGH = 1.03, 400
"""Above the first, or with fewer effective draws, chains have not converged."""


@dataclass(frozen=True)
class DwarfConfig:
    """What is known of a dwarf beforehand, and how long to draw.

    Attributes:
        anisotropy: "given" takes ``beta``, or the radius; "constant" and "osipkov-merritt" learn one number; "free"
            learns beta at the centre and beyond 0.5, 1.5 and 5 half-light radii.
        beta: 1 - sigma_t^2 / sigma_r^2, if given.
        anisotropy_radius: of Osipkov and Merritt, kpc, if given; None takes ``beta``.
        tracer_slope: gamma of the stars at the centre, n ~ r^-gamma; None learns it.
        places: "all" stars tell how densely they lie, or only the "photometric" ones, that have no velocity, where a
            spectrograph's targets were chosen by their place.
        foreground: whether some stars are no members: even on the sky, Gaussian in velocity.
        radius: of the field on the sky, kpc, beyond which no star could be seen; None is no limit, or with a
            ``foreground`` the outermost star.
        distance: kpc; without it there are no J- and D-factors.
        angle: of these, deg.
        moments: 4 lets the velocities' distribution at each R have the kurtosis that the halo and the anisotropy make,
            which tells radial orbits from more mass; 2 takes it as Gaussian.
        binned: True replaces the stars' likelihood by dispersions in bins, see `fit_binned`.
        chains: Markov chains.
        warmup: draws of each that are thrown away.
        draws: that are kept.
        seed: of the random numbers.
    """

    anisotropy: Kind = "given"
    beta: float = 0.0
    anisotropy_radius: float | None = None
    tracer_slope: float | None = None
    places: Literal["all", "photometric"] = "all"
    foreground: bool = False
    radius: float | None = None
    distance: float | None = None
    angle: float = 0.5
    moments: int = 4
    binned: bool = False
    chains: int = 24
    warmup: int = 200
    draws: int = 120
    seed: int = 0

    def __post_init__(self):
        if self.anisotropy not in get_args(Kind):
            raise ValueError(
                f"Expected an anisotropy among {', '.join(get_args(Kind))}, got {checks.shown(self.anisotropy)}; "
                "choose one."
            )
        if self.places not in ("all", "photometric"):
            raise ValueError(f"Expected places all or photometric, got {checks.shown(self.places)}; choose one.")
        positive = (checks.ABOVE_0, 1e6)
        checks.numbers(self, beta=(-1e3, checks.BELOW_1), angle=(checks.ABOVE_0, 89.0))
        checks.numbers(self, optional=True, anisotropy_radius=positive, tracer_slope=(0, 2), radius=positive)
        checks.numbers(self, optional=True, distance=positive)
        checks.numbers(self, whole=True, chains=(4, 1000), warmup=(50, 10**6), draws=(50, 10**6), seed=checks.SEEDS)
        checks.numbers(self, whole=True, moments=(2, 4))
        if self.moments == 3:
            raise ValueError("Expected moments 2 or 4, got 3, which is 0 where nothing turns; choose one.")
        for name in ("foreground", "binned"):
            checks.a(getattr(self, name), bool, f"{name} as True or False")
        if self.anisotropy != "given" and self.anisotropy_radius is not None:
            raise ValueError(f"Expected no anisotropy_radius where it is {self.anisotropy}, got one; leave it out.")
        if self.binned and (self.foreground or self.radius is not None):
            raise ValueError("Expected members in the whole plane to bin, got a foreground or a radius; leave it out.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` takes them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DwarfConfig":
        """The config that `to_dict` told.

        Raises:
            TypeError, ValueError: for what tells none.
        """
        return checks.from_plain(cls, values)


class CoreOrCusp(NamedTuple):
    """What the stars say of the halo's slope at one radius.

    Attributes:
        probability: that it is shallower than ``threshold``.
        prior: the same, before the data.
        bayes_factor: odds of the first over those of the second: above 1 for a core.
        slope: 2.5, 16, 50, 84 and 97.5 % of d ln rho / d ln r.
        radius: kpc.
        threshold: between core and cusp.
        message: one sentence.
    """

    probability: float
    prior: float
    bayes_factor: float
    slope: np.ndarray
    radius: float
    threshold: float
    message: str


@dataclass(frozen=True, eq=False)
class DwarfFit:
    """A dwarf's halo, stars and anisotropy, as draws of their posterior.

    Attributes:
        config: what was done.
        scales: rough numbers of the stars that the parameters are measured in.
        draws: (S, D) parameters of `clearview.dwarfs.model.Model`, float32; every one is standard normal before the
            data.
        membership: (N,) probability of each star to be a member; 1 without a foreground.
        stars: how many had a velocity.
        digest: of the stars.
        rhat: largest split R-hat of the parameters.
        effective: fewest effective draws of them.
        acceptance: mean acceptance of the chains.
        stopped: "finished" or "cancelled".
        message: in words.
        seconds: that it took.
    """

    config: DwarfConfig
    scales: Scales
    draws: np.ndarray = field(repr=False)
    membership: np.ndarray = field(repr=False)
    stars: int
    digest: str
    rhat: float
    effective: float
    acceptance: float
    stopped: str
    message: str
    seconds: float

    @property
    def converged(self) -> bool:
        """Whether the chains agree and are long enough."""
        return self.stopped == "finished" and self.rhat <= RHAT and self.effective >= ENOUGH

    @property
    def half_light_radius(self) -> float:
        """Rough half-light radius, kpc: the median R of the stars, with a foreground of those near the peak."""
        return self.scales.half

    @cached_property
    def model(self) -> Model:
        """What the parameters mean."""
        return _model_of(self.config, self.scales)

    @cached_property
    def _states(self) -> dict[str, np.ndarray]:
        if not len(self.draws):
            raise ValueError("Expected a finished fit, got one that was cancelled before any draw; run it again.")
        model = self.model
        step = max(1, len(self.draws) // 1500)

        def of(w):
            state = model.state(w)
            variance, surface, excess = model.seen(state)
            p = pressure(model.sphere, jnp.exp(state.ln_n), state.inside, state.anisotropy)
            r = model.sphere.r
            return {
                "ln_rho": state.ln_rho, "ln_M": jnp.log(state.inside), "ln_n": state.ln_n,
                "slope": model.slope(w, r), "beta": state.anisotropy.beta(r) * jnp.ones_like(r),
                "ln_sigma_r": 0.5 * (jnp.log(p) - state.ln_n), "ln_sigma_los": 0.5 * jnp.log(variance),
                "ln_Sigma": jnp.log(surface), "kurtosis": 3 + excess,
            }  # fmt: skip

        with enable_x64(True):
            w = jnp.asarray(self.draws[::step], float)
            return {name: np.asarray(v) for name, v in jax.jit(jax.vmap(of))(w).items()}

    def _at(self, name: str, r) -> np.ndarray:
        """(S, M) draws of a quantity of `_states` at r (M,), kpc; at R of what is seen on the sky."""
        sphere = self.model.sphere
        grid = sphere.R if name in ("ln_sigma_los", "ln_Sigma", "kurtosis") else sphere.r
        r = np.asarray(r, float)
        if r.ndim != 1 or not r.size or not ((grid[0] <= r) & (r <= grid[-1] * (1 + 1e-9))).all():
            raise ValueError(f"Expected radii (N,) from {grid[0]:.2g} to {grid[-1]:.3g} kpc, got others; cut them.")
        return np.stack([np.interp(np.log(r), np.log(grid), row) for row in self._states[name]])

    def density(self, r) -> np.ndarray:
        """(S, M) draws of rho [Msun/kpc^3] at r (M,) [kpc]."""
        return np.exp(self._at("ln_rho", r))

    def mass(self, r) -> np.ndarray:
        """(S, M) draws of the mass [Msun] within r (M,) [kpc]."""
        return np.exp(self._at("ln_M", r))

    def slope(self, r) -> np.ndarray:
        """(S, M) draws of d ln rho / d ln r at r (M,) [kpc]."""
        return self._at("slope", r)

    def field(self, r=None, *, quantiles=(0.025, 0.16, 0.5, 0.84, 0.975)) -> xr.Dataset:
        """Every profile with its quantiles.

        Args:
            r: (M,) kpc, of the sphere and of the sky; by default 64 from 0.05 to 10 half-light radii.
            quantiles: (Q,) between 0 and 1.

        Returns:
            Variables of (quantile, r): rho [Msun/kpc^3], M [Msun], v_c [km/s], slope, beta, sigma_r [km/s], n [kpc^-3]
            and, of (quantile, R), Sigma [kpc^-2], sigma_los [km/s] and kurtosis; n is of one star in all, Sigma of one
            in the field. Of (quantile), J [GeV^2 cm^-5] and D [GeV cm^-2] within ``config.angle`` if the distance is
            known.
        """
        half, grid = self.scales.half, self.model.sphere
        r = half * np.geomspace(0.05, 10, 64) if r is None else np.asarray(r, float)
        R = r[r <= grid.R[-1]] if r.ndim == 1 else r
        q = [checks.number("one of the quantiles", value, 0, 1) for value in quantiles]
        rho, mass = self.density(r), self.mass(r)
        found: dict[str, tuple[str, Any, str, str]] = {
            "rho": ("r", rho, "Msun / kpc3", "density"),
            "M": ("r", mass, "Msun", "mass within r"),
            "v_c": ("r", np.sqrt(clearview.units.G * mass / r), "km / s", "circular velocity"),
            "slope": ("r", self.slope(r), "", "d ln rho / d ln r"),
            "beta": ("r", self._at("beta", r), "", "anisotropy"),
            "sigma_r": ("r", np.exp(self._at("ln_sigma_r", r)), "km / s", "radial dispersion"),
            "n": ("r", np.exp(self._at("ln_n", r)), "kpc-3", "density of stars"),
            "Sigma": ("R", np.exp(self._at("ln_Sigma", R)), "kpc-2", "stars on the sky"),
            "sigma_los": ("R", np.exp(self._at("ln_sigma_los", R)), "km / s", "line-of-sight dispersion"),
            "kurtosis": ("R", self._at("kurtosis", R), "", "of the line-of-sight velocities, 3 of a Gaussian"),
        }
        variables: dict[str, Any] = {
            name: (("quantile", axis), np.quantile(values, q, axis=0), {"units": unit, "long_name": label})
            for name, (axis, values, unit, label) in found.items()
        }
        if self.config.distance is not None:  # the halo ends at 400 half-light radii
            densities = np.exp(self._states["ln_rho"])
            variables |= factors(grid.r, densities, self.config.distance, self.config.angle, q)
        coords = {
            "r": ("r", r, {"units": "kpc", "long_name": "r"}), "quantile": ("quantile", q, {"units": ""}),
            "R": ("R", R, {"units": "kpc", "long_name": "R on the sky"}),
        }  # fmt: skip
        attributes = {
            "stars": self.stars, "digest": self.digest, "message": self.message, "half_light_radius": half,
            "anisotropy": self.config.anisotropy, "clearview_version": clearview.__version__,
        }  # fmt: skip
        return xr.Dataset(variables, coords, attributes)

    def core_or_cusp(self, radius: float = 0.15, threshold: float = -0.7) -> CoreOrCusp:
        """Whether the density is flat at ``radius`` [kpc]: a statement on the dark matter, whatever the stars' slope.

        The prior's probability is told beside the posterior's, and the factor between their odds, which is what the
        stars add (as in Savage and Dickey's ratio).

        Raises:
            ValueError: for a radius outside the grid, or a fit without draws.
        """
        checks.number("threshold", threshold, -3, 0)
        slopes = self.slope(np.array([checks.number("radius", radius, checks.ABOVE_0)]))[:, 0]
        rng = np.random.default_rng(0)
        with enable_x64(True):
            w = jnp.asarray(rng.standard_normal((20_000, self.model.size)))
            before = np.asarray(jax.vmap(lambda w: self.model.slope(w, np.array([radius])))(w))[:, 0]
        # Half a draw keeps the odds finite: so many draws tell no more.
        p, prior = ((np.sum(s > threshold) + 0.5) / (len(s) + 1) for s in (slopes, before))
        factor = float(p / (1 - p) / (prior / (1 - prior)))
        low, middle, high = np.quantile(slopes, [0.16, 0.5, 0.84])
        side = "a core" if factor > 1 else "a cusp"
        more = max(factor, 1 / factor)
        words = "barely more than before" if more < 3 else "likely" if more < 10 else "strongly"
        return CoreOrCusp(
            float(p), float(prior), factor, np.quantile(slopes, [0.025, 0.16, 0.5, 0.84, 0.975]), radius, threshold,
            f"The slope of the density at {radius:g} kpc is {middle:.2f} (+{high - middle:.2f} -{middle - low:.2f}): "
            f"{side}, {words}, as the probability of one shallower than {threshold:g} is {p:.2f}, and was {prior:.2f} "
            f"before the data (Bayes factor {factor:.2g}).",
        )  # fmt: skip

    def save(self, path, *, overwrite: bool = False) -> None:
        """Write to one file; `load_dwarf` reads it.

        Raises:
            FileExistsError: if the path exists and ``overwrite`` is not set.
            ValueError: for a fit that was cancelled.
        """
        if self.stopped != "finished":
            raise ValueError(f"Expected a finished fit to save, got one that was {self.stopped}; run it again.")
        told = {name: getattr(self, name) for name in _TOLD}
        header = {
            "config": self.config.to_dict(), "scales": self.scales._asdict(), "draws": list(self.draws.shape),
            "members": len(self.membership), **told,
        }  # fmt: skip
        save(path, "dwarf", header, [self.draws, self.membership], overwrite=overwrite)


_TOLD = ("stars", "digest", "rhat", "effective", "acceptance", "stopped", "message", "seconds")


def load_dwarf(path) -> DwarfFit:
    """What `DwarfFit.save` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is foreign or damaged.
    """
    header, (draws, membership) = load(
        path, "dwarf", lambda h: [jnp.zeros(h["draws"], jnp.float32), jnp.zeros(h["members"], jnp.float32)]
    )
    with described(path):
        config, scales = DwarfConfig.from_dict(header["config"]), Scales(**header["scales"])
        scales = scales._replace(flow=tuple(scales.flow))
        told = {name: header[name] for name in _TOLD}
        return DwarfFit(config, scales, np.asarray(draws), np.asarray(membership), **told)


def _model_of(config: DwarfConfig, scales: Scales) -> Any:
    return (BinnedModel if config.binned else Model)(config, scales)


def fit_dwarf(stars: Catalog, config: DwarfConfig | None = None, *, on_progress: OnProgress = None) -> DwarfFit:
    """Fit the dark halo of a dwarf galaxy.

    Args:
        stars: R [kpc], or x and y, about the centre; v_los [km/s] (or radial_velocity, or vz), NaN for stars with a
            place alone, and v_los_error. Those with velocities lie as the galaxy's do, but see ``config.places``.
        config: what is known.
        on_progress: called with `Progress`; returning False cancels, and what was drawn so far is returned.

    Raises:
        TypeError, KeyError, ValueError: as `clearview.dwarfs.stars.stars_of`, before any long work; and if the stars
            turn out to be nearly all foreground.
    """
    config = DwarfConfig() if config is None else config
    checks.a(config, DwarfConfig, "a DwarfConfig")
    began = time.monotonic()
    seen = stars_of(stars, foreground=config.foreground, radius=config.radius)
    edge = float(seen.R.max()) * (1 + 1e-6) if config.foreground and config.radius is None else config.radius
    known = np.isfinite(seen.v)
    if config.places == "photometric" and (~known).sum() < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST} photometric tracers, whose v_los is NaN, got {(~known).sum()}; add them, or "
            "take places all."
        )
    scales = Scales(seen.half, seen.center, seen.spread, edge, bool((~known).any()))
    if config.binned:
        scales = scales._replace(flow=held_fast(seen.R[~known] if config.places == "photometric" else seen.R))
    digest = digest_of(stars)

    def tell(stage, fraction):
        if on_progress is None:
            return True
        seconds = time.monotonic() - began
        left = seconds * (1 / fraction - 1) if fraction > 0.1 else None
        history = pd.DataFrame(columns=HISTORY)
        told = Progress(stage, round(100 * fraction), 100, seconds, left, np.nan, np.nan, history, fraction)
        return on_progress(told) is not False

    def result(chains: hmc.Chains | None, membership):
        seconds = time.monotonic() - began
        if chains is None or chains.stopped == "cancelled" or not len(chains.draws):
            size = _model_of(config, scales).size
            draws = np.zeros((0, size)) if chains is None else chains.draws.reshape(-1, size)
            return DwarfFit(
                config, scales, draws.astype(np.float32), membership, int(known.sum()), digest, np.inf, 0.0,
                0.0, "cancelled", f"Dwarf: cancelled after {len(draws):,} draws.", seconds,
            )  # fmt: skip
        rhat = float(hmc.split_rhat(chains.draws).max())
        size = float(hmc.effective_size(chains.draws).min())
        draws = chains.draws.reshape(-1, chains.draws.shape[-1]).astype(np.float32)
        well = rhat <= RHAT and size >= ENOUGH
        off = np.abs(seen.v - seen.center)[known] > _OFF * np.hypot(seen.spread, seen.error)[known]
        message = (
            f"Dwarf: {int(known.sum()):,} stars with velocities, {int((~known).sum()):,} without; "
            f"{len(draws):,} draws, worth {size:,.0f}, R-hat {rhat:.3f}"
            + ("." if well else f": the chains have not converged; raise warmup and draws above {config.draws}.")
            + (f" Velocities more than {_OFF} dispersions off: {off.sum():,}; remove them, or set foreground=True."
               if off.any() and not config.foreground else "")
        )  # fmt: skip
        return DwarfFit(
            config, scales, draws, membership, int(known.sum()), digest, rhat, size, chains.acceptance, "finished",
            message, seconds,
        )  # fmt: skip

    everyone = np.ones(len(seen.R), np.float32)
    with enable_x64(True):
        log_prob = _likelihood_of(config, scales, seen)
        gradient = _gradient_of(log_prob, config.chains)
        if not tell("optimum", 0.0):
            return result(None, everyone)
        found = _optimum(gradient, log_prob.model, config, tell)
        if found is None:
            return result(None, everyone)
        best, covariance = found
        if config.foreground:
            enough_members(float(log_prob.membership(jnp.asarray(best))[: known.sum()].sum()), int(known.sum()))
        rng = np.random.default_rng([config.seed, 1])
        start = best + 1.5 * rng.standard_normal((config.chains, len(best))) @ np.linalg.cholesky(covariance).T
        chains = hmc.sample(
            gradient, start, covariance, warmup=config.warmup, draws=config.draws, seed=config.seed,
            on_step=lambda done, total: tell("chains", 0.1 + 0.9 * done / total),
        )  # fmt: skip
        membership = everyone
        if config.foreground and len(chains.draws):
            flat = chains.draws.reshape(-1, chains.draws.shape[-1])
            some = flat[:: max(1, len(flat) // 200)]
            each = np.asarray(jax.jit(jax.vmap(log_prob.membership))(jnp.asarray(some))).mean(0)
            membership = np.empty(len(seen.R), np.float32)
            membership[known], membership[~known] = np.split(each, [known.sum()])
    return result(chains, membership)


def fit_binned(stars: Catalog, config: DwarfConfig | None = None, *, on_progress: OnProgress = None) -> DwarfFit:
    """`fit_dwarf` by dispersions in bins, as of `clearview.dwarfs.baseline`: the usual way, to compare with.

    Raises:
        TypeError, KeyError, ValueError: as `fit_dwarf`, and for a foreground, which bins cannot tell.
    """
    return fit_dwarf(stars, dataclasses.replace(config or DwarfConfig(), binned=True), on_progress=on_progress)


def _likelihood_of(config, scales, seen: Seen) -> Any:
    return (Binned if config.binned else Likelihood)(_model_of(config, scales), seen)


def _gradient_of(log_prob: Any, chains: int) -> hmc.Gradient:
    """ln(probability) and slopes at points (C, D), of any number, compiled for ``chains`` of them at a time."""
    compiled = jax.jit(jax.vmap(jax.value_and_grad(log_prob)))

    def gradient(w):
        parts = []
        for first in range(0, len(w), chains):
            some = w[first : first + chains]
            padded = np.concatenate([some, np.repeat(some[-1:], chains - len(some), 0)])
            parts.append([np.asarray(a)[: len(some)] for a in compiled(padded)])
        return np.concatenate([v for v, _ in parts]), np.concatenate([s for _, s in parts])

    return gradient


def _optimum(gradient: hmc.Gradient, model: Any, config: DwarfConfig, tell):
    """The parameters of the highest posterior, and the covariance of a Gaussian there; None if cancelled."""
    size = model.size

    class Cancelled(Exception):
        pass

    def both(w):
        value, slope = gradient(w[None])
        return -float(value[0]), -slope[0]

    def look(_):
        if not tell("optimum", 0.03):
            raise Cancelled

    # With a stiff halo and stiff stars first: a free halo may take the foreground for its own.
    sizes = model.sizes
    stiff = np.concatenate([np.full(n, 25.0 * (name in ("slopes", "tracer"))) for name, n in sizes.items()])
    stiff[sizes["mass"] + sizes["slopes"] : sizes["mass"] + sizes["slopes"] + 1] = 0.0  # the stars' scale is free

    def stiffly(w):
        value, slope = both(w)
        return value + (stiff * w**2).sum(), slope + 2 * stiff * w

    try:
        tried = [np.zeros(size)]
        if config.foreground:  # some members, or most of them
            for value in (-1.0, 1.5):
                tried.append(np.zeros(size))
                tried[-1][size - sizes["foreground"] + 2 :] = value
        found = []
        for w in tried:
            first = minimize(stiffly, w, jac=True, method="L-BFGS-B", callback=look, options={"maxiter": 60})
            found.append(minimize(both, first.x, jac=True, method="L-BFGS-B", callback=look))
    except Cancelled:
        return None
    best = min(found, key=lambda f: f.fun if np.isfinite(f.fun) else np.inf).x
    if not tell("optimum", 0.08):
        return None
    step = 1e-4
    slopes = -gradient(np.concatenate([best + step * np.eye(size), best - step * np.eye(size)]))[1]
    hessian = (slopes[:size] - slopes[size:]) / (2 * step)
    if not np.isfinite(hessian).all():
        raise ValueError(
            "Expected stars and settings that some galaxy can have, got a likelihood that is not finite anywhere near "
            "its highest; correct the radii, the field or the anisotropy."
        )
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    # The prior alone has a curvature of 1: what is below comes from the far side of a hill.
    return best, (vectors / np.maximum(values, 0.7)) @ vectors.T
