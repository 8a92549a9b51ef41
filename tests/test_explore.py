"""Linked views of stars, and the explorer, without a browser."""

import threading

import holoviews as hv
import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from fakes import FakeFit, fake_dynamics, fake_flows, sky_stars, stars

from clearview.catalogs import Catalog
from clearview.figures import count_field
from clearview.panels import PhaseSpacePanel, Selection, StarsPanel, base
from clearview.panels.compare import cells
from clearview.panels.selection import inside

WAIT = 60
PM, SKY = ("pm_phi1", "pm_phi2"), ("phi1", "phi2")
STREAM, WIDE = [-9, -2, -7, -2, -7, 1, -9, 1], [-55, -0.3, -45, -0.3, -45, 0.3, -55, 0.3]


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(base, "dynamics", lambda: fake_dynamics(steps=20, pause=0.0))
    monkeypatch.setattr(base, "flows", fake_flows)


@pytest.fixture
def made():
    """``made(panel)`` closes the panel in the end, and nothing of it may live on."""
    before, panels = set(threading.enumerate()), []
    yield lambda panel: panels.append(panel) or panel
    for panel in panels:
        panel.close()
    assert set(threading.enumerate()) <= before


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
