"""The frame: the Sun, known directions, astropy as an independent judge, and round trips."""

import astropy.coordinates as coord
import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from clearview.catalogs import Catalog, Distance, to_cylindrical, to_galactocentric, to_sky
from clearview.units import SUN, SUNS, Sun

SKY = ("ra", "dec", "distance", "pmra", "pmdec", "radial_velocity")
SUFFIX = ("deg", "deg", "kpc", "masyr", "masyr", "kms")


def sky(*rows):
    return Catalog.from_table(Table(dict(zip((f"{n}_{s}" for n, s in zip(SKY, SUFFIX, strict=True)),
                                             np.array(rows, float).T, strict=True))))  # fmt: skip


def test_the_sun():
    """A star beside the Sun that shares its motion is where and as fast as the Sun."""
    star = to_galactocentric(sky((0, 0, 1e-9, 0, 0, 0))).phase_space[0]
    np.testing.assert_allclose(star[:3], SUN.position, atol=1e-6)
    np.testing.assert_allclose(star[3:], SUN.velocity, atol=1e-4)
    assert star[0] == pytest.approx(8.122, abs=1e-4)
    assert star[4] < 0
    assert star[0] * star[4] - star[1] * star[3] < 0
    radius, phi, z, v_radial, vphi, vz = to_cylindrical(SUN.position, SUN.velocity)
    assert radius == pytest.approx(8.122, abs=1e-4)
    assert (phi, z, vz) == (0, 0.0208, 7.78)
    assert vphi == pytest.approx(245.6)
    assert v_radial == pytest.approx(-12.9)


def test_known_directions():
    centre = coord.SkyCoord(l=0 * u.deg, b=0 * u.deg, frame="galactic").icrs
    north = coord.SkyCoord(l=0 * u.deg, b=90 * u.deg, frame="galactic").icrs
    rotation = coord.SkyCoord(l=90 * u.deg, b=0 * u.deg, frame="galactic").icrs
    rows = [(c.ra.deg, c.dec.deg, 1, 0, 0, 50) for c in (centre, north, rotation)]
    stars = to_galactocentric(sky(*rows)).phase_space.astype(float)
    x, v = stars[:, :3] - SUN.position, stars[:, 3:] - SUN.velocity
    expected = np.array([[-1, 0, 0], [0, 0, 1], [0, -1, 0]])
    np.testing.assert_allclose(x, expected, atol=0.005)  # the plane of the frame is tilted by 0.15 deg
    np.testing.assert_allclose(v, 50 * expected, atol=0.3)


def test_against_astropy_from_first_principles():
    """Position and velocity through astropy's Galactic frame and a rotation written here."""
    rng = np.random.default_rng(2)
    rows = np.column_stack([rng.uniform(0, 360, 50), rng.uniform(-89, 89, 50), rng.uniform(0.1, 8, 50),
                            *rng.normal(0, 5, (2, 50)), rng.normal(0, 80, 50)])  # fmt: skip
    got = to_galactocentric(sky(*rows)).phase_space
    ra, dec, far, pmra, pmdec, rv = rows.T
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    radial = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.array([-np.sin(a), np.cos(a), 0 * a])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    velocity = rv * radial + 4.740470463533349 * far * (pmra * east + pmdec * north)

    def towards(l, b):
        c = coord.SkyCoord(l=l * u.deg, b=b * u.deg, frame="galactic").icrs.cartesian
        return c.xyz.value

    sgr = coord.ICRS(266.4051 * u.deg, -28.936175 * u.deg).cartesian.xyz.value
    pole = towards(0, 90)
    pole = pole - (pole @ sgr) * sgr
    pole /= np.linalg.norm(pole)
    axes = np.array([sgr, np.cross(pole, sgr), pole])
    tilt = np.arcsin(SUN.z / SUN.R)
    tilted = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    place = tilted @ (axes @ (far * radial) - np.array([[SUN.R], [0], [0]]))
    moves = tilted @ (axes @ velocity) + np.array([[SUN.v_radial], [SUN.v_phi], [SUN.v_z]])
    flip = np.array([[-1], [-1], [1]])
    # The pole of the frame is defined through the roll angle, here only to 0.01 deg.
    np.testing.assert_allclose(got[:, :3], (flip * place).T, atol=2e-3)
    np.testing.assert_allclose(got[:, 3:], (flip * moves).T, atol=0.15)


def test_against_a_skycoord():
    star = coord.SkyCoord(
        ra=91.3 * u.deg,
        dec=-24.2 * u.deg,
        distance=0.7 * u.kpc,
        pm_ra_cosdec=12.5 * u.mas / u.yr,
        pm_dec=-7.25 * u.mas / u.yr,
        radial_velocity=33 * u.km / u.s,
    )
    with coord.galactocentric_frame_defaults.set("v4.0"):
        there = star.transform_to(coord.Galactocentric())
    expected = [-there.x.to_value("kpc"), -there.y.to_value("kpc"), there.z.to_value("kpc"),
                -there.v_x.value, -there.v_y.value, there.v_z.value]  # fmt: skip
    np.testing.assert_allclose(to_galactocentric(sky((91.3, -24.2, 0.7, 12.5, -7.25, 33))).phase_space[0],
                               expected, rtol=1e-5)  # fmt: skip


def test_changed_astropy_defaults_do_not_matter():
    star = (10, 20, 1, 3, 4, 5)
    before = to_galactocentric(sky(star)).phase_space
    with coord.galactocentric_frame_defaults.set("pre-v4.0"):
        np.testing.assert_array_equal(to_galactocentric(sky(star)).phase_space, before)


number = st.floats(-300, 300)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 359.99), st.floats(-89.9, 89.9), st.floats(0.5, 10), number, number, number)
def test_round_trip_from_the_sky(ra, dec, distance, east, north, radial):
    row = (ra, dec, distance, east / distance / 4.74, north / distance / 4.74, radial)
    back = to_sky(to_galactocentric(sky(row)))
    assert np.cos(np.deg2rad(dec)) * abs((back["ra"][0] - ra + 180) % 360 - 180) < 3e-4  # half a parsec
    assert back["dec"][0] == pytest.approx(dec, abs=3e-4)
    assert back["distance"][0] == pytest.approx(distance, abs=5e-6)
    assert back["parallax"][0] == pytest.approx(1 / distance, rel=1e-5)
    # the tangential velocity turns by the error of the place
    assert back["pmra"][0] * distance * 4.74 == pytest.approx(east, abs=0.02 + 0.01 / np.cos(np.deg2rad(dec)))
    assert back["pmdec"][0] * distance * 4.74 == pytest.approx(north, abs=0.02 + 0.01 / np.cos(np.deg2rad(dec)))
    assert back["radial_velocity"][0] == pytest.approx(radial, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.floats(-15, 15)] * 3), st.tuples(*[number] * 3))
def test_round_trip_from_the_galaxy(x, v):
    if np.linalg.norm(np.array(x) - SUN.position) < 0.1:
        return
    stars = Catalog.from_phase_space([x], [v])
    seen = to_sky(stars)
    again = Catalog.from_table(Table({f"{n}_{s}": seen[n] for n, s in zip(SKY, SUFFIX, strict=True)}))
    np.testing.assert_allclose(again.to_galactocentric().phase_space[0, :3], x, atol=3e-6)
    np.testing.assert_allclose(again.to_galactocentric().phase_space[0, 3:], v, atol=1e-3)


def test_chunks_agree(monkeypatch):
    rng = np.random.default_rng(5)
    stars = Catalog.from_phase_space(rng.normal(size=(25, 3)), 100 * rng.normal(size=(25, 3)))
    whole = to_sky(stars)
    monkeypatch.setattr("clearview.catalogs.frames._CHUNK", 10)
    np.testing.assert_array_equal(to_sky(stars)["pmra"], whole["pmra"])
    bare = Catalog.from_table(Table({f"{n}_{s}": whole[n] for n, s in zip(SKY, SUFFIX, strict=True)}))
    np.testing.assert_allclose(bare.to_galactocentric().phase_space, stars.phase_space, rtol=1e-3, atol=1e-3)


def test_distance_columns():
    table = Table({"ra_deg": [10.0], "dec_deg": [0.0], "parallax_mas": [0.5], "r_med_geo_pc": [1500.0],
                   "pmra_masyr": [0.0], "pmdec_masyr": [0.0], "vrad_kms": [0.0]})  # fmt: skip
    stars = Catalog.from_table(table)
    for column, expected in ((None, 2), ("parallax", 2), ("r_med_geo", 1.5)):
        placed = to_galactocentric(stars, distance=column)
        assert np.linalg.norm(placed.phase_space[0, :3] - SUN.position) == pytest.approx(expected, abs=1e-5)
        assert placed.meta["distance"] == (column or "parallax")
        assert placed.phase_space.dtype == placed["x"].dtype == np.float32
    assert not stars.has_phase_space
    with pytest.raises(ValueError, match=r"^Expected pmra in a unit of length, got mas / yr"):
        to_galactocentric(stars, distance="pmra")


def test_unusable_stars_are_removed_and_reported():
    nan, inf = np.nan, np.inf
    table = Table({"ra_deg": np.arange(8.0), "dec_deg": [0, 0, 0, nan, 0, 0, 0, 0],
                   "pmdec_masyr": np.zeros(8), "parallax_mas": [1, -1, 0, 1, inf, 1, 1, 1],
                   "pmra_masyr": [0, 0, 0, 0, 0, 0, inf, 0],
                   "vrad_kms": [0, 0, 0, nan, 0, nan, 0, 0]})  # fmt: skip
    stars = Catalog.from_table(table)
    placed = stars.to_galactocentric()
    assert placed["ra"].tolist() == [0, 7]
    assert np.isfinite(placed.phase_space).all()
    assert [str(r) for r in placed.report] == [
        "non-finite dec: 1 of 8 stars removed",
        "non-finite parallax: 1 of 7 stars removed",
        "non-finite pmra: 1 of 6 stars removed",
        "non-finite radial_velocity: 1 of 5 stars removed",
        "non-positive parallax: 2 of 4 stars removed",
    ]
    assert len(stars) == 8
    with pytest.raises(ValueError, match=r"got none after non-positive parallax"):
        stars.take(stars["parallax"] <= 0).to_galactocentric()


def test_the_sun_is_remembered():
    other = Sun(R=8.0, z=0.0)
    placed = sky((0, 0, 1, 0, 0, 0)).to_galactocentric(other)
    assert placed.sun == other
    assert len(placed.select(Distance(max=1.001, min=0.999))) == 1
    assert to_sky(placed)["distance"][0] == pytest.approx(1, abs=1e-6)
    assert placed.to_galactocentric().phase_space is not None
    with pytest.raises(ValueError, match=r"another Sun"):
        placed.to_galactocentric(SUN)


def test_suns_by_name():
    star = sky((0, 0, 1, 0, 0, 0))
    placed = star.to_galactocentric("gravity2021")
    assert placed.sun == SUNS["gravity2021"] == Sun(8.275, 0.0208, 8.4, 251.8, 8.4)
    assert placed.meta["sun"] == {"name": "gravity2021", **placed.sun._asdict()}
    assert "with the Sun at 8.275 kpc (gravity2021)" in repr(placed)
    assert star.to_galactocentric().meta["sun"]["name"] == "gravity2018"
    assert star.to_galactocentric(Sun(8.0, 0.0)).meta["sun"]["name"] == ""
    numbers = star.with_columns({}, meta={"sun": SUNS["gravity2019"]._asdict()})  # as files had them before the names
    assert numbers.sun.name == "gravity2019"
    # The motion of Sgr A* across the sky, 4.74 kpc (mas/yr) to km/s.
    assert SUNS["gravity2019"].v_phi == pytest.approx(4.74047 * 6.411 * 8.178, abs=0.1)
    assert SUNS["gravity2019"].v_z == pytest.approx(4.74047 * 0.219 * 8.178, abs=0.1)
    with pytest.raises(
        ValueError, match=r"Expected a Sun among gravity2018, .*got 'Gravity2012'; did you mean 'gravity"
    ):
        star.to_galactocentric("Gravity2012")
    for wrong in (Sun(R=np.nan), Sun(R=0.01, z=0.02), 8.1):
        with pytest.raises(ValueError, match=r"^Expected (R of the Sun as|a Sun with R above|the Sun as) .*; "):
            star.to_galactocentric(wrong)


@pytest.mark.parametrize(("name", "release"), [("gravity2018", "v4.0"), ("schoenrich2010", "pre-v4.0")])
def test_suns_are_astropys(name, release):
    theirs = coord.galactocentric_frame_defaults.get_from_registry(release)["parameters"]
    sun = SUNS[name]
    assert [sun.R, sun.z] == pytest.approx([theirs["galcen_distance"].to_value("kpc"), theirs["z_sun"].to_value("kpc")])
    assert sun.velocity * [-1, -1, 1] == pytest.approx(theirs["galcen_v_sun"].xyz.to_value("km/s"))


def test_errors():
    with pytest.raises(KeyError, match=r"^Expected columns ra, dec, parallax, .*got none for parallax, pmra"):
        Catalog.from_table(Table({"ra_deg": [1.0], "dec_deg": [1.0]})).to_galactocentric()
    with pytest.raises(KeyError, match=r"call to_galactocentric"):
        to_sky(sky((0, 0, 1, 0, 0, 0)))
    with pytest.raises(ValueError, match=r"Expected dec within 90 deg"):
        to_galactocentric(sky((0, 91, 1, 0, 0, 0)))
    with pytest.raises(ValueError, match=r"^Expected x and v of one shape"):
        to_cylindrical(np.ones((2, 3)), np.ones(3))


def test_cylindrical_is_a_rotation():
    rng = np.random.default_rng(6)
    x, v = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5, 3))
    radius, phi, z, v_radial, vphi, vz = to_cylindrical(x, v)
    np.testing.assert_allclose(vphi, -(x[..., 0] * v[..., 1] - x[..., 1] * v[..., 0]) / radius)
    np.testing.assert_allclose(v_radial**2 + vphi**2 + vz**2, (v**2).sum(-1))
    later = to_cylindrical(x + 1e-7 * v, v)
    np.testing.assert_allclose((later[0] - radius) / 1e-7, v_radial, atol=1e-4)
    np.testing.assert_allclose((later[1] - phi) / 1e-7, -vphi / radius, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(z, x[..., 2])
    assert np.isfinite(to_cylindrical(np.zeros(3), np.ones(3))).all()
