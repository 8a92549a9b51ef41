"""Upsampling: the smooth density behind the star particles of a simulation, and as many stars from it as one likes.

After GalaxyFlow (Lim, Raman, Buckley & Shih 2022, arXiv:2211.11765), whose continuous flows were trained by maximum
likelihood; here flow matching takes minutes instead of days, in coordinates that know the edge of a ball.
"""

import dataclasses
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from jax import random

from clearview import checks
from clearview.catalogs import Catalog, Cut
from clearview.catalogs.columns import PHASE_SPACE, listed, to_arrow
from clearview.catalogs.select import NoStars
from clearview.flows import Fit, FitConfig, State, checkpoint, optimise, told_of
from clearview.flows.continuous import CNF, ContinuousConfig
from clearview.flows.cost import slowness, training_seconds
from clearview.flows.fit import HISTORY, OnPreview, OnProgress, Previews, pack_history
from clearview.generation.compare import Cancelled
from clearview.generation.photometry import Photometry
from clearview.generation.space import Space
from clearview.mocks import add_errors

FEWEST = 1000
"""Particles below which six dimensions cannot be learnt."""

CHUNK = 2**15
"""Stars that are drawn, and written, at a time."""

CONDITIONS = ("age", "metallicity")
"""Columns that `default_config` takes as conditions where there are any."""


@dataclass(frozen=True)
class UpsampleConfig:
    """How the density of star particles is learnt.

    Attributes:
        radius: of the ball around ``center`` whose stars are learnt, kpc: stars fill it up to its edge. None takes all
            stars of a galaxy that has no edge.
        center: of the ball, or of the galaxy, kpc.
        weights: column with the weights of the particles, such as "mass": stars are drawn in proportion. None for
            particles of equal weight.
        conditions: columns that go with the particles, such as "age": places and velocities are learnt given these,
            and each star takes them from a particle drawn by its weight.
        flow: size of the flow.
        training: of the flow.
        seed: of all random numbers.
    """

    radius: float | None = None
    center: tuple[float, ...] = (0.0, 0.0, 0.0)
    weights: str | None = None
    conditions: tuple[str, ...] = ()
    flow: ContinuousConfig = field(default_factory=ContinuousConfig)
    training: FitConfig = field(
        default_factory=lambda: FitConfig(
            epochs=1, min_steps=8000, batch_size=2048, learning_rate=3e-3, validation=0.05, average=0.05
        )
    )
    seed: int = 0

    def __post_init__(self):
        checks.parts(self)
        object.__setattr__(self, "center", checks.triple("center", self.center))
        object.__setattr__(self, "conditions", tuple(checks.texts("conditions", self.conditions)))
        checks.a(self.weights, (str, type(None)), "weights as the name of a column")
        taken = [*self.conditions, *([self.weights] if self.weights else [])]
        if wrong := [name for i, name in enumerate(taken) if name in PHASE_SPACE or name in taken[:i]]:
            raise ValueError(
                f"Expected weights and conditions in columns of their own, got {checks.shown(wrong[0])} once more; "
                "name each once, and no coordinates."
            )
        checks.numbers(self, optional=True, radius=(checks.ABOVE_0, checks.MOST))
        checks.numbers(self, whole=True, seed=checks.SEEDS)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "UpsampleConfig":
        """The inverse of `to_dict`; see `clearview.checks.from_plain`."""
        return checks.from_plain(cls, values)


def default_config(catalog: Catalog) -> UpsampleConfig:
    """What suits a catalogue: the ball around the Sun of a mock or of a simulation's part, where there is one; masses
    as weights, ages and metallicities given.
    """
    mock, simulation = (catalog.meta.get(name) or {} for name in ("mock", "simulation"))
    # The radius of a dwarf galaxy is of no ball around the Sun.
    radius = simulation.get("radius_kpc") or (None if "dwarf" in mock else mock.get("radius"))
    return UpsampleConfig(
        radius, tuple(catalog.sun.position) if radius else (0.0, 0.0, 0.0), "mass" if "mass" in catalog else None,
        tuple(name for name in CONDITIONS if name in catalog),
    )  # fmt: skip


@dataclass(eq=False)
class Upsampler:
    """The density of star particles, learnt to the end or not.

    Attributes:
        config: how it was learnt.
        space: the coordinates that the flow sees.
        flow: the density there, a `CNF`.
        given: (N, conditions) float32, those of the particles.
        weights: (N,) float32, of the particles; one of each if there are no conditions.
        middle, scale: (conditions,) of the conditions, as the flow sees them.
        stars: how many particles were learnt from.
        data_digest: of their phase space.
        condition_units: of the conditions.
        stopped: "finished", "cancelled" or "diverged"; "preview" while it is learnt.
        message: one sentence about how it ended.
        history: losses, columns stage, step, train, validation.
        state: where an unfinished training stands, or None.
        source: the meta of the catalogue.
    """

    config: UpsampleConfig
    space: Space
    flow: CNF
    given: np.ndarray
    weights: np.ndarray
    middle: np.ndarray
    scale: np.ndarray
    stars: int
    data_digest: str
    condition_units: tuple[str, ...] = ()
    stopped: str = "cancelled"
    message: str = "Not trained yet."
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=HISTORY))
    state: State | None = None
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """What `sample` gives."""
        return (*PHASE_SPACE, *self.config.conditions)

    @property
    def units(self) -> tuple[str, ...]:
        """The units of the `columns`."""
        return ("kpc",) * 3 + ("km/s",) * 3 + self.condition_units

    @cached_property
    def _shares(self) -> np.ndarray:
        """(N,) cumulated weights, up to 1."""
        total = np.cumsum(self.weights, dtype=float)
        return total / total[-1]

    def same_stars(self, catalog: Catalog) -> bool:
        """Whether these particles are those that were learnt from."""
        return _digest(catalog, self.config) == self.data_digest

    @property
    def complete(self) -> bool:
        """Whether training is done."""
        return self.stopped == "finished"

    @property
    def has_density(self) -> bool:
        """Whether stars can be drawn: it is finished, or a preview."""
        return self.stopped in ("finished", "preview")

    def log_prob(self, points, given=None) -> np.ndarray:
        """(N,) ln f at stars (N, 6) [kpc, km/s], per kpc^3 (km/s)^3 for one star in all; -inf outside of the ball.

        Args:
            points: (N, 6).
            given: (N, conditions), if it has conditions.

        Raises:
            ValueError: if the training is not finished, or for tables of other shapes, or not finite.
        """
        flow, points = self._finished(), np.asarray(points, float)
        wanted = len(self.config.conditions)
        if (
            points.ndim != 2
            or points.shape[1] != 6
            or (() if given is None else np.shape(given)) != ((len(points), wanted) if wanted else ())
        ):
            raise ValueError(
                f"Expected stars as a table (N, 6) and {f'(N, {wanted}) conditions' if wanted else 'no conditions'}, "
                f"got {points.shape} and {None if given is None else np.shape(given)}; stack the columns."
            )
        if bad := np.count_nonzero(~np.isfinite(points).all(1)):
            raise ValueError(f"Expected finite stars, got {bad:,} of {len(points):,} others; cut those.")
        base = self.space.to_base(points)
        inside = np.isfinite(base).all(1)
        out = np.full(len(points), -np.inf)
        condition = None if given is None else jnp.asarray(self._seen(np.asarray(given)[inside]))
        at = flow.log_prob(jnp.asarray(base[inside], jnp.float32), condition)
        out[inside] = np.asarray(at, float) + self.space.log_det(points[inside])
        return out

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, 6 + conditions) float32 stars: x, y, z [kpc], vx, vy, vz [km/s], and their conditions.

        The same seed gives the same stars, the first of more are those of less within the first `CHUNK`.

        Raises:
            ValueError: if the training is not finished.
        """
        checks.number("n", n, 1, 10**12, whole=True)
        return np.concatenate(list(self.chunks(n, seed)))

    def chunks(self, n: int, seed: int = 0) -> Iterator[np.ndarray]:
        """What `sample` gives, `CHUNK` stars at a time."""
        flow = self._finished()
        checks.number("n", n, 1, 10**12, whole=True)
        checks.number("seed", seed, *checks.SEEDS, whole=True)
        for i in range(-(-n // CHUNK)):
            size = min(CHUNK, n - i * CHUNK)
            key, rng = random.fold_in(random.key(seed), i), np.random.default_rng([seed, i])
            full = min(CHUNK, n)  # of one size, that it is compiled once
            if self.config.conditions:
                given = self.given[np.minimum(np.searchsorted(self._shares, rng.random(full)), len(self.given) - 1)]
                base = flow.sample(key, (), jnp.asarray(self._seen(given)))
            else:
                given, base = np.zeros((full, 0), np.float32), flow.sample(key, (full,))
            yield np.concatenate([self.space.from_base(np.asarray(base)), given], axis=1)[:size]

    def catalog(
        self, n: int, seed: int = 0, *, photometry: Photometry | None = None, errors: float = 0.0,
        cuts: Sequence[Cut] = (),
    ) -> Catalog:  # fmt: skip
        """``n`` stars as a catalogue.

        Args:
            n: stars drawn; cuts leave fewer.
            seed: of all random numbers.
            photometry: adds magnitudes and colours.
            errors: factor on Gaia's errors, 0 for none; with errors, there is the sky instead of phase space, see
                `clearview.mocks.add_errors`.
            cuts: that the stars have to pass, after the errors.

        Raises:
            ValueError: if the training is not finished, or no star passes the cuts.
        """
        checks.number("errors", errors, 0)
        drawn = self._catalog_of(self.sample(n, seed))
        return _observed(drawn, _seed_of(seed, 0), photometry, errors).select(*_all_cuts(cuts))

    def write_parquet(
        self, path, n: int, seed: int = 0, *, photometry: Photometry | None = None, errors: float = 0.0,
        cuts: Sequence[Cut] = (), overwrite: bool = False, on_progress: Callable[[float], object] | None = None,
    ) -> int:  # fmt: skip
        """Write ``n`` stars to a Parquet file, as many at a time as memory has room for; `open_catalog` reads it.

        Args:
            path: of the file, which is there whole or not at all.
            n, seed, photometry, errors, cuts: as of `catalog`; magnitudes and errors are drawn `CHUNK` by `CHUNK`.
            overwrite: allow the path to exist.
            on_progress: called with the share done; returning False stops, and leaves no file.

        Returns:
            How many stars are in the file.

        Raises:
            FileExistsError: if the path exists and ``overwrite`` is False, or is a folder.
            FileNotFoundError: if its folder is not there.
            ValueError: if the training is not finished, the name does not end in .parquet, or no star passes the cuts.
            Cancelled: if it was stopped.
        """
        path, cuts = checks.path_of(path), _all_cuts(cuts)
        checks.number("errors", errors, 0)
        if wrong := next((cut for cut in cuts if cut.relative), None):
            raise ValueError(f"Expected cuts that judge each star for itself, got {wrong.name}; cut what was written.")
        if path.suffix != ".parquet":
            raise ValueError(f"Expected a name that ends in .parquet, got {path.name}; rename it.")
        _free(path, overwrite)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"Expected a folder to write to, got {path.parent}, which is none; make it first.")
        partial, writer, done, written = (
            path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial"),
            None,
            0,
            0,
        )
        try:
            for i, rows in enumerate(self.chunks(n, seed)):
                done += len(rows)
                stars = _observed(self._catalog_of(rows), _seed_of(seed, i), photometry, errors)
                with suppress(NoStars):  # none in this chunk
                    arrow = _arrow(stars.select(*cuts))
                    writer = writer or pq.ParquetWriter(partial, arrow.schema, compression="zstd", use_dictionary=False)
                    writer.write_table(arrow.cast(writer.schema))
                    written += len(arrow)
                if on_progress is not None and on_progress(done / n) is False and done < n:
                    raise Cancelled(f"Writing {path.name} was stopped; nothing was kept.")
            if writer is None:
                raise ValueError(f"Expected some stars that pass the cuts, got none of {n:,}; loosen them.")
            writer.close()
            writer = None
            _free(path, overwrite)  # it may have been made meanwhile
            partial.replace(path)
        finally:
            if writer is not None:
                writer.close()
            partial.unlink(missing_ok=True)
        return written

    def save(self, path, *, overwrite: bool = False) -> Path:
        """Write it, finished or not, to one file without pickle; `load_upsampler` reads it.

        Raises:
            FileExistsError: if the path exists and ``overwrite`` is False.
            ValueError: for a preview.
        """
        if self.stopped == "preview":
            raise ValueError(
                "Expected a fit to save, got a preview of one; cancel the training and save what it gives."
            )
        header = dict(
            config=self.config.to_dict(), units=self.condition_units, stars=self.stars, data_digest=self.data_digest,
            stopped=self.stopped, message=self.message, source=self.source, history=pack_history(self.history),
            unfinished=self.state is not None, given=len(self.given),
            # As text, since arrays are read as float32, of which tables would lose their slopes.
            space=[np.asarray(part).tolist() for part in self.space],
            conditions=[self.middle.tolist(), self.scale.tolist()],
        )  # fmt: skip
        arrays = (self.flow, self.given, self.weights, self.state)
        return checkpoint.save(path, "upsampler", header, arrays, overwrite=overwrite)

    def _seen(self, given) -> np.ndarray:
        return ((np.asarray(given, float) - self.middle) / self.scale).astype(np.float32)

    def _catalog_of(self, rows) -> Catalog:
        columns = {
            name: u.Quantity(rows[:, 6 + i], unit) if unit else rows[:, 6 + i]
            for i, (name, unit) in enumerate(zip(self.config.conditions, self.condition_units, strict=True))
        }
        meta = {k: v for k, v in self.source.items() if k in ("sun", "mock", "origin")}
        meta |= {"source": f"upsampled from {self.stars:,} particles", "learnt_from": self.data_digest}
        return Catalog.from_phase_space(rows[:, :3], rows[:, 3:6], columns=columns, meta=meta)

    def _finished(self) -> CNF:
        if not self.has_density:
            raise ValueError(f"Expected a finished fit, this one stopped before ({self.message}) Resume it first.")
        return self.flow


def fit_upsampler(
    catalog: Catalog, config: UpsampleConfig | None = None, *, on_progress: OnProgress = None,
    on_preview: OnPreview = None, preview: float = 5.0, resume: Upsampler | None = None,
) -> Upsampler:  # fmt: skip
    """Learn the density of star particles.

    Particles that are there twice are warned of: a density learns the clumps that they fake.

    Args:
        catalog: with phase space, and the columns that the config names.
        config: what to do, by default `default_config`; not with ``resume``, which brings its own.
        on_progress: called with `Progress`; returning False cancels.
        on_preview: called with the unfinished fit, which can be sampled, not saved; see `Previews`.
        preview: about how many seconds lie between two of these.
        resume: a cancelled fit of the same particles.

    Raises:
        KeyError: if a column is not there.
        ValueError: for weights that are negative or not finite, conditions that are not finite, fewer than 1000
            particles, particles that do not differ in a coordinate, or a ``resume`` of others.
    """
    checks.a(config, (UpsampleConfig, type(None)), "an UpsampleConfig")
    checks.a(resume, (Upsampler, type(None)), "an Upsampler to resume")
    checks.a(catalog, Catalog, "a Catalog")
    if resume is not None:
        if config is not None and config != resume.config:
            raise ValueError("Expected no config with resume, got another one; a resumed fit keeps its own.")
        if resume.stopped == "preview":
            raise ValueError("Expected a cancelled fit to resume, got a preview of one; cancel the training first.")
        config = resume.config
    config = config or default_config(catalog)
    digest = _digest(catalog, config)
    if resume is not None:
        if digest != resume.data_digest:
            raise ValueError(
                f"Expected the particles that the fit began with (digest {resume.data_digest}), got others ({digest}); "
                "load that catalogue or train anew."
            )
        if resume.complete:
            return resume
    points, given, weights, notes = _particles(catalog, config)
    key = random.key(config.seed)
    if resume is None:
        space = Space.of(points, weights, config.center, config.radius)
        middle = np.average(given, axis=0, weights=weights)
        scale = np.sqrt(np.average((given - middle) ** 2, axis=0, weights=weights))
        scale = np.where(scale > 0, scale, 1.0)
        kept = given if config.conditions else np.zeros((1, 0), np.float32)
        kept_weights = weights.astype(np.float32) if config.conditions else np.ones(1, np.float32)
        start = Upsampler(
            config, space, _flow(config), kept, kept_weights, middle, scale, len(points), digest,
            tuple(str(catalog.unit(c) or "") for c in config.conditions), source=dict(catalog.meta),
        )  # fmt: skip
    else:
        start = resume
    data: list[Any] = [start.space.to_base(points).astype(np.float32), weights[:, None].astype(np.float32)]
    if config.conditions:
        data.append(start._seen(given))
    before: Any = resume
    resumed = None if before is None else Fit(None, "cancelled", "", before.history, before.state)
    previews = Previews(on_preview, preview)

    def so_far(model):
        return dataclasses.replace(start, flow=model, stopped="preview", message="Stars: still learning.", state=None)

    result = optimise(
        _flow(config), _weighted, tuple(data), config.training, key=key, on_progress=on_progress, resume=resumed,
        stage="stars", on_model=lambda made: previews(lambda: so_far(made().model)),
    )  # fmt: skip
    done = result.stopped == "finished"
    message = f"Stars finished: {len(points):,} particles learnt." if done else result.message
    return dataclasses.replace(
        start, flow=result.model, stopped=result.stopped, message=" ".join([message, *notes]),
        history=result.history, state=None if done else result.state,
    )  # fmt: skip


def load_upsampler(path) -> Upsampler:
    """Read what `Upsampler.save` wrote.

    Raises:
        FileNotFoundError, CheckpointError: see `clearview.flows.load`.
    """

    def build(header):
        config = UpsampleConfig.from_dict(header["config"])
        count, flow = len(config.conditions), _flow(config)
        rows = checks.number("given", header["given"], 1, whole=True)
        state = State.begin(flow, config.training) if header["unfinished"] else None
        return flow, np.zeros((rows, count), np.float32), np.zeros(rows, np.float32), state

    header, (flow, given, weights, state) = checkpoint.load(path, "upsampler", build)
    with checkpoint.described(path):
        config = UpsampleConfig.from_dict(header["config"])
        units = tuple(checks.texts("units", checks.a(header["units"], list, "units")))
        if len(units) != len(config.conditions):
            raise ValueError(f"Expected a unit for each condition, got {len(units)}; train anew.")
        space = Space(*(np.asarray(part, float) for part in header["space"]))
        middle, scale = (np.asarray(part, float) for part in header["conditions"])
        for part, like in zip(space, Space.empty(), strict=True):
            if np.shape(part) != np.shape(like) or not np.isfinite(part).all():
                raise ValueError("Expected coordinates of their shapes, got others; train anew.")
        if not middle.shape == scale.shape == (len(config.conditions),) or not (scale > 0).all():
            raise ValueError("Expected a scale for each condition, got others; train anew.")
        given, weights = np.asarray(given), np.asarray(weights)
        return Upsampler(
            config,
            space,
            flow,
            given,
            weights,
            middle,
            scale,
            condition_units=units,
            state=state,
            **told_of(header),
        )


def estimate_seconds(stars: int, config: UpsampleConfig | None = None) -> float:
    """Roughly how many seconds `fit_upsampler` takes on this machine, for so many particles."""
    config = config or UpsampleConfig()
    weights = config.flow.width * (20 + config.flow.width * (config.flow.depth - 1))
    return slowness() * (6.0 + training_seconds(stars, config.training, 1.5e-10 * weights))


def _digest(catalog: Catalog, config: UpsampleConfig) -> str:
    columns = [*PHASE_SPACE, *config.conditions, *([config.weights] if config.weights else [])]
    catalog.require(columns)
    return catalog.digest(columns)


def _flow(config: UpsampleConfig) -> CNF:
    central = config.radius is None  # a ball around the Sun has no such symmetry
    return CNF(6, len(config.conditions) or None, config.flow, central=central, key=random.key(config.seed))


def _weighted(model: CNF, key, x, weight, condition=None):
    return (jax.lax.stop_gradient(weight[:, 0]) * model.losses(key, x, condition)).mean()


def _particles(catalog: Catalog, config: UpsampleConfig):
    """Points (N, 6), conditions (N, c) and weights (N,) of mean 1 of the particles to learn from, and what to tell."""
    points, notes = catalog.phase_space.astype(float), []
    weights = np.ones(len(points))
    if config.weights:
        weights = weights_of(catalog, config.weights)
    given = np.zeros((len(points), 0))
    if config.conditions:
        for name in config.conditions:
            if catalog[name].dtype.kind not in "fiu":
                raise ValueError(f"Expected numbers in the condition {name}, got {catalog[name].dtype}; leave it out.")
        given = np.stack([np.ma.filled(np.ma.asarray(catalog[n], float), np.nan) for n in config.conditions], axis=1)
        if bad := np.count_nonzero(~(np.abs(given) < np.finfo(np.float32).max).all(1)):
            raise ValueError(
                f"Expected finite {listed(config.conditions)}, got {bad:,} of {len(given):,} particles without; cut "
                "those or leave the condition out."
            )
    keep = weights > 0
    if dropped := np.count_nonzero(~keep):
        notes.append(f"{dropped:,} of weight zero were left out.")
    if config.radius is not None:
        inside = np.linalg.norm(points[:, :3] - config.center, axis=1) < config.radius
        if outside := np.count_nonzero(keep & ~inside):
            notes.append(f"{outside:,} outside of the ball were left out.")
        keep &= inside
    points, given, weights = points[keep], given[keep].astype(np.float32), weights[keep]
    if len(points) < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST:,} particles{' in the ball' if config.radius else ''} with a weight, got "
            f"{len(points):,}; take more, or a larger radius."
        )
    weights /= weights.mean()
    if (effective := weights.sum() ** 2 / (weights**2).sum()) < FEWEST / 10:
        raise ValueError(
            f"Expected weights that many particles share, got those of which {effective:.0f} have nearly all; "
            "take other weights."
        )
    for name, values in zip(PHASE_SPACE, points.T, strict=True):
        low, high = np.percentile(values, [16, 84])
        if not high - low > 1e4 * np.spacing(np.float32(np.abs(values).max())):
            raise ValueError(
                f"Expected particles that differ in {name}, got most at {low:g}; leave out what is not a galaxy."
            )
    twice = len(points) - len(pd.DataFrame(points).drop_duplicates())
    if twice:
        notes.append(f"{twice:,} are there more than once, and fake clumps.")
        warnings.warn(
            f"Expected particles that are there once, got {twice:,} copies, which fake clumps; take them out with "
            "clearview.catalogs.Unique().",
            stacklevel=3,
        )
    return points, given, weights, notes


def weights_of(catalog: Catalog, name: str) -> np.ndarray:
    """(N,) the weights of particles in a column.

    Raises:
        KeyError: if it is not there.
        ValueError: for weights that are no numbers, negative, not finite, or all zero.
    """
    if catalog[name].dtype.kind not in "fiu":
        raise ValueError(f"Expected numbers as weights in {name}, got {catalog[name].dtype}; choose another column.")
    weights = np.ma.filled(np.ma.asarray(catalog[name], float), np.nan)
    if bad := np.count_nonzero(~np.isfinite(weights) | (weights < 0)):
        raise ValueError(
            f"Expected weights in {name} that are finite and not negative, got {bad:,} of {len(weights):,} others; "
            "cut those particles."
        )
    if not weights.any():
        raise ValueError(f"Expected weights in {name} above zero, got zeros only; take another column.")
    return weights


def _free(path: Path, overwrite: bool) -> None:
    """Refuse to write over what is there."""
    if path.is_dir() or (path.exists() and not overwrite):
        raise FileExistsError(f"Expected a new file, {path} exists; choose another name or pass overwrite=True.")


def _seed_of(seed: int, chunk: int) -> int:
    """Of the magnitudes and errors of a chunk: neighbouring seeds have none in common."""
    return int(np.random.SeedSequence([seed, chunk]).generate_state(1)[0])


def _observed(stars: Catalog, seed: int, photometry: Photometry | None, errors: float) -> Catalog:
    if photometry is not None:
        stars = checks.a(photometry, Photometry, "a Photometry").of(stars, seed)
    return add_errors(stars, seed, scale=errors) if errors else stars


def _all_cuts(cuts) -> list[Cut]:
    found = list(checks.a(cuts, Sequence, "cuts in a list"))
    for cut in found:
        checks.a(cut, Cut, "a Cut")
    return found


def _arrow(stars: Catalog) -> pa.Table:
    return to_arrow(stars._table, json.dumps({"meta": stars.meta, "report": []}))
