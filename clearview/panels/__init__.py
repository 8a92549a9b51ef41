"""Live panels for JupyterLab; every control is also an argument and every button also a method."""

from clearview.panels.acceleration import AccelerationPanel
from clearview.panels.base import Panel
from clearview.panels.controls import Choice
from clearview.panels.explore import Explorer, explore
from clearview.panels.phasespace import PhaseSpacePanel
from clearview.panels.selection import Selection
from clearview.panels.stars import StarsPanel
from clearview.panels.train import Learner, TrainBar
from clearview.panels.view import RasterView
from clearview.panels.worker import Latest, Training

__all__ = [
    "AccelerationPanel",
    "Choice",
    "Explorer",
    "Latest",
    "Learner",
    "Panel",
    "PhaseSpacePanel",
    "RasterView",
    "Selection",
    "StarsPanel",
    "TrainBar",
    "Training",
    "explore",
]
