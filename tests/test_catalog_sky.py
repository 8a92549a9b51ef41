"""Frames along a patch and a stream: published numbers, astropy as an independent judge, and what a rotation keeps."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import ICRS, CartesianDifferential, Galactocentric, SkyCoord, SkyOffsetFrame
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from clearview.catalogs import STREAMS, Catalog, GreatCircle, read_catalog, to_patch, to_stream
from clearview.units import SUN, Sun


def sky(ra, dec, pmra=None, pmdec=None, **more):
    table = Table({"ra_deg": np.atleast_1d(np.asarray(ra, float)), "dec_deg": np.atleast_1d(np.asarray(dec, float))})
    if pmra is not None:
        table["pmra_masyr"], table["pmdec_masyr"] = np.atleast_1d(pmra), np.atleast_1d(pmdec)
    for name, values in more.items():
        table[name] = values
    return Catalog.from_table(table)


def random_sky(rng, count=200):
    return sky(
        rng.uniform(0, 360, count), np.rad2deg(np.arcsin(rng.uniform(-1, 1, count))), *rng.normal(0, 5, (2, count))
    )


# Six stars of a Data Carpentry table of GD-1, made with another package (gala), solar reflex taken out at 8 kpc:
# ra, dec [deg], pmra, pmdec [mas/yr], phi1, phi2 [deg], pm_phi1, pm_phi2 [mas/yr].
PUBLISHED = np.array([
    (139.0512589527, 23.9104931477, -3.9504142, -12.7968646, -54.9223020339, 0.1659345455, -7.4917774, -0.6746807),
    (142.802347657, 27.5306283616, -5.3857059, -11.6504488, -50.0378937126, -0.6477790647, -7.0909295, 0.7630862),
    (146.0205770557, 31.653842261, -5.7810764, -13.3711805, -45.0559992488, -0.5554233487, -8.5293007, -0.2847503),
    (139.2742538883, 23.6969038291, -11.4643087, -0.6392292, -54.9912504434, -0.1212811748, -1.352695, 12.2026682),
    (140.139117269, 26.8050142393, -8.2655067, -10.6310186, -51.9590898699, 0.9173092726, -7.9146543, 4.0457721),
    (144.827011099, 31.8738819899, 0.1628501, -0.1838549, -45.470253512, 0.3967426624, 5.6192222, 2.6923735),
])  # fmt: skip


def test_gd1_as_published():
    ra, dec, pmra, pmdec, *expected = PUBLISHED.T
    stars = to_stream(sky(ra, dec, pmra, pmdec), "GD-1", reflex_distance=8)
    for name, values, within in zip(
        ("phi1", "phi2", "pm_phi1", "pm_phi2"), expected, (1e-8, 1e-8, 1e-5, 1e-5), strict=True
    ):
        np.testing.assert_allclose(stars[name], values, rtol=0, atol=within)
    assert {name: stars.unit(name) for name in ("phi1", "pm_phi2")} == {"phi1": u.deg, "pm_phi2": u.mas / u.yr}


@pytest.mark.parametrize(
    ("name", "matrix", "digits"),
    [
        ("GD-1", [[-0.4776303088, -0.1738432154, 0.8611897727], [0.510844589, -0.8524449229, 0.111245042],
                  [0.7147776536, 0.4930681392, 0.4959603976]], 1e-10),  # Koposov et al. 2010
        ("Jhelum", [[0.6173151074, -0.0093826715, -0.7866600433], [-0.0151801852, -0.9998847743, 0.0000135163],
                    [-0.7865695266, 0.0119333013, -0.6173864075]], 1e-9),  # Bonaca et al. 2019
        ("Orphan-Chenab", [[-0.44761231, -0.08785756, -0.88990128], [-0.84246097, 0.37511331, 0.38671632],
                           [0.29983786, 0.92280606, -0.2419219]], 2e-8),  # Koposov et al. 2019
    ],
)  # fmt: skip
def test_published_matrices(name, matrix, digits):
    np.testing.assert_allclose(STREAMS[name].axes(), matrix, rtol=0, atol=digits)
    assert set(STREAMS) == {"GD-1", "Jhelum", "Orphan-Chenab"}


def test_patch_against_astropy(rng):
    stars = random_sky(rng)
    for center in ((148.6, 24.2), (0.0, -89.99), (359.999, 0.0)):
        patch = stars.to_patch(center)
        frame = SkyOffsetFrame(origin=ICRS(*center * u.deg))
        seen = SkyCoord(ra=stars.quantity("ra"), dec=stars.quantity("dec"), pm_ra_cosdec=stars.quantity("pmra"),
                        pm_dec=stars.quantity("pmdec")).transform_to(frame)  # fmt: skip
        np.testing.assert_allclose(patch["lon"], seen.lon.wrap_at(180 * u.deg).deg, atol=1e-9)
        np.testing.assert_allclose(patch["lat"], seen.lat.deg, atol=1e-9)
        np.testing.assert_allclose(patch["pm_lon"], seen.pm_lon_coslat.value, atol=1e-8)
        np.testing.assert_allclose(patch["pm_lat"], seen.pm_lat.value, atol=1e-8)
    assert patch.meta["patch"] == {"center": [359.999, 0.0]}


def test_reflex_against_astropy(rng):
    """The motion across the sky of each star as seen by one who rests in the Galaxy, whatever its radial velocity."""
    stars, sun, distance = random_sky(rng, 20), Sun(R=8.0, v_phi=230.0), 3.7
    stars = stars.with_columns({}, meta={"sun": sun._asdict()})
    got = to_stream(stars, STREAMS["GD-1"], reflex_distance=distance)
    v_sun = [12.9, 230.0, 7.78] * u.km / u.s
    frame = Galactocentric(galcen_distance=sun.R * u.kpc, z_sun=sun.z * u.kpc,
                           galcen_v_sun=CartesianDifferential(v_sun),
                           galcen_coord=ICRS(266.4051 * u.deg, -28.936175 * u.deg))  # fmt: skip
    for speed in (0.0, 150.0):
        at = SkyCoord(ra=stars.quantity("ra"), dec=stars.quantity("dec"), distance=distance * u.kpc,
                      pm_ra_cosdec=stars.quantity("pmra"), pm_dec=stars.quantity("pmdec"),
                      radial_velocity=speed * u.km / u.s)  # fmt: skip
        there = at.transform_to(frame)
        moved = there.data.differentials["s"].d_xyz + v_sun[:, None]
        place = there.cartesian.without_differentials().with_differentials(CartesianDifferential(moved))
        rest = frame.realize_frame(place).transform_to(ICRS())
        expected = to_stream(sky(rest.ra.deg, rest.dec.deg, rest.pm_ra_cosdec.value, rest.pm_dec.value))
        np.testing.assert_allclose(got["pm_phi1"], expected["pm_phi1"], atol=1e-7)
        np.testing.assert_allclose(got["pm_phi2"], expected["pm_phi2"], atol=1e-7)
    assert got.meta["stream"]["reflex"] == {"distance": distance, "sun": sun.to_dict()}
    assert got.meta["stream"]["name"] is None
    assert to_stream(stars).meta["stream"]["reflex"] is None
    far = to_stream(stars, reflex_distance=1e9)
    np.testing.assert_allclose(far["pm_phi1"], to_stream(stars)["pm_phi1"], atol=1e-6)


angle = st.floats(0, 360)
height = st.floats(-90, 90)


@settings(max_examples=60, deadline=None)
@given(st.tuples(angle, height), angle, height, angle, height)
def test_a_rotation_keeps_separations_and_speeds(center, ra1, dec1, ra2, dec2):
    stars = sky([ra1, ra2], [dec1, dec2], [3.0, -1.0], [4.0, 0.5])
    separation = SkyCoord(ra1, dec1, unit="deg").separation(SkyCoord(ra2, dec2, unit="deg")).deg
    frames = [to_patch(stars, center), to_stream(stars, GreatCircle(center, origin=ahead(center)))]
    for frame, (lon, lat) in zip(frames, (("lon", "lat"), ("phi1", "phi2")), strict=True):
        a, b = (SkyCoord(frame[lon][i], frame[lat][i], unit="deg") for i in range(2))
        assert a.separation(b).deg == pytest.approx(separation, abs=1e-6)
        assert np.hypot(frame[f"pm_{lon}"], frame[f"pm_{lat}"]) == pytest.approx(np.hypot([3, -1], [4, 0.5]), rel=1e-9)
        assert np.abs(frame[lon]).max() <= 180
        assert np.abs(frame[lat]).max() <= 90


def ahead(point):
    """A point 90 deg from another."""
    ra, dec = point
    return (ra, dec - 90) if dec >= 0 else (ra, dec + 90)


def test_motions_follow_places(rng):
    """A small step along the proper motion leads where the turned motion says, at the poles and the seam too."""
    ra, dec = np.array([0.0, 359.9999999, 200.0, 34.5987, 120.0]), np.array([89.9999, 0.0, 59.4504, 29.7332, -89.9])
    pmra, pmdec = rng.normal(size=(2, 5)) * 10
    step = 1e-9  # deg per (mas/yr)
    moved = SkyCoord(ra, dec, unit="deg").spherical_offsets_by(step * pmra * u.deg, step * pmdec * u.deg)
    for frame in (lambda s: to_patch(s, (359.9, 0.2)), to_stream, lambda s: to_patch(s, (10, 90))):
        before, after = frame(sky(ra, dec, pmra, pmdec)), frame(sky(moved.ra.deg, moved.dec.deg))
        lon, lat = before.columns[-4:-2]
        d_lon = (after[lon] - before[lon] + 180) % 360 - 180
        np.testing.assert_allclose(d_lon * np.cos(np.deg2rad(before[lat])) / step, before[f"pm_{lon}"], atol=2e-3)
        np.testing.assert_allclose((after[lat] - before[lat]) / step, before[f"pm_{lat}"], atol=2e-3)


def test_special_points():
    circle = STREAMS["GD-1"]
    at = to_stream(sky([200.0, circle.pole[0], circle.pole[0] + 180], [59.4504341, circle.pole[1], -circle.pole[1]]))
    np.testing.assert_allclose(at["phi2"], [0, 90, -90], atol=1e-6)
    assert at["phi1"][0] == pytest.approx(0, abs=1e-6)
    assert to_patch(sky(148.6, 24.2), (148.6, 24.2))["lon"][0] == pytest.approx(0, abs=1e-12)
    seam = to_patch(sky([359.9, 0.1], [0, 0]), (0, 0))
    np.testing.assert_allclose(seam["lon"], [-0.1, 0.1], atol=1e-12)
    equator = to_stream(sky([10.0, 350.0, 189.0], [0, 1, 2]), GreatCircle((77.0, 90.0), zero_ra=10.0))
    np.testing.assert_allclose(equator["phi1"], [0, -20, 179], atol=1e-12)
    np.testing.assert_allclose(equator["phi2"], [0, 1, 2], atol=1e-12)
    meridian = to_stream(sky([30.0, 30.0], [10.0, -20.0]), GreatCircle((120.0, 0.0), origin=(30.0, 10.0)))
    np.testing.assert_allclose(meridian["phi1"], [0, 30], atol=1e-12)  # counter-clockwise around (120, 0) is southward
    by_origin = GreatCircle(circle.pole, origin=(200.0, 59.4504341))
    np.testing.assert_allclose(by_origin.axes(), circle.axes(), atol=1e-8)


def test_what_cannot_be_turned_is_removed_and_what_has_no_motion_stays():
    nan, inf = np.nan, np.inf
    stars = sky([nan, 1, 2, 3, 4, 5, inf], [0, nan, 2, 3, 4, 5, 6], [1, 1, nan, 1, inf, 1, 1], [1, 1, 1, 1, 1, nan, 1])
    for turned, pm in ((stars.to_patch((0, 0)), "pm_lon"), (stars.to_stream(reflex_distance=8), "pm_phi1")):
        assert turned["ra"].tolist() == [2, 3, 4, 5]
        assert [str(r) for r in turned.report] == [
            "non-finite ra: 2 of 7 stars removed",
            "non-finite dec: 1 of 5 stars removed",
        ]
        assert np.isfinite(turned[pm]).tolist() == [False, True, False, False]
    with pytest.raises(ValueError, match=r"got none after non-finite ra"):
        stars.take(np.isnan(stars["ra"])).to_stream()
    with pytest.raises(ValueError, match=r"^Expected dec within 90 deg"):
        sky(0, 91).to_patch((0, 0))


def test_types_and_places_alone():
    stars = sky([10.0, 20.0], [5, 6])
    assert stars.to_patch((15, 5)).columns == ("ra", "dec", "lon", "lat")
    assert stars.to_stream("Jhelum").columns == ("ra", "dec", "phi1", "phi2")
    narrow = sky([10.0], [5], np.float32([1]), np.float32([2])).to_stream("Orphan-Chenab")
    assert (narrow["phi1"].dtype, narrow["pm_phi1"].dtype) == (float, np.float32)
    assert sky([10.0], [5], [1.0], [2.0]).to_patch((0, 0))["pm_lat"].dtype == float
    assert sky([10.0], [5], [1], [2]).to_patch((0, 0))["pm_lat"].dtype == float
    with pytest.raises(KeyError, match=r"^Expected columns ra, dec, pmra, pmdec, got none for pmra, pmdec"):
        stars.to_stream(reflex_distance=8)
    with pytest.raises(KeyError, match=r"Expected a column among"):
        Catalog(Table({"n": [1]})).to_stream()


def test_chunks_agree(monkeypatch, rng):
    stars = random_sky(rng, 25)
    whole = to_stream(stars, reflex_distance=8)
    monkeypatch.setattr("clearview.catalogs.frames._CHUNK", 10)
    parts = to_stream(stars, reflex_distance=8)
    assert parts.digest(["phi1", "phi2", "pm_phi1", "pm_phi2"]) == whole.digest(["phi1", "phi2", "pm_phi1", "pm_phi2"])


def test_a_file_keeps_the_frame(tmp_path):
    stars = sky(*PUBLISHED.T[:4]).to_stream(reflex_distance=8).to_patch((148.6, 24.2))
    for ending in ("parquet", "fits", "ecsv", "vot", "h5"):
        stars.write(tmp_path / f"a.{ending}")
        again = read_catalog(tmp_path / f"a.{ending}")
        assert again.meta["stream"] == stars.meta["stream"]
        assert again.digest(stars.columns) == stars.digest(stars.columns)
    with pytest.raises(ValueError, match=r"Expected a unit for phi1"):
        Catalog.from_table(Table({"phi1": [1.0]}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stream": "gd1"}, r"^Expected a stream among GD-1, Jhelum, Orphan-Chenab or .*'gd1'; did you mean 'GD-1'\?"),
        ({"stream": "Sagittarius"}, r"got 'Sagittarius'; choose one or give GreatCircle"),
        ({"stream": ["GD-1"]}, r"Expected a stream among"),
        ({"stream": ((10, 20), 30)}, r"Expected a stream among"),
        ({"stream": GreatCircle((34.6, 29.7))}, r"^Expected either zero_ra or origin"),
        ({"stream": GreatCircle((34.6, 29.7), 200, (1, 2))}, r"^Expected either zero_ra or origin"),
        ({"stream": GreatCircle((34.6, 29.7), None, (200, 59))}, r"^Expected an origin 90 deg .*, got one 90.47"),
        ({"stream": GreatCircle((34.6, np.nan), 200)}, r"^Expected pole as finite \(ra, dec\)"),
        ({"stream": GreatCircle((34.6, 91), 200)}, r"^Expected pole as finite \(ra, dec\)"),
        ({"stream": GreatCircle((34.6, 29.7), np.inf)}, r"^Expected zero_ra as finite"),
        ({"stream": GreatCircle((34.6, 29.7), origin=(200, "x"))}, r"^Expected origin as finite"),
        ({"stream": GreatCircle((34.6, 0), 200)}, r"^Expected origin=\(ra, dec\) for a pole on the celestial equator"),
        *(({"reflex_distance": bad}, r"^Expected a positive reflex_distance") for bad in (0, -8, np.nan, np.inf, "8")),
        ({"reflex_distance": 8 * u.kpc}, r"^Expected a positive reflex_distance in kpc"),
    ],
)  # fmt: skip
def test_wrong_streams(arguments, message):
    with pytest.raises(ValueError, match=message):
        sky([10.0], [5.0], [1.0], [2.0]).to_stream(**arguments)


@pytest.mark.parametrize("center", [(10,), (10, 91), (np.nan, 0), 10, "ab", None, (10 * u.deg, 5 * u.deg)])
def test_wrong_centers(center):
    with pytest.raises(ValueError, match=r"^Expected center as finite \(ra, dec\) in deg"):
        sky([10.0], [5.0]).to_patch(center)


def test_the_sun_is_the_one_of_the_catalogue():
    assert sky([10.0], [5.0]).sun == SUN
