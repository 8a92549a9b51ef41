"""A density of any columns of a catalogue: the proper-motion plane, a colour-magnitude diagram."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from astropy import units as u
from jax import random

from clearview import checks
from clearview.catalogs import Catalog
from clearview.checks import a
from clearview.field import Axis, Quantity, check, grid, make_field
from clearview.flows import checkpoint
from clearview.flows.cost import compile_seconds, slowness, star_seconds, training_seconds
from clearview.flows.density import AbstractFlow, Standardised, in_chunks
from clearview.flows.discrete import MAF, FlowConfig
from clearview.flows.fit import (
    HISTORY,
    Fit,
    FitConfig,
    OnPreview,
    OnProgress,
    Previews,
    State,
    fit,
    pack_history,
    told_of,
)

FEWEST = 100
"""Stars below which no density is learnt."""

MOST = 100
"""Columns above which none is."""


@dataclass(frozen=True)
class ColumnConfig:
    """How a density of columns is learnt.

    Attributes:
        flow: size and kind; splines, since such densities are looked at, not differentiated twice.
        training: of the flow.
        seed: of all random numbers.
    """

    flow: FlowConfig = field(default_factory=lambda: FlowConfig(3, 48, 2, "spline", spread=1.0))
    training: FitConfig = field(
        default_factory=lambda: FitConfig(
            epochs=10, min_steps=1200, batch_size=512, learning_rate=4e-3, b2=0.99, average=0.02
        )
    )
    seed: int = 0

    def __post_init__(self):
        checks.parts(self)
        checks.numbers(self, whole=True, seed=checks.SEEDS)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ColumnConfig":
        """The inverse of `to_dict`; see `clearview.checks.from_plain`."""
        return checks.from_plain(cls, values)


@dataclass
class ColumnFit:
    """A density of columns learnt from stars, finished or not.

    Attributes:
        columns: what it is a density of.
        units: their units.
        config: how it was learnt.
        density: p of the columns, an `AbstractFlow`.
        stars: how many were learnt from.
        data_digest: of the catalogue's columns.
        stopped: "finished", "cancelled" or "diverged"; "preview" while it is learnt.
        message: one sentence about how it ended.
        history: losses, columns stage, step, train, validation.
        state: where an unfinished training stands, or None.
        source: the meta of the catalogue.
    """

    columns: tuple[str, ...]
    units: tuple[str, ...]
    config: ColumnConfig
    density: AbstractFlow
    stars: int
    data_digest: str
    stopped: str = "cancelled"
    message: str = "Not trained yet."
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=HISTORY))
    state: State | None = None
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether training is done."""
        return self.stopped == "finished"

    @property
    def has_density(self) -> bool:
        """Whether the density can be looked at: it is finished, or a preview."""
        return self.stopped in ("finished", "preview")

    def log_prob(self, points) -> np.ndarray:
        """(...) ln p at points (..., columns), per unit of the columns.

        Raises:
            ValueError: if the fit is not finished, or the points have another number of columns.
        """
        return np.asarray(self._finished().log_prob(jnp.asarray(points, jnp.float32)))

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, columns) float32 draws of the density.

        Raises:
            ValueError: if the fit is not finished.
        """
        density = self._finished()
        return in_chunks(lambda key, size: density.sample(key, (size,)), n, random.key(seed))

    def _finished(self) -> AbstractFlow:
        if not self.has_density:
            raise ValueError(f"Expected a finished fit, this one stopped before ({self.message}) Resume it first.")
        return self.density


def fit_columns(
    catalog: Catalog, columns: Iterable[str], config: ColumnConfig | None = None, *,
    on_progress: OnProgress = None, on_preview: OnPreview = None, preview: float = 5.0,
    resume: ColumnFit | None = None,
) -> ColumnFit:  # fmt: skip
    """Learn the density of columns of a catalogue, such as ``("pmra", "pmdec")``.

    Args:
        catalog: with these columns; stars without a finite value in one of them are left out.
        columns: numbers; the density is per unit of each.
        config: what to do; not with ``resume``, which brings its own.
        on_progress: called with `Progress`; returning False cancels.
        on_preview: called with the unfinished fit, which can be looked at, not saved; see `Previews`.
        preview: about how many seconds lie between two of these.
        resume: a cancelled fit of the same columns and stars.

    Raises:
        KeyError: if a column is not there.
        ValueError: for columns that are no numbers, given twice or of one value only, fewer than 100 stars, or a
            ``resume`` of other stars.
    """
    checks.a(config, (ColumnConfig, type(None)), "a ColumnConfig")
    checks.a(resume, (ColumnFit, type(None)), "a ColumnFit to resume")
    columns, data, units = _table(checks.a(catalog, Catalog, "a Catalog"), columns)
    digest = catalog.digest(columns)
    if resume is not None:
        if config is not None and config != resume.config:
            raise ValueError("Expected no config with resume, got another one; a resumed fit keeps its own.")
        if columns != resume.columns or digest != resume.data_digest:
            raise ValueError(
                f"Expected the columns {', '.join(resume.columns)} of the stars that the fit began with, got "
                f"{', '.join(columns)} of {'the same' if digest == resume.data_digest else 'others'}; train anew."
            )
        if resume.stopped == "preview":
            raise ValueError("Expected a cancelled fit to resume, got a preview of one; cancel the training first.")
        if resume.complete:
            return resume
    config = resume.config if resume is not None else config or ColumnConfig()
    low, middle, high = np.percentile(data, [16, 50, 84], axis=0)  # tails would stretch a standard deviation
    key = random.key(config.seed)
    start = Standardised(MAF(len(columns), None, config.flow, key=key), middle, (high - low) / 2)
    before: Any = resume
    resumed = None if before is None else Fit(None, "cancelled", "", before.history, before.state)
    previews, source = Previews(on_preview, preview), dict(catalog.meta)

    def so_far(model):
        message = f"Density of {', '.join(columns)}: still learning."
        return ColumnFit(columns, units, config, model, len(data), digest, "preview", message, source=source)

    result = fit(
        start, data, config.training, key=key, on_progress=on_progress, resume=resumed, stage="density",
        on_model=lambda made: previews(lambda: so_far(made().model)),
    )  # fmt: skip
    state = None if result.stopped == "finished" else result.state
    message = result.message
    if state is None:
        left_out = len(catalog) - len(data)
        message = f"Density of {', '.join(columns)} finished: {len(data):,} stars"
        message += f" ({left_out:,} left out, without a finite value)." if left_out else "."
    return ColumnFit(
        columns, units, config, result.model, len(data), digest, result.stopped, message, result.history, state,
        source,
    )  # fmt: skip


def estimate_seconds(stars: int, columns: int = 2, config: ColumnConfig | None = None) -> float:
    """Roughly how many seconds `fit_columns` takes on this machine, for so many stars and columns."""
    config = config or ColumnConfig()
    seconds = training_seconds(stars, config.training, star_seconds(config.flow, columns))
    return slowness() * (compile_seconds(config.flow) + seconds)


def _table(catalog: Catalog, columns: Iterable[str]) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
    """The columns as (N, columns) float32 of the stars that have them all, and their units."""
    columns = tuple(checks.texts("columns", columns))
    if not 0 < len(set(columns)) == len(columns) <= MOST:
        raise ValueError(
            f"Expected different columns to learn, got {checks.shown(columns)}; name at least one and at most {MOST}, "
            "each once."
        )
    catalog.require(columns)
    for name in columns:
        if catalog[name].dtype.kind not in "fiu":
            raise ValueError(f"Expected numbers in column {name}, got {str(catalog[name][0])!r}; choose another.")
    data = np.stack([np.ma.filled(np.ma.asarray(catalog[c], float), np.nan) for c in columns], axis=1)
    data = data[np.isfinite(data).all(1)]
    if len(data) < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST} stars with finite {', '.join(columns)}, got {len(data)} of {len(catalog):,}; "
            "choose other columns or loosen the cuts."
        )
    for name, values in zip(columns, data.T, strict=True):
        low, high = np.percentile(values, [16, 84])
        if (most := np.abs(values).max()) > 1e30:
            raise ValueError(f"Expected {name} within 1e30, got {most:g}; take another unit or its logarithm.")
        if not high > low:
            raise ValueError(f"Expected stars that differ in {name}, got most at {low:g}; leave that column out.")
        if high - low < 1e4 * np.spacing(np.float32(most)):
            raise ValueError(
                f"Expected a spread in {name} that float32 resolves, got {high - low:g} at values up to "
                f"{most:.9g}; subtract a constant from the column first."
            )
    return columns, data.astype(np.float32), tuple(str(catalog.unit(c) or "") for c in columns)


def column_field(fit: ColumnFit, axes: Sequence[Axis], fixed: Mapping[str, float] | None = None) -> xr.Dataset:
    """The density on a grid over its columns.

    Args:
        fit: a finished `ColumnFit`.
        axes: axes named for columns, in their units.
        fixed: the other columns' values.

    Returns:
        density: stars per unit of all columns (the number learnt from times p).

    Raises:
        ValueError: if a column is neither an axis nor fixed, a name is no column, or an axis has another unit.
    """
    fixed = dict(fixed or {})
    units = dict(zip(fit.columns, fit.units, strict=True))
    check(axes, fixed)
    for name in (*(axis.name for axis in axes), *fixed):
        if name not in units:
            raise ValueError(f"Expected columns among {', '.join(fit.columns)}, got {name!r}; correct its name.")
    for axis in axes:
        if u.Unit(axis.units) != u.Unit(units[axis.name]):
            raise ValueError(f"Expected the axis {axis.name} in {units[axis.name]}, got {axis.units}; convert it.")
    points = grid(axes, fixed, fit.columns)
    density = fit.stars * np.exp(fit.log_prob(points.reshape(-1, len(fit.columns))).astype(float))
    unit: Any = u.dimensionless_unscaled
    for name in fit.columns:
        unit = unit / u.Unit(units[name])
    values = density.reshape([a.size for a in axes]).astype(np.float32)
    provenance = {"source": "ColumnFit", "stars": fit.stars, "data_digest": fit.data_digest, "seed": fit.config.seed}
    provenance |= {k: fit.source[k] for k in ("release", "origin") if isinstance(fit.source.get(k), str)}
    provenance |= {f"at_{name}": float(value) for name, value in fixed.items()}
    return make_field(
        axes,
        {
            "density": Quantity(
                values, unit.to_string(), "stars per unit of the columns" if len(fit.columns) != 2 else "stars per area"
            )
        },
        provenance,
    )


def save_columns(fit: ColumnFit, path, *, overwrite: bool = False):
    """Write a fit, finished or not, to one file without pickle; see `clearview.flows.save`.

    Raises:
        ValueError: for a preview.
    """
    if a(fit, ColumnFit, "a ColumnFit").stopped == "preview":
        raise ValueError("Expected a fit to save, got a preview of one; cancel the training and save what it gives.")
    header = dict(
        config=fit.config.to_dict(), columns=fit.columns, units=fit.units, stars=fit.stars,
        data_digest=fit.data_digest, stopped=fit.stopped, message=fit.message, source=fit.source,
        history=pack_history(fit.history), unfinished=fit.state is not None,
    )  # fmt: skip
    return checkpoint.save(path, "density of columns", header, (fit.density, fit.state), overwrite=overwrite)


def load_columns(path) -> ColumnFit:
    """Read what `save_columns` wrote.

    Raises:
        FileNotFoundError, CheckpointError: see `clearview.flows.load`.
    """

    def build(header):
        config, dim = ColumnConfig.from_dict(header["config"]), len(header["columns"])
        checks.number("columns", dim, 1, MOST, whole=True)
        flow = Standardised(MAF(dim, None, config.flow, key=random.key(0)), np.zeros(dim), np.ones(dim))
        return flow, State.begin(flow, config.training) if header["unfinished"] else None

    header, (density, state) = checkpoint.load(path, "density of columns", build)
    with checkpoint.described(path):
        columns, units = (tuple(checks.texts(name, a(header[name], list, name))) for name in ("columns", "units"))
        if len(units) != len(columns):
            raise ValueError(f"Expected a unit for each of {len(columns)} columns, got {len(units)}; train anew.")
        return ColumnFit(
            columns, units, ColumnConfig.from_dict(header["config"]), density, state=state, **told_of(header)
        )
