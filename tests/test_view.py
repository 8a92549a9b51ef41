"""What the canvas is sent."""

import base64
import threading

import holoviews as hv
import numpy as np
import pytest
import xarray as xr

from clearview.field import Axis, Quantity, make_field
from clearview.figures import arrows, marker, profile, slice_image
from clearview.panels.view import RasterView, frame_of


def image(values, **kwargs):
    axes = (Axis("x", 0, 2, 2), Axis("y", 0, 3, 3))
    return slice_image(make_field(axes, {"a": Quantity(values, "km2 s-2", "Φ")})["a"], **kwargs)


def codes(frame) -> np.ndarray:
    return np.frombuffer(frame["codes"], "<u2").reshape(frame["h"], frame["w"])


def test_codes_run_over_the_limits_bottom_row_first_and_nan_is_zero():
    values = np.array([[0.0, 1, 2], [3, np.nan, 9]])
    frame = frame_of(image(values, limits=(0, 3)))
    share = (codes(frame).astype(float) - 1) / 65534
    np.testing.assert_allclose(share[:, 0], [0, 1 / 3, 2 / 3], atol=2e-5)
    assert share[0, 1] == share[2, 1] == 1  # 9 is beyond the scale
    assert codes(frame)[1, 1] == 0
    assert frame["range"] == [0, 2, 0, 3]
    assert frame["equal"]
    assert frame["z"] == {"name": "Φ", "unit": "km² s⁻²", "label": "Φ [km² s⁻²]"}


def test_log_codes_leave_out_what_is_not_positive():
    values = np.array([[0.0, 1, 10], [100, -1, np.nan]])
    frame = frame_of(image(values, scale="log", limits=(1, 100)))
    np.testing.assert_array_equal(codes(frame), [[0, 65535], [1, 0], [32768, 0]])
    assert frame["log"]


def test_a_map_without_any_value_is_all_transparent():
    assert not codes(frame_of(image(np.full((2, 3), np.nan)))).any()


def test_vector_layers():
    values = np.ones((2, 3))
    field = xr.DataArray(values, {"x": [0.5, 1.5], "y": [0.5, 1.5, 2.5]}, ["x", "y"], "a_x")
    path = hv.Path([[(0, 0), (1, 1)], [(1, 0), (0, 1)]], ["x", "y"])
    contours = hv.Contours([{"x": [0, 1], "y": [0, 1], "level": 1}], ["x", "y"], "level")
    overlay = hv.Overlay([image(values), arrows(field, 0 * field, every=1), *marker(1, 2), path, contours])
    layers = {k["kind"]: k for k in frame_of(overlay)["layers"]}
    x, y, dx, dy = np.frombuffer(layers["arrows"]["xy"], "<f4").reshape(-1, 4)[0]
    assert (x + dx / 2, y, dy) == pytest.approx((0.5, 0.5, 0))
    assert np.frombuffer(layers["points"]["xy"], "<f4").tolist() == [1, 2]
    assert layers["text"]["text"] == "Sun"
    paths = [k for k in frame_of(overlay)["layers"] if k["kind"] == "path"]
    assert np.frombuffer(paths[0]["xy"], "<f4").reshape(-1, 2).shape == (6, 2)
    assert len(paths) == 2
    with pytest.raises(TypeError, match="got Bars; draw it as one of these"):
        frame_of(hv.Overlay([image(values), hv.Bars([(1, 2)], "x", "y")]))


def test_a_plot_without_a_picture_has_a_margin():
    curve = profile(xr.DataArray([1.0, 3.0], {"x": [0.0, 4.0]}, ["x"], "y"))
    frame = frame_of(curve)
    assert "codes" not in frame
    assert frame["range"] == pytest.approx([0, 4, 0.88, 3.12])
    assert frame_of(hv.Curve([], "x", "y"))["range"] == pytest.approx([0, 1, -0.06, 1.06])


def test_show_keeps_home_while_zoomed():
    view = RasterView(100)
    view.show(image(np.ones((2, 3))), tag=1.5, n=7)
    assert view.frame["home"] == [0, 2, 0, 3]
    assert view.frame["data"] == {"seq": 1, "tag": "1.5", "n": 7}
    view.range = [0, 1, 0, 1]
    view.show(image(np.ones((2, 3))))
    assert view.frame["home"] == [0, 2, 0, 3]
    view.clear("nothing")
    assert (view.frame, view.message) == ({}, "nothing")
    view.close()


def test_show_waits_for_a_browser_that_answers_and_forgets_one_that_left():
    view = RasterView(100)
    view.show(image(np.ones((2, 3))))
    view._on_message(view, {"drawn": 1}, [])
    view.show(image(np.ones((2, 3))))  # answered: at once
    shown = threading.Thread(target=view.show, args=(image(np.ones((2, 3))),))
    shown.start()
    view._on_message(view, {"drawn": 2}, [])
    shown.join(10)
    assert view.frame["data"]["seq"] == 3
    view.show(image(np.ones((2, 3))))  # not answered: waits its second, then never again
    assert not view._answers
    view.close()


@pytest.mark.parametrize("scale", ["linear", "log", "diverging"])
def test_the_bundle_carries_a_picture(scale):
    view = RasterView(100)
    view.show(hv.Overlay([image(np.array([[0.0, 1, 2], [3, np.nan, 9]]), scale=scale), *marker(1, 2)]))
    data = view._repr_mimebundle_()
    data = data[0] if isinstance(data, tuple) else data
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in data
    view.show(profile(xr.DataArray([1.0, 3.0], {"x": [0.0, 4.0]}, ["x"], "y")))
    assert view.png().startswith(b"\x89PNG")
    view.close()
