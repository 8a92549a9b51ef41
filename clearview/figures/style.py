"""The look of every figure: colour maps, scales, limits, levels, lines and words."""

from functools import lru_cache
from typing import Any, Literal

import holoviews as hv
import numpy as np
import param
from astropy import units as u

Scale = Literal["linear", "log", "diverging"]
CMAPS = {"linear": "viridis", "log": "viridis", "diverging": "RdBu_r"}
"""Perceptually uniform and safe for colour-blind eyes; a diverging scale is centred on zero."""

LINES = ("#3987d9", "#d17d00", "#1f9e77", "#c7599b", "#8b6fd6", "#8c8600")
"""Line colours that keep their contrast on white and on black."""

DASHES = ((), (7, 4), (2, 3), (8, 3, 2, 3))
"""Patterns of lines in CSS pixels, for lines over a picture and where there are more of them than colours."""

DASHED = "Dashed"
"""The group of a HoloViews curve that is drawn with dashes."""

REVERSED = ("ra", "l")
"""Coordinates on the sky that increase to the left, as the sky is seen from within."""


class Named(hv.Dimension):
    """A HoloViews dimension that knows how it is coloured, so that a picture needs no other options.

    Args:
        scale: "linear", "log" or "diverging"; ``range`` holds the colour limits. A curve's values on "log" have a
            logarithmic axis.
        cmap: name of a matplotlib colour map.
        reverse: whether it increases to the left (as right ascension) or downward (as magnitudes).
        ink: which of `LINES` a line has, so that it keeps its colour whatever else is drawn; -1 takes the next.
    """

    scale = param.Selector(default="linear", objects=list(CMAPS))
    cmap = param.String(default="viridis")
    reverse = param.Boolean(default=False)
    ink = param.Integer(default=-1)
    unit_format = " [{unit}]"


@lru_cache
def pretty_unit(unit: str) -> str | None:
    """``"km2 s-2 kpc-1"`` as "km² kpc⁻¹ s⁻²"; what has no such powers, or astropy cannot read, stays as it is."""
    try:
        return u.Unit(unit).to_string("unicode") if unit.isascii() and set(unit) & set("0123456789") else unit or None
    except ValueError:
        return unit


@lru_cache(maxsize=256)
def _dimension(name: str, label: str, units: str, **params) -> Named:
    return Named((name, label), unit=pretty_unit(units), **params)


def dimension(data, **params) -> Named:
    """The dimension of an array or coordinate, from its name and its attributes.

    ``long_name`` and ``units`` are its words; ``reverse`` (1 or 0) turns its axis round, which by default only the
    longitudes on the sky, ``ra`` and ``l``, are; ``scale`` and ``limits``, (low, high), are those of its axis, ``ink``
    that of a line.
    """
    # Kept, since HoloViews takes a tenth of a millisecond for one and a picture needs seven.
    name, attrs = str(data.name), data.attrs
    reverse = bool(attrs.get("reverse", name in REVERSED))
    own = {"scale": attrs.get("scale"), "range": tuple(attrs["limits"]) if "limits" in attrs else None}
    own["ink"] = attrs.get("ink")
    params = {k: v for k, v in own.items() if v is not None} | params
    return _dimension(name, str(attrs.get("long_name") or name), attrs.get("units", ""), reverse=reverse, **params)


def plane(x, y) -> list[hv.Dimension] | None:
    """The dimensions of two columns that know their names, such as DataArrays; None for plain arrays."""
    return [dimension(x), dimension(y)] if hasattr(x, "attrs") and hasattr(y, "attrs") else None


@lru_cache
def colours(cmap: str) -> np.ndarray:
    """(256, 3) uint8 RGB colours of a matplotlib colour map."""
    import matplotlib

    return (matplotlib.colormaps[cmap](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)


@lru_cache
def ink(cmap: str) -> tuple[str, str]:
    """Colours of lines over a picture, and of their rim: dark where the middle of the colour map is bright."""
    return ("black", "white") if colours(cmap)[128].mean() > 150 else ("white", "black")


def limits_of(values, scale: Scale = "linear", percent: float = 0.5) -> tuple[float, float]:
    """Colour limits that a few wild pixels cannot spoil.

    Args:
        values: array of any shape; what is not finite (for "log": not positive) is left out.
        scale: "diverging" gives limits symmetric about zero.
        percent: share of the values left beyond each end, in percent; none if all between are the same.

    Returns:
        ``(low, high)`` with ``low < high``; around a constant field, half of its value to either side.
    """
    values = np.asarray(values)

    def told(v: np.ndarray) -> np.ndarray:
        return v[np.isfinite(v) & (v > 0)] if scale == "log" else v[np.isfinite(v)]

    # A sample of the pixels is enough for a percentile, and keeps this within a millisecond.
    some = told(values[tuple(slice(None, None, max(1, n // 150)) for n in values.shape)])
    some = (some if some.size > 1000 else told(values)).astype(float)
    if not some.size:
        return {"linear": (0.0, 1.0), "log": (1.0, 10.0), "diverging": (-1.0, 1.0)}[scale]
    noise = 8 * np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    if scale == "diverging":
        high = float(np.percentile(np.abs(some), 100 - percent) or np.abs(told(values)).max()) or 1.0
        return -high, high
    low, high = map(float, np.percentile(some, [percent, 100 - percent]))
    if values.dtype.kind in "iu":
        low, high = np.floor(low).item(), np.ceil(high).item()
    if not high - low > noise * max(abs(low), abs(high)):
        low, high = float(told(values).min()), float(told(values).max())
    if high - low > noise * max(abs(low), abs(high)):
        return low, high
    return (low, 10 * low) if scale == "log" else (low - (abs(low) or 2.0) / 2, low + (abs(low) or 2.0) / 2)


def round_levels(values, scale: Scale = "linear", about: int = 10) -> tuple[np.ndarray, float | None]:
    """Round numbers for contours, between the 2nd and the 98th percentile of the values.

    Args:
        values: array of any shape; what is not finite (for "log": not positive) is left out.
        scale: "log" gives powers of ten, with 2 and 5 between where there is room.
        about: how many are wanted at most; there may be half of them.

    Returns:
        The levels, none for a constant, and the step from one to the next where it is always the same.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values) & (values > 0)] if scale == "log" else values[np.isfinite(values)]
    if not values.size:
        return np.empty(0), None
    low, high = np.percentile(values, [2, 98])
    if not high - low > 1e-6 * max(abs(low), abs(high)):  # what rounding leaves of a constant has no contours
        return np.empty(0), None
    if scale == "log" and high > 10 * low:
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        powers = powers[:: max(1, round(len(powers) / about))]
        marks = [1, 2, 5] if len(powers) <= about / 2 else [1]
        levels = np.outer(powers, marks).ravel()
        return levels[(levels >= low) & (levels <= high)], None
    step = round_step((high - low) / about)
    return step * np.arange(np.ceil(low / step), np.floor(high / step) + 1), step


def round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= 0.999 * least))


def bar_ticks(low: float, high: float, *, log: bool = False, whole: bool = False) -> tuple[list, float]:
    """Ticks of a colour bar, from two to ten.

    Args:
        low: lower end; positive if ``log``.
        high: upper end.
        log: powers of ten, with 2 and 5 or 3 between where there is room; plain steps where not one decade is.
        whole: no fractions, for counts.

    Returns:
        ``[(share of the bar, text), ...]`` and what the texts are relative to: 0, but for a small range around a
        large value, where texts of their own would be all digits.
    """
    across = np.log(high) - np.log(low) if log else high - low
    if log and len(found := _powers(low, high)) > 1:
        return [(float((np.log(v) - np.log(low)) / across), number(v)) for v in found], 0.0
    about = 9.0
    while True:
        step = round_step((high - low) / about)
        step = max(step, 1.0) if whole and np.floor(high) > np.ceil(low) else step
        found = step * np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1)
        if len(found) > 1:
            break
        about *= 1.5
    base = 0.0
    if max(abs(low), abs(high)) > 1e5 * step:
        power = 10.0 ** np.ceil(np.log10(high - low))
        base = float(np.round((low + high) / 2 / power) * power)
    share = ((np.log(found) - np.log(low)) if log else (found - low)) / across
    most = np.abs(found - base).max()
    texts = [number(v - base, step, most) for v in found]
    return list(zip(np.clip(share, 0, 1).tolist(), texts, strict=True)), base


def _powers(low: float, high: float) -> list[float]:
    """Some two to nine of 1, 2, 3 and 5 times powers of ten."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    found: list[float] = []
    for marks, stride in (((1, 2, 5), 1), ((1, 3), 1), *(((1,), k) for k in (1, 2, 3, 5, 10, 20, 50, 100))):
        powers = [m * 10.0**e for e in range(first, last + 1) if e % stride == 0 for m in marks]
        found = [v for v in powers if 0.999 * low <= v <= 1.001 * high]
        if len(found) < 10:
            break
    return found


_SUPER = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, step: float | None = None, most: float | None = None) -> str:
    """A number as it is printed: thousands apart, with a true minus.

    Args:
        value: the number.
        step: the next number's distance, so that as many digits as needed are given; by default four.
        most: the largest of the numbers beside it, which are all written in the same way.
    """
    size = abs(value)
    if size <= (1e-9 * step if step else 0.0):
        return "0"
    most = most or size
    if not 1e-3 <= most < 1e6:
        exponents = [np.floor(np.log10(v) + 1e-9) for v in (size, step or 1e-3 * size)]
        mantissa, power = f"{value:.{int(np.clip(exponents[0] - exponents[1], 0, 9))}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = {"1": "", "-1": "-"}.get(mantissa, f"{mantissa}×") + "10" + str(int(power)).translate(_SUPER)
    elif step:
        text = f"{value:{',' if most >= 1e4 else ''}.{max(0, -int(np.floor(np.log10(step) + 1e-9)))}f}"
    else:
        text = f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"
    return text.replace("-", "−", 1)


def layers(element) -> list[Any]:
    """The elements of an overlay, bottom first; an element is its own only layer."""
    return list(element) if isinstance(element, hv.Overlay | hv.NdOverlay) else [element]


def axes(element) -> list[hv.Dimension]:
    """The two axes; a curve rather than its band names the values."""
    parts = layers(element)
    return next((k for k in parts if not isinstance(k, hv.Area | hv.Spread)), parts[0]).dimensions()[:2]


def equal_aspect(element) -> bool:
    """Whether both axes carry the same unit, so that a circle has to be round; magnitudes know no circles."""
    x, y = axes(element)
    return bool(x.unit) and x.unit == y.unit and x.unit not in ("mag", "dex")


def title(element) -> str:
    """What stands above a picture: its own label and that of its arrows and contours."""
    labelled = [element, *(k for k in layers(element) if isinstance(k, hv.Image | hv.VectorField | hv.Contours))]
    # An overlay of one curve takes its label from it, and there it stands in the legend.
    curves = {k.label for k in layers(element) if k is not element and isinstance(k, hv.Curve | hv.Spread)}
    return "; ".join(dict.fromkeys(k.label for k in labelled if k.label and k.label not in curves))
