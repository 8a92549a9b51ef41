"""Stars and a flow in the same cells: windows, draws, and how many stars a flow expects."""

import threading
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import xarray as xr

from clearview.field import Axis
from clearview.figures import count_field
from clearview.panels import base
from clearview.panels.columns import CARTESIAN, Columns, label, turned

DRAWS, CHUNK = 200_000, 10_000
"""How many points are drawn from a flow to compare it with the stars, and how many at once."""

NODES = 5
"""Gauss-Legendre points across a window."""

MOST = 1_000_000
"""Evaluations of a density beyond which a picture is made of draws."""


class Window(NamedTuple):
    """Stars with ``center - half <= name <= center + half``."""

    name: str
    center: float
    half: float

    @property
    def ends(self) -> tuple[float, float]:
        """Both limits."""
        return self.center - self.half, self.center + self.half

    def words(self, units: str) -> str:
        """As it stands in a title."""
        low, high = (f"{round(end, 6) + 0:g}".replace("-", "−") for end in self.ends)
        return f"{low} ≤ {label(self.name)} ≤ {high} {units}"


def select(columns: Columns, names: Sequence[str], windows: Sequence[Window], also=None) -> tuple[np.ndarray, ...]:
    """The columns ``names`` of the stars in all windows; NaN may stand for the others.

    Args:
        columns: of the stars.
        names: the columns wanted.
        windows: conditions on any columns.
        also: a further condition, (N,) booleans.

    Returns:
        float32 arrays of one length.
    """
    keep = also
    for window in windows:
        (low, high), (lowest, highest) = window.ends, columns.ends(window.name)
        if low <= lowest and highest <= high:  # all of them, and none is NaN
            continue
        column = columns[window.name]
        inside = (column >= low) & (column <= high)
        keep = inside if keep is None else np.logical_and(keep, inside, out=inside)
    found = [columns[name] for name in names]
    if keep is None:
        return tuple(found)
    if np.count_nonzero(keep) < 0.75 * len(keep):
        rows = np.flatnonzero(keep)  # several times faster than by the booleans
        return tuple(column.take(rows) for column in found)
    # Blotting out one column is faster than copying nearly all of both.
    return (np.where(keep, found[0], np.float32(np.nan)), *found[1:])


class Draws:
    """Points drawn from a fit once, a chunk at a time, so that the next picture need not wait for all of them.

    Args:
        fit: a `clearview.dynamics.MapFit` or `clearview.flows.ColumnFit`.

    Attributes:
        columns: those drawn so far.
    """

    def __init__(self, fit):
        self.fit, self._parts, self._lock = fit, [], threading.Lock()
        self._units = dict(zip(fit.columns, fit.units, strict=True)) if hasattr(fit, "columns") else CARTESIAN
        self.columns = Columns.of_draws(np.empty((0, len(self._units))), self._units, fit)

    def grow(self, enough: int = DRAWS, stop: Callable[[], bool] = lambda: False) -> Columns:
        """Draw on until there are enough, or something more urgent waits; at least one chunk."""
        with self._lock:
            before = len(self._parts)
            while len(self._parts) * CHUNK < enough and not (self._parts and stop()):
                self._parts.append(np.asarray(self.fit.sample(CHUNK, seed=len(self._parts)), np.float32))
            if len(self._parts) > before:
                self.columns = Columns.of_draws(np.concatenate(self._parts), self._units, self.fit)
            return self.columns


def expected(
    draws: Draws, axes: Sequence[Axis], windows: Sequence[Window], *, exact: bool = True, **grow
) -> tuple[xr.DataArray, float]:
    """How many of the stars that a flow was learnt from it expects in each cell, in the windows.

    Args:
        draws: of the fit.
        axes: of the cells.
        windows: conditions; axes and windows are coordinates that the flow knows.
        exact: integrate the density where it is cheap enough, that is where each of its columns is an axis or has a
            window; False takes the draws.
        **grow: as `Draws.grow` takes them.

    Returns:
        The expected counts, and the variance that the draws add to them, in units of the counts.
    """
    fit, names = draws.fit, [a.name for a in axes]
    work = np.prod([a.size for a in axes]) * NODES ** len(windows)
    if exact and work <= MOST and sorted(getattr(fit, "columns", ())) == sorted([*names, *(w.name for w in windows)]):
        values, volume = 0.0, np.prod([(a.high - a.low) / a.size for a in axes])
        at, weight = np.polynomial.legendre.leggauss(NODES)
        for nodes in product(range(NODES), repeat=len(windows)):
            fixed = {w.name: w.center + w.half * at[i] for w, i in zip(windows, nodes, strict=True)}
            share = volume * np.prod([w.half * weight[i] for w, i in zip(windows, nodes, strict=True)])
            values = values + share * base.flows().column_field(fit, axes, fixed)["density"].values
        more = 0.0
    else:
        columns = draws.grow(**grow)
        more = fit.stars / len(columns)
        x, y = select(columns, names, windows)
        values = more * count_field(x, y, axes).values
    coords = {a.name: (a.name, a.values, {"units": a.units, "long_name": a.label}) for a in axes}
    words = {"units": "", "long_name": "stars per cell"}
    return turned(xr.DataArray(np.asarray(values, np.float32), coords, names, "expected", words)), more
