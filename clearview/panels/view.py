"""One small canvas that shows a HoloViews picture in the notebook, quickly.

A picture travels as one 16-bit frame with its axes, colours and vector layers, and is ordinary widget state: showing
it again, in a second view or after a reload, always gives the newest one.
"""

import base64
import threading
from pathlib import Path
from typing import Any

import anywidget
import traitlets as T

from clearview.figures import frame_of, picture

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
    tools = T.List().tag(sync=True)
    selection = T.Dict().tag(sync=True)
    frame = T.Dict().tag(sync=True)
    message = T.Unicode("").tag(sync=True)

    def __init__(self, width: int = 480, height: int | None = None, *, name: str = "cv-plot", **kwargs):
        self._drawn, self._answers, self._seq, self._home = threading.Event(), False, 0, []
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
        if not self.range or not self._home:
            self._home = frame["range"]
        data = {"seq": self._seq, "tag": f"{tag:g}" if isinstance(tag, float) else str(tag), **extra}
        self.frame = {**frame, "home": self._home, "data": data}

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
        return picture(self.frame) if self.frame else b""

    def _repr_mimebundle_(self, **kwargs):
        return with_png(super()._repr_mimebundle_(**kwargs), self)


def with_png(bundle, view: RasterView):
    """A widget's MIME bundle with the preview that GitHub, nbviewer and nbconvert show."""
    data, *metadata = bundle if isinstance(bundle, tuple) else (bundle or {},)
    if png := view.png():
        data = {**data, "image/png": base64.b64encode(png).decode()}
    return (data, *metadata) if metadata else data
