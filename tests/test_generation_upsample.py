"""Star particles learnt, and stars drawn from what was learnt."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
from astropy import units as u

import clearview
from clearview.catalogs import ApparentMagnitude, Catalog, Particles, Unique
from clearview.flows import CheckpointError, ContinuousConfig, FitConfig
from clearview.generation import (
    Cancelled,
    KernelSampler,
    Photometry,
    Space,
    UpsampleConfig,
    default_config,
    fit_upsampler,
    load_upsampler,
)
from clearview.generation import upsample as module
from clearview.units import SUN

TINY = dict(
    flow=ContinuousConfig(32, 2, steps=3),
    training=FitConfig(epochs=1, min_steps=400, batch_size=256, learning_rate=5e-3, average=0.05),
)


def clump(n=3000, seed=0, **columns):
    """A round clump whose stars of age 10 are twice as fast as those of age 1, and a third of all."""
    rng = np.random.default_rng(seed)
    old = np.arange(n) % 3 == 0
    v = 10 * rng.standard_normal((n, 3)) * np.where(old, 2, 1)[:, None]
    columns = {"age": u.Quantity(np.where(old, 10.0, 1.0), u.Gyr), **columns}
    return Catalog.from_phase_space(rng.standard_normal((n, 3)), v, columns=columns)


@pytest.fixture(scope="module")
def given():
    """Learnt with ages as a condition and masses as weights: old ones weigh four times as much."""
    stars = clump()
    stars = stars.with_columns({"mass": np.where(stars["age"] > 5, 4.0, 1.0)})
    return stars, fit_upsampler(stars, dataclasses.replace(default_config(stars), **TINY))


@pytest.fixture(scope="module")
def ball(mock):
    """The mock's ball, learnt in seconds."""
    return fit_upsampler(mock, dataclasses.replace(default_config(mock), **TINY))


# ---- coordinates


@pytest.mark.parametrize(("radius", "center"), [(4.0, SUN.position), (None, (0.0, 0.0, 0.0))])
def test_normal_coordinates_and_back(mock, radius, center):
    points = (mock if radius else clump(4000)).phase_space[:4000].astype(float)
    space = Space.of(points, np.ones(len(points)), center, radius)
    base = space.to_base(points)
    np.testing.assert_allclose(space.from_base(base), points, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(base.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(base.std(0), 1, atol=0.05)
    assert space.turns is (radius is not None)
    step, some = 1e-3, points[:20]
    jacobian = np.stack([
        (space.to_base(some + step * e) - space.to_base(some - step * e)) / (2 * step) for e in np.eye(6)
    ], axis=2)  # fmt: skip
    np.testing.assert_allclose(space.log_det(some), np.linalg.slogdet(jacobian)[1], atol=0.15)
    if radius is not None:
        wild = 4 * np.random.default_rng(0).standard_normal((1000, 6))
        assert (np.linalg.norm(space.from_base(wild)[:, :3].astype(float) - center, axis=1) < radius).all()
        assert np.isnan(space.to_base(some + 9.0)).any(1).all()


def test_far_stars_and_far_balls():
    points = clump(4000).phase_space.astype(float)
    points[0, :3] = [2000.0, 0, 0]  # one far star
    space = Space.of(points, np.ones(len(points)), (0.0, 0.0, 0.0), None)
    base = space.to_base(points)
    assert np.isfinite(base).all()
    np.testing.assert_allclose(space.from_base(base), points, rtol=1e-3, atol=1e-3)
    assert np.isfinite(space.log_det(points)).all()
    center = np.array([100.0, 0, 0])
    rng = np.random.default_rng(3)
    x = center + 0.25 * rng.uniform(-1, 1, (2000, 3))
    small = Space.of(np.c_[x, rng.standard_normal((2000, 3))], np.ones(2000), center, 0.5)
    drawn = small.from_base(3 * rng.standard_normal((200_000, 6)))
    assert (np.linalg.norm(drawn[:, :3].astype(float) - center, axis=1) < 0.5).all()


def test_the_ball_of_a_catalogue():
    rng = np.random.default_rng(1)
    x, v = rng.standard_normal((2, 3000, 3))
    near = Particles.of(8 * x, 100 * v, np.ones(3000), units=("kpc", "km/s", "Msun")).around(radius=3.0)
    assert default_config(near).radius == 3.0
    np.testing.assert_allclose(default_config(near).center, near.sun.position)
    assert default_config(clearview.mock_dwarf(300, seed=0)).radius is None


def test_weights_and_conditions_shape_what_is_drawn(given):
    stars, fit = given
    assert fit.complete
    drawn = fit.catalog(6000, seed=1)
    assert drawn.unit("age") == u.Gyr
    old = drawn["age"] == 10.0
    assert old.mean() == pytest.approx(4 / 6, abs=0.03)  # a third of the particles, two thirds of the mass
    v = drawn.phase_space[:, 3:]
    assert v[old].std() / v[~old].std() == pytest.approx(2, rel=0.2)
    assert v[~old].std() == pytest.approx(10, rel=0.2)
    assert np.median(np.linalg.norm(drawn.phase_space[:, :3], axis=1)) == pytest.approx(1.538, rel=0.06)
    assert fit.same_stars(stars)
    assert not fit.same_stars(clump(seed=1, mass=np.ones(3000)))


def test_log_prob_is_the_density(given, ball):
    _, fit = given
    rng = np.random.default_rng(2)
    x, age = rng.standard_normal((2000, 6)) * [1, 1, 1, 10, 10, 10], np.full((2000, 1), 1.0)
    true = -0.5 * (x**2 / [1, 1, 1, 100, 100, 100]).sum(1) - 3 * np.log(2 * np.pi) - 3 * np.log(10)
    assert np.median(np.abs(fit.log_prob(x, age) - true)) < 0.4
    far = np.array([[0.0, 0, 0, 0, 0, 0]])
    assert ball.log_prob(far) == -np.inf
    with pytest.raises(ValueError, match=r"\(N, 1\) conditions"):
        fit.log_prob(x)
    with pytest.raises(ValueError, match="no conditions"):
        ball.log_prob(x, age)


def test_stars_stay_in_the_ball_and_seeds_repeat(ball):
    drawn = ball.sample(3000, seed=3)
    assert drawn.dtype == np.float32
    assert (np.linalg.norm(drawn[:, :3] - SUN.position, axis=1) < 4.0).all()
    assert (ball.sample(3000, seed=3) == drawn).all()
    assert not (ball.sample(3000, seed=4) == drawn).any()


# ---- files


def test_saved_and_read_again(given, tmp_path):
    _, fit = given
    path = fit.save(tmp_path / "a.clearview")
    again = load_upsampler(path)
    assert again.config == fit.config
    assert again.message == fit.message
    np.testing.assert_array_equal(again.sample(500), fit.sample(500))
    with pytest.raises(FileExistsError):
        fit.save(path)
    assert load_upsampler(path) != load_upsampler(path)  # arrays are not compared
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_upsampler(path)


def test_parquet_in_chunks(given, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1000)
    _, fit = given
    path, told = tmp_path / "stars.parquet", []
    assert fit.write_parquet(path, 2500, seed=5, on_progress=told.append) == 2500
    assert told == [0.4, 0.8, 1.0]
    stars = clearview.read_catalog(path)
    np.testing.assert_array_equal(stars.phase_space, fit.sample(2500, seed=5)[:, :6])
    assert stars.unit("vx") == u.km / u.s
    assert len(clearview.open_catalog(str(path)).head()) > 0
    with pytest.raises(FileExistsError):
        fit.write_parquet(path, 10)
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(FileExistsError):
        fit.write_parquet(tmp_path / "folder.parquet", 10, overwrite=True)
    (tmp_path / "folder.parquet").rmdir()
    late = tmp_path / "late.parquet"
    with pytest.raises(FileExistsError):  # a file of another that came meanwhile stays
        fit.write_parquet(late, 10, on_progress=lambda done: late.write_bytes(b"mine") and None)
    assert late.read_bytes() == b"mine"
    late.unlink()
    for other, words in ((tmp_path / "a.csv", "ends in .parquet"), (tmp_path / "no" / "a.parquet", "a folder")):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            fit.write_parquet(other, 10)
    with pytest.raises(Cancelled):
        fit.write_parquet(tmp_path / "b.parquet", 2500, on_progress=lambda done: done < 0.5)
    seen = fit.write_parquet(
        tmp_path / "c.parquet", 2500, photometry=Photometry(), errors=1.0, cuts=[ApparentMagnitude(14)]
    )
    assert 0 < seen < 2500
    assert {"bp_rp", "parallax", "parallax_error"} <= set(clearview.read_catalog(tmp_path / "c.parquet").columns)
    with pytest.raises(ValueError, match="pass the cuts, got none"):
        fit.write_parquet(
            tmp_path / "d.parquet", 500, photometry=Photometry(), cuts=[ApparentMagnitude(brighter_than=-9)]
        )
    with pytest.raises(ValueError, match="each star for itself"):
        fit.write_parquet(tmp_path / "d.parquet", 500, cuts=[Unique()])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.parquet", "stars.parquet"]


# ---- training


def test_cancelled_saved_and_resumed_as_if_undisturbed(given, tmp_path):
    stars, whole = given
    part = fit_upsampler(stars, whole.config, on_progress=lambda told: told.step < 100)
    assert part.stopped == "cancelled"
    with pytest.raises(ValueError, match="Expected a finished fit"):
        part.sample(10)
    again = fit_upsampler(stars, resume=load_upsampler(part.save(tmp_path / "part.clearview")))
    assert again.complete
    np.testing.assert_allclose(again.sample(100), whole.sample(100), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="got others"):
        fit_upsampler(clump(seed=1, mass=np.ones(3000)), resume=part)
    with pytest.raises(ValueError, match="no config with resume"):
        fit_upsampler(stars, UpsampleConfig(), resume=part)


def test_a_preview_can_be_looked_at_not_saved(tmp_path):
    shown = []
    config = UpsampleConfig(flow=ContinuousConfig(8, 1), training=FitConfig(epochs=1, min_steps=20, batch_size=64))
    fit_upsampler(clump(1000), config, on_preview=shown.append, preview=0.0)
    assert shown[0].sample(10).shape == (10, 6)
    with pytest.raises(ValueError, match="got a preview"):
        shown[0].save(tmp_path / "a")


@pytest.mark.parametrize(
    ("mass", "words"), [(-1.0, "finite and not negative"), (np.nan, "finite and not negative"), (np.inf, "finite")]
)
def test_bad_weights(mass, words):
    stars = clump(mass=np.r_[mass, np.ones(2999)])
    with pytest.raises(ValueError, match=words):
        fit_upsampler(stars)
    with pytest.raises(ValueError, match=words):
        KernelSampler.of(stars, "mass")


def test_bad_particles():
    stars = clump()
    for catalog, config, words in (
        (clump(500), UpsampleConfig(), "at least 1,000 particles"),
        (clump(mass=np.full(3000, "heavy")), None, "Expected numbers as weights in mass"),
        (stars, UpsampleConfig(radius=0.1), "particles in the ball"),
        (clump(mass=np.zeros(3000)), None, "above zero, got zeros only"),
        (clump(mass=np.r_[1e9, np.ones(2999)]), None, "weights that many particles share"),
        (clump(age=np.full(3000, np.nan)), UpsampleConfig(conditions=("age",)), "Expected finite age"),
        (Catalog.from_phase_space(np.random.default_rng(0).standard_normal((2000, 3)), np.zeros((2000, 3))), None,
         "particles that differ in vx"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            fit_upsampler(catalog, config)
    with pytest.raises(KeyError, match="none for metallicity"):
        fit_upsampler(stars, UpsampleConfig(conditions=("metallicity",)))
    for wrong in (dict(conditions=("x",)), dict(weights="age", conditions=("age",)), dict(radius=-1.0)):
        with pytest.raises(ValueError, match="Expected"):
            UpsampleConfig(**wrong)


def test_weight_zero_is_left_out_and_copies_are_warned_of():
    config = UpsampleConfig(
        weights="mass", flow=ContinuousConfig(8, 1), training=FitConfig(epochs=1, min_steps=5, batch_size=64)
    )
    fit = fit_upsampler(clump(mass=np.r_[np.zeros(100), np.ones(2900)]), config)
    assert "100 of weight zero were left out" in fit.message
    assert fit.stars == 2900
    stars = clump(1500)
    twice = Catalog.from_phase_space(*(np.tile(stars.phase_space[:, k], (2, 1)) for k in (slice(3), slice(3, 6))))
    with pytest.warns(UserWarning, match="1,500 copies"):
        fit = fit_upsampler(twice, dataclasses.replace(config, weights=None))
    assert "1,500 are there more than once" in fit.message


# ---- the kernel


def test_the_kernel_keeps_the_galaxy_and_widens_it_little(mock):
    stars = mock.take(np.arange(len(mock)) < 5000)
    kernel = KernelSampler.of(stars, radius=4.0, center=tuple(SUN.position))
    drawn, true = kernel.sample(5000, seed=1), stars.phase_space
    assert (np.linalg.norm(drawn[:, :3] - SUN.position, axis=1) < 4.0).all()
    ratio = drawn.std(0) / true.std(0)
    assert ((ratio > 0.94) & (ratio < 1.45)).all()
    assert (kernel.sample(50, seed=1) == kernel.sample(50, seed=1)).all()
    # Widths follow the density: where stars are twice as far apart, they are twice as wide.
    far = KernelSampler.of(Catalog.from_phase_space(2 * true[:, :3], 2 * true[:, 3:]))
    near = KernelSampler.of(Catalog.from_phase_space(true[:, :3], true[:, 3:]))
    np.testing.assert_allclose(far.widths, 2 * near.widths, rtol=1e-4)


# ---- photometry


def test_the_locus_and_a_table(tmp_path, mock):
    stars = mock.take(np.arange(len(mock)) < 4000)
    seen = Photometry(faintest=2.0).of(stars, seed=1)
    distance = np.linalg.norm(stars.phase_space[:, :3] - SUN.position, axis=1)
    M = seen["phot_g_mean_mag"] - 5 * np.log10(100 * distance)
    assert M.max() < 2.001
    assert np.std(seen["bp_rp"]) > 0.05
    path = tmp_path / "isochrones.csv"
    pd.DataFrame({
        "M_G": [0.0, 0.5, 5.0, 0.2], "bp_rp": [1.0, 1.1, 0.8, 2.0], "weight": [3.0, 1.0, 9.0, 1.0],
        "age": [1.0, 1.0, 1.0, 10.0],
    }).to_csv(path, index=False)  # fmt: skip
    aged = stars.with_columns({"age": np.where(np.arange(4000) < 1000, 9.0, 2.0)})
    colour = Photometry(path).of(aged, seed=1)["bp_rp"]
    assert (colour[:1000] == np.float32(2.0)).all()
    assert (colour[1000:] == np.float32(1.0)).mean() == pytest.approx(0.75, abs=0.03)
    assert (Photometry(path).of(stars)["bp_rp"] == np.float32(2.0)).mean() == pytest.approx(0.2, abs=0.03)
    in_myr = stars.with_columns({"age": u.Quantity(np.full(4000, 2000.0), u.Myr)})
    assert (Photometry(path).of(in_myr)["bp_rp"] < 1.5).all()
    with pytest.raises(ValueError, match="Expected finite age, got 4,000"):
        Photometry(path).of(stars.with_columns({"age": np.full(4000, np.nan)}))
    with pytest.raises(ValueError, match="Expected ages in a unit of time, got mag"):
        Photometry(path).of(stars.with_columns({"age": u.Quantity(np.ones(4000), u.mag)}))
    with pytest.raises(ValueError, match="got none on that of age 10"):
        Photometry(path, faintest=0.1).of(aged)
    for bad, words in (
        ("a,b\n1,2\n", "no M_G"),
        ("M_G,bp_rp\n9,1\n", "raise faintest"),
        ("M_G,bp_rp\nx,1\n", "finite"),
    ):
        path.write_text(bad)
        with pytest.raises(ValueError, match=words):
            Photometry(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        Photometry(tmp_path / "none.csv")


# ---- what it is for


@pytest.mark.slow
def test_a_flow_passes_for_the_galaxy_where_one_that_is_too_hot_does_not(mock):
    from clearview.generation import two_sample_test

    keep = np.arange(len(mock)) < 14_000
    learnt, held = mock.take(keep), mock.take(~keep)
    training = FitConfig(epochs=1, min_steps=2500, batch_size=512, learning_rate=3e-3, average=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_upsampler(
            learnt, dataclasses.replace(default_config(learnt), flow=ContinuousConfig(96, 3), training=training)
        )
    drawn = fit.sample(len(held))
    stars = Catalog.from_phase_space(drawn[:, :3], drawn[:, 3:])
    hot = Catalog.from_phase_space(drawn[:, :3], drawn[:, 3:] * [1.2, 1.0, 1.2])
    assert two_sample_test(stars, held).auc < 0.545
    assert two_sample_test(hot, held).auc > 0.55
