"""Training on several devices: what one device learns, shared out among four."""

import os
import subprocess
import sys

import equinox as eqx
import jax
import numpy as np
import pytest
from jax import random

from clearview.flows import MAF, FitConfig, FlowConfig, fit, fit_ensemble
from clearview.flows.devices import Devices

CONFIG = FitConfig(epochs=2, min_steps=0, batch_size=64, validation=0.2, average=0.1)


def trained(tmp_path):
    """The weights of flows that train by each way there is."""
    rng, key = np.random.default_rng(0), random.key(1)
    data = rng.normal(size=(1000, 2)).astype(np.float32) * [1, 3]
    np.save(tmp_path / "data.npy", data.astype(np.float32))
    mapped = np.load(tmp_path / "data.npy", mmap_mode="r")

    def build(key):
        return MAF(2, None, FlowConfig(1, 8), key=key)

    half = fit(build(key), data, CONFIG, key=key, on_progress=lambda p: p.step < 5)
    assert half.stopped == "cancelled"
    fits = {
        "one": fit(build(key), data, CONFIG, key=key, resume=half),
        "two": fit_ensemble(build, mapped, CONFIG, key=key, members=2, bootstrap=True),
    }
    return {
        f"{name}{i}": np.asarray(leaf)
        for name, found in fits.items()
        for i, leaf in enumerate(jax.tree.leaves(eqx.filter(found.model, eqx.is_inexact_array)))
    }


def test_four_devices_learn_what_one_does(tmp_path):
    code = (
        "import pathlib, numpy, jax, test_devices as t\n"
        "put = t.Devices(2, 64).put(numpy.zeros((2, 3)), True)\n"
        "assert [s.data.shape for s in put.addressable_shards] == 4 * [(1, 3)]\n"
        "rows = jax.jit(t.Devices(None, 64).split)(jax.numpy.zeros((64, 2)))\n"
        "assert [s.data.shape for s in rows.addressable_shards] == 4 * [(16, 2)]\n"
        "numpy.savez('four.npz', **t.trained(pathlib.Path('.')))\n"
    )
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    env["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr[-3000:]
    four, one = np.load(tmp_path / "four.npz"), trained(tmp_path)
    assert set(four) == set(one)
    for name, values in one.items():
        np.testing.assert_allclose(four[name], values, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(
    ("members", "batch", "across", "along"), [(None, 1024, 1, 4), (2, 1024, 2, 2), (3, 50, 1, 2), (8, 1, 4, 1)]
)
def test_how_the_work_is_shared_out(monkeypatch, members, batch, across, along):
    monkeypatch.setattr(jax, "local_devices", lambda: [f"device {i}" for i in range(4)])
    made = []
    monkeypatch.setattr("clearview.flows.devices.Mesh", lambda devices, names: made.append(devices) or "mesh")
    devices = Devices(members, batch)
    assert made[0].shape == (across, along)
    assert (devices.mesh, devices.along) == ("mesh", along)


def test_one_device_is_left_alone():
    devices = Devices(8, 1024)
    tree = {"a": np.ones(3)}
    assert devices.mesh is None
    assert devices.put(tree) is devices.gather(tree) is tree
