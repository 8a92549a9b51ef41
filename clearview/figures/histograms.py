"""How one number is distributed over several samples."""

from collections.abc import Mapping, Sequence

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.figures.slices import curve
from clearview.figures.style import LINES, dimension

BINS = 30


def histogram(
    name: str, samples: Mapping[str, np.ndarray], *, words: str = "", unit: str = "", of: str = "stars",
    inks: Sequence[str] = (), bounds: tuple[float, float] | None = None, label: str = "",
) -> hv.Overlay:  # fmt: skip
    """How one number is distributed over several samples, each of area 1.

    Args:
        name: of the number.
        samples: by name, (N,) its values; any that are not finite are left out. "truth" is dashed.
        words, unit: what it is and in which unit, for the axis.
        of: what has this number.
        inks: names of all samples there may be: each keeps its colour when another is away.
        bounds: range of the axis; by default where 99 % of all are.
        label: the title.

    Raises:
        ValueError: if no number is finite.
    """
    finite = {k: np.asarray(v, float)[np.isfinite(v)] for k, v in samples.items()}
    every = np.concatenate(list(finite.values()) or [np.zeros(0)])
    if not every.size:
        raise ValueError(f"Expected numbers of {name}, got none that are finite; choose another.")
    low, high = bounds or np.quantile(every, [0.005, 0.995])
    known = np.unique(every[(every >= low) & (every <= high)].round(9))
    if 1 < len(known) < 3 * BINS:  # of counted things: each bin holds as many of the values that there can be
        step = np.diff(known).min() * np.ceil((high - low) / np.diff(known).min() / BINS)
        edges = np.arange(low - step / 2, high + step, step)
    else:
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts = {k: np.histogram(v, edges)[0] / max(len(v), 1) / np.diff(edges) for k, v in finite.items()}
    top = max(float(c.max()) for c in counts.values())
    along = dimension(xr.DataArray(0.0, name=name, attrs={"units": unit, "long_name": words or name}))
    drawn, inks = [], sorted(inks or samples)
    for k, found in counts.items():
        how = {"units": "", "long_name": f"share of {of} per {unit or 'unit'}", "ink": inks.index(k) % len(LINES)}
        up = dimension(xr.DataArray(0.0, name="density", attrs=how), range=(0.0, 1.4 * top or 1.0))
        steps = np.r_[0.0, np.repeat(found, 2), 0.0]
        drawn.append(curve(along, np.repeat(edges, 2), up, steps, k, dashed=k == "truth"))
    return hv.Overlay(drawn, label=label)
