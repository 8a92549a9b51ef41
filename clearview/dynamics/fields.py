"""Slices of a fitted map, or of the truth, as fields."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from clearview.field import Axis, Quantity, grid, make_field
from clearview.units import ACCELERATION_UNIT, SUN

PHASE_SPACE = ("x", "y", "z", "vx", "vy", "vz")
_UNITS = {"x": "kpc", "y": "kpc", "z": "kpc", "R": "kpc", "phi": "deg", "vx": "km/s", "vy": "km/s", "vz": "km/s"}


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


def _provenance(source, fixed: Mapping[str, float]) -> dict:
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
) -> xr.Dataset:
    """Acceleration and potential on a slice.

    Args:
        source: a `MapFit` or a `clearview.mocks.Truth`: whatever has ``acceleration`` and ``potential``.
        axes: two (or any number of) axes among x, y, z or, with ``phi`` fixed, R and z [kpc].
        fixed: the other coordinates [kpc], or ``phi`` [deg] (the Sun is at 0).
        radius: outside this distance from ``center`` the field is NaN; by default the map's own ball.
        center: (3,) kpc; a map's own center is taken where it has one.
        potential: whether to evaluate the potential too.

    Returns:
        a_x, a_y, a_z, a_R, a_phi, a [(km/s)^2/kpc] and potential [(km/s)^2, zero at the center].
        a_phi is positive along the disc's rotation, as v_phi.

    Raises:
        ValueError: if a coordinate is neither an axis nor fixed, is none of these, or its axis has another unit.
    """
    cylindrical = any(a.name == "R" for a in axes)
    _check(axes, fixed, ("R", "phi", "z") if cylindrical else ("x", "y", "z"))
    if cylindrical:
        R, phi, z = np.moveaxis(grid(axes, fixed, ("R", "phi", "z")), -1, 0)
        phi = np.deg2rad(phi)
        x = np.stack([R * np.cos(phi), R * np.sin(phi), z], axis=-1)
    else:
        x = grid(axes, fixed, ("x", "y", "z"))
    center = np.asarray(getattr(source, "center", center))
    radius = getattr(source, "radius", None) if radius is None else radius
    shape, points = x.shape[:-1], x.reshape(-1, 3)
    a = np.asarray(source.acceleration(points)).reshape(x.shape)
    R = np.maximum(np.hypot(x[..., 0], x[..., 1]), 1e-9)
    values = {
        "a_x": a[..., 0],
        "a_y": a[..., 1],
        "a_z": a[..., 2],
        "a_R": (a[..., 0] * x[..., 0] + a[..., 1] * x[..., 1]) / R,
        "a_phi": (a[..., 0] * x[..., 1] - a[..., 1] * x[..., 0]) / R,
        "a": np.linalg.norm(a, axis=-1),
    }
    if potential:
        phi = np.asarray(source.potential(np.concatenate([points, center[None].astype(np.float32)])))
        values["potential"] = (phi[:-1] - phi[-1]).reshape(shape)
    if radius is not None:
        outside = ((x - center) ** 2).sum(-1) > radius**2
        values = {name: np.where(outside, np.nan, v) for name, v in values.items()}
    words = {"a": "|a|", "a_phi": "a_φ", "potential": "Φ − Φ(center)"}
    units = {"potential": "km2 s-2"}
    quantities = {
        n: Quantity(v.astype(np.float32), units.get(n, ACCELERATION_UNIT), words.get(n, n)) for n, v in values.items()
    }
    return make_field(
        axes,
        quantities,
        _provenance(source, fixed),
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
    _check(axes, fixed, PHASE_SPACE)
    points = grid(axes, fixed, PHASE_SPACE).reshape(-1, 6)
    log_f = np.asarray(fit.log_f(points[:, :3], points[:, 3:])).reshape([a.size for a in axes])
    log_f = np.where(np.isfinite(log_f), log_f, np.nan)
    return make_field(
        axes,
        {"log_f": Quantity(log_f.astype(np.float32), "ln(kpc⁻³ (km/s)⁻³)", "ln f")},
        _provenance(fit, fixed),
    )  # fmt: skip
