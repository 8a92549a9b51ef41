"""Halo profiles and their fits, the rotation curve, the vertical force, and what MOND would make of the baryons.

Everything takes a source with ``acceleration`` of x (N, 3) [kpc]; R, phi, z are cylindrical about the Galactic
centre, phi in deg with the Sun at 0; K_z = a_z. Outside a source's ball the answers are NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from clearview.dynamics.density import kernel_inside
from clearview.halos import Profile
from clearview.units import SUN, G

A0 = 1.2e-10
"""MOND's acceleration scale, m/s^2 (Begeman, Broeils & Sanders 1991, MNRAS 249, 523)."""

SI_ACCELERATION = 1e6 / 3.0856775814913673e19
"""m/s^2 in one (km/s)^2/kpc."""


@dataclass(frozen=True)
class ProfileFit:
    """A halo fitted to densities or to a rotation curve.

    Attributes:
        best: the profile of the highest posterior.
        posterior: samples, columns local_density [Msun/pc^3, at ``R0``], r_s [kpc] and the shape parameters.
        prior: as many samples of the prior, the same columns, to be drawn beside.
        prior_dominated: per column, whether the posterior is wider than 0.7 of the prior (standard deviations, of the
            logarithm for local_density and r_s): such a number repeats the prior and is no measurement.
        chi2: of ``best``.
        points: how many data.
        R0: where local_density is meant, kpc.
    """

    best: Profile
    posterior: pd.DataFrame
    prior: pd.DataFrame
    prior_dominated: dict[str, bool]
    chi2: float
    points: int
    R0: float


_LOGARITHMIC = ("local_density", "r_s")
PRIORS = {"local_density": (1e-3, 1e-1), "r_s": (1.0, 50.0)}
"""Default ranges [Msun/pc^3, kpc], even in the logarithm; those of the shape parameters are even in their value."""


def fit_profile(
    profile: type[Profile],
    r,
    values,
    errors,
    *,
    kind: Literal["density", "velocity"] = "density",
    baryons=None,
    priors: Mapping[str, tuple[float, float]] | None = None,
    R0: float = SUN.R,
    samples: int = 4000,
    seed: int = 0,
) -> ProfileFit:
    """Fit a halo on a grid of its scale and shape; the posterior is exact up to the grid's cells.

    The stars reach from 4 to 12 kpc only: there the local density is measured while scale and shape often are not.

    Args:
        profile: `NFW`, `GeneralisedNFW`, `Einasto`, `Burkert` or `Soliton`.
        r: (N,) kpc.
        values: (N,) dark-matter density [Msun/pc^3], or circular velocity [km/s].
        errors: (N,) standard errors, or (N, N) their covariance, in the same unit.
        kind: what ``values`` are.
        baryons: (N,) circular velocity of the baryons alone [km/s], taken off in squares; with "velocity".
        priors: name to range (low, high) of local_density [Msun/pc^3], r_s [kpc] and the shape parameters, in place
            of `PRIORS` and of the profile's own.
        R0: where local_density is meant, kpc.
        samples: how many to draw.
        seed: of the draws.

    Raises:
        ValueError: for data of unequal length, not finite or without positive errors, or an unknown prior.
    """
    ranges = {**PRIORS, **profile.shapes}
    for name, (low, high) in (priors or {}).items():
        if name not in ranges or not low < high or (name in _LOGARITHMIC and low <= 0):
            raise ValueError(
                f"Expected ranges (low, high) for some of {', '.join(ranges)}, above 0 for local_density and r_s, got "
                f"{name}: {(low, high)}; correct it."
            )
        ranges[name] = (low, high)
    r, data, covariance = _check_data(r, values, errors)
    if kind == "velocity":
        jacobian = 2 * data
        data = data**2 - (0 if baryons is None else np.asarray(baryons, float) ** 2)
        covariance = covariance * jacobian[:, None] * jacobian
    elif kind != "density":
        raise ValueError(f"Expected the kind density or velocity, got {kind!r}; choose one of them.")
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    y = whiten @ data

    def unit(r_s, *shape):
        """Whitened data for 1 Msun/pc^3 at R0: the model is linear in the local density."""
        halo = profile(1.0, r_s, *shape)
        model = halo.density(r) if kind == "density" else G * halo.mass(r) / r
        return whiten @ model / halo.density(R0) * (1.0 if kind == "density" else 1e9)

    names = list(ranges)
    axes = [_axis(name, *ranges[name], size) for name, size in zip(names, (241, 61, 41, 21), strict=False)]
    shape_grid = np.stack(np.meshgrid(*axes[1:], indexing="ij"), axis=-1)
    models = np.apply_along_axis(lambda p: unit(*p), -1, shape_grid)
    square, cross = (models**2).sum(-1), models @ y
    local = axes[0].reshape(-1, *(1,) * square.ndim)
    chi2 = square * local**2 - 2 * cross * local + y @ y

    rng = np.random.default_rng(seed)
    weight = np.exp(-0.5 * (chi2 - chi2.min())).ravel()
    cells = np.unravel_index(rng.choice(weight.size, samples, p=weight / weight.sum()), chi2.shape)
    posterior = pd.DataFrame({n: _jitter(n, a, c, rng) for n, a, c in zip(names, axes, cells, strict=True)})
    prior = pd.DataFrame(
        {n: _jitter(n, a, rng.integers(0, len(a), samples), rng) for n, a in zip(names, axes, strict=True)}
    )
    dominated = {n: bool(_spread(n, posterior[n]) > 0.7 * _spread(n, prior[n])) for n in names}

    def misfit(p):
        model = unit(np.exp(p[0]), *p[1:])
        return float(((y - np.clip(model @ y / (model @ model), *ranges["local_density"]) * model) ** 2).sum())

    start = [axis[c] for axis, c in zip(axes, np.unravel_index(chi2.argmin(), chi2.shape), strict=True)][1:]
    bounds = [tuple(np.log(ranges["r_s"])), *(ranges[n] for n in names[2:])]
    found = minimize(misfit, [np.log(start[0]), *start[1:]], bounds=bounds, method="L-BFGS-B")
    p = [float(np.exp(found.x[0])), *(float(v) for v in found.x[1:])]
    model = unit(*p)
    local = float(np.clip(model @ y / (model @ model), *ranges["local_density"]))
    best = profile(local * 1e9 / float(profile(1.0, *p).density(R0)), *p)
    return ProfileFit(best, posterior, prior, dominated, float(found.fun), len(r), R0)


def circular_velocity(source, R, *, phi: float = 0.0, z: float = 0.0) -> np.ndarray:
    """(N,) v_c = sqrt(R |a_R|) at R (N,) [kpc], km/s; NaN where the force points outwards.

    Raises:
        ValueError: if every place lies outside the source's ball.
    """
    R = np.asarray(R, float)
    inward = -_cylindrical(source, R, phi, z)[0]
    return np.sqrt(np.where(inward >= 0, R * inward, np.nan))


def enclosed_mass(source, r, *, phi: float = 0.0) -> np.ndarray:
    """(N,) v_c^2 r / G [Msun] at r (N,) [kpc] in the plane: the mass inside r were it spherical; a disc pulls more."""
    return circular_velocity(source, r, phi=phi) ** 2 * np.asarray(r, float) / G


def vertical_force(source, z, *, R: float = SUN.R, phi: float = 0.0) -> np.ndarray:
    """(N,) K_z = a_z [(km/s)^2/kpc] at heights z (N,) [kpc]; negative above the plane.

    Raises:
        ValueError: if every place lies outside the source's ball.
    """
    return _cylindrical(source, R, phi, np.asarray(z, float))[1]


def surface_density(source, z, *, R: float = SUN.R, phi: float = 0.0, slope_term: bool = True) -> np.ndarray:
    """Surface density between -z and z from the vertical force.

    Poisson's equation integrated over height gives, in axisymmetry,
    Sigma(<z) = [K_z(-z) - K_z(z)] / (4 pi G) + (1 / 4 pi G) * integral from -z to z of (1/R) d(v_c^2)/dR dz',
    v_c^2(R, z') = -R a_R(R, z'). The second term vanishes for a flat rotation curve at all heights, and the first
    is then the familiar |K_z| / (2 pi G).

    Args:
        source: what has ``acceleration``.
        z: (N,) heights, kpc.
        R: radius, kpc.
        phi: azimuth, deg.
        slope_term: whether to add the second term.

    Returns:
        (N,) Msun/pc^2; NaN outside the ball.

    Raises:
        ValueError: if every place lies outside the source's ball.
    """
    z = np.abs(np.asarray(z, float))
    sigma = _cylindrical(source, R, phi, -z)[1] - _cylindrical(source, R, phi, z)[1]
    if slope_term:
        node, weight = np.polynomial.legendre.leggauss(16)
        heights, step = z[:, None] * node, 0.05
        outer, inner = ((-(R + s) * _cylindrical(source, R + s, phi, heights)[0]) for s in (step, -step))
        sigma = sigma + z * ((outer - inner) / (2 * step * R) @ weight)
    return sigma / (4 * np.pi * G) * 1e-6


def mond_acceleration(baryons, x, a0: float = A0) -> np.ndarray:
    """What modified Newtonian dynamics makes of the baryons' acceleration, by the simple function.

    a = nu(|a_N|/a0) a_N with nu(y) = 1/2 + sqrt(1/4 + 1/y), that is mu(x) = x/(1 + x) (Famaey & Binney 2005,
    arXiv:astro-ph/0506723). Exact in spherical symmetry; near a disc good to some ten per cent.

    Args:
        baryons: whatever has ``acceleration`` of x (N, 3), the Newtonian one of the baryons alone.
        x: (N, 3) kpc.
        a0: m/s^2.

    Returns:
        (N, 3) (km/s)^2/kpc.
    """
    newton = np.asarray(baryons.acceleration(x), float)
    y = np.linalg.norm(newton, axis=-1, keepdims=True) * SI_ACCELERATION / a0
    return (0.5 + np.sqrt(0.25 + 1 / np.maximum(y, 1e-30))) * newton


def _cylindrical(source, R, phi: float, z) -> tuple[np.ndarray, np.ndarray]:
    """a_R and a_z at R and z, which broadcast, at one azimuth [deg]."""
    R, z = np.broadcast_arrays(np.asarray(R, float), np.asarray(z, float))
    c, s = np.cos(np.deg2rad(phi)), np.sin(np.deg2rad(phi))
    x = np.stack([R * c, R * s, z], axis=-1).reshape(-1, 3)
    inside = kernel_inside(source, x, truncation=0.0)
    if not inside.any():
        raise ValueError(f"Expected places inside the ball of {source.radius:g} kpc, got none; move inwards.")
    a = np.array(source.acceleration(x), float)
    a[~inside] = np.nan
    return (a[:, 0] * c + a[:, 1] * s).reshape(R.shape), a[:, 2].reshape(R.shape)


def _check_data(r, values, errors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r, values, errors = (np.asarray(a, float) for a in (r, values, errors))
    covariance = np.diag(errors**2) if errors.ndim == 1 else errors
    if r.ndim != 1 or values.shape != r.shape or covariance.shape != (len(r), len(r)) or not len(r):
        raise ValueError(
            f"Expected radii, values and errors of one length, got {r.shape}, {values.shape}, {errors.shape}."
        )
    finite = all(np.isfinite(a).all() for a in (r, values, covariance))
    if not finite or r.min() <= 0 or (errors if errors.ndim == 1 else errors.diagonal()).min() <= 0:
        raise ValueError("Expected finite data with radii and errors above 0, got others; drop such rows.")
    return r, values, covariance


def _axis(name: str, low: float, high: float, size: int) -> np.ndarray:
    edges = (
        np.linspace(np.log(low), np.log(high), size + 1) if name in _LOGARITHMIC else np.linspace(low, high, size + 1)
    )
    middle = 0.5 * (edges[1:] + edges[:-1])
    return np.exp(middle) if name in _LOGARITHMIC else middle


def _jitter(name: str, axis: np.ndarray, cell: np.ndarray, rng) -> np.ndarray:
    """Values spread evenly over their cells."""
    a = np.log(axis) if name in _LOGARITHMIC else axis
    value = a[cell] + (a[1] - a[0]) * rng.uniform(-0.5, 0.5, len(cell))
    return np.exp(value) if name in _LOGARITHMIC else value


def _spread(name: str, values) -> float:
    return float(np.std(np.log(values) if name in _LOGARITHMIC else values))
