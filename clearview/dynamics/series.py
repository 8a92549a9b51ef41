"""The series for the potential: which functions, their derivatives, and what a fit leaves open in it."""

import dataclasses
import math
from dataclasses import dataclass
from functools import wraps
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from clearview import checks

SYMMETRIES = "north-south", "axisymmetric"


def in_full(function):
    """Products of matrices in float32 on GPUs, too, whose default is ten bits: the series lives by cancellation."""

    @wraps(function)
    def called(*args, **kwargs):
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return called


@dataclass(frozen=True)
class PotentialConfig:
    """How the potential is fitted.

    Attributes:
        stars: the equations are taken at up to this many of the stars.
        degree: of the polynomials in asinh(z / height), the stars' own median |z| being the height.
        horizontal: a degree in x or y counts as so many of them.
        edge: stars beyond this fraction of the radius do not count in the equation star by star.
        pointwise: weight of that equation, as a number of independent residuals.
        outlier: residuals beyond this many medians lose their weight in it (Cauchy).
        smooth: weight of the prior on the change of the whole tidal tensor.
        smooth_density: weight of the prior on the change of its trace, the mass density.
        length: over which tides may change by their own size, and the slabs' e-folding length along R, kpc.
        vertical: the length along z is this times height + |z|/2, if that is less than ``length``.
        halo, disc: expected sizes of the tides far from the plane and, beside that, in it, in units of
            |a| / |x| at the center.
        slab: tides of plain slabs, of this size in those units, come on top without a cost for their change.
        positive: weight of the prior against negative mass densities, in units of the halo's.
        symmetry: any of `SYMMETRIES` that the potential is taken to have, to about a hundredth of the force. An
            assumption: the map names it.

    `fit_efficiency` heeds neither ``stars`` nor ``positive``.
    """

    stars: int = 400_000
    degree: int = 14
    horizontal: float = 2.0
    edge: float = 0.95
    pointwise: float = 400.0
    outlier: float = 3.0
    smooth: float = 30.0
    smooth_density: float = 300.0
    length: float = 2.0
    vertical: float = 0.6
    halo: float = 0.5
    disc: float = 8.0
    slab: float = 0.075
    positive: float = 1000.0
    symmetry: tuple[str, ...] = ()

    def __post_init__(self):
        given = checks.texts("symmetry", () if self.symmetry is None else self.symmetry)
        if unknown := set(given) - set(SYMMETRIES):
            raise ValueError(f"Expected symmetries among {SYMMETRIES}, got {sorted(unknown)}; correct them.")
        object.__setattr__(self, "symmetry", tuple(name for name in SYMMETRIES if name in given))
        weights = "pointwise", "smooth", "smooth_density", "disc", "vertical", "slab", "positive"
        checks.numbers(self, whole=True, stars=(1, checks.MOST), degree=(1, 40))
        checks.numbers(self, horizontal=(1, checks.MOST), edge=(checks.ABOVE_0, 1))
        checks.numbers(self, **dict.fromkeys(("length", "outlier", "halo"), (checks.ABOVE_0, checks.MOST)))
        checks.numbers(self, **dict.fromkeys(weights, (0, checks.MOST)))

    @property
    def assumed(self) -> str:
        """A sentence, after a blank, about the symmetries; or nothing."""
        words = {SYMMETRIES[0]: "the same north and south of the plane", SYMMETRIES[1]: "axisymmetric"}
        named = " and ".join(words[name] for name in self.symmetry)
        return f" The potential is taken to be {named}." if named else ""

    @property
    def provenance(self) -> dict[str, str]:
        """What a field of the potential is to tell of it."""
        return {"symmetry_assumed": ", ".join(self.symmetry)} if self.symmetry else {}

    @property
    def size(self) -> int:
        """How many functions the series has."""
        return len(_orders(self.degree, self.horizontal)[0])


class PotentialSeries(eqx.Module):
    """Phi(x) = sum_k c_k B_k(x), (km/s)^2, up to a constant.

    B_k are products of Legendre polynomials of (x, y) / radius about the center and of asinh(z / height), so that a
    disc's force may turn over within a few hundred parsecs and still be smooth above it.

    Attributes:
        coefficients: (K,).
        spread: (K, K), coefficients = mean + spread @ standard normals; the prior against negative densities is left
            out of it.
        strain: rms difference, at the stars, from the force of the equation star by star, in standard errors of
            independent stars. Where it is large, the stars end elsewhere than at the ball's edge or are not at rest.
        center: (3,) kpc.
        radius, height: kpc.
        degree, horizontal: see `PotentialConfig`.
    """

    coefficients: Float[Array, " K"]
    spread: Float[Array, "K K"]
    strain: Float[Array, ""]
    center: Float[Array, "3"]
    radius: Float[Array, ""]
    height: Float[Array, ""]
    degree: int = eqx.field(static=True)
    horizontal: float = eqx.field(static=True)

    def __init__(self, center, radius, height, config: PotentialConfig | None = None):
        config = config or PotentialConfig()
        self.degree, self.horizontal = config.degree, config.horizontal
        self.coefficients, self.spread = jnp.zeros(config.size), jnp.zeros((config.size, config.size))
        self.strain = jnp.zeros(())
        self.center, self.radius, self.height = (jnp.asarray(a, jnp.float32) for a in (center, radius, height))

    def _factors(self, x: Float[Array, "3"]) -> list[list[Float[Array, " n"]]]:
        """The polynomials in x, in y and in asinh(z / height), each with its first three derivatives."""
        root = jnp.sqrt(x[2] ** 2 + self.height**2)
        low, high = (jnp.arcsinh((self.center[2] + end * self.radius) / self.height) for end in (-1, 1))
        unit = (high - low) / 2
        flat = [1 / self.radius, 0.0, 0.0]
        steep = [1 / root, -x[2] / root**3, (2 * x[2] ** 2 - self.height**2) / root**5]
        slopes = [flat, flat, [slope / unit for slope in steep]]  # of the arguments of the polynomials
        u = (x - self.center) / self.radius
        arguments = u[0], u[1], (jnp.arcsinh(x[2] / self.height) - (high + low) / 2) / unit
        factors = []
        for t, (a, b, c), n in zip(arguments, slopes, _orders(self.degree, self.horizontal), strict=True):
            p = [_legendre(t, n.max())]
            for _ in range(3):
                p.append(_SLOPE[: len(p[0]), : len(p[0])] @ p[-1])
            factors.append([p[0], a * p[1], a**2 * p[2] + b * p[1], a**3 * p[3] + 3 * a * b * p[2] + c * p[1]])
        return factors

    @in_full
    def functions(self, x: Float[Array, "3"], order: int = 0) -> Float[Array, " K *axes"]:
        """B_k(x), or all its derivatives of that order, up to the third."""
        orders = _orders(self.degree, self.horizontal)
        factors = [[p[n] for p in chain] for chain, n in zip(self._factors(x), orders, strict=True)]
        terms = [
            math.prod(f[axes.count(i)] for i, f in enumerate(factors)) for axes in product(range(3), repeat=order)
        ]  # fmt: skip
        return jnp.stack(terms, -1).reshape(-1, *(3,) * order)

    @in_full
    def derivatives(self, x: Float[Array, "3"], order: int = 0) -> Float[Array, " *axes"]:
        """Phi(x), or all its derivatives of that order, up to the third."""
        X, Y, Z = self._factors(x)
        # Summed over one factor after the other, which is far less work than over all functions.
        shape = [len(chain[0]) for chain in (X, Y, Z)]
        dense = jnp.zeros(shape).at[_orders(self.degree, self.horizontal)].set(self.coefficients)
        summed = [dense @ Z[n] for n in range(order + 1)]
        counts = [[axes.count(i) for i in range(3)] for axes in product(range(3), repeat=order)]
        terms = [(X[a] * (summed[c] * Y[b]).sum(-1)).sum() for a, b, c in counts]
        return jnp.stack(terms).reshape((3,) * order)

    def __call__(self, x: Float[Array, "3"]) -> Float[Array, ""]:
        return self.derivatives(x)

    def acceleration(self, x: Float[Array, "3"]) -> Float[Array, "3"]:
        """-grad Phi, (km/s)^2/kpc."""
        return -self.derivatives(x, 1)

    @in_full
    def acceleration_covariance(self, x: Float[Array, "3"]) -> Float[Array, "3 3"]:
        """Covariance of the acceleration that the fit leaves open: its stars' finite number, and the prior."""
        open_ = self.functions(x, 1).T @ self.spread
        return open_ @ open_.T

    @in_full
    def acceleration_members(self, x: Float[Array, "3"], normals: Float[Array, "M K"]) -> Float[Array, "M 3"]:
        """Accelerations of potentials drawn from what the fit leaves open."""
        return -(self.coefficients + normals @ self.spread.T) @ self.functions(x, 1)


def formal_members(source, count: int = 32, seed: int = 0) -> list:
    """Copies of a map, or another fit with a ``series``, drawn from what the fit leaves open in the potential."""
    series = source.series
    normals = np.random.default_rng(seed).standard_normal((count, len(series.coefficients)))
    drawn = jnp.asarray(series.coefficients + normals @ np.asarray(series.spread).T, jnp.float32)
    return [dataclasses.replace(source, series=eqx.tree_at(lambda s: s.coefficients, series, c)) for c in drawn]


def at_places(series: PotentialSeries, x, quantity: str = "__call__") -> np.ndarray:
    """A method of the series at x (N, 3) [kpc]; NaN outside its ball, where polynomials run away."""
    x = jnp.asarray(x, jnp.float32)
    values = np.array(_each(series, quantity, x))
    values[np.linalg.norm(x - series.center, axis=1) > series.radius * (1 + 1e-6)] = np.nan
    return values


@eqx.filter_jit
@in_full
def _each(series, quantity: str, x):
    return jax.lax.map(getattr(series, quantity), x, batch_size=1024)


def _orders(degree: int, horizontal: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Degrees in x, y and asinh z of each function; the constant is left out."""
    i, j, k = np.indices((degree + 1,) * 3).reshape(3, -1)
    kept = (horizontal * (i + j) + k <= degree) & (i + j + k > 0)
    return i[kept], j[kept], k[kept]


def _legendre(t, degree: int):
    """(degree + 1,) Legendre polynomials of t."""
    p = [jnp.ones_like(t), t]
    for n in range(1, degree):
        p.append(((2 * n + 1) * t * p[n] - n * p[n - 1]) / (n + 1))
    return jnp.stack(p[: degree + 1])


# P_n' as a sum of the polynomials of lower degree: (2 m + 1) P_m for m = n - 1, n - 3, ...
_SLOPE = np.fromfunction(lambda n, m: (2 * m + 1) * ((n > m) & ((n - m) % 2 == 1)), (100, 100), dtype=np.float32)


def chunks(*rows, size: int = 8192):
    for first in range(0, len(rows[0]), size):
        yield tuple(row[first : first + size] for row in rows)
