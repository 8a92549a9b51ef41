"""Stars and a flow in the same cells: windows, draws, and how many stars a flow expects."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from clearview.field import Axis
from clearview.figures import count_field
from clearview.panels.columns import CARTESIAN, Columns, label, learnt, same_scale, turned

FEWEST, MOST, CHUNK = 200_000, 1_000_000, 10_000
"""Twice as many points as stars, within the first two, are drawn from a flow to compare them; and how many at once."""

FEW = 1000
"""Of fewer stars than this each is drawn as a point."""


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


def in_windows(columns: Columns, windows: Sequence[Window], also=None) -> np.ndarray | None:
    """(N,) whether a star is in all windows, and ``also`` is true of it; None if that is so of all stars."""
    keep = also
    for window in windows:
        (low, high), (lowest, highest) = window.ends, columns.ends(window.name)
        if low <= lowest and highest <= high:  # all of them, and none is NaN
            continue
        column = columns[window.name]
        inside = (column >= low) & (column <= high)
        keep = inside if keep is None else np.logical_and(keep, inside, out=inside)
    return keep


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
    keep = in_windows(columns, windows, also)
    found = [columns[name] for name in names]
    if keep is None:
        return tuple(found)
    if np.count_nonzero(keep) < 0.75 * len(keep):
        rows = np.flatnonzero(keep)  # several times faster than by the booleans
        return tuple(column.take(rows) for column in found)
    # Blotting out one column is faster than copying nearly all of both.
    return (np.where(keep, found[0], np.float32(np.nan)), *found[1:])


def near(x: np.ndarray, y: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """(N,) whether a star lies between the ends of both axes."""
    a, b = axes
    return (x >= a.low) & (x <= a.high) & (y >= b.low) & (y <= b.high)


def seen(x: np.ndarray, y: np.ndarray, axes: Sequence[Axis]) -> tuple[int, np.ndarray | None]:
    """Roughly how many stars lie between the ends of both axes; exactly, and which (N,), where they are few."""
    step = max(1, len(x) // 10_000)
    some = np.count_nonzero(near(x[::step], y[::step], axes))
    if some >= 100 and some * step >= 2 * FEW:
        return int(some * step), None
    found = near(x, y, axes)
    return int(np.count_nonzero(found)), found


def cells(axes: Sequence[Axis], wanted: float, pixels: float) -> list[Axis]:
    """Two axes in cells that are square on the screen, roughly so many in all, and no smaller than its pixels.

    Args:
        axes: their ends.
        wanted: the number of cells; never fewer than 600.
        pixels: of the longer side.
    """
    x, y = axes
    ratio = (x.high - x.low) / (y.high - y.low) if same_scale(x.units, y.units) else 1.0
    # In steps of two, or the grain of the picture would change with every step of a slider.
    number = 2.0 ** round(np.log2(max(wanted, 600)))
    sides = np.sqrt([number * ratio, number / ratio])
    sides *= min(1.0, pixels / sides.max())
    return [axis._replace(size=max(8, round(side))) for axis, side in zip(axes, sides, strict=True)]


class Draws:
    """Points drawn from a fit once, a chunk at a time, so that the next picture need not wait for all of them.

    Args:
        fit: a `clearview.dynamics.MapFit` or `clearview.flows.ColumnFit`.

    Attributes:
        columns: those drawn so far.
        enough: how many there are to be.
    """

    def __init__(self, fit):
        self.fit, self._parts, self._lock = fit, [], threading.Lock()
        # Of a preview there is a newer one soon, and each draw is taken from its training.
        self.enough = 3 * CHUNK if fit.stopped == "preview" else int(np.clip(2 * fit.stars, FEWEST, MOST))
        self._units = CARTESIAN if learnt(fit) is None else dict(zip(fit.columns, fit.units, strict=True))
        self.columns = Columns.of_draws(np.empty((0, len(self._units))), self._units, fit)

    def grow(self, enough: int | None = None, stop: Callable[[], bool] = lambda: False) -> Columns:
        """Draw on until there are enough, or something more urgent waits; at least one chunk."""
        enough = self.enough if enough is None else enough
        with self._lock:
            before = len(self._parts)
            while len(self._parts) * CHUNK < enough and not (self._parts and stop()):
                self._parts.append(np.asarray(self.fit.sample(CHUNK, seed=len(self._parts)), np.float32))
            if len(self._parts) > before:
                self.columns = Columns.of_draws(np.concatenate(self._parts), self._units, self.fit)
            return self.columns


def expected(draws: Draws, axes: Sequence[Axis], windows: Sequence[Window], **grow) -> tuple[xr.DataArray, float]:
    """How many of the stars that a flow was learnt from it expects in each cell, in the windows.

    They are counted from draws, which are right for any density, however narrow, and whatever cells and windows.

    Args:
        draws: of the fit.
        axes: of the cells.
        windows: conditions; axes and windows are coordinates that the flow knows.
        **grow: as `Draws.grow` takes them.

    Returns:
        The expected counts, and the variance that the draws add to them, in units of the counts.
    """
    columns = draws.grow(**grow)
    more = draws.fit.stars / len(columns)
    x, y = select(columns, [a.name for a in axes], windows)
    counts = turned(count_field(x, y, axes))
    values = (counts * np.float32(more)).astype(np.float32)
    return values.rename("expected").assign_attrs(units="", long_name="stars per cell"), more
