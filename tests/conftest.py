"""Shared fixtures: small mocks and a small map, made once a session."""

import os
import tempfile
import threading

import numpy as np
import pytest

os.environ.setdefault("CLEARVIEW_CACHE", tempfile.mkdtemp(prefix="clearview-test-"))
# Half of the time goes into compiling the same again: the test processes, and the kernels and jobs that they start,
# share what is compiled. JAX reads this when it is first imported.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _compiled = tempfile.TemporaryDirectory(prefix="clearview-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


@pytest.fixture(scope="session")
def mock():
    """20,000 stars in MWPotential2014 within 4 kpc."""
    from clearview import mock_galaxy

    return mock_galaxy(20_000, seed=3)


@pytest.fixture(scope="session")
def tiny_config():
    """A map in seconds: right in form, rough in value."""
    from clearview.dynamics import MapConfig, PotentialConfig
    from clearview.flows import FitConfig, FlowConfig

    return MapConfig(
        radius=4.0, positions=FlowConfig(2, 24), velocities=FlowConfig(2, 24),
        training=FitConfig(epochs=2, min_steps=0),
        potential=PotentialConfig(stars=4000, degree=6),
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_map(mock, tiny_config):
    """A finished map of `mock`."""
    from clearview import fit_map

    return fit_map(mock, tiny_config)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """What was compiled for one file is let go after it: in all it would be gigabytes."""
    import jax

    yield
    jax.clear_caches()


@pytest.fixture
def made():
    """``made(panel)`` closes the panel in the end, and nothing of it may live on."""
    before, panels = set(threading.enumerate()), []
    yield lambda panel: panels.append(panel) or panel
    for panel in panels:
        panel.close()
    for thread in set(threading.enumerate()) - before:  # what an earlier test gave up may still compile
        thread.join(60)
    assert set(threading.enumerate()) <= before
