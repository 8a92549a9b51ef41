"""A fitted potential in float64 with its exact gradient, inside its ball and, if so named, beyond.

Maps are made in float32, in which the force is the gradient of the potential to 1e-6 only; orbits need better.
"""

import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from clearview.checks import has
from clearview.mocks import POTENTIALS, Truth

try:
    from jax import enable_x64  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # before jax 0.8
    from jax.experimental import enable_x64  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

CORE = 1.0
"""Core radius of the flat rotation curve, kpc: its logarithm would have no bottom."""

OUTER = ("flat_curve", *POTENTIALS)
"""Names of the outer extensions."""

_STEP = 1e-3  # kpc, of the differences of the force


class OutsideBallError(ValueError):
    """A place outside the ball of the map, where it knows nothing."""


class FlatCurve:
    """Phi = v^2/2 ln(r^2 + core^2) about the Galactic centre: a flat rotation curve of ``speed`` km/s, no disc."""

    def __init__(self, speed: float):
        self.speed, self.provenance = speed, {"outer_speed_kms": speed}

    def potential(self, x) -> np.ndarray:
        return 0.5 * self.speed**2 * np.log((x**2).sum(-1) + CORE**2)

    def acceleration(self, x) -> np.ndarray:
        return -(self.speed**2) * x / ((x**2).sum(-1, keepdims=True) + CORE**2)


class BallPotential:
    """Potential, acceleration and tides of a source, in the internal frame and float64.

    Outside the ball there is no map. With ``outer`` the potential goes on there as

        Phi(x) = Phi_outer(x) + mean(d) + (d(p) - mean(d)) (radius / r)^2,  d = Phi_map - Phi_outer on the sphere,

    r the distance from the ball's center and p the point of the sphere under x. It is continuous, and so conserves
    energy; the force is its exact gradient on either side, but has a step at the sphere whose median size over |a| is
    ``provenance["outer_force_step"]``. What an orbit does outside is the extension's doing, not the data's.

    Args:
        source: a `MapFit`, a `Truth`, or whatever has ``acceleration`` and ``potential`` at x (N, 3) [kpc]; a
            potential in ``source.series`` is evaluated anew in float64.
        outer: None (leaving the ball is an error); "flat_curve", a spherical flat rotation curve whose speed is
            fitted to the map's force on the sphere; a name among `clearview.mocks.POTENTIALS`; or another source.

    Raises:
        ValueError: if the source is not finished, its acceleration is not minus the gradient of its potential, or
            ``outer`` is not known or not needed.

    Attributes:
        provenance: of the source, with ``outer``.
        refused: the first error about a place outside the ball since it was last set to None.
    """

    def __init__(self, source, outer: Any = None):
        has(source, "a map with a potential", "acceleration", "potential")
        if isinstance(outer, str) and outer not in OUTER:
            raise ValueError(f"Expected an outer potential among {', '.join(OUTER)}, got {outer!r}; choose one.")
        self.center = np.asarray(getattr(source, "center", np.zeros(3)), float)
        self.radius = float(getattr(source, "radius", np.inf))
        if outer is not None and not np.isfinite(self.radius):
            raise ValueError(
                f"Expected no outer potential for a {type(source).__name__}, which has no edge, got one; leave it out."
            )
        series = getattr(source, "series", None)
        if series is not None:
            source.potential(self.center[None])  # an unfinished fit says so itself
        self._map = _of_source(source) if series is None else _of_series(series)
        self._last: tuple[bytes, Any] = b"", None
        self._outer: Any = None
        self.refused: OutsideBallError | None = None
        self._check(source)
        self.provenance = {"source": type(source).__name__, **getattr(source, "provenance", {})}
        if outer is not None:
            self._extend(outer)
        else:
            self.provenance["outer"] = "none"

    def _check(self, source) -> None:
        """The work along three chords must be the difference of the potential."""
        node, weight = np.polynomial.legendre.leggauss(16)
        reach = 0.5 * min(self.radius, 4.0)
        start = self.center if np.isfinite(self.radius) else np.array([8.0, 0.0, 0.0])
        for way in reach * np.array([[1, 0.3, 0.2], [0.2, 1, 0.4], [0.3, 0.2, 1]]):
            values, _ = self._map(np.stack([start - way, start + way]))
            _, a = self._map(start + node[:, None] * way)
            work, scale = weight @ a @ way, (weight * np.linalg.norm(a, axis=1)).sum() * np.linalg.norm(way)
            if not abs(values[0] - values[1] - work) <= 1e-3 * scale:
                raise ValueError(
                    "Expected an acceleration that is minus the gradient of the potential, got a "
                    f"{type(source).__name__} whose two differ by {abs(values[0] - values[1] - work) / scale:.1%}; "
                    "use a map with a potential."
                )

    def _extend(self, outer) -> None:
        sphere = self.center + self.radius * _directions(1000)
        phi, a = self._map(sphere)
        if outer == "flat_curve":
            unit = FlatCurve(1.0).acceleration(sphere)
            square = float((a * unit).sum() / (unit**2).sum())
            if square <= 0:
                raise ValueError(
                    "Expected a force towards the Galactic centre on the ball's surface to fit a flat curve to, got "
                    "one away from it; choose another outer potential or fit the map longer."
                )
            model, name = FlatCurve(square**0.5), outer
        else:
            model = Truth(outer) if isinstance(outer, str) else outer
            name = outer if isinstance(outer, str) else type(outer).__name__
        self._outer = _of_source(model)
        phi_outer, _ = self._outer(sphere)
        self._offset = float((phi - phi_outer).mean())
        _, outside = self._beyond(self.center + (1 + 1e-9) * (sphere - self.center))
        step = np.median(np.linalg.norm(outside - a, axis=1) / np.linalg.norm(a, axis=1))
        self.provenance |= {"outer": name, **getattr(model, "provenance", {}), "outer_force_step": float(step)}

    def _beyond(self, x):
        away = x - self.center
        r = np.linalg.norm(away, axis=1, keepdims=True)
        n = away / r
        foot = self.center + self.radius * n
        (phi, a), (phi_map, a_map), (phi_foot, a_foot) = self._outer(x), self._map(foot), self._outer(foot)
        d, slope = phi_map - phi_foot - self._offset, a_foot - a_map
        fade = (self.radius / r) ** 2
        across = slope - (slope * n).sum(1, keepdims=True) * n
        pull = fade * self.radius / r * across - 2 * fade / r * d[:, None] * n
        return phi + self._offset + fade[:, 0] * d, a - pull

    def __call__(self, x) -> tuple[np.ndarray, np.ndarray]:
        """Potential (N,) [(km/s)^2] and acceleration (N, 3) [(km/s)^2/kpc] at x (N, 3) [kpc].

        Raises:
            OutsideBallError: for a place outside the ball, without an outer potential.
            ValueError: for a place that is not finite.
        """
        x = np.ascontiguousarray(x, float)
        if (key := x.tobytes()) == self._last[0]:  # galpy asks for each component of one force in turn
            return self._last[1]
        far = np.linalg.norm(x - self.center, axis=1)
        if not np.isfinite(far).all():
            raise ValueError("Expected finite places, got some that are not; look at the orbit before they appear.")
        outside = far > self.radius
        if outside.any() and self._outer is None:
            worst = x[far.argmax()]
            error = OutsideBallError(
                f"Expected places within {self.radius:g} kpc of the ball's center, got one at {far.max():.4g} kpc from "
                f"it, x = {worst[0]:.4g}, y = {worst[1]:.4g}, z = {worst[2]:.4g} kpc; end the orbit before, or name "
                f"what to take there with outer= (one of {', '.join(OUTER)})."
            )
            self.refused = self.refused or error
            raise error
        if outside.any():
            phi, a = np.empty(len(x)), np.empty_like(x)
            if not outside.all():
                phi[~outside], a[~outside] = self._map(x[~outside])
            phi[outside], a[outside] = self._beyond(x[outside])
        else:
            phi, a = (np.array(part) for part in self._map(x))
        phi.flags.writeable = a.flags.writeable = False  # they are kept
        self._last = key, (phi, a)
        return phi, a

    def potential(self, x) -> np.ndarray:
        """(N,) potential, (km/s)^2."""
        return self(x)[0]

    def acceleration(self, x) -> np.ndarray:
        """(N, 3) acceleration, (km/s)^2/kpc."""
        return self(x)[1]

    def hessian(self, x) -> np.ndarray:
        """(N, 3, 3) second derivatives of the potential, (km/s)^2/kpc^2, by central differences of the force."""
        self(x)  # the place itself must be in the ball; the steps of a parsec beside it need not
        field = self._map if self._outer is None else self
        steps = _STEP * np.eye(3)
        rows = [(field(np.asarray(x) - s)[1] - field(np.asarray(x) + s)[1]) / (2 * _STEP) for s in steps]
        h = np.stack(rows, axis=1)
        return 0.5 * (h + np.swapaxes(h, 1, 2))


def _of_source(source):
    def both(x):
        return np.asarray(source.potential(x), float), np.asarray(source.acceleration(x), float)

    return both


@eqx.filter_jit
def _value_and_grad(series, x):
    return jax.vmap(jax.value_and_grad(series))(x)


def _of_series(series):
    """Potential and acceleration of a series with its coefficients in float64."""
    with enable_x64(True):
        parts, static = eqx.partition(series, eqx.is_inexact_array)
        exact = eqx.combine(jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), parts), static)
    home = os.getpid()

    def both(x):
        if os.getpid() != home:
            raise RuntimeError(
                "Expected the process that made this potential, got a copy of it, in which JAX would hang; integrate "
                "several orbits with numcores=1."
            )
        pad = max(32, 1 << (len(x) - 1).bit_length())  # few shapes, few compilations
        with enable_x64(True):
            phi, grad = _value_and_grad(exact, np.concatenate([x, np.broadcast_to(x[-1], (pad - len(x), 3))]))
            return np.array(phi)[: len(x)], -np.array(grad)[: len(x)]

    return both


def _directions(n: int) -> np.ndarray:
    """(n, 3) unit vectors spread evenly: the Fibonacci sphere."""
    z = 1 - (2 * np.arange(n) + 1) / n
    turn = np.pi * (1 + 5**0.5) * np.arange(n)
    return np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], -1)
