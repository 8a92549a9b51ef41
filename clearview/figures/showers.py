"""Showers in pictures: a layer of a calorimeter, and histograms of what tells showers apart."""

from collections.abc import Mapping

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.calorimeter import FEATURES, Layer
from clearview.figures.histograms import histogram
from clearview.figures.slices import slice_image

PIXELS = 96


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
    words, unit = FEATURES.get(name.split("_")[0], ("deposited share of the energy", ""))
    return histogram(name, samples, words=words, unit=unit, of="showers", inks=INKS, label=label)


INKS: tuple[str, ...] = ("truth", "teacher", "student")
"""Whose showers there are; each keeps its colour."""
