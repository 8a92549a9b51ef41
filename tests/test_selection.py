"""Stars in polygons, the shared selection, and outlines that make it."""

import json

import numpy as np
import pytest
from fakes import sky_stars
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path

from clearview.panels.compare import Window
from clearview.panels.outlines import Outlines, SelectionBar
from clearview.panels.selection import BANDS, Selection, inside
from clearview.panels.view import RasterView

SQUARE = [0, 0, 4, 0, 4, 4, 0, 4]


def even_odd(x, y, polygon):
    """Brute force over stars and edges, in whole numbers exact."""
    xy = np.reshape(polygon, (-1, 2)).astype(float)
    odd = np.zeros(len(x), bool)
    for (x0, y0), (x1, y1) in zip(xy, np.roll(xy, -1, 0), strict=True):
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        odd ^= (y0 <= y) & (y < y1) & ((x - x0) * (y1 - y0) < (x1 - x0) * (y - y0))
    return odd


# ---- in a polygon


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=40))
def test_any_polygon_on_a_lattice(polygon):
    """Stars on vertices, on edges and off them; edges that cross, touch, repeat and run level."""
    x, y = (v.ravel() for v in np.meshgrid(np.arange(-10, 10.5, 0.5), np.arange(-10, 10.5, 0.5)))
    for dtype in (np.float32, np.float64):
        assert np.array_equal(inside(x.astype(dtype), y.astype(dtype), polygon), even_odd(x, y, polygon))


@pytest.mark.parametrize("shape", ["lasso", "scribble", "sliver", "far"])
def test_as_by_brute_force_and_by_matplotlib(rng, shape):
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    wave = 1 + 0.4 * np.sin(7 * angle) + 0.05 * np.sin(90 * angle)
    polygon = np.stack([wave * np.cos(angle), wave * np.sin(angle)], -1)
    x, y = rng.normal(size=(2, 40_000)).astype(np.float32)
    if shape == "scribble":
        polygon = rng.normal(size=(60, 2))
    elif shape == "sliver":
        polygon[:, 1] *= 1e-4
        y *= np.float32(1e-4)
    elif shape == "far":
        polygon[:, 0] += 1000
        x += np.float32(1000)
    found = inside(x, y, polygon)
    assert np.array_equal(found, even_odd(x.astype(float), y.astype(float), polygon.ravel()))
    assert 1000 < found.sum() < 39_000
    if shape != "scribble":  # matplotlib has another rule where edges cross
        closed = Path(np.concatenate([polygon, polygon[:1]]))
        assert np.array_equal(found, closed.contains_points(np.stack([x, y], -1)))


def test_neighbours_share_no_star_and_leave_none(rng):
    """Two halves of a square: a star on the common edge is in exactly one, and outer edges are half open."""
    x, y = (v.ravel().astype(np.float32) for v in np.meshgrid(np.arange(0, 4.1, 0.25), np.arange(0, 4.1, 0.25)))
    below, above = inside(x, y, [0, 0, 4, 0, 4, 4]), inside(x, y, [0, 0, 4, 4, 0, 4])
    assert not (below & above).any()
    assert np.array_equal(below | above, inside(x, y, SQUARE))
    assert np.array_equal(inside(x, y, SQUARE), (x < 4) & (y < 4))


def test_neither_order_nor_sense_nor_start_of_the_vertices_matters(rng):
    polygon, (x, y) = rng.integers(-4, 5, (9, 2)), rng.integers(-5, 6, (2, 500)).astype(np.float32)
    found = inside(x, y, polygon)
    assert np.array_equal(found, inside(x, y, polygon[::-1]))
    assert np.array_equal(found, inside(x, y, np.roll(polygon, 4, 0).ravel()))


def test_no_value_is_never_inside():
    bad = np.float32([np.nan, np.inf, -np.inf, 1, 1, 1])
    assert not inside(bad, bad[::-1], SQUARE).any()
    assert inside(np.float32([1]), np.float32([1]), SQUARE).all()


def test_outlines_without_area_hold_nothing():
    x = np.float32([0, 1, 2])
    for flat in ([0, 1, 1, 1, 2, 1], [1, 0, 1, 1, 1, 2], [1, 1] * 5):
        assert not inside(x, x, flat).any()
    assert inside(x, x, [0, 0, 1, 1e-320, 2, 0]).tolist() == [True, False, False]  # hardly any
    top = np.float32([np.nextafter(np.float32(BANDS), np.float32(0))])
    assert inside(top, top, [0, 0, BANDS, 0, BANDS, BANDS, 0, BANDS]).all()  # in the last band


@pytest.mark.parametrize("polygon", [[], [1, 2, 3, 4], [0, 0, 1, 1, 2], [0, 0, 1, np.nan, 2, 0]])
def test_a_polygon_needs_three_vertices(polygon):
    with pytest.raises(ValueError, match="Expected x, y of at least three finite vertices"):
        inside(np.zeros(2), np.zeros(2), polygon)


def test_columns_of_one_length():
    with pytest.raises(ValueError, match="Expected two columns of one length"):
        inside(np.zeros(2), np.zeros(3), SQUARE)


# ---- the selection


@pytest.fixture
def catalog():
    return sky_stars()


@pytest.fixture
def selection(catalog):
    return Selection(catalog)


PM, SKY = ("pm_phi1", "pm_phi2"), ("phi1", "phi2")
STREAM, WIDE = [-9, -2, -7, -2, -7, 1, -9, 1], [-55, -0.3, -45, -0.3, -45, 0.3, -55, 0.3]


def test_outlines_replace_add_and_subtract(catalog, selection):
    pm, sky = (even_odd(*(catalog[k] for k in names), xy) for names, xy in ((PM, STREAM), (SKY, WIDE)))
    selection.choose(PM, STREAM)
    assert np.array_equal(selection.mask, pm)
    selection.choose(SKY, WIDE, "add")
    assert np.array_equal(selection.mask, pm | sky)
    selection.choose(PM, STREAM, "subtract")
    assert np.array_equal(selection.mask, sky & ~pm)
    selection.invert()
    assert np.array_equal(selection.mask, ~(sky & ~pm))
    assert selection.number == selection.mask.sum()
    selection.choose(SKY, WIDE)
    assert np.array_equal(selection.mask, sky)
    assert len(selection.steps) == 1
    selection.clear()
    assert selection.mask is None
    assert selection.number == 0
    selection.choose(PM, STREAM, "subtract")  # from nothing
    assert selection.number == 0
    selection.clear()
    selection.invert()
    assert selection.number == len(catalog)


def test_windows_are_part_of_the_choice(catalog, selection):
    selection.choose(PM, STREAM, windows=[Window("phi2", 0.0, 0.5)])
    inside_ = even_odd(*(catalog[k] for k in PM), STREAM) & (np.abs(catalog["phi2"]) <= 0.5)
    assert np.array_equal(selection.mask, inside_)
    assert selection.steps[0]["windows"] == {"phi2": [-0.5, 0.5]}


def test_the_catalogue_of_the_selected_stars_tells_its_history(catalog, selection):
    selection.choose(PM, STREAM, kind="box")
    selection.choose(SKY, WIDE, "subtract")
    chosen = selection.catalog
    assert np.array_equal(chosen["phi1"], catalog["phi1"][selection.mask])
    assert str(chosen.report[-1]).startswith("box in pm_phi1, pm_phi2, then without lasso in phi1, phi2: ")
    assert (chosen.report[-1].before, chosen.report[-1].after) == (len(catalog), selection.number)
    steps = chosen.meta["selection"]
    assert [(k["columns"], k["kind"], k["op"]) for k in steps] == [
        (list(PM), "box", "replace"), (list(SKY), "lasso", "subtract"),
    ]  # fmt: skip
    assert steps[0]["xy"] == STREAM
    json.dumps(steps)
    second = Selection(chosen)
    second.choose(SKY, WIDE)
    with pytest.raises(ValueError, match="Expected selected stars, got none"):
        _ = second.catalog  # those were taken away above
    second.invert()
    steps = second.catalog.meta["selection"]
    assert [k["op"] for k in steps] == ["replace", "subtract", "keep", "replace", "invert"]
    again = Selection(catalog)
    again.repeat(steps)
    assert np.array_equal(again.catalog["phi1"], second.catalog["phi1"])
    assert again.catalog.meta["selection"] == steps


def test_the_fewer_of_the_selected_and_the_others(catalog, selection):
    rows, others = selection.fewer()
    assert len(rows) == 0
    assert not others
    selection.choose(PM, STREAM)
    rows, others = selection.fewer()
    assert not others
    assert np.array_equal(rows, np.flatnonzero(selection.mask))
    selection.invert()
    again, others = selection.fewer()
    assert others
    assert np.array_equal(again, rows)


def test_a_selection_refuses_what_it_cannot_do(selection):
    with pytest.raises(ValueError, match="Expected selected stars, got none; draw a box"):
        _ = selection.catalog
    with pytest.raises(ValueError, match="Expected an op among replace, add, subtract, got 'xor'"):
        selection.choose(PM, STREAM, "xor")
    with pytest.raises(ValueError, match=r"Expected columns among phi1, .*, got parallax"):
        selection.choose(("parallax", "phi1"), STREAM)
    assert selection.mask is None
    assert Selection().mask is None


def test_keep_goes_on_with_the_selected_stars_until_they_are_restored(catalog, selection):
    with pytest.raises(ValueError, match="Expected selected stars"):
        selection.keep()
    selection.choose(PM, STREAM)
    first = selection.number
    selection.keep()
    assert len(selection.source) == len(selection.catalog) == first
    selection.choose(SKY, WIDE)
    second = selection.number
    assert 0 < second < first
    selection.keep()
    assert len(selection.catalog) == second
    assert [report.after for report in selection.catalog.report] == [first, second]
    selection.restore()
    assert selection.source is catalog
    selection.restore()  # nothing to bring back
    assert selection.source is catalog


def test_another_catalogue_begins_anew(selection):
    selection.choose(PM, STREAM)
    other = sky_stars(50, seed=1)
    selection.reset(other)
    assert selection.mask is None
    selection.choose(SKY, WIDE)
    assert selection.mask.shape == (50,)


# ---- outlines in views


@pytest.fixture
def hands(selection):
    """Two views of one selection, the calls that followed, and the errors told."""
    views, heard, told = [RasterView(64), RasterView(64)], [], []
    outlines = Outlines(selection, lambda: heard.append(selection.number), told.append)
    for view, names in zip(views, (PM, SKY), strict=True):
        outlines.add(view, lambda names=names: (names, ()))
    yield *views, heard, told
    outlines.close()
    for view in views:
        view.close()


def outline(xy, kind="lasso", **more):
    return {"kind": kind, "xy": xy, **more}


def test_an_outline_in_a_view_selects_and_takes_the_other_away(selection, hands):
    pm, sky, heard, _ = hands
    assert pm.tools == ["box", "lasso"]
    pm.selection = outline(STREAM)
    first = selection.number
    assert first > 100
    sky.selection = outline(WIDE, op="add")
    assert pm.selection == {}
    assert sky.selection
    assert selection.number > first
    selection.invert()
    assert sky.selection == {}
    sky.selection = outline(WIDE)
    sky.selection = {}  # Escape
    assert selection.mask is None
    assert heard[0] == first
    assert heard[-1] == 0


def test_a_box_that_grows_under_the_hand_is_one_step(selection, hands):
    pm, sky, _, _ = hands
    sky.selection = outline(WIDE)
    whole = selection.mask
    for right in (-8, -3, -7):  # it shrinks again in the end
        pm.selection = outline([-9, -2, right, -2, right, 1, -9, 1], "box", op="subtract")
    assert np.array_equal(selection.mask, whole & ~even_odd(*(selection.columns[k] for k in PM), STREAM))
    assert len(selection.steps) == 2
    pm.selection = outline([2, 2, 4, 2, 4, 3, 2, 3], "box", op="subtract")  # begun elsewhere
    assert len(selection.steps) == 3


def test_an_outline_that_is_refused_is_told_and_changes_nothing(selection):
    told, view, names = [], RasterView(64), [PM]
    outlines = Outlines(selection, lambda: None, told.append)
    outlines.add(view, lambda: (names[0], ()))
    view.selection = outline(STREAM)
    before, names[0] = selection.mask, ("parallax", "phi1")
    view.selection = outline(WIDE)
    assert "got parallax" in str(told[-1])
    assert selection.mask is before
    names[0] = SKY
    view.selection = outline(STREAM)
    assert told[-1] is None
    outlines.close()
    view.close()


def test_the_bar_says_how_many_and_has_buttons(catalog, selection):
    bar = SelectionBar(selection)
    assert bar.words == "20,000 stars; draw a box or a lasso to select some"
    assert bar.clear.disabled
    assert bar.keep.disabled
    selection.choose(PM, STREAM)
    n = selection.number
    assert bar.words == f"{n:,} of 20,000 stars selected"
    bar.invert.click()
    assert bar.words == f"{20_000 - n:,} of 20,000 stars selected"
    bar.invert.click()
    bar.keep.click()
    assert bar.words == f"{n:,} kept stars (of 20,000); draw a box or a lasso to select some"
    assert bar.all.layout.display == ""
    bar.all.click()
    assert selection.source is catalog
    assert bar.all.layout.display == "none"
    selection.choose(PM, STREAM)
    bar.clear.click()
    assert selection.mask is None
    bar.close()
    before = bar.words
    selection.choose(PM, STREAM)
    assert bar.words != before  # asked, it knows; but it is not told any more
    assert str(n) not in bar._text.value
