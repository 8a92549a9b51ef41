"""Showers in pictures: a layer of a calorimeter, and histograms of what tells showers apart."""

from collections.abc import Mapping

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.calorimeter import FEATURES, Layer
from clearview.figures.slices import curve, slice_image
from clearview.figures.style import LINES, dimension

PIXELS = 96

BINS = 30


def layer_image(layer: Layer, voxels, *, limits: tuple[float, float] | None = None, label: str = "") -> hv.Overlay:
    """The energies in one layer, seen along the particle; empty voxels are left out.

    Args:
        layer: of the calorimeter.
        voxels: (voxels) energies, MeV.
        limits: (low, high) of the colours, MeV.
        label: the title.
    """
    ends = (
        [(-layer.second[-1], layer.second[-1])] * 2
        if layer.polar
        else [(e[0], e[-1]) for e in (layer.first, layer.second)]
    )
    axes = [lo + (np.arange(PIXELS) + 0.5) * (hi - lo) / PIXELS for lo, hi in ends]
    x, y = np.meshgrid(*axes, indexing="ij")
    at = layer.voxel(x.ravel(), y.ravel())
    seen = np.where(at < 0, np.nan, np.asarray(voxels, float)[at]).reshape(x.shape)
    named = {n: (n, v, {"units": "mm", "long_name": n}) for n, v in zip("xy", axes, strict=True)}
    field = xr.DataArray(seen, named, ["x", "y"], "E", {"units": "MeV", "long_name": "energy in the voxel"})
    if limits is None:
        hit = seen[seen > 0]
        limits = (float(hit.min()) * 0.999, float(hit.max()) * 1.001) if hit.size else (1.0, 10.0)
    return hv.Overlay([slice_image(field, scale="log", limits=limits)], label=label)


def feature_histogram(name: str, samples: Mapping[str, np.ndarray], *, label: str = "") -> hv.Overlay:
    """How one number is distributed over several samples of showers, each of area 1.

    Args:
        name: a column of `clearview.calorimeter.Showers.features`.
        samples: by name, of each shower; NaN is left out. "truth" is dashed.
        label: the title.

    Raises:
        ValueError: if no number is finite.
    """
    finite = {k: np.asarray(v, float)[np.isfinite(v)] for k, v in samples.items()}
    every = np.concatenate(list(finite.values()) or [np.zeros(0)])
    if not every.size:
        raise ValueError(f"Expected numbers of {name}, got none that are finite; choose another layer.")
    low, high = np.quantile(every, [0.005, 0.995])
    known = np.unique(every[(every >= low) & (every <= high)].round(9))
    if 1 < len(known) < 3 * BINS:  # of counted voxels: each bin holds as many of the values that there can be
        step = np.diff(known).min() * np.ceil((high - low) / np.diff(known).min() / BINS)
        edges = np.arange(low - step / 2, high + step, step)
    else:
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    words, unit = FEATURES.get(name.split("_")[0], ("deposited share of the energy", ""))
    counts = {k: np.histogram(v, edges)[0] / max(len(v), 1) / np.diff(edges) for k, v in finite.items()}
    top = max(float(c.max()) for c in counts.values())
    along = dimension(xr.DataArray(0.0, name=name, attrs={"units": unit, "long_name": words}))
    drawn = []
    for k, found in counts.items():
        how = {"units": "", "long_name": "share of showers per unit", "ink": sorted(INKS).index(k) % len(LINES)}
        up = dimension(xr.DataArray(0.0, name="density", attrs=how), range=(0.0, 1.4 * top or 1.0))
        steps = np.r_[0.0, np.repeat(found, 2), 0.0]
        drawn.append(curve(along, np.repeat(edges, 2), up, steps, k, dashed=k == "truth"))
    return hv.Overlay(drawn, label=label)


INKS: tuple[str, ...] = ("truth", "teacher", "student")
"""Whose showers there are; each keeps its colour."""
