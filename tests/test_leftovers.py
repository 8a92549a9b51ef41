"""What was closed is gone: its threads, its widgets, and the stars and maps that it showed."""

import gc
import threading
import weakref

import pytest
from fakes import FakeFit, sky_stars, stars
from ipywidgets.widgets import widget as registry

import clearview
from clearview.mocks import mock_patch
from clearview.panels import (
    AccelerationPanel,
    DensityPanel,
    DustPanel,
    ExcessPanel,
    Explorer,
    PhaseSpacePanel,
    ProfilePanel,
    StarsPanel,
    StreamPanel,
)
from clearview.streams import Patch

MADE = {
    "acceleration": lambda: AccelerationPanel(catalog := stars(2000), FakeFit(catalog.digest()), size=64),
    "density": lambda: DensityPanel(catalog := stars(2000), FakeFit(catalog.digest()), size=64),
    "profiles": lambda: ProfilePanel(catalog := stars(2000), FakeFit(catalog.digest()), size=64),
    "dust": lambda: DustPanel(stars(2000), size=64),
    "excess": lambda: ExcessPanel(sky_stars(2000), size=64),
    "stream": lambda: StreamPanel(patch_stars(), size=64),
    "phase space": lambda: PhaseSpacePanel(catalog := stars(2000), FakeFit(catalog.digest()), size=64),
    "stars": lambda: StarsPanel(stars(2000), size=64),
    "explorer": lambda: Explorer(stars(2000)),
    "a real map": lambda: AccelerationPanel(*clearview.load_first_map(), size=64),
}


def patch_stars():
    return Patch(148.6, 24.2).of(mock_patch(4000, cluster=None, dwarf=None))


def open_and_close(make) -> list[weakref.ref]:
    """Use everything of a panel that makes widgets later on; what must not live on."""
    panel = make()
    if isinstance(panel, Explorer):
        for name in panel.names:
            panel.turn_to(name)
        panels = list(panel.panels.values())
    else:
        panels = [panel]
    for one in panels:
        one.bar.settings.selected_index = 0
        assert one.idle.wait(60)
    kept = [weakref.ref(k) for k in (panel, *panels, panel.catalog, panel.fit) if k is not None]
    panel.close()
    return kept


@pytest.mark.parametrize("name", MADE)
def test_a_closed_panel_leaves_nothing_behind(name):
    threads, widgets = set(threading.enumerate()), set(registry._instances)
    for _ in range(10 if name == "acceleration" else 1):
        kept = open_and_close(MADE[name])
    assert set(threading.enumerate()) <= threads
    left = [registry._instances[k] for k in set(registry._instances) - widgets]
    assert [type(k).__name__ for k in left] == []
    gc.collect()
    assert [k() for k in kept] == [None] * len(kept)


def test_an_explorer_that_is_closed_in_the_middle_of_a_drawing_leaves_nothing_behind():
    threads, widgets = set(threading.enumerate()), set(registry._instances)
    panel = Explorer(stars(2000))
    panel.turn_to("Phase space").set(x_axis="vx")
    panel.close()
    assert set(threading.enumerate()) <= threads
    assert set(registry._instances) <= widgets
