"""The controls of a panel in their common size, and the small texts around them."""

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as W
import traitlets as T


def wide() -> dict[str, Any]:
    """The common width of controls; new objects each time, since a layout hides its own widget."""
    return {"layout": W.Layout(width="300px"), "style": {"description_width": "106px"}}


def slider(description: str, value: float, low: float, high: float, step: float, **kwargs) -> W.FloatSlider:
    """A slider of the common width that moves the picture while it is dragged."""
    return W.FloatSlider(value, min=low, max=high, step=step, description=description, **wide(), **kwargs)


def dropdown(description: str, options, value=None) -> W.Dropdown:
    """A drop-down list of the common width."""
    return W.Dropdown(options=options, value=value, description=description, **wide())


def tick(description: str, value: bool) -> W.Checkbox:
    """A tick box of the common width."""
    return W.Checkbox(value, description=description, indent=False, layout=W.Layout(width="300px"))


def button(description: str) -> W.Button:
    """A button with a layout of its own: who hides one must not hide all."""
    return W.Button(description=description, layout=W.Layout(width="auto", min_width="84px"))


def small(text: str, tag: str = "div") -> str:
    """HTML of a small text."""
    style = "line-height:1.4;font-size:12px;color:var(--jp-ui-font-color1, inherit)"
    return f'<{tag} style="{style}">{html.escape(text)}</{tag}>' if text else ""


def sentence(error: Exception) -> str:
    """One sentence about an error; our own errors are one already."""
    text = str(error).strip().splitlines()[0][:400] if str(error).strip() else "no further word"
    ours = isinstance(error, ValueError | FileExistsError | FileNotFoundError | RuntimeError | TypeError)
    return text if ours and " " in text else f"{type(error).__name__}: {text}"


def guarded(say, slot: str, action) -> None:
    """A button's work: what it raises goes into the slot of a status line by ``say(slot, what)``."""
    say(slot, "")
    try:
        action()
    except Exception as error:
        say(slot, error)


class Choice(W.VBox):
    """Buttons of which one is chosen, and of which some may be disabled, with the reason in words below.

    Args:
        options: button texts.
        value: the chosen one; by default the first.
    """

    value = T.Unicode()

    def __init__(self, options, value: str | None = None):
        self._buttons = {name: W.ToggleButton(description=name, layout=W.Layout(width="auto")) for name in options}
        self._note = W.HTML(layout=W.Layout(width="300px", display="none"))
        self._wanted: str | None = None
        super().__init__([W.HBox(list(self._buttons.values())), self._note])
        self.observe(self._press, "value")
        for name, button in self._buttons.items():
            button.observe(lambda change, name=name: self._pressed(name, change["new"]), "value")
        self.value = value or next(iter(self._buttons))

    @T.validate("value")
    def _known(self, proposal):
        name = proposal["value"]
        if name not in self._buttons:
            raise ValueError(f"Expected one of {', '.join(self._buttons)}, got {name!r}; choose one.")
        if self._buttons[name].disabled:
            raise ValueError(f"{name.capitalize()} cannot be shown: {self._buttons[name].tooltip}")
        return name

    def _press(self, _) -> None:
        self._wanted = None
        for name, button in self._buttons.items():
            button.value = name == self.value

    def _pressed(self, name: str, on: bool) -> None:
        if on:
            self.value = name
        elif self.value == name:  # the chosen button stays down
            self._buttons[name].value = True

    def disable(self, reasons: Mapping[str, str]) -> None:
        """Disable exactly the options named, each with its reason.

        A chosen one gives way to the first left, and comes back when it can be shown again, unless another was chosen.
        """
        for name, button in self._buttons.items():
            button.tooltip = reasons.get(name, "")
        left = [name for name in self._buttons if name not in reasons]
        wanted = self._wanted or self.value
        if wanted in reasons and left:
            self._buttons[left[0]].disabled = False
            self.value = left[0]
            self._wanted = wanted
        elif self._wanted:
            self._buttons[wanted].disabled = False
            self.value = wanted
        for name, button in self._buttons.items():
            button.disabled = name in reasons
        self._note.value = small(" ".join(dict.fromkeys(reasons.values())))
        self._note.layout.display = "" if reasons else "none"
