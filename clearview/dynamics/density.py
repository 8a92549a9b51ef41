"""The mass density behind a potential: kernel-smoothed Gauss law, or the Laplacian.

Poisson's equation asks for the derivatives of a learnt acceleration, which are noisy; smoothed with a kernel K the
derivative moves to the kernel (Buckley et al. 2023, arXiv:2305.13358). With u the offset from the place x,
-4 pi G (rho * K)(x) = integral K div a = [K a over the surface] + integral K(u) sum_i u_i a_i(x + u) / h_i^2.
K is a Gaussian of widths h, cut at an ellipsoid of ``truncation`` widths and normalised inside it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike

from clearview.dynamics.fields import provenance_of, slice_points
from clearview.dynamics.maps import MapFit
from clearview.dynamics.series import PotentialSeries, in_full
from clearview.field import Axis, Quantity, make_field
from clearview.units import G

Method = Literal["gauss", "laplacian"]

KERNEL = (0.5, 0.5, 0.2)
"""Widths h of the smoothing kernel along x, y, z, kpc."""

TRUNCATION = 2.5
"""Where the kernel ends, in widths: it reaches 1.25 kpc along x and y and 0.5 kpc along z."""

PER_PC3 = 1e-9
"""Msun/pc^3 in one Msun/kpc^3."""

_RADII, _HEIGHTS, _ANGLES = 4, 10, 6
_CHUNK = 1 << 16
_STEP = 0.01  # kpc; of the central differences


def mass_density(
    source,
    x,
    method: Method = "gauss",
    kernel: Sequence[float] = KERNEL,
    truncation: float = TRUNCATION,
) -> np.ndarray:
    """Mass density from an acceleration.

    Args:
        source: a `MapFit`, a `clearview.mocks.Truth`, or whatever has ``acceleration`` of x (N, 3), and ``center`` and
            ``radius`` if it is known only inside a ball.
        x: (N, 3) kpc.
        method: "gauss", the density smoothed with the kernel (see `smooth` for a known density smoothed alike), or
            "laplacian", the density at the place itself: the Laplacian of a map's potential, otherwise central
            differences of the acceleration over 0.02 kpc.
        kernel: h along x, y, z, kpc; for "gauss".
        truncation: radius of the kernel in units of h; for "gauss".

    Returns:
        (N,) Msun/kpc^3; NaN where the place, or its kernel, reaches outside the source's ball.

    Raises:
        ValueError: for another method, a bad kernel, or if every place or kernel reaches outside the ball.
    """
    x, h, t, inside = _checked(source, x, method, kernel, truncation)
    rho = np.full(len(x), np.nan)
    rho[inside] = _gauss(source, x[inside], h, t) if method == "gauss" else _laplacian(source, x[inside])
    return rho


def density_error(
    fit: MapFit,
    x,
    method: Method = "gauss",
    kernel: Sequence[float] = KERNEL,
    truncation: float = TRUNCATION,
) -> np.ndarray:
    """Formal error of a map's density: what the coefficients of its potential leave open, without any bias.

    The density is linear in the coefficients, so their spread gives it in closed form.

    Args:
        fit: a finished map.
        x, method, kernel, truncation: as for `mass_density`.

    Returns:
        (N,) standard errors, Msun/kpc^3; NaN where `mass_density` is.

    Raises:
        ValueError: as `mass_density`.
    """
    x, h, t, inside = _checked(fit, x, method, kernel, truncation)
    fit.acceleration(x[:1])  # refuses an unfinished map
    offset, weight = _gauss_rule(h, t) if method == "gauss" else (None, None)
    error = np.full(len(x), np.nan)
    if inside.any():
        places = jnp.asarray(x[inside], jnp.float32)
        error[inside] = np.asarray(_trace_spread(fit.series, places, offset, weight)) / (4 * np.pi * G)
    return error


def smooth(
    function: Callable[[np.ndarray], np.ndarray],
    x,
    kernel: Sequence[float] = KERNEL,
    truncation: float = TRUNCATION,
    *,
    fine: bool = True,
) -> np.ndarray:
    """A known density smoothed with the kernel of `mass_density`: what that should find.

    Args:
        function: of positions (M, 3) [kpc], giving (M,).
        x: (N, 3) kpc.
        kernel: h along x, y, z, kpc.
        truncation: radius of the kernel in units of h.
        fine: a quadrature for discs of 0.1 kpc; without it, six times cheaper, for those of 0.3 kpc.

    Returns:
        (N,) in the function's unit.
    """
    h, t = _kernel(kernel, truncation)
    # A density bends more than its force.
    s, weight = _radial_rule(t, _RADII + 2 * fine, surface=False)
    direction, share = _directions(_HEIGHTS * (1 + fine), _ANGLES * (1 + fine))
    offset = h * (s[:, None, None] * direction)
    w = (weight[:, None] * share).ravel()
    return _sum(lambda p: np.asarray(function(p))[..., None], _positions(x), offset.reshape(-1, 3), w[:, None])


def kernel_inside(source, x, kernel: ArrayLike = KERNEL, truncation: float = TRUNCATION) -> np.ndarray:
    """(N,) whether the kernel around x (N, 3) [kpc] lies wholly in the source's ball; all true if it has none."""
    radius = getattr(source, "radius", None)
    if radius is None:
        return np.ones(len(x), bool)
    d, h = np.abs(np.asarray(x, float) - np.asarray(source.center)), np.asarray(kernel)
    # The farthest point of the ellipsoid lies in the plane of the z axis and the place.
    angle = np.linspace(0, np.pi / 2, 91)
    across = np.hypot(d[:, 0], d[:, 1])[:, None] + truncation * h[0] * np.cos(angle)
    up = d[:, 2, None] + truncation * h[2] * np.sin(angle)
    return (across**2 + up**2).max(-1) <= radius**2


def density_field(
    source,
    axes: Sequence[Axis],
    fixed: Mapping[str, float],
    *,
    method: Method = "gauss",
    kernel: Sequence[float] = KERNEL,
    truncation: float = TRUNCATION,
) -> xr.Dataset:
    """Mass density on a slice.

    Args:
        source, method, kernel, truncation: as for `mass_density`.
        axes: axes among x, y, z or, with ``phi`` fixed, R and z [kpc].
        fixed: the other coordinates [kpc], or ``phi`` [deg].

    Returns:
        density [Msun/pc^3]; NaN where the place or its kernel reaches outside the ball; the attribute
        ``places_outside`` counts these.

    Raises:
        ValueError: as `mass_density` and `slice_points`.
    """
    points = slice_points(axes, fixed)
    rho = mass_density(source, points.reshape(-1, 3), method, kernel, truncation).reshape(points.shape[:-1])
    attributes = provenance_of(source, fixed) | {"density_method": method, "places_outside": int(np.isnan(rho).sum())}
    if method == "gauss":
        attributes |= {"kernel_kpc": ", ".join(f"{h:g}" for h in kernel), "kernel_truncation": float(truncation)}
    values = (rho * PER_PC3).astype(np.float32)
    return make_field(axes, {"density": Quantity(values, "Msun pc-3", "mass density")}, attributes)


def _positions(x) -> np.ndarray:
    x = np.asarray(x, float)
    if x.ndim != 2 or x.shape[1] != 3:
        raise ValueError(f"Expected positions of shape (N, 3), got {x.shape}; give x, y, z in the last axis.")
    return x


def _kernel(kernel: Sequence[float], truncation: float) -> tuple[np.ndarray, float]:
    h = np.asarray(kernel, float)
    if h.shape != (3,) or not (np.isfinite(h) & (h > 0)).all() or h[0] != h[1]:
        raise ValueError(f"Expected a kernel of three widths above 0, along x as along y, got {kernel}; correct it.")
    if not 0 < truncation < 10:
        raise ValueError(f"Expected a truncation between 0 and 10 widths, got {truncation}; correct it.")
    return h, float(truncation)


def _checked(source, x, method, kernel, truncation):
    """Positions, the kernel's widths and truncation, and (N,) where it lies in the ball."""
    x = _positions(x)
    if method == "gauss":
        h, t = _kernel(kernel, truncation)
        inside = kernel_inside(source, x, h, t)
    elif method == "laplacian":
        h, t = np.zeros(3), 0.0
        inside = kernel_inside(source, x, h, t)
    else:
        raise ValueError(f"Expected the method gauss or laplacian, got {method!r}; choose one of them.")
    if len(x) and not inside.any():
        raise ValueError(
            f"Expected places whose kernel lies inside the ball of {source.radius:g} kpc, got none; the kernel reaches "
            f"{', '.join(f'{r:g}' for r in h * t)} kpc along x, y, z: move inwards or use a smaller kernel."
            if method == "gauss"
            else f"Expected places inside the ball of {source.radius:g} kpc, got none; move inwards."
        )
    return x, h, t, inside


@lru_cache(maxsize=32)
def _radial_rule(t: float, size: int, surface: bool) -> tuple[np.ndarray, np.ndarray]:
    """Gauss rule (nodes s, weights that sum to 1) on the kernel's radius, for functions of s^2.

    With ``surface`` its measure is that of Gauss's law, s^4 exp(-s^2/2) ds and the surface as a point mass at t,
    so that a harmonic field comes out exactly whatever t; otherwise s^2 exp(-s^2/2) ds, that of plain smoothing.
    """
    s, w = leggauss(80)
    s, w = 0.5 * t * (s + 1), 0.5 * t * w
    w = w * s ** (4 if surface else 2) * np.exp(-0.5 * s**2)
    if surface:
        s, w = np.append(s, t), np.append(w, t**3 * np.exp(-0.5 * t**2))
    w = w / w.sum()
    # Lanczos on diag(s^2) from sqrt(w), then Golub & Welsch (1969).
    diagonal, beside, last, now, norm = [], [], np.zeros_like(s), np.sqrt(w), 0.0
    for _ in range(size):
        following = s**2 * now
        diagonal.append(now @ following)
        following = following - diagonal[-1] * now - norm * last
        norm = float(np.linalg.norm(following))
        beside.append(norm)
        last, now = now, following / norm
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1))
    return np.sqrt(nodes), vectors[0] ** 2


def _directions(heights: int, angles: int) -> tuple[np.ndarray, np.ndarray]:
    """(Q, 3) unit vectors and (Q,) weights that sum to 1: Gauss-Legendre in the height, even steps around."""
    mu, w = leggauss(heights)
    # Every other ring is turned by half a step.
    phi = 2 * np.pi * (np.arange(angles) + 0.5 * (np.arange(heights)[:, None] % 2)) / angles
    across = np.sqrt(1 - mu**2)[:, None]
    unit = np.stack([across * np.cos(phi), across * np.sin(phi), np.broadcast_to(mu[:, None], phi.shape)], axis=-1)
    return unit.reshape(-1, 3), np.repeat(0.5 * w / angles, angles)


def _sum(function, x, offset, weight) -> np.ndarray:
    """(N,) sum over q and components of weight (Q, C) * function(x + offset (Q, 3)) (Q, C), in chunks of one size."""
    out, rows = np.empty(len(x)), max(1, _CHUNK // len(offset))
    for first in range(0, len(x), rows):
        part = x[first : first + rows]
        pad = rows - len(part) if first else 0  # a compiled source sees one shape
        p = (np.pad(part, ((0, pad), (0, 0)), mode="edge")[:, None] + offset).reshape(-1, 3)
        values = np.asarray(function(p), float).reshape(len(part) + pad, *weight.shape)
        out[first : first + rows] = np.einsum("nqc,qc->n", values, weight)[: len(part)]
    return out


def _gauss_rule(h, t) -> tuple[np.ndarray, np.ndarray]:
    """(Q, 3) offsets and weights whose sum with the acceleration is its smoothed divergence."""
    s, share = _radial_rule(t, _RADII, surface=True)
    direction, part = _directions(_HEIGHTS, _ANGLES)
    # The mean over directions of a.s/h is s times a smooth function of s^2, whose rule has total weight 3.
    weight = (3 * share / s)[:, None, None] * part[:, None] * direction / h
    return (h * (s[:, None, None] * direction)).reshape(-1, 3), weight.reshape(-1, 3)


def _gauss(source, x, h, t) -> np.ndarray:
    return -_sum(source.acceleration, x, *_gauss_rule(h, t)) / (4 * np.pi * G)


def _laplacian(source, x) -> np.ndarray:
    series = getattr(source, "series", None)
    if isinstance(series, PotentialSeries):
        source.acceleration(x[:1])  # refuses an unfinished map
        trace = _sum(lambda p: _trace(series, jnp.asarray(p, jnp.float32)), x, np.zeros((1, 3)), _ONE)
        return trace / (4 * np.pi * G)
    steps = np.concatenate([np.eye(3), -np.eye(3)])
    return -_sum(source.acceleration, x, _STEP * steps, steps / (2 * _STEP)) / (4 * np.pi * G)


_ONE = np.ones((1, 1))


@eqx.filter_jit
@in_full
def _trace(series, x):
    return jax.lax.map(lambda p: jnp.trace(series.derivatives(p, 2)), x, batch_size=4096)


@eqx.filter_jit
@in_full
def _trace_spread(series, x, offset, weight):
    """(N,) standard deviation of the potential's Laplacian, smoothed if there are offsets."""

    def at(p):
        if offset is None:
            trace = jnp.einsum("kii->k", series.functions(p, 2))
        else:
            around = jnp.asarray(offset, p.dtype) + p
            trace = jnp.einsum("qki,qi->k", jax.vmap(lambda q: series.functions(q, 1))(around), weight)
        return jnp.linalg.norm(trace @ series.spread)

    return jax.lax.map(at, x, batch_size=4096 if offset is None else 32)
