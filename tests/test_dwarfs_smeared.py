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
PLACE = dict(distance=80.0, angle=0.2)
TINY = JFlowConfig(tracers=SphericalConfig(8, 1), motions=SphericalConfig(8, 1), members=3)


def untrained(config=TINY, **changes):
    """A fit whose members differ, without any training."""
    told = dict(stars=500, digest="none", velocity=7.0, stopped="finished", message="Made up.", seconds=1.5) | changes
    membership = np.linspace(0, 1, told["stars"], dtype=np.float32)
    return JFlowFit(config, _start(config, HALF, 9.0, told["stars"]), HALF, membership=membership, **told)


def known(**config):
    """A normal n and one sigma: of each member rho = 3 sigma^2/(4 pi G s^2), a core without an end."""
    fit = untrained(dataclasses.replace(TINY, **config))
    model = eqx.tree_at(lambda m: (m.tracers.weights, m.motions.weights), fit.model,
                        replace_fn=lambda w: [0 * a for a in w])  # fmt: skip
    fit.model = eqx.tree_at(lambda m: m.motions.spread, model, np.array([8.0, 9.0, 10.0], np.float32))
    return fit


def test_save_and_load(tmp_path):
    fit = untrained(dataclasses.replace(TINY, **PLACE))
    path = tmp_path / "jflow.clearview"
    fit.save(path)
    back = load_jflow(path)
    assert back.config == fit.config
    assert (back.message, back.digest, back.stars, back.velocity, back.seconds) == ("Made up.", "none", 500, 7.0, 1.5)
    np.testing.assert_array_equal(back.membership, fit.membership)
    assert back.membership.dtype == np.float32
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


class Made(JFlowFit):
    """Members whose densities are powers of r, of one sign up to HALF."""

    def members(self, r):
        r = np.asarray(r, float)
        rho = np.stack([sign * 1e8 * r**slope for sign, slope in ((1, -1.2), (1, -0.1), (np.sign(r - HALF), -0.5))])
        with np.errstate(invalid="ignore"):
            slope = np.gradient(np.log(rho), np.log(r), axis=1)
        return {"rho": rho, "slope": slope, **dict.fromkeys(REST, np.ones_like(rho))}


REST = ("mass", "v_c", "n", "sigma_r", "Sigma", "sigma_los")


def made(**config):
    fit = untrained(dataclasses.replace(TINY, **config))
    return Made(**{f.name: getattr(fit, f.name) for f in dataclasses.fields(fit)})


def test_j_and_d_of_a_known_halo():
    assert not {"J", "D"} & set(made().field().data_vars)
    field = known(**PLACE).field(quantiles=[0.0, 0.5])
    r = np.geomspace(1e-4, EDGE * HALF, 500)
    for quantile, sigma in ((0.0, 8.0), (0.5, 9.0)):
        rho = np.full_like(r, 3 * sigma**2 / (4 * np.pi * G * (HALF / 1.1774) ** 2))
        one = field.sel(quantile=quantile)
        assert float(one["J"]) == pytest.approx(j_factor(r, rho, 80.0, 0.2), rel=5e-3)
        assert float(one["D"]) == pytest.approx(d_factor(r, rho, 80.0, 0.2), rel=5e-3)
    assert (field["J"].units, field["D"].units) == ("GeV2 cm-5", "GeV cm-2")
    assert "within 0.2 deg" in field["J"].long_name


def test_negative_densities_shine_nowhere():
    low = made(**PLACE).field(quantiles=[0.0])
    r = np.geomspace(1e-3, EDGE, 500) * HALF
    rho = np.where(r > HALF, 1e8 * r**-0.5, 0)
    assert float(low["J"][0]) == pytest.approx(j_factor(r, rho, 80.0, 0.2), rel=0.1)


def test_core_or_cusp():
    told = made().core_or_cusp()
    np.testing.assert_allclose(told.slope, [-1.2, -0.1, np.nan], atol=1e-6)
    assert told.share == pytest.approx(1 / 3)
    for words in ("0.15 kpc is -0.65", "2 of 3 bootstraps", "-1.20 to -0.10; 33% find", "not of what is assumed"):
        assert words in told.message
    assert made().core_or_cusp(0.5, -0.3).share == pytest.approx(1 / 3)
    assert made().core_or_cusp(0.5).share == pytest.approx(2 / 3)
    real = known(**PLACE).core_or_cusp()
    np.testing.assert_allclose(real.slope, 0, atol=0.02)
    assert real.share == 1
    for wrong in (dict(radius=0.0), dict(radius=np.nan), dict(threshold=1.0)):
        with pytest.raises(ValueError, match="Expected"):
            made().core_or_cusp(**wrong)


def test_core_or_cusp_without_a_spread_or_a_slope(monkeypatch):
    fit = made()
    every = fit.members
    monkeypatch.setattr(fit, "members", lambda r: {k: v[:1] for k, v in every(r).items()})
    assert fit.core_or_cusp().message.endswith("is -1.20 in the one fit, without a spread.")
    monkeypatch.setattr(fit, "members", lambda r: {k: v[2:] for k, v in every(r).items()})
    told = fit.core_or_cusp()
    assert told.share == 0
    assert "no slope there" in told.message
