"""Slices of a fitted map, or of the truth, as fields."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from clearview import checks
from clearview.dynamics.dustmaps import from_galactic
from clearview.field import Axis, Quantity, check, grid, make_field
from clearview.units import ACCELERATION_UNIT, SUN

PHASE_SPACE = ("x", "y", "z", "vx", "vy", "vz")
_UNITS = {"x": "kpc", "y": "kpc", "z": "kpc", "R": "kpc", "phi": "deg", "vx": "km/s", "vy": "km/s", "vz": "km/s",
          "l": "deg", "b": "deg", "distance": "kpc"}  # fmt: skip


def _check(axes: Sequence[Axis], fixed: Mapping[str, float], names: Sequence[str]) -> None:
    """Refuse coordinates that are not of this slice, and axes in other units than they are computed in."""
    for name in (*(a.name for a in axes), *fixed):
        if name not in names:
            raise ValueError(f"Expected coordinates among {', '.join(names)}, got {name!r}; correct its name.")
    for axis in axes:
        if axis.units != _UNITS[axis.name]:
            raise ValueError(
                f"Expected the axis {axis.name} in {_UNITS[axis.name]}, got {axis.units}; pass its limits and units so."
            )


def slice_points(axes: Sequence[Axis], fixed: Mapping[str, float]) -> np.ndarray:
    """(*sizes, 3) x, y, z [kpc] of a slice in one of three systems of coordinates.

    These are x, y, z [kpc]; R, z [kpc] and phi [deg] (the Sun is at 0); or, seen from the Sun, l, b [deg] and
    distance [kpc].

    Raises:
        ValueError: if a coordinate is neither an axis nor fixed, is none of these, or its axis has another unit.
    """
    check(axes, fixed)
    names = {*fixed, *(a.name for a in axes)}
    system = next((s for s in (("R", "phi", "z"), ("l", "b", "distance")) if names & set(s[:2])), PHASE_SPACE[:3])
    _check(axes, fixed, system)
    first, second, third = np.moveaxis(grid(axes, fixed, system).astype(float), -1, 0)
    if system[0] == "x":
        return np.stack([first, second, third], axis=-1)
    if system[0] == "l":
        return from_galactic(first, second, third)
    R, phi = first, np.deg2rad(second)
    return np.stack([R * np.cos(phi), R * np.sin(phi), third], axis=-1)


def provenance_of(source, fixed: Mapping[str, float]) -> dict:
    at = {f"at_{name}": float(value) for name, value in fixed.items()}
    return {"source": type(source).__name__, **getattr(source, "provenance", {}), **at}


def acceleration_field(
    source,
    axes: Sequence[Axis],
    fixed: Mapping[str, float],
    *,
    radius: float | None = None,
    center=SUN.position,
    potential: bool = True,
    errors: bool = False,
) -> xr.Dataset:
    """Acceleration and potential on a slice.

    Args:
        source: a `MapFit` or a `clearview.mocks.Truth`: whatever has ``acceleration`` and ``potential``.
        axes: two (or any number of) axes of one of the systems of `slice_points`, such as x and z or R and z [kpc].
        fixed: the other coordinates of that system.
        radius: outside this distance from ``center`` the field is NaN; by default the map's own ball.
        center: (3,) kpc; a map's own center is taken where it has one.
        potential: whether to evaluate the potential too.
        errors: whether to give, of a map, the standard errors that its fit leaves open.

    Returns:
        a_x, a_y, a_z, a_R, a_phi, a [(km/s)^2/kpc] and potential [(km/s)^2, zero at the center].
        a_phi is positive along the disc's rotation, as v_phi. With ``errors`` a_x_error, ... beside them.

    Raises:
        ValueError: if a coordinate is neither an axis nor fixed, is none of these, or its axis has another unit.
    """
    x = slice_points(axes, fixed)
    checks.has(source, "a map or a truth", "acceleration", *["potential"] * potential)
    if errors and not hasattr(source, "acceleration_covariance"):
        raise ValueError(f"Expected a map to have errors, got a {type(source).__name__}; leave out errors=True.")
    checks.number("radius", radius, checks.ABOVE_0, optional=True)
    center = np.asarray(getattr(source, "center", center))
    radius = getattr(source, "radius", None) if radius is None else radius
    shape, points = x.shape[:-1], x.reshape(-1, 3)
    a = np.asarray(source.acceleration(points)).reshape(x.shape)
    R, zero = np.maximum(np.hypot(x[..., 0], x[..., 1]), 1e-9), np.zeros(shape)
    along: dict[str, np.ndarray] = {f"a_{name}": unit for name, unit in zip("xyz", np.eye(3), strict=True)}
    along["a_R"] = np.stack([x[..., 0] / R, x[..., 1] / R, zero], -1)
    along["a_phi"] = np.stack([x[..., 1] / R, -x[..., 0] / R, zero], -1)
    size = np.linalg.norm(a, axis=-1)
    along["a"] = a / np.maximum(size, 1e-9)[..., None]
    values = {name: (a * unit).sum(-1) for name, unit in along.items()}
    if errors:
        covariance = np.asarray(source.acceleration_covariance(points)).reshape(*shape, 3, 3)
        for name, unit in along.items():
            values[f"{name}_error"] = np.sqrt(np.einsum("...i,...ij,...j", unit, covariance, unit))
    if potential:
        phi = np.asarray(source.potential(np.concatenate([points, center[None].astype(np.float32)])))
        values["potential"] = (phi[:-1] - phi[-1]).reshape(shape)
    if radius is not None:
        outside = ((x - center) ** 2).sum(-1) > radius**2
        values = {name: np.where(outside, np.nan, v) for name, v in values.items()}
    words = {"a": "|a|", "a_phi": "a_φ", "potential": "Φ − Φ(center)"}
    words |= {f"{name}_error": f"σ({words.get(name, name)})" for name in along}
    units = {"potential": "km2 s-2"}
    quantities = {
        n: Quantity(v.astype(np.float32), units.get(n, ACCELERATION_UNIT), words.get(n, n)) for n, v in values.items()
    }
    return make_field(
        axes,
        quantities,
        provenance_of(source, fixed),
    )  # fmt: skip


def phase_space_field(fit, axes: Sequence[Axis], fixed: Mapping[str, float]) -> xr.Dataset:
    """ln f on a slice of phase space.

    Args:
        fit: a `MapFit` with a trained density.
        axes: axes among x, y, z [kpc], vx, vy, vz [km/s].
        fixed: the other coordinates.

    Returns:
        log_f, natural logarithm of stars per kpc^3 (km/s)^3 for one star in all; NaN outside the ball.

    Raises:
        ValueError: if a coordinate is neither an axis nor fixed, is none of these, or its axis has another unit.
    """
    check(axes, fixed)
    _check(axes, fixed, PHASE_SPACE)
    points = grid(axes, fixed, PHASE_SPACE).reshape(-1, 6)
    log_f = np.asarray(fit.log_f(points[:, :3], points[:, 3:])).reshape([a.size for a in axes])
    log_f = np.where(np.isfinite(log_f), log_f, np.nan)
    return make_field(
        axes,
        {"log_f": Quantity(log_f.astype(np.float32), "ln(kpc⁻³ (km/s)⁻³)", "ln f")},
        provenance_of(fit, fixed),
    )  # fmt: skip
