"""The narrow waist keeps names, units, shapes and spreads."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import clearview
from clearview.checks import ABOVE_0, number, triple
from clearview.field import Axis, Quantity, grid, make_field, summarise

AXES = (Axis("x", 0, 4, 4), Axis("z", -1, 1, 2, label="height"))


def test_axis_values_are_cell_centres():
    np.testing.assert_allclose(AXES[0].values, [0.5, 1.5, 2.5, 3.5])


def test_grid_orders_coordinates():
    points = grid(AXES, {"y": 7.0}, ("x", "y", "z"))
    assert points.shape == (4, 2, 3)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[2, 1], [2.5, 7.0, 0.5])
    with pytest.raises(ValueError, match="got none for y"):
        grid(AXES, {}, ("x", "y", "z"))


def test_field_carries_units_and_provenance(tmp_path):
    field = make_field(AXES, {"a": Quantity(np.ones((4, 2)), "km2 s-2 kpc-1", "|a|")}, {"source": "test"})
    assert field.a.dims == ("x", "z")
    assert field.z.attrs == {"units": "kpc", "long_name": "height"}
    assert field.a.attrs == {"units": "km2 s-2 kpc-1", "long_name": "|a|"}
    assert field.attrs == {"source": "test", "clearview_version": clearview.__version__}
    field.to_netcdf(tmp_path / "field.nc", engine="h5netcdf")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "field.nc", engine="h5netcdf"), field)
    with pytest.raises(ValueError, match=r"Expected a of shape \(4, 2\), got \(4,\)"):
        make_field(AXES, {"a": Quantity(np.ones(4), "", "")})


def test_summary_of_members():
    values = np.stack([np.full((4, 2), 1.0), np.full((4, 2), 3.0)])
    field = summarise(make_field(AXES, {"a": Quantity(values, "km/s", "a")}, members=2))
    np.testing.assert_allclose(field.a, 2.0)
    np.testing.assert_allclose(field.a_std, np.sqrt(2.0))
    assert field.a_std.attrs["units"] == "km/s"
    with pytest.raises(ValueError, match="member axis"):
        summarise(field)


def test_numbers_of_any_library_are_numbers():
    for one in (4, 4.0, np.float32(4), np.int64(4), np.array(4.0), jnp.float32(4), xr.DataArray(4.0)):
        assert number("radius", one, ABOVE_0) == 4
        assert type(number("radius", one)) in (int, float)
        assert triple("centre", np.array([4, 0, 0], np.float32)) == (4.0, 0.0, 0.0)
    for wrong in (np.array([4.0]), "4", True, np.bool_(True), np.array(True), np.nan, jnp.float32(np.inf), None):
        with pytest.raises(ValueError, match=r"^Expected radius as a number above 0, got "):
            number("radius", wrong, ABOVE_0)
