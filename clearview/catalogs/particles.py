"""Simulated galaxies as catalogues: particles centred, turned as our Galaxy turns, and seen from a Sun of choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy import units as u

from clearview.checks import ABOVE_0, a, number, path_of, texts, triple
from clearview.units import SUN, Sun

from .catalog import Catalog
from .columns import ColumnError, listed

_NAMES = {
    "pos": ("pos", "Coordinates", "coordinates", "Pos", "position", "positions"),
    "vel": ("vel", "Velocities", "velocities", "Vel", "velocity"),
    "mass": ("mass", "Masses", "masses", "Mass"),
}
_FEWEST = 100


@dataclass(frozen=True)
class Particles:
    """Particles of a simulation, which do not change: every step returns new ones.

    Attributes:
        x: (N, 3) places, kpc.
        v: (N, 3) velocities, km/s.
        mass: (N,) Msun.
        meta: what was done to them, in plain values.
    """

    x: np.ndarray
    v: np.ndarray
    mass: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, pos, vel, mass=None, *, units: Sequence[str] | None = None, meta: Mapping | None = None) -> "Particles":
        """From arrays, such as ``pos``, ``vel`` and ``mass`` of a pynbody snapshot.

        Args:
            pos, vel: (N, 3) places and velocities, not comoving.
            mass: (N,), or None for equal masses of 1 Msun.
            units: of pos, vel and mass, as astropy writes them: ``("kpc", "km/s", "Msun")``, or with a factor, such as
                ``("1.4 kpc", "km/s", "1.4e10 Msun")``. Not needed for Quantities. They are never guessed.
            meta: where they come from.

        Raises:
            ValueError: for shapes that do not fit, no or wrong units, values that are not finite or fewer than 100
                particles.
        """
        told = dict(zip(_NAMES, a(units or (), Sequence, "units of pos, vel and mass"), strict=False))
        pos, vel = _plain(pos, told, "pos", "kpc"), _plain(vel, told, "vel", "km/s")
        mass = np.ones(len(pos)) if mass is None else _plain(mass, told, "mass", "Msun")
        if pos.ndim != 2 or pos.shape[1] != 3 or vel.shape != pos.shape or mass.shape != pos.shape[:1]:
            raise ValueError(
                f"Expected pos and vel of shape (N, 3) and mass (N,), got {pos.shape}, {vel.shape} and {mass.shape}; "
                "stack the components."
            )
        if len(pos) < _FEWEST:
            raise ValueError(f"Expected at least {_FEWEST} particles, got {len(pos)}; read another family.")
        if bad := np.count_nonzero(~(np.isfinite(pos).all(1) & np.isfinite(vel).all(1) & np.isfinite(mass))):
            raise ValueError(f"Expected finite numbers, got {bad:,} particles without; drop them.")
        if (mass < 0).any() or not mass.any():
            raise ValueError("Expected masses that are not negative, nor all zero, got others; correct them.")
        return cls(pos, vel, mass, {"particles": len(pos), **(meta or {})})

    def __len__(self) -> int:
        return len(self.x)

    def _with(self, x, v, **meta) -> "Particles":
        return Particles(x, v, self.mass, {**self.meta, **meta})

    def centred(self, *, shrink: float = 0.8, fewest: int = 200) -> "Particles":
        """Places from the densest point, velocities from the mean motion there.

        Shrinking spheres (Power et al. 2003, arXiv:astro-ph/0201544): the centre of mass within a sphere that shrinks
        by ``shrink`` until ``fewest`` particles are left. Velocities: of the 10% of the particles nearest to it.
        Particles across the wall of a periodic box must be brought together before.
        """
        number("shrink", shrink, 0.01, 0.99)
        number("fewest", fewest, 1, len(self), whole=True)
        center = np.average(self.x, axis=0, weights=self.mass)
        radius = np.linalg.norm(self.x - center, axis=1).max()
        inside = np.ones(len(self), bool)
        while inside.sum() > fewest and self.mass[inside].any():
            center = np.average(self.x[inside], axis=0, weights=self.mass[inside])
            radius *= shrink
            inside = np.linalg.norm(self.x - center, axis=1) < radius
        distance = np.linalg.norm(self.x - center, axis=1)
        core = distance <= np.partition(distance, max(fewest, len(self) // 10) - 1)[max(fewest, len(self) // 10) - 1]
        drift = np.average(self.v[core], axis=0, weights=self.mass[core])
        return self._with(
            self.x - center, self.v - drift, center_kpc=center.tolist(), center_velocity_kms=drift.tolist()
        )

    def upright(self, *, within: float | None = None, axis: Sequence[float] | None = None) -> "Particles":
        """Turned so that the disc lies in the plane and rotates as ours does: L_z < 0, v_phi > 0.

        Args:
            within: particles this near to the centre say how the disc lies, kpc; by default those within the radius
                that holds half the mass.
            axis: (3,) the direction of the disc's angular momentum instead of theirs.

        Raises:
            ValueError: if their angular momentum is not 5 times what random motions would give, so that there is no
                telling how the disc lies.
        """
        r = np.linalg.norm(self.x, axis=1)
        if axis is None:
            if within is None:
                order = np.argsort(r)
                within = float(r[order][np.searchsorted(np.cumsum(self.mass[order]), 0.5 * self.mass.sum())])
            near = r <= within
            spin = self.mass[near, None] * np.cross(self.x[near], self.v[near])
            total, noise = spin.sum(0), np.sqrt((spin**2).sum())
            if not np.linalg.norm(total) > 5 * noise:
                raise ValueError(
                    f"Expected particles that rotate within {within:.3g} kpc, got an angular momentum of "
                    f"{np.linalg.norm(total) / max(noise, 1e-300):.1f} times its noise; centre them first, or say how "
                    "the disc lies with axis=."
                )
        else:
            total = np.array(triple("axis", axis))
            if not np.linalg.norm(total) > 0:
                raise ValueError(f"Expected an axis of three numbers, not all zero, got {axis!r}; correct it.")
        down = total / np.linalg.norm(total)  # becomes -z
        side = np.cross(down, np.eye(3)[np.abs(down).argmin()])
        side /= np.linalg.norm(side)
        turn = np.stack([side, np.cross(-down, side), -down])
        return self._with(self.x @ turn.T, self.v @ turn.T, disc_axis=down.tolist())

    def around(self, R: float = SUN.R, phi: float = 0.0, *, z: float = SUN.z, radius: float = 4.0) -> Catalog:
        """The particles in a ball around a Sun, as a catalogue whose Sun is at (R, 0, z) of the internal frame.

        Args:
            R: of the Sun from the centre, kpc.
            phi: where around the centre, deg, in the frame of `upright`; the galaxy is turned by -phi.
            z: height of the Sun, kpc.
            radius: of the ball, kpc.

        Returns:
            x, y, z, vx, vy, vz and ``mass`` [Msun]; ``catalog.sun`` is the Sun, at R and z, with our Sun's velocity.
            The centre of a map of it is ``catalog.sun.position``, the ``center`` of a `MapConfig`.

        Raises:
            ValueError: for R or radius that are not positive, or an empty ball.
        """
        number("radius", radius, ABOVE_0)
        number("phi", phi)
        sun = Sun.of(Sun(R, z, SUN.v_radial, SUN.v_phi, SUN.v_z))
        c, s = np.cos(np.deg2rad(phi)), np.sin(np.deg2rad(phi))
        turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        x = self.x @ turn.T
        near = np.linalg.norm(x - sun.position, axis=1) < radius
        if not near.any():
            raise ValueError(
                f"Expected particles within {radius:g} kpc of the Sun at R = {R:g} kpc, got none; choose another place."
            )
        meta = {
            "source": "simulation", "sun": sun.to_dict(),
            "simulation": {**self.meta, "sun_phi_deg": float(phi), "radius_kpc": float(radius)},
        }  # fmt: skip
        columns = {"mass": u.Quantity(self.mass[near].astype(np.float32), "Msun")}
        v = (self.v @ turn.T)[near].astype(np.float32)
        return Catalog.from_phase_space(x[near].astype(np.float32), v, columns=columns, meta=meta)


def read_particles(
    path: str | Path, group: str, *, units: Sequence[str], names: Mapping[str, str] | None = None
) -> Particles:
    """Read one family of particles from an HDF5 file.

    Args:
        path: of the file: Gadget-like (``PartType4/Coordinates``, ``Velocities``, ``Masses``) or with pynbody's names.
        group: the family, such as "PartType4" or "star"; "/" for datasets at the root.
        units: of places, velocities and masses; see `Particles.of`. Factors of h and of the scale factor belong here.
        names: of the datasets, for "pos", "vel" and "mass", where they differ. Without masses all are equal.

    Raises:
        FileNotFoundError, KeyError, ValueError: if the file, the group or a dataset is not there or cannot be read, or
            as of `Particles.of`.
    """
    path = path_of(path)
    texts("the datasets", list((names or {}).values()))
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file to read, got {path}, which is none; check the name.")
    if unknown := set(names or {}) - set(_NAMES):
        raise ValueError(f"Expected names of pos, vel or mass, got {listed(map(repr, unknown))}; correct them.")
    try:
        file = h5py.File(path)
    except OSError as problem:
        raise ValueError(f"Expected an HDF5 file, got {path.name} ({problem}); convert it.") from problem
    with file:
        if not isinstance(group, str) or group not in file or not isinstance(file[group], h5py.Group):
            groups = [n for n, item in file.items() if isinstance(item, h5py.Group)]
            raise ColumnError(f"Expected a group among {listed(groups)} in {path.name}, got {group!r}; choose one.")
        family: Any = file[group]
        found = {}
        for what, usual in _NAMES.items():
            options = (names[what],) if names and what in names else usual
            name = next((n for n in options if n in family and isinstance(family[n], h5py.Dataset)), None)
            if name is not None:
                found[what] = family[name][()]
            elif what != "mass" or (names and "mass" in names):
                raise ColumnError(
                    f"Expected {what} as one of {listed(options)} in {group} of {path.name}, got "
                    f"{listed(family)}; map yours with names={{{what!r}: your dataset}}."
                )
    meta = {"file": path.name, "group": group}
    return Particles.of(found["pos"], found["vel"], found.get("mass"), units=units, meta=meta)


def _plain(values, units: Mapping[str, Any], name: str, wanted: str) -> np.ndarray:
    """(N, ...) float64 in ``wanted``."""
    unit: Any = units.get(name)
    if isinstance(values, u.Quantity):
        values, unit = values.value, values.unit
    if unit is None:
        raise ValueError(f"Expected the unit of {name}, got none; pass units=(of pos, of vel, of mass).")
    try:
        factor: Any = u.Unit(unit).to(wanted)  # pyright: ignore[reportAttributeAccessIssue]
    except (u.UnitConversionError, ValueError, TypeError):
        raise ValueError(f"Expected a unit of {name} convertible to {wanted}, got {unit!r}; correct it.") from None
    if np.asarray(values).dtype.kind not in "fiu":
        raise ValueError(f"Expected numbers for {name}, got {np.asarray(values).dtype}; correct them.")
    return np.asarray(values, float) * factor
