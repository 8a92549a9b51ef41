"""Stars along one axis beside what a density expects there; and stars so few that each is a point."""

from collections.abc import Collection, Sequence

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.field import Axis
from clearview.figures.slices import curve, points
from clearview.figures.style import dimension


def marginal(stars: xr.DataArray | None = None, flow: xr.DataArray | None = None) -> hv.Overlay:
    """Star counts along one axis as steps with Poisson errors (plus and minus the root), and what is expected.

    Args:
        stars: counts in the cells of a regular axis.
        flow: expected counts in the same cells.

    Returns:
        An overlay of the curves that there are, labelled "stars" and "flow".

    Raises:
        ValueError: if there are neither, or they have not one axis of at least two cells.
    """
    found = {label: field for label, field in (("stars", stars), ("flow", flow)) if field is not None}
    for field in found.values():
        if field.ndim != 1 or field.size < 2:
            raise ValueError(f"Expected counts in at least two cells of one axis, got shape {field.shape}; sum over "
                             "the others first.")  # fmt: skip
    if not found:
        raise ValueError("Expected counts of stars or of a flow, got neither; pass one of them.")
    top = max(float(field.max() + (field is stars) * field.max() ** 0.5) for field in found.values())
    curves = []
    for label, field in found.items():
        axis, n = field[field.dims[0]], field.values.astype(float)
        half = (axis.values[1] - axis.values[0]) / 2
        x = np.stack([axis.values - half, axis.values + half], -1).ravel()
        x, y = np.r_[x[0], x, x[-1]], np.r_[0.0, np.repeat(n, 2), 0.0]
        if label == "stars":  # in one curve with gaps, so that the errors have its colour
            at, root, gap = axis.values, np.sqrt(n), np.full(len(n), np.nan)
            x = np.r_[x, np.stack([gap, at, at], -1).ravel()]
            y = np.r_[y, np.stack([gap, n - root, n + root], -1).ravel()]
        # what is left free above is for the legend
        counted = field.rename("stars per bin").assign_attrs(units="", long_name="")
        curves.append(curve(dimension(axis), x, dimension(counted, range=(0.0, 1.5 * top or 1.0)), y, label))
    return hv.Overlay(curves)


def star_points(x, y, axes: Sequence[Axis], *, reverse: Collection[str] = (), label: str = "") -> hv.Overlay:
    """Each star as a point, where there are too few to be counted in cells.

    Args:
        x: (N,) coordinate along the first axis, in its units.
        y: (N,) coordinate along the second axis.
        axes: the two axes; their limits are those of the picture.
        reverse: names of axes that run to the left or downwards, as magnitudes do.
        label: the title.
    """
    words = [{"units": a.units, "long_name": a.label, **({"reverse": 1} if a.name in reverse else {})} for a in axes]
    named = [
        xr.DataArray(np.asarray(v), dims="star", name=a.name, attrs=w)
        for v, a, w in zip((x, y), axes, words, strict=True)
    ]
    dots = points(*named)
    limits = {d.name: (a.low, a.high) for d, a in zip(dots.kdims, axes, strict=True)}
    return hv.Overlay([dots.redim.range(**limits)], label=label)
