"""Mocks out of equilibrium: a lumpy galaxy with a rotating spiral, and one that was kicked and winds up since."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

from clearview import checks
from clearview.catalogs import Catalog
from clearview.mocks.galaxy import _KMS_MYR, DISC_AND_HALO, Population, _cached, _force, _launch, check_orbits
from clearview.mocks.truth import Spiral, Truth, truth_of
from clearview.units import SUN

_VERSION = 1  # part of the cache key: raise it when the same parameters give other stars
_BLOCK = 1 << 12  # orbits at a time on one core; more fall out of its cache
_SNAPSHOTS = 2  # of each orbit, half the holding time apart


def lumpy_galaxy(
    n: int = 153_000,
    seed: int = 0,
    *,
    potential: str = "MWPotential2014",
    spiral: Spiral | None = None,
    radius: float = 4.0,
    populations: tuple[Population, ...] = DISC_AND_HALO,
    clumped: float = 0.05,
    clump_stars: int = 20,
    clump_size: float = 0.1,
    clump_dispersion: float = 3.0,
    mixing_time: float = 1500.0,
    growing_time: float = 1000.0,
    holding_time: float = 1000.0,
    time_step: float = 1.0,
    cache: bool = True,
    on_progress: Callable[[float], object] | None = None,
) -> Catalog:
    """Draw stars from a lumpy galaxy with spiral arms, in the ball at one angle of the arms.

    Orbits of `mock_galaxy`'s kind mix in the axisymmetric potential, then the wave grows smoothly and is held. The
    stars are then near a state that stands still in the frame of the wave, not at rest: the Boltzmann equation
    without its time derivative is slightly wrong, as in a simulated or a real galaxy. Each orbit has its own time to
    mix, grow and hold, between half of what is asked and all of it, so that no phases are in step. An orbit is looked
    at twice, and a star anywhere is moved to its equal place under the arms' own symmetry: about a quarter of the
    stars in a ball of 4 kpc share their orbit with one other, at another phase.

    Args:
        n: number of stars.
        seed: of the random numbers.
        potential: the axisymmetric part, a name among `POTENTIALS`.
        spiral: the wave; None takes the defaults of `Spiral`, whose a_phi reaches 2.6% of |a| and whose radial force
            5.7%. Amplitude 0 gives an axisymmetric galaxy in equilibrium.
        radius: of the ball around the Sun that the stars lie in, kpc.
        populations: the tracers.
        clumped: fraction of the stars in clumps. The clumps' own gravity is not in the truth.
        clump_stars: stars of one clump; its centre is a star drawn as all others.
        clump_size: standard deviation of a clump along each axis, kpc.
        clump_dispersion: the same in velocity, km/s.
        mixing_time: before the wave begins to grow, at most, Myr.
        growing_time: of the wave, at most, Myr.
        holding_time: at full strength until the later look, at most, Myr.
        time_step: of the leapfrog, at most, Myr.
        cache: keep the stars on disk, as `mock_galaxy` does.
        on_progress: called with the fraction done; returning False stops it with a RuntimeError.

    Returns:
        A catalogue as `mock_galaxy`'s; `truth_of` gives the total force, wave included, and ``meta["mock"]`` the
        parameters.

    Raises:
        ValueError: for n < 1, a radius outside (0, 8) kpc or too large for a sector between two arms, a fraction
            outside [0, 1), a clump of less than two stars, times that are not positive, or an unknown potential.
    """
    spiral = spiral or Spiral()
    checks.a(spiral, Spiral, "a Spiral")
    check_orbits(
        n, seed, populations, radius, time_step, mixing=mixing_time, growing=growing_time, holding=holding_time
    )
    checks.number("clump_stars", clump_stars, 2, 10**9, whole=True)
    checks.number("clumped", clumped, 0, checks.BELOW_1)
    for name, size in (("clump_size", clump_size), ("clump_dispersion", clump_dispersion)):
        checks.number(name, size, 0)
    reach = SUN.R * np.sin(np.pi / spiral.arms)  # the ball lies in one sector of the arms
    if not 0 < radius < reach:
        raise ValueError(f"Expected a ball radius between 0 and {reach:.3f} kpc, got {radius}; choose a smaller ball.")
    if min(mixing_time, growing_time, holding_time) < time_step or time_step <= 0:
        raise ValueError(
            f"Expected times of at least one time step, got {mixing_time}, {growing_time} and {holding_time} Myr; "
            "lengthen them."
        )
    truth = Truth(potential, spiral)
    parameters = dict(
        n=n, seed=seed, potential=potential, spiral=asdict(spiral), radius=radius,
        populations=[asdict(p) for p in populations], clumped=clumped, clump_stars=clump_stars, clump_size=clump_size,
        clump_dispersion=clump_dispersion, mixing_time=mixing_time, growing_time=growing_time,
        holding_time=holding_time, time_step=time_step, version=_VERSION,
    )  # fmt: skip

    def draw():
        looks, found = [], 0
        times = (mixing_time, growing_time, holding_time)
        for stars in _snapshots(truth, seed, radius, populations, times, time_step):
            looks.append(stars)
            found += len(stars)
            if on_progress is not None and on_progress(min(found / n, 1.0)) is False:
                raise RuntimeError("lumpy_galaxy was cancelled; nothing was kept.")
            if found >= n:
                break
        rng = np.random.default_rng(seed)
        stars = rng.permutation(np.concatenate(looks))[:n]
        clumps = round(clumped * n / clump_stars)
        around = np.repeat(stars[:clumps], clump_stars - 1, axis=0)
        around += rng.normal(size=around.shape) * ([clump_size] * 3 + [clump_dispersion] * 3)
        around = around[_inside(around, radius)]
        return np.concatenate([around, stars[: n - len(around)]])

    return _cached("lumpy_galaxy", parameters, draw, cache)


def stir(
    catalog: Catalog,
    *,
    v_kick: float = 30.0,
    time: float = 200.0,
    azimuth: float = 0.0,
    width: float = 60.0,
    radius: float | None = 4.0,
    time_step: float = 1.0,
) -> Catalog:
    """Kick a galaxy upwards on one side and let it wind up in its true potential.

    A satellite's passage in short: stars gain v_kick exp[(cos(d) - 1)/width^2] in v_z, with d their azimuth from the
    centre of the kick. As the vertical frequency falls with amplitude, the kick winds into a spiral in (z, v_z), as
    seen in Gaia's data (Antoja et al. 2018, arXiv:1804.10196): plain at each angular momentum, blurred over the ball,
    as the frequency changes with radius too. The galaxy is used at as many equally spaced azimuths
    as give each of its orbits one star in the ball at most, 6 for 4 kpc.

    Args:
        catalog: a whole galaxy in equilibrium, ``mock_galaxy(n, radius=None)``; about 0.4 n stars come out.
        v_kick: km/s; 0 gives a quiet galaxy made in the same way.
        time: between the kick and today, Myr.
        azimuth: of the centre of the kick along the rotation, deg; 0 hits what orbits to the Sun's place today.
        width: of the kick in azimuth, deg.
        radius: of the ball around the Sun, kpc; None keeps the whole galaxy, at one azimuth.
        time_step: of the leapfrog, Myr.

    Returns:
        The stars in the ball today; ``meta["mock"]["stirred"]`` holds the parameters of the kick, and the truth is
        that of ``catalog``.

    Raises:
        ValueError: if ``catalog`` is no whole mock galaxy in equilibrium, for a radius outside (0, 8) kpc, or a width
            or time that is not positive.
    """
    mock, truth = checks.a(catalog, Catalog, "a Catalog").meta.get("mock") or {}, truth_of(catalog)
    if truth is None or mock.get("radius") is not None or truth.spiral or "stirred" in mock:
        raise ValueError("Expected a whole mock galaxy, got other stars; make it with mock_galaxy(n, radius=None).")
    if radius is not None and not 0 < radius < SUN.R:
        raise ValueError(f"Expected a ball radius between 0 and {SUN.R} kpc, got {radius}; choose a smaller ball.")
    if width <= 0 or time <= 0 or not 0 < time_step <= time:
        raise ValueError(
            f"Expected a positive width and 0 < time_step <= time, got {width} deg, {time_step} and {time} Myr; "
            "correct them."
        )
    stars = catalog.phase_space
    turns = 1 if radius is None else max(1, int(np.pi / np.arcsin(radius / SUN.R)))
    stars = np.concatenate([_turned(stars, 2 * np.pi * i / turns) for i in range(turns)])
    circular = np.sqrt(-SUN.R * truth.acceleration([[SUN.R, 0.0, 0.0]])[0, 0]) / SUN.R
    away = np.arctan2(-stars[:, 1], stars[:, 0]) - np.deg2rad(azimuth) + circular * time * _KMS_MYR
    stars[:, 5] += v_kick * np.exp((np.cos(away) - 1) / np.deg2rad(width) ** 2)
    steps = round(time / time_step)
    force = _force(truth, fast=True)

    @jax.jit
    def later(w):
        x, v, _ = _march(lambda x, t: force(x), tuple(w[:3]), tuple(w[3:]), time / steps, 0.0, steps)
        return jnp.stack([*x, *v])

    def block(i):
        rows = stars[i : i + _BLOCK]
        padded = np.pad(rows, ((0, _BLOCK - len(rows)), (0, 0)), mode="edge")
        rows = np.asarray(later(jnp.asarray(padded.T, jnp.float32))).T[: len(rows)]
        return rows if radius is None else rows[_inside(rows, radius)]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stars = np.concatenate(list(pool.map(block, range(0, len(stars), _BLOCK))))
    if not len(stars):
        raise ValueError(f"Expected stars within {radius} kpc of the Sun, got none; make a galaxy of more stars.")
    stirred = dict(v_kick=v_kick, time=time, azimuth=azimuth, width=width, time_step=time_step)
    meta = {"source": "stir", "mock": mock | {"n": len(stars), "radius": radius, "stirred": stirred}}
    return Catalog.from_phase_space(stars[:, :3], stars[:, 3:], meta=meta)


def _march(force, x, v, dt, begin, steps):
    """Leapfrog of x and v, triples, from time ``begin``; dt, begin: numbers or (N,), Myr. Returns x, v and the time."""
    dt_kpc = dt * _KMS_MYR

    def step(i, state):
        x, v, a = state
        v = tuple(p + 0.5 * dt_kpc * q for p, q in zip(v, a, strict=True))
        x = tuple(p + dt_kpc * q for p, q in zip(x, v, strict=True))
        a = force(x, begin + (i + 1) * dt)
        return x, tuple(p + 0.5 * dt_kpc * q for p, q in zip(v, a, strict=True)), a

    x, v, _ = lax.fori_loop(0, steps, step, (x, v, force(x, begin)))
    return x, v, begin + steps * dt


def _snapshots(truth: Truth, seed, radius, populations, times, time_step) -> Iterator[np.ndarray]:
    """Stars (N, 6) in the ball, from block after block of orbits without end."""
    spiral, still = truth.spiral, _force(truth, fast=True)
    assert spiral is not None
    turning = spiral.speed * _KMS_MYR  # rad/Myr
    mixing, growing, holding = (max(1, int(t / time_step)) for t in times)

    def waving(growth, x, t):
        grown = jnp.clip(t / growth, 0.0, 1.0)
        wave = spiral.evaluate(x, turning * t, jnp)[1]
        return tuple(p + grown**2 * (3 - 2 * grown) * q for p, q in zip(still(x), wave, strict=True))

    @jax.jit
    def block(key, w):
        k_time, k_azimuth = random.split(key)
        dt = time_step * random.uniform(k_time, (_BLOCK,), minval=0.5, maxval=1.0)
        x, v, _ = _march(lambda x, t: still(x), tuple(w[:3]), tuple(w[3:]), dt, 0.0, mixing)
        c, s = (f(random.uniform(k_azimuth, (_BLOCK,), maxval=2 * np.pi)) for f in (jnp.cos, jnp.sin))
        # The orbits were launched with L_z > 0; the Galaxy's disc has L_z < 0, hence the mirror in y.
        x, v = ((q[0] * c - q[1] * s, -(q[0] * s + q[1] * c), q[2]) for q in (x, v))
        force = partial(waving, growing * dt)
        x, v, t = _march(force, x, v, dt, 0.0, growing)
        looks = []
        for _ in range(_SNAPSHOTS):
            x, v, t = _march(force, x, v, dt, t, max(1, holding // _SNAPSHOTS))
            looks.append(jnp.stack([*x, *v, turning * t]))
        return jnp.concatenate(looks, axis=1)

    def near(job):
        key, w = job
        rows = np.asarray(block(key, w)).T
        sector = 2 * np.pi / spiral.arms
        ahead = np.arctan2(-rows[:, 1], rows[:, 0]) - rows[:, 6]  # azimuth from the Sun's, in the frame of the wave
        home = (ahead + sector / 2) % sector - sector / 2
        rows = _turned(rows[:, :6], home - ahead - rows[:, 6])
        return rows[_inside(rows, radius)]

    jobs = _blocks(truth, seed, radius, populations)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while True:
            yield from pool.map(near, [next(jobs) for _ in range(2 * (os.cpu_count() or 1))])


def _blocks(truth: Truth, seed, radius, populations):
    """Keys and launches (6, _BLOCK) of the orbits that can come within 1.5 kpc of the ball's range in R."""
    axisymmetric = Truth(truth.name)
    R = np.geomspace(0.05, 60.0, 2000)
    v_circ = np.sqrt(-R * axisymmetric.acceleration(np.stack([R, 0 * R, 0 * R], -1))[:, 0])
    launch = jax.jit(partial(_launch, populations=populations, circular=tuple(jnp.float32(a) for a in (R, v_circ))))
    inner, outer = max(SUN.R - radius - 1.5, 0.3), SUN.R + radius + 1.5
    edges = axisymmetric.potential([[inner, 0.0, 0.0], [outer, 0.0, 0.0]])
    L_in, L_out = (r * np.interp(r, R, v_circ) for r in (inner, outer))
    waiting, key = np.empty((6, 0), np.float32), random.key(seed)
    for i in range(1 << 31):
        w = np.concatenate(launch(random.fold_in(key, 2 * i)))
        E = 0.5 * (w[3:] ** 2).sum(0) + axisymmetric.potential(w[:3].T)
        L2 = (w[0] * w[4] - w[1] * w[3]) ** 2
        # At either edge an orbit needs the energy of the barrier in the plane; motion along z only takes from it.
        stuck_in = (L_in**2 > L2) & (edges[0] + L2 / (2 * inner**2) > E)
        stuck_out = (L_out**2 < L2) & (edges[1] + L2 / (2 * outer**2) > E)
        waiting = np.concatenate([waiting, w[:, ~(stuck_in | stuck_out)]], axis=1)
        keys = random.split(random.fold_in(key, 2 * i + 1), waiting.shape[1] // _BLOCK)
        for k in keys:
            yield k, jnp.asarray(waiting[:, :_BLOCK])
            waiting = waiting[:, _BLOCK:]


def _turned(stars, angle):
    """Stars (N, 6) turned about the z axis along the rotation by an angle, rad."""
    c, s, turned = np.cos(angle), np.sin(angle), np.array(stars)
    for i in (0, 3):
        turned[:, i], turned[:, i + 1] = c * stars[:, i] + s * stars[:, i + 1], c * stars[:, i + 1] - s * stars[:, i]
    return turned


def _inside(stars, radius):
    return ((stars[:, :3] - SUN.position) ** 2).sum(1) < radius**2
