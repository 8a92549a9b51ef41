"""Densities of any columns: what they learn, refuse, save and resume."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from clearview.catalogs import Catalog
from clearview.field import Axis
from clearview.flows import (
    CheckpointError,
    ColumnConfig,
    FitConfig,
    FlowConfig,
    column_field,
    estimate_seconds,
    fit_columns,
    load_columns,
    save_columns,
)

CONFIG = ColumnConfig(FlowConfig(2, 16, 2, "spline"), FitConfig(epochs=20, min_steps=0, batch_size=256))
PM = ("pmra", "pmdec")


def catalog(rng, n=6000, **more):
    """Two clumps in proper motion, one of them narrow, and a few stars without a value."""
    narrow = rng.normal([6, -4], 0.4, (n // 4, 2))
    pm = np.concatenate([rng.normal([-2, -5], [4, 3], (n - len(narrow), 2)), narrow])
    pm[:10, 0] = np.nan
    unit = u.mas / u.yr
    return Catalog(Table({"pmra": pm[:, 0] * unit, "pmdec": pm[:, 1] * unit, "flag": np.ones(n), **more}))


@pytest.fixture(scope="module")
def fitted():
    stars = catalog(np.random.default_rng(0))
    return stars, fit_columns(stars, PM, CONFIG)


def test_learns_both_clumps(fitted):
    stars, fit = fitted
    assert fit.complete
    assert (fit.columns, fit.units, fit.stars) == (PM, ("mas / yr", "mas / yr"), 5990)
    assert "10 left out" in fit.message
    draws = fit.sample(40_000, seed=1)
    assert draws.shape == (40_000, 2)
    assert draws.dtype == np.float32
    inside = np.hypot(*(draws - [6, -4]).T) < 1
    expected = np.mean(np.hypot(stars["pmra"][10:] - 6, stars["pmdec"][10:] + 4) < 1)
    assert inside.mean() == pytest.approx(expected, abs=0.03)
    np.testing.assert_array_equal(draws, fit.sample(40_000, seed=1))
    assert fit.data_digest == stars.digest(PM)


def test_field_holds_the_stars(fitted):
    _, fit = fitted
    axes = (Axis("pmra", -20, 20, 160, "mas/yr"), Axis("pmdec", -20, 10, 120, "mas/yr"))
    field = column_field(fit, axes)
    assert field.density.dims == PM
    assert u.Unit(field.density.units) == u.yr**2 / u.mas**2
    assert float(field.density.sum()) * 0.25**2 == pytest.approx(fit.stars, rel=0.02)
    cut = column_field(fit, axes[:1], {"pmdec": -4.0})
    assert cut.density.dims == ("pmra",)
    assert cut.attrs["at_pmdec"] == -4.0
    at = fit.log_prob(np.stack([cut.pmra.values, np.full(160, -4.0)], -1))
    np.testing.assert_allclose(cut.density, fit.stars * np.exp(at), rtol=1e-4)
    with pytest.raises(ValueError, match=r"pmra, pmdec, got 'ra'"):
        column_field(fit, (Axis("ra", 0, 1, 4, "deg"),), {"pmdec": 0})
    with pytest.raises(ValueError, match="in mas / yr, got deg"):
        column_field(fit, (Axis("pmra", 0, 1, 4, "deg"),), {"pmdec": 0})
    with pytest.raises(ValueError, match="pmdec as a finite number"):
        column_field(fit, axes[:1], {"pmdec": np.nan})
    with pytest.raises(ValueError, match="got none for pmdec"):
        column_field(fit, axes[:1])


def test_cancel_save_load_resume(fitted, tmp_path):
    stars, whole = fitted
    part = fit_columns(stars, PM, CONFIG, on_progress=lambda p: p.step < 100)
    assert (part.stopped, part.complete) == ("cancelled", False)
    with pytest.raises(ValueError, match="Resume it first"):
        part.sample(10)
    assert fit_columns(stars, PM, resume=whole) is whole
    with pytest.raises(ValueError, match="whole number of draws"):
        whole.sample(2.5)
    save_columns(part, tmp_path / "part")
    again = fit_columns(stars, PM, resume=load_columns(tmp_path / "part"))
    np.testing.assert_array_equal(again.log_prob(np.zeros((1, 2))), whole.log_prob(np.zeros((1, 2))))
    save_columns(whole, tmp_path / "whole")
    loaded = load_columns(tmp_path / "whole")
    assert (loaded.columns, loaded.units, loaded.config) == (whole.columns, whole.units, whole.config)
    assert loaded.history.equals(whole.history)
    np.testing.assert_array_equal(loaded.sample(100), whole.sample(100))
    with pytest.raises(FileExistsError):
        save_columns(whole, tmp_path / "whole")
    with pytest.raises(ValueError, match="keeps its own"):
        fit_columns(stars, PM, ColumnConfig(), resume=part)
    with pytest.raises(ValueError, match=r"pmra, pmdec .* of others"):
        fit_columns(catalog(np.random.default_rng(1)), PM, resume=part)
    with pytest.raises(ValueError, match="got pmdec, pmra"):
        fit_columns(stars, PM[::-1], resume=part)
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        load_columns(tmp_path / "cut")


def test_refusals(rng):
    stars = catalog(rng, name=np.array(["a"] * 6000))
    with pytest.raises(KeyError, match="bp_rp"):
        fit_columns(stars, ("pmra", "bp_rp"))
    with pytest.raises(ValueError, match="Expected numbers in column name"):
        fit_columns(stars, ("pmra", "name"))
    with pytest.raises(ValueError, match="each once"):
        fit_columns(stars, ("pmra", "pmra"))
    with pytest.raises(ValueError, match="at least one"):
        fit_columns(stars, ())
    with pytest.raises(ValueError, match="differ in flag"):
        fit_columns(stars, ("pmra", "flag"))
    far = catalog(rng, epoch=(2457000 + rng.uniform(size=6000)) * u.day)
    with pytest.raises(ValueError, match="subtract a constant"):
        fit_columns(far, ("pmra", "epoch"))
    with pytest.raises(ValueError, match="at least 100 stars"):
        fit_columns(catalog(rng, 50), PM)


def test_previews_can_be_drawn_and_not_saved(fitted, tmp_path):
    stars, whole = fitted
    seen = []
    fit = fit_columns(stars, PM, CONFIG, on_preview=seen.append, preview=0.0)
    np.testing.assert_array_equal(fit.log_prob(np.zeros((1, 2))), whole.log_prob(np.zeros((1, 2))))
    assert {p.stopped for p in seen} == {"preview"}
    assert not seen[-1].complete
    assert (
        abs(seen[-1].sample(4000) - whole.sample(4000)).mean() < abs(seen[0].sample(4000) - whole.sample(4000)).mean()
    )
    with pytest.raises(ValueError, match="got a preview of one"):
        save_columns(seen[-1], tmp_path / "preview")
    with pytest.raises(ValueError, match="to resume, got a preview"):
        fit_columns(stars, PM, resume=seen[-1])


def test_the_estimate_grows_with_the_work():
    few, many = (estimate_seconds(n) for n in (100_000, 400_000))
    assert few < many
    assert estimate_seconds(400_000, 4) > many
    assert estimate_seconds(400_000, 2, ColumnConfig(training=FitConfig(epochs=40))) > many
