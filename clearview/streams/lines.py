"""Lines of stars in a patch of the sky: the Hough transform, and how far a line stands above what lies around it.

After Via Machinae (Shih et al. 2021, arXiv:2104.12789). A star at x, y [deg] of the flat patch lies on every line

    r = x sin(theta) - y cos(theta),

so that it is a curve in the plane of theta and r, and stars along a line are curves through one place. A line is a
window of that plane, the stars of a line those whose curves pass through its window, each counted once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import xarray as xr
from scipy.spatial import KDTree
from scipy.special import pdtrc

from clearview.catalogs.frames import basis, sky_point
from clearview.checks import ABOVE_0, a, number, numbers
from clearview.field import Axis, Quantity, make_field


@dataclass(frozen=True)
class HoughConfig:
    """How lines are looked for; the defaults are those of Via Machinae.

    Args:
        radius: of the disc in which the stars lie, deg.
        theta_step: width of the bins in theta, deg; a whole number of them makes 180 deg.
        r_step: width of the bins in r, deg; a whole number of them makes the diameter.
        theta_bins: bins of a window in theta, an odd number.
        width: of a window in r, deg; an odd number of bins.
        lattice: windows to a side of the lattice around a line from which its background is taken, an odd number.
        hole: windows to a side of the lattice's middle that are left out, an odd number.
        fewest: windows of the lattice that have to lie in the field for a background of their own; a line with fewer
            is compared with all that lies beside it.
        edge: lines with ``|r|`` above this share of the radius are flagged, since the disc ends there.
    """

    radius: float = 10.0
    theta_step: float = 1.8
    r_step: float = 0.2
    theta_bins: int = 3
    width: float = 1.0
    lattice: int = 7
    hole: int = 3
    fewest: int = 20
    edge: float = 0.95

    def __post_init__(self):
        numbers(self, radius=(0.01, 90), theta_step=(0.1, 60), r_step=(1e-3, 90), width=(1e-3, 90), edge=(0, 1))
        numbers(self, whole=True, theta_bins=(1, 99), lattice=(3, 31), hole=(1, 29), fewest=(2, 960))
        for name, whole, part in (
            ("the diameter", 2 * self.radius / self.r_step, "r_step"), ("180 deg", 180 / self.theta_step, "theta_step"),
            ("width", self.width / self.r_step, "r_step"),
        ):  # fmt: skip
            if abs(whole - round(whole)) > 1e-6 * whole:
                raise ValueError(f"Expected {name} as a whole number of {part}, got {whole:.6g} of them; change one.")
        for name, count in (("theta_bins", self.theta_bins), ("bins of width", self.r_bins),
                            ("lattice", self.lattice), ("hole", self.hole)):  # fmt: skip
            if count % 2 == 0:
                raise ValueError(f"Expected an odd number as {name}, got {count}; a window has a bin in its middle.")
        if self.hole >= self.lattice:
            raise ValueError(f"Expected a hole smaller than the lattice of {self.lattice}, got {self.hole}; shrink it.")
        if self.width >= 2 * self.radius or self.theta_bins > self.shape[0]:
            raise ValueError("Expected a window smaller than the disc, got a larger one; narrow width or theta_bins.")

    @property
    def shape(self) -> tuple[int, int]:
        """Bins in theta and in r."""
        return round(180 / self.theta_step), round(2 * self.radius / self.r_step)

    @property
    def r_bins(self) -> int:
        """Bins of a window in r."""
        return round(self.width / self.r_step)

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """The plane of theta and r [deg], whose values are the middles of windows."""
        n_theta, n_r = self.shape
        theta = Axis("theta", 0, 180, n_theta, "deg", "angle of the line")
        return theta, Axis("r", -self.radius, self.radius, n_r, "deg", "distance from the centre")


VIA_MACHINAE = HoughConfig()


@dataclass(frozen=True)
class Line:
    """A line in a patch.

    Attributes:
        theta: angle of the line from the x axis, towards y, deg from 0 to 180.
        r: distance from the centre of the patch [deg], positive on the side of (sin(theta), -cos(theta)).
        sigma: significance.
        count: stars in its window.
        expected: stars that the background has there.
        edge: whether it lies at the edge of the disc.
    """

    theta: float
    r: float
    sigma: float
    count: int
    expected: float
    edge: bool = False


class Footprint:
    """What share of the stars of a smooth field each window holds, and which windows are its background.

    Made once for many sets of stars in one field.

    Args:
        config: the windows.
        reference: (M, 2) x, y [deg] of many positions with the footprint of the stars (edges, holes, gradients, stripes
            of the survey); by default the disc is filled evenly, and shares are areas.

    Attributes:
        config: as given.
        share: (thetas, rs) share of the field that lies in each window.
        found: (thetas, rs) reference positions in each window; infinite for an even disc.

    Raises:
        ValueError: if the reference is no array of two columns, or has no position in the disc.
    """

    def __init__(self, config: HoughConfig = VIA_MACHINAE, reference: Any = None):
        self.config = a(config, HoughConfig, "a HoughConfig")
        if reference is None:
            self.share = np.broadcast_to(window_areas(config) / (np.pi * config.radius**2), config.shape).copy()
            self.found = np.full(config.shape, np.inf)
        else:
            reference = np.asarray(reference, float)
            if reference.ndim != 2 or reference.shape[1] != 2:
                raise ValueError(f"Expected reference positions of shape (M, 2), got {reference.shape}; stack x and y.")
            x, y = _inside(reference[:, 0], reference[:, 1], config)
            counts, inside = _count(x, y, config)
            if not inside:
                raise ValueError(f"Expected reference positions within {config.radius:g} deg of the centre, got none; "
                                 "give them in the frame of the patch.")  # fmt: skip
            self.share, self.found = counts / inside, counts.astype(float)
        self._near, self._many = _lattice(self.share, *_offsets(config))

    @classmethod
    def of(cls, config: HoughConfig, reference: "Footprint | np.ndarray | None" = None) -> "Footprint":
        """One of that config: the one given, one of the positions given, or the even disc, which is kept.

        Raises:
            ValueError: if the one given has another config.
        """
        a(config, HoughConfig, "a HoughConfig")
        if isinstance(reference, Footprint):
            if reference.config != config:
                raise ValueError(f"Expected a footprint of {config}, got one of {reference.config}; make it anew.")
            return reference
        return _disc(config) if reference is None else cls(config, reference)


@lru_cache(maxsize=16)
def _disc(config: HoughConfig) -> Footprint:
    return Footprint(config)


def window_areas(config: HoughConfig) -> np.ndarray:
    """(rs,) area of the disc through which lines of a window pass, square deg.

    A window of one bin in theta is a strip between two chords; with more, strips are turned against each other, and all
    between their outermost edges is counted.
    """
    n_r, half = config.shape[1], config.theta_bins // 2
    turns = np.deg2rad(config.theta_step) * np.arange(-half, half + 1)[:, None]
    # Across the window at each place along it. The substitution takes the roots at the ends of the disc away.
    angle = np.pi * (np.arange(4000) + 0.5) / 4000
    along, chord = config.radius * np.cos(angle), config.radius * np.sin(angle)
    low = -config.radius + config.r_step * (np.arange(n_r)[:, None, None] - config.r_bins // 2)
    first = (low + along * np.sin(turns)) / np.cos(turns)
    last = (low + config.width + along * np.sin(turns)) / np.cos(turns)
    inside = np.clip(last.max(1), -chord, chord) - np.clip(first.min(1), -chord, chord)
    return (inside * chord).sum(-1) * np.pi / 4000


def hough(x, y, config: HoughConfig = VIA_MACHINAE, *, reference: Footprint | np.ndarray | None = None) -> xr.Dataset:
    """Counts, background and significance of every line.

    sigma = (S - B) / sqrt(B + e^2 + 1), with S stars in the window. The background B is the mean density of the
    windows around, as many to a side as ``config.lattice`` without those of ``config.hole``, times the size of the
    window, and e its error: their spread over the root of their number, and with a reference the noise of its positions
    in the window. Windows count where they are half as large as the line's own or larger; where fewer than
    ``config.fewest`` do, as along a narrow field, B is what the stars outside of the window make one expect in it. At
    theta = 0 the plane goes on at 180 deg with r of the other sign.

    Args:
        x: (N,) lon cos(lat) in the frame of the patch, deg.
        y: (N,) lat, deg. Stars beyond ``config.radius`` are left out.
        config: the windows and the lattice.
        reference: the field's `Footprint`, or (M, 2) positions to make one of; by default the disc is even. Then "size"
            is the share of the reference in a window, else its area.

    Returns:
        ``counts``, ``expected`` and ``significance`` on theta and r [deg]; NaN where nothing can be expected.

    Raises:
        ValueError: if x and y are no two columns of one length of finite numbers, or the reference is none.
    """
    footprint = Footprint.of(config, reference)
    stars, counts, sigma, expected = _judged(x, y, footprint)
    sigma = np.where(np.isfinite(expected), sigma, np.nan)
    variables = {
        "counts": Quantity(counts, "", "stars per line"),
        "expected": Quantity(expected, "", "stars expected"),
        "significance": Quantity(sigma, "", "significance [σ]"),
    }
    told = {"stars": int(stars), "radius": config.radius, "width": config.width, "theta_bins": config.theta_bins}
    return make_field(config.axes, variables, told | {"reference": "disc" if reference is None else "positions"})


def strongest_line(
    x, y, config: HoughConfig = VIA_MACHINAE, *, reference: Footprint | np.ndarray | None = None
) -> Line:
    """The line of highest significance; see `hough`.

    With a `Footprint` as reference, or none, nothing is done twice for many sets of stars.

    Raises:
        ValueError: as `hough`, and if no star lies in the disc.
    """
    footprint = Footprint.of(config, reference)
    stars, counts, sigma, expected = _judged(x, y, footprint)
    i, j = np.unravel_index(int(np.argmax(sigma)), sigma.shape)
    if not stars or sigma[i, j] == -np.inf:
        raise ValueError(f"Expected stars in a field within {config.radius:g} deg of the centre, got none; give "
                         "those of the patch.")  # fmt: skip
    theta, r = (i + 0.5) * config.theta_step, (j + 0.5) * config.r_step - config.radius
    edge = abs(r) > config.edge * config.radius
    return Line(float(theta), float(r), float(sigma[i, j]), int(counts[i, j]), float(expected[i, j]), bool(edge))


def strongest_lines(
    sets: Iterable[Sequence[Any]],
    config: HoughConfig = VIA_MACHINAE,
    *,
    reference: Footprint | np.ndarray | None = None,
) -> list[Line]:
    """`strongest_line` of many sets of stars in one field, each an ``(x, y)``.

    Raises:
        ValueError: as `strongest_line`.
    """
    footprint = Footprint.of(config, reference)
    return [strongest_line(x, y, config, reference=footprint) for x, y in sets]


def on_line(x, y, line: Line, config: HoughConfig = VIA_MACHINAE) -> np.ndarray:
    """(N,) whether each star's curve passes through the window of a line: ``line.count`` of its own stars do.

    Raises:
        ValueError: as `hough`.
    """
    x, y = _columns(x, y)
    places = line.theta / config.theta_step, (line.r + config.radius) / config.r_step
    i, j = (min(max(int(place), 0), many - 1) for place, many in zip(places, config.shape, strict=True))
    first, last = _spans(x, y, config, i)
    return (first <= j) & (j <= last) & (x * x + y * y <= config.radius**2)


def clumps(x, y, radius: float = 0.5, *, threshold: float = 1e-6, fewest: int = 5) -> np.ndarray:
    """(N,) which stars lie in compact clumps, such as globular clusters, which give a line at every angle.

    A clump is a disc around a star that holds more other stars than Poisson noise allows. What is expected there is the
    density of the ring from one to four radii around it, and of its sixteen sectors the densest: so neither a line
    nor the edge or the end of a field is a clump. Stars in a disc, or in the disc of one of them that is a clump
    too, are masked.

    Args:
        x: (N,) deg.
        y: (N,) deg.
        radius: of the disc, deg.
        threshold: probability that noise makes a clump of a disc.
        fewest: stars of a clump.

    Raises:
        ValueError: as `hough`, or for a radius or threshold that is not positive.
    """
    x, y = _columns(x, y)
    for name, value, low, high in (("radius", radius, ABOVE_0, 90), ("threshold", threshold, ABOVE_0, 1)):
        number(name, value, low, high)
    number("fewest", fewest, 2, 10**9, whole=True)
    places = np.stack([x, y], -1)
    if len(places) < fewest:
        return np.zeros(len(places), bool)
    tree = KDTree(places)
    within = tree.query_ball_point(places, radius)
    many = np.array([len(k) for k in within])
    centres = np.flatnonzero(many >= fewest)
    masked = np.zeros(len(places), bool)
    for centre, around in zip(centres, tree.query_ball_point(places[centres], 4 * radius), strict=True):
        dx, dy = (places[around] - places[centre]).T
        ring = np.hypot(dx, dy) > radius
        sector = (np.arctan2(dy[ring], dx[ring]) % (2 * np.pi) * 8 / np.pi).astype(int) % 16
        # A sector is a sixteenth of a ring of 15 discs. Half a star more, since none found is not none expected.
        expected = (np.bincount(sector, minlength=16).max() + 0.5) * 16 / 15
        if pdtrc(many[centre] - 2, expected) < threshold:  # the star in the middle is there by choice
            masked[within[centre]] = True
    return masked


def line_pole(center: tuple[float, float], line: Line) -> tuple[float, float]:
    """Pole (ra, dec) [deg] of the great circle that touches a line of a patch where it is nearest to the centre.

    The patch is flat, x = lon cos(lat), so that a line leaves the circle further away: by up to 0.1 deg within
    10 deg of the centre. Seen from the pole's side the circle is run through counter-clockwise, along
    (cos(theta), sin(theta)); see `clearview.catalogs.GreatCircle`.

    Args:
        center: (ra, dec) [deg] of the patch.
        line: in the patch.
    """
    sin, cos = np.sin(np.deg2rad(line.theta)), np.cos(np.deg2rad(line.theta))
    lat = -line.r * cos
    lon = line.r * sin / np.cos(np.deg2rad(lat))
    out, east, north = basis(lon, lat)
    # dx = cos(lat) dlon - lon sin(lat) dlat
    along = (cos + _bend(lon, lat) * sin) * east + sin * north
    pole = np.cross(out, along / np.linalg.norm(along)) @ _axes(center)
    return float(np.rad2deg(np.arctan2(pole[1], pole[0])) % 360), float(np.rad2deg(np.arcsin(np.clip(pole[2], -1, 1))))


def pole_line(center: tuple[float, float], pole: tuple[float, float]) -> tuple[float, float]:
    """(theta, r) [deg] in a patch of the line that touches a great circle where it is nearest to the centre.

    The inverse of `line_pole` but for what a flat patch bends: the line of another patch as this one sees it.

    Args:
        center: (ra, dec) [deg] of the patch.
        pole: (ra, dec) [deg] of the circle.

    Raises:
        ValueError: if the circle stays 90 deg from the centre.
    """
    normal = _axes(center) @ basis(*sky_point(pole, "pole"))[0]
    foot = np.array([1.0, 0.0, 0.0]) - normal[0] * normal
    if np.linalg.norm(foot) < 1e-9:
        raise ValueError("Expected a great circle nearer to the centre than 90 deg, got one at 90 deg; take another.")
    foot /= np.linalg.norm(foot)
    lon, lat = np.rad2deg(np.arctan2(foot[1], foot[0])), np.rad2deg(np.arcsin(foot[2]))
    _, east, north = basis(lon, lat)
    along = np.cross(normal, foot)
    theta = np.arctan2(along @ north, along @ east - _bend(lon, lat) * (along @ north))
    r = lon * np.cos(np.deg2rad(lat)) * np.sin(theta) - lat * np.cos(theta)
    half_turn = theta < 0 or theta >= np.pi
    return float(np.rad2deg(theta % np.pi)), float(-r if half_turn else r)


def _bend(lon: float, lat: float) -> float:
    """What a step to the north adds to lon cos(lat), with the other sign."""
    return np.deg2rad(lon) * np.sin(np.deg2rad(lat))


def _axes(center) -> np.ndarray:
    """(3, 3) axes of the frame of a patch."""
    return np.array(basis(*sky_point(center, "center")))


def _columns(x, y) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"Expected x and y of one shape (N,), got {x.shape} and {y.shape}; give one pair a star.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("Expected finite x and y, got others; leave out the stars that have none.")
    return x, y


def _inside(x, y, config: HoughConfig) -> tuple[np.ndarray, np.ndarray]:
    x, y = _columns(x, y)
    keep = x * x + y * y <= config.radius**2
    return (x, y) if keep.all() else (x[keep], y[keep])


@lru_cache(maxsize=64)
def _waves(config: HoughConfig) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of each bin, and of as many before and after as a window at the seam reaches to."""
    half = config.theta_bins // 2
    theta = np.deg2rad((np.arange(-half, config.shape[0] + half) + 0.5) * config.theta_step)
    return np.sin(theta), np.cos(theta)


def _spans(x, y, config: HoughConfig, i: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) first and last bin of r around which a window at bin ``i`` of theta holds each star."""
    sin, cos = (wave[i : i + config.theta_bins, None] for wave in _waves(config))
    bins = np.floor((x * sin - y * cos + config.radius) / config.r_step).astype(int)
    bins = np.clip(bins, 0, config.shape[1] - 1)
    return bins.min(0) - config.r_bins // 2, bins.max(0) + config.r_bins // 2


def _judged(x, y, footprint: Footprint) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """How many stars there are, and counts, significance and background of each window."""
    config = footprint.config
    counts, stars = _count(*_inside(x, y, config), config)
    near, many = footprint._near, footprint._many
    return stars, counts, *_significance(counts, stars, footprint.share, footprint.found, near, many, config.fewest)


def _count(x, y, config: HoughConfig) -> tuple[np.ndarray, int]:
    """(thetas, rs) stars whose curves pass through each window, and how many stars there are."""
    sin, cos = _waves(config)
    return _counted(
        x, y, sin, cos, config.radius, config.r_step, config.shape[1], config.theta_bins, config.r_bins
    ), len(x)


@lru_cache(maxsize=64)
def _offsets(config: HoughConfig) -> tuple[np.ndarray, np.ndarray]:
    """Bins in theta and in r to each window of the lattice."""
    side = np.arange(config.lattice) - config.lattice // 2
    steps = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
    steps = steps[np.abs(steps).max(1) > config.hole // 2]
    return steps[:, 0] * config.theta_bins, steps[:, 1] * config.r_bins


# The loops below are written out, as numba wants them. Positions on the very edge may be rounded beyond it.


@numba.njit(nogil=True, cache=True)
def _counted(x, y, sin, cos, radius, step, n_r, theta_bins, r_bins):
    n_theta, half = len(sin) - theta_bins + 1, r_bins // 2
    out = np.zeros((n_theta, n_r + 1), np.int32)
    bins = np.empty(len(sin), np.int32)
    for n in range(len(x)):
        for k in range(len(sin)):
            bins[k] = min(max(int((x[n] * sin[k] - y[n] * cos[k] + radius) / step), 0), n_r - 1)
        for i in range(n_theta):
            low = high = bins[i]
            for k in range(i + 1, i + theta_bins):
                low, high = min(low, bins[k]), max(high, bins[k])
            out[i, max(low - half, 0)] += 1
            out[i, min(high + half + 1, n_r)] -= 1
    for i in range(n_theta):
        for j in range(1, n_r):
            out[i, j] += out[i, j - 1]
    return out[:, :n_r].copy()


@numba.njit(nogil=True, cache=True)
def _lattice(share, d_theta, d_r):
    """(thetas, rs, windows) flat places of the windows around each that are large enough, and how many those are."""
    n_theta, n_r = share.shape
    near = np.zeros((n_theta, n_r, len(d_theta)), np.int32)
    many = np.zeros((n_theta, n_r), np.int32)
    for i in range(n_theta):
        for j in range(n_r):
            for k in range(len(d_theta)):
                row, column = i + d_theta[k], j + d_r[k]
                if column < 0 or column >= n_r:
                    continue
                turns = row // n_theta
                row -= turns * n_theta
                if turns % 2:
                    column = n_r - 1 - column
                if share[row, column] > 0 and share[row, column] >= 0.5 * share[i, j]:
                    near[i, j, many[i, j]] = row * n_r + column
                    many[i, j] += 1
    return near, many


@numba.njit(nogil=True, cache=True)
def _significance(counts, stars, share, found, near, many, fewest):
    """Significance and background of each window; where there is no background, -inf and NaN."""
    n_theta, n_r = counts.shape
    sigma, expected = np.full((n_theta, n_r), -np.inf), np.full((n_theta, n_r), np.nan)
    density = np.zeros(counts.size)
    for i in range(n_theta):
        for j in range(n_r):
            if share[i, j] > 0:
                density[i * n_r + j] = counts[i, j] / share[i, j]
    for i in range(n_theta):
        for j in range(n_r):
            size, n = share[i, j], many[i, j]
            if size > 0 and n >= fewest:
                total, squares = 0.0, 0.0
                for k in range(n):
                    value = density[near[i, j, k]]
                    total += value
                    squares += value * value
                mean = total / n
                background = size * mean
                error2 = size * size * max(squares / n - mean * mean, 0.0) / n
            elif 0 < size < 1:
                # Of so many stars outside, with their Poisson noise.
                odds, outside = size / (1 - size), stars - counts[i, j]
                background, error2 = odds * outside, odds * odds * outside
            else:
                continue
            error2 += background * background / found[i, j] if found[i, j] > 0 else 0.0
            expected[i, j] = background
            sigma[i, j] = (counts[i, j] - background) / np.sqrt(background + error2 + 1.0)
    return sigma, expected
