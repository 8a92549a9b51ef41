"""Live panels for JupyterLab; every control is also an argument and every button also a method."""

from clearview.panels.acceleration import AccelerationPanel
from clearview.panels.base import Panel
from clearview.panels.controls import Choice
from clearview.panels.density import DensityPanel
from clearview.panels.dust import DustPanel
from clearview.panels.dwarf import DwarfPanel
from clearview.panels.excess import ExcessPanel
from clearview.panels.explore import Explorer, explore
from clearview.panels.jobs import JobPanel
from clearview.panels.phasespace import PhaseSpacePanel
from clearview.panels.profiles import ProfilePanel
from clearview.panels.selection import Selection
from clearview.panels.showers import ShowerPanel
from clearview.panels.sliced import SlicePanel
from clearview.panels.stars import StarsPanel
from clearview.panels.stream import StreamPanel
from clearview.panels.train import Learner, TrainBar
from clearview.panels.upsample import UpsamplePanel
from clearview.panels.view import RasterView
from clearview.panels.worker import Latest, Training

__all__ = [
    "AccelerationPanel",
    "Choice",
    "DensityPanel",
    "DustPanel",
    "DwarfPanel",
    "ExcessPanel",
    "Explorer",
    "JobPanel",
    "Latest",
    "Learner",
    "Panel",
    "PhaseSpacePanel",
    "ProfilePanel",
    "RasterView",
    "Selection",
    "ShowerPanel",
    "SlicePanel",
    "StarsPanel",
    "StreamPanel",
    "TrainBar",
    "Training",
    "UpsamplePanel",
    "explore",
]
