"""Mock dwarf galaxies: the stars drawn have the density and the dispersions that Jeans' equation asks for."""

import numpy as np
import pytest
from scipy import stats

from clearview import mock_dwarf
from clearview.catalogs import read_catalog
from clearview.halos import Burkert, Soliton, Zhao
from clearview.mocks import CORE, CUSP, PLUMMER, TRACER, DwarfTruth, dwarf_truth_of

GALAXIES = {
    "isotropic core": DwarfTruth(TRACER, CORE),
    "radial core": DwarfTruth(TRACER, CORE, 0.25),
    "cusps in both": DwarfTruth(Zhao(1.0, 0.25, 2.0, 5.0, 1.0), CUSP),
    "soliton": DwarfTruth(PLUMMER, Soliton(2e8, 1.0)),
    "Burkert": DwarfTruth(PLUMMER, Burkert(2e8, 0.5)),
}


@pytest.mark.parametrize("name", GALAXIES)
def test_stars_are_in_equilibrium(name):
    truth = GALAXIES[name]
    x, v = truth.sample(16_000, np.random.default_rng(5))
    r = np.linalg.norm(x, axis=1)
    grid = np.geomspace(1e-5, 1e4, 400)
    inside = truth.tracer.mass(grid) / truth.tracer.mass(1e8)
    assert stats.kstest(r, lambda q: np.interp(q, grid, inside)).pvalue > 1e-3
    v_r = (x * v).sum(1) / r
    v_t2 = ((v**2).sum(1) - v_r**2) / 2
    t = np.log(r)
    sigma2 = np.interp(t, np.log(grid), truth.sigma_r(grid) ** 2)
    # Chi^2 of 4,000 stars a bin is known to 2.2 %, and to 1.6 % across, where there are two components.
    for rows in np.array_split(np.argsort(r), 4):
        assert np.mean(v_r[rows] ** 2 / sigma2[rows]) == pytest.approx(1, abs=0.09)
        assert np.mean(v_t2[rows] / sigma2[rows] / (1 - truth.beta(r[rows]))) == pytest.approx(1, abs=0.07)
    R, on_sky = np.hypot(x[:, 0], x[:, 1]), np.geomspace(1e-3, 1e2, 100)
    sigma_los = np.interp(np.log(R), np.log(on_sky), truth.sigma_los(on_sky))
    assert np.mean(v[:, 2] ** 2 / sigma_los**2) == pytest.approx(1, abs=0.05)
    assert np.median(R) == pytest.approx(truth.half_light_radius, rel=0.03)


def test_plummer_in_its_own_field_has_its_known_distribution():
    # f ~ E^(7/2), and sigma^2 = G M / (6 sqrt(r^2 + a^2)).
    truth = DwarfTruth(PLUMMER, Zhao(1e9, 0.25, 2.0, 5.0, 0.0))
    r = np.array([0.02, 0.1, 0.25, 1.0, 4.0])
    ratio = truth.f(r) * (r**2 + 0.25**2) ** 1.75
    np.testing.assert_allclose(ratio, ratio[0], rtol=2e-4)
    sigma2 = 4.30091e-6 * truth.mass(1e7) / (6 * np.hypot(r, 0.25))
    np.testing.assert_allclose(truth.sigma_r(r) ** 2, sigma2, rtol=1e-4)
    np.testing.assert_allclose(truth.surface_density(r), 1 / (np.pi * 0.25**2) / (1 + (r / 0.25) ** 2) ** 2, rtol=1e-6)
    # sigma_los^2 = 3 pi G M / (64 sqrt(R^2 + a^2))
    los = 3 * np.pi * 4.30091e-6 * truth.mass(1e7) / (64 * np.hypot(r, 0.25))
    np.testing.assert_allclose(truth.sigma_los(r) ** 2, los, rtol=1e-4)
    assert truth.half_light_radius == pytest.approx(0.25, rel=1e-4)


def test_what_cannot_be_in_equilibrium():
    for arguments in ((PLUMMER, CUSP), (TRACER, CORE, 0.03)):
        with pytest.raises(ValueError, match=r"f\(Q\) >= 0"):
            DwarfTruth(*arguments)


def test_a_catalogue(tmp_path):
    stars = mock_dwarf(
        600, 3, foreground=0.25, photometric=400, systemic_velocity=110.0, velocity_error=(0.5, 4.0), radius=0.8
    )
    assert len(stars) == 1000
    known = np.isfinite(stars["v_los"])
    assert known.sum() == 600
    np.testing.assert_array_equal(known, np.isfinite(stars["v_los_error"]))
    assert stars["is_member"].sum() == 750
    assert np.isfinite(stars["vz"][stars["is_member"]]).all()
    assert not np.isfinite(stars["vz"][~stars["is_member"]]).any()
    assert stars["R"].max() < 0.8
    np.testing.assert_allclose(np.hypot(stars["x"], stars["y"]), stars["R"])
    error = stars["v_los_error"][known]
    assert 0.5 <= error.min() < 0.6 < 3.5 < error.max() <= 4
    both = known & stars["is_member"]
    pull = (stars["v_los"] - stars["vz"] - 110)[both] / stars["v_los_error"][both]
    assert stats.kstest(pull, "norm").pvalue > 1e-3
    others = stars["R"][~stars["is_member"]] / 0.8
    assert stats.kstest(others**2, "uniform").pvalue > 1e-3
    stars.write(tmp_path / "dwarf.parquet")
    back = read_catalog(tmp_path / "dwarf.parquet")
    assert back.unit("v_los") == "km / s"
    assert dwarf_truth_of(back) == DwarfTruth(TRACER, CORE)
    assert dwarf_truth_of(read_catalog(tmp_path / "dwarf.parquet")) is dwarf_truth_of(stars)


def test_seeds():
    one, again, other = mock_dwarf(100, 1), mock_dwarf(100, 1), mock_dwarf(100, 2)
    columns = ("x", "v_los")
    assert one.digest(columns) == again.digest(columns) != other.digest(columns)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (dict(n=0), "n as a whole number"),
        (dict(seed=-1), "seed"),
        (dict(foreground=1.5), "foreground"),
        (dict(velocity_error=-1), "velocity_error"),
        (dict(velocity_error=(3, 1)), "velocity_error"),
        (dict(radius=0), "radius"),
        (dict(anisotropy=0), "anisotropy"),
        (dict(tracer=Zhao(1, 0.3, 2, 3, 0)), "fall off"),
    ],
)
def test_bad_settings(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        mock_dwarf(**{"n": 100, **arguments})


def test_no_profiles():
    with pytest.raises(TypeError, match="Zhao"):
        mock_dwarf(100, tracer=Burkert(1, 1))  # pyright: ignore[reportArgumentType]
