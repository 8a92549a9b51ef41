"""What a scan does: its settings."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clearview import checks
from clearview.streams.anomaly import Anode, Cathode, Cwola
from clearview.streams.cells import PIXEL
from clearview.streams.lines import HoughConfig
from clearview.streams.members import MemberConfig
from clearview.streams.regions import Fiducial

METHODS = {"Anode": Anode, "Cwola": Cwola, "Cathode": Cathode}


@dataclass(frozen=True)
class ScanConfig:
    """What a scan does.

    Attributes:
        method: how stars are scored, `Anode`, `Cwola` or `Cathode`, for lines among those of highest score; None scores
            none: it takes seconds a patch in place of minutes, and is what tests/benchmarks/streams_injected.py tells
            of. In two mock patches, of a stream that was 0.5 or 0.2 per cent of a region, the hundred highest scores of
            `Cwola` among the region's searched stars held fewer of the stream than the hundred closest to it in the
            other proper motion: of whole regions the sidebands differ by much else.
        width: of the signal regions, mas/yr.
        step: from one to the next, mas/yr.
        folds: no star is scored by a model that saw it; see `score_regions`.
        sky: whether lon and lat are features. Without them a score knows nothing of the sky, so that no line can come
            from it, and permutations of the sky keep it.
        cells: sizes of the cells of both proper motions in which lines are looked for, mas/yr.
        counted: whether lines are looked for among all stars of a cell.
        tops: how many stars of highest score in a cell lines are looked for among.
        merged: whether lines are those of Via Machinae's protostreams (see `protostreams`) in place of those of cells;
            of ``cells`` and ``tops`` the first ones count then.
        widths: of the windows across a line, deg.
        fewest: stars of a cell.
        reach: cells cover proper motions within so much of zero, mas/yr.
        least: z of a line that is looked at more closely.
        most: how many lines are.
        weakest: strength of a candidate that is told.
        fiducial: which stars lines are made of.
        hough: radius and steps of the transform, and the published significance.
        members: how members are told.
        seed: of the scores.
    """

    method: Anode | Cwola | Cathode | None = None
    width: float = 6.0
    step: float = 1.0
    folds: int = 2
    sky: bool = False
    cells: tuple[float, ...] = (1.0, 2.0)
    counted: bool = True
    tops: tuple[int, ...] = (100,)
    merged: bool = False
    widths: tuple[float, ...] = (0.6, 1.0)
    fewest: int = 20
    reach: float = 20.0
    least: float = 4.2
    most: int = 40
    weakest: float = 6.0
    fiducial: Fiducial = field(default_factory=Fiducial)
    hough: HoughConfig = field(default_factory=HoughConfig)
    members: MemberConfig = field(default_factory=MemberConfig)
    seed: int = 0

    def __post_init__(self):
        checks.a(self.method, (*METHODS.values(), type(None)), "a method: Anode, Cwola, Cathode or None")
        checks.a(self.fiducial, Fiducial, "fiducial as a Fiducial")
        checks.a(self.hough, HoughConfig, "hough as a HoughConfig")
        checks.a(self.members, MemberConfig, "members as a MemberConfig")
        checks.numbers(self, width=(0.1, 1e3), step=(0.01, 1e3), reach=(1, 40), least=(0, 1e3), weakest=(0, 1e3))
        checks.numbers(self, whole=True, folds=(2, 100), fewest=(5, 10**9), most=(1, 1000), seed=checks.SEEDS)
        for name, low, high, whole in (
            ("cells", 0.5, 2 * self.reach, False), ("widths", self.hough.r_step, self.hough.radius, False),
            ("tops", 5, 10**9, True),
        ):  # fmt: skip
            values = getattr(self, name)
            found = tuple(values) if isinstance(values, list | tuple) else (values,)
            found = tuple(checks.number(f"one of {name}", v, low, high, whole=whole) for v in found)
            if not found and name != "tops":
                raise ValueError(f"Expected at least one of {name}, got none; give one.")
            object.__setattr__(self, name, found)
        for width in self.widths:
            HoughConfig(self.hough.radius, self.hough.theta_step, self.hough.r_step, width=width)  # refuses an even one
        for size in self.cells:
            if size % PIXEL:
                raise ValueError(f"Expected sizes of cells as multiples of {PIXEL:g} mas/yr, got {size:g}; round them.")
        for name in ("sky", "counted", "merged"):
            checks.a(getattr(self, name), bool, f"{name} as True or False")
        if (self.merged or not self.counted) and (self.method is None or not self.tops):
            raise ValueError("Expected stars to look for lines among, got no method or tops; choose one, or count all.")

    @classmethod
    def as_published(cls, method: Any = None, **changes: Any) -> "ScanConfig":
        """Protostreams of the hundred stars of highest score in windows of 6 mas/yr; the sky is among the features."""
        given = {"cells": (6.0,), "counted": False, "merged": True, "widths": (1.0,), "sky": True}
        return cls(method=Anode() if method is None else method, **{**given, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` takes them."""
        plain = dataclasses.asdict(self)
        if self.method is not None:
            plain["method"] = {"name": type(self.method).__name__, **plain["method"]}
        return json.loads(json.dumps(plain))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ScanConfig":
        """The config that `to_dict` told.

        Raises:
            TypeError, ValueError: for what tells none.
        """
        given: dict[str, Any] = dict(checks.a(values, Mapping, "a ScanConfig as a mapping"))
        method = given.get("method")
        if method is not None:
            method = dict(checks.a(method, Mapping, "a method as a mapping"))
            if (name := method.pop("name", None)) not in tuple(METHODS):
                raise ValueError(f"Expected a method among {', '.join(METHODS)}, got {checks.shown(name)}; choose one.")
            given["method"] = checks.from_plain(METHODS[name], method)
        for name, kind in (("fiducial", Fiducial), ("hough", HoughConfig), ("members", MemberConfig)):
            if name in given:
                plain = checks.a(given[name], Mapping, f"{name} as a mapping")
                given[name] = checks.from_plain(kind, _tuples(plain))
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(given) - known):
            raise ValueError(
                f"Expected a ScanConfig with the fields {', '.join(sorted(known))}, got {checks.shown(unknown[0])}; "
                "correct its name."
            )
        return cls(**_tuples(given))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
