"""An equilibrium sample of stars in a galpy potential, one star per orbit.

Guiding radii and epicycle energies are drawn as in a quasi-isothermal disc (Binney & McMillan 2011,
arXiv:1101.0747), the orbits are integrated until their phases have mixed, and each orbit gives at most one star,
at a random time weighed by the fraction of its azimuth that lies in the ball. A density that depends on the
orbit alone, sampled at random phases, is stationary (Jeans' theorem) whatever the draw of the orbits was.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import platformdirs
from jax import lax, random

from clearview import checks
from clearview.catalogs import Catalog, read_catalog
from clearview.catalogs.columns import plain
from clearview.mocks.truth import RO, VO, Truth
from clearview.units import SUN

_VERSION = 1  # part of the cache key: raise it when the same parameters give other stars
_KMS_MYR = 1.0227121650537077e-3  # kpc travelled in 1 Myr at 1 km/s
_CHUNK = 1 << 15


@dataclass(frozen=True)
class Population:
    """One tracer population.

    Attributes:
        fraction: of the orbits drawn (not of the stars that end in the ball).
        scale_length: of the guiding radii, kpc; None makes a pressure-supported halo with density r^-3.
        sigma_R, sigma_z: dispersions at R = 8 kpc, km/s; the halo has sigma_R in all directions.
        sigma_scale: e-folding radius of both dispersions, kpc.
    """

    fraction: float
    scale_length: float | None
    sigma_R: float
    sigma_z: float
    sigma_scale: float = 8.0

    def __post_init__(self):
        positive = (checks.ABOVE_0, 1e6)
        checks.numbers(self, fraction=positive, sigma_R=positive, sigma_z=positive, sigma_scale=positive)
        checks.numbers(self, optional=True, scale_length=positive)


DISC_AND_HALO = (
    Population(0.62, 3.0, 33.0, 18.0),
    Population(0.24, 2.5, 55.0, 40.0),
    Population(0.14, None, 127.0, 127.0),
)


def mock_galaxy(
    n: int = 400_000,
    seed: int = 0,
    *,
    potential: str = "MWPotential2014",
    radius: float | None = 4.0,
    populations: tuple[Population, ...] = DISC_AND_HALO,
    mixing_time: float = 2000.0,
    sampling_time: float = 2000.0,
    time_step: float = 1.0,
    cache: bool = True,
    on_progress: Callable[[float], object] | None = None,
) -> Catalog:
    """Draw stars in equilibrium in a known potential.

    Args:
        n: number of stars.
        seed: of the random numbers; other seeds give independent stars.
        potential: a name among `POTENTIALS`.
        radius: of the ball around the Sun that the stars lie in, kpc; None gives the whole galaxy.
        populations: the tracers.
        mixing_time: integrated before a star may be drawn, Myr.
        sampling_time: during which the star is drawn, Myr.
        time_step: of the leapfrog, Myr.
        cache: keep the stars on disk under a key of all parameters (``$CLEARVIEW_CACHE`` or the user's cache).
        on_progress: called with the fraction done; returning False stops it with a RuntimeError.

    Returns:
        A catalogue with x, y, z [kpc], vx, vy, vz [km/s] whose ``meta["mock"]`` names the truth.

    Raises:
        ValueError: for n < 1, a radius outside (0, 8) kpc, or an unknown potential.
    """
    check_orbits(n, seed, populations, radius, time_step, mixing_time=mixing_time, sampling_time=sampling_time)
    truth = Truth(potential)
    parameters = dict(
        n=n, seed=seed, potential=potential, radius=radius, populations=[asdict(p) for p in populations],
        mixing_time=mixing_time, sampling_time=sampling_time, time_step=time_step, version=_VERSION,
    )  # fmt: skip
    return _cached(
        "mock_galaxy",
        parameters,
        lambda: _draw(truth, n, seed, radius, populations, mixing_time, sampling_time, time_step, on_progress),
        cache,
    )


def check_orbits(n, seed, populations, radius, time_step, **times) -> None:
    """Refuse what no galaxy can be drawn with.

    Raises:
        TypeError, ValueError: if there is such a thing.
    """
    checks.number("n", n, 1, 10**9, whole=True)
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    if not checks.a(populations, Sequence, "populations"):
        raise ValueError("Expected at least one population, got none; see clearview.mocks.DISC_AND_HALO.")
    for population in populations:
        checks.a(population, Population, "a Population")
    if radius is not None and not 0 < checks.number("radius", radius) < SUN.R:
        raise ValueError(f"Expected a ball radius between 0 and {SUN.R} kpc, got {radius}; choose a smaller ball.")
    checks.number("time_step", time_step, checks.ABOVE_0)
    for name, time in times.items():
        checks.number(name, time, max(10, time_step) if name == "sampling_time" else 0, 1e6)


def _cached(source, parameters, draw, cache) -> Catalog:
    """The catalogue of the stars that ``draw`` gives, from the disk if it is there."""
    path = _cache_path(parameters)
    if cache and path.exists():
        return read_catalog(path)
    stars = draw()
    catalog = Catalog.from_phase_space(stars[:, :3], stars[:, 3:], meta={"source": source, "mock": parameters})
    if cache:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.stem}.{os.getpid()}.parquet")  # a killed run leaves no half catalogue
        catalog.write(partial, overwrite=True)
        partial.replace(path)
    return catalog


def _cache_path(parameters) -> Path:
    root = os.environ.get("CLEARVIEW_CACHE") or platformdirs.user_cache_dir("clearview")
    key = hashlib.sha256(json.dumps(plain(parameters), sort_keys=True).encode()).hexdigest()[:16]
    return Path(root) / "mocks" / f"{key}.parquet"


def _draw(truth, n, seed, radius, populations, mixing_time, sampling_time, dt, on_progress):
    force = _force(truth)
    R_circ = np.geomspace(0.05, 60.0, 2000)
    v_circ = np.sqrt(-R_circ * truth.acceleration(np.stack([R_circ, 0 * R_circ, 0 * R_circ], -1))[:, 0])
    circular = tuple(jnp.asarray(a, jnp.float32) for a in (R_circ, v_circ))
    w_max = float(_azimuth(jnp.linspace(0.1, SUN.R, 4000), SUN.z, radius).max()) / np.pi
    mixing, sampling, thin = int(mixing_time / dt), int(sampling_time / dt), max(1, int(10 / dt))

    def kick_drift_kick(_, state):
        x, v, a = state
        v = v + 0.5 * dt * _KMS_MYR * a
        x = x + dt * _KMS_MYR * v
        a = force(x)
        return x, v + 0.5 * dt * _KMS_MYR * a, a

    @jax.jit
    def chunk(key):
        k_start, k_time, k_keep, k_azimuth = random.split(key, 4)
        x, v = _launch(k_start, populations, circular)
        state = lax.fori_loop(0, mixing, kick_drift_kick, (x, v, force(x)))

        def visit(carry, key):
            state, kept, total = carry
            state = lax.fori_loop(0, thin, kick_drift_kick, state)
            x, v, _ = state
            weight = _azimuth(jnp.hypot(x[0], x[1]), x[2], radius) / np.pi
            total = total + weight
            take = random.uniform(key, weight.shape) * total < weight  # weighted reservoir of one
            return (state, jnp.where(take, jnp.concatenate([x, v]), kept), total), None

        visits = sampling // thin
        start = (state, jnp.zeros((6, x.shape[1])), jnp.zeros(x.shape[1]))
        (_, star, total), _ = lax.scan(visit, start, random.split(k_time, visits))
        keep = random.uniform(k_keep, total.shape) * w_max * visits < total
        R, half = jnp.hypot(star[0], star[1]), _azimuth(jnp.hypot(star[0], star[1]), star[2], radius)
        phi = half * random.uniform(k_azimuth, total.shape, minval=-1.0, maxval=1.0)
        v_R, v_T = (star[0] * star[3] + star[1] * star[4]) / R, (star[0] * star[4] - star[1] * star[3]) / R
        c, s = jnp.cos(phi), jnp.sin(phi)
        # The orbits were launched with L_z > 0; the Galaxy's disc has L_z < 0, hence the sign of v_T.
        return jnp.stack([R * c, R * s, star[2], v_R * c + v_T * s, v_R * s - v_T * c, star[5]], -1), keep

    stars, found, i = [], 0, 0
    while found < n:
        rows, keep = chunk(random.fold_in(random.key(seed), i))
        stars.append(np.asarray(rows)[np.asarray(keep)])
        found, i = found + len(stars[-1]), i + 1
        if on_progress is not None and on_progress(min(found / n, 1.0)) is False:
            raise RuntimeError("mock_galaxy was cancelled; nothing was kept.")
    return np.concatenate(stars)[:n]


def _azimuth(R, z, radius):
    """Half-width in azimuth [rad] of the ball around the Sun at (R, z)."""
    if radius is None:
        return jnp.full(jnp.shape(R), np.pi)
    R0, _, z0 = SUN.position
    cosine = (R**2 + R0**2 + (z - z0) ** 2 - radius**2) / (2 * R0 * R)
    return jnp.where(cosine < 1, jnp.arccos(jnp.clip(cosine, -1, 1)), 0.0)


def _launch(key, populations, circular):
    """Starting points of one chunk of orbits, x (3, N) and v (3, N)."""
    k_pop, k_R, k_vR, k_vz, k_halo, k_hv = random.split(key, 6)
    edges = np.cumsum([p.fraction for p in populations]) / sum(p.fraction for p in populations)
    which = jnp.searchsorted(jnp.asarray(edges[:-1], jnp.float32), random.uniform(k_pop, (_CHUNK,)))

    def of(attribute):
        return jnp.asarray([getattr(p, attribute) or 0.0 for p in populations], jnp.float32)[which]

    R = jnp.clip(of("scale_length") * random.gamma(k_R, 2.0, (_CHUNK,)), 0.3, 30.0)
    decay = jnp.exp(-(R - 8.0) / of("sigma_scale"))
    zero = jnp.zeros(_CHUNK)
    # A Rayleigh speed at the guiding radius is f(J) ~ exp(-epicycle energy / sigma^2), smooth at J = 0.
    v_R, v_z = (random.rayleigh(k, of(s) * decay) for k, s in ((k_vR, "sigma_R"), (k_vz, "sigma_z")))
    disc = jnp.stack([R, zero, zero, v_R, jnp.interp(R, *circular), v_z])
    r = jnp.exp(random.uniform(k_halo, (_CHUNK,), minval=jnp.log(1.0), maxval=jnp.log(40.0)))
    direction = random.normal(random.fold_in(k_halo, 1), (3, _CHUNK))
    velocity = jnp.clip(of("sigma_R") * random.normal(k_hv, (3, _CHUNK)), -290.0, 290.0)  # nearly all bound
    halo = jnp.concatenate([r * direction / jnp.linalg.norm(direction, axis=0), velocity])
    start = jnp.where(of("scale_length") > 0, disc, halo)
    return start[:3], start[3:]


def _force(truth, fast: bool = False):
    """Acceleration of x (3, N) in JAX: discs and flattened halos exactly, everything spherical from one fine table.

    Ten times faster than an orbit library of galpy's, whose forces a test compares it with. A polynomial instead of
    the table is good to 1e-4 from 0.1 to 60 kpc, and ten times faster again with the three components in a tuple
    (``fast``): then nothing is looked up and XLA vectorises the whole.
    """
    from galpy.potential import LogarithmicHaloPotential, MiyamotoNagaiPotential

    discs = [c for c in truth.components if isinstance(c, MiyamotoNagaiPotential)]
    halos = [c for c in truth.components if isinstance(c, LogarithmicHaloPotential)]
    balls = [c for c in truth.components if c not in discs and c not in halos]
    spherical = (_polynomial if fast else _table)(
        lambda r: sum(np.asarray(c.Rforce(r / RO, 0.0, use_physical=False)) for c in balls) * VO**2 / RO / r
    )
    shapes = [(float(c._amp) * VO**2 * RO, float(c._a) * RO, float(c._b) * RO) for c in discs]
    flat = [(float(c._amp) * VO**2, float(c._core2) * RO**2, float(c._q) ** -2) for c in halos]

    def components(x):
        R2, z = x[0] ** 2 + x[1] ** 2, x[2]
        k_R = k_z = spherical(R2 + z**2)
        for GM, a, b in shapes:
            root = jnp.sqrt(z**2 + b**2)
            inverse = lax.rsqrt(R2 + (a + root) ** 2)
            common = GM * inverse * inverse * inverse
            k_R, k_z = k_R - common, k_z - common * (a + root) / root
        for v2, core2, squeeze in flat:
            common = v2 / (R2 + squeeze * z**2 + core2)
            k_R, k_z = k_R - common, k_z - squeeze * common
        return k_R * x[0], k_R * x[1], k_z * z

    return components if fast else lambda x: jnp.stack(components(x))


def _table(pull):
    low, step, size = np.log(1e-3), 0.002, 6500
    table = jnp.asarray(pull(np.exp(low + step * np.arange(size))), jnp.float32)

    def look_up(r2):
        s = (0.5 * jnp.log(r2) - low) / step
        i = jnp.clip(s.astype(jnp.int32), 0, size - 2)
        left, right = table[i], table[i + 1]
        return left + (s - i) * (right - left)

    return look_up


def _polynomial(pull):
    middle, half = np.log(0.1 * 60) / 2, np.log(60 / 0.1) / 2
    fit = np.polynomial.chebyshev.chebinterpolate(lambda u: np.log(-pull(np.exp(middle + half * u))), 28)
    *rest, first = (float(c) for c in fit[::-1])

    def evaluate(r2):
        u = jnp.clip((0.5 * jnp.log(r2) - middle) / half, -1.0, 1.0)
        b = c = jnp.zeros_like(u)
        for coefficient in rest:  # Clenshaw's recurrence
            b, c = coefficient + 2 * u * b - c, b
        return -jnp.exp(first + u * b - c)

    return evaluate
