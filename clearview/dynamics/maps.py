"""The whole pipe in one call: stars -> f(x, v) -> potential. It can be watched, cancelled, resumed and saved."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import random

from clearview import checks, flows
from clearview.catalogs import Catalog
from clearview.dynamics.identifiability import identifiability
from clearview.dynamics.plan import Plan, costs
from clearview.dynamics.potential import STRAIN, fit_potential, least_stars, score_gradients
from clearview.dynamics.prepare import distances, look, parts, some, velocity_inputs, within
from clearview.dynamics.series import PotentialConfig, PotentialSeries, at_places
from clearview.flows import MAF, Ball, Fit, FitConfig, FlowConfig, PhaseSpace, Standardised, State
from clearview.flows.cost import compile_seconds, slowness
from clearview.flows.density import in_chunks, rotate, soft_ball
from clearview.flows.fit import HISTORY, OnPreview, OnProgress, Previews, pack_history
from clearview.flows.networks import generator, permutation
from clearview.units import ACCELERATION_UNIT, SUN, Sun

FEWEST = 1000
"""Stars below which six dimensions cannot be learnt."""

LIGHT = 299_792.458
"""km/s."""

EXTRAPOLATED = "simex_draws"
"""In ``source`` of a map that `clearview.dynamics.simex_map` made: the random draws behind it."""

EDGE = 1 - 1e-5
"""Stars are taken up to this fraction of the radius: in float32 one at the very edge may count as outside."""

PLACES = 50
"""At so many stars a doubtful map is asked whether the velocities there constrain the force."""

DOUBTFUL = 0.2
"""Stated error of the force over the force from which on a map is doubtful."""

ROUGH = PotentialConfig(stars=4096, degree=6)
"""The potential of a preview, at most: of the finished flows of the first map it is good to 1.5 % (median)."""


@dataclass(frozen=True)
class MapConfig:
    """Everything that decides a map, with its defaults.

    Attributes:
        radius: of the ball around ``center`` that is mapped, kpc; None takes the farthest star's distance.
        center: of the ball, kpc; the default is `clearview.units.SUN`'s place, and stars that were placed with another
            Sun want ``center=stars.sun.position``.
        positions, velocities: sizes of the flows n(x) and p(v | x).
        training: of both flows.
        potential: of the potential; None learns the density only.
        seed: of all random numbers; the same stars, config and seed give the same map.
    """

    radius: float | None = None
    center: tuple[float, ...] = tuple(float(c) for c in SUN.position)
    positions: FlowConfig = field(default_factory=FlowConfig)
    velocities: FlowConfig = field(default_factory=FlowConfig)
    training: FitConfig = field(default_factory=FitConfig)
    potential: PotentialConfig | None = field(default_factory=PotentialConfig)
    seed: int = 0

    def __post_init__(self):
        center = checks.triple("center", self.center)
        object.__setattr__(self, "center", center)  # an array has no plain ==
        checks.parts(self)
        checks.numbers(self, optional=True, radius=(checks.ABOVE_0, checks.MOST))
        checks.numbers(self, whole=True, seed=checks.SEEDS)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MapConfig":
        """The inverse of `to_dict`; see `clearview.checks.from_plain`."""
        return checks.from_plain(cls, values)


@dataclass
class MapFit:
    """A map of the Galaxy learnt from stars, finished or not.

    Attributes:
        config: what decided it.
        density: f(x, v), a `PhaseSpace`.
        series: the potential, a `PotentialSeries`.
        radius: of the ball, kpc.
        stars: how many were learnt from.
        data_digest: of the catalogue's phase space.
        stage: how many of the stages are done.
        stopped: "finished", "cancelled" or "diverged"; "preview" while it is learnt.
        message: one sentence about how it ended.
        history: losses, columns stage, step, train, validation.
        state: where an unfinished stage stands, or None.
        source: the catalogue's meta, with the Sun that it was placed with.
    """

    config: MapConfig
    density: PhaseSpace
    series: PotentialSeries
    radius: float
    stars: int
    data_digest: str
    stage: int = 0
    stopped: str = "cancelled"
    message: str = "Not trained yet."
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=HISTORY))
    state: State | None = None
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def center(self) -> np.ndarray:
        """(3,) kpc."""
        return np.asarray(self.config.center)

    @property
    def sun(self) -> Sun:
        """The Sun that the stars were placed with."""
        told = self.source.get("sun")
        return Sun.of(told) if isinstance(told, dict) else SUN

    @property
    def provenance(self) -> dict[str, Any]:
        """Where its fields come from: plain values for the attributes of a Dataset."""
        told = {
            "stars": self.stars,
            "data_digest": self.data_digest,
            "radius_kpc": self.radius,
            "seed": self.config.seed,
            "sun": ", ".join(f"{key} {value}" for key, value in self.sun.to_dict().items() if value != ""),
        }
        told |= {k: v for k, v in self.source.items() if k == EXTRAPOLATED}
        return told | (self.config.potential.provenance if self.config.potential else {})

    @property
    def complete(self) -> bool:
        """Whether every stage is done."""
        return self.stopped != "preview" and self.stage == (2 if self.config.potential is None else 3)

    @property
    def has_density(self) -> bool:
        """Whether f(x, v) is trained, or to be looked at in a preview."""
        return self.stage >= 2

    @property
    def has_potential(self) -> bool:
        """Whether the potential is there; never with ``config.potential = None``, a fit of the density only."""
        return self.stage == 3

    def acceleration(self, x) -> np.ndarray:
        """(N, 3) acceleration at x (N, 3) [kpc], (km/s)^2/kpc; NaN outside the ball.

        Raises:
            ValueError: if the fit is not complete.
        """
        return at_places(self._finished_series(), x, "acceleration")

    def acceleration_covariance(self, x) -> np.ndarray:
        """(N, 3, 3) covariance of the acceleration at x (N, 3) [kpc], ((km/s)^2/kpc)^2.

        It holds the finite number of stars and the prior, not what one training of the flows differs from another.

        Raises:
            ValueError: if the fit is not complete.
        """
        return at_places(self._finished_series(), x, "acceleration_covariance")

    def potential(self, x) -> np.ndarray:
        """(N,) potential at x (N, 3) [kpc], (km/s)^2, up to a constant; NaN outside the ball.

        Raises:
            ValueError: if the fit is not complete.
        """
        return at_places(self._finished_series(), x)

    def log_f(self, x, v) -> np.ndarray:
        """(N,) ln f at x (N, 3) [kpc] and v (N, 3) [km/s], per kpc^3 (km/s)^3, for one star in all.

        Raises:
            ValueError: if the flows are not trained yet.
        """
        if not self.has_density:
            raise ValueError(f"Expected a trained density, this fit stopped before ({self.message}) Resume it first.")
        return np.asarray(_batched_log_f(self.density, jnp.asarray(x, jnp.float32), jnp.asarray(v, jnp.float32)))

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, 6) float32 draws of f: x, y, z [kpc], vx, vy, vz [km/s].

        Raises:
            ValueError: if the flows are not trained yet.
        """
        if not self.has_density:
            raise ValueError(f"Expected a trained density, this fit stopped before ({self.message}) Resume it first.")
        return in_chunks(lambda key, size: _sample(self.density, key, size), n, random.key(seed))

    def _finished_series(self) -> PotentialSeries:
        if not self.has_potential:
            if self.complete:
                raise ValueError("Expected a potential, this fit is of the density only; fit with a potential.")
            raise ValueError(f"Expected a finished map, this fit stopped before ({self.message}) Resume it first.")
        return self.series


def default_config(catalog: Catalog) -> MapConfig:
    """A ball around the catalogue's own Sun."""
    return MapConfig(center=tuple(catalog.sun.position))


@eqx.filter_jit
def _sample(density, key, size):
    x = density.n.sample(random.fold_in(key, 0), (size,))
    return jnp.concatenate([x, density.sample_velocity(random.fold_in(key, 1), x, 1)[0]], axis=-1)


@eqx.filter_jit
def _batched_log_f(density, x, v):
    return density.log_f(x, v)


def fit_map(
    catalog: Catalog,
    config: MapConfig | None = None,
    *,
    on_progress: OnProgress = None,
    on_preview: OnPreview = None,
    preview: float = 5.0,
    on_checkpoint: Callable[[MapFit], object] | None = None,
    checkpoint: float = 30.0,
    resume: MapFit | None = None,
) -> MapFit:
    """Learn f(x, v) from a catalogue and the potential from f.

    Args:
        catalog: stars with 6-D phase space.
        config: what to do, by default a ball around the catalogue's own Sun; not with ``resume``, which brings its own.
        on_progress: called about four times a second with `Progress`, whose ``fraction`` and ``remaining`` cover
            all stages; returning False cancels.
        on_preview: called with the unfinished fit, to be looked at, not saved: f(x, v) as it is learnt, and from the
            first pass over the velocities on, if then 40 seconds or more are left, a rough potential, which is worth
            its compilation only then; see `clearview.flows.fit.Previews`.
        preview: about how many seconds lie between two of these; 40 are eight times as many.
        on_checkpoint: called with the unfinished fit, to be saved (`save_map`): resumed from there, it ends as if it
            had never been cut off. What it raises ends the training.
        checkpoint: about how many seconds lie between two of these; there is one after each flow, too.
        resume: a cancelled fit of the same catalogue; it goes on from the very step and ends as if undisturbed.

    Returns:
        The fit; ``fit.complete`` tells whether the map is there, ``fit.message`` how it ended.

    Raises:
        ValueError: for too few stars, stars that do not fill the ball or do not differ in a coordinate, or a
            ``resume`` of other stars.
    """
    checks.a(config, (MapConfig, type(None)), "a MapConfig")
    checks.number("preview", preview, 0)
    points, digest = checks.a(catalog, Catalog, "a Catalog").phase_space, catalog.digest()
    if resume is None:
        source = {**catalog.meta, "sun": catalog.sun.to_dict()}
        fit = _begin(points, config or default_config(catalog), digest, source)
    else:
        checks.a(resume, MapFit, "a MapFit to resume")
        if config is not None and config != resume.config:
            raise ValueError("Expected no config with resume, got another one; a resumed fit keeps its own.")
        if digest != resume.data_digest:
            raise ValueError(
                f"Expected the stars that the fit began with (digest {resume.data_digest}), got others ({digest}); "
                f"load that catalogue or train anew."
            )
        if resume.stopped == "preview":
            raise ValueError("Expected a cancelled fit to resume, got a preview of one; cancel the training first.")
        fit = dataclasses.replace(resume)
        if fit.complete and fit.stopped == "finished":
            return fit
    config = fit.config
    points = within(points, config.center, fit.radius * EDGE)
    x, v = points[:, :3], points[:, 3:]
    w, q = velocity_inputs(fit.density, points)
    keys = random.split(random.key(config.seed), 4)
    plan = Plan(config, len(x), on_progress, fit.history)
    previews, checkpoints = (
        Previews(on_preview, preview),
        Previews(on_checkpoint, checkpoint, "checkpoint", needed=True),
    )

    def chosen(number: int) -> np.ndarray:
        """Rows of as many stars, drawn at random."""
        return permutation(generator(keys[2]), len(x))[:number]

    def so_far(part: str, model):
        """The fit with a flow that is still trained."""
        density = eqx.tree_at(lambda d: getattr(d, part), fit.density, model)
        now = dataclasses.replace(fit, density=density, stage=2, stopped="preview", state=None)
        now.message = "Positions: still learning; the velocities come next."
        if part == "p":
            now.message = "Velocities: still learning."
            if config.potential is not None and plan.worth(8 * preview):
                rough = dataclasses.replace(
                    config.potential, stars=ROUGH.stars, degree=min(ROUGH.degree, config.potential.degree)
                )
                few = chosen(min(rough.stars, config.potential.stars))
                series = PotentialSeries(config.center, fit.radius, fit.series.height, rough)
                try:
                    found = score_gradients(density, x[few], v[few], on_batch=plan.going)
                    series = found and fit_potential(series, found, rough, on_batch=plan.going)
                except (ValueError, np.linalg.LinAlgError):  # so early the flow may be too rough for one
                    return now
                if series is None:
                    return None
                now.series, now.stage = series, 3
                now.message = f"Velocities: still learning; a rough potential of {len(few):,} stars."
        return now

    def at_report(part: str, made: Callable[[], Fit]) -> None:
        previews(lambda: so_far(part, made().model))

        def resumable():
            now = made()
            return dataclasses.replace(
                fit, stopped="cancelled", message=now.message, state=now.state, history=plan.joined(now.history)
            )  # fmt: skip

        checkpoints(resumable)

    resumed = None if fit.state is None else Fit(None, "cancelled", "", fit.history, fit.state)
    fit.stopped = "finished"
    while fit.stage < 2:
        told = plan.stage(fit.stage)
        if fit.stage == 0:
            result = flows.fit(
                fit.density.n, x, config.training, key=keys[0], on_progress=told, resume=resumed, stage="positions",
                on_model=lambda made: at_report("n", made),
            )  # fmt: skip
            fit.density = eqx.tree_at(lambda d: d.n, fit.density, result.model)
        else:
            result = flows.fit(
                fit.density.p, w, config.training, key=keys[1], condition=q, on_progress=told, resume=resumed,
                stage="velocities", on_model=lambda made: at_report("p", made),
            )  # fmt: skip
            fit.density = eqx.tree_at(lambda d: d.p, fit.density, result.model)
        resumed = None
        fit.history = plan.finish(result.history)
        fit.stopped, fit.message, fit.state = result.stopped, result.message, result.state
        if result.stopped != "finished":
            return fit
        fit.stage, fit.state = fit.stage + 1, None
        if on_checkpoint is not None:
            on_checkpoint(dataclasses.replace(fit, stopped="cancelled"))
    if config.potential is not None and not fit.complete:
        rows = chosen(config.potential.stars)
        try:
            gradients = score_gradients(fit.density, x[rows], v[rows], on_batch=plan.part("gradients", 2))
            series = gradients and fit_potential(
                fit.series, gradients, config.potential, on_batch=plan.part("potential", 3)
            )  # fmt: skip
        except (ValueError, np.linalg.LinAlgError) as problem:  # the density, minutes of training, is kept
            fit.stopped, fit.message = "diverged", f"The density is trained, but not the potential: {problem}"
            return fit
        if series is None:
            fit.stopped, fit.message = "cancelled", "Potential: cancelled; resume begins it again."
            return fit
        fit.series, fit.stage = series, 3
    if fit.complete:
        what = "Map" if fit.has_potential else "Density"
        fit.stopped, fit.message = "finished", f"{what} finished: {fit.stars:,} stars within {fit.radius:.3g} kpc."
        fit.message += config.potential.assumed if config.potential else ""
        if 1e-3 < (off := float(np.linalg.norm(fit.center - fit.sun.position))) < 1.0:  # farther off is no mistake
            fit.message += (
                f" The ball lies {1000 * off:.0f} pc off the Sun of the stars; MapConfig(center=stars.sun.position) "
                "puts it there."
            )
        if (strain := float(fit.series.strain)) > STRAIN:
            fit.message += (
                f" Two ways to the force differ by {strain:.0f} standard errors: the stars may be cut off elsewhere "
                "than at the edge of the ball, or not be in equilibrium; do not trust it."
            )
        fit.message += _unconstrained(fit, x, keys[3])
    return fit


def _unconstrained(fit: MapFit, x, key) -> str:
    """A sentence if velocities alone leave the force open where stars are, else nothing."""
    if not fit.has_potential:
        return ""
    places = np.asarray(x[generator(key).integers(0, len(x), PLACES)])
    force = np.linalg.norm(fit.acceleration(places), axis=1)
    error = np.sqrt(np.trace(fit.acceleration_covariance(places), axis1=1, axis2=2))
    if float(fit.series.strain) <= STRAIN and np.nanmedian(error / force) < DOUBTFUL:
        return ""  # the look at each place compiles for seconds
    try:
        open_ = 1 - float(identifiability(fit, places, dust=False, draws=300).constrained.mean())
    except (ValueError, np.linalg.LinAlgError):  # for which no finished map is lost
        return ""
    if open_ < 0.5:
        return ""
    return (
        f" At {open_:.0%} of the stars' places the velocities there do not constrain the force to better than its own "
        "size: the sample is too small or reaches not far enough."
    )


def _begin(points, config: MapConfig, digest: str, source: dict[str, Any]) -> MapFit:
    """The untrained fit, after a look at the stars."""
    if len(points) < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST:,} stars to learn six dimensions from, got {len(points):,}; loosen the cuts."
        )
    fastest = max(float(np.linalg.norm(part[:, 3:], axis=1).max()) for part in parts(points))
    if fastest > LIGHT:
        raise ValueError(f"Expected velocities in km/s below that of light, got {fastest:.3g}; check their unit.")
    radius = config.radius
    if radius is None:
        radius = max(part.max() for part in distances(points, config.center)) * (1 + 1e-4)
    radius = float(radius)
    inside = within(points, config.center, radius * EDGE)
    if len(inside) < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST:,} stars within {radius:.3g} kpc of {config.center}, got {len(inside):,}; "
            f"check the frame or give a larger radius."
        )
    if (p := config.potential) is not None:
        least = max(FEWEST, least_stars(p.size))
        near = sum(np.count_nonzero(part < p.edge * radius) for part in distances(points, config.center))
        near = int(near * min(1.0, 0.95 * p.stars / len(inside)))
        if near < least:
            raise ValueError(
                f"Expected at least {least:,} stars for the potential, got {near:,} (within {p.edge} of the radius, "
                f"and potential.stars is {p.stars:,}); use more stars, a lower potential.degree, or potential=None for "
                "the density only."
            )
    typical = float(np.quantile(np.concatenate([*distances(some(inside), config.center)]), 0.99))
    if typical < 0.5 * radius:
        raise ValueError(
            f"Expected stars that fill the ball of {radius:.3g} kpc, got 99% of them within {typical:.3g} kpc; cut the "
            f"outliers (clearview.catalogs.Ball) or give a smaller radius."
        )
    if radius >= np.hypot(config.center[0], config.center[1]):
        raise ValueError(
            f"Expected a ball that leaves out the Galaxy's axis, got radius {radius:.3g} kpc; give a smaller one."
        )
    soft = jax.vmap(lambda q: soft_ball(q)[0])
    u = look(parts(inside, lambda a: soft(jnp.asarray((a[:, :3] - np.asarray(config.center)) / radius, jnp.float32))))
    x = look(parts(inside[:, :3]))
    w = look(parts(inside, lambda a: rotate(jnp.asarray(a[:, :3]), jnp.asarray(a[:, 3:]))))
    spread = np.concatenate([x.spread, w.spread])
    if not (spread > 0).all():
        name = ("x", "y", "z", "v_R", "v_phi", "v_z")[int(np.argmin(spread))]
        raise ValueError(
            f"Expected stars that differ in every coordinate, got one and the same {name}; check the table."
        )
    k_n, k_p = random.split(random.fold_in(random.key(config.seed), 1), 3)[:2]
    density = PhaseSpace(
        Ball(Standardised(MAF(3, None, config.positions, key=k_n), u.mean, u.std), config.center, radius),
        Standardised(MAF(3, 3, config.velocities, key=k_p), w.mean, w.std),
    )
    height = max(float(np.median(np.abs(some(inside)[:, 2]))), 1e-3 * radius)
    series = PotentialSeries(config.center, radius, height, config.potential)
    return MapFit(config, density, series, radius, len(inside), digest, source=source)


def estimate_seconds(stars: int | Catalog, config: MapConfig | None = None) -> float:
    """Roughly how many seconds `fit_map` takes on this machine.

    Args:
        stars: how many, or a catalogue, of which those within the radius count.
        config: as `fit_map` takes it.
    """
    config = config or MapConfig()
    if isinstance(stars, Catalog):
        far = np.inf if config.radius is None else config.radius
        stars = sum(int(np.count_nonzero(part < far)) for part in distances(stars.phase_space, config.center))
    compiling = compile_seconds(config.positions) + compile_seconds(config.velocities)
    return slowness() * (compiling + sum(costs(config, stars)[0]))


def save_map(fit: MapFit, path, *, overwrite: bool = False, keep: bool = False):
    """Write a fit, finished or not, to one file without pickle; the arguments are those of `clearview.flows.save`.

    Raises:
        ValueError: for a preview.
    """
    header, arrays = packed(fit)
    return flows.save(path, "map", header, arrays, overwrite=overwrite, keep=keep)


def packed(fit: MapFit) -> tuple[dict[str, Any], Any]:
    """A fit as a header of plain values and a pytree of arrays; `unpacked` takes them."""
    if checks.a(fit, MapFit, "a MapFit").stopped == "preview":
        raise ValueError("Expected a fit to save, got a preview of one; cancel the training and save what it gives.")
    header = dict(
        config=fit.config.to_dict(), radius=fit.radius, stars=fit.stars, data_digest=fit.data_digest, stage=fit.stage,
        stopped=fit.stopped, message=fit.message, source=fit.source,
        history=pack_history(fit.history),
        unfinished=fit.state is not None,
        units=dict(x="kpc", v="km s-1", potential="km2 s-2", acceleration=ACCELERATION_UNIT),
    )  # fmt: skip
    return header, (fit.density, fit.series, fit.state)


def load_map(path) -> MapFit:
    """Read what `save_map` wrote.

    Raises:
        FileNotFoundError, CheckpointError: see `clearview.flows.load`.
    """
    header, arrays = flows.load(path, "map", blank)
    return unpacked(header, arrays, path)


def blank(header: dict[str, Any]):
    """A pytree of the shapes that a header of `packed` describes."""
    config = MapConfig.from_dict(header["config"])
    key = random.key(0)
    density = PhaseSpace(
        Ball(
            Standardised(MAF(3, None, config.positions, key=key), np.zeros(3), np.ones(3)),
            config.center,
            1.0,
        ),
        Standardised(MAF(3, 3, config.velocities, key=key), np.zeros(3), np.ones(3)),
    )
    series = PotentialSeries(config.center, 1.0, 1.0, config.potential)
    state = None
    if header["unfinished"]:
        state = State.begin((density.n, density.p)[header["stage"]], config.training)
    return density, series, state


def unpacked(header: dict[str, Any], arrays, path) -> MapFit:
    """The fit that `packed` took apart; ``path`` is for the words of an error."""
    density, series, state = arrays
    wanted = {"config", "radius", "stars", "data_digest", "stage", "stopped", "message", "history", "source"}
    if absent := wanted - set(header):
        raise flows.CheckpointError(
            f"Expected {', '.join(sorted(absent))} in the header of {path}, got none; train again."
        )
    with flows.described(path):
        told = flows.told_of(header)
        return MapFit(
            MapConfig.from_dict(header["config"]), density, series,
            checks.number("radius", header["radius"], checks.ABOVE_0), told["stars"], told["data_digest"],
            checks.number("stage", header["stage"], 0, 3, whole=True), told["stopped"], told["message"],
            told["history"], state, told["source"],
        )  # fmt: skip
