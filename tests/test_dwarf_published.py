"""Published profiles: what ships is what the papers state, and what is given has to make sense."""

import numpy as np
import pytest

from clearview.dwarfs import Published, published_of
from clearview.dwarfs.published import PUBLISHED


def test_draco_is_as_the_papers_state_it():
    found = {one.name: one for one in published_of("Draco")}
    r, rho, low, high = (float(v[0]) for v in found["Hayashi et al. 2020"].values("rho"))
    assert (r, rho, low, high) == pytest.approx((0.15, 2.35e8, 1.72e8, 3.63e8))
    assert found["Hayashi et al. 2020"].values("M") is None
    r, rho, low, high = (float(v[0]) for v in found["Read et al. 2018"].values("rho"))
    assert (r, rho, low, high) == pytest.approx((0.15, 2.4e8, 1.8e8, 2.9e8))
    assert found["Yang et al. 2025 (DESI)"].slope == (-0.71, -1.05, -0.36)
    assert found["Yang et al. 2025 (DESI)"].values("rho") is None


def test_each_has_a_source_and_says_where_it_was_taken_from():
    for published in PUBLISHED.values():
        for one in published:
            assert "arXiv:" in one.source
            assert "from the abstract" in one.note or "second hand" in one.note


def test_without_errors_the_ends_are_the_values():
    one = Published("mine", [0.1, 0.2], M=[1e6, 2e6], source="me")
    np.testing.assert_array_equal(one.values("M"), [[0.1, 0.2], [1e6, 2e6], [1e6, 2e6], [1e6, 2e6]])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"r": 0.15}, "Expected rho, M or a slope of mine, got none"),
        ({"r": [0.2, 0.1], "rho": [1e8, 1e8]}, "radii of mine that rise"),
        ({"r": -0.1, "rho": 1e8}, "r of mine as numbers above 0"),
        ({"r": 0.1, "rho": np.nan}, "rho of mine as numbers above 0"),
        ({"r": 0.1, "rho": "much"}, "rho of mine as numbers above 0"),
        ({"r": 0.1, "rho": [1e8, 2e8]}, "Expected rho of mine beside rho at each r"),
        ({"rho": 1e8}, "Expected rho of mine beside rho at each r"),
        ({"r": 0.1, "rho_low": 1e8}, "Expected rho_low of mine beside rho at each r"),
        ({"r": 0.1, "rho": 1e8, "rho_low": 9e7}, "give both ends"),
        ({"r": 0.1, "rho": 1e8, "rho_low": 2e7, "rho_high": 3e7}, "give both ends, no errors"),
        ({"slope": -1.0}, r"slope of mine as \(middle, low, high\)"),
    ],
)
def test_what_makes_no_sense_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Published("mine", **given)


def test_only_galaxies_that_are_there():
    with pytest.raises(ValueError, match="Expected a galaxy among Draco, Sculptor"):
        published_of("Andromeda")
    with pytest.raises(TypeError, match="name as text"):
        Published(3, 0.1, 1e8)
