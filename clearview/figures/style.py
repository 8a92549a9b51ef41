"""The look of every figure: colour maps, scales, limits, and the saved picture."""

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import holoviews as hv
import numpy as np
import param
from astropy import units as u

Scale = Literal["linear", "log", "diverging"]
CMAPS = {"linear": "viridis", "log": "viridis", "diverging": "RdBu_r"}
"""Perceptually uniform and safe for colour-blind eyes; a diverging scale is centred on zero."""

LINES = ("#3987d9", "#e08a00", "#1f9e77", "#c7599b")
"""Line colours that keep their contrast on white and on black."""


class Named(hv.Dimension):
    """A HoloViews dimension that knows how it is coloured, so that a picture needs no other options.

    Args:
        scale: "linear", "log" or "diverging"; ``range`` holds the colour limits.
        cmap: name of a matplotlib colour map.
    """

    scale = param.Selector(default="linear", objects=list(CMAPS))
    cmap = param.String(default="viridis")
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
    """The dimension of an array or coordinate, from its name and its ``long_name`` and ``units`` attributes."""
    # Kept, since HoloViews takes half a millisecond for one and a picture needs seven.
    name = str(data.name)
    return _dimension(name, str(data.attrs.get("long_name") or name), data.attrs.get("units", ""), **params)


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
        percent: share of the values left beyond each end, in percent.

    Returns:
        ``(low, high)`` with ``low < high``.
    """
    values = np.asarray(values)
    # A sample of the pixels is enough for a percentile, and keeps this within a millisecond.
    values = values[tuple(slice(None, None, max(1, n // 150)) for n in values.shape)]
    values = values[np.isfinite(values) & (values > 0)] if scale == "log" else values[np.isfinite(values)]
    if not values.size:
        return {"linear": (0.0, 1.0), "log": (1.0, 10.0), "diverging": (-1.0, 1.0)}[scale]
    if scale == "diverging":
        high = float(np.percentile(np.abs(values), 100 - percent)) or 1.0
        return -high, high
    low, high = (float(v) for v in np.percentile(values, [percent, 100 - percent]))
    if high > low:
        return low, high
    return (low, 10 * low) if scale == "log" else (low, low + (abs(low) or 1.0) * 1e-3)


def raster(element) -> hv.Image | None:
    """The image of an element or overlay."""
    return next((layer for layer in layers(element) if isinstance(layer, hv.Image)), None)


def layers(element) -> list[Any]:
    """The elements of an overlay, bottom first; an element is its own only layer."""
    return list(element) if isinstance(element, hv.Overlay | hv.NdOverlay) else [element]


def equal_aspect(element) -> bool:
    """Whether both axes carry the same unit, so that a circle has to be round."""
    x, y = layers(element)[0].dimensions()[:2]
    return bool(x.unit) and x.unit == y.unit


def title(element) -> str:
    """What stands above a picture: its own label and that of its arrows."""
    labelled = [element, *(k for k in layers(element) if isinstance(k, hv.Image | hv.VectorField))]
    return "; ".join(dict.fromkeys(k.label for k in labelled if k.label))


def _options(element) -> dict[str, dict[str, Any]]:
    """Options of the matplotlib backend that give a saved picture the look of the live one."""
    image = raster(element)
    plain = {"aspect": "equal" if equal_aspect(element) else 1.0 if image is not None else 1.8}
    line, rim = (LINES[0], "none") if image is None else ink(getattr(image.vdims[0], "cmap", "viridis"))
    rimmed = {"color": line, "edgecolor": rim, "linewidth": 0.6} if image is not None else {}
    found: dict[str, dict[str, Any]] = {
        "VectorField": {**rimmed, **plain},
        "Points": {**rimmed, "s": 40 if rimmed else 12, **plain},
        "Text": {"color": line} if rimmed else {},
        "Path": {"color": line, **plain},
        "Curve": {"color": hv.Cycle(list(LINES)), "show_grid": True, **plain},
        "Overlay": {
            "title": title(element),
            "legend_position": "top_right",
            "show_legend": image is None,
            "fig_inches": 5,
            **plain,
        },
    }
    if image is not None:
        z: Any = image.vdims[0]
        clim = tuple(z.range) if None not in z.range else limits_of(image.dimension_values(2, flat=False))
        found["Image"] = {
            **plain,
            "cmap": getattr(z, "cmap", "viridis"),
            "clim": clim,
            "logz": getattr(z, "scale", "") == "log",
            "colorbar": True,
            "clabel": z.pprint_label,
            "fig_inches": 5,
        }
    return found


def save_figure(
    element, path: str | Path | IO[bytes], *, overwrite: bool = False, dpi: int = 150, fmt: str = "png"
) -> None:
    """Save an element as a picture, drawn by matplotlib without a browser.

    Args:
        element: any element or overlay of this package.
        path: file ending in ``.png``, ``.svg`` or ``.pdf``, or an open binary file.
        overwrite: replace a file that is already there.
        dpi: dots an inch; the picture is about 5 inches high.
        fmt: the format where ``path`` is an open file.

    Raises:
        FileExistsError: if the file is there and ``overwrite`` is false.
        ValueError: if the ending is none of the three.
    """
    if isinstance(path, str | Path):
        path = Path(path)
        fmt = path.suffix[1:].lower()
        if fmt not in ("png", "svg", "pdf"):
            raise ValueError(f"Expected a path ending in .png, .svg or .pdf, got {path.name!r}; change its ending.")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} is already there; give another name, or overwrite=True to replace it.")
    import holoviews.plotting.mpl  # noqa: F401  (registers the backend; hv.extension would write to the notebook)

    styled = element.opts(_options(element), backend="matplotlib", clone=True)
    buffer = BytesIO()
    hv.save(styled, buffer, fmt=fmt, backend="matplotlib", dpi=dpi)
    path.write_bytes(buffer.getvalue()) if isinstance(path, Path) else path.write(buffer.getvalue())
