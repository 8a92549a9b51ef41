"""Slices of a field: pictures, contours, arrows, points, paths and profiles."""

from collections.abc import Sequence
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.figures.style import CMAPS, DASHED, Scale, dimension, limits_of, number, plane, round_levels

_ANGLE, _LENGTH = hv.Dimension("Angle"), hv.Dimension("Magnitude")


def _need(field: xr.DataArray, ndim: int) -> None:
    if field.ndim != ndim:
        raise ValueError(f"Expected a field with {ndim} axes, got {field.ndim} ({', '.join(map(str, field.dims))}); "
                         "select the others first.")  # fmt: skip


def _need_scale(scale: str) -> None:
    if scale not in CMAPS:
        raise ValueError(f"Expected a scale among {', '.join(CMAPS)}, got {scale!r}.")


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
        field: values on two axes; what is not finite (and for "log" what is not positive) is left transparent.
        scale: "linear", "log", or "diverging" (centred on zero, for what has a sign).
        limits: ``(low, high)`` of the colours in the field's unit; by default from its percentiles.
        cmap: a matplotlib colour map; by default viridis, and RdBu_r when diverging.
        label: the title.

    Raises:
        ValueError: if the field has not two axes, the scale is none of the three, or the limits are not in order
            (for "log": not positive).
    """
    _need(field, 2)
    _need_scale(scale)
    if limits is not None and not (limits[0] < limits[1] and (scale != "log" or limits[0] > 0)):
        positive = "0 < " if scale == "log" else ""
        raise ValueError(f"Expected limits {positive}low < high, got {limits}; leave them out for those of the field.")
    x, y = (field[name] for name in field.dims)
    z = dimension(field, range=limits or limits_of(field.values, scale), scale=scale, cmap=cmap or CMAPS[scale])
    # Plain arrays: HoloViews takes several times longer to read an xarray.
    return hv.Image((x.values, y.values, field.values.T), [dimension(x), dimension(y)], [z], label=label, rtol=1e-3)


def contours(field: xr.DataArray, levels: Sequence[float] | None = None, *, scale: Scale = "linear") -> hv.Contours:
    """Lines along which a field has one value; the title says which values.

    Args:
        field: values on two axes; lines end where it is not finite.
        levels: the values in the field's unit; by default four to ten round ones between its percentiles.
        scale: "log" takes powers of ten by default.

    Returns:
        One piece a level, whose lines are parted by NaN; none for a field that is constant or has no values.

    Raises:
        ValueError: if the field has not two axes, or the scale is none of the three.
    """
    from contourpy import LineType, contour_generator

    _need(field, 2)
    _need_scale(scale)
    x, y = (field[name] for name in field.dims)
    z = dimension(field)
    values, step = round_levels(field.values, scale) if levels is None else (np.unique(np.asarray(levels, float)), None)
    lines = []
    if min(field.shape) > 1 and len(values):
        masked = np.ma.masked_invalid(field.values.T)
        traced = contour_generator(x.values, y.values, masked, name="serial", line_type=LineType.ChunkCombinedNan)
        found = ((value, traced.lines(value)[0][0]) for value in values)
        lines = [{x.name: xy[:, 0], y.name: xy[:, 1], z.name: value} for value, xy in found if xy is not None]
    unit = f" {z.unit}" if z.unit else ""
    if step:
        at = f"every {number(step)}{unit}"
    elif len(values) > 6:
        at = f"at {len(values)} values from {number(values[0])} to {number(values[-1])}{unit}"
    else:
        at = f"at {', '.join(map(number, values))}{unit}"
    return hv.Contours(lines, [dimension(x), dimension(y)], [z], label=f"{z.label} contours {at}" if lines else "")


def hatch(mask: xr.DataArray, label: str = "", *, strokes: int = 48) -> hv.Contours:
    """Diagonal strokes over the cells where a mask is true, such as ``hatch(~field.constrained, "not constrained")``.

    Args:
        mask: booleans on two regular axes.
        label: what the strokes mean; it stands in the title, as "hatched: ...".
        strokes: lines across the plane, were it hatched all over.

    Returns:
        One piece, whose strokes are parted by NaN; none where the mask is nowhere true.

    Raises:
        TypeError: if the mask is not boolean.
        ValueError: if it has not two axes, an axis has a single cell, or there are fewer than 2 strokes.
    """
    _need(mask, 2)
    if mask.dtype != bool:
        raise TypeError(f"Expected a field of booleans, got {mask.dtype}; compare it with something.")
    if min(mask.shape) < 2 or strokes < 2:
        raise ValueError(f"Expected two or more cells along each axis and strokes, got {mask.shape} and {strokes}.")
    dims = [dimension(mask[name]) for name in mask.dims]
    axes = [mask[name].values for name in mask.dims]
    low, cell = np.array([v[0] for v in axes], float), np.array([v[1] - v[0] for v in axes], float)
    size = cell * mask.shape
    # At 45 degrees in the unit of the axes where they have one and the same, else in the picture itself.
    wide, high = np.abs(size) / np.abs(size).max() if dims[0].unit and dims[0].unit == dims[1].unit else (1.0, 1.0)
    pieces = []
    for start in (np.arange(strokes) + 0.5) / strokes * (wide + high) - high:
        # The stroke runs through (start + t, t) and is cut where it passes an edge of a cell.
        edges = [np.linspace(0, wide, mask.shape[0] + 1) - start, np.linspace(0, high, mask.shape[1] + 1)]
        t = np.unique(np.concatenate(edges))
        t = t[(t >= max(0.0, -start)) & (t <= min(high, wide - start))]
        middle = (t[1:] + t[:-1]) / 2
        at = (middle + start) / wide, middle / high
        i, j = (np.minimum((share * n).astype(int), n - 1) for share, n in zip(at, mask.shape, strict=True))
        inside = np.concatenate([[0], mask.values[i, j], [0]])
        ends = [t[np.flatnonzero(np.diff(inside) == turn)] for turn in (1, -1)]
        t = np.stack([*ends, np.full(len(ends[0]), np.nan)], 1).ravel()
        pieces.append(np.stack([(t + start) / wide, t / high], 1))
    xy = low - cell / 2 + np.concatenate(pieces) * size
    drawn = [{d.name: xy[:, k] for k, d in enumerate(dims)}] if len(xy) else []
    return hv.Contours(drawn, dims, label=f"hatched: {label}" if drawn and label else "")


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


def points(
    x,
    y,
    *,
    values: xr.DataArray | None = None,
    scale: Scale = "linear",
    limits: tuple[float, float] | None = None,
    label: str = "",
) -> hv.Points:
    """Points at ``x`` and ``y``, arrays of shape (N,) in the units of the picture they lie on.

    DataArrays name the axes where there is no picture.

    Args:
        x, y: where they are.
        values: (N,) by which they are coloured, where there is no picture; NaN is grey.
        scale: of the colours, as in `slice_image`.
        limits: ``(low, high)`` of the colours; by default from percentiles of the values.
        label: their name in the legend.
    """
    dims = plane(x, y) or [hv.Dimension("x"), hv.Dimension("y")]
    table = {d.name: np.atleast_1d(np.asarray(v)) for d, v in zip(dims, (x, y), strict=True)}
    if values is None:
        return hv.Points(table, dims, label=label, datatype=["dictionary"])
    _need_scale(scale)
    z = dimension(values, range=limits or limits_of(values.values, scale), scale=scale, cmap=CMAPS[scale])
    return hv.Points({**table, z.name: values.values}, dims, [z], label=label, datatype=["dictionary"])


def path(x, y, label: str = "") -> hv.Path:
    """A track, such as a stream or an orbit, through ``x`` and ``y``, arrays of shape (N,) in the units of the picture.

    NaN breaks the line. DataArrays name the axes where there is no picture.

    Raises:
        ValueError: if the arrays differ in length.
    """
    if np.shape(x) != np.shape(y):
        raise ValueError(f"Expected as many x as y, got shapes {np.shape(x)} and {np.shape(y)}.")
    dims = plane(x, y) or [hv.Dimension("x"), hv.Dimension("y")]
    # As a table, which is read again in a tenth of the time.
    table = {d.name: np.asarray(v, float) for d, v in zip(dims, (x, y), strict=True)}
    return hv.Path([table], dims, label=label)


def text(x: float, y: float, words: str) -> hv.Text:
    """Words beside a place, in the units of the picture they lie on."""
    return hv.Text(float(x), float(y), words, halign="left", valign="center")


def marker(x: float, y: float, label: str = "Sun") -> hv.Overlay:
    """One named place, such as the Sun, in the units of the picture it lies on."""
    return hv.Overlay([points(x, y), text(x, y, label)])


def profile(
    field: xr.DataArray,
    *,
    error: xr.DataArray | None = None,
    label: str = "",
    dashed: bool = False,
    scale: Scale = "linear",
    along: Scale = "linear",
) -> hv.Curve | hv.Overlay:
    """A field on one axis as a curve, axes named by the field's attributes.

    Args:
        field: values on one axis; NaN leaves a gap.
        error: standard errors on the same axis and in the same unit, drawn as a band of one to either side.
        label: its name in the legend.
        dashed: for a truth or a reference.
        scale: "log" for a logarithmic axis of values, where what is not positive is a gap.
        along: "log" for a logarithmic axis that it runs along.

    Returns:
        The curve, or an overlay of its band and the curve.

    Raises:
        ValueError: if the field has not one axis, the scale is neither linear nor log, or the errors have another
            axis or unit or are negative.
    """
    _need(field, 1)
    axis = field[field.dims[0]]
    x, y = _curved(axis, field, along, scale)
    line = curve(x, axis.values, y, field.values, label, dashed)
    if error is None:
        return line
    if error.dims != field.dims or not np.array_equal(error[axis.name], axis):
        got = f"{', '.join(map(str, error.dims))} of shape {error.shape}"
        raise ValueError(f"Expected errors on the axis of the field ({axis.name}, {axis.size} values), got {got}; "
                         "interpolate them to it.")  # fmt: skip
    unit = error.attrs.get("units", field.attrs.get("units", ""))
    if unit != field.attrs.get("units", "") or (error < 0).any():
        raise ValueError(f"Expected errors of at least 0 in {field.attrs.get('units') or 'no unit'}, got "
                         f"{float(error.min()):g} and more in {unit or 'no unit'}; convert them.")  # fmt: skip
    table = {x.name: axis.values, y.name: field.values, "error": error.values}
    band = hv.Spread(table, [x], [y, hv.Dimension("error")], label=label, datatype=["dictionary"])
    return hv.Overlay([band, line])


def _curved(axis: xr.DataArray, field: xr.DataArray, along: Scale, scale: Scale) -> tuple[Any, Any]:
    """The two dimensions of a curve."""
    for each in (scale, along):
        if each not in ("linear", "log"):
            raise ValueError(f"Expected a scale among linear, log for a curve, got {each!r}.")
    return dimension(axis, scale=along), dimension(field, scale=scale)


def quantile_profile(
    field: xr.DataArray,
    *,
    label: str = "",
    scale: Scale = "linear",
    along: Scale = "linear",
) -> hv.Overlay:
    """Quantiles on one axis as their median and bands between the others, each with that as far on the other side.

    Args:
        field: values on ``quantile`` and one axis, such as one variable of `clearview.dwarfs.DwarfFit.field`.
        label: its name in the legend.
        scale, along: as in `profile`.

    Raises:
        ValueError: if the field has no such axes, or quantiles without a median or without their counterparts.
    """
    if field.dims[:1] != ("quantile",) or field.ndim != 2:
        raise ValueError(f"Expected a field on quantile and one axis, got {', '.join(map(str, field.dims)) or 'none'}; "
                         "transpose it, or draw it with profile.")  # fmt: skip
    q = np.round(field["quantile"].values.astype(float), 6)
    if not np.allclose(q + q[::-1], 1) or len(q) % 2 == 0 or (np.diff(q) <= 0).any():
        raise ValueError(f"Expected rising quantiles with 0.5 in their middle, got {', '.join(f'{v:g}' for v in q)}; "
                         "such as 0.16, 0.5, 0.84.")  # fmt: skip
    axis = field[field.dims[1]]
    x, y = _curved(axis, field, along, scale)
    bands = []
    for i in range(len(q) // 2):
        low, high = hv.Dimension(f"{100 * q[i]:g} %"), hv.Dimension(f"{100 * q[-1 - i]:g} %")
        table = {x.name: axis.values, low.name: field.values[i], high.name: field.values[-1 - i]}
        bands.append(hv.Area(table, [x], [low, high], label=label, datatype=["dictionary"]))
    return hv.Overlay([*bands, curve(x, axis.values, y, field.values[len(q) // 2], label)])


def bars(x, y, *, x_ends=None, y_ends=None, label: str = "") -> hv.Path:
    """Measurements as crosses, whose strokes reach the ends of their errors or bins, in the units of the picture.

    Args:
        x, y: (N,) values; DataArrays name the axes where there is no picture.
        x_ends, y_ends: (low, high), each (N,), of the strokes along x and y; None draws none.
        label: their name in the legend.
    """
    dims = plane(x, y) or [hv.Dimension("x"), hv.Dimension("y")]
    x, y = (np.atleast_1d(np.asarray(v, float)) for v in (x, y))
    gap, across, upward = np.full(len(x), np.nan), [], []
    if x_ends is not None:
        across += [*x_ends, gap]
        upward += [y, y, gap]
    if y_ends is not None:
        across += [x, x, gap]
        upward += [*y_ends, gap]
    drawn = (np.stack(np.broadcast_arrays(*v), -1).ravel() for v in (across, upward))
    return hv.Path([{d.name: v for d, v in zip(dims, drawn, strict=True)}], dims, label=label)


def curve(x: hv.Dimension, x_values, y: hv.Dimension, y_values, label: str, dashed: bool = False) -> hv.Curve:
    """A curve of two columns, as HoloViews makes it quickest."""
    table, group = {x.name: x_values, y.name: y_values}, DASHED if dashed else "Curve"
    return hv.Curve(table, [x], [y], label=label, group=group, datatype=["dictionary"])
