"""The canvas in a bare page, without a kernel: themes, labels, reversed axes, hover, answers."""

import re

import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from page import mount, plain
from playwright.sync_api import expect

from clearview.field import Axis, Quantity, make_field
from clearview.figures import Named, arrows, contours, frame_of, marker, path, points, profile, slice_image, text
from clearview.panels.view import RasterView

pytestmark = pytest.mark.browser
ALPHA = "(c, [u, v]) => c.getContext('2d').getImageData(u * c.width, v * c.height, 1, 1).data[3]"
PIXEL = "(c, [u, v]) => [...c.getContext('2d').getImageData(u * c.width, v * c.height, 1, 1).data]"


def picture_field(values, *axes, label="Φ"):
    named = [Axis(n, low, high, size, unit) for (n, low, high, unit), size in zip(axes, np.shape(values), strict=True)]
    return make_field(named, {"a": Quantity(values, "km2 s-2", label)})["a"]


def picture(values, x=("x", 0, 2, "kpc"), y=("y", 0, 3, "kpc"), label="Φ", **kwargs) -> hv.Image:
    return slice_image(picture_field(values, x, y, label=label), **kwargs)


def shown(page, element, size: int = 300) -> RasterView:
    view = RasterView(size)
    view.show(element)
    mount(page, view)
    return view


def read(page, u: float, v: float) -> str:
    """What the line below the picture says of a place, in shares of the picture from its upper left."""
    box = page.locator("canvas").first.bounding_box()
    page.mouse.move(box["x"] + u * box["width"] - 2, box["y"] + v * box["height"])
    page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])
    return page.locator(".cv-hover").first.inner_text()


def test_no_value_is_transparent_and_said_so(page):
    shown(page, picture([[0.0, 1, np.nan], [3, np.inf, 9]], limits=(0, 9)))
    canvas = page.locator("canvas")
    assert [canvas.evaluate(ALPHA, at) for at in ([0.25, 0.2], [0.75, 0.5], [0.25, 0.8])] == [0, 0, 255]
    assert "Φ ≤ 0 km² s⁻²" in read(page, 0.25, 0.8)
    assert read(page, 0.25, 0.2).endswith("no value")
    assert read(page, 0.75, 0.5).endswith("no value")


def test_no_stars_are_none_and_not_no_value(page):
    shown(page, picture(np.array([[0, 1], [20, 300]], np.uint32), scale="log", label="stars per cell"))
    assert "stars per cell = 0" in read(page, 0.25, 0.75)
    assert "stars per cell ≤ 1 " in read(page, 0.25, 0.25)
    assert "stars per cell = 20 " in read(page, 0.75, 0.75)
    assert page.locator("canvas").evaluate(ALPHA, [0.25, 0.75]) == 0


def counts(values, label: str, cmap: str) -> hv.Image:
    return picture(np.array(values, np.uint32), scale="log", label=label, limits=(1, 20), cmap=cmap)


def test_a_picture_lies_under_another_and_both_tell_their_values(page):
    grey = counts([[0, 12], [12, 15]], "stars per cell", "Greys")
    shown(page, grey * counts([[0, 3], [0, 20]], "selected", "viridis"))
    canvas = page.locator("canvas")
    colour = {at: canvas.evaluate(PIXEL, at) for at in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.75))}
    assert colour[0.25, 0.25][1] > colour[0.25, 0.25][0] + 50  # 3 selected: coloured
    assert max(colour[0.75, 0.75][:3]) - min(colour[0.75, 0.75][:3]) < 10  # none: grey
    assert (colour[0.75, 0.75][3], colour[0.25, 0.75][3]) == (255, 0)
    assert read(page, 0.25, 0.25).endswith("stars per cell = 12 km² s⁻², selected = 3 km² s⁻²")
    assert read(page, 0.75, 0.75).endswith("stars per cell = 12 km² s⁻², selected = 0 km² s⁻²")
    expect(page.locator("svg")).to_contain_text("selected")  # the bar
    page.evaluate(
        "frame => model.put('frame', frame)", plain({**frame_of(grey), "home": [0, 2, 0, 3], "data": {"seq": 9}})
    )
    assert read(page, 0.25, 0.25).endswith(" kpc, stars per cell = 12 km² s⁻²")
    assert canvas.evaluate(PIXEL, [0.25, 0.25])[:3] != colour[0.25, 0.25][:3]


# ---- axes


SQUARE = np.arange(64.0).reshape(8, 8)
LABELLED = {
    "long words": picture(np.random.default_rng(0).normal(0, 6000, (8, 8)), label="a_φ: map − truth along the bar"),
    "large numbers": picture(np.ones((8, 8)), ("x", -123456, 123456, "pc"), ("y", -2.5e6, 2.5e6, "yr")),
    "tiny range": picture(1e5 + 1e-4 * SQUARE, ("t", 2460000.1, 2460000.3, "d"), ("y", 0, 1e-4, "kpc")),
    "wide": picture(SQUARE.astype(int), ("phi1", -100, 20, "deg"), ("phi2", -4, 4, "deg"), scale="log"),
    "narrow": picture(SQUARE, ("x", 7, 9, "kpc"), ("z", -40, 40, "kpc"), scale="diverging"),
    "title": picture(SQUARE, label="|a|").relabel("A title that is far too long " * 4),
    "curve": hv.Overlay([profile(picture_field(1e7 * np.arange(-4, 5), ("z", -4, 4, "kpc")), label="truth")]),
    "narrow curve": path([0, 1], [0, 40]).redim(x=Named("x", unit="kpc"), y=Named("y", unit="kpc")),
    "large curve": profile(picture_field(np.arange(9.0), ("t", 0, 500_000, "yr"))),
}  # fmt: skip
OVERLAPS = """async () => {
  await new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)));
  const box = document.querySelector('.cv-box').getBoundingClientRect();
  const texts = [...document.querySelectorAll('svg text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  const wrong = texts.filter(([, r]) => r.left < box.left - 1 || r.right > box.right + 1 ||
    r.top < box.top - 1 || r.bottom > box.bottom + 1);
  texts.forEach(([s, a], i) => texts.slice(0, i).forEach(([t, b]) => {
    const beside = a.left >= b.right - 1 || b.left >= a.right - 1;
    if (!beside && a.top < b.bottom - 3 && b.top < a.bottom - 3) wrong.push([s, t]); }));
  return wrong.map(String) }"""


@pytest.mark.parametrize("size", [300, 480, 600])
@pytest.mark.parametrize("name", LABELLED)
def test_labels_are_neither_cut_nor_on_top_of_each_other(page, name, size):
    page.set_content("<style>body { --jp-ui-font-family: DejaVu Sans Mono, monospace }</style>")  # wide letters
    shown(page, LABELLED[name], size)
    assert page.evaluate(OVERLAPS) == []
    words = page.locator("svg text").all_text_contents()
    assert not any("-" in w for w in words)  # a true minus
    for anchor in ("[text-anchor=middle]", "[text-anchor=end]", ":not([text-anchor])"):  # along x, y and the bar
        ticks = page.locator(f"svg text:not(.cv-label){anchor}").all_text_contents()
        assert len(ticks) == len(set(ticks)) > 1 or ("curve" in name and anchor.startswith(":"))


@pytest.mark.parametrize("ratio", [1, 2])
def test_the_canvas_has_the_pixels_of_the_screen(browser, ratio):
    page = browser.new_page(device_scale_factor=ratio)
    shown(page, picture(np.ones((2, 2)), y=("y", 0, 2, "kpc")))
    assert page.locator("canvas").evaluate("c => [c.width, c.height, c.clientWidth]") == [300 * ratio, 300 * ratio, 300]
    # a line of the frame is one pixel of CSS wide, and the same all along
    box = page.locator("canvas").bounding_box()
    assert box["x"] == round(box["x"])
    page.close()


def test_a_sky_axis_runs_to_the_left_for_the_eye_the_hand_and_the_keys(page):
    values = np.zeros((10, 10))
    values[0] = 9  # the lowest right ascension
    shown(page, hv.Overlay([picture(values, ("ra", 100, 110, "deg"), ("dec", 0, 10, "deg")), text(109, 5, "a")]))
    canvas = page.locator("canvas")
    left, right = (canvas.evaluate(PIXEL, [u, 0.9]) for u in (0.05, 0.95))
    assert right[0] > 200 > 100 > left[0]  # yellow at the right, violet at the left
    assert read(page, 0.05, 0.5).startswith("ra = 109.5 deg")
    ticks = page.locator("svg text", has_text=re.compile(r"^10[24]$"))
    assert [t.bounding_box()["x"] for t in ticks.all()] == sorted(
        (t.bounding_box()["x"] for t in ticks.all()), reverse=True
    )
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 150, steps=3)  # a tenth to the right: higher ra comes in
    page.mouse.up()
    page.wait_for_function("() => Math.abs(model.get('range')[0] - 101) < 0.01")
    canvas.press("ArrowRight")
    page.wait_for_function("() => Math.abs(model.get('range')[0] - 100) < 0.01")
    canvas.press("0")
    page.wait_for_function("() => model.get('range').length === 0")
    mouse = box["x"] + 30, box["y"] + 150  # at ra = 109, which stays under the mouse
    page.mouse.move(*mouse)
    page.mouse.wheel(0, -200)
    page.wait_for_function("() => model.get('range').length === 4")
    low, high = page.evaluate("() => model.get('range')")[:2]
    assert (high - 109) / (high - low) == pytest.approx(0.1, abs=0.01)
    assert high - low < 9


# ---- colours of the page


def test_a_page_without_a_theme_has_its_own_colours(page):
    page.set_content("<style>body { background: #fff; color: rgb(20, 30, 40) }</style>")
    shown(page, hv.Overlay([points([1, 2], [3, 5], label="a"), *marker(1, 3)]))
    assert page.locator("svg text").first.evaluate("t => getComputedStyle(t).fill") == "rgb(20, 30, 40)"
    assert page.locator(".cv-hover").evaluate("t => getComputedStyle(t).color") == "rgb(20, 30, 40)"
    assert words_colour(page) == (20, 30, 40)


def words_colour(page) -> tuple[int, ...]:
    """The colour of words on the canvas: the commonest opaque one that is no line's."""
    return tuple(
        page.locator("canvas").evaluate("""c => {
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, n = {};
      for (let i = 0; i < d.length; i += 4)
        if (d[i + 3] === 255) { const k = [d[i], d[i + 1], d[i + 2]]; n[k] = (n[k] || 0) + 1; }
      return Object.entries(n).map(([k, v]) => [k.split(',').map(Number), v])
        .filter(([k]) => Math.max(...k) - Math.min(...k) < 25).sort((a, b) => b[1] - a[1])[0][0] }""")
    )


def test_another_theme_redraws_words_and_keeps_no_value_apart(page):
    page.set_content("<style>body { background: #fff; --jp-content-font-color1: rgb(0, 0, 0) }</style>")
    shown(page, hv.Overlay([points([1, 2], [3, 5], label="a"), *marker(1, 3)]))
    assert words_colour(page) == (0, 0, 0)
    page.evaluate(
        "() => { document.body.style.cssText = 'background: #111; --jp-content-font-color1: rgb(250, 250, 250)' }"
    )
    expect(page.locator("svg text").first).to_have_css("fill", "rgb(250, 250, 250)")
    page.wait_for_timeout(300)
    assert words_colour(page) == (250, 250, 250)


# ---- views and answers


def test_two_views_show_the_same_and_answer_once(page):
    view = shown(page, picture(np.ones((2, 3))), 120)
    page.evaluate("() => window.show()")
    canvases = page.locator("canvas")
    expect(canvases).to_have_count(2)
    assert page.evaluate("() => model.sent") == [{"drawn": 1}]
    for i, tag in enumerate("abc"):
        view.show(picture(np.ones((2, 3)) * i), tag)
        page.evaluate("frame => model.put('frame', frame)", plain(view.frame))
        assert canvases.evaluate_all("c => c.map(k => k.dataset.tag)") == [tag, tag]
    assert page.evaluate("() => model.sent") == [{"drawn": n} for n in (1, 2, 3, 4)]
    page.evaluate("() => window.away()")  # the first is closed
    view.show(picture(np.ones((2, 3))), "d")
    page.evaluate("frame => model.put('frame', frame)", plain(view.frame))
    assert canvases.evaluate_all("c => c.map(k => k.dataset.tag)") == ["c", "d"]
    assert page.evaluate("() => model.sent.at(-1)") == {"drawn": 5}


def test_packed_pictures_are_the_same_and_never_come_after_newer_ones(page):
    n = np.linspace(-3, 3, 200)
    smooth = np.exp(-(n[:, None] ** 2) - (n - 1) ** 2)
    many = np.random.default_rng(0).poisson(3 * smooth).astype(np.uint32)
    square = ("x", 0, 2, "kpc"), ("y", 0, 2, "kpc")
    elements = [
        picture(np.where(smooth > 0.5, np.nan, smooth), *square), picture(smooth, *square) * picture(many, *square),
        picture(1 - smooth, *square), picture(many, *square),
    ]  # fmt: skip
    view, frames, drawn = RasterView(200), {}, {}
    for slow in (False, True):
        view._slow = slow
        for i, element in enumerate(elements):
            view.show(element)
            frames[slow, i] = plain(view.frame)
            assert (view.frame.get("packed", False), view.frame.get("under", {}).get("packed", False)) == (
                slow, slow and i == 1,
            )  # fmt: skip
    mount(page, view)
    canvas = page.locator("canvas")
    for key, frame in frames.items():
        page.evaluate("frame => model.put('frame', frame)", frame)
        expect(canvas).to_have_attribute("data-seq", str(frame["data"]["seq"]))
        drawn[key] = canvas.evaluate("c => c.toDataURL()")
    assert len({drawn[False, i] for i in range(4)}) == 4
    assert all(drawn[False, i] == drawn[True, i] for i in range(4))
    # at once, the last of them plain: it is there first, and the others must not follow
    page.evaluate(
        """frames => { model.sent.length = 0; window.seqs = [];
        const note = () => window.seqs.push(+document.querySelector('canvas').dataset.seq);
        new MutationObserver(note).observe(document.querySelector('canvas'), {attributeFilter: ['data-seq']});
        for (const frame of frames) model.put('frame', frame) }""",
        [frames[True, 0], frames[True, 1], frames[True, 2], frames[False, 3]],
    )
    page.wait_for_timeout(1000)
    assert page.evaluate("() => [model.sent, seqs]") == [[{"drawn": 4}], [4]]
    assert canvas.evaluate("c => c.toDataURL()") == drawn[False, 3]
    page.evaluate(
        "frames => { for (const frame of frames) model.put('frame', frame) }", [frames[True, k] for k in (0, 2)]
    )
    page.wait_for_function("() => model.sent.length === 2")  # only what is drawn is answered
    page.wait_for_timeout(500)
    assert page.evaluate("() => [model.sent, seqs]") == [[{"drawn": 4}, {"drawn": 7}], [4, 7]]
    page.evaluate("frame => { model.put('frame', frame); model.set('frame', {}) }", frames[True, 0])
    page.wait_for_timeout(500)
    assert page.evaluate("() => model.sent.length") == 2  # taken away


def test_every_kind_of_layer_is_drawn(page):
    field = picture_field(np.tile(np.arange(20.0), (20, 1)), ("x", 0, 20, "kpc"), ("y", 0, 20, "kpc"))
    layers = [
        contours(field, [5.0]),
        path([2, 9], [2, 9], "p"),
        points([5], [5]),
        text(5, 5, "words"),
        arrows(field, field),
    ]
    seen = set()
    for layer in (None, *layers):
        page.set_content("")
        shown(page, hv.Overlay([slice_image(field), *([] if layer is None else [layer])]))
        seen.add(page.locator("canvas").evaluate("c => c.toDataURL()"))
    assert len(seen) == 6


def test_a_band_is_faint_and_a_logarithmic_axis_pans_and_zooms_in_numbers(page):
    z = {"z": ("z", np.linspace(0, 4, 5), {"units": "kpc"})}
    field = xr.DataArray([1e3, 1e2, 0.0, 1.0, 0.1], z, ["z"], "density", {"units": "1/kpc3"})
    fit = profile(field, error=0.5 * field, label="fit", scale="log")
    shown(page, fit * profile(2 * field, label="truth", dashed=True, scale="log"))
    ticks = page.locator("svg text[text-anchor=end]").all_text_contents()
    assert {"0.1", "1", "10", "100", "1000"} <= set(ticks)
    assert page.locator("svg path[stroke-dasharray='7,4']").count() == 1
    canvas = page.locator("canvas")
    low, high = np.log10(page.evaluate("() => model.get('frame').range")[2:])

    def at(x, y):
        return canvas.evaluate(PIXEL, [x / 4, (high - np.log10(y)) / (high - low)])

    assert 40 < at(0.5, 280)[3] < 90  # between the curve and the edge of the band
    assert at(0.5, 0.5)[3] == 0
    assert at(1.6, 30)[3] == 0  # towards what has no logarithm
    assert at(3.3, 10**-0.3)[3] > 200  # the line itself, straight between its points
    canvas.press("ArrowUp")
    page.wait_for_function("() => model.get('range').length === 4")
    seen = page.evaluate("() => model.get('range')")[2:]
    assert np.log10(seen) == pytest.approx([low + 0.1 * (high - low), high + 0.1 * (high - low)])
    page.evaluate("() => { model.set('range', [0, 4, 10, 50]) }")
    page.wait_for_timeout(200)
    assert {"10", "20", "50"} <= set(page.locator("svg text[text-anchor=end]").all_text_contents())
    page.evaluate("() => { model.set('range', [0, 4, 1.01, 1.06]) }")
    assert {"1.02", "1.04"} <= set(page.locator("svg text[text-anchor=end]").all_text_contents())
    page.evaluate("() => { model.set('tools', ['box']); model.set('mode', 'box'); model.set('range', [0, 4, 1, 100]) }")
    box = canvas.bounding_box()
    page.mouse.move(box["x"], box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 299, steps=3)
    page.mouse.up()
    xy = page.evaluate("() => model.get('selection').xy")
    assert xy == pytest.approx([0, 10, 2, 10, 2, 1, 0, 1], rel=0.05, abs=0.02)


def test_two_logarithmic_axes_pan_zoom_and_select_in_numbers(page):
    r = {"r": ("r", np.geomspace(0.1, 10, 9), {"units": "kpc"})}
    field = xr.DataArray(1e8 * r["r"][1] ** -2.0, r, ["r"], "rho")
    shown(page, profile(field, label="fit", scale="log", along="log"))
    ticks = page.locator("svg text[text-anchor=middle]:not(.cv-label)").all_text_contents()
    assert {"0.1", "1", "10"} <= set(ticks)
    canvas = page.locator("canvas")
    low, high = np.log10(page.evaluate("() => model.get('frame').range")[2:])
    for x, y in ((0.25, 9.0), (0.5, 8.0), (0.75, 7.0)):  # a power law is a straight line
        assert canvas.evaluate(PIXEL, [x, (high - y) / (high - low)])[3] > 200
    assert canvas.get_attribute("aria-label").count("(logarithmic)") == 2
    canvas.press("ArrowRight")
    page.wait_for_function("() => model.get('range').length === 4")
    assert np.log10(page.evaluate("() => model.get('range')")[:2]) == pytest.approx([-0.8, 1.2])
    page.evaluate("() => model.set('range', [])")
    canvas.press("+")
    page.wait_for_function("() => model.get('range').length === 4")
    assert np.log10(page.evaluate("() => model.get('range')")[:2]) == pytest.approx([-0.8, 0.8])
    page.evaluate(
        "() => { model.set('tools', ['box']); model.set('mode', 'box'); model.set('range', [0.1, 10, 1, 100]) }"
    )
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 75, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 299, steps=3)
    page.mouse.up()
    xy = page.evaluate("() => model.get('selection').xy")
    assert xy == pytest.approx([10**-0.5, 10, 1, 10, 1, 1, 10**-0.5, 1], rel=0.05)


# ---- selection and cursor


@pytest.fixture
def hand(page):
    """A view of 10 by 10 kpc with tools, and what is done to it in kpc."""

    class Hand:
        def __init__(self, element=None, **state):
            self.view = RasterView(300)
            self.view.set_trait("tools", ["box", "lasso"])
            for name, value in state.items():
                self.view.set_trait(name, value)
            square = picture(SQUARE, ("x", 0, 10, "kpc"), ("y", 0, 10, "kpc"))
            self.view.show(square if element is None else element)
            mount(page, self.view)
            self.canvas = page.locator("canvas").first
            box = self.canvas.bounding_box()
            self.at = lambda x, y: (box["x"] + 30 * x, box["y"] + 300 - 30 * y)

        def drag(self, *places, up=True):
            page.mouse.move(*self.at(*places[0]))
            page.mouse.down()
            for to in places[1:]:
                page.mouse.move(*self.at(*to), steps=4)
            if up:
                page.mouse.up()

        def click(self, name):
            page.get_by_role("button", name=name).first.click()

        def get(self, name):
            return page.evaluate("name => model.get(name)", name)

        def pixels(self, i=0):
            return page.locator("canvas").nth(i).evaluate("c => c.toDataURL()")

    return Hand


def near(values):
    return pytest.approx(values, abs=0.05)


def test_a_box_is_dragged_told_on_the_way_and_cleared(page, hand):
    it = hand()
    before = it.pixels()
    it.click("Select with a box")
    assert it.get("mode") == "box"
    expect(page.get_by_role("button", name="Select with a box")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Pan")).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()
    it.drag((2, 3), (4, 5), (6, 7), up=False)
    page.wait_for_function("() => model.get('selection').kind === 'box'")  # before the button is let go
    page.mouse.move(*it.at(8, 9))
    page.mouse.up()
    assert it.get("selection") == {"kind": "box", "xy": near([2, 3, 8, 3, 8, 9, 2, 9]), "op": "replace"}
    assert it.get("range") == []  # the picture has not moved
    assert it.pixels() != before
    page.mouse.dblclick(*it.at(1, 1))  # a click chooses nothing
    page.wait_for_timeout(200)
    assert it.get("selection")["xy"] == near([2, 3, 8, 3, 8, 9, 2, 9])
    for key, op in (("Shift", "add"), ("Alt", "subtract")):
        page.keyboard.down(key)
        it.drag((1, 1), (2, 2))
        page.keyboard.up(key)
        assert it.get("selection") == {"kind": "box", "xy": near([1, 1, 2, 1, 2, 2, 1, 2]), "op": op}
    it.click("Clear")
    assert it.get("selection") == {}
    assert it.pixels() == before
    it.click("Pan")
    it.drag((5, 5), (6, 5))
    page.wait_for_function("() => Math.abs(model.get('range')[0] + 1) < 0.05")


def test_a_lasso_is_a_polygon_of_few_corners(page, hand):
    it = hand(mode="lasso")
    turns = np.linspace(0, 2 * np.pi, 200)
    it.drag(*zip(5 + 3 * np.cos(turns), 5 + 4 * np.sin(turns), strict=True))
    chosen = it.get("selection")
    x, y = np.reshape(chosen["xy"], (-1, 2)).T
    assert chosen["kind"] == "lasso"
    assert 50 < len(x) <= 300
    np.testing.assert_allclose(((x - 5) / 3) ** 2 + ((y - 5) / 4) ** 2, 1, atol=0.1)
    it.drag((1, 1), (1.2, 1))  # too short for a polygon
    assert it.get("selection") == chosen


def test_keys_put_move_grow_end_and_clear_a_box(page, hand):
    it = hand()
    it.canvas.press("b")
    page.wait_for_function("() => model.get('selection').kind === 'box'")

    def corners(*keys):
        for key in keys:
            it.canvas.press(key)
        page.wait_for_timeout(200)
        xy = it.get("selection")["xy"]
        return [xy[0], xy[2], xy[1], xy[5]]

    assert corners() == near([2.5, 7.5, 2.5, 7.5])
    assert corners("ArrowRight", "ArrowRight", "ArrowDown") == near([2.9, 7.9, 2.3, 7.3])
    assert corners("Shift+ArrowLeft", "Shift+ArrowUp") == near([3, 7.8, 2.2, 7.4])
    assert it.get("range") == []
    assert corners("Enter", "ArrowRight") == near([3, 7.8, 2.2, 7.4])
    assert it.get("range") == near([1, 11, 0, 10])  # the keys pan again
    it.canvas.press("Escape")
    assert it.get("selection") == {}


def test_the_outline_set_from_python_is_drawn_in_every_view(page, hand):
    it = hand()
    page.evaluate("() => window.show()")
    before = [it.pixels(i) for i in (0, 1)]
    it.view.selection = {"kind": "lasso", "xy": [1, 1, 9, 1, 5, 9]}
    page.evaluate("s => model.set('selection', s)", it.view.selection)
    after = [it.pixels(i) for i in (0, 1)]
    assert after[0] == after[1]
    assert before[0] == before[1] != after[0]
    expect(page.get_by_role("button", name="Clear").nth(1)).to_be_enabled()
    page.evaluate("() => model.set('selection', {})")
    assert [it.pixels(i) for i in (0, 1)] == before
    page.evaluate("() => model.set('tools', ['box'])")
    expect(page.get_by_role("button")).to_have_count(2 * 3)
    page.evaluate("() => model.set('tools', [])")
    expect(page.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("name", ["long words", "title", "curve", "wide"])
@pytest.mark.parametrize("size", [120, 300, 480])
def test_the_tool_bar_covers_nothing(page, name, size):
    view = RasterView(size)
    view.tools = ["box", "lasso"]
    view.show(LABELLED[name])
    mount(page, view)
    bar, canvas = (page.locator(k).bounding_box() for k in (".cv-tools", "canvas"))
    assert bar["y"] + bar["height"] <= canvas["y"]
    for words in page.locator("svg text.cv-label").all():
        box = words.bounding_box()
        assert box["x"] + box["width"] <= bar["x"] or box["y"] >= bar["y"] + bar["height"] - 1


def test_a_click_and_keys_set_the_cursor_and_a_drag_moves_it(page, hand):
    it = hand(follow=True)
    plain_picture = it.pixels()
    page.mouse.click(*it.at(2, 3))
    page.wait_for_function("() => model.get('cursor').length === 2")
    assert it.get("cursor") == near([2, 3])
    assert it.pixels() != plain_picture
    it.drag((2.1, 3.1), (5, 6), (7, 8))
    page.wait_for_timeout(200)
    assert (it.get("cursor"), it.get("range")) == (near([7, 8]), [])
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown"):
        it.canvas.press(key)
    page.wait_for_timeout(200)
    assert (it.get("cursor"), it.get("range")) == (near([7.2, 7.9]), [])
    it.drag((2, 3), (3, 3))  # far from it: pans
    page.wait_for_timeout(200)
    assert (it.get("cursor"), it.get("range")) == (near([7.2, 7.9]), near([-1, 9, 0, 10]))
    page.evaluate("() => { model.set('follow', false); model.set('cursor', []); model.set('range', []) }")
    page.mouse.click(*it.at(2, 3))
    page.wait_for_timeout(200)
    assert it.get("cursor") == []
    assert it.pixels() == plain_picture


# ---- words for who does not see, and for other programs


def test_what_is_seen_and_the_keys_are_told(page, hand):
    it = hand(LABELLED["wide"].relabel("Streams"))
    label = (
        "Streams: Φ from 1 to 63 km² s⁻² (logarithmic); phi2 [deg] against phi1 [deg]. Arrow keys pan, plus and minus"
    )
    expect(it.canvas).to_have_attribute("aria-label", re.compile(re.escape(label) + ".*b begins a box.*Escape clears"))
    page.evaluate("() => { model.set('follow', true); model.set('tools', []) }")
    words = it.canvas.get_attribute("aria-label")
    assert words.endswith("0 shows everything, shift with arrow keys moves the cursor.")
    curve = profile(picture_field(np.arange(1.0, 9), ("z", -4, 4, "kpc")), label="truth", scale="log")
    it.view.show(hv.Overlay([curve]))
    page.evaluate("frame => model.put('frame', frame)", plain(it.view.frame))
    words = it.canvas.get_attribute("aria-label")
    assert words.startswith("Plot of truth; Φ [km² s⁻²] (logarithmic) against z [kpc]. Arrow keys pan")
    it.view.clear("No map yet.")
    page.evaluate("() => { model.set('message', 'No map yet.'); model.set('frame', {}) }")
    expect(it.canvas).to_have_attribute("aria-label", "No map yet.")


@pytest.mark.parametrize("allowed", [True, False])
def test_text_goes_to_the_clipboard_once(page, hand, allowed):
    it, sent = hand(), []
    page.evaluate("() => window.show()")
    page.evaluate(
        """allowed => { window.copied = [];
        const writeText = async text => { if (!allowed) throw new Error('not allowed'); copied.push(text) };
        Object.defineProperty(navigator, 'clipboard', {value: {writeText}, configurable: true});
        document.execCommand = name => copied.push([name, document.activeElement.value]) }""",
        allowed,
    )
    it.view.send = sent.append
    it.view.copy("panel.set(z=0.5)")
    it.view.copy("panel.set(z=0.5)")  # once more
    page.evaluate("messages => messages.forEach(m => model.tell(m))", sent)
    page.wait_for_timeout(300)
    text = "panel.set(z=0.5)" if allowed else ["copy", "panel.set(z=0.5)"]
    assert page.evaluate("() => copied") == [text, text]
    assert page.locator("textarea").count() == 0


def test_plain_keys_of_a_control_are_kept_from_the_notebook(page):
    shown(page, picture(SQUARE))
    page.evaluate("""() => {
      const controls = '<div class="cv-panel"><button>in</button></div><button>out</button>';
      document.body.insertAdjacentHTML('beforeend', controls);
      window.kept = [];
      const suppressed = e => kept.push(e.target.hasAttribute('data-lm-suppress-shortcuts'));
      document.addEventListener('keydown', suppressed, true); // where Jupyter listens
    }""")
    for name, key in (("in", "ArrowRight"), ("in", "Control"), ("in", "Enter"), ("out", "ArrowRight")):
        page.get_by_role("button", name=name, exact=True).focus()
        page.keyboard.press(key)
    assert page.evaluate("kept") == [True, False, True, False]
