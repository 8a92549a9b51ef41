"""JFlow's fit as it is kept and read: files, J and D, core or cusp."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

from clearview.dwarfs import JFlowConfig, JFlowFit, SphericalConfig, load_jflow
from clearview.dwarfs.smeared import EDGE, _start
from clearview.flows import CheckpointError
from clearview.flows.checkpoint import save
from clearview.halos import d_factor, j_factor
from clearview.units import G

HALF = 0.3
TINY = JFlowConfig(tracers=SphericalConfig(8, 1), motions=SphericalConfig(8, 1), members=3)


def untrained(config=TINY, **changes):
    """A fit whose members differ, without any training."""
    told = dict(stars=500, digest="none", stopped="finished", message="Made up.", seconds=1.5) | changes
    return JFlowFit(config, _start(config, HALF, 9.0, told["stars"]), HALF, **told)


def known(sigma=(8.0, 9.0, 10.0), **config):
    """A normal n and one sigma: of each member rho = 3 sigma^2/(4 pi G s^2), a core without an end."""
    fit = untrained(dataclasses.replace(TINY, members=len(sigma), **config))
    model = eqx.tree_at(lambda m: (m.tracers.weights, m.motions.weights), fit.model,
                        replace_fn=lambda w: [0 * a for a in w])  # fmt: skip
    fit.model = eqx.tree_at(lambda m: m.motions.spread, model, np.asarray(sigma, np.float32))
    return fit


def test_save_and_load(tmp_path):
    fit = untrained(dataclasses.replace(TINY, distance=80.0, beta=0.2))
    path = tmp_path / "jflow.clearview"
    fit.save(path)
    back = load_jflow(path)
    assert back.config == fit.config
    assert (back.message, back.digest, back.stars, back.seconds) == ("Made up.", "none", 500, 1.5)
    for a, b in zip(*(jax.tree.leaves(eqx.filter(f.model, eqx.is_array)) for f in (fit, back)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert back.field().identical(fit.field())
    with pytest.raises(FileExistsError, match="overwrite=True"):
        fit.save(path)
    fit.save(path, overwrite=True)


def test_files_that_hold_no_fit(tmp_path):
    path = tmp_path / "jflow.clearview"
    with pytest.raises(ValueError, match="Expected a finished fit to save, got one that was cancelled"):
        untrained(stopped="cancelled").save(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_jflow(path)
    path.write_text("x,y\n1,2\n")
    with pytest.raises(CheckpointError, match="some other file"):
        load_jflow(path)
    save(path, "dwarf", {}, [], overwrite=True)
    with pytest.raises(CheckpointError, match="which holds a dwarf"):
        load_jflow(path)
    untrained().save(path, overwrite=True)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_jflow(path)


def test_j_and_d_of_a_known_halo():
    assert not {"J", "D"} & set(known().field().data_vars)
    field = known(distance=80.0, angle=0.2).field(quantiles=[0.0, 0.5])
    r = np.geomspace(1e-4, EDGE * HALF, 500)
    for quantile, sigma in ((0.0, 8.0), (0.5, 9.0)):
        rho = np.full_like(r, 3 * sigma**2 / (4 * np.pi * G * (HALF / 1.1774) ** 2))
        one = field.sel(quantile=quantile)
        assert float(one["J"]) == pytest.approx(j_factor(r, rho, 80.0, 0.2), rel=5e-3)
        assert float(one["D"]) == pytest.approx(d_factor(r, rho, 80.0, 0.2), rel=5e-3)
    assert (field["J"].units, field["D"].units) == ("GeV2 cm-5", "GeV cm-2")
    assert "within 0.2 deg" in field["J"].long_name


def test_negative_densities_shine_nowhere():
    # Radial orbits at one sigma need a negative mass at the centre, of which the square would shine.
    fit = known(beta=0.9, distance=80.0)
    r = HALF * np.geomspace(1e-3, EDGE, 200)
    rho = fit.density(r)
    assert (rho[:, 0] < 0).all()
    held = j_factor(r, np.where(rho > 0, rho, 0), 80.0)
    np.testing.assert_allclose(fit.field(quantiles=[0.5])["J"], np.median(held), rtol=1e-3)


def test_core_or_cusp():
    told = known().core_or_cusp()
    np.testing.assert_allclose(told.slope, 0, atol=0.02)
    assert told.share == 1
    assert "3 of 3 bootstraps" in told.message
    assert "100% find it shallower than -0.7" in told.message
    assert "not of what is assumed" in told.message
    assert known(sigma=(9.0,)).core_or_cusp().message.endswith("in the one fit, without a spread.")
    # With radial orbits at one sigma rho = (9/s^2 - 2 beta/r^2) sigma^2/(4 pi G) up to a factor of the first term.
    radial = known(beta=-0.5).core_or_cusp(0.1)
    x = 3 * (0.1 * 1.1774 / HALF) ** 2
    np.testing.assert_allclose(radial.slope, -2 / (1 + x), atol=0.02)
    assert radial.share == 0
    none = known(beta=0.9).core_or_cusp(0.01)
    assert np.isnan(none.slope).all()
    assert none.share == 0
    assert "no slope there" in none.message
    for wrong in (dict(radius=0.0), dict(radius=np.nan), dict(threshold=1.0)):
        with pytest.raises(ValueError, match="Expected"):
            known().core_or_cusp(**wrong)
