"""The lines of all cells of proper motion of a patch: counts that are made once and added up."""

from typing import NamedTuple

import numba
import numpy as np
from scipy.ndimage import gaussian_filter

from clearview.streams.lines import HoughConfig, _count, clumps

PIXEL = 0.5
"""Size of the pixels of proper motion, mas/yr."""

_AROUND, _HOLE = 10, 4  # bins in theta on either side: of the neighbourhood of a line, and of the line itself


class Excess(NamedTuple):
    """The line of a cell that is hardest to explain by chance.

    Attributes:
        z: significance of a count on beside one off the line (Li & Ma 1983, ApJ 272, 317, equation 17).
        theta: of the line, deg.
        r: of the line, deg.
        width: of the window in r, deg.
        count: stars in the window.
        expected: stars that are expected there.
        pm: (pm_lon, pm_lat) of the middle of the cell, mas/yr.
        size: of the cell, mas/yr.
        stars: in the cell.
        found_by: how the stars were chosen: "counts" for all of the cell, or a scan and how many of highest score.
    """

    z: float
    theta: float
    r: float
    width: float
    count: int
    expected: float
    pm: tuple[float, float]
    size: float
    stars: int
    found_by: str


class Cells:
    """Stars of a patch in pixels of proper motion, and the Hough transform of each pixel.

    That of a cell is the sum of those of its pixels, and so is that of the stars around it in proper motion, with the
    same edges, holes and stripes on the sky: what is expected in the cell.

    Args:
        x: (N,) deg, in the plane of the patch.
        y: (N,) deg.
        pm: (N, 2) mas/yr.
        config: radius and steps of the transform.
        pixel: mas/yr.
        reach: pixels cover proper motions within so much of zero, mas/yr.
    """

    def __init__(self, x, y, pm, config: HoughConfig, pixel: float = PIXEL, reach: float = 15.0):
        self.x, self.y, self.pixel, self.reach = np.asarray(x, float), np.asarray(y, float), pixel, reach
        self.side = round(2 * reach / pixel)
        self.config = HoughConfig(config.radius, config.theta_step, config.r_step, theta_bins=1, width=config.r_step)
        places = np.floor((np.asarray(pm, float) + reach) / pixel)
        inside = ((places >= 0) & (places < self.side)).all(1) & (np.hypot(self.x, self.y) <= config.radius)
        rows = np.flatnonzero(inside)
        key = (places[rows] @ [self.side, 1]).astype(np.int64)
        order = np.argsort(key, kind="stable")
        self.rows = rows[order].astype(np.int32)
        self.first = np.searchsorted(key[order], np.arange(self.side**2 + 1))
        stars = np.diff(self.first).reshape(self.side, self.side)
        self._stars = np.pad(stars.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        sums = np.zeros((self.side + 1, self.side + 1, *self.config.shape), np.int32)
        for i, j in np.argwhere(stars):
            sums[i + 1, j + 1] = self.transform(self.rows_of(i, i + 1, j, j + 1))
        np.cumsum(sums, axis=0, out=sums)
        self._sums = np.cumsum(sums, axis=1, out=sums)

    def transform(self, rows) -> np.ndarray:
        """(thetas, rs) counts of some of the stars in bins of the Hough plane."""
        return _count(self.x[rows], self.y[rows], self.config)[0]

    def rows_of(self, i0, i1, j0, j1) -> np.ndarray:
        """Which stars are in a box of pixels."""
        spans = [self.rows[self.first[i * self.side + j0] : self.first[i * self.side + j1]] for i in range(i0, i1)]
        return np.concatenate(spans)

    def _box(self, sums, i0, i1, j0, j1):
        i0, j0, i1, j1 = max(i0, 0), max(j0, 0), min(i1, self.side), min(j1, self.side)
        return sums[i1, j1] - sums[i0, j1] - sums[i1, j0] + sums[i0, j0]

    def boxes(self, size: float, fewest: int, slow: float):
        """Lower corners (i, j) and edge, in pixels, of the cells with enough stars, half a cell apart."""
        edge = max(round(size / self.pixel), 1)
        for i in range(0, self.side - edge + 1, max(edge // 2, 1)):
            for j in range(0, self.side - edge + 1, max(edge // 2, 1)):
                if max(abs(m) for m in self.middle(i, j, edge)) < slow:
                    continue
                if self._box(self._stars, i, i + edge, j, j + edge) >= fewest:
                    yield i, j, edge

    def middle(self, i, j, edge) -> tuple[float, float]:
        """Proper motion in the middle of a cell, mas/yr."""
        return (i + edge / 2) * self.pixel - self.reach, (j + edge / 2) * self.pixel - self.reach

    def counts(self, i, j, edge) -> tuple[np.ndarray, int]:
        """Hough counts of a cell, and its stars."""
        box = i, i + edge, j, j + edge
        return self._box(self._sums, *box), int(self._box(self._stars, *box))

    def reference(self, i, j, edge, enough: float = 10.0, near: float = 3.0) -> tuple[np.ndarray, int]:
        """Hough counts of the stars around a cell in proper motion, and how many they are.

        Within ``near`` mas/yr of it, or further if there are fewer than ``enough`` times its own; a stream in the cell
        spills over its edges, so a margin of 1 mas/yr is left out.
        """
        guard, stars = round(1.0 / self.pixel), self._box(self._stars, i, i + edge, j, j + edge)
        inner = i - guard, i + edge + guard, j - guard, j + edge + guard
        for reach in (near, 2 * near, 2 * self.reach):
            w = round(reach / self.pixel)
            outer = i - w, i + edge + w, j - w, j + edge + w
            many = int(self._box(self._stars, *outer) - self._box(self._stars, *inner))
            if many > enough * stars:
                break
        return self._box(self._sums, *outer) - self._box(self._sums, *inner), many

    def strongest(self, counts, stars: int, reference, many: int, width: float) -> tuple[float, int, int, int, float]:
        """z, bins in theta and r, count and expectation of the strongest line of ``stars`` with these counts."""
        half = self.config.shape[0] // 2  # of a coarse transform no bin is its own neighbour
        around, hole = min(_AROUND, half), min(_HOLE, half - 1)
        return _strongest(counts, reference, stars / many, round(width / self.config.r_step) // 2, around, hole)

    def line(self, i: int, j: int) -> tuple[float, float]:
        """theta and r of the middle of a bin, deg."""
        return (i + 0.5) * self.config.theta_step, (j + 0.5) * self.config.r_step - self.config.radius


def compact(x, y, pm, *, searched=None, window: float = 3.0, reach: float = 15.0, radius: float = 0.5) -> np.ndarray:
    """(N,) which stars lie where a globular cluster or a dwarf galaxy stands out in some window of proper motion.

    All stars there are masked, whatever their motion: a hole in the sky is the same for all that are compared.

    Args:
        x: (N,) deg, in the plane of the patch.
        y: (N,) deg.
        pm: (N, 2) mas/yr.
        searched: rows of the stars among which clumps are looked for; by default all.
        window: mas/yr.
        reach: of the windows, mas/yr.
        radius: of a clump, deg; see `clearview.streams.clumps`.
    """
    x, y, pm = np.asarray(x, float), np.asarray(y, float), np.asarray(pm, float)
    masked = np.zeros(len(x), bool)
    searched = np.arange(len(x)) if searched is None else np.asarray(searched)
    if not len(searched):
        return masked
    cell = radius / 2
    edge = float(max(np.abs(x).max(), np.abs(y).max())) + cell
    bins = np.linspace(-edge, edge, max(int(2 * edge / cell), 4) + 1)
    step = bins[1] - bins[0]

    def kernels(rows):
        counts = np.histogram2d(x[rows], y[rows], bins=(bins, bins))[0]
        return (gaussian_filter(counts, s, mode="constant") * 4 * np.pi for s in (1.0, 8.0))

    near_all, wide_all = kernels(searched)
    order = searched[np.argsort(pm[searched, 0])]
    first = pm[order, 0]
    for a in np.arange(-reach, reach, window / 2):
        column = order[np.searchsorted(first, a) : np.searchsorted(first, a + window)]
        for b in np.arange(-reach, reach, window / 2):
            rows = column[(pm[column, 1] >= b) & (pm[column, 1] < b + window)]
            if len(rows) < 10:
                continue
            near, wide = kernels(rows)
            # The footprint of all others: edges and holes are no clumps.
            expected = wide * (near_all - near) / np.maximum(wide_all - wide, 1e-9)
            hot = np.argwhere((near - expected) / np.sqrt(expected + 1) > 6)
            looked = np.empty((0, 2))
            for place in bins[hot[np.argsort(-near[tuple(hot.T)])]] + step / 2:
                if (np.hypot(*(looked - place).T) < radius).any():
                    continue
                looked = np.vstack([looked, place])
                distance = np.hypot(x - place[0], y - place[1])
                if masked[distance < radius / 2].any():
                    continue
                around = rows[distance[rows] < 5 * radius]
                around = around[:: max(len(around) // 2000, 1)]  # a thinned cluster is one still
                found = around[clumps(x[around], y[around], radius)]
                found = found[distance[found] < 2 * radius]
                if len(found):
                    masked |= np.hypot(x - np.median(x[found]), y - np.median(y[found])) < 1.5 * radius
    return masked


@numba.njit(nogil=True, cache=True)
def _strongest(counts, reference, alpha, half, around, hole):
    """See `Cells.strongest`: the expectation follows the reference, and its scale that of the stars around the line."""
    n_theta, n_r = counts.shape
    wide = 3 * (2 * half + 1) + half
    near = (2 * half + 1) + half
    # Sums from the corner; the plane goes on beyond its ends in theta with r of the other sign.
    own = np.zeros((n_theta + 2 * around + 1, n_r + 1))
    ref = np.zeros((n_theta + 2 * around + 1, n_r + 1))
    for k in range(n_theta + 2 * around):
        i, turned = k - around, False
        if i < 0:
            i, turned = i + n_theta, True
        elif i >= n_theta:
            i, turned = i - n_theta, True
        a, b = 0.0, 0.0
        for j in range(n_r):
            column = n_r - 1 - j if turned else j
            a += counts[i, column]
            b += reference[i, column]
            own[k + 1, j + 1] = own[k, j + 1] + a
            ref[k + 1, j + 1] = ref[k, j + 1] + b
    best, best_i, best_j, best_count, best_expected = -1.0, 0, 0, 0, 0.0
    for i in range(n_theta):
        for j in range(n_r):
            low, high = max(j - half, 0), min(j + half + 1, n_r)
            k = i + around
            s = own[k + 1, high] - own[k, high] - own[k + 1, low] + own[k, low]
            w = ref[k + 1, high] - ref[k, high] - ref[k + 1, low] + ref[k, low]
            if w * alpha < 0.3 or s < w * alpha:
                continue
            total, expected = 0.0, 0.0
            for sign, dt, dr in ((1.0, around, wide), (-1.0, hole, near)):
                t0, t1 = k - dt, k + dt + 1
                r0, r1 = max(j - dr, 0), min(j + dr + 1, n_r)
                total += sign * (own[t1, r1] - own[t0, r1] - own[t1, r0] + own[t0, r0])
                expected += sign * (ref[t1, r1] - ref[t0, r1] - ref[t1, r0] + ref[t0, r0])
            # Some 20 windows hold the same stars, so 20 counts are a weak prior that the scale is one.
            scaled = alpha * (total + 20.0) / (expected * alpha + 20.0)
            b = w * scaled
            if s <= b or b < 0.3:
                continue
            z2 = 2.0 * (s * np.log((1 + scaled) / scaled * s / (s + w)) + w * np.log((1 + scaled) * w / (s + w)))
            if z2 > best:
                best, best_i, best_j, best_count, best_expected = z2, i, j, int(s), b
    return np.sqrt(max(best, 0.0)), best_i, best_j, best_count, best_expected
