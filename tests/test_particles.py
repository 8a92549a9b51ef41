"""A disc put anywhere, tilted and drifting, comes back as our own galaxy."""

import h5py
import numpy as np
import pytest
from astropy import units as u

from clearview.catalogs import to_cylindrical
from clearview.catalogs.particles import Particles, read_particles
from clearview.units import SUN

CENTRE, DRIFT = np.array([512.0, -30.0, 77.0]), np.array([100.0, -250.0, 40.0])


def disc(rng, n=20_000):
    """x, v of a thin disc in the internal frame that turns at 200 km/s as ours, with a blob at x = 8, y = 0."""
    R, phi = rng.gamma(2, 2.5, n), rng.uniform(0, 2 * np.pi, n)
    x = np.stack([R * np.cos(phi), R * np.sin(phi), rng.normal(0, 0.2, n)], -1)
    x[:300] = rng.normal([8, 0, 0.5], 0.05, (300, 3))
    spin = 200 * np.stack([x[:, 1], -x[:, 0], 0 * R], -1) / np.hypot(2, np.hypot(x[:, 0], x[:, 1]))[:, None]
    return x, spin + rng.normal(0, 10, (n, 3))


@pytest.fixture
def tilted(rng):
    from scipy.spatial.transform import Rotation

    x, v = disc(rng)
    turn = Rotation.from_euler("zxz", [30, 70, 200], degrees=True).as_matrix()
    return (x @ turn.T + CENTRE) * 1000, v @ turn.T + DRIFT, np.full(len(x), 2e-6)


UNITS = ("pc", "km/s", "1e10 Msun")


def test_it_turns_our_way(tilted):
    found = Particles.of(*tilted, units=UNITS)
    assert found.mass[0] == pytest.approx(2e4)
    found = found.centred()
    assert found.meta["center_kpc"] == pytest.approx(CENTRE, abs=0.3)
    assert found.meta["center_velocity_kms"] == pytest.approx(DRIFT, abs=15)
    found = found.upright()
    R, _, z, vR, vphi, vz = to_cylindrical(found.x, found.v)
    assert np.median(vphi[R > 6]) == pytest.approx(195, abs=5)
    assert np.abs([np.median(vR), np.median(vz)]).max() < 12
    assert np.std(z[R < 5]) < 0.35
    L = np.cross(found.x, found.v).sum(0)
    assert L[2] / np.linalg.norm(L) < -0.999


def test_the_sun_is_put_where_it_was_asked_for(rng):
    x, v = disc(rng)
    galaxy = Particles.of(x, v, units=("kpc", "km/s", "Msun"))
    blob = galaxy.around(8.0, 0.0, z=0.5, radius=0.4)
    assert np.median(blob.phase_space[:, :3], axis=0) == pytest.approx([8, 0, 0.5], abs=0.05)
    assert len(blob) > 290
    assert blob.sun.position == pytest.approx([np.sqrt(64 - 0.25), 0, 0.5])
    turned = Particles.of(*(a @ [[0, 1, 0], [-1, 0, 0], [0, 0, 1]] for a in (x, v)), units=("kpc", "km/s", "Msun"))
    assert np.median(turned.x[:300], axis=0) == pytest.approx([0, 8, 0.5], abs=0.05)  # the blob is at phi = 90 deg now
    again = turned.around(8.0, 90.0, z=0.5, radius=0.4)
    assert again.phase_space == pytest.approx(blob.phase_space, abs=1e-3)
    ball = galaxy.around()
    assert ball.sun.position == pytest.approx(SUN.position)
    assert np.linalg.norm(ball.phase_space[:, :3] - SUN.position, axis=1).max() < 4
    assert np.median(ball["vy"]) < -150
    assert ball.unit("mass") == u.Msun
    assert ball.meta["simulation"]["radius_kpc"] == 4


@pytest.mark.parametrize("names", [("Coordinates", "Velocities", "Masses"), ("pos", "vel", "mass")])
def test_hdf5_files(tilted, tmp_path, names):
    with h5py.File(tmp_path / "snap.hdf5", "w") as file:
        family = file.create_group("PartType4")
        for name, values in zip(names, tilted, strict=True):
            family[name] = values
    found = read_particles(tmp_path / "snap.hdf5", "PartType4", units=UNITS)
    assert found.x == pytest.approx(Particles.of(*tilted, units=UNITS).x)
    assert found.meta["group"] == "PartType4"
    with pytest.raises(KeyError, match="Expected a group among PartType4"):
        read_particles(tmp_path / "snap.hdf5", "star", units=UNITS)
    with pytest.raises(KeyError, match=r"names=\{'vel': your dataset\}"):
        read_particles(tmp_path / "snap.hdf5", "PartType4", units=UNITS, names={"vel": "speed"})
    with pytest.raises(ValueError, match="Expected names of pos"):
        read_particles(tmp_path / "snap.hdf5", "PartType4", units=UNITS, names={"speed": "vel"})
    (tmp_path / "text.hdf5").write_text("no")
    with pytest.raises(ValueError, match="Expected an HDF5 file"):
        read_particles(tmp_path / "text.hdf5", "star", units=UNITS)
    with pytest.raises(FileNotFoundError):
        read_particles(tmp_path / "none.hdf5", "star", units=UNITS)


def test_what_cannot_be(tilted, rng):
    x, v, mass = tilted
    with pytest.raises(ValueError, match="Expected the unit of pos"):
        Particles.of(x, v, mass)
    with pytest.raises(ValueError, match="convertible to km/s"):
        Particles.of(x, v, mass, units=("pc", "pc", "Msun"))
    with pytest.raises(ValueError, match="stack the components"):
        Particles.of(x.T, v.T, mass, units=UNITS)
    with pytest.raises(ValueError, match="1 particles without"):
        Particles.of(np.where(np.arange(len(x))[:, None] == 5, np.nan, x), v, mass, units=UNITS)
    with pytest.raises(ValueError, match="not negative"):
        Particles.of(x, v, -mass, units=UNITS)
    assert Particles.of(x * u.pc, v * u.km / u.s).x == pytest.approx(x / 1000)
    round_ = Particles.of(*rng.normal(0, 1, (2, 5000, 3)), units=("kpc", "km/s", "Msun"))
    with pytest.raises(ValueError, match="times its noise"):
        round_.upright()
    given = round_.upright(axis=(0, 0, -2))
    assert given.x[:, 2] == pytest.approx(round_.x[:, 2])
    assert round_.upright(axis=(1, 0, 0)).x[:, 2] == pytest.approx(-round_.x[:, 0])
    with pytest.raises(ValueError, match="three numbers"):
        round_.upright(axis=(0, 0, 0))
    with pytest.raises(ValueError, match="choose another place"):
        round_.around(50.0)
    with pytest.raises(ValueError, match="R above"):
        round_.around(-1.0)
