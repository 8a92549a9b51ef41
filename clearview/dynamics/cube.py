"""The smoothed density of a whole ball at once, of which any slice then follows in milliseconds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import binary_dilation, map_coordinates
from scipy.signal import oaconvolve

from clearview.dynamics.darkmatter import BaryonModel
from clearview.dynamics.density import KERNEL, PER_PC3, TRUNCATION, kernel_inside, mass_density, smooth
from clearview.dynamics.fields import provenance_of, slice_points
from clearview.field import Axis, Quantity, make_field
from clearview.units import SUN

_CELLS = 3  # to a width of the kernel


def density_cube(
    source,
    baryons: BaryonModel | None = None,
    kernel: Sequence[float] = KERNEL,
    truncation: float = TRUNCATION,
    *,
    center=SUN.position,
    radius: float | None = None,
) -> xr.Dataset:
    """Total density, baryons and dark matter in a ball, smoothed with the kernel of `mass_density`.

    By Gauss's theorem the smoothed Laplacian is the Gauss law of `mass_density`. It is taken once a cell, of a third of
    the kernel's widths, and not once for each place and point of its kernel; both agree to about a per cent.

    Args:
        source, kernel, truncation: as for `mass_density`; of a source that has ``density`` of x (N, 3) [Msun/kpc^3],
            as a `clearview.mocks.Truth`, this is smoothed.
        baryons: by default `MCKEE_2015`; symmetric about the axis.
        center, radius: of the ball, kpc, where the source has none.

    Returns:
        density, baryons, dark_matter [Msun/pc^3] on axes x, y, z; NaN more than a cell beyond where the kernel reaches
        outside the ball.

    Raises:
        ValueError: for a bad kernel, a source without ball or radius, or a ball that no kernel fits into.
    """
    center = np.asarray(getattr(source, "center", center), float)
    own = getattr(source, "radius", None)
    radius = own if radius is None else float(radius)
    if own is not None and radius is not None and radius > own * (1 + 1e-6):
        raise ValueError(f"Expected a radius of at most the source's own {own:g} kpc, got {radius:g}; leave it out.")
    if radius is None:
        raise ValueError("Expected a source with a ball, or a radius, got neither; pass radius in kpc.")
    mass_density(_Still(center, radius), center[None], "gauss", kernel, truncation)  # refuses what does not fit
    h = np.asarray(kernel, float)
    half = np.ceil(_CELLS * radius / h).astype(int) + 1
    axes = [Axis(n, c - k * s, c + k * s, 2 * k) for n, c, k, s in zip("xyz", center, half, h / _CELLS, strict=True)]
    x = np.stack(np.meshgrid(*(a.values for a in axes), indexing="ij"), -1)
    near = np.linalg.norm(x - center, axis=-1) < radius
    rho = np.zeros(near.shape)
    known: Any = getattr(source, "density", None)
    inside = x[near]
    rho[near] = np.asarray(known(inside), float) if callable(known) else mass_density(source, inside, "laplacian")
    rho = oaconvolve(rho, _weights(truncation), mode="same")
    # One cell more, so that a slice can be drawn up to the edge.
    outside = np.logical_not(binary_dilation(_inside(x, center, radius, h, truncation), np.ones((3, 3, 3))))
    discs = _baryons(BaryonModel() if baryons is None else baryons, x, np.logical_not(outside), h, truncation)
    words = {"density": ("mass density", rho), "baryons": ("baryon density", discs),
             "dark_matter": ("dark-matter density", rho - discs)}  # fmt: skip
    values = {
        name: Quantity(np.where(outside, np.nan, v * PER_PC3).astype(np.float32), "Msun pc-3", label)
        for name, (label, v) in words.items()
    }
    told = {
        "kernel_kpc": ", ".join(f"{k:g}" for k in h),
        "kernel_truncation": float(truncation),
        "ball_kpc": ", ".join(f"{k:.9g}" for k in (*center, radius)),
    }
    return make_field(axes, values, provenance_of(source, {}) | told)


def cut(cube: xr.Dataset, axes: Sequence[Axis], fixed: Mapping[str, float]) -> xr.Dataset:
    """A slice of a field on x, y, z, linear between its cells.

    Args:
        cube: on regular axes x, y, z [kpc], such as `density_cube` gives.
        axes, fixed: as for `slice_points`.

    Returns:
        The same variables on ``axes``; NaN outside the cube, next to its NaN, and where the kernel of `density_cube`
        reaches outside the ball.

    Raises:
        ValueError: if the field has other axes, or as `slice_points`.
    """
    if set(cube.dims) != set("xyz"):
        raise ValueError(f"Expected a field on x, y, z, got one on {', '.join(map(str, cube.dims))}; cut a cube.")
    points, grid = slice_points(axes, fixed), [cube[k].values for k in "xyz"]
    at = np.stack([(points[..., i] - g[0]) / (g[1] - g[0]) for i, g in enumerate(grid)])
    inside = np.ones(points.shape[:-1], bool)
    if "ball_kpc" in cube.attrs:
        ball, h = (np.array(cube.attrs[k].split(", "), float) for k in ("ball_kpc", "kernel_kpc"))
        inside = _inside(points, ball[:3], ball[3], h, cube.attrs["kernel_truncation"])
    values = {}
    for name, v in cube.data_vars.items():
        found = map_coordinates(v.transpose(*"xyz").values, at, order=1, cval=np.nan, prefilter=False)
        values[str(name)] = Quantity(np.where(inside, found, np.nan), v.attrs["units"], v.attrs["long_name"])
    return make_field(axes, values, {**cube.attrs, **{f"at_{name}": float(v) for name, v in fixed.items()}})


class _Still:
    """A ball in which nothing pulls, to check whether a kernel fits."""

    def __init__(self, center, radius: float):
        self.center, self.radius = center, radius

    def acceleration(self, x) -> np.ndarray:
        return np.zeros((len(x), 3))


def _inside(x, center, radius: float, h, truncation: float) -> np.ndarray:
    """(...) whether the kernel around x (..., 3) lies wholly in the ball."""
    return kernel_inside(_Still(center, radius), x.reshape(-1, 3), h, truncation).reshape(x.shape[:-1])


def _weights(truncation: float) -> np.ndarray:
    """(n, n, n) shares of the kernel in cells about its middle; those it cuts count with the part inside."""
    n, fine = int(np.ceil(_CELLS * truncation)), 4
    steps = (np.arange((2 * n + 1) * fine) + 0.5) / fine - n - 0.5
    r2 = sum(k**2 for k in np.meshgrid(*[steps / _CELLS] * 3, indexing="ij", sparse=True))
    share = np.where(r2 < truncation**2, np.exp(-0.5 * r2), 0.0)
    share = share.reshape([2 * n + 1, fine] * 3).sum((1, 3, 5))
    return share / share.sum()


def _baryons(model: BaryonModel, x: np.ndarray, inside: np.ndarray, h, truncation: float) -> np.ndarray:
    """Smoothed baryons at x (..., 3) by a table in R and |z|, Msun/kpc^3; 0 where they are not asked for."""
    R, z = np.hypot(x[..., 0], x[..., 1]), np.abs(x[..., 2])
    known = np.zeros(inside.shape)
    if not inside.any():
        return known
    rows = np.linspace(R[inside].min(), R[inside].max(), 12)
    heights = np.linspace(0, z[inside].max(), max(2, int(4 * z[inside].max() / h[2])))
    places = np.stack(np.meshgrid(rows, [0.0], heights, indexing="ij"), -1).reshape(-1, 3)
    # In logarithms a disc is nearly straight between the nodes.
    table = np.log(smooth(model.density, places, h, truncation)).reshape(len(rows), len(heights))
    at = (R[inside] - rows[0]) / (rows[1] - rows[0] or 1.0), z[inside] / heights[1]
    known[inside] = np.exp(map_coordinates(table, at, order=1, mode="nearest"))
    return known
