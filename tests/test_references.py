"""Published tables beside a potential: what is read, what is predicted, what is flagged."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from fakes import FakeFit

from clearview.catalogs import Catalog, to_galactocentric
from clearview.dynamics.references import (
    M_S2,
    MM_S_YR,
    PUBLISHED,
    along_axes,
    published,
    pulsar_pulls,
    read_reference,
)
from clearview.mocks import Truth
from clearview.units import SUN


class Harmonic:
    """a = -w^2 x: differences of accelerations are exact in closed form."""

    w2 = np.array([700.0, 500.0, 3000.0])

    def potential(self, x):
        return 0.5 * (self.w2 * np.asarray(x) ** 2).sum(-1)

    def acceleration(self, x):
        return -self.w2 * np.asarray(x)


def pulsars(**change):
    table = {
        "name": ["J0001+0000", "J0002+0000", "B1913+16", "J0003+0000", "J0004+0000", "J0005+0000"],
        "l_deg": [0.0, 90.0, 50.0, 200.0, 10.0, 120.0],
        "b_deg": [0.0, 0.0, 2.0, -50.0, 5.0, 89.0],
        "parallax_mas": [0.5, 2.0, 0.5, -0.1, 0.2, 1.0],
        "parallax_err_mas": [0.05, 0.1, 0.05, 0.1, 0.01, 0.5],
        "alos_orbital_mm_s_yr": [1.0, -2.0, -7.0, 0.5, 3.0, 0.0],
        "alos_orbital_err_mm_s_yr": [0.5, 0.4, 0.3, 0.2, 0.5, 1.0],
        "alos_spin_mm_s_yr": [0.0] * 6,
    }
    return pd.DataFrame({**table, **change})


@pytest.fixture
def read(tmp_path):
    def write_and_read(table, kind, **more):
        table.to_parquet(tmp_path / "table.parquet")
        return read_reference(tmp_path / "table.parquet", kind, **more)

    return write_and_read


def test_units_of_acceleration():
    one = u.km**2 / u.s**2 / u.kpc
    assert one.to("mm / (s yr)") == pytest.approx(MM_S_YR, rel=1e-4)
    assert one.to("m / s2") == pytest.approx(M_S2, rel=1e-4)


def test_pulsars_lie_where_astropy_has_them():
    l, b = np.array([0.0, 90, 217, 10]), np.array([0.0, 0, 40, -80])
    sky = SkyCoord(l=l * u.deg, b=b * u.deg, distance=2 * u.kpc, frame="galactic").icrs
    zero = np.zeros(4)
    table = dict(ra=sky.ra.deg, dec=sky.dec.deg, distance=zero + 2, pmra=zero, pmdec=zero, radial_velocity=zero)
    units = dict(ra="deg", dec="deg", distance="kpc", pmra="mas/yr", pmdec="mas/yr", radial_velocity="km/s")
    x = to_galactocentric(Catalog.from_pandas(pd.DataFrame(table), units=units)).phase_space[:, :3]
    measured = dict(alos_orbital_mm_s_yr=zero, alos_orbital_err_mm_s_yr=zero + 1)
    table = dict(name=list("abcd"), l=l, b=b, parallax=0.5, parallax_error=0.1, **measured)
    found = pulsar_pulls(Truth(), pd.DataFrame(table))
    # Sgr A*, towards which astropy's frame points, is 0.07 deg from l = b = 0.
    assert found[["x", "y", "z"]].to_numpy() == pytest.approx(x, abs=2 * np.deg2rad(0.08))


def test_pulls_against_a_field_in_closed_form(read):
    table = read(pulsars(), "pulsars")
    found = pulsar_pulls(Harmonic(), table)
    d = 1 / table.parallax.to_numpy()
    way = (found[["x", "y", "z"]].to_numpy() - SUN.position) / np.abs(d)[:, None]
    predicted = -d * (Harmonic.w2 * way**2).sum(1) * MM_S_YR
    way[3] = 0.0  # no parallax, no place
    good = (table.parallax > 0).to_numpy()
    assert found.predicted.to_numpy()[good] == pytest.approx(predicted[good], rel=1e-5)
    # predicted is proportional to the distance, so its error is that of the parallax
    assert found.predicted_error.to_numpy()[good] == pytest.approx(
        (np.abs(predicted) * table.parallax_error * d).to_numpy()[good], rel=1e-5
    )
    pull = (found.measured - found.predicted) / np.hypot(found.measured_error, found.predicted_error)
    assert found.pull.to_numpy()[good] == pytest.approx(pull.to_numpy()[good])
    assert np.isnan(found.pull[3])
    assert found.note[3] == "no positive parallax"
    assert list(found.used) == [True, True, False, False, True, False]
    assert "cut in published" in found.note[2]
    assert found.note[5] == "parallax below 3 sigma"
    assert found.attrs["n"] == 3
    assert found.attrs["chi2"] == pytest.approx((pull[[0, 1, 4]] ** 2).sum())


def test_the_disc_pulls_towards_the_plane_and_the_centre():
    table = pd.DataFrame(dict(
        name=["up", "down", "in", "turn"], l=[0.0, 0, 0, 90], b=[90.0, -90, 0, 0], parallax=[1.0, 1, 1, 1],
        parallax_error=[0.01] * 4, alos_orbital_mm_s_yr=[0.0] * 4, alos_orbital_err_mm_s_yr=[1.0] * 4,
    ))  # fmt: skip
    up, down, inwards, turn = pulsar_pulls(Truth(), table).predicted
    assert -3.5 < up < -1.5  # 1 kpc above the disc: about 2 km/s per Myr back to it
    assert -3.5 < down < -1.5
    assert 0.4 < inwards < 2.5  # nearer to the centre the pull towards it is stronger
    assert turn == pytest.approx(-0.77, abs=0.1)  # d v_c^2 / R^2


def test_outside_the_ball_is_not_a_number(read):
    fit = FakeFit("")
    found = pulsar_pulls(fit, read(pulsars(), "pulsars"))
    assert np.isnan(found.predicted[4])
    assert found.note[4] == "outside the ball"
    assert found.attrs["n"] == 2
    assert np.isfinite(pulsar_pulls(fit, read(pulsars(), "pulsars"), radius=6.0).predicted[4])
    fit.center = np.array([0.0, 0, 0])
    with pytest.raises(ValueError, match="Expected the Sun within the ball"):
        pulsar_pulls(fit, read(pulsars(), "pulsars"))


def test_pulsars_that_cannot_be(read):
    table = read(pulsars(), "pulsars")
    with pytest.raises(KeyError, match="parallax"):
        pulsar_pulls(Truth(), table.drop(columns="parallax"))
    with pytest.raises(ValueError, match="Expected pulsars with"):
        pulsar_pulls(Truth(), table.assign(alos_orbital_mm_s_yr=np.nan))


CURVE = pd.DataFrame(dict(reference=["A", "B"], R_kpc=[5.0, 8], vc_kms=[230.0, 229], vc_err_minus_kms=[1.0, 2],
                          vc_err_plus_kms=[3.0, 4]))  # fmt: skip


def test_tables_become_tidy(read):
    curve = read(CURVE, "rotation_curves")
    assert list(curve.columns) == ["reference", "R", "R_error", "vc", "vc_minus", "vc_plus"]
    assert curve.vc_minus.to_list() == [1, 2]
    assert curve.attrs["units"]["R"] == "kpc"
    mass = pd.DataFrame(dict(reference=["A"], radius_kpc=[20.0], log10_mass_Msun=[11.0], err_minus_dex=[0.1],
                             err_plus_dex=[0.2]))  # fmt: skip
    mass = read(mass, "enclosed_mass").iloc[0]
    assert (mass.r, mass.mass) == (20, pytest.approx(1e11))
    assert mass.mass - mass.mass_minus == pytest.approx(10**10.9)
    assert mass.mass + mass.mass_plus == pytest.approx(10**11.2)
    speed = pd.DataFrame(dict(reference=["A"], vesc_kms=[544.0], err_minus_kms=[30.0], err_plus_kms=[40.0]))
    assert read(speed, "escape_speed").iloc[0].to_list() == ["A", 544, 30, 40]


def test_tables_that_cannot_be(read, tmp_path):
    with pytest.raises(ValueError, match="Expected a kind of table among pulsars"):
        read_reference(tmp_path / "none.parquet", "masses")
    with pytest.raises(FileNotFoundError):
        read_reference(tmp_path / "none.parquet", "pulsars")
    with pytest.raises(KeyError, match="got none for vc_err_plus"):
        read(CURVE.drop(columns="vc_err_plus_kms"), "rotation_curves")
    with pytest.raises(ValueError, match="Expected errors that are not negative in vc_err_minus"):
        read(CURVE.assign(vc_err_minus_kms=-1.0), "rotation_curves")
    with pytest.raises(ValueError, match=r"Expected R in kpc, got pc|Expected R in kpc, got None"):
        read(CURVE.rename(columns={"R_kpc": "R"}), "rotation_curves")
    with pytest.raises(ValueError, match="Expected numbers in vc"):
        read(CURVE.assign(vc_kms=["fast", "slow"]), "rotation_curves")
    renamed = read(CURVE.rename(columns={"R_kpc": "Rgal"}), "rotation_curves", names={"R": "Rgal"}, units={"R": "kpc"})
    assert renamed.R.to_list() == [5, 8]


def test_published_numbers():
    a = published("a_sun")
    assert a.value.to_list() == [1.94e-10, 2.32e-10]
    truth = np.linalg.norm(Truth().acceleration(SUN.position[None])) * M_S2
    assert truth == pytest.approx(a.value[0], abs=a.error[0])
    assert len(published()) == len(PUBLISHED)
    assert "second hand" in published("rho_dm").note.iloc[-1]
    with pytest.raises(ValueError, match="among a_sun, rho_dm"):
        published("v_c")


def test_curves_along_the_axes():
    truth = Truth()
    curves = along_axes(truth, reach=3.0, size=31, density=truth.density)
    z = curves["z"]
    assert [z.z[0], z.z[15], z.z[-1]] == pytest.approx([SUN.z - 3, SUN.z, SUN.z + 3])
    x = np.array([[SUN.position[0], 0, SUN.z + 3]])
    assert z.a_z.values[-1] == pytest.approx(truth.acceleration(x)[0, 2], rel=1e-5)
    assert z.density.values[-1] == pytest.approx(truth.density(x)[0], rel=1e-5)
    assert curves["x"].a_x.values[0] == pytest.approx(truth.acceleration(SUN.position - [[3, 0, 0]])[0, 0], rel=1e-5)
    assert z.density.attrs["units"] == "Msun kpc-3"
    assert np.isfinite(along_axes(FakeFit(""), size=5)["x"].a_x).all()
    outside = along_axes(FakeFit(""), reach=5.0, size=5, density=truth.density)["y"]
    assert np.isnan(outside.density.values[[0, -1]]).all()
    with pytest.raises(ValueError, match="odd number"):
        along_axes(truth, size=30)
    with pytest.raises(ValueError, match="positive reach"):
        along_axes(truth, reach=0)
