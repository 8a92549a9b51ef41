"""The layers of the acceleration panel."""

import holoviews as hv
import numpy as np
import pytest
from fakes import FakeFit, fake_dynamics, stars

from clearview.figures.style import title
from clearview.panels import AccelerationPanel, base


@pytest.fixture
def panel(monkeypatch):
    fake, asked = fake_dynamics(), []

    def field(*args, **kwargs):
        asked.append(kwargs["potential"])
        return fake_dynamics().acceleration_field(*args, **kwargs)

    fake.acceleration_field = field
    monkeypatch.setattr(base, "dynamics", lambda: fake)
    catalog = stars(1000)
    panel = AccelerationPanel(catalog, FakeFit(catalog.digest()), size=64, threaded=False)
    panel.asked = asked
    yield panel
    panel.close()


def lines(panel) -> list[hv.Contours]:
    return [k for k in panel.figure() if isinstance(k, hv.Contours)]


def test_contours_of_the_potential_are_drawn_and_asked_for_only_when_ticked(panel):
    panel.set(z=1.0)
    assert lines(panel) == []
    assert panel.asked
    assert not any(panel.asked)
    panel.set(contours=True, component="a_z")
    (found,) = lines(panel)
    fit = FakeFit("")
    for piece in found.data:
        x = np.stack([piece["x"], piece["y"], np.full(len(piece["x"]), 1.0)], -1)
        x = x[np.isfinite(x).all(1)]
        np.testing.assert_allclose(fit.potential(x) - fit.potential(fit.center), piece["potential"], atol=30)
    assert "Φ − Φ(center) contours every 5,000 km² s⁻²" in title(panel.figure())
    asked = len(panel.asked)
    panel.set(component="potential")
    panel.set(contours=False, component="a")
    assert len(panel.asked) == asked  # the slice with the potential serves the others too


def test_contours_over_a_difference_are_those_of_the_map(panel):
    panel.set(contours=True)
    (of_map,) = lines(panel)
    panel.set(show="difference")
    (found,) = lines(panel)
    assert found.label == of_map.label
    np.testing.assert_array_equal(found.data[0]["x"], of_map.data[0]["x"])


def test_the_title_has_a_true_minus(panel):
    panel.set(z=-0.5)
    assert title(panel.figure()).startswith("Map, z = −0.50 kpc")
