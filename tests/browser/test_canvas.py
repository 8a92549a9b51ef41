"""The canvas in a bare page, without a kernel: themes, labels, reversed axes, hover, answers."""

import re

import holoviews as hv
import numpy as np
import pytest
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
