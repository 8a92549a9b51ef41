"""Colours and magnitudes without dust: known coefficients, a round trip, and what is counted instead of guessed."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from clearview.catalogs import LAWS, Catalog, deredden
from clearview.catalogs.deredden import R_0
from clearview.catalogs.errors import without


def photometry(G0, colour0, ebv, law="gaia_edr3"):
    """Stars as they are seen behind dust."""
    G0, colour0, ebv = (np.asarray(a, float) for a in np.broadcast_arrays(G0, colour0, ebv))
    k = LAWS[law](colour0, R_0 * ebv)
    return Catalog.from_table(
        Table({
            "phot_g_mean_mag": (G0 + k[0] * R_0 * ebv) * u.mag, "bp_rp": (colour0 + (k[1] - k[2]) * R_0 * ebv) * u.mag,
            "ebv": ebv, "ra": np.linspace(10, 40, G0.size) * u.deg, "dec": np.linspace(-20, 20, G0.size) * u.deg,
        })
    )  # fmt: skip


def test_coefficients_are_the_published_ones():
    """By hand for X = 1, A = 1; and near those of Casagrande & VandenBerg 2018, 2.74, 3.374, 2.035 of E(B-V)."""
    one = np.ones(1)
    np.testing.assert_allclose(LAWS["gaia_dr2"](one, one)[:, 0], [0.7828, 1.0305, 0.58195], atol=1e-10)
    np.testing.assert_allclose(LAWS["gaia_edr3"](one, one)[:, 0], [0.823416, 1.039470, 0.636744], atol=2e-6)
    for law, slack in (("gaia_dr2", 0.12), ("gaia_edr3", 0.08)):
        near = R_0 * LAWS[law](0.8 * one, 0.1 * one)[:, 0]
        np.testing.assert_allclose(near, [2.74, 3.374, 2.035], rtol=slack)


@pytest.mark.parametrize("law", list(LAWS))
def test_round_trip(law, rng):
    colour, ebv = rng.uniform(0.0, 2.4, 2000), rng.uniform(0, 1.2, 2000)
    seen = photometry(15.0, colour, ebv, law)
    got = seen.deredden("ebv", law=law)
    np.testing.assert_allclose(got["bp_rp0"], colour, atol=5e-4)
    np.testing.assert_allclose(got["phot_g_mean_mag0"], 15.0, atol=5e-4)
    assert got.unit("bp_rp0") == got.unit("phot_g_mean_mag0") == u.mag
    assert np.array_equal(got["bp_rp"], seen["bp_rp"])


@pytest.mark.parametrize("law", list(LAWS))
def test_the_whole_range_is_found(law):
    """Behind much dust the colour changes more with the true one than the extinction does: it is found all the same."""
    colour, A = (g.ravel() for g in np.meshgrid(np.linspace(-0.05, 2.49, 60), np.linspace(0, LAWS[law].A_max, 50)))
    got = photometry(15.0, colour, A / R_0 * 0.9999, law).deredden("ebv", law=law)
    assert got.meta["dereddened"]["stars"] == len(colour)
    np.testing.assert_allclose(got["bp_rp0"], colour, atol=1e-3)


def test_masked_reddening_is_none():
    stars = photometry(15.0, np.full(4, 1.0), 0.2)
    ebv = np.ma.array([0.2, 0.2, 99.0, 0.2], mask=[False, False, True, False])
    got = stars.deredden(ebv)
    assert np.isnan(got["bp_rp0"]).tolist() == [False, False, True, False]
    assert got.meta["dereddened"]["no_reddening"] == 1
    milli = stars.deredden(np.full(4, 200.0) * u.mmag)
    np.testing.assert_allclose(milli["bp_rp0"], stars.deredden("ebv")["bp_rp0"])


def test_no_dust_changes_nothing():
    got = photometry([14.0, 15.0], [0.5, 1.5], 0.0).deredden("ebv")
    np.testing.assert_allclose(got["bp_rp0"], got["bp_rp"])
    np.testing.assert_allclose(got["phot_g_mean_mag0"], got["phot_g_mean_mag"])


def test_what_cannot_be_corrected_is_nan_and_counted():
    stars = photometry(15.0, np.full(8, 1.0), 0.2)
    colour, ebv = stars["bp_rp"].copy(), stars["ebv"].copy()
    colour[0], ebv[1], ebv[2], colour[3], colour[4], ebv[5] = np.nan, np.nan, -0.1, 5.0, -1.0, 50.0
    got = stars.with_columns({"bp_rp": colour * u.mag, "ebv": ebv}).deredden("ebv")
    assert np.isnan(got["bp_rp0"]).tolist() == np.isnan(got["phot_g_mean_mag0"]).tolist() == [True] * 6 + [False] * 2
    assert got.meta["dereddened"] == {
        "law": "gaia_edr3", "E(B-V)": "column ebv", "stars": 2, "no_colour": 1, "no_reddening": 2, "out_of_range": 3,
    }  # fmt: skip
    assert "by gaia_edr3 with E(B-V) from column ebv (NaN: 1 no colour, 2 no reddening, 3 out of range)" in repr(got)
    with pytest.raises(
        ValueError, match=r"Expected stars with a colour and E\(B-V\).*got none of 8 \(0 without colour"
    ):
        stars.deredden(np.full(8, np.nan))


def test_reddening_from_a_function_of_place_and_distance():
    stars = photometry(15.0, np.full(5, 1.0), 0.3)
    asked = []

    def dust(l, b, distance):
        asked.append((l, b, distance))
        return np.full(len(l), 0.3)

    got = stars.deredden(dust, distance=8.0)
    np.testing.assert_allclose(got["bp_rp0"], 1.0, atol=5e-4)
    assert got.meta["dereddened"]["E(B-V)"] == "function dust at 8 kpc"
    l, b, far = asked[0]
    assert np.array_equal(far, np.full(5, 8.0))
    there = SkyCoord(stars["ra"], stars["dec"], unit="deg").galactic
    np.testing.assert_allclose([l, b], [there.l.deg, there.b.deg])
    stars.with_columns({"parallax": np.array([1.0, 0.5, -1, 0.2, 0.1]) * u.mas}).deredden(dust)
    np.testing.assert_array_equal(asked[1][2], [1, 2, np.nan, 5, 10])


def test_the_release_chooses_the_law():
    stars = photometry(15.0, np.full(3, 1.0), 0.3)
    assert stars.with_columns({}, meta={"release": "Gaia DR2"}).deredden("ebv").meta["dereddened"]["law"] == "gaia_dr2"
    assert stars.with_columns({}, meta={"release": "Gaia DR3"}).deredden("ebv").meta["dereddened"]["law"] == "gaia_edr3"
    apart = {"phot_bp_mean_mag": (stars["bp_rp"] + 9) * u.mag, "phot_rp_mean_mag": np.full(3, 9.0) * u.mag}
    apart = without(stars.with_columns(apart), ["bp_rp"])
    np.testing.assert_allclose(apart.deredden("ebv")["bp_rp0"], 1.0, atol=5e-4)


def test_bad_input():
    stars = photometry(15.0, np.full(3, 1.0), 0.3)
    with pytest.raises(ValueError, match="Expected a law among gaia_edr3, gaia_dr2, got 'ccm'"):
        deredden(stars, "ebv", law="ccm")
    with pytest.raises(KeyError, match="sfd"):
        deredden(stars, "sfd")
    for wrong in (np.zeros(2), 0.1, [0.1], lambda l, b, d: 0.3, {"a": 1}):
        with pytest.raises(ValueError, match=r"Expected E\(B-V\) of shape \(3,\) from the (array|function)"):
            deredden(stars, wrong, distance=1.0)
    with pytest.raises(ValueError, match="Expected distance in kpc as a number above 0, got -1"):
        deredden(stars, lambda l, b, d: l, distance=-1)
    with pytest.raises(KeyError, match="phot_bp_mean_mag"):
        deredden(Catalog.from_phase_space(np.ones((2, 3)), np.ones((2, 3))), "ebv")
