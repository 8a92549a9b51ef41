"""Showers as many as one likes: learnt energy by layer and voxel by voxel, drawn by a fast student.

As CaloFlow (Krause & Shih 2021, arXiv:2106.05285 and 2110.11377): one flow for the energies of the layers, given that
of the particle; another for how each layer's energy lies in its voxels, given both, and its student.
"""

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import random
from scipy.special import expit, logit
from scipy.stats import wasserstein_distance

from clearview import checks
from clearview.calorimeter import Geometry, Showers
from clearview.checks import a, number
from clearview.flows import MAF, AbstractFlow, FitConfig, FlowConfig, Standardised, checkpoint, fit, told_of
from clearview.flows.fit import HISTORY, Fit, OnProgress, pack_history
from clearview.generation.compare import Cancelled, OnDone
from clearview.generation.distill import DistillConfig, Distilled, core, distill, student_of

FEWEST = 200
"""Showers below which nothing is learnt."""

ALPHA = 1e-12
"""Shares are kept so far from 0 and 1, where their logit has no end: less than a voxel at threshold has of the most
energetic shower's layer, or empty voxels would come back as hit."""

NOISE = 0.1
"""Empty voxels get at most this part of the threshold, so that there is something to learn."""

PARTS = ("layers", "voxels", "student")
SHARES = {"layers": (0.0, 0.05), "voxels": (0.05, 0.4), "student": (0.4, 1.0)}
"""What is trained, and when in the whole it is."""


def _training(**changes) -> FitConfig:
    return FitConfig(**{"b2": 0.99, "average": 0.02, "learning_rate": 2e-3, "batch_size": 256, **changes})


@dataclass(frozen=True)
class ShowerConfig:
    """How showers are learnt.

    Attributes:
        layers, voxels: sizes of the flows of layer energies, and of voxels.
        layer_training, voxel_training: of these.
        student: of the student, which draws the voxels.
        threshold: voxels below it count as empty, MeV; None takes half of what all but 1 % of the hit ones have.
        seed: of all random numbers.
    """

    layers: FlowConfig = field(default_factory=lambda: FlowConfig(3, 48, 2, "spline", spread=1.0))
    voxels: FlowConfig = field(default_factory=lambda: FlowConfig(4, 128, 1, "spline", bins=6, reach=5.0, spread=1.0))
    layer_training: FitConfig = field(default_factory=lambda: _training(epochs=20, min_steps=1000))
    voxel_training: FitConfig = field(default_factory=lambda: _training(epochs=20, min_steps=1000))
    student: DistillConfig = field(default_factory=lambda: DistillConfig(training=_training(epochs=20, min_steps=1000)))
    threshold: float | None = None
    seed: int = 0

    def __post_init__(self):
        checks.parts(self)
        checks.numbers(self, optional=True, threshold=(checks.ABOVE_0, 1e6))
        checks.numbers(self, whole=True, seed=checks.SEEDS)
        for name in ("layers", "voxels"):
            if getattr(self, name).transform != "spline":
                raise ValueError(f"Expected splines for the {name} of showers, got an affine flow; set transform.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ShowerConfig":
        """The inverse of `to_dict`; see `clearview.checks.from_plain`."""
        return checks.from_plain(cls, values)


@dataclass(eq=False)
class ShowerFit:
    """Showers learnt from some, finished or not.

    Attributes:
        geometry: of the calorimeter.
        config: how they were learnt.
        energies: (low, high) of the incident particles that were learnt from, MeV.
        threshold: voxels below it are empty, MeV.
        layers: flow of the layers' energies, given ln E.
        voxels: `Distilled`: the voxels' shares, given ln E and the layers' energies.
        stars: how many showers were learnt from.
        data_digest: of these.
        stopped: "finished", "cancelled" or "diverged".
        message: one sentence about how it ended.
        history: losses, columns stage, step, train, validation.
        seconds: that the training took.
        source: what was learnt from.
        parts: what was trained, finished or not, by name; kept in memory only, to be resumed.
    """

    geometry: Geometry
    config: ShowerConfig
    energies: tuple[float, float]
    threshold: float
    layers: AbstractFlow
    voxels: AbstractFlow
    stars: int
    data_digest: str
    stopped: str = "cancelled"
    message: str = "Not trained yet."
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=HISTORY))
    seconds: float = 0.0
    source: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Fit] = field(default_factory=dict, repr=False)

    @property
    def title(self) -> str:
        """As it stands among the runs of a panel."""
        return f"{self.stars:,} showers"

    def same_stars(self, showers: Showers) -> bool:
        """Whether these are the showers that were learnt from."""
        return showers.digest == self.data_digest

    def sample(
        self, energies, *, seed: int = 0, by: str = "student", chunk: int = 200, on_progress: OnDone = None
    ) -> Showers:
        """Showers of particles of these energies.

        Args:
            energies: (N,) MeV.
            seed: of all random numbers.
            by: "student", or "teacher", which takes several times longer for many voxels.
            chunk: so many at a time.
            on_progress: called with the share done after each of these; returning False stops.

        Raises:
            ValueError: for an unfinished fit, energies outside those learnt from, or another name.
            Cancelled: if it was stopped.
        """
        if self.stopped != "finished":
            raise ValueError(f"Expected a finished fit, this one stopped before ({self.message}) Train it to the end.")
        if by not in ("student", "teacher"):
            raise ValueError(f"Expected showers by the student or the teacher, got {checks.shown(by)}; choose one.")
        E = np.atleast_1d(np.asarray(energies, float)).ravel()
        low, high = self.energies
        outside = ~((low * (1 - 1e-6) <= E) & (high * (1 + 1e-6) >= E))
        if not len(E) or outside.any():
            got = f"{E[outside][0]:g}" if len(E) else "none"
            raise ValueError(
                f"Expected energies from {low:g} to {high:g} MeV, which were learnt from, got {got}; nothing is known "
                "beyond them."
            )
        drawn: Any = self.voxels
        flow = getattr(drawn, by)
        number("seed", seed, *checks.SEEDS, whole=True)
        parts = []
        size = min(number("chunk", chunk, 1, 2**20, whole=True), len(E))
        for i, first in enumerate(range(0, len(E), size)):
            some = E[first : first + size]
            padded = np.concatenate([some, np.repeat(some[-1:], size - len(some))])  # one shape, one compilation
            one, two = random.split(random.fold_in(random.key(seed), i))
            given = jnp.asarray(incident(padded))
            layers = np.asarray(self.layers.sample(one, condition=given), float)
            deposited = to_energies(layers, padded, self.threshold)
            shares = flow.sample(two, condition=jnp.asarray(conditions(padded, deposited, self.threshold)))
            parts.append(to_voxels(np.asarray(shares, float), deposited, self.geometry, self.threshold)[: len(some)])
            done = first + len(some)
            if on_progress is not None and on_progress(done / len(E)) is False and done < len(E):
                raise Cancelled("Drawing showers was stopped; nothing was kept.")
        return Showers(self.geometry, E, np.concatenate(parts), f"{by} of {self.source.get('source', 'showers')}")

    def save(self, path, *, overwrite: bool = False):
        """Write a finished fit, for `load_showers`.

        Raises:
            ValueError: if it is not finished.
            FileExistsError: if the file is there and must not be replaced.
        """
        if self.stopped != "finished":
            raise ValueError(f"Expected a finished fit, this one stopped before ({self.message}) Train it to the end.")
        header = {
            "geometry": self.geometry.to_dict(), "config": self.config.to_dict(), "energies": list(self.energies),
            "threshold": self.threshold, "stars": self.stars, "data_digest": self.data_digest,
            "stopped": self.stopped, "message": self.message, "history": pack_history(self.history),
            "seconds": self.seconds, "source": self.source,
        }  # fmt: skip
        return checkpoint.save(path, "showers", header, (self.layers, self.voxels), overwrite=overwrite)


def load_showers(path) -> ShowerFit:
    """Read what `ShowerFit.save` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is foreign, damaged, or of another kind.
    """

    def build(header):
        geometry, config = Geometry.from_dict(header["geometry"]), ShowerConfig.from_dict(header["config"])
        layers, teacher = flows_of(geometry, config)
        return layers, Distilled(teacher, eqx.tree_at(core, teacher, student_of(core(teacher), config.student)))

    header, (layers, voxels) = checkpoint.load(path, "showers", build)
    with checkpoint.described(path):
        low, high = (number("an energy", e, checks.ABOVE_0) for e in header["energies"])
        number("the highest energy", high, low)
        return ShowerFit(
            Geometry.from_dict(header["geometry"]), ShowerConfig.from_dict(header["config"]), (low, high),
            number("threshold", header["threshold"], checks.ABOVE_0), layers, voxels,
            seconds=number("seconds", header["seconds"], 0), **told_of(header),
        )  # fmt: skip


def fit_showers(
    showers: Showers, config: ShowerConfig | None = None, *, on_progress: OnProgress = None,
    resume: ShowerFit | None = None,
) -> ShowerFit:  # fmt: skip
    """Learn showers: the layers' energies, then the voxels, then the student that draws these.

    Args:
        showers: to learn from.
        config: how.
        on_progress: called with `clearview.flows.Progress`; returning False cancels.
        resume: a cancelled fit of the same showers and config, to go on with.

    Raises:
        TypeError: for what are no showers.
        ValueError: for fewer than 200 showers, empty ones, a threshold that empties some, or a ``resume`` of others.
    """
    a(showers, Showers, "Showers")
    config = ShowerConfig() if config is None else config
    a(config, ShowerConfig, "a ShowerConfig")
    if len(showers) < FEWEST:
        raise ValueError(f"Expected at least {FEWEST} showers to learn from, got {len(showers)}; pass more.")
    hit = showers.voxels > 0
    if not (full := hit.any(1)).all():
        raise ValueError(
            f"Expected showers that leave energy, got {(~full).sum():,} empty ones of {len(showers):,}; pass "
            "showers[showers.voxels.sum(axis=1) > 0]."
        )
    threshold = config.threshold
    if threshold is None:
        threshold = float(0.5 * np.quantile(showers.voxels[hit], 0.01))
    elif dark := int((showers.voxels < threshold).all(1).sum()):
        raise ValueError(
            f"Expected a threshold that leaves each shower some voxels, got {threshold:g} MeV, below which all of "
            f"{dark:,} showers are; lower it."
        )
    low, high = float(showers.energies.min()), float(showers.energies.max())
    digest = showers.digest
    if resume is not None and (a(resume, ShowerFit, "a ShowerFit").data_digest, resume.config) != (digest, config):
        raise ValueError("Expected to resume with the showers and config it began with, got others; train anew.")
    parts: dict[str, Fit] = {} if resume is None else dict(resume.parts)
    began = time.monotonic() - (0.0 if resume is None else resume.seconds)

    rng = np.random.default_rng([config.seed, 9])
    E = showers.energies.astype(float)
    deposited = showers.layer_energies.astype(float)
    empty = deposited < threshold
    deposited[empty] = threshold * NOISE * rng.uniform(0.5, 1.0, int(empty.sum()))
    seen = conditions(E, deposited, threshold)
    tables: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "layers": (from_energies(deposited, E), incident(E)),
        "voxels": (from_voxels(showers, threshold, rng), seen),
    }
    learnt: dict[str, Any] = dict(zip(PARTS, flows_of(showers.geometry, config, tables), strict=False))

    def told(part: str) -> OnProgress:
        first, last = SHARES[part]

        def tell(p):
            if on_progress is None:
                return True
            history = pd.concat([*(done.history for done in parts.values()), p.history], ignore_index=True)
            share = first + (last - first) * p.fraction
            return on_progress(p._replace(fraction=share, remaining=None, history=history))

        return tell

    def one(part: str) -> Fit:
        before = parts.pop(part, None)
        if part == "student":
            points, given = tables["voxels"]
            return distill(
                parts["voxels"].model, points, config.student, condition=given, on_progress=told(part), resume=before
            )
        points, given = tables[part]
        return fit(
            learnt[part], points, getattr(config, f"{part[:-1]}_training"), key=random.key(config.seed),
            condition=given, on_progress=told(part), resume=before, stage=part,
        )  # fmt: skip

    last: Any = None
    for part in PARTS:
        parts[part] = last = one(part)
        if last.stopped != "finished":
            break
    seconds = time.monotonic() - began
    stopped, message = last.stopped, last.message
    if stopped == "finished":
        message = f"Showers: {len(showers):,} of {showers.geometry.size} voxels learnt in {seconds:,.0f} s."
    teacher = parts["voxels"].model if "voxels" in parts else learnt["voxels"]
    return ShowerFit(
        showers.geometry, config, (low, high), threshold, parts["layers"].model,
        parts["student"].model if "student" in parts else teacher, len(showers), digest, stopped, message,
        pd.concat([p.history for p in parts.values()], ignore_index=True), seconds, {"source": showers.source}, parts,
    )  # fmt: skip


def flows_of(geometry: Geometry, config: ShowerConfig, tables=None) -> tuple[AbstractFlow, AbstractFlow]:
    """The flows of layers and voxels as they are before they learn, in the units of these tables."""
    count, key = len(geometry.layers), random.key(config.seed)

    def one(dim: int, condition: int, size: FlowConfig, part: str) -> AbstractFlow:
        flow = MAF(dim, condition, size, key=key)
        table = np.zeros((1, dim)) if tables is None else tables[part][0]
        return Standardised(flow, table.mean(0), np.maximum(table.std(0), 1e-3))

    return one(count, 1, config.layers, "layers"), one(geometry.size, 1 + count, config.voxels, "voxels")


# ---- what the flows see ----------------------------------------------------------------------------------------------


def incident(energies) -> np.ndarray:
    """(N, 1) of incident energies [MeV], of order one for 1 GeV to 1 TeV."""
    return (np.log10(energies)[:, None] - 4.5).astype(np.float32)


def conditions(energies, deposited, threshold: float) -> np.ndarray:
    """(N, 1 + layers) of incident energies and those deposited in the layers [MeV]."""
    lowest = np.log10(np.maximum(deposited, NOISE * threshold)) - 3.0
    return np.concatenate([incident(energies), lowest.astype(np.float32)], axis=1)


def from_energies(deposited, energies) -> np.ndarray:
    """(N, layers) ln of the share of the energy that is seen, and, front to back, the logit of each layer's share of
    what is left there.
    """
    left = np.cumsum(deposited[:, ::-1], axis=1)[:, ::-1]
    shares = np.clip(deposited[:, :-1] / left[:, :-1], ALPHA, 1 - ALPHA)
    return np.concatenate([np.log(left[:, :1] / energies[:, None]), logit(shares)], axis=1).astype(np.float32)


def to_energies(numbers, energies, threshold: float) -> np.ndarray:
    """(N, layers) deposited [MeV], the inverse of `from_energies`; below the threshold there is nothing."""
    numbers = np.asarray(numbers, float)  # in float32 a share of almost all is all
    # Nothing that was learnt from has a hundred times its energy.
    total = energies * np.exp(np.minimum(numbers[:, 0], 4.6))
    shares = np.concatenate([expit(numbers[:, 1:]), np.ones((len(numbers), 1))], axis=1)
    kept = np.cumprod(np.concatenate([np.ones((len(numbers), 1)), 1 - shares[:, :-1]], axis=1), axis=1)
    deposited = total[:, None] * shares * kept
    return np.where(deposited < threshold, 0.0, deposited)


def from_voxels(showers: Showers, threshold: float, rng: np.random.Generator) -> np.ndarray:
    """(N, voxels) logit of each voxel's share of its layer, empty ones filled with a little noise."""
    noise = rng.uniform(0.05, 1.0, showers.voxels.shape) * NOISE * threshold
    filled = np.where(showers.voxels < threshold, noise, showers.voxels)
    for part in showers.geometry.slices:
        filled[:, part] /= filled[:, part].sum(1, keepdims=True)
    return logit(np.clip(filled, ALPHA, 1 - ALPHA)).astype(np.float32)


def to_voxels(numbers, deposited, geometry: Geometry, threshold: float) -> np.ndarray:
    """(N, voxels) energies [MeV], the inverse of `from_voxels` for these energies of the layers."""
    shares = expit(np.asarray(numbers, float))
    voxels = np.empty(shares.shape, np.float32)
    for i, part in enumerate(geometry.slices):
        energy = deposited[:, i : i + 1]
        some = shares[:, part] / shares[:, part].sum(1, keepdims=True) * energy
        # A layer of less than one voxel needs has it in its brightest.
        brightest = some == some.max(1, keepdims=True)
        some = np.where((some < threshold) & ~brightest, 0.0, some)
        voxels[:, part] = some * energy / np.maximum(some.sum(1, keepdims=True), 1e-30)
    return voxels


# ---- how good they are -----------------------------------------------------------------------------------------------


def voxel_table(showers: Showers, *, normalised: bool = False) -> np.ndarray:
    """(N, 1 + layers + voxels) what a classifier is given, as in CaloFlow: energies of particle and layers, and voxels.

    Args:
        showers: to be told apart from others.
        normalised: voxels as shares of their layer, whose energies are told apart from them; else all are as parts of
            the particle's energy.
    """
    E, deposited = showers.energies[:, None], showers.layer_energies
    if not normalised:
        return np.concatenate([np.log10(E), deposited / E, showers.voxels / E], axis=1)
    sizes = [k.size for k in showers.geometry.layers]
    shares = showers.voxels / np.repeat(np.maximum(deposited, 1e-6), sizes, axis=1)
    return np.concatenate([np.log10(E), np.log10(np.maximum(deposited, 1e-3)), shares], axis=1)


def feature_distances(truth: Showers, other: Showers, *, resamples: int = 20, seed: int = 0) -> pd.DataFrame:
    """How far the layers' energies, centroids, widths and sparsities of other showers are from the truth.

    Args:
        truth, other: showers of the same geometry and of particles of the same energies.
        resamples: of both, for the errors.
        seed: of these.

    Returns:
        A row for each column of `clearview.calorimeter.Showers.features`: ``distance``, of Wasserstein, in standard
        deviations of the truth; its ``error``; and ``chance``, the median distance of two resamples of the truth.

    Raises:
        ValueError: for showers of another geometry.
    """
    if truth.geometry.digest != other.geometry.digest:
        raise ValueError(
            f"Expected showers of one geometry, got {truth.geometry.name!r} and {other.geometry.name!r}; compare alike."
        )
    rng = np.random.default_rng(seed)
    one, two = truth.features(), other.features()
    rows = {}

    def again(values):
        return rng.choice(values, len(values))

    for name in one:
        p, q = (f[name].to_numpy()[np.isfinite(f[name].to_numpy())] for f in (one, two))
        if len(p) < 2 or not len(q) or p.std() == 0:
            continue

        p, q = p / p.std(), q / p.std()
        found = [wasserstein_distance(again(p), again(q)) for _ in range(resamples)]
        chance = [wasserstein_distance(again(p), again(p)) for _ in range(resamples)]
        rows[name] = {"distance": wasserstein_distance(p, q), "error": np.std(found), "chance": np.median(chance)}
    return pd.DataFrame.from_dict(rows, orient="index")
