"""An efficiency made from a dust map, and the sight lines without dust."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from clearview.catalogs import Catalog, to_sky
from clearview.dynamics.dustmaps import dust_free, efficiency_from_dust, from_galactic, read_sightlines, to_galactic
from clearview.units import SUN

LINES = ((90.0, 10.0), (180.0, 0.0), (359.9, -5.0))


@pytest.fixture
def table():
    """Lines as in the Bayestar files: E(B-V) = slope * distance, one line not converged."""
    modulus = np.arange(4.0, 19.01, 0.5)
    parts = []
    for k, (l, b) in enumerate(LINES):
        for sample, factor in (("BestFit", 1.0), ("0", 1.1)):
            far = 10 ** (modulus / 5 - 2)
            parts.append(pd.DataFrame({
                "l_deg": l, "b_deg": b, "sample": sample, "distmod_mag": modulus, "distance_kpc": far,
                "ebv_mag": 0.1 * (k + 1) * factor * far, "converged": k < 2,
                "distmod_reliable_min": 7.0, "distmod_reliable_max": 13.0,
            }))  # fmt: skip
    return pd.concat(parts).sample(frac=1, random_state=1)


@pytest.fixture
def lines(table, tmp_path):
    table.to_parquet(tmp_path / "lines.parquet", index=False)
    return tmp_path / "lines.parquet"


def test_galactic_places_are_astropys(rng):
    x = SUN.position + rng.normal(size=(50, 3))
    l, b, d = to_galactic(x)
    sky = to_sky(Catalog.from_phase_space(x, 0 * x))
    there: Any = SkyCoord(sky["ra"] * u.deg, sky["dec"] * u.deg).galactic
    np.testing.assert_allclose(np.mod(l - there.l.deg + 180, 360), 180, atol=1e-2)
    np.testing.assert_allclose(b, there.b.deg, atol=1e-3)
    np.testing.assert_allclose(from_galactic(l, b, d), x, atol=1e-9)


def test_sight_lines(lines):
    dust = read_sightlines(lines)
    assert dust(90.0, 10.0, 1.3) == pytest.approx(0.13)
    assert dust(180.2, 0.2, 2.0) == pytest.approx(0.4)
    # Off the lines; nearer and farther than is reliable (0.25 to 3.98 kpc); on the line that has not converged.
    assert np.isnan(dust([90, 180, 180, 359.9], [12, 0, 0, -5], [1, 0.2, 4.1, 1])).all()
    assert read_sightlines(lines, 0)(90.0, 10.0, 1.0) == pytest.approx(0.11)
    assert read_sightlines(lines, within=3.0)(90.0, 12.0, 1.0) == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"sample among .*, got '7'"):
        read_sightlines(lines, "7")


def test_tables_that_are_none(table, tmp_path):
    table.drop(columns="ebv_mag").to_parquet(tmp_path / "a.parquet")
    with pytest.raises(KeyError, match="ebv"):
        read_sightlines(tmp_path / "a.parquet")
    table.iloc[1:].to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="as many distances on each line"):
        read_sightlines(tmp_path / "b.parquet", table.iloc[0]["sample"])


def A_G(l, b, d):
    return 0.3 * np.asarray(d)


@pytest.fixture(scope="module")
def parent():
    """Stars within 3 kpc with M_G uniform from -1.01 to 1.99 behind dust of 0.3 mag/kpc."""
    rng = np.random.default_rng(2)
    x = SUN.position + rng.uniform(-3, 3, (120_000, 3)) * [1, 1, 0.2]
    d = np.linalg.norm(x - SUN.position, axis=1)
    G = rng.uniform(-1.01, 1.99, len(x)) + A_G(0, 0, d) + 5 * np.log10(100 * d)
    return Catalog.from_phase_space(x, 0 * x, columns={"phot_g_mean_mag": G * u.mag})


def test_efficiency_is_the_share_that_still_passes(parent):
    x = SUN.position + np.array([[0.0, 0, 0], [1, 0, 0], [0, -2, 0.1], [2.4, 0, 0], [2.6, 0, 0]])
    found = efficiency_from_dust(parent, A_G, x, coefficient=1.0, stars=3000)
    d = np.linalg.norm(x - SUN.position, axis=1)
    exact = 1 - 0.3 * d / 2  # of M_G uniform over 2 mag
    assert (np.abs(found.efficiency - exact)[:4] < 4 * found.error[:4]).all()
    assert found.error[3] == pytest.approx(np.sqrt(0.64 * 0.36 / 2000), rel=0.1)
    np.testing.assert_allclose(found.A_G[:4], 0.3 * d[:4])
    assert np.isnan([a[4] for a in found]).all()  # beyond 2.5 kpc
    # E(B-V) is 1 / 2.74 of it; a map that is a fifth off is seen.
    same = efficiency_from_dust(parent, lambda l, b, d: A_G(l, b, d) / 2.74, x, stars=3000)
    np.testing.assert_allclose(same.efficiency[:4], found.efficiency[:4])
    more = efficiency_from_dust(parent, lambda l, b, d: 1.2 * A_G(l, b, d), x, coefficient=1.0, stars=3000)
    np.testing.assert_allclose(more.efficiency[1:4], (exact - 0.06 * d / 2)[1:4], atol=0.04)


def test_apparent_magnitude_cuts_too(parent):
    x = SUN.position + np.array([[2.0, 0, 0]])
    found = efficiency_from_dust(parent, A_G, x, coefficient=1.0, stars=3000, apparent=11.5)
    edge = 11.5 - 5 * np.log10(200)
    assert found.efficiency[0] == pytest.approx(1 - 0.6 / (edge + 1.01), abs=0.05)


def test_efficiency_on_sight_lines(parent, lines):
    x = from_galactic(np.array([90.0, 90, 359.9]), np.array([10.0, 30, -5]), np.full(3, 1.5))
    dust = read_sightlines(lines, within=15.0)
    found = efficiency_from_dust(parent, dust, x, stars=200)
    assert found.A_G[0] == pytest.approx(2.74 * 0.15)
    assert 0.6 < found.efficiency[0] < 0.95
    assert np.isnan(found.efficiency[1:]).all()
    with pytest.raises(ValueError, match="where the dust map is known, got 0"):
        efficiency_from_dust(parent, lambda l, b, d: np.nan * d, x)
    with pytest.raises(KeyError, match="phot_g_mean_mag"):
        efficiency_from_dust(Catalog.from_phase_space(x, x), dust, x)


def test_sight_lines_free_of_dust(parent):
    def hemisphere(l, b, d):
        return np.where(np.asarray(b) > 0, 0.01, 1.0) * d

    free = dust_free(parent, hemisphere, 0.1, distance=2.5)
    l, b, _ = to_galactic(parent.phase_space[:, :3])
    assert np.array_equal(free, b > 0)  # near stars of a dusty line go, too
    assert np.array_equal(dust_free(parent.phase_space[:, :3], hemisphere, 0.1), free)
    assert not dust_free(parent, lambda l, b, d: np.where(l < 180, np.nan, 0.0), 0.1)[l < 180].any()
    with pytest.raises(ValueError, match=r"A_G <= 0\.01"):
        dust_free(parent, hemisphere, 0.01)
