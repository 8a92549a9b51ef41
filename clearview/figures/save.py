"""Pictures for files and for pages without a kernel: what the browser draws, drawn by matplotlib."""

import re
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import IO, Any, NamedTuple

import holoviews as hv
import numpy as np

from clearview.checks import a, number
from clearview.figures import style
from clearview.figures.frame import codes_of, frame_of

EMPTY = "#d4d4d4"
"""The ground of a picture where there is no value: no colour of a scale."""

BAND = 0.25
"""Opacity of a band."""

_PX = 0.75
"""Points in a CSS pixel."""


def save_figure(
    element, path: str | Path | IO[bytes], *, overwrite: bool = False, dpi: int = 150, fmt: str = "png"
) -> None:
    """Save an element as a picture, drawn by matplotlib without a browser.

    Args:
        element: any element or overlay of this package, or a layout of them.
        path: file ending in ``.png``, ``.svg`` or ``.pdf``, or an open binary file.
        overwrite: replace a file that is already there.
        dpi: dots an inch; the longer side of the plot is 5 inches.
        fmt: the format where ``path`` is an open file.

    Raises:
        FileExistsError: if the file is there and ``overwrite`` is false.
        TypeError: if a layer is of a kind that cannot be drawn.
        ValueError: if the ending is none of the three.
    """
    if isinstance(path, str | Path):
        path = Path(path)
        fmt = path.suffix[1:].lower()
        if fmt not in ("png", "svg", "pdf"):
            raise ValueError(f"Expected a path ending in .png, .svg or .pdf, got {path.name!r}; change its ending.")
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"Expected a new file, got {path}, which is already there; pass overwrite=True to replace it."
            )
    number("dpi", dpi, 1, 10_000)
    many = isinstance(a(element, hv.core.Dimensioned, "an element"), hv.Layout)
    frames = [frame_of(k) for k in (element if many else [element])]
    data = picture(*frames, fmt=fmt, dpi=dpi, columns=element._max_cols if many else 4)
    path.write_bytes(data) if isinstance(path, Path) else path.write(data)


class Still(NamedTuple):
    """A picture that a notebook shows; ``png`` are its bytes."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"A picture of {len(self.png):,} bytes"


def show(*elements, dpi: int = 96) -> Still:
    """Elements side by side, or one layout in its rows, as by `save_figure`, for a notebook's last line of a cell.

    Raises:
        TypeError: if a layer is of a kind that cannot be drawn.
        ValueError: if there is no element.
    """
    if not elements:
        raise ValueError("Expected one or more elements, got none; pass what is to be shown.")
    layout: Any = elements[0] if len(elements) == 1 and isinstance(elements[0], hv.Layout) else None
    columns = len(elements) if layout is None else layout._max_cols
    return Still(picture(*(frame_of(k) for k in layout or elements), dpi=dpi, columns=columns))


def picture(*frames: dict[str, Any], fmt: str = "png", dpi: int = 96, columns: int = 4) -> bytes:
    """Frames of `frame_of` as the bytes of one picture on white, with axes, colour bars and titles, in rows."""
    buffer = BytesIO()
    draw(*frames, columns=columns).savefig(buffer, format=fmt, dpi=dpi)
    return buffer.getvalue()


def draw(*frames: dict[str, Any], columns: int = 4) -> Any:
    """Frames of `frame_of` as a matplotlib figure, in rows of so many."""
    # By matplotlib itself: the plotting code of HoloViews takes seconds to load, too long before a first picture.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [frames[i : i + columns] for i in range(0, len(frames), columns)]
    sizes = [[_size(frame)[2:4] for frame in row] for row in rows]
    wide = [max(row[i][0] for row in sizes if i < len(row)) for i in range(len(rows[0]))]
    high = [max(size[1] for size in row) for row in sizes]
    # What is compressed knows of no parts.
    layout = "compressed" if len(frames) == 1 else "constrained"
    figure = Figure((sum(wide) / 96, sum(high) / 96), layout=layout)
    FigureCanvasAgg(figure)
    if len(frames) == 1:
        _plot(frames[0], figure)
        return figure
    parts = figure.subfigures(len(rows), len(wide), squeeze=False, width_ratios=wide, height_ratios=high)
    for row, own in zip(rows, parts, strict=True):
        for frame, part in zip(row, own, strict=False):
            _plot(frame, part)
    return figure


def _size(frame: dict[str, Any]) -> tuple[float, float, float, float, str]:
    """Width and height of the plot and of all of it, CSS pixels, and its title in lines that fit."""
    x0, x1, y0, y1 = frame["range"]
    raster, bar = "codes" in frame, "lut" in frame
    width = height = 480 if raster else 300
    if frame["equal"]:
        longest = max(x1 - x0, y1 - y0)
        width, height = (480 * max(0.25, side / longest) for side in (x1 - x0, y1 - y0))
    elif not raster:
        width = 480
    title = _wrapped(frame["title"], int(width + 100) // 7)
    high = height + 60 + 18 * (title.count("\n") + 1 if title else 0)
    return width, height, width + (160 if bar else 80), high, title


def _plot(frame: dict[str, Any], figure) -> None:
    """Draw a frame into a matplotlib figure, or a part of one."""
    x0, x1, y0, y1 = frame["range"]
    raster = "codes" in frame
    width, height, *_, title = _size(frame)
    round_circles = frame["equal"] and min(width, height) > 120
    ax = figure.add_subplot(xlabel=frame["x"]["label"], ylabel=frame["y"]["label"], xlim=(x0, x1), ylim=(y0, y1))
    ax.set_title(title, loc="left", fontsize=10)
    if raster:
        _image(figure, ax, frame, height)
    else:
        ax.grid(alpha=0.25)
        if "lut" in frame:
            _bar(figure, ax, frame, height)
    for axis, low, high in ((ax.xaxis, x0, x1), (ax.yaxis, y0, y1)):
        if frame[axis.axis_name]["log"]:
            ticks, _ = style.bar_ticks(low, high, log=True)
            ax.set(**{f"{axis.axis_name}scale": "log"})
            axis.set_ticks([low * (high / low) ** share for share, _ in ticks], labels=[words for _, words in ticks])
            axis.set_tick_params(which="minor", length=0)
    for layer in frame["layers"]:
        _layer(ax, layer, raster, ((x1 - x0) / width, (y1 - y0) / height))
    ax.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal" if round_circles else "auto")
    for name, turn in (("x", ax.invert_xaxis), ("y", ax.invert_yaxis)):
        if frame[name]["reverse"]:
            turn()
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        legend = ax.legend(handles, labels, loc=frame["legend"], frameon=not raster, fontsize=9)
        one = frame["layers"][0]
        for words in legend.get_texts() if raster else ():
            words.set(color=one["ink"], path_effects=_rim(one, 3.0, 0.9), weight="bold")


def _wrapped(title: str, room: int) -> str:
    """A title in lines of so many letters: broken at its semicolons, and between words where that is not enough."""
    lines: list[str] = []
    for part in re.split("(?<=;) ", title):
        for words in [part] if len(part) <= room else wrap(part, room):
            if lines and len(lines[-1]) + 1 + len(words) <= room:
                lines[-1] += f" {words}"
            else:
                lines.append(words)
    return "\n".join(lines)


def _image(figure, ax, frame, height) -> None:
    ax.set_facecolor(EMPTY)
    for raster in (frame.get("under"), frame):
        if raster:
            code = codes_of(raster)
            lut = np.frombuffer(raster["lut"], np.uint8).reshape(256, 3)
            rgba = np.concatenate([lut[code >> 8], np.where(code, 255, 0).astype(np.uint8)[..., None]], -1)
            smooth = "bilinear" if not raster["whole"] and raster["w"] >= 48 else "auto"
            ax.imshow(rgba, origin="lower", extent=raster["range"], interpolation=smooth)
    _bar(figure, ax, frame, height)


def _bar(figure, ax, frame, height) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    lut = np.frombuffer(frame["lut"], np.uint8).reshape(256, 3)
    norm = (LogNorm if frame["log"] else Normalize)(frame["low"], frame["high"])
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(lut / 255)), ax=ax, label=frame["z"]["label"], aspect=30)
    kept = [frame["ticks"][0]]
    for tick in frame["ticks"][1:]:
        kept += [tick] if (tick[0] - kept[-1][0]) * height > 15 else []
    shares, texts = zip(*kept, strict=True)
    a, b = (np.log(frame[k]) if frame["log"] else frame[k] for k in ("low", "high"))
    at = a + np.array(shares) * (b - a)
    bar.set_ticks(np.exp(at) if frame["log"] else at, labels=texts)
    bar.ax.minorticks_off()


def _rim(layer, width: float, alpha: float = 0.6) -> list:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width * _PX, foreground=layer["rim"], alpha=alpha)] if layer["rim"] else []


def _layer(ax, layer, raster: bool, pixel: tuple[float, float]) -> None:
    kind, ink = layer["kind"], layer["ink"] or "black"
    xy = np.frombuffer(layer["xy"], "<f8").reshape(-1, 4 if kind == "arrows" else 2)
    label = layer["label"] if kind in ("path", "curve", "points", "band") and layer["label"] else "_"
    thick = {"path": 1.8, "curve": 1.8, "contours": 1.0}.get(kind, 1.3)
    look: dict[str, Any] = {"color": ink, "path_effects": _rim(layer, thick + 1.8)}
    if kind == "band":
        for piece in np.split(xy, np.flatnonzero(np.isnan(xy[:, 0])))[:-1]:
            ax.fill(*piece[~np.isnan(piece[:, 0])].T, color=ink, alpha=BAND, lw=0, label=label)
            label = "_"
    elif kind == "text":
        look |= {"path_effects": _rim(layer, 3.0, 0.9), "weight": "bold" if raster else "normal"}
        ax.annotate(layer["text"], xy[0], (9 * _PX, 0), textcoords="offset points", va="center", fontsize=10, **look)
    elif "rgb" in layer:
        rgb = np.frombuffer(layer["rgb"], np.uint8).reshape(-1, 3) / 255
        size = (3 if len(xy) > 2000 else 4.4 if len(xy) > 300 else 6) * _PX
        ax.scatter(*xy.T, size**2, rgb, edgecolors="#0006", linewidths=0.4, label=label)
    elif kind == "points":
        size = (4 if len(xy) > 20 else 8) * _PX
        ax.plot(*xy.T, "o", ms=size, mew=0, label=label, **look)
    else:
        wide = (thick if raster else 1.8) * _PX
        dash = (0, [v * _PX / wide for v in layer["dash"]]) if layer["dash"] else "-"
        xy = _barbs(xy, pixel) if kind == "arrows" else xy
        caps: dict[str, Any] = {"solid_capstyle": "round", "solid_joinstyle": "round"}
        ax.plot(*xy.T, ls=dash, lw=wide, label=label, **caps, **look)


def _barbs(arrows: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
    """Arrows (N, 4) as lines (6 N, 2) parted by NaN, with heads of six CSS pixels, each ``pixel`` of the data."""
    start, step = arrows[:, :2] / pixel, arrows[:, 2:] / pixel
    length = np.hypot(*step.T)[:, None]
    seen = length[:, 0] > 3
    start, step, length = start[seen], step[seen], length[seen]
    back, side = step * np.minimum(6 / length, 0.45), step[:, ::-1] * [-0.6, 0.6] * np.minimum(6 / length, 0.45)
    tip = start + step
    lines = np.stack([start, tip, tip - back + side, tip, tip - back - side, np.full_like(tip, np.nan)], 1)
    return lines.reshape(-1, 2) * pixel
