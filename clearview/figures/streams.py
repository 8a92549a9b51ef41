"""Lines of stars: the plane in which they are found, a line in its patch, and streams all over the sky."""

from collections.abc import Collection
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.checks import ABOVE_0, number
from clearview.figures.slices import curve, path, points, slice_image, text
from clearview.figures.style import Named

PALE = 4.0
"""σ below which no line has the strongest colour: of thousands of lines chance gives some as strong."""


def hough_image(field: xr.Dataset, variable: str = "significance") -> hv.Overlay:
    """A field of `clearview.streams.hough` as a picture, with the strongest line marked.

    Args:
        field: with ``significance`` on theta and r.
        variable: what is shown: significance, counts or expected.

    Raises:
        ValueError: if it is no such field.
    """
    if "significance" not in field or variable not in field or field["significance"].dims != ("theta", "r"):
        raise ValueError("Expected a field with significance on theta and r, got "
                         f"{', '.join(map(str, field.data_vars)) or 'none'}; make it with hough.")  # fmt: skip
    # Another sign for the same unit: an angle and a distance have no common scale.
    shown = field[variable].assign_coords(theta=field["theta"].assign_attrs(units="°"))
    sigma = field["significance"].values
    if not (sigma > 0).any():
        return hv.Overlay([slice_image(shown)], label="No line")
    # Up to the strongest, since a line is no wild pixel; but noise alone is to look like that.
    most = max(float(np.nanmax(np.abs(sigma))), PALE)
    own: dict[str, Any] = {"scale": "diverging", "limits": (-most, most)} if variable == "significance" else {}
    image = slice_image(shown, **own)
    i, j = np.unravel_index(np.nanargmax(sigma), sigma.shape)
    theta, r = float(field["theta"][i]), float(field["r"][j])
    label = f"Strongest line: {sigma[i, j]:.1f}σ at θ = {theta:.1f}°, r = {r:.1f}°".replace("= -", "= −")
    return hv.Overlay([image, points([theta], [r])], label=label)


def line_path(line: Any, radius: float, *, width: float | None = None, label: str = "") -> hv.Path:
    """A line as a chord of its patch.

    Args:
        line: with theta and r [deg], such as a `clearview.streams.Line`.
        radius: of the patch, deg.
        width: if given, the two sides of a strip so wide are drawn, deg.
        label: its name in the legend.

    Raises:
        ValueError: if the line misses the patch.
    """
    number("radius", radius, ABOVE_0)
    number("width", width, ABOVE_0, optional=True)
    number("r of the line", line.r, -radius, radius)
    sin, cos = np.sin(np.deg2rad(line.theta)), np.cos(np.deg2rad(line.theta))
    pieces = []
    for r in [line.r] if width is None else [line.r - width / 2, line.r + width / 2]:
        if abs(r) <= radius:
            s = np.sqrt(radius**2 - r**2) * np.array([-1, 1])
            pieces += [np.stack([r * sin + s * cos, -r * cos + s * sin], -1), np.full((1, 2), np.nan)]
    x, y = np.concatenate(pieces)[:-1].T
    return path(x, y, label)


def track_path(theta: float, r: float, track: Any, ends: Any, *, label: str = "") -> hv.Path:
    """The track of a candidate in its patch: a parabola across its line.

    Args:
        theta: of the line, deg.
        r: of the line, deg.
        track: (3,) distance from the line at ``along`` = 0, and what along / 10 deg and its square add to it, deg.
        ends: (first, last) along the line, deg.
        label: its name in the legend.
    """
    sin, cos = np.sin(np.deg2rad(theta)), np.cos(np.deg2rad(theta))
    along = np.linspace(ends[0], ends[1], 60)
    across = r + np.vander(along / 10, 3, increasing=True) @ np.asarray(track, float)
    return path(along * cos + across * sin, along * sin - across * cos, label)


def window_path(x: Any, y: Any, ends: Any, *, label: str = "") -> hv.Path:
    """Where a window in one coordinate, or in both, ends.

    Args:
        x: (low, high) along the first axis, or None for no window there.
        y: (low, high) along the second axis, or None.
        ends: (x0, x1, y0, y1) of the plane, over which the lines of a window in one coordinate run.
        label: its name in the legend.

    Raises:
        ValueError: if there is a window in neither.
    """
    window = x or y
    if window is None:
        raise ValueError("Expected a window along x or y, got neither; pass (low, high) of one.")
    if x is None or y is None:
        (low, high), (first, last) = window, ends[:2] if x is None else ends[2:]
        over, across = np.array([first, last, np.nan, first, last]), np.array([low, low, np.nan, high, high])
        return path(over, across, label) if x is None else path(across, over, label)
    return path(np.array([x[0], x[1], x[1], x[0], x[0]]), np.array([y[0], y[0], y[1], y[1], y[0]]), label)


def sky_map(
    candidates: Any = None, known: Any = None, *, labels: Collection[str] | None = None, plane: float = 20.0
) -> hv.Overlay:
    """Streams over the whole sky, in the sinusoidal (equal-area) projection of Galactic coordinates.

    l = 0 is in the middle and l grows to the left, as the sky is seen from within.

    Args:
        candidates: table with ``stream`` and ``ra``, ``dec`` or ``l``, ``b`` [deg]: points along each candidate in
            their order, of which every name is one; astropy, pandas, a catalogue, or a mapping of columns. Or the
            `clearview.SkyScan` whose ``tracks`` they are.
        known: tracks likewise, such as `clearview.streams.known_streams`; several ``reference`` of a stream are lines
            of their own.
        labels: names that are written beside their lines; by default those of the candidates, or of the known streams
            if there are no candidates, at most 30.
        plane: Galactic latitude up to which the sky is shaded, since stars there are too many and dust too thick, deg.

    Raises:
        KeyError: if a column is missing.
        ValueError: if columns differ in length or there are neither candidates nor known streams.
    """
    number("plane", plane, 0, 90)
    candidates = candidates.tracks() if callable(getattr(candidates, "tracks", None)) else candidates
    tables = {"known streams": known, "candidates": candidates}  # candidates lie above
    found = {kind: _lines(table) for kind, table in tables.items() if table is not None}
    if not found:
        raise ValueError("Expected candidates or known streams, got neither; pass one of them.")
    own = [name for name, _ in found.get("candidates", found.get("known streams", {}))]
    wanted = dict.fromkeys(own if labels is None else labels)
    wanted = set(list(wanted)[:30] if labels is None else wanted)
    x = Named(("x", "l cos b"), unit="deg", reverse=True, range=(-200, 200))
    y = Named(("y", "b"), unit="deg", range=(-95, 95))
    drawn: list[Any] = []
    for kind, lines in found.items():
        pieces = [piece for line in lines.values() for piece in (_broken(line), np.full((1, 2), np.nan))]
        places = _flat(np.concatenate(pieces)[:-1] if pieces else np.empty((0, 2)))
        drawn.append(path(places[:, 0], places[:, 1], kind).redim(x=x, y=y))
    b = np.linspace(-90, 90, 181)
    rim = _flat(np.stack([np.r_[0 * b + 180, 0 * b - 180], np.r_[b, b[::-1]]], -1))
    drawn.append(curve(x, rim[:, 0], y, rim[:, 1], ""))
    if plane:
        across = np.linspace(-180, 180, 361)
        high = np.minimum(plane, np.rad2deg(np.arccos(np.abs(across) / 180)))
        drawn.append(hv.Area((across, -high, high), x, [y, hv.Dimension("top")]))
    for lines in found.values():
        for (name, _), line in lines.items():
            if name in wanted:
                place = _flat(line[len(line) // 2])
                drawn.append(text(place[0], place[1], name).redim(x=x, y=y))
                wanted.remove(name)
    many = {kind: len({name for name, _ in lines}) for kind, lines in found.items()}
    told = ", ".join(f"{n} {kind if n != 1 else kind[:-1]}" for kind, n in many.items())
    return hv.Overlay(drawn, label=told + (f"; shaded: |b| < {plane:g}°" if plane else ""))


def _flat(places: np.ndarray) -> np.ndarray:
    """(..., 2) l cos(b) and b of l and b [deg]."""
    return np.stack([places[..., 0] * np.cos(np.deg2rad(places[..., 1])), places[..., 1]], -1)


def _lines(table: Any) -> dict[tuple[str, str], np.ndarray]:
    """(K, 2) l and b [deg] along each stream, by its name and reference."""
    from astropy.coordinates import SkyCoord

    columns = getattr(table, "colnames", getattr(table, "columns", table))
    galactic = "l" in columns and "b" in columns
    if absent := [name for name in ("stream", *(("l", "b") if galactic else ("ra", "dec"))) if name not in columns]:
        raise KeyError(
            f"Expected points along streams, with stream, ra and dec, got none called {' and '.join(absent)}; of a "
            "search of the sky pass tracks() instead of candidates()."
        )
    names = [str(k) for k in table["stream"]]
    references = [str(k) for k in table["reference"]] if "reference" in columns else [""] * len(names)
    first, second = (np.asarray(table[k], float) for k in (("l", "b") if galactic else ("ra", "dec")))
    if not len(names) == len(references) == len(first) == len(second):
        raise ValueError(f"Expected as many names as places, got {len(names)} and {len(first)}; give one a point.")
    if not galactic:
        sky: Any = SkyCoord(first, second, unit="deg").galactic
        first, second = sky.l.deg, sky.b.deg
    places = np.stack([(first + 180) % 360 - 180, second], -1)
    rows: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(names, references, strict=True)):
        rows.setdefault(key, []).append(row)
    return {key: places[own] for key, own in rows.items()}


def _broken(line: np.ndarray) -> np.ndarray:
    """A line parted by NaN where it leaves the map on one side."""
    jumps = np.flatnonzero(np.abs(np.diff(line[:, 0])) > 180) + 1
    return np.insert(line, jumps, np.nan, axis=0)
