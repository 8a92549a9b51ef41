"""A form for the settings of a training: the few that matter, with the defaults as their values."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import ipywidgets as W

from clearview.panels.controls import button, wide


class Entry(NamedTuple):
    """One line of the form.

    Attributes:
        label: what it is called, with its unit.
        tooltip: one sentence about it.
        paths: of the fields that it sets, those of them that a config has.
        kind: int or float.
        empty: what stands in an empty line, which is None; without it no line may be empty.
    """

    label: str
    tooltip: str
    paths: tuple[str, ...]
    kind: type = int
    empty: str = ""


ENTRIES = (
    Entry("Radius [kpc]", "Of the ball around the Sun that is mapped.", ("radius", "map.radius"), float,
          "to the farthest star"),
    Entry("Passes", "How often training goes through all stars, at least: more are slower and better.",
          ("training.epochs", "map.training.epochs", "method.training.epochs", "method.flow_training.epochs")),
    Entry("Steps, at least", "Few stars get as many more passes as give this many steps.",
          ("training.min_steps", "map.training.min_steps", "method.training.min_steps",
           "method.flow_training.min_steps")),
    Entry("Layers", "Of each flow: more follow finer detail, in proportion slower.",
          ("positions.layers", "velocities.layers", "flow.layers", "map.positions.layers", "map.velocities.layers")),
    Entry("Units a layer", "Width of the networks in the flows: more follow finer detail.",
          ("positions.width", "velocities.width", "flow.width", "map.positions.width", "map.velocities.width")),
    Entry("Degree of Φ", "Of the polynomials of the potential, 1 to 40: more follow finer detail and need more stars.",
          ("potential.degree",)),
    Entry("Seed", "Of all random numbers: another one shows how much of a map is chance.", ("seed", "map.seed")),
)  # fmt: skip


NOTHING = object()
"""What `read` finds where there is no field: None is a value."""


def read(config, path: str) -> Any:
    """A field of a config or of a config in it, or `NOTHING`."""
    for name in path.split("."):
        if name not in getattr(config, "__dataclass_fields__", ()):
            return NOTHING
        config = getattr(config, name)
    return config


def write(config, path: str, value) -> Any:
    """The config with another value there; it refuses what it cannot have."""
    name, _, rest = path.partition(".")
    return dataclasses.replace(config, **{name: write(getattr(config, name), rest, value) if rest else value})


def parse(entry: Entry, text: str) -> Any:
    """The value that was written into a line.

    Raises:
        ValueError: if it is no number of its kind.
    """
    text = text.strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+", text):  # thousands apart; any other comma is refused
        text = text.replace(",", "")
    if not text and entry.empty:
        return None
    try:
        return entry.kind(text)
    except ValueError:
        kind = "a whole number" if entry.kind is int else "a number"
        raise ValueError(f"Expected {kind} for {entry.label}, got {text!r}; correct it.") from None


class Settings(W.Accordion):
    """A section, closed at first, with a form for a config; nothing of it is made before it is opened.

    Args:
        config: gives the config that is shown.
        edited: gets the config after an edit, or None after *Defaults*.
        refused: gets the `ValueError` of a value that cannot be; the line then shows the value before.
        entries: the lines, of which those are shown whose fields the config has.
    """

    def __init__(
        self, config: Callable[[], Any], *, edited: Callable[[Any], Any], refused: Callable[[ValueError], Any],
        entries: tuple[Entry, ...] = ENTRIES,
    ):  # fmt: skip
        self._config, self._edited, self._refused, self._entries = config, edited, refused, entries
        self._filling = False
        self.lines: dict[str, W.Text] = {}
        self.defaults = button("Defaults")
        self.defaults.layout.align_self = "flex-start"
        self.defaults.tooltip = "Take the default settings again."
        self.defaults.on_click(lambda _: edited(None))
        self._box = W.VBox([self.defaults], layout=W.Layout(overflow="hidden"))
        super().__init__([self._box], selected_index=None, titles=("Settings",), layout=W.Layout(width="312px"))
        self.observe(lambda _: self.show(), "selected_index")

    def show(self) -> None:
        """Show the config of the moment, if the section is open."""
        if self.selected_index is None:
            return
        config, values = self._config(), {}
        for entry in self._entries:
            found = {value for path in entry.paths if (value := read(config, path)) is not NOTHING}
            if len(found) == 1:
                (value,) = found
                values[entry] = (
                    "" if value is None else f"{value:g}" if entry.kind is float else str(value),
                    entry.empty,
                )
            elif found:  # flows of different sizes share one line
                values[entry] = "", "different sizes"
        self._filling = True
        try:
            if list(self.lines) != [entry.label for entry in values]:
                self.lines = {entry.label: self._line(entry) for entry in values}
                self._box.children = [*self.lines.values(), self.defaults]
            for entry, (text, words) in values.items():
                line = self.lines[entry.label]
                line.value, line.placeholder = text, words
        finally:
            self._filling = False

    def _line(self, entry: Entry) -> W.Text:
        line = W.Text(description=entry.label, tooltip=entry.tooltip, continuous_update=False, **wide())
        line.layout.width = "272px"
        line.observe(lambda change: self._write(entry, change["new"]), "value")
        return line

    def _write(self, entry: Entry, text: str) -> None:
        if self._filling:
            return
        try:
            config, value = self._config(), parse(entry, text)
            for path in entry.paths:
                if read(config, path) is not NOTHING:
                    config = write(config, path, value)
        except ValueError as error:
            self.show()
            self._refused(error)
            return
        self._edited(config)
