"""Maps in galpy and gala: the same force, orbits that turn our way and keep their energy; fields in files."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from fakes import FakeFit

from clearview import load_first_map
from clearview.catalogs import to_cylindrical
from clearview.dynamics import acceleration_field
from clearview.field import Axis, Quantity, make_field
from clearview.interop import BallPotential, OutsideBallError, read_field, to_gala, to_galpy, write_field
from clearview.mocks import Truth
from clearview.units import SUN

STAR = np.array([8.3, 0.4, 0.2]), np.array([20.0, -225.0, 12.0])
"""A disc star near the Sun, in the internal frame."""
MYR = 1.0227121650537077e-3  # kpc in 1 Myr at 1 km/s


@pytest.fixture(scope="module")
def fit():
    return load_first_map()[1]


@pytest.fixture
def places(rng):
    return SUN.position + rng.uniform(-1.5, 1.5, (20, 3))


def our_orbit(source, times, step=0.05):
    """Leapfrog in the internal frame, [Myr]: (T, 3) places, (T, 3) velocities."""
    (x, v), out, now = STAR, [], 0.0
    for t in times:
        while now < t - 1e-9:
            v = v + 0.5 * step * MYR * source.acceleration(x[None])[0]
            x = x + step * MYR * v
            v, now = v + 0.5 * step * MYR * source.acceleration(x[None])[0], now + step
        out.append([x, v])
    return np.moveaxis(np.array(out), 1, 0)


def galpy_start(ro=8.0, vo=220.0):
    R, phi, z, vR, vphi, vz = to_cylindrical(*STAR)
    return [R / ro, vR / vo, vphi / vo, z / ro, vz / vo, -phi]


@pytest.mark.parametrize("make", [FakeFit, Truth])
def test_galpy_has_the_force_of_the_source(make, places):
    source = FakeFit("") if make is FakeFit else Truth()
    potential = to_galpy(source, ro=8.5, vo=230.0)
    R, phi = np.hypot(places[:, 0], places[:, 1]), -np.arctan2(places[:, 1], places[:, 0])
    at, u2 = (R / 8.5, places[:, 2] / 8.5), dict(phi=phi, use_physical=False)
    a, scale = source.acceleration(places), 230.0**2 / 8.5
    assert potential.Rforce(*at, **u2) * scale == pytest.approx((a[:, :2] * places[:, :2]).sum(1) / R, rel=1e-9)
    assert potential.zforce(*at, **u2) * scale == pytest.approx(a[:, 2], rel=1e-9)
    torque = -(places[:, 0] * a[:, 1] - places[:, 1] * a[:, 0])
    assert potential.phitorque(*at, **u2) * 230.0**2 == pytest.approx(torque, rel=1e-9, abs=1e-6)
    assert potential(*at, **u2) * 230.0**2 == pytest.approx(source.potential(places), rel=1e-12)


def test_galpy_derivatives_are_those_of_its_own_forces(fit):
    p, at, h = to_galpy(fit), np.array([1.05, 0.03, 0.1]), 1e-4
    steps = h * np.eye(3)

    def slope(force, i):
        lo, hi = at - steps[i], at + steps[i]
        both = [getattr(p, force)(R, z, phi=phi, use_physical=False) for R, z, phi in (hi, lo)]
        return -(both[0] - both[1]) / (2 * h)

    for name, force, i in [
        ("R2deriv", "Rforce", 0), ("Rzderiv", "Rforce", 1), ("Rphideriv", "Rforce", 2),
        ("z2deriv", "zforce", 1), ("phizderiv", "zforce", 2), ("phi2deriv", "phitorque", 2),
    ]:  # fmt: skip
        found = getattr(p, name)(at[0], at[1], phi=at[2], use_physical=False)
        assert found == pytest.approx(slope(force, i), rel=1e-4, abs=1e-5), name


def test_density_is_that_of_the_potential():
    source = Truth()
    rho = source.density(SUN.position[None])[0]
    R, z = SUN.position[[0, 2]] / 8
    found = to_galpy(source).dens(R, z, phi=0.0, use_physical=False) * 220.0**2 / 8**2 / 4.30091e-6
    assert found == pytest.approx(rho, rel=1e-4)
    gala = pytest.importorskip("gala.potential") and to_gala(source)
    found = gala.density(SUN.position * [-1, -1, 1] * u.kpc).to_value("Msun/kpc3")
    assert found == pytest.approx(rho, rel=1e-4)


@pytest.mark.parametrize("which", ["map", "truth"])
def test_orbits_are_ours_in_galpy_and_gala(fit, which):
    """The star of the Sun's neighbourhood goes the same way in all three programs, with the disc."""
    from galpy.orbit import Orbit
    from galpy.util import conversion

    source = fit if which == "map" else Truth()
    times = np.arange(0, 9, 2.0)
    x, v = our_orbit(BallPotential(source), times)
    orbit = Orbit(galpy_start(), ro=8.0, vo=220.0)
    t = times / conversion.time_in_Gyr(220.0, 8.0) / 1e3
    orbit.integrate(t, to_galpy(source), method="dop853")
    assert (orbit.vT(t) > 200).all()
    ours = np.stack([orbit.x(t), -orbit.y(t), orbit.z(t)], -1)
    assert ours == pytest.approx(x, abs=1e-4)
    assert np.ptp(x[:, 1]) > 1  # it went somewhere
    gd = pytest.importorskip("gala.dynamics")
    flip = np.array([-1, -1, 1])
    w0 = gd.PhaseSpacePosition(STAR[0] * flip * u.kpc, STAR[1] * flip * u.km / u.s)
    theirs = to_gala(source).integrate_orbit(w0, t=times * u.Myr, Integrator="dopri853")
    assert theirs.xyz.to_value("kpc").T * flip == pytest.approx(x, abs=1e-4)
    assert theirs.v_xyz.to_value("km/s").T * flip == pytest.approx(v, abs=1e-2)


def test_a_star_of_the_sky_goes_in_as_it_is():
    """galpy's and astropy's own conversions put the star where we do: (x, -y, z) and (-x, -y, z)."""
    from galpy.orbit import Orbit

    from clearview.catalogs import Catalog, to_sky

    x, v = STAR
    sky = to_sky(Catalog.from_phase_space(x[None], v[None]))
    star = SkyCoord(
        *(sky.quantity(n)[0] for n in ("ra", "dec")), distance=sky.quantity("distance")[0],
        pm_ra_cosdec=sky.quantity("pmra")[0], pm_dec=sky.quantity("pmdec")[0],
        radial_velocity=sky.quantity("radial_velocity")[0],
    )  # fmt: skip
    orbit = Orbit(star, ro=SUN.R, vo=220.0, zo=SUN.z, solarmotion=[-SUN.v_radial, SUN.v_phi - 220.0, SUN.v_z])
    assert [orbit.x(), orbit.y(), orbit.z()] == pytest.approx(x * [1, -1, 1], abs=0.01)
    assert [orbit.vx(), orbit.vy(), orbit.vz()] == pytest.approx(v * [1, -1, 1], abs=1.5)


def test_energy_stays_until_the_orbit_leaves(fit):
    from galpy.orbit import Orbit

    potential, t = to_galpy(fit), np.linspace(0, 0.45, 91)
    orbit = Orbit(galpy_start(), ro=8.0, vo=220.0)
    orbit.integrate(t, potential, method="dop853")
    assert np.ptp(np.hypot(orbit.x(t) - orbit.x(0), orbit.y(t) - orbit.y(0))) > 2.5
    energy = orbit.E(t, use_physical=False)
    kinetic = 0.5 * (STAR[1] ** 2).sum() / 220.0**2
    assert np.abs(energy - energy[0]).max() < 1e-6 * kinetic
    for method in ("dop853", "odeint", "leapfrog"):
        with pytest.raises(OutsideBallError, match=r"within 4 kpc of the ball's center, got one at .* outer="):
            orbit.integrate(np.linspace(0, 0.8, 81), potential, method=method)
    gd = pytest.importorskip("gala.dynamics")
    flip, gala = np.array([-1, -1, 1]), to_gala(fit)
    w0 = gd.PhaseSpacePosition(STAR[0] * flip * u.kpc, STAR[1] * flip * u.km / u.s)
    energy = gala.integrate_orbit(w0, dt=0.5 * u.Myr, n_steps=24, Integrator="dopri853").energy()
    assert np.abs(energy - energy[0]).max() < 1e-6 * 0.5 * (STAR[1] ** 2).sum() * u.km**2 / u.s**2
    for method in ("dopri853", "leapfrog"):
        with pytest.raises(OutsideBallError):
            gala.integrate_orbit(w0, dt=1 * u.Myr, n_steps=25, Integrator=method)


@pytest.mark.parametrize("outer", ["flat_curve", "MWPotential2014"])
def test_beyond_the_ball_only_what_was_named(fit, outer):
    from galpy.orbit import Orbit

    ball = BallPotential(fit, outer)
    assert ball.provenance["outer"] == outer
    assert 0 < ball.provenance["outer_force_step"] < 0.5
    assert BallPotential(fit).provenance["outer"] == "none"
    n = np.array([[0.6, 0.64, 0.48], [-0.8, 0.1, -0.5916]])
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    edge = fit.center + 4.0 * n
    assert ball.potential(edge + 1e-7 * n) == pytest.approx(ball.potential(edge - 1e-7 * n), abs=1e-2)
    x, h = fit.center + 6.0 * n, 1e-4
    slope = [(ball.potential(x + h * e) - ball.potential(x - h * e)) / (2 * h) for e in np.eye(3)]
    assert -np.stack(slope, -1) == pytest.approx(ball.acceleration(x), rel=1e-6, abs=1e-3)
    assert ball.acceleration(fit.center[None]) == pytest.approx(BallPotential(fit).acceleration(fit.center[None]))
    t = np.linspace(0, 1, 21)
    orbit = Orbit(galpy_start(), ro=8.0, vo=220.0)
    orbit.integrate(t, to_galpy(fit, outer=outer), method="dop853")
    energy = orbit.E(t, use_physical=False)
    assert np.abs(energy - energy[0]).max() < 1e-5 * 0.5 * (STAR[1] ** 2).sum() / 220.0**2


def test_the_right_outer_potential_leaves_no_trace():
    """A source that is the outer potential, up to a constant, goes on as itself."""
    truth = Truth()
    fake = FakeFit("")
    fake.potential, fake.acceleration = lambda x: truth.potential(x) + 5e4, truth.acceleration
    ball, far = BallPotential(fake, truth), SUN.position + np.array([[5.0, 1, 2], [0, 9, 0]])
    assert ball.acceleration(far) == pytest.approx(truth.acceleration(far), rel=1e-9)
    assert ball.provenance["outer_force_step"] < 1e-6
    assert ball.provenance["outer"] == "Truth"


def test_sources_that_cannot_be_are_refused(fit):
    class Curl(FakeFit):
        def acceleration(self, x):
            return super().acceleration(x) + 300 * np.stack([-x[:, 1], x[:, 0] - 8, 0 * x[:, 0]], -1)

    with pytest.raises(ValueError, match="minus the gradient of the potential, got a Curl"):
        to_galpy(Curl(""))
    with pytest.raises(ValueError, match="Expected an outer potential among flat_curve"):
        to_galpy(fit, outer="flat")
    with pytest.raises(ValueError, match="no edge"):
        to_galpy(Truth(), outer="flat_curve")
    with pytest.raises(ValueError, match="Expected finite places"):
        BallPotential(fit).potential([[np.nan, 0, 0]])


def test_several_orbits_with_one_core(fit):
    from galpy.orbit import Orbit

    start = np.array(galpy_start())
    orbits = Orbit(np.stack([start, start * 1.01]), ro=8.0, vo=220.0)
    orbits.integrate(np.linspace(0, 0.05, 3), to_galpy(fit), method="dop853", numcores=1)
    assert np.isfinite(orbits.x(0.05)).all()


@pytest.fixture
def field():
    axes = [Axis("x", 4, 12, 5), Axis("z", -1, 1, 4)]
    values = np.arange(60, dtype=np.float32).reshape(3, 5, 4)
    values[0, 0, 0] = np.nan
    variables = {"a_R": Quantity(values, "km2 s-2 kpc-1", "a_R"), "log_f": Quantity(-values, "ln(kpc⁻³)", "ln f")}
    return make_field(axes, variables, {"source": "MapFit", "seed": 3, "at_y": 0.25}, members=3)


@pytest.mark.parametrize("ending", [".nc", ".fits"])
def test_fields_come_back(field, tmp_path, ending):
    field["warned"] = ("x", "z"), np.arange(20).reshape(5, 4) % 3 == 0, {"units": "", "long_name": "hatched"}
    path = tmp_path / f"field{ending}"
    write_field(field, path)
    back = read_field(path)
    xr.testing.assert_allclose(back, field, rtol=1e-12)
    assert back.attrs == field.attrs
    for name in field.variables:
        assert back[name].attrs == field[name].attrs, name
        assert (back[name].dtype, back[name].dims) == (field[name].dtype, field[name].dims)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_field(field, path)
    write_field(field.isel(member=slice(1)), path, overwrite=True)
    assert read_field(path).sizes["member"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_fits_speaks_to_others(field, tmp_path):
    write_field(field, tmp_path / "field.fits")
    with fits.open(tmp_path / "field.fits") as opened:
        file: Any = opened
        assert file[0].header["seed"] == 3
        assert file[0].header["source"] == "MapFit"
        image = file["A_R"]
        assert image.header["BUNIT"] == "km2 s-2 kpc-1"
        assert image.shape == (3, 5, 4)
        wcs: Any = WCS(image.header)
        z, x, member = wcs.wcs_pix2world(3, 1, 2, 0)
        assert [image.header[f"CTYPE{i}"] for i in (1, 2, 3)] == ["z", "x", "member"]
        scale = u.Unit(wcs.wcs.cunit[0]).to("kpc")
        assert (z * scale, x * scale, member) == pytest.approx((0.75, 6.4, 2))
        assert image.data[2, 1, 3] == field.a_R.values[2, 1, 3]


def test_a_slice_of_a_map_is_written_whole(tmp_path):
    slice_ = acceleration_field(FakeFit(""), [Axis("x", 5, 11, 6), Axis("y", -3, 3, 5)], {"z": 0.0})
    for name in ("slice.nc", "slice.fits"):
        write_field(slice_, tmp_path / name)
        xr.testing.assert_allclose(read_field(tmp_path / name), slice_)


def test_files_that_cannot_be(field, tmp_path):
    with pytest.raises(ValueError, match="Expected a file ending in"):
        write_field(field, tmp_path / "field.png")
    with pytest.raises(FileNotFoundError, match="Expected a folder"):
        write_field(field, tmp_path / "none" / "field.nc")
    with pytest.raises(ValueError, match="axis x is not regular"):
        write_field(field.assign_coords(x=[1, 2, 3, 4, 7]), tmp_path / "field.fits")
    with pytest.raises(TypeError, match="xarray Dataset"):
        write_field(field.a_R, tmp_path / "field.nc")
    (tmp_path / "bad.fits").write_text("no")
    (tmp_path / "bad.nc").write_text("no")
    for name in ("bad.fits", "bad.nc"):
        with pytest.raises(ValueError, match="written by write_field"):
            read_field(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_field(tmp_path / "none.nc")
    assert {p.name for p in tmp_path.iterdir()} == {"bad.fits", "bad.nc"}
