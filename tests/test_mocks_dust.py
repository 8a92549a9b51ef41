"""The dusty mock: extinction is the integral of the opacity, and the efficiency that is told is the one counted."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from clearview.catalogs import AbsoluteMagnitude, ApparentMagnitude, Catalog, read_catalog
from clearview.mocks import dust as module
from clearview.mocks import truth_of
from clearview.mocks.dust import (
    TRACERS,
    Dust,
    DustField,
    DustTruth,
    Tracer,
    counted_efficiency,
    dust_truth_of,
    dusty_galaxy,
)
from clearview.mocks.photometry import M_LIMIT, OLD, YOUNG
from clearview.units import SUN

HEIGHTS = (0.15, 0.5)
fake_tracers: Any = (Tracer(2.0, HEIGHTS[:1], YOUNG), Tracer(3.0, HEIGHTS[1:], OLD))  # type: ignore[arg-type]


def shape(x, height):
    return np.exp(-np.hypot(x[:, 0], x[:, 1]) / 3 - np.abs(x[:, 2]) / height)


def fake_mock_galaxy(n, seed, *, radius, populations, **_):
    """Stars of a double-exponential disc in the ball, of the height that stands in for the population."""
    rng, height = np.random.default_rng(seed), populations[0]
    parts, found = [], 0
    while found < n:
        x = SUN.position + np.stack([*rng.uniform(-radius, radius, (2, 20 * n)), rng.laplace(0, height, 20 * n)], -1)
        x[:, 2] -= SUN.z
        keep = (np.linalg.norm(x - SUN.position, axis=1) < radius) & (
            rng.random(len(x)) < np.exp((4.1 - np.hypot(x[:, 0], x[:, 1])) / 3)
        )
        parts.append(x[keep])
        found += keep.sum()
    x = np.concatenate(parts)[:n]
    return Catalog.from_phase_space(x, rng.normal(size=x.shape))


def truth_behind(galaxy) -> DustTruth:
    truth = dust_truth_of(galaxy.observed)
    assert truth is not None
    return truth


@pytest.fixture(scope="module")
def galaxy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "mock_galaxy", fake_mock_galaxy)
        return dusty_galaxy(60_000, 1, tracers=fake_tracers, fainter=0.5)


def test_extinction_is_the_integral_of_opacity(rng):
    field = DustField(Dust(seed=3, clouds=60, sizes=(0.1, 0.5), reach=3.5))
    # Sight lines through each kind, that end before, in and behind a cloud, and at the Sun's own height.
    ends = field.center[:8] + rng.normal(size=(8, 3)) * 0.3 * field.size[:8, None]
    way = ends - SUN.position
    x = SUN.position + np.concatenate([0.7 * way, way, 1.4 * way, [[2.0, 1.0, 0.0]]])
    s = (np.arange(10_000) + 0.5) / 10_000
    direct = [np.linalg.norm(p - SUN.position) * field.opacity(SUN.position + np.outer(s, p - SUN.position)).mean()
              for p in x]  # fmt: skip
    assert np.max(direct) > 2
    np.testing.assert_allclose(field.extinction(x), direct, atol=4e-3)
    np.testing.assert_allclose(field.extinction(SUN.position[None]), 0, atol=1e-8)


def test_clouds_are_as_asked():
    field = DustField(Dust(seed=1))
    assert field.size.min() < 0.025  # edges down to 20 pc
    assert field.size.max() <= 0.12
    assert field.depth.min() >= 0.1
    assert field.depth.max() <= 2.0
    one = DustField(Dust(seed=1, layer=0.0))
    way = one.center - SUN.position
    behind = one.center + 6 * one.size[:, None] * way / np.linalg.norm(way, axis=1)[:, None]
    assert (one.extinction(behind) > 0.999 * one.depth).all()  # its own depth, and that of others in front


@pytest.mark.parametrize("light", [YOUNG, OLD])
def test_magnitudes_follow_their_luminosity_function(light, rng):
    faintest = M_LIMIT + 0.5
    M = light.sample(20_000, rng, faintest)
    assert M.max() <= faintest
    assert light.cdf(M_LIMIT) == pytest.approx(1)
    assert stats.kstest(M, lambda m: light.cdf(m) / light.cdf(faintest)).pvalue > 1e-3


def test_cuts_are_made_on_what_is_seen(galaxy):
    observed, complete, parent = galaxy
    assert 0.3 < len(observed) / len(complete) < 0.9
    assert len(observed.select(AbsoluteMagnitude(0.99), ApparentMagnitude(14))) == len(observed)
    assert not {"M_G", "A_G", "tracer"} & set(observed.columns)
    far = np.linalg.norm(parent.phase_space[:, :3] - SUN.position, axis=1)
    G = parent["M_G"] + parent["A_G"] + 5 * np.log10(far * 100)
    np.testing.assert_allclose(parent["phot_g_mean_mag"], G, atol=1e-4)
    passing = parent.take(parent["M_G"] + parent["A_G"] < M_LIMIT).select(ApparentMagnitude(14))
    assert np.array_equal(passing.phase_space, observed.phase_space)
    assert len(parent) == pytest.approx(len(complete) * (0.4 * YOUNG.cdf(1.49) + 0.6 * OLD.cdf(1.49)), rel=0.02)
    truth = truth_of(observed)
    assert truth is not None
    assert truth.name == "MWPotential2014"


def test_true_efficiency_is_the_one_counted(galaxy):
    observed, complete, _ = galaxy
    truth = truth_behind(galaxy)
    w = complete.phase_space
    told = truth.efficiency(w[:, :3])
    seen = (complete["M_G"] + complete["A_G"] < M_LIMIT) & (complete["phot_g_mean_mag"] + complete["A_G"] < 14)
    assert seen.sum() == len(observed)
    assert told.min() < 0.05  # a few per cent in places
    assert told.max() > 0.98
    edges = (
        (told, [0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97]),
        (w[:, 2], [-1, -0.3, -0.1, 0, 0.1, 0.3, 1]),
        (w[:, 0], [6, 7, 8, 9, 10]),
    )
    for values, at in edges:
        cells = np.digitize(values, at)
        for cell in np.unique(cells):
            mine = cells == cell
            spread = np.sqrt((told * (1 - told))[mine].sum())
            assert abs((seen - told)[mine].sum()) < 4 * spread
    # Without the populations' different magnitudes it would not be so.
    one = OLD.cdf(M_LIMIT - complete["A_G"])
    assert abs((seen - one).sum()) > 10 * np.sqrt((told * (1 - told)).sum())
    assert truth.efficiency(SUN.position[None]) == pytest.approx(1, abs=1e-6)
    assert np.isnan(truth.efficiency([[13.0, 0, 0]])).all()


def test_efficiency_counted_in_balls(galaxy):
    x = SUN.position + np.array([[1.0, 0, 0], [-2, 1, 0.1], [0, -3, 0], [30, 0, 0]])
    eps, n = counted_efficiency(galaxy, x, 0.4)
    w, truth = galaxy.complete.phase_space[:, :3], truth_behind(galaxy)
    for k in range(3):
        told = truth.efficiency(w[np.linalg.norm(w - x[k], axis=1) < 0.4])
        assert len(told) == n[k]
        assert abs(eps[k] - told.mean()) < 4 * np.sqrt((told * (1 - told)).sum()) / n[k]
    assert np.isnan(eps[3])


def test_true_density_is_the_one_drawn_from(galaxy):
    truth, complete = truth_behind(galaxy), galaxy.complete
    rng = np.random.default_rng(0)
    x = SUN.position + rng.uniform(-4, 4, (400_000, 3))
    x = x[np.linalg.norm(x - SUN.position, axis=1) < 4]
    dense = truth.densities(x)
    for k, height in enumerate(HEIGHTS):
        exact = shape(x, height)
        exact *= (complete["tracer"] == k).sum() / (exact.mean() * 4 / 3 * np.pi * 4**3)
        weigh = (np.linalg.norm(x - SUN.position, axis=1) < 3.5) & (np.abs(x[:, 2]) < 3 * height)
        assert np.abs(dense[k] / exact - 1)[weigh].mean() < 0.08
        assert dense[k].mean() == pytest.approx(exact.mean(), rel=0.02)
    assert (truth.density([[13.0, 0, 0]]) == 0).all()


def test_smoothed_efficiency_is_seen_over_all(galaxy, rng):
    truth = truth_behind(galaxy)
    x = SUN.position + np.array([[2.0, 0.5, 0], [0.5, -2, 0.2], [-3.9, 0, 0]])
    for place, told in zip(x, truth.efficiency(x, smoothing=0.15), strict=True):
        around = place + 0.15 * rng.normal(size=(20_000, 3))
        n, eps = truth.density(around), np.nan_to_num(truth.efficiency(around))
        assert told == pytest.approx((n * eps).sum() / n.sum(), rel=0.03)
        assert abs(told / truth.efficiency(place[None])[0] - 1) > 0.01


def test_truth_is_rebuilt_from_a_file(galaxy, tmp_path):
    galaxy.observed.write(tmp_path / "dusty.parquet")
    again = dust_truth_of(read_catalog(tmp_path / "dusty.parquet"))
    assert again is not None
    x = galaxy.complete.phase_space[:500, :3]
    assert np.array_equal(again.efficiency(x), truth_behind(galaxy).efficiency(x))
    assert dust_truth_of(Catalog.from_phase_space(x, x)) is None


def test_orbits_are_a_mock_galaxys():
    seen = []
    galaxy = dusty_galaxy(
        1500, 2, tracers=TRACERS[:1], mixing_time=20.0, sampling_time=20.0, cache=False, on_progress=seen.append
    )
    assert len(galaxy.complete) == 1500
    assert 8 < galaxy.complete["vz"].std() < 25
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_bad_input():
    with pytest.raises(ValueError, match="positive shares"):
        dusty_galaxy(10, tracers=(Tracer(0.0, (), OLD),))
    with pytest.raises(ValueError, match="positive, rising bounds"):
        Dust(sizes=(0.1, 0.02))
    with pytest.raises(ValueError, match="leave the Sun free"):
        Dust(sizes=(0.1, 1.0))
    with pytest.raises(ValueError, match="fainter as a number from 0"):
        dusty_galaxy(10, fainter=-1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "mock_galaxy", fake_mock_galaxy)
        with pytest.raises(ValueError, match=r"none of .* through the dust"):
            dusty_galaxy(50, dust=Dust(layer=1e4, scale_height=10.0), tracers=fake_tracers[1:])
