"""Slices of a field: pictures, arrows, points and profiles."""

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.figures.style import CMAPS, Scale, dimension, limits_of

_ANGLE, _LENGTH = hv.Dimension("Angle"), hv.Dimension("Magnitude")


def _need(field: xr.DataArray, ndim: int) -> None:
    if field.ndim != ndim:
        raise ValueError(f"Expected a field with {ndim} axes, got {field.ndim} ({', '.join(map(str, field.dims))}); "
                         "select the others first.")  # fmt: skip


def slice_image(
    field: xr.DataArray,
    *,
    scale: Scale = "linear",
    limits: tuple[float, float] | None = None,
    cmap: str | None = None,
    label: str = "",
) -> hv.Image:
    """A field on a regular grid as a picture; axes and colour bar are named by the field's attributes.

    Args:
        field: values on two axes; NaN (and for "log" what is not positive) is left transparent.
        scale: "linear", "log", or "diverging" (centred on zero, for what has a sign).
        limits: ``(low, high)`` of the colours in the field's unit; by default from its percentiles.
        cmap: a matplotlib colour map; by default viridis, and RdBu_r when diverging.
        label: the title.

    Raises:
        ValueError: if the field has not two axes, or the scale is none of the three.
    """
    _need(field, 2)
    if scale not in CMAPS:
        raise ValueError(f"Expected a scale among {', '.join(CMAPS)}, got {scale!r}.")
    x, y = (field[name] for name in field.dims)
    z = dimension(field, range=limits or limits_of(field.values, scale), scale=scale, cmap=cmap or CMAPS[scale])
    # Plain arrays: HoloViews takes several times longer to read an xarray.
    return hv.Image((x.values, y.values, field.values.T), [dimension(x), dimension(y)], [z], label=label, rtol=1e-3)


def arrows(field_x: xr.DataArray, field_y: xr.DataArray, every: int | None = None) -> hv.VectorField:
    """Arrows of a vector field, drawn relative to the longest, whose length stands in the label.

    Args:
        field_x: component along the first axis, on two axes.
        field_y: component along the second axis, on the same grid.
        every: cells from one arrow to the next; by default some 13 arrows along each axis.

    Raises:
        ValueError: if the fields have not two axes.
    """
    _need(field_x, 2)
    step = every or max(1, max(field_x.shape) // 13)
    cut = (slice(step // 2, None, step),) * 2
    x, y = (field_x[name] for name in field_x.dims)
    grid = np.meshgrid(x.values[cut[0]], y.values[cut[1]], indexing="ij")
    ax, ay = field_x.values[cut], field_y.values[cut]
    length = np.hypot(ax, ay)
    keep = np.isfinite(length)
    z = dimension(field_x)
    top = float(length[keep].max()) if keep.any() else 0.0
    longest = f"longest arrow {top:{',.0f' if top >= 100 else '.3g'}} {z.unit or ''}".strip()
    kdims, values = [dimension(x), dimension(y)], (grid[0], grid[1], np.arctan2(ay, ax), length)
    table = {d.name: v[keep] for d, v in zip([*kdims, _ANGLE, _LENGTH], values, strict=True)}
    return hv.VectorField(table, kdims, [_ANGLE, _LENGTH], label=longest, datatype=["dictionary"])


def points(x, y, *, label: str = "") -> hv.Points:
    """Points at ``x`` and ``y``, arrays of shape (N,) in the units of the picture they lie on."""
    return hv.Points((np.atleast_1d(x), np.atleast_1d(y)), label=label)


def marker(x: float, y: float, label: str = "Sun") -> hv.Overlay:
    """One named place, such as the Sun, in the units of the picture it lies on."""
    return points(x, y, label=label) * hv.Text(x, y, f"  {label}", halign="left", valign="center")


def profile(field: xr.DataArray, *, label: str = "") -> hv.Curve:
    """A field on one axis as a curve, axes named by the field's attributes.

    Raises:
        ValueError: if the field has not one axis.
    """
    _need(field, 1)
    axis = field[field.dims[0]]
    return hv.Curve((axis.values, field.values), [dimension(axis)], [dimension(field)], label=label)
