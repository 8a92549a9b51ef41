"""One small canvas that shows a HoloViews picture in the notebook, quickly.

A picture travels as one 16-bit frame with its axes, colours and vector layers, and is ordinary widget state: showing
it again, in a second view or after a reload, always gives the newest one. Where the browser is slow to answer, as over
a slow link, large pictures are packed.
"""

import base64
import threading
import time
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets as T

from clearview.checks import number
from clearview.figures import frame_of, pack, picture

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
        tools: what selects beside panning, "box" and "lasso"; none, and there is no tool bar.
        mode: what the hand does, "pan" or one of the tools.
        selection: empty, or ``kind`` ("box" or "lasso"), ``xy``, the corners [x0, y0, x1, y1, ...] of a polygon in the
            units of the axes, and ``op``: whether it is to "replace" what was selected, "add" to it (drawn with shift)
            or "subtract" from it (with alt or ctrl). Set by the hand, for a box also while it is drawn, and by you.
        cursor: ``[x, y]`` of the crosshair in the units of the axes; empty for none.
        follow: whether a click sets the crosshair and a drag or shift with the arrow keys moves it.
    """

    # As text: anywidget watches a path, and what watches holds every view for ever.
    _esm = (_HERE / "view.js").read_text("utf-8")
    _css = (_HERE / "view.css").read_text("utf-8")
    width = T.Int(480).tag(sync=True)
    height = T.Int(480).tag(sync=True)
    name = T.Unicode("cv-plot").tag(sync=True)
    range = T.List().tag(sync=True)
    frame = T.Dict().tag(sync=True)
    message = T.Unicode("").tag(sync=True)
    tools = T.List(T.Enum(("box", "lasso"))).tag(sync=True)
    mode = T.Enum(("pan", "box", "lasso"), "pan").tag(sync=True)
    selection = T.Dict().tag(sync=True)
    cursor = T.List().tag(sync=True)
    follow = T.Bool(False).tag(sync=True)

    def __init__(self, width: int = 480, height: int | None = None, *, name: str = "cv-plot", **kwargs):
        self._drawn, self._answers, self._seq, self._home = threading.Event(), False, 0, []
        self._sent, self._took, self._slow, self._copies = 0.0, 0.0, False, 0
        self._told, self._asked, self._turn = 0, 0, threading.Lock()
        for side, pixels in (("size", width), ("height", width if height is None else height)):
            number(side, pixels, 16, 10_000, whole=True)
        super().__init__(width=width, height=height or width, name=name, **kwargs)
        self.on_msg(self._on_message)

    @T.validate("selection")
    def _whole_selection(self, proposal) -> dict[str, Any]:
        value = proposal["value"]
        if not value:
            return {}
        xy, op = _floats(value.get("xy", ())), value.get("op", "replace")
        known = value.get("kind") in ("box", "lasso") and op in ("replace", "add", "subtract")
        if not known or xy.size < 6 or xy.size % 2 or not np.isfinite(xy).all():
            raise ValueError('Expected {"kind": "box" or "lasso", "xy": [x0, y0, x1, y1, ...]} with three corners or '
                             f"more, got {value}; give those, or {{}} for no selection.")  # fmt: skip
        return {"kind": value["kind"], "xy": xy.tolist(), "op": op}

    @T.validate("cursor")
    def _whole_cursor(self, proposal) -> list[float]:
        value = _floats(proposal["value"])
        if value.shape not in ((0,), (2,)) or not np.isfinite(value).all():
            raise ValueError(f"Expected a cursor [x, y], got {proposal['value']}; give two numbers, or [] for none.")
        return value.tolist()

    def _on_message(self, _, content, __) -> None:
        if "drawn" not in content:
            return
        with self._turn:
            told = content["drawn"]
            if told == self._seq > self._told and self._answers:  # the first answer waits for the page to open
                self._took = (self._took + min(time.monotonic() - self._sent, 0.25)) / 2
                # What is packed comes sooner: back again only where that is soon indeed.
                self._slow = self._took > (0.06 if self._slow else 0.1)
            self._answers, self._told = True, max(self._told, told)
            if told >= self._seq - self._slow:
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
        with self._turn:
            self._asked += 1
            mine = self._asked
        frame = pack(frame_of(element)) if self._slow else frame_of(element)
        # Wait for the last frame to be drawn, so that frames do not queue; over a slow link for the one before it, or
        # each would cost a round trip. A browser that left is not waited for again.
        if self._answers and not self._drawn.wait(1.0):
            self._answers = False
        with self._turn:
            if mine < self._asked:  # another thread asked later, while this one waited: the last one stays
                return
            self._seq += 1
            if not self._slow or self._told < self._seq - 1:
                self._drawn.clear()
        if not self.range or not self._home:
            self._home = frame["range"]
        data = {"seq": self._seq, "tag": f"{tag:g}" if isinstance(tag, float) else str(tag), **extra}
        self._sent = time.monotonic()
        self.frame = {**frame, "home": self._home, "data": data}

    def clear(self, message: str = "") -> None:
        """Take the picture away and say why."""
        self.message, self.frame = message, {}

    def copy(self, text: str) -> None:
        """Put text on the clipboard of the browser that shows the view."""
        self._copies += 1
        self.send({"copy": text, "id": self._copies})

    def close(self) -> None:
        """Remove the view; whoever waits in `show` goes on."""
        self._answers = False
        self._drawn.set()
        super().close()

    def png(self) -> bytes:
        """The current frame with its axes as a PNG file, for pages without a kernel; empty without a picture."""
        return picture(self.frame) if self.frame else b""

    def _repr_mimebundle_(self, **kwargs):
        return with_png(super()._repr_mimebundle_(**kwargs), self)


def _floats(values) -> np.ndarray:
    """(N,) numbers; NaN for what is none."""
    try:
        return np.asarray(values, float).ravel()
    except (TypeError, ValueError):
        return np.array([np.nan])


def with_png(bundle, *views: RasterView):
    """A widget's MIME bundle with the preview that GitHub, nbviewer and nbconvert show: all views side by side."""
    data, *metadata = bundle if isinstance(bundle, tuple) else (bundle or {},)
    if frames := [view.frame for view in views if view.frame]:
        data = {**data, "image/png": base64.b64encode(picture(*frames)).decode()}
    return (data, *metadata) if metadata else data
