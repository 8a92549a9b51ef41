"""An element as plain numbers, texts and bytes: what the browser and matplotlib both draw."""

import zlib
from functools import lru_cache
from typing import Any

import holoviews as hv
import numpy as np

from clearview.figures import style

TINY = 1e-300
"""Where a band that reaches down to zero ends on a logarithmic axis."""


LARGE = 32_768
"""Bytes of a picture that are worth packing."""


def frame_of(element) -> dict[str, Any]:
    """Everything that is needed to draw an element or overlay.

    Returns:
        ``x``, ``y`` (name, unit, label, reverse, and whether it is ``log``), ``range`` [x0, x1, y0, y1], ``title``,
        ``equal`` (whether a circle has to be round), ``legend`` (the corner that it has) and ``layers``; with a
        picture also its 16-bit ``codes``, their scale and colours, and with coloured points their scale and colours.
        Of two pictures, the first lies below the second, and is what ``under`` holds in the same words.

    Raises:
        TypeError: if a layer is of a kind that cannot be drawn, or there are more than two pictures.
    """
    parts = style.layers(element)
    images = [k for k in parts if isinstance(k, hv.Image)]
    if len(images) > 2:
        raise TypeError(
            f"Expected at most two pictures, one above the other, got {len(images)}; draw them side by side."
        )
    image = images[-1] if images else None
    x, y = style.axes(element)
    log_x, log = (image is None and getattr(k, "scale", "") == "log" for k in (x, y))
    frame: dict[str, Any] = {
        "x": {**_axis(x), "log": log_x}, "y": {**_axis(y), "log": log}, "title": style.title(element),
        "equal": style.equal_aspect(element) and not (log_x or log), "legend": "upper right",
    }  # fmt: skip
    ink = None
    if image is not None:
        frame |= _encode(image, over=len(images) > 1)
        ink = style.ink(frame.pop("cmap"))
        if len(images) > 1:
            frame["under"] = {k: v for k, v in _encode(images[0]).items() if k not in ("cmap", "ticks")}
    drawn = [_layer(k, log) for k in parts if not isinstance(k, hv.Image)]
    if image is None:
        xy = np.concatenate([k["xy"][:, :2] for k in drawn] or [np.empty((0, 2))])
        if log:
            xy[~(xy[:, 1] >= _floor(drawn))] = np.nan
        if log_x:
            xy[~(xy[:, 0] > 0)] = np.nan
        frame["range"] = [*_around(xy[:, 0], x, 0.0, log_x), *_around(xy[:, 1], y, 0.06, log)]
        frame["legend"] = _corner(drawn, frame)
        for part, layer in zip(parts, drawn, strict=True):
            if layer["kind"] == "points" and part.vdims:
                frame |= _coloured(part, layer)
    count, inks = 0, {}
    # Bands last: they have the ink of the curve with their label, and no line of their own in the legend.
    for layer in sorted(drawn, key=lambda k: k["kind"] == "band"):
        if layer["kind"] == "arrows":
            layer["xy"] = _arrows(layer["xy"], frame["range"], frame["equal"])
        layer["xy"] = np.asarray(layer["xy"], "<f8").tobytes()
        layer |= {"ink": ink[0], "rim": ink[1], "dash": []} if ink else {"ink": "", "rim": "", "dash": []}
        # Lines are told apart by their pattern over a picture, else by their colour.
        dashed, own, kind, label = layer.pop("dashed"), layer.pop("own"), layer["kind"], layer["label"]
        if kind == "band" and label in inks:
            layer |= {"ink": inks[label], "label": ""}
        elif kind in ("path", "curve", "band") or (not ink and kind != "text"):
            which = count if own < 0 else own
            if not ink:
                layer["ink"] = style.LINES[which % len(style.LINES)]
            turn = 1 if dashed else which if ink else which // len(style.LINES)
            layer["dash"] = list(style.DASHES[turn % len(style.DASHES)])
            count += own < 0
            if kind == "curve":
                inks.setdefault(label, layer["ink"])
    return {**frame, "layers": drawn}


def pack(frame: dict[str, Any]) -> dict[str, Any]:
    """A frame of `frame_of` whose large pictures are deflated, to a third or less, for a slow link."""
    if "under" in frame:
        frame = {**frame, "under": pack(frame["under"])}
    if len(frame.get("codes", b"")) <= LARGE or "packed" in frame:
        return frame
    codes = codes_of(frame)
    if not frame["whole"]:
        # Of a smooth field, second differences are small, and their upper bytes nearly all the same.
        steps = np.diff(codes, axis=1, prepend=np.zeros((len(codes), 1), "<u2"))
        steps = np.diff(steps, axis=0, prepend=np.zeros((1, codes.shape[1]), "<u2"))
        signed = (steps << np.uint16(1)) ^ -(steps >> np.uint16(15))
        codes = signed.astype("<u2").ravel().view(np.uint8).reshape(-1, 2).T
    return {**frame, "codes": zlib.compress(np.ascontiguousarray(codes).tobytes(), 1), "packed": True}


def codes_of(frame: dict[str, Any]) -> np.ndarray:
    """(h, w) uint16 codes of a picture, whether it is packed or not."""
    shape = frame["h"], frame["w"]
    if "packed" not in frame:
        return np.frombuffer(frame["codes"], "<u2").reshape(shape)
    data = zlib.decompress(frame["codes"])
    if frame["whole"]:
        return np.frombuffer(data, "<u2").reshape(shape)
    low, high = np.frombuffer(data, np.uint8).astype("<u2").reshape(2, *shape)
    signed = low | (high << np.uint16(8))
    steps = (signed >> np.uint16(1)) ^ -(signed & np.uint16(1))
    return steps.cumsum(0, dtype="<u2").cumsum(1, dtype="<u2")


def _corner(drawn: list[dict[str, Any]], frame: dict[str, Any]) -> str:
    """Where the legend stands: at the upper right, or in the first corner where it covers the fewest curves."""
    names = {k["label"] for k in drawn if k["label"] and k["kind"] in ("path", "curve", "points", "band")}
    # Of a small view, 230 by 150 pixels; there is more room in others.
    high, wide = 0.03 + 0.12 * len(names), min((45 + 6.3 * max(map(len, names), default=0)) / 230, 0.95)
    covered = dict.fromkeys(("upper right", "upper left", "lower right", "lower left"), 0)
    for layer in drawn:
        shares = []
        for k, (low, top) in enumerate((frame["range"][:2], frame["range"][2:])):
            values, axis = layer["xy"][:, k], frame["xy"[k]]
            if axis["log"]:
                low, top, values = np.log(low), np.log(top), np.log(np.where(values > 0, values, np.nan))
            share = (values - low) / (top - low)
            shares.append(1 - share if axis["reverse"] else share)
        x, y = shares
        seen = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
        for corner in covered:
            up, side = (1 - y if "upper" in corner else y), (1 - x if "right" in corner else x)
            covered[corner] += bool((seen & (up < high) & (side < wide)).any())
    return min(covered, key=lambda corner: covered[corner])


def _coloured(element: hv.Points, layer: dict[str, Any]) -> dict[str, Any]:
    """Gives points their colours, ``rgb``; the colour bar that belongs to them."""
    z: Any = element.vdims[0]
    values = np.asarray(element.interface.values(element, z), float)
    scale: Any = getattr(z, "scale", "linear")
    low, high = z.range if None not in z.range else style.limits_of(values, scale)
    lut = style.colours(getattr(z, "cmap", "viridis"))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.log(values / low) / np.log(high / low) if scale == "log" else (values - low) / (high - low)
    known = np.isfinite(share)
    rgb = lut[np.rint(255 * np.clip(np.where(known, share, 0), 0, 1)).astype(int)]
    layer["rgb"] = np.where(known[:, None], rgb, np.uint8(128)).astype(np.uint8).tobytes()
    ticks, base = _ticks(float(low), float(high), scale == "log", False)
    words = _axis(z)
    if base:
        words["label"] += f" {'−' if base > 0 else '+'} {abs(base):,.15g}"
    return {
        "lut": lut.tobytes(), "z": words, "ticks": ticks, "low": float(low), "high": float(high),
        "log": scale == "log",
    }  # fmt: skip


def _axis(dimension) -> dict[str, Any]:
    return {
        "name": dimension.label, "unit": dimension.unit or "", "label": dimension.pprint_label,
        "reverse": getattr(dimension, "reverse", False),
    }  # fmt: skip


def _around(values: np.ndarray, dimension, pad: float, log: bool = False) -> tuple[float, float]:
    """The range that holds all values, with a margin; the dimension's own where it has one."""
    if None not in dimension.range and (not log or dimension.range[0] > 0):
        return float(dimension.range[0]), float(dimension.range[1])
    values = np.log10(values) if log else values
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    margin = pad * (high - low) if high > low else (0.5 if log else (abs(low) or 1.0) * 0.5)
    low, high = float(low - margin), float(high + margin)
    return (10**low, 10**high) if log else (low, high)


def _floor(drawn: list[dict[str, Any]]) -> float:
    """What a logarithmic axis need not reach below: a band may well go down to zero."""
    lines = [k["xy"][:, 1] for k in drawn if k["kind"] != "band"] or [k["xy"][:, 1] for k in drawn]
    found = np.concatenate([*lines, [np.inf]])
    return max(float(found[found > 0].min()) / 10, TINY)


def _encode(image: hv.Image, over: bool = False) -> dict[str, Any]:
    """The image as 16-bit codes, bottom row first: 0 is no value, 1 to 65535 run over the colour scale.

    A count of zero ``over`` another picture is no value, or it would hide what lies below.
    """
    bounds: Any = image.bounds
    x0, y0, x1, y1 = map(float, bounds.lbrt())
    z = image.vdims[0]
    scale: Any = getattr(z, "scale", "linear")
    cmap = getattr(z, "cmap", "viridis")
    values: Any = image.interface.values(image, z, flat=False)
    low, high = z.range if None not in z.range else style.limits_of(values, scale)
    a, b = (np.log(low), np.log(high)) if scale == "log" else (low, high)
    # float32 is twice as fast, and enough for what is float32 or a count itself
    narrow = values.dtype.itemsize <= 4 and 1e-30 < b - a < 1e30
    real = np.float32 if narrow else np.float64
    whole = values.dtype.kind in "iu"
    none = values == 0 if over and whole else None
    values = values.astype(real, copy=False)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = np.log(values) if scale == "log" else values
        unit = (values - real(a)) * real(65534 / (b - a)) + real(1)
    # log(0) is minus infinity: no value, not the lowest colour; what lies far beyond the scale has the last one
    code = np.where(np.isfinite(values), np.clip(unit, 1, 65535), real(0)).astype("<u2")
    if none is not None:
        code[none] = 0
    ticks, base = _ticks(float(low), float(high), scale == "log", whole)
    words = _axis(z)
    if base:
        words["label"] += f" {'−' if base > 0 else '+'} {abs(base):,.15g}"
    return {
        "codes": code.tobytes(), "w": code.shape[1], "h": code.shape[0], "low": float(low), "high": float(high),
        "log": scale == "log", "whole": whole, "lut": style.colours(cmap).tobytes(), "cmap": cmap, "z": words,
        "ticks": ticks, "range": [x0, x1, y0, y1],
    }  # fmt: skip


@lru_cache
def _ticks(low: float, high: float, log: bool, whole: bool) -> tuple[list, float]:
    return style.bar_ticks(low, high, log=log, whole=whole)


def _layer(element, log: bool) -> dict[str, Any]:
    """One vector layer: its kind and coordinates, shape (N, 2); paths are parted by NaN, arrows (x, y, angle, size)."""
    words = ""
    if isinstance(element, hv.VectorField):
        kind, xy = "arrows", _columns(element, 4)
    elif isinstance(element, hv.Text):
        kind, xy, words = "text", np.array([element.data[:2]], float), str(element.data[2]).strip()
    elif isinstance(element, hv.Path):
        gap = np.full((1, 2), np.nan)
        kind = "contours" if isinstance(element, hv.Contours) else "path"
        xy = np.concatenate([a for piece in _pieces(element) for a in (piece, gap)] or [gap])
    elif isinstance(element, hv.Area | hv.Spread):
        kind, xy = "band", _band(element, log)
    elif isinstance(element, hv.Points | hv.Scatter | hv.Curve):
        kind, xy = "curve" if isinstance(element, hv.Curve) else "points", _columns(element, 2)
    else:
        raise TypeError(f"Expected Image, Curve, Area, Spread, Points, Scatter, Path, Contours, VectorField or Text, "
                        f"got {type(element).__name__}; draw it as one of these.")  # fmt: skip
    own = getattr(element.dimensions()[1], "ink", -1)
    return {
        "kind": kind, "xy": xy, "label": element.label, "text": words, "dashed": element.group == style.DASHED,
        "own": own,
    }  # fmt: skip


def _band(element: Any, log: bool) -> np.ndarray:
    """(N, 2) outlines of a band, one for each stretch without a gap, parted by NaN."""
    columns = _columns(element, len(element.dimensions())).T
    if isinstance(element, hv.Spread):
        x, y, down, up = *columns[:3], columns[-1]
        low, high = y - down, y + up
    else:
        x, low, high = *columns[:2], columns[2] if len(columns) > 2 else 0 * columns[1]
    if log:
        low, high = np.minimum(low, high), np.maximum(low, high)
        low, high = np.where(low > 0, low, TINY), np.where(high > 0, high, np.nan)
    seen = np.isfinite(x + low + high)
    gap, pieces = np.full((1, 2), np.nan), []
    for run in np.split(np.arange(len(x)), np.flatnonzero(np.diff(seen)) + 1):
        if len(run) and seen[run[0]]:
            pieces += [np.c_[x[run], low[run]], np.c_[x[run], high[run]][::-1], gap]
    return np.concatenate(pieces or [gap])


def _columns(element: Any, n: int) -> np.ndarray:
    """(N, n) first columns of an element."""
    return np.stack([np.asarray(element.interface.values(element, d), float) for d in element.dimensions()[:n]], -1)


def _pieces(element: Any) -> list[np.ndarray]:
    """(N, 2) coordinates of each piece of a path."""
    names = [d.name for d in element.kdims]
    if isinstance(element.data, list) and all(isinstance(k, dict) for k in element.data):
        return [np.stack([k[n] for n in names], -1) for k in element.data]
    return element.split(datatype="array", dimensions=names)  # 3 ms a piece


def _arrows(xy: np.ndarray, seen: list[float], equal: bool) -> np.ndarray:
    """(N, 4) starts and extents of arrows whose middles, angles and sizes are given; the longest fill their cells."""
    x, y, angle, size = xy.T
    wide, high = ((seen[1] - seen[0]), (seen[3] - seen[2]))
    if equal:
        wide = high = np.sqrt(wide * high)
    length = 0.85 * size / np.sqrt(max(len(x), 1)) / (size.max() if size.size and size.max() else 1)
    dx, dy = wide * length * np.cos(angle), high * length * np.sin(angle)
    return np.stack([x - dx / 2, y - dy / 2, dx, dy], -1)
