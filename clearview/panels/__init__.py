"""Live panels for JupyterLab; every control is also an argument and every button also a method."""

from clearview.panels.acceleration import AccelerationPanel
from clearview.panels.base import Choice, Panel
from clearview.panels.phasespace import PhaseSpacePanel
from clearview.panels.view import RasterView
from clearview.panels.worker import Latest, Training

__all__ = ["AccelerationPanel", "Choice", "Latest", "Panel", "PhaseSpacePanel", "RasterView", "Training"]
