"""The smoothed density of a whole ball against Gauss's law place by place, and slices of it."""

import numpy as np
import pytest

from clearview.dynamics import BaryonModel, cut, dark_matter_field, density_cube
from clearview.dynamics.fields import slice_points
from clearview.field import Axis
from clearview.mocks.truth import Truth

AXES = (Axis("R", 6.5, 9.7, 9), Axis("z", -1.6, 1.6, 11))


@pytest.fixture(scope="module")
def truth():
    found = Truth()
    found.center, found.radius = np.array([8.1, 0.0, 0.0]), 2.5
    return found


@pytest.mark.parametrize("hidden", [False, True])
def test_the_cube_is_gauss_law_everywhere(truth, hidden):
    source = truth
    if hidden:  # only its acceleration is known

        class Source:
            center, radius = truth.center, truth.radius
            acceleration = staticmethod(truth.acceleration)

        source = Source()
    made = cut(density_cube(source, BaryonModel()), AXES, {"phi": 5.0})
    exact = dark_matter_field(truth, AXES, {"phi": 5.0})
    both = np.isfinite(made.density.values) & np.isfinite(exact.density.values)
    assert both.sum() > 30
    assert not (np.isfinite(made.density.values) & ~np.isfinite(exact.density.values)).any()
    for name in ("density", "baryons", "dark_matter"):
        apart = (made[name] - exact[name]).values[both] / exact.density.values[both]
        assert np.abs(apart).max() < 0.02
        assert made[name].attrs["units"] == "Msun pc-3"


def test_a_ball_is_needed_into_which_the_kernel_fits(truth):
    with pytest.raises(ValueError, match="Expected a source with a ball, or a radius"):
        density_cube(Truth())
    with pytest.raises(ValueError, match="got none; the kernel reaches"):
        density_cube(Truth(), radius=0.8)
    with pytest.raises(ValueError, match="got one on R, z; cut a cube"):
        cut(dark_matter_field(truth, AXES, {"phi": 0.0}), AXES, {"phi": 0.0})


def test_the_sky_is_a_slice_too():
    toward = slice_points((Axis("l", 89, 91, 1, "deg"), Axis("b", -1, 1, 1, "deg")), {"distance": 2.0})
    sun = slice_points((Axis("l", -1, 1, 1, "deg"), Axis("b", -1, 1, 1, "deg")), {"distance": 1e-9})
    step = (toward - sun)[0, 0]
    np.testing.assert_allclose(step, [0, -2, 0], atol=0.01)  # the disc turns towards l = 90 deg, here -y
    with pytest.raises(ValueError, match="Expected coordinates among l, b, distance, got 'z'"):
        slice_points((Axis("l", -1, 1, 1, "deg"), Axis("b", -1, 1, 1, "deg")), {"z": 1.0})
