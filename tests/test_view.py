"""The widget without a browser."""

import base64
import threading
import time

import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from fakes import FakeFit, stars

from clearview.field import Axis, Quantity, make_field
from clearview.figures import marker, profile, slice_image
from clearview.panels import AccelerationPanel
from clearview.panels.view import RasterView


def image(values, **kwargs):
    axes = (Axis("x", 0, 2, 2), Axis("y", 0, 3, 3))
    return slice_image(make_field(axes, {"a": Quantity(values, "km2 s-2", "Φ")})["a"], **kwargs)


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
    view.range = [0, 1, 0, 1]
    view.show(image(np.ones((2, 3))))  # home is known still
    assert view.frame["home"] == [0, 2, 0, 3]
    view.close()


@pytest.fixture
def shown():
    """A view with one picture, and ``later()``, which shows the next one in a thread that is returned."""
    view = RasterView(100)
    view.show(image(np.ones((2, 3))))

    def later() -> threading.Thread:
        thread = threading.Thread(target=view.show, args=(image(np.ones((2, 3))),), name="clearview-test")
        thread.start()
        return thread

    yield view, later
    view.close()


def drawn(view, seq: int) -> None:
    view._on_message(view, {"drawn": seq}, [])


def test_a_picture_waits_until_a_browser_that_answers_has_drawn_the_last(shown):
    view, later = shown
    later().join(10)  # nobody has answered yet: at once
    drawn(view, 1)  # an answer that comes late
    waiting = later()
    waiting.join(0.2)
    assert waiting.is_alive()
    assert view.frame["data"]["seq"] == 2
    drawn(view, 2)
    waiting.join(10)
    assert view.frame["data"]["seq"] == 3


def test_of_two_threads_that_wait_the_one_that_asked_last_is_shown(shown):
    view, later = shown
    later().join(10)
    drawn(view, 1)
    first = later()
    first.join(0.2)
    second = threading.Thread(target=view.show, args=(image(np.full((2, 3), 7.0)), "last"), name="clearview-test")
    second.start()
    second.join(0.2)
    assert first.is_alive()
    assert second.is_alive()
    drawn(view, 2)
    first.join(10)
    second.join(10)
    assert view.frame["data"]["tag"] == "last"
    assert view.frame["data"]["seq"] == 3  # and the other one was not sent at all


def test_views_may_answer_twice_late_or_never(shown):
    view, later = shown
    for _ in range(2):  # two pages
        drawn(view, 1)
    later().join(10)
    assert view.frame["data"]["seq"] == 2
    drawn(view, 1)  # the slower of the two: of no use any more
    waiting = later()
    waiting.join(0.2)
    assert waiting.is_alive()
    waiting.join(10)  # the page is gone: waited for a second, once
    assert view.frame["data"]["seq"] == 3
    assert not view._answers
    later().join(10)
    drawn(view, 4)  # loaded again
    assert view._answers


def clearview_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("clearview-")]


@pytest.mark.parametrize("when", ["idle", "drawing", "waiting for the browser"])
def test_close_ends_all_threads(when, monkeypatch):
    assert clearview_threads() == []
    catalog = stars(1000)
    panel = AccelerationPanel(catalog, FakeFit(catalog.digest()), size=64)
    assert panel.idle.wait(60)
    if when == "drawing":
        begun = threading.Event()
        draw = panel.draw

        def slow(*args):
            begun.set()
            time.sleep(0.3)
            return draw(*args)

        monkeypatch.setattr(panel, "draw", slow)
        panel.set(z=0.5)
        assert begun.wait(60)
    elif when != "idle":
        drawn(panel.view, panel.view.frame["data"]["seq"])
        panel.set(z=0.5)  # its coarse picture is never answered, so the full one waits
        while panel.view.frame["data"]["detail"] == 1:
            time.sleep(0.001)
    panel.close()
    assert clearview_threads() == []
    assert panel.view.comm is None
    panel.close()  # once more does no harm


def test_close_lets_go_of_who_waits(shown):
    view, later = shown
    drawn(view, 1)
    waiting = [later(), later()]
    view.close()
    for thread in waiting:
        thread.join(0.5)
        assert not thread.is_alive()


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


def test_selections_and_cursors_from_python_are_whole_or_refused():
    view = RasterView(100)
    view.selection = {"kind": "lasso", "xy": np.array([[0, 0], [1, 0], [1, 2]])}
    assert view.selection == {"kind": "lasso", "xy": [0, 0, 1, 0, 1, 2], "op": "replace"}
    wrong_ones = [
        {"kind": "box", "xy": [0, 1, 2, 3]}, {"kind": "ring", "xy": [0] * 6}, {"kind": "box", "xy": [np.nan] * 6},
        {"kind": "box", "xy": [0] * 7}, {"kind": "box"}, {"kind": "box", "xy": [0] * 6, "op": "xor"},
    ]  # fmt: skip
    for wrong in wrong_ones:
        with pytest.raises(ValueError, match=r"three corners or more, got .*; give those, or \{\} for no selection"):
            view.selection = wrong
    view.selection = {}
    view.cursor = (8.1, 0)
    assert view.cursor == [8.1, 0]
    for wrong in ([1], [1, np.inf]):
        with pytest.raises(ValueError, match=r"Expected a cursor \[x, y\], got"):
            view.cursor = wrong
    view.close()


def test_pictures_are_packed_while_the_browser_answers_late(shown):
    view = shown[0]
    fine = hv.Image(np.random.default_rng(0).normal(size=(200, 200)).cumsum(0))

    def answer(seconds: float) -> bool:
        view.show(fine)
        view._sent -= seconds
        drawn(view, view._seq)
        return "packed" in view.frame

    drawn(view, 1)  # the page took its time to open
    assert not any(answer(0) for _ in range(3))
    assert [answer(9) for _ in range(5)] == [False, True, True, True, True]
    assert view.png().startswith(b"\x89PNG")
    assert [answer(0) for _ in range(4)][-1] is False
    drawn(view, view._seq)  # a second page
    assert not view._slow


def test_over_a_slow_link_one_more_picture_is_under_way(shown):
    view, later = shown
    drawn(view, 1)
    while not view._slow:
        later().join(10)
        view._sent -= 9
        drawn(view, view._seq)
    seq = view._seq
    for _ in range(2):  # the second does not wait for the first
        waiting = later()
        waiting.join(10)
    assert view._seq == seq + 2
    waiting = later()
    waiting.join(0.2)
    assert waiting.is_alive()
    drawn(view, seq + 1)
    waiting.join(10)
    assert view._seq == seq + 3


def test_a_fine_slice_is_given_up_for_the_next_move(monkeypatch):
    catalog = stars(1000)
    panel = AccelerationPanel(catalog, FakeFit(catalog.digest()), size=64)
    assert panel.idle.wait(60)
    field, seen = panel.field, []

    def moved(source, axes, fixed, *args):
        seen.append((axes[1].size, fixed["z"]))
        if seen[-1] == (64, 0.5) and axes[0].size > 64:
            panel.set(z=1.0)
        return field(source, axes, fixed, *args)

    monkeypatch.setattr(panel, "field", moved)
    panel.set(z=0.5)
    for _ in range(300):
        if panel.idle.wait(0.1) and seen[-1][1] == 1.0:
            break
    panel.close()
    assert seen == [(64, 0.5), (64, 0.5), *[(64, 1.0)] * 5]  # coarse, one strip; coarse, four strips
