"""An analytic galaxy and a trainer that only pretends, so that panels are tested in milliseconds."""

import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.table import Table

from clearview import dynamics
from clearview.catalogs import Catalog
from clearview.flows import ColumnConfig
from clearview.units import SUN

HISTORY = ["stage", "step", "train", "validation"]


def stars(n: int = 20_000, seed: int = 0, *, mock: bool = True) -> Catalog:
    """Stars around the Sun with a little structure, and no pretence of equilibrium."""
    rng = np.random.default_rng(seed)
    x = rng.normal(SUN.position, [1.2, 1.2, 0.4], (n, 3))
    v = rng.normal([0, -220, 0], [35, 25, 18], (n, 3))
    v[: n // 10] += [120, 0, 60]
    meta = {"mock": {"potential": "MWPotential2014"}} if mock else {}
    return Catalog.from_phase_space(x.astype(np.float32), v.astype(np.float32), meta=meta)


@dataclass
class FakeFit:
    """A flattened logarithmic potential that plays a fit."""

    data_digest: str
    config: object = None
    stopped: str = "finished"
    message: str = "Map finished."
    radius: float = 4.0
    stage: int = 4
    stars: int = 20_000
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=HISTORY))
    center: np.ndarray = field(default_factory=lambda: SUN.position)

    @property
    def complete(self):
        return self.stage == 4

    has_potential = complete

    @property
    def has_density(self):
        return self.stage >= 2

    def potential(self, x):
        return 0.5 * 220.0**2 * np.log((np.asarray(x) ** 2 * [1, 1, 1.5]).sum(-1) + 1)

    def acceleration(self, x):
        x = np.asarray(x)
        return -(220.0**2) * x * [1, 1, 1.5] / ((x**2 * [1, 1, 1.5]).sum(-1, keepdims=True) + 1)

    def log_f(self, x, v):
        inside = ((x - self.center) ** 2).sum(-1) < self.radius**2
        w = (np.concatenate([x, v], -1) - [*self.center, 0, -220, 0]) / [1, 1, 0.4, 35, 25, 18]
        return np.where(inside, -0.5 * (w**2).sum(-1), -np.inf)

    def sample(self, n, seed=0):
        rng = np.random.default_rng(seed)
        return rng.normal([*self.center, 0, -220, 0], [1, 1, 0.4, 35, 25, 18], (n, 6)).astype(np.float32)


@dataclass
class FakeColumnFit:
    """A Gaussian without correlations that plays a flow of columns."""

    columns: tuple[str, ...]
    units: tuple[str, ...]
    mean: np.ndarray
    spread: np.ndarray
    stars: int
    data_digest: str
    config: object = None
    stopped: str = "finished"
    message: str = "Columns finished."
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=HISTORY))

    @property
    def has_density(self):
        return self.stopped in ("finished", "preview")

    @classmethod
    def of(cls, catalog, columns, **kwargs):
        columns = tuple(columns)
        data = np.stack([np.asarray(catalog[name], float) for name in columns], -1)
        data = data[np.isfinite(data).all(1)]
        units = tuple(str(catalog.unit(name)) for name in columns)
        return cls(columns, units, data.mean(0), data.std(0), len(data), catalog.digest(columns), **kwargs)

    def sample(self, n, seed=0):
        rng = np.random.default_rng(seed)
        return rng.normal(self.mean, self.spread, (n, len(self.columns))).astype(np.float32)


def fake_flows(steps: int = 4) -> SimpleNamespace:
    """A stand-in for `clearview.flows` whose flows of columns are Gaussians, cancelled ones included."""

    def fit_columns(catalog, columns, config=None, *, on_progress=None, on_preview=None, resume=None):
        rows = [dict(stage="columns", step=i, train=1.0, validation=1.0) for i in range(steps)]
        fit = FakeColumnFit.of(catalog, columns, config=config, history=pd.DataFrame(rows))
        told = SimpleNamespace(stage="columns", fraction=0.5, seconds=0.0, remaining=None, history=fit.history)
        if on_progress is not None and on_progress(told) is False and resume is None:
            fit.stopped, fit.message = "cancelled", "Columns: cancelled."
        return fit

    def save_columns(fit, path, *, overwrite=False):
        Path(path).write_bytes(pickle.dumps(fit))

    return SimpleNamespace(
        fit_columns=fit_columns, save_columns=save_columns,
        load_columns=lambda path: pickle.loads(Path(path).read_bytes()),
        estimate_seconds=lambda stars, columns, config: None, ColumnConfig=ColumnConfig,
    )  # fmt: skip


def sky_stars(n: int = 20_000, seed: int = 0, **more) -> Catalog:
    """Stars on a strip of the sky with proper motions, a hundredth of them in a cold stream along phi2 = 0."""
    rng = np.random.default_rng(seed)
    phi, pm = rng.uniform([-55, -1], [-45, 1], (n, 2)), rng.normal([0, 2], [5, 4], (n, 2))
    k = max(1, n // 100)
    phi[:k, 1], pm[:k] = rng.normal(0, 0.1, k), rng.normal([-8, -0.5], 0.3, (k, 2))
    mas = u.mas / u.yr
    table = {"phi1": phi[:, 0] * u.deg, "phi2": phi[:, 1] * u.deg, "pm_phi1": pm[:, 0] * mas, "pm_phi2": pm[:, 1] * mas}
    return Catalog(Table({**table, **more}))


def fake_dynamics(
    steps: int = 100, pause: float = 0.02, fail: str = "", diverge: bool = False, previews: bool = False
) -> SimpleNamespace:
    """A stand-in for `clearview.dynamics` whose training sleeps, and may fail at half way.

    With ``previews`` it shows two on the way, of potentials that become deeper, and says how long it takes.
    """

    def fit_map(catalog, config=None, *, on_progress=None, on_preview=None, resume=None):
        rows = [] if resume is None else resume.history.to_dict("records")
        begin = time.monotonic()
        for i in range(len(rows), steps):
            time.sleep(pause)
            rows.append(dict(stage="positions", step=i, train=5 / (i + 1), validation=5.5 / (i + 1)))
            if i == steps // 2 and (fail or diverge):
                if fail:
                    raise ValueError(fail)
                return FakeFit(catalog.digest(), config, "diverged", "Positions: the loss is not finite.", stage=0)
            if previews and on_preview is not None and i in (steps // 4, steps // 2):
                on_preview(FakeFit(catalog.digest(), config, "preview", "Velocities: still learning."))
            told = SimpleNamespace(
                stage="positions", fraction=(i + 1) / steps, seconds=time.monotonic() - begin,
                remaining=(steps - i) * pause, train_loss=1.0, validation_loss=1.0, history=pd.DataFrame(rows),
            )  # fmt: skip
            if on_progress is not None and on_progress(told) is False:
                return FakeFit(
                    catalog.digest(), config, "cancelled", f"Cancelled at step {i}.", stage=0, history=told.history
                )
        return FakeFit(catalog.digest(), config, history=pd.DataFrame(rows))

    def save_map(fit, path, *, overwrite=False):
        Path(path).write_bytes(pickle.dumps(fit))

    def load_map(path):
        return pickle.loads(Path(path).read_bytes())

    real = {name: getattr(dynamics, name) for name in dynamics.__all__}
    fake = dict(
        fit_map=fit_map, save_map=save_map, save_fit=save_map, load_map=load_map, load_fit=load_map,
        estimate_seconds=lambda stars, config: steps * pause if previews else None,
    )  # fmt: skip
    return SimpleNamespace(**{**real, **fake})


HALVES = (-60.0, 0.0, 60.0)


def few_voxels():
    """A calorimeter of two layers and six voxels."""
    from clearview.calorimeter import Geometry, Layer

    layers = Layer(0, HALVES[::2], HALVES, thickness=4.7), Layer(7, HALVES, HALVES, thickness=20.0)
    return Geometry("small", layers)


def fake_shower_fit(showers, config=None, *, on_progress=None, resume=None):
    """Flows that have learnt nothing but the middle and the spread, in the place of `fit_showers`."""
    import equinox as eqx

    from clearview.flows import FlowConfig, Progress
    from clearview.generation import DistillConfig, Distilled, ShowerConfig, ShowerFit
    from clearview.generation.distill import core, student_of
    from clearview.generation.showers import flows_of

    size = FlowConfig(1, 8, 1, "spline", bins=2)
    config = config or ShowerConfig(size, size, student=DistillConfig())
    told = Progress("layers", 1, 2, 1.0, None, 1.0, 1.0, pd.DataFrame(columns=HISTORY), 0.5)
    stopped = "cancelled" if on_progress is not None and on_progress(told) is False else "finished"
    layers, teacher = flows_of(showers.geometry, config)
    voxels = Distilled(teacher, eqx.tree_at(core, teacher, student_of(core(teacher), config.student)))
    ends = float(showers.energies.min()), float(showers.energies.max())
    return ShowerFit(
        showers.geometry, config, ends, 1.0, layers, voxels, len(showers), showers.digest, stopped, "Showers: learnt.",
        source={"source": showers.source},
    )  # fmt: skip
