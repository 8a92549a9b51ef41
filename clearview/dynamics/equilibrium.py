"""Is the Galaxy steady and symmetric, and is a potential right? Residuals, mirror images, moments of real stars."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jax import random
from scipy.stats import chi2 as chi2_distribution

from clearview.catalogs import Catalog
from clearview.dynamics.fields import provenance_of, slice_points
from clearview.dynamics.identifiability import readings, trained_density, within
from clearview.field import Axis, Quantity, make_field, summarise
from clearview.flows.density import rotate
from clearview.units import ACCELERATION_UNIT, SUN

Kind = Literal["north-south", "azimuthal"]
KINDS = ("north-south", "azimuthal")
PER_GYR = 1.0227121650537077
"""1 km/s/kpc in 1/Gyr."""


@dataclass(frozen=True)
class Check:
    """A comparison with zero, item by item and in all.

    Attributes:
        table: the items, with their errors.
        summary: columns chi2, dof, p_value; the last row, "all", takes the covariance between items into account.
    """

    table: pd.DataFrame
    summary: pd.DataFrame

    @property
    def p_value(self) -> float:
        """Probability of a chi2 at least as large, were everything zero."""
        return float(self.summary["p_value"].to_dict()["all"])


def residual_field(
    source, axes: Sequence[Axis], fixed: Mapping[str, float], *, key=None, draws: int = 500,
) -> xr.Dataset:  # fmt: skip
    """What the Boltzmann equation leaves, r = v . d ln f/dx + a . d ln f/dv over draws of p(v | x), on a slice.

    In a steady state r = -d ln f/dt = 0 for every velocity. Its mean over velocities is -d ln n/dt. A learnt density
    leaves a residual of its own, so compare with that of a quiet mock, or give several maps.

    Args:
        source: a map with ``density`` and ``acceleration``, or several (an ensemble).
            Of several the mean is taken.
        axes: axes among x, y, z or, with ``phi`` fixed, R and z [kpc].
        fixed: the other coordinates [kpc], or ``phi`` [deg].
        key: of the draws, the same for all places.
        draws: velocities per place.

    Returns:
        mean and spread (68 % half-width about the mean) [1/Gyr]; relative, median |r| over the median |v . d ln f/dx|;
        mean_std, the error of the mean: for several sources with that of each but the draws, for one that of the draws
        alone. NaN outside the ball.

    Raises:
        ValueError: if there is no trained density; if a coordinate is neither an axis nor fixed, or has another unit.
    """
    sources, points = _several(source), slice_points(axes, fixed)
    densities = [trained_density(s) for s in sources]
    key = random.key(0) if key is None else key
    values = np.full((4, len(sources), *points.shape[:-1]), np.nan, np.float32)
    for m, (one, density) in enumerate(zip(sources, densities, strict=True)):
        inside = within(one, points)
        force = np.asarray(one.acceleration(points[inside]), float)
        for index, place, a in zip(np.argwhere(inside), points[inside], force, strict=True):
            _, drift, g = readings(density, place, key, draws)
            if len(drift) < 2:
                continue
            r = drift + g @ a
            low, high = np.percentile(r, [15.865, 84.135])
            # The mean of what lies within ten half-widths: a single wild gradient is not the Galaxy's.
            core = r[np.abs(r - np.median(r)) <= 5 * max(high - low, 1e-12)]
            error = core.std(ddof=1) / np.sqrt(len(core))
            found = core.mean() * PER_GYR, (high - low) / 2 * PER_GYR, np.median(np.abs(r)) / np.median(np.abs(drift))
            values[(slice(None), m, *index)] = *found, error * PER_GYR
    mean = values.mean(1)
    # One map tells only the error of its draws, several their own scatter, of which the mean has the root's share.
    error = mean[3] if len(sources) == 1 else values[0].std(0, ddof=1) / np.sqrt(len(sources))
    words = {
        "mean": Quantity(mean[0], "Gyr-1", "mean residual"),
        "mean_std": Quantity(error, "Gyr-1", "error of the mean residual"),
        "spread": Quantity(mean[1], "Gyr-1", "spread of the residual"),
        "relative": Quantity(mean[2], "", "residual over drift"),
    }
    told = {"draws": draws, "maps": len(sources), "error_of": "the draws" if len(sources) == 1 else "the maps"}
    return make_field(axes, words, provenance_of(sources[0], fixed) | told)


def asymmetry_field(
    source, axes: Sequence[Axis], fixed: Mapping[str, float], *, kind: Kind = "north-south", plane: float = 0.0,
) -> xr.Dataset:  # fmt: skip
    """Half the difference between a place and its image: zero for a Galaxy that is symmetric.

    Args:
        source: whatever has ``acceleration``; with a ``density.log_n`` that is compared, too. Several of them (an
            ensemble) give errors.
        axes: axes among x, y, z or, with ``phi`` fixed, R and z [kpc].
        fixed: the other coordinates [kpc], or ``phi`` [deg].
        kind: "north-south" mirrors at z = plane; "azimuthal" turns each place to the other side of the line from the
            Galactic centre to the Sun, phi to -phi.
        plane: height of the mirror, kpc.

    Returns:
        a_R, a_phi, a_z [(km/s)^2/kpc], a (its norm over that of the mean of both), and, with star counts, log_n (half
        the difference of ln n, i.e. (n - n')/(n + n') where it is small); each with ``_std`` for several sources, the
        scatter of one. NaN where place or image are outside the ball.

    Raises:
        ValueError: for another kind; if a coordinate is neither an axis nor fixed, or has another unit.
    """
    _need_kind(kind)
    sources, points = _several(source), slice_points(axes, fixed)
    image, sign = _image(points, kind, plane)
    members: dict[str, list[np.ndarray]] = {}
    for one in sources:
        inside = within(one, points) & within(one, image)
        here, there = points[inside], image[inside]
        a = np.asarray(rotate(here, np.asarray(one.acceleration(here), float)))
        b = np.asarray(rotate(there, np.asarray(one.acceleration(there), float))) * sign
        size = np.linalg.norm(a + b, axis=-1)
        half = (a - b) / 2
        found: dict[str, np.ndarray] = dict(zip(("a_R", "a_phi", "a_z"), half.T, strict=True))
        found["a"] = 2 * np.linalg.norm(half, axis=-1) / np.where(size > 0, size, np.nan)
        if log_n := getattr(getattr(one, "density", None), "log_n", None):
            n, m = (np.asarray(log_n(jnp.asarray(p, jnp.float32))) for p in (here, there))
            found["log_n"] = (n - m) / 2
        for name, part in found.items():
            whole = np.full(inside.shape, np.nan, np.float32)
            whole[inside] = part
            members.setdefault(name, []).append(whole)
    words = {"a_R": "a_R", "a_phi": "a_φ", "a_z": "a_z", "a": "|Δa|/2|a|", "log_n": "ln n"}
    quantities = {
        n: Quantity(np.stack(v), "" if n in ("a", "log_n") else ACCELERATION_UNIT, f"{kind} asymmetry of {words[n]}")
        for n, v in members.items() if len(v) == len(sources)
    }  # fmt: skip
    told = provenance_of(sources[0], fixed) | {"asymmetry": kind, "maps": len(sources)}
    told |= {"plane_kpc": float(plane)} if kind == "north-south" else {}
    field = make_field(axes, quantities, told, members=len(sources))
    return field.isel(member=0) if len(sources) == 1 else summarise(field)


def star_asymmetry(
    catalog: Catalog, *, kind: Kind = "north-south", plane: float = 0.0, radius: float | None = None,
    center=SUN.position, bins: tuple[Sequence[float], Sequence[float]] | None = None, fewest: int = 50,
) -> Check:  # fmt: skip
    """Star counts and mean velocities against those of the image, in bins of R and of the distance from the mirror.

    Only stars whose image lies in the ball, too, are used. Counts feel the dust, velocities do not (as far as it
    hides stars by their place alone).

    Args:
        catalog: stars with 6-D phase space.
        kind: "north-south" (mirror at z = plane) or "azimuthal" (phi to -phi, the Sun being at 0).
        plane: height of the mirror, kpc.
        radius: of the ball around ``center`` that the stars fill, kpc; by default up to the farthest star.
        center: (3,) kpc.
        bins: edges in R and in |z - plane| ("azimuthal": in |phi| R), kpc; by default four and five of equal counts.
        fewest: stars on each side that a bin needs to count.

    Returns:
        A table by bin: R, distance (medians, kpc), stars, counts = (N - N')/(N + N'), v_R, v_phi, v_z [km/s]
        (differences of the means, v_z of the image turned for the mirror in z) and their ``_error``; the summary
        tests counts, each velocity, and all with the covariance of the velocities.

    Raises:
        KeyError, ValueError: if the catalogue has no phase space; for another kind; if no bin has enough stars.
    """
    _need_kind(kind)
    stars = np.asarray(catalog.phase_space, float)
    x, center = stars[:, :3], np.asarray(center, float)
    if radius is None:
        radius = float(np.linalg.norm(x - center, axis=1).max())
    image, sign = _image(x, kind, plane)
    both = (((x - center) ** 2).sum(1) <= radius**2) & (((image - center) ** 2).sum(1) <= radius**2)
    x, v = x[both], np.asarray(rotate(x[both], stars[both, 3:]))
    R = np.hypot(x[:, 0], x[:, 1])
    side = x[:, 2] - plane if kind == "north-south" else R * np.arctan2(x[:, 1], x[:, 0])
    first, away = side > 0, np.abs(side)
    v = np.where(first[:, None], v, v * sign)
    edges = bins or ((), ())
    if bins is None and len(x):
        edges = np.quantile(R, np.linspace(0, 1, 5)), np.quantile(away, np.linspace(0, 1, 6))
    rows, blocks = [], []
    for (r0, r1), (d0, d1) in product(*(pairwise(e) for e in edges)):
        here = (r0 <= R) & (r1 > R) & (away >= d0) & (away < d1)
        a, b = v[here & first], v[here & ~first]
        if min(len(a), len(b)) < fewest:
            continue
        total = len(a) + len(b)
        covariance = np.cov(a.T) / len(a) + np.cov(b.T) / len(b)
        values = [(len(a) - len(b)) / total, *(a.mean(0) - b.mean(0))]
        errors = [1 / np.sqrt(total), *np.sqrt(np.diag(covariance))]  # of the counts: that of equal sides
        rows.append([np.median(R[here]), np.median(away[here]), total, *values, *errors])
        blocks.append(values[1:] @ np.linalg.solve(covariance, values[1:]))
    if not rows:
        raise ValueError(
            f"Expected a bin with {fewest} stars on each side, got none of {len(x):,} whose image is in the ball, "
            "too; use more stars or wider bins."
        )
    names = ["counts", "v_R", "v_phi", "v_z"]
    table = pd.DataFrame(rows, columns=["R", "distance", "stars", *names, *(f"{n}_error" for n in names)])
    table = table.astype({"stars": int})
    chi2 = {n: float(np.sum((table[n].to_numpy() / table[f"{n}_error"].to_numpy()) ** 2)) for n in names}
    chi2["all"] = chi2["counts"] + float(np.sum(blocks))
    return Check(table, _summary(chi2, {n: len(rows) * (4 if n == "all" else 1) for n in chi2}))


class Functions(NamedTuple):
    """K test functions of a place and a velocity.

    Attributes:
        names: of the functions.
        psi: from x (3,) [kpc] and v (3,) [km/s] to their values (K,), made by JAX; zero at the edge of the ball.
    """

    names: tuple[str, ...]
    psi: Callable


def bump_functions(center=SUN.position, radius: float = 4.0) -> Functions:
    """The default test functions of `moment_check`: low orders of place and velocity times a bump over the whole ball.

    With B = (1 - |x - center|^2/radius^2)^2, place enters by w = 1, R - R0, R0 phi and tanh(10 z/radius) about the
    centre, velocity by 1, u_i and u_i |u|^2 (i = R, phi, z), u being the velocity against a rotation of 220 km/s in
    units of 100 km/s. B w u_i is Jeans' equation; B w alone tests only whether the stars are steady. (The wider the
    bump, the less noise comes from stars that cross it.)

    Args:
        center: (3,) of the ball, kpc.
        radius: of the ball, kpc.
    """
    center = np.asarray(center, float)
    R0, turn = float(np.hypot(*center[:2])), float(np.arctan2(center[1], center[0]))

    def psi(x, v):
        angle = (jnp.arctan2(x[1], x[0]) - turn + jnp.pi) % (2 * jnp.pi) - jnp.pi
        place = jnp.stack([1.0, jnp.hypot(x[0], x[1]) - R0, R0 * angle, jnp.tanh(10 * (x[2] - center[2]) / radius)])
        place = place * jnp.array([1.0, 2 / radius, 2 / radius, 1.0])
        u = (rotate(x, v) - jnp.array([0.0, 220.0, 0.0])) / 100
        moments = jnp.concatenate([jnp.ones(1), u, u * (u @ u)])
        bump = jnp.maximum(1 - ((x - center) ** 2).sum() / radius**2, 0.0) ** 2
        return bump * (place[:, None] * moments).ravel()

    velocity = ("1", "v_R", "v_phi", "v_z", "v_R v²", "v_phi v²", "v_z v²")
    return Functions(tuple(f"{u} · {w}" for w in ("1", "R", "phi", "z") for u in velocity), psi)


def moment_check(
    catalog: Catalog, source, functions: Functions | None = None, *,
    log_efficiency: Callable | None = None, radius: float | None = None, center=None,
) -> Check:  # fmt: skip
    """Does a potential keep real stars steady? No density, no score: only averages over stars.

    For a steady f and any smooth psi(x, v) that vanishes at the edge the mean over stars of v . dpsi/dx + a . dpsi/dv
    is zero; where only a share eps(x) of the stars is seen, that of v . dpsi/dx + a . dpsi/dv + psi v . d ln eps/dx.

    Args:
        catalog: stars with 6-D phase space, not those that the source was learnt from.
        source: whatever has ``acceleration(x)``; it is taken to be exact.
        functions: psi; by default `bump_functions` of the ball.
        log_efficiency: ln eps(x) of x (3,) [kpc], made by JAX; None where all stars are seen.
        radius: of the ball that the stars fill, kpc; by default the source's, else up to the farthest star.
        center: (3,) kpc; by default the source's, else the Sun.

    Returns:
        A table by function: mean, error, z = mean/error, and percent, percent_error: the mean over that of
        |a| |dpsi/dv|, in per cent. An acceleration that is wrong by 1 % of |a| along dpsi/dv shows as 1. NaN for a
        psi of place alone, which no force enters. The summary tests all with their full covariance.

    Raises:
        KeyError, ValueError: if the catalogue has no phase space or is that which the source was learnt from; if a
            function does not vanish at the edge; if fewer than 1,000 stars, or 20 a function, lie where functions
            are not zero.
    """
    if getattr(source, "data_digest", None) == catalog.digest():
        raise ValueError(
            "Expected stars that the map was not learnt from, got the very same; keep some apart for this."
        )
    x, v = np.split(np.asarray(catalog.phase_space, np.float32), 2, axis=1)
    center = np.asarray(getattr(source, "center", SUN.position) if center is None else center, float)
    distance = np.linalg.norm(x - center, axis=1)
    radius = getattr(source, "radius", None) if radius is None else radius
    radius = float(distance.max()) if radius is None else float(radius)
    functions = bump_functions(center, radius) if functions is None else functions
    ball = distance <= radius
    x, v, distance = x[ball], v[ball], distance[ball]
    value, flow, size = _moments(functions.psi, log_efficiency, x, v, source)
    if not np.isfinite(flow).all():
        raise ValueError("Expected finite accelerations and functions at all stars of the ball, got NaN or inf there.")
    shell = value[distance > 0.98 * radius]
    loud = (shell**2).sum(0) > 1e-3 * max(len(shell), 1) * (value**2).mean(0)
    if wide := [name for name, is_loud in zip(functions.names, loud, strict=True) if is_loud]:
        raise ValueError(f"Expected functions that vanish at the edge of the ball, {wide[0]!r} does not; narrow it.")
    used, least = int((value != 0).any(1).sum()), max(1000, 20 * len(functions.names))
    if used < least:
        raise ValueError(f"Expected {least:,} stars or more where the functions are not zero, got {used:,}; use more.")
    mean, scale = flow.mean(0), size.mean(0)
    covariance = np.atleast_2d(np.cov(flow.T)) / len(flow)
    error = np.sqrt(np.diag(covariance))
    percent = 100 / np.where(scale > 0, scale, np.nan)
    table = pd.DataFrame(
        dict(mean=mean, error=error, z=mean / error, percent=mean * percent, percent_error=error * percent),
        index=pd.Index(functions.names, name="function"),
    )
    # In units of the errors, without combinations that do not vary: functions may depend on one another.
    eigen, vectors = np.linalg.eigh(covariance / np.outer(error, error))
    kept = eigen > 1e-6 * eigen[-1]
    chi2 = float((((vectors.T @ (mean / error)) ** 2)[kept] / eigen[kept]).sum())
    return Check(table, _summary({"all": chi2}, {"all": int(kept.sum())}))


def _moments(psi, log_efficiency, x, v, source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """psi, its change along the stars' motion, and |a| |dpsi/dv|, each (N, functions)."""

    def one(x, v, a):
        value, change = jax.jvp(psi, (x, v), (v, a))
        if log_efficiency is not None:
            change = change + value * jax.jvp(log_efficiency, (x,), (v,))[1]
        return value, change, jnp.linalg.norm(a) * jnp.linalg.norm(jax.jacfwd(psi, argnums=1)(x, v), axis=1)

    many = jax.jit(jax.vmap(one))
    chunk, parts = min(len(x), 1 << 15), []
    for first in range(0, len(x), chunk):
        rows = [np.asarray(k[first : first + chunk], np.float32) for k in (x, v)]
        rows.append(np.asarray(source.acceleration(rows[0]), np.float32))
        pad = chunk - len(rows[0])  # one shape, one compilation
        out = many(*(np.pad(k, ((0, pad), (0, 0)), mode="edge") for k in rows))
        parts.append([np.asarray(k, float)[: chunk - pad] for k in out])
    value, change, size = (np.concatenate(k) for k in zip(*parts, strict=True))
    return value, change, size


def _summary(chi2: Mapping[str, float], dof: Mapping[str, int]) -> pd.DataFrame:
    rows: dict[str, Any] = {n: (c, dof[n], float(chi2_distribution.sf(c, dof[n]))) for n, c in chi2.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["chi2", "dof", "p_value"])


def _several(source) -> list:
    sources = list(source) if isinstance(source, list | tuple) else [source]
    if not sources:
        raise ValueError("Expected at least one map, got none; pass a map or a list of them.")
    return sources


def _need_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"Expected a kind among {', '.join(KINDS)}, got {kind!r}; choose one of them.")


def _image(x: np.ndarray, kind: str, plane: float) -> tuple[np.ndarray, np.ndarray]:
    """The image of places x (..., 3), and what it does to the signs of (R, phi, z) components of a vector there."""
    if kind == "north-south":
        return np.stack([x[..., 0], x[..., 1], 2 * plane - x[..., 2]], -1), np.array([1.0, 1.0, -1.0])
    # A turn about the axis, not a mirror: a_phi and v_phi keep their sign.
    return np.stack([x[..., 0], -x[..., 1], x[..., 2]], -1), np.ones(3)
