"""Stars chosen by hand: which lie in a polygon, and the selection that all views share."""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import traitlets as T

from clearview.catalogs import CutReport
from clearview.panels.columns import Columns
from clearview.panels.compare import Window, in_windows

OPS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "replace": lambda old, new: new, "add": np.logical_or, "subtract": lambda old, new: old & ~new,
}  # fmt: skip
"""What a new outline does to the stars that are selected already."""

BANDS = 1024
"""A star is tested against the edges that reach its own one of so many bands in y."""


@lru_cache
def _crossings():
    """The loop over stars, compiled when first used: that takes most of a second."""
    import numba  # datashader's; here, because it takes a while to load

    def crossings(x, y, left, right, low, high, scale, starts, edges, inside):
        for i in range(len(x)):
            u, v = x[i], y[i]
            if not (u >= left and u <= right and v >= low and v < high):  # nor does NaN pass
                continue
            band, odd = int((v - low) * scale), False
            for k in range(starts[band], starts[band + 1]):
                if edges[k, 1] <= v and v < edges[k, 3]:
                    wide, tall = edges[k, 2] - edges[k, 0], edges[k, 3] - edges[k, 1]
                    odd ^= (u - edges[k, 0]) * tall < wide * (v - edges[k, 1])
            inside[i] = odd

    return numba.njit(nogil=True)(crossings)


def inside(x, y, polygon) -> np.ndarray:
    """Which stars lie in a polygon, by the even-odd rule where it crosses itself.

    A star on an edge belongs to the polygon at its right (above a level edge), so that of two polygons that share the
    edge exactly one has it. NaN and infinities are never inside. The order and the sense of the vertices do not matter.

    Args:
        x: (N,) coordinate; float32 is fastest.
        y: (N,) the other one.
        polygon: vertices x0, y0, x1, y1, ..., flat or (M, 2), at least three; it is closed by itself.

    Returns:
        (N,) booleans.

    Raises:
        ValueError: if the columns differ in length, or there are not three finite vertices.
    """
    x, y = np.asarray(x), np.asarray(y)
    flat = np.asarray(polygon, float).ravel()
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"Expected two columns of one length, got shapes {x.shape} and {y.shape}; give one star a row."
        )
    if len(flat) < 6 or len(flat) % 2 or not np.isfinite(flat).all():
        raise ValueError(
            f"Expected x, y of at least three finite vertices, got {flat.tolist()}; draw the outline anew."
        )
    found, xy = np.zeros(len(x), bool), flat.reshape(-1, 2)
    edges = np.concatenate([xy, np.roll(xy, -1, 0)], 1)
    # Upwards, so that an edge shared by two polygons is the same numbers in both; a level one is never crossed.
    edges = np.where(edges[:, [1]] <= edges[:, [3]], edges, edges[:, [2, 3, 0, 1]])
    edges = edges[edges[:, 1] < edges[:, 3]]
    if not len(edges):
        return found
    (left, low), (right, high) = xy.min(0).tolist(), xy.max(0).tolist()
    scale = min(BANDS / (high - low), 1e300)
    first, last = ((edges[:, [1, 3]] - low) * scale).astype(int).T
    number = last - first + 1
    which = np.repeat(np.arange(len(edges)), number)
    band = np.arange(len(which)) + np.repeat(first - np.cumsum(number) + number, number)
    order = np.argsort(band, kind="stable")
    starts = np.searchsorted(band[order], np.arange(BANDS + 3))
    _crossings()(x, y, left, right, low, high, scale, starts, edges[which[order]], found)
    return found


class Selection(T.HasTraits):
    """The stars of one catalogue that were chosen, by outlines in any of its columns.

    Args:
        catalog: the stars, a `clearview.Catalog`, or None.

    Attributes:
        changes: goes up with every change, for ``selection.observe(f, "changes")``.
        columns: all coordinates of the stars, for whoever draws them.
        origin: the catalogue that `keep` narrowed, None before.
        mask: (N,) booleans, read-only; None where nothing was selected, which is not the same as no star.
        steps: how it came about, one dict a step, as it stands in the meta of `catalog`.
    """

    changes = T.Int()

    def __init__(self, catalog=None):
        super().__init__()
        self._lock = threading.RLock()
        self.reset(catalog)

    def reset(self, catalog, origin=None) -> None:
        """Begin anew with another catalogue."""
        with self._lock:
            self.origin = origin
            self.columns = Columns({}.__getitem__, {}, 0) if catalog is None else Columns.of_catalog(catalog)
            self._put(None, [])
        self.changes += 1

    @property
    def source(self):
        """The catalogue that is selected from, or None."""
        return self.columns.source

    @property
    def number(self) -> int:
        """How many stars are selected."""
        return self._number

    @property
    def catalog(self):
        """The selected stars, a `clearview.Catalog`; its report tells the cut and its meta ``selection`` the outlines.

        Where nothing was selected since `keep`, those that it kept.

        Raises:
            ValueError: if no star is selected.
        """
        with self._lock:
            mask, steps, source, origin = self.mask, self.steps, self.source, self.origin
        if mask is None and origin is not None:
            return source
        if mask is None or not mask.any():
            raise ValueError("Expected selected stars, got none; draw a box or a lasso around some.")
        report = CutReport(", then ".join(map(_words, steps)), len(mask), int(np.count_nonzero(mask)))
        before = source.meta.get("selection", [])
        return source.take(mask, [report]).with_columns(
            {}, meta={"selection": [*before, *([{"op": "keep"}] if before else []), *steps]}
        )

    def fewer(self) -> tuple[np.ndarray, bool]:
        """Rows of the stars selected, or of all others where these are fewer, and whether it is the others."""
        with self._lock:
            if self._fewer is None:
                others = 2 * self._number > len(self.columns)
                mask = np.zeros(len(self.columns), bool) if self.mask is None else self.mask
                self._fewer = np.flatnonzero(~mask if others else mask), others
            return self._fewer

    def choose(
        self, names: Sequence[str], polygon, op: str = "replace", *, windows: Sequence[Window] = (),
        kind: str = "lasso", again: bool = False, by: Any = None,
    ) -> None:  # fmt: skip
        """Select the stars in an outline.

        Args:
            names: the two columns it is drawn in.
            polygon: its vertices in their units, as `inside` takes them.
            op: "replace" what was selected, "add" to it, or "subtract" from it.
            windows: further conditions.
            kind: what it is called in the history.
            again: the last outline is drawn still: this one takes its place.
            by: the view it was drawn in, told to those who observe.

        Raises:
            ValueError: for another ``op``, a column that is not there, or an outline that is none.
        """
        if op not in OPS:
            raise ValueError(f"Expected an op among {', '.join(OPS)}, got {op!r}; choose one of them.")
        used = [*names, *(w.name for w in windows)]
        if missing := [name for name in used if name not in self.columns]:
            raise ValueError(f"Expected columns among {', '.join(self.columns.units)}, got {', '.join(missing)}.")
        with self._lock:
            x, y = names
            found = inside(self.columns[x], self.columns[y], polygon)
            within = in_windows(self.columns, windows)
            found = found if within is None else found & within
            before, steps = self._before if again else (self.mask, self.steps)
            step = {"columns": list(names), "kind": kind, "op": op, "xy": np.ravel(polygon).tolist()}
            if windows:
                step["windows"] = {w.name: list(w.ends) for w in windows}
            old = np.zeros(len(found), bool) if before is None else before
            self._put(OPS[op](old, found), [*(steps if op != "replace" else []), step], by)
            self._before = before, steps
        self.changes += 1  # outside of the lock: whoever hears of it has locks of their own

    def repeat(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Select as `steps` says, or the "selection" in the meta of a selected catalogue, of these stars or others.

        Raises:
            ValueError: as `choose`.
        """
        self.clear()
        kept = np.ones(len(self.columns), bool)
        for step in steps:
            if step["op"] == "keep":  # what follows was chosen among these
                kept &= True if self.mask is None else self.mask
                self.clear()
                continue
            if step["op"] == "invert":
                self.invert()
                continue
            windows = [Window(n, (a + b) / 2, (b - a) / 2) for n, (a, b) in step.get("windows", {}).items()]
            self.choose(step["columns"], step["xy"], step["op"], windows=windows, kind=step["kind"])
        if not kept.all():
            with self._lock:
                self._put(kept if self.mask is None else self.mask & kept, list(steps))
            self.changes += 1

    def invert(self) -> None:
        """Select all the others."""
        with self._lock:
            mask = np.ones(len(self.columns), bool) if self.mask is None else ~self.mask
            self._put(mask, [*self.steps, {"op": "invert"}])
        self.changes += 1

    def clear(self) -> None:
        """Select nothing."""
        with self._lock:
            self._put(None, [])
        self.changes += 1

    def keep(self) -> None:
        """Go on with the selected stars only; `restore` brings the others back.

        Raises:
            ValueError: if no star is selected.
        """
        self.reset(self.catalog, self.source if self.origin is None else self.origin)

    def restore(self) -> None:
        """Bring back what `keep` left out."""
        if self.origin is not None:
            self.reset(self.origin)

    def _put(self, mask, steps, by=None) -> None:
        self._number = 0 if mask is None else int(np.count_nonzero(mask))
        if mask is not None:
            mask.flags.writeable = False
        self.mask, self.steps, self.by, self._fewer = mask, steps, by, None
        self._before = mask, steps


def _words(step) -> str:
    """A step as the report of a catalogue tells it."""
    if "kind" not in step:
        return step["op"]
    how = {"replace": "", "add": "added ", "subtract": "without "}[step["op"]]
    windows = "".join(f", {low:g} <= {name} <= {high:g}" for name, (low, high) in step.get("windows", {}).items())
    return f"{how}{step['kind']} in {', '.join(step['columns'])}{windows}"
