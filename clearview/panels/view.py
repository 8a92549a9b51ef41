"""One small canvas that shows a HoloViews picture in the notebook, quickly.

A picture travels as one 16-bit frame with its axes, colours and vector layers, and is ordinary widget state: showing
it again, in a second view or after a reload, always gives the newest one.
"""

import base64
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import anywidget
import holoviews as hv
import numpy as np
import traitlets as T

from clearview.figures import style

_HERE = Path(__file__).parent


class RasterView(anywidget.AnyWidget):
    """A picture with axes, colour bar, hover, pan and zoom.

    Args:
        width: the longer side of the plot in CSS pixels (the axes need some 160 pixels more).
        height: its other side where the axes have no common unit; by default the same.
        name: CSS class of the canvas.

    Attributes:
        range: ``[x0, x1, y0, y1]`` of what is seen, set from the browser by pan and zoom and by you; empty for home.
        frame: what is on the screen.
        message: what is said while there is no picture.
    """

    _esm = _HERE / "view.js"
    _css = _HERE / "view.css"
    width = T.Int(480).tag(sync=True)
    height = T.Int(480).tag(sync=True)
    name = T.Unicode("cv-plot").tag(sync=True)
    range = T.List().tag(sync=True)
    frame = T.Dict().tag(sync=True)
    message = T.Unicode("").tag(sync=True)

    def __init__(self, width: int = 480, height: int | None = None, *, name: str = "cv-plot", **kwargs):
        self._drawn, self._answers, self._seq = threading.Event(), False, 0
        super().__init__(width=width, height=height or width, name=name, **kwargs)
        self.on_msg(self._on_message)

    def _on_message(self, _, content, __) -> None:
        if "drawn" in content:
            self._answers = True
            if content["drawn"] >= self._seq:
                self._drawn.set()

    def show(self, element, tag: Any = "", **extra) -> None:
        """Send an element or overlay to the screen, at most as fast as the browser draws.

        Args:
            element: with an image, a picture; without, a plot of curves and points.
            tag: any short text, found again as ``data-tag`` of the canvas.
            **extra: more ``data-`` attributes.

        Raises:
            TypeError: if a layer is of a kind that cannot be drawn.
        """
        frame = frame_of(element)
        # Wait for the last frame to be drawn, so that frames do not queue; a browser that left is not waited for again.
        if self._answers and not self._drawn.wait(1.0):
            self._answers = False
        self._seq += 1
        self._drawn.clear()
        home = frame["range"] if not self.range or not self.frame else self.frame["home"]
        data = {"seq": self._seq, "tag": f"{tag:g}" if isinstance(tag, float) else str(tag), **extra}
        self.frame = {**frame, "home": home, "data": data}

    def clear(self, message: str = "") -> None:
        """Take the picture away and say why."""
        self.message, self.frame = message, {}

    def close(self) -> None:
        """Remove the view; whoever waits in `show` goes on."""
        self._answers = False
        self._drawn.set()
        super().close()

    def png(self) -> bytes:
        """The current frame with its axes as a PNG file, for pages without a kernel; empty without a picture."""
        return _png(self.frame) if self.frame else b""

    def _repr_mimebundle_(self, **kwargs):
        return with_png(super()._repr_mimebundle_(**kwargs), self)


def with_png(bundle, view: RasterView):
    """A widget's MIME bundle with the preview that GitHub, nbviewer and nbconvert show."""
    data, *metadata = bundle if isinstance(bundle, tuple) else (bundle or {},)
    if png := view.png():
        data = {**data, "image/png": base64.b64encode(png).decode()}
    return (data, *metadata) if metadata else data


def frame_of(element) -> dict[str, Any]:
    """Everything the browser needs to draw an element, as plain numbers, texts and bytes.

    Raises:
        TypeError: if a layer is of a kind that cannot be drawn.
    """
    parts, image = style.layers(element), style.raster(element)
    x, y = parts[0].dimensions()[:2]
    frame: dict[str, Any] = {
        "x": _axis(x), "y": _axis(y), "title": style.title(element), "equal": style.equal_aspect(element),
    }  # fmt: skip
    if image is not None:
        bounds: Any = image.bounds
        x0, y0, x1, y1 = map(float, bounds.lbrt())
        frame |= {"range": [x0, x1, y0, y1], **_encode(image)}
    else:
        ranges = [k.range(d) for k in parts for d in (0, 1)]
        frame["range"] = [*_around(ranges[::2], 0.0), *_around(ranges[1::2], 0.06)]
    if image is not None and len(parts) == 1:
        return {**frame, "layers": []}
    a, b, c, d = frame["range"]
    frame["layers"] = [_layer(k, (b - a) * (d - c)) for k in parts if k is not image]
    return frame


def _axis(dimension) -> dict[str, str]:
    return {"name": dimension.label, "unit": dimension.unit or "", "label": dimension.pprint_label}


def _around(ranges, pad: float) -> tuple[float, float]:
    """The range that holds all ranges, with a margin."""
    flat = np.array([r for r in ranges if all(v is not None and np.isfinite(v) for v in r)], float)
    low, high = (flat.min(), flat.max()) if flat.size else (0.0, 1.0)
    margin = pad * (high - low) if high > low else (abs(low) or 1.0) * 0.5
    return float(low - margin), float(high + margin)


def _encode(image: hv.Image) -> dict[str, Any]:
    """The image as 16-bit codes, bottom row first: 0 is no value, 1 to 65535 run over the colour scale."""
    z = image.vdims[0]
    scale: Any = getattr(z, "scale", "linear")
    cmap = getattr(z, "cmap", "viridis")
    values = image.dimension_values(2, flat=False)
    counts = values.dtype.kind in "iu"
    values = np.asarray(values, np.float32)
    low, high = z.range if None not in z.range else style.limits_of(values, scale)
    if scale == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = np.log(values)
        a, b = np.log(low), np.log(high)
    else:
        unit, a, b = values, low, high
    unit = (unit - np.float32(a)) * np.float32(65534 / (b - a)) + np.float32(1)
    # log(0) is minus infinity: no value, not the lowest colour
    code = np.where(np.isfinite(unit), np.clip(unit, 1, 65535), np.float32(0)).astype("<u2")
    return {
        "codes": code.tobytes(), "w": code.shape[1], "h": code.shape[0], "low": float(low), "high": float(high),
        "log": scale == "log", "smooth": not counts,
        "lut": style.colours(cmap).tobytes(), "ink": style.ink(cmap), "z": _axis(z),
    }  # fmt: skip


def _layer(element, area: float) -> dict[str, Any]:
    """One vector layer as flat float32 coordinates; paths are parted by NaN, arrows are (x, y, dx, dy)."""
    text = ""
    if isinstance(element, hv.VectorField):
        x, y, angle, size = (element.dimension_values(i) for i in range(4))
        length = 0.85 * np.sqrt(area / max(len(x), 1)) * size / (size.max() if size.size and size.max() else 1)
        dx, dy = length * np.cos(angle), length * np.sin(angle)
        kind, xy = "arrows", np.stack([x - dx / 2, y - dy / 2, dx, dy], -1)
    elif isinstance(element, hv.Text):
        kind, xy, text = "text", np.array(element.data[:2], float), str(element.data[2]).strip()
    elif isinstance(element, hv.Path):  # contours too
        gap, pieces = np.full((1, 2), np.nan), list[Any](element.split())
        kind, xy = "path", np.concatenate([a for p in pieces for a in (p.array([0, 1]), gap)] or [gap])
    elif isinstance(element, hv.Points | hv.Scatter | hv.Curve):
        kind = "curve" if isinstance(element, hv.Curve) else "points"
        xy = np.stack([element.dimension_values(i) for i in (0, 1)], -1)
    else:
        raise TypeError(f"Expected Image, Curve, Points, Scatter, Path, Contours, VectorField or Text, "
                        f"got {type(element).__name__}; draw it as one of these.")  # fmt: skip
    return {"kind": kind, "xy": np.asarray(xy, "<f4").tobytes(), "label": element.label, "text": text}


def _png(frame: dict[str, Any]) -> bytes:
    # By matplotlib itself: the plotting code of HoloViews takes seconds to load, too long before a first picture.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    figure = Figure((6, 5), layout="compressed")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot(xlabel=frame["x"]["label"], ylabel=frame["y"]["label"])
    ax.set_title(frame["title"], loc="left", fontsize="medium")
    ax.set(xlim=frame["range"][:2], ylim=frame["range"][2:])
    ink: dict[str, Any] = {}
    if "codes" in frame:
        code = np.frombuffer(frame["codes"], "<u2").reshape(frame["h"], frame["w"])
        rgba = np.full((*code.shape, 4), 255, np.uint8)
        lut = np.frombuffer(frame["lut"], np.uint8).reshape(256, 3)
        rgba[..., :3], rgba[..., 3] = lut[code >> 8], np.where(code, 255, 0)
        ax.imshow(rgba, origin="lower", extent=frame["range"], aspect="equal" if frame["equal"] else "auto")
        norm = (LogNorm if frame["log"] else Normalize)(frame["low"], frame["high"])
        figure.colorbar(ScalarMappable(norm, ListedColormap(lut / 255)), ax=ax, label=frame["z"]["label"])
        ink = {"color": frame["ink"][0], "path_effects": [withStroke(linewidth=2, foreground=frame["ink"][1])]}
    for layer in frame["layers"]:
        xy = np.frombuffer(layer["xy"], "<f4")
        if layer["kind"] == "arrows":
            x, y, dx, dy = xy.reshape(-1, 4).T
            ax.quiver(x, y, dx, dy, angles="xy", scale_units="xy", scale=1, width=0.004, **ink)
        elif layer["kind"] == "text":
            ax.annotate(layer["text"], (xy[0], xy[1]), (6, 6), textcoords="offset points", **ink)
        else:
            line = {"points": "o", "path": "-", "curve": "-"}[layer["kind"]]
            ax.plot(*xy.reshape(-1, 2).T, line, label=layer["label"], **ink)
            if layer["kind"] == "curve" and layer["label"]:
                ax.legend()
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
