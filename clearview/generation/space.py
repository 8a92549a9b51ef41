"""Coordinates in which the stars of a galaxy are nearly normally distributed, and in which every point is a star's.

What a flow learns there has no edge, no cusp and no heavy tail, and what it draws lies within the ball.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv, ndtr, ndtri

from clearview.catalogs import to_cylindrical

CELLS = 512
"""Pieces of the table that makes a coordinate normal."""

_SLOPES = 0.3, 12.0
_KNOTS = 33
_BEYOND = 30  # stars beyond the last knot: fewer tell no quantile


class Space(NamedTuple):
    """The map from stars to normal coordinates, made of plain arrays.

    Places are stretched along the radius so that the shares of the stars within each radius would be those of a
    3-D normal distribution if they filled the ball evenly (or, without an edge, had the profile of `_within`). Then
    each coordinate, and each velocity, goes through a table that makes it normal.

    Attributes:
        center: (3,) kpc.
        radius: of the ball; without an edge that which holds half of the stars, kpc.
        slope: 0 for a ball; else the density falls as r^-(3 + slope) far out.
        reach: the tables are those of normal coordinates from -reach to reach, with straight lines beyond.
        tables: (6, CELLS + 1).
    """

    center: np.ndarray
    radius: Any
    slope: Any
    reach: Any
    tables: np.ndarray

    @classmethod
    def empty(cls) -> "Space":
        """One of the same shapes."""
        zero = np.float64(0)
        return cls(np.zeros(3), zero, zero, zero, np.zeros((6, CELLS + 1)))

    @classmethod
    def of(cls, points, weights, center, radius: float | None) -> "Space":
        """Fitted to stars (N, 6) [kpc, km/s] with weights (N,)."""
        center, slope = np.asarray(center, float), 0.0
        if radius is None:
            r = np.linalg.norm(points[:, :3] - center, axis=1)
            radius, far = quantiles(r, weights, np.array([0.5, 0.97]))

            def off(slope):
                return _within(far / radius, slope) - 0.97

            low, high = _SLOPES
            found: Any = brentq(off, low, high) if off(low) < 0 < off(high) else high if off(high) <= 0 else low
            slope = found
        space = cls.empty()._replace(center=center, radius=np.float64(radius), slope=np.float64(slope))
        reach, tables = tables_of(space._plain(points), weights)
        return space._replace(reach=reach, tables=tables)

    @property
    def turns(self) -> bool:
        """Whether velocities are taken along R, phi and z: where the axis of the galaxy is outside of the ball."""
        return bool(self.slope == 0 and np.hypot(*self.center[:2]) > self.radius)

    def to_base(self, points) -> np.ndarray:
        """(N, 6) normal coordinates of stars (N, 6) [kpc, km/s]; NaN for what is outside of the ball."""
        return normal_of(self._plain(points), self.reach, self.tables)

    def from_base(self, base) -> np.ndarray:
        """(N, 6) float32 stars of normal coordinates, the inverse."""
        y = values_of(np.asarray(base, float), self.reach, self.tables)
        u = np.linalg.norm(y[:, :3], axis=1)
        if self.slope == 0:
            s = np.minimum(np.cbrt(gammainc(1.5, u**2 / 2)), edge(self.center, self.radius))
        else:
            s = _radius_of(gammainc(1.5, u**2 / 2), gammaincc(1.5, u**2 / 2), self.slope)
        x = self.center + y[:, :3] * (self.radius * s / np.maximum(u, 1e-12))[:, None]
        return np.concatenate([x, _turned(x, y[:, 3:]) if self.turns else y[:, 3:]], axis=1).astype(np.float32)

    def log_det(self, points) -> np.ndarray:
        """(N,) ln |det d base / d star| at stars (N, 6), per kpc^3 (km/s)^3."""
        y = self._plain(points)
        u = np.linalg.norm(y[:, :3], axis=1)
        s = np.maximum(np.linalg.norm(points[:, :3] - self.center, axis=1) / self.radius, 1e-9)
        rate = 3 * s**2 if self.slope == 0 else _rate(s, self.slope)
        # Both are densities of one share of the stars: over the shell 4 pi r^2 dr, and of a normal distribution.
        radial = np.log(rate / (4 * np.pi * s**2 * self.radius**3)) + u**2 / 2 + 1.5 * np.log(2 * np.pi)
        return radial + log_slopes(y, self.reach, self.tables).sum(1)

    def _plain(self, points) -> np.ndarray:
        """Stretched places, and velocities."""
        points = np.asarray(points, float)
        x, v = points[:, :3] - self.center, points[:, 3:]
        r = np.linalg.norm(x, axis=1)
        s = r / self.radius
        if self.slope == 0:
            share = np.where(s < 1, s**3, np.nan)
            rest = 1 - share
        else:
            share, rest = _within(s, self.slope), _beyond(s, self.slope)
        # Far out the share is 1 to all digits, but not the rest.
        u = np.sqrt(2 * np.where(rest < 0.5, gammainccinv(1.5, rest), gammaincinv(1.5, share)))
        stretch = np.where(r > 1e-9, u / np.maximum(r, 1e-9), 1.0)
        return np.concatenate([x * stretch[:, None], _turned(points[:, :3], v) if self.turns else v], axis=1)


def edge(center, radius) -> float:
    """Of the radius, how far out float32 still places stars inside of the ball."""
    return 1 - max(1e-6, 4 * float(np.finfo(np.float32).eps) * (1 + float(np.abs(center).max()) / float(radius)))


def tables_of(values, weights) -> tuple[np.floating, np.ndarray]:
    """How far tables reach, and the (d, CELLS + 1) table of each column of (N, d) values."""
    count = weights.sum() ** 2 / (weights**2).sum()
    reach = float(np.clip(-ndtri(min(_BEYOND / count, 0.3)), 0.5, 3.2))
    knots, grid = np.linspace(-reach, reach, _KNOTS), np.linspace(-reach, reach, CELLS + 1)
    tables = []
    for column in values.T:
        found = quantiles(column, weights, ndtr(knots))
        # A column of few values has quantiles that are equal: a table must rise.
        found = found + 1e-6 * (np.ptp(found) or 1.0) * knots
        tables.append(PchipInterpolator(knots, found)(grid))
    return np.float64(reach), np.stack(tables) if tables else np.zeros((0, CELLS + 1))


def normal_of(values, reach, tables) -> np.ndarray:
    """(N, d) normal coordinates of values (N, d)."""
    grid, out = np.linspace(-reach, reach, CELLS + 1), np.empty(np.shape(values))
    for i, table in enumerate(tables):
        y = values[:, i]
        low, high = (table[1] - table[0], table[-1] - table[-2])
        step = grid[1] - grid[0]
        beyond = np.minimum(y - table[0], 0) * step / low + np.maximum(y - table[-1], 0) * step / high
        out[:, i] = np.interp(y, table, grid) + beyond
    return out


def values_of(base, reach, tables) -> np.ndarray:
    """The inverse of `normal_of`."""
    grid, out = np.linspace(-reach, reach, CELLS + 1), np.empty(np.shape(base))
    for i, table in enumerate(tables):
        w, step = base[:, i], grid[1] - grid[0]
        low, high = (table[1] - table[0], table[-1] - table[-2])
        beyond = np.minimum(w - grid[0], 0) * low / step + np.maximum(w - grid[-1], 0) * high / step
        out[:, i] = np.interp(w, grid, table) + beyond
    return out


def log_slopes(values, reach, tables) -> np.ndarray:
    """(N, d) ln d(normal coordinate)/d(value)."""
    out = np.empty(np.shape(values))
    for i, table in enumerate(tables):
        cell = np.clip(np.searchsorted(table, values[:, i], side="right") - 1, 0, CELLS - 1)
        out[:, i] = np.log(2 * reach / CELLS) - np.log(np.diff(table)[cell])
    return out


def quantiles(values, weights, shares) -> np.ndarray:
    """The values below which these shares of the weight lie."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return np.interp(shares, (total - weights[order] / 2) / total[-1], values[order])


def _turned(x, v):
    """Velocities along R, phi, z at x, and back: a reflection is its own inverse."""
    _, _, _, v_R, v_phi, v_z = to_cylindrical(x, v)
    return np.stack([v_R, v_phi, v_z], axis=1)


def _within(s, slope):
    """Share of the stars within s half-mass radii: s^3 far in, 1 - s^-slope far out."""
    return (1 + (2 ** (slope / 3) - 1) * np.maximum(s, 1e-9) ** -slope) ** (-3 / slope)


def _beyond(s, slope):
    """1 - `_within`."""
    return -np.expm1(-3 / slope * np.log1p((2 ** (slope / 3) - 1) * np.maximum(s, 1e-9) ** -slope))


def _radius_of(share, rest, slope):
    """The inverse of `_within` and `_beyond`."""
    share, rest = np.maximum(share, 1e-30), np.clip(rest, 1e-30, 0.5)
    log_share = np.where(share < 0.5, np.log(share), np.log1p(-rest))
    return ((2 ** (slope / 3) - 1) / np.expm1(-slope / 3 * log_share)) ** (1 / slope)


def _rate(s, slope):
    """The derivative of `_within`."""
    c = 2 ** (slope / 3) - 1
    return 3 * c * s ** (-slope - 1) * (1 + c * s**-slope) ** (-3 / slope - 1)
