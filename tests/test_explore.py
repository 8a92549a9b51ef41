"""Linked views of stars, and the explorer, without a browser."""

import threading

import holoviews as hv
import numpy as np
import pytest
import traitlets as T
from astropy import units as u
from astropy.table import Table
from fakes import FakeColumnFit, FakeFit, fake_dynamics, fake_flows, sky_stars, stars

from clearview.catalogs import Catalog
from clearview.dynamics import MapConfig
from clearview.figures import count_field
from clearview.panels import Latest, PhaseSpacePanel, Selection, StarsPanel, base, explore
from clearview.panels.compare import cells
from clearview.panels.controls import dropdown
from clearview.panels.explore import MAPS
from clearview.panels.selection import inside

WAIT = 60
PM, SKY = ("pm_phi1", "pm_phi2"), ("phi1", "phi2")
STREAM, WIDE = [-9, -2, -7, -2, -7, 1, -9, 1], [-55, -0.3, -45, -0.3, -45, 0.3, -55, 0.3]


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(base, "dynamics", lambda: fake_dynamics(steps=20, pause=0.0))
    monkeypatch.setattr(base, "flows", fake_flows)


@pytest.fixture
def catalog():
    rng = np.random.default_rng(5)
    return sky_stars(bp_rp=rng.normal(1, 0.3, 20_000) * u.mag, phot_g_mean_mag=rng.normal(17, 1, 20_000) * u.mag)


def lasso(polygon, **more):
    return {"kind": "lasso", "xy": polygon, **more}


def pictures(panel, i=0):
    """Counts of the selected and of all stars in a view, first axis first."""
    below, above = list(panel.figure())[i]
    return [k.dimension_values(2, flat=False).T for k in (above, below)]


def tags(panel):
    return [view.frame["data"]["tag"] for view in panel.views]


# ---- linked views


def test_a_catalogue_is_shown_on_what_it_has(catalog, made):
    panel = made(StarsPanel(catalog, size=64, threaded=False))
    assert panel.pairs == [SKY, PM, ("bp_rp", "phot_g_mean_mag")]
    assert tags(panel) == ["phi1 phi2 0", "pm_phi1 pm_phi2 0", "bp_rp phot_g_mean_mag 0"]
    assert panel.views[2].frame["y"]["reverse"]
    mock = made(StarsPanel(stars(), size=64, threaded=False))
    assert mock.pairs == [("x", "y"), ("R", "z"), ("vR", "vphi"), ("vx", "vy")]
    own = made(StarsPanel(stars(), views=[("x", "vx")], size=64, threaded=False))
    assert len(own.views) == 1


def test_views_of_what_is_not_there_are_refused(catalog):
    with pytest.raises(ValueError, match=r"Expected pairs among phi1, .*, got \[\('x', 'y'\)\]; pass views"):
        StarsPanel(catalog, views=[("x", "y")])
    with pytest.raises(ValueError, match="Expected pairs among phi1"):
        StarsPanel(catalog, views=[("phi1",)])
    with pytest.raises(ValueError, match="Expected pairs among columns with units"):
        StarsPanel(Catalog(Table({"name": ["a", "b"]})))


def test_a_lasso_in_one_view_lights_up_the_others(catalog, made):
    panel = made(StarsPanel(catalog, size=64, threaded=False))
    sky, pm, _ = panel.views
    pm.selection = lasso(STREAM)
    mask = inside(catalog["pm_phi1"], catalog["pm_phi2"], STREAM)
    assert np.array_equal(panel.selection.mask, mask)
    assert tags(panel)[0] == f"phi1 phi2 {mask.sum()}"
    assert all(view.frame["under"] for view in panel.views)
    above, below = pictures(panel)
    axes = cells(panel.selection.columns.axes(SKY), len(catalog) / 3, 64)
    assert np.array_equal(above, count_field(catalog["phi1"][mask], catalog["phi2"][mask], axes).values)
    assert np.array_equal(below, count_field(catalog["phi1"], catalog["phi2"], axes).values)
    panel.selection.invert()  # now most are selected, and the few are taken away
    above, _ = pictures(panel)
    assert np.array_equal(above, count_field(catalog["phi1"][~mask], catalog["phi2"][~mask], axes).values)
    assert len(panel.selected) == (~mask).sum()
    sky.selection = lasso(WIDE)
    assert pm.selection == {}
    panel.selection.clear()
    assert sky.selection == {}
    assert "under" not in sky.frame or not sky.frame["under"]


def test_all_stars_are_counted_anew_in_other_cells_only(catalog, made, monkeypatch):
    counted = []
    monkeypatch.setattr(
        "clearview.panels.stars.count_field", lambda x, *a: counted.append(len(x)) or count_field(x, *a)
    )
    panel = made(StarsPanel(catalog, size=64, threaded=False))
    assert counted == [20_000] * 3
    del counted[:]
    panel.views[1].selection = lasso(STREAM)
    assert counted == [panel.selection.number] * 3
    del counted[:]
    panel.views[0].range = [-52, -48, -0.5, 0.5]
    assert counted == [20_000, panel.selection.number]
    assert panel.views[0].frame["range"] == [-52, -48, -0.5, 0.5]


def test_few_stars_are_points(made):
    few = sky_stars(500)
    panel = made(StarsPanel(few, size=64, threaded=False))
    assert [k["kind"] for k in panel.views[0].frame["layers"]] == ["points"]
    panel.views[1].selection = lasso([-90, -90, 90, -90, 0, 90])
    sky = list(next(iter(panel.figure())))
    mask = panel.selection.mask
    assert [type(k) for k in sky] == [hv.Points, hv.Points]
    assert np.array_equal(np.sort(sky[1].dimension_values(0)), np.sort(few["phi1"][mask].astype(np.float32)))


def test_keeping_goes_on_with_fewer_stars(catalog, made):
    panel = made(StarsPanel(catalog, size=64, threaded=False))
    with pytest.raises(ValueError, match="Expected selected stars, got none"):
        _ = panel.selected
    panel.views[1].selection = lasso(STREAM)
    n = panel.selection.number
    panel.selecting.keep.click()
    assert len(panel.catalog) == len(panel.selected) == n
    assert panel.catalog.meta["selection"][0]["columns"] == list(PM)
    panel.selecting.all.click()
    assert panel.catalog is catalog


def test_another_catalogue_without_a_column_says_so(catalog, made):
    panel = made(StarsPanel(catalog, size=64, threaded=False))
    panel.views[1].selection = lasso(STREAM)
    panel.catalog = sky_stars(5000, seed=2)
    assert panel.selection.mask is None
    assert "This catalogue has not both of bp_rp and phot_g_mean_mag." in panel.views[2].message
    assert panel.views[2].frame == {}
    panel.views[2].selection = lasso(STREAM)
    assert "Expected columns among phi1" in panel.status
    panel.views[1].selection = lasso(STREAM)
    assert panel.status == ""
    panel.selection.clear()
    assert [view.frame["data"]["tag"] for view in panel.views[:2]] == ["phi1 phi2 0", "pm_phi1 pm_phi2 0"]


def test_in_threads_the_last_selection_is_on_all_screens(catalog, made):
    panel = made(StarsPanel(catalog, size=64))
    assert panel.idle.wait(WAIT)
    for right in np.linspace(-8, -4, 20):
        panel.views[1].selection = {"kind": "box", "xy": [-9, -2, right, -2, right, 1, -9, 1]}
    assert panel.idle.wait(WAIT)
    assert tags(panel) == [f"{' '.join(pair)} {panel.selection.number}" for pair in panel.pairs]
    assert panel.status == ""


# ---- phase space takes part


def test_phase_space_selects_within_its_windows(catalog, made):
    panel = made(PhaseSpacePanel(catalog, x="pm_phi1", y="pm_phi2", first=("phi2", 0.0, 0.3), size=64, threaded=False))
    panel.view.selection = lasso(STREAM)
    mask = inside(catalog["pm_phi1"], catalog["pm_phi2"], STREAM) & (np.abs(catalog["phi2"]) <= 0.3)
    assert np.array_equal(panel.selection.mask, mask)
    above = list(panel.figure())[1]
    assert above.dimension_values(2).sum() == mask.sum()
    panel.set(first="none")
    assert list(panel.figure())[1].dimension_values(2).sum() == mask.sum()
    panel.set(x_axis="phi1")
    assert panel.view.selection == {}
    assert panel.selection.number == mask.sum()


def test_panels_share_a_selection(catalog, made):
    shared = Selection(catalog)
    first = made(StarsPanel(catalog, selection=shared, size=64, threaded=False))
    second = made(PhaseSpacePanel(catalog, selection=shared, size=64, threaded=False))
    second.view.selection = lasso(WIDE)
    assert tags(first)[0] == f"phi1 phi2 {shared.number}"
    first.views[1].selection = lasso(STREAM)
    assert second.view.selection == {}
    assert second.view.frame["under"]
    shared.keep()
    assert len(second.catalog) == len(first.catalog) == len(shared.catalog)
    other = sky_stars(3000, seed=3)
    second.catalog = other
    assert first.catalog is other


def test_phase_space_without_stars_has_no_tools(made):
    panel = made(PhaseSpacePanel(fit=FakeFit("0"), size=64, threaded=False))
    assert panel.view.tools == []
    panel.catalog = stars(2000)
    assert panel.view.tools == ["box", "lasso"]


# ---- the explorer


class Linked(base.Panel):
    """A panel with a place and a plane, as those of slices have."""

    place = T.Tuple((8.0, 0.0, 0.0))

    def build(self):
        self.drawn = 0
        return {"plane": dropdown("Plane", ["x-y", "x-z", "sky"], "x-y")}

    def draw(self, settings, detail):
        self.drawn += 1
        return f"{settings['plane']} at {self.place}"


@pytest.fixture
def few_tabs(monkeypatch):
    """The others take seconds, and have tests of their own."""
    for name in set(MAPS) - {"Acceleration"}:
        monkeypatch.delitem(MAPS, name)
    monkeypatch.setitem(MAPS, "Linked", Linked)


@pytest.fixture
def explorer(made, few_tabs):
    def make(*args, threaded=False, **kwargs):
        return made(explore(*args, threaded=threaded, **kwargs))

    return make


def test_tabs_are_made_when_opened_and_draw_when_shown(explorer):
    found = explorer(stars(5000))
    assert found.names == ("Stars", "Phase space", *MAPS)
    assert list(found.panels) == ["Stars"]
    first = found.turn_to("Linked")
    assert list(found.panels) == ["Stars", "Linked"]
    assert found.tabs.value == "Linked"
    drawn = first.drawn
    first.set(plane="x-z")
    assert first.drawn == drawn + 1
    found.turn_to("Stars")
    first.set(plane="sky")
    first.set(plane="x-y")
    assert first.drawn == drawn + 1
    found.turn_to("Linked")
    assert first.drawn == drawn + 2
    found.turn_to("Stars")
    found.turn_to("Linked")
    assert first.drawn == drawn + 2  # nothing had changed
    with pytest.raises(ValueError, match=r"Expected a tab among Stars, Phase space, .*, Linked, got 'Weather'"):
        found.turn_to("Weather")


def test_what_was_asked_for_meanwhile_is_drawn_in_the_end():
    drawn = []
    latest = Latest(lambda dragging: drawn.append(dragging) or True, lambda error: None)
    latest.pause()
    latest()
    latest()
    assert latest.idle.wait(WAIT)
    assert drawn == []
    latest.pause(False)
    assert latest.idle.wait(WAIT)
    assert drawn == [True]
    latest.pause()
    latest.pause(False)
    assert latest.idle.wait(WAIT)
    assert drawn == [True]
    latest.close()


def test_what_there_is_decides_the_tabs(explorer, catalog):
    along = explorer(catalog)
    assert along.names == ("Stars", "Phase space", "Excess")
    assert along.panels["Excess"].selection is along.selection
    assert explorer(FakeFit("0")).names == ("Phase space", *MAPS)
    assert explorer(FakeFit("0")).catalog is None


def test_a_fit_of_one_panel_is_shown_in_all(explorer):
    catalog = stars(5000)
    found = explorer(catalog)
    phase, linked = found.panels["Phase space"], found.panels["Linked"]
    phase.train()
    assert found.fit is phase.fit is linked.fit is not None
    assert found.panels["Acceleration"].fit is found.fit  # opened later
    before = linked.fit
    linked.train(resume=False)
    assert found.fit is phase.fit is linked.fit is not before
    found.fit = before
    assert phase.fit is linked.fit is before


def test_a_config_of_one_panel_is_that_of_all(explorer):
    found = explorer(stars(5000))
    config = MapConfig(radius=3.0)
    found.panels["Linked"].config = config
    assert found.panels["Phase space"].config is config
    assert found.panels["Acceleration"].config is config


def test_place_and_plane_are_linked(explorer):
    found = explorer(stars(5000))
    linked, acceleration = found.panels["Linked"], found.panels["Acceleration"]
    linked.place = (7.0, 1.0, 0.5)
    assert acceleration.place == (7.0, 1.0, 0.5)
    acceleration.set(plane="x-z")
    assert linked.controls["plane"].value == "x-z"
    acceleration.set(plane="R-z")  # which the other has not
    assert linked.controls["plane"].value == "x-z"
    late = explorer(stars(5000))
    late.panels["Linked"].place = (7.0, 1.0, 0.5)
    late.panels["Linked"].set(plane="sky")
    opened = late.panels["Acceleration"]
    assert (opened.place, opened.controls["plane"].value) == ((7.0, 1.0, 0.5), "sky")


def test_one_selection_and_one_catalogue(explorer):
    catalog = stars(5000)
    found = explorer(catalog)
    linked, phase = found.panels["Linked"], found.panels["Phase space"]
    found.panels["Stars"].views[0].selection = lasso([0, -20, 8, -20, 8, 20, 0, 20])
    assert phase.selection.number == found.selection.number == (catalog["x"] < 8).sum()
    assert len(found.selected) == found.selection.number
    found.selection.keep()
    assert linked.catalog is phase.catalog is found.catalog is found.panels["Stars"].catalog is found.selected
    other = stars(300, seed=4)
    linked.catalog = other
    assert phase.catalog is found.catalog is found.selection.source is other
    found.catalog = catalog
    assert linked.catalog is phase.catalog is catalog


def test_paths_and_pairs_are_explored(explorer, catalog, tmp_path):
    path, saved = tmp_path / "stars.parquet", tmp_path / "fit.clearview"
    mock = stars(3000)
    mock.write(path)
    base.dynamics().save_map(FakeFit(mock.digest()), saved)
    found = explorer(str(path), saved)
    assert len(found.catalog) == 3000
    assert found.panels["Acceleration"].fit is found.fit
    assert found.panels["Acceleration"].stale == ""
    assert explorer(saved, str(path)).catalog is not None


@pytest.mark.parametrize(("args", "error", "words"), [
    ((None,), TypeError, "Expected a Catalog, a MapFit, both, or their paths, got NoneType"),
    ((3,), TypeError, "got int; read or train one first"),
    ((sky_stars(10), sky_stars(10)), TypeError, "got two of a kind .catalogue."),
    (("nowhere.fits",), FileNotFoundError, "Expected a catalogue or a saved map at nowhere.fits, got no such file"),
    ((FakeColumnFit.of(sky_stars(10), PM),), ValueError, "Expected a map of f.x, v., got a flow of pm_phi1, pm_phi2"),
])  # fmt: skip
def test_what_cannot_be_explored_is_refused(args, error, words):
    with pytest.raises(error, match=words):
        explore(*args)


def test_close_ends_all_threads_and_widgets(few_tabs):
    before = set(threading.enumerate())
    found = explore(stars(3000), FakeFit("0"))
    for name in found.names:
        found.turn_to(name)
    assert len(set(threading.enumerate()) - before) >= len(found.names)
    found.close()
    found.close()
    assert set(threading.enumerate()) <= before


def test_one_training_at_a_time(explorer, monkeypatch):
    monkeypatch.setattr(base, "dynamics", lambda: fake_dynamics(steps=2000, pause=0.01))
    found = explorer(stars(5000), threaded=True)
    one, other = found.panels["Acceleration"], found.panels["Phase space"]
    one.train()
    with pytest.raises(RuntimeError, match="got a training in the tab Acceleration; cancel it there"):
        other.train()
    one.cancel()
    assert one.training.wait(WAIT)
    other.train()
    other.cancel()
    assert other.training.wait(WAIT)
