"""How far a map is: the progress of its stages as one, and what each of them costs."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clearview.flows import Progress
from clearview.flows.cost import star_seconds, training_seconds
from clearview.flows.fit import OnProgress

if TYPE_CHECKING:
    from clearview.dynamics.maps import MapConfig


class Plan:
    """Turns the progress of one stage into that of the whole."""

    def __init__(self, config: "MapConfig", stars: int, on_progress: OnProgress, history: pd.DataFrame):
        self.costs, self.compiling = costs(config, stars)
        self.per_epoch = config.training.plan(max(1, round(stars * (1 - config.training.validation))))[1]
        self.on_progress, self.history, self.seconds = on_progress, history, 0.0
        self.last: Any = None
        self.rate, self.stopped, self._worth = None, False, False

    def stage(self, number: int) -> OnProgress:
        past = self.history
        name_done = sum(self.costs[:number])

        def told(p: Progress):
            history = _joined(past, p.history)
            done = name_done + self.costs[number] * p.fraction
            if p.remaining is not None and p.fraction < 1:
                self.rate = p.remaining / (self.costs[number] * (1 - p.fraction))
            remaining = None if self.rate is None else self.rate * (sum(self.costs) - done)
            self.last = p._replace(
                history=history, fraction=done / sum(self.costs), remaining=remaining, seconds=self.seconds + p.seconds
            )  # fmt: skip
            return self.going()

        return told

    def going(self, *_) -> bool:
        """Whether to go on; once it is told to stop, it is not asked again."""
        self.stopped = self.stopped or (self.on_progress is not None and self.on_progress(self.last) is False)
        return not self.stopped

    def worth(self, seconds: float) -> bool:
        """Whether the stage has passed once over the stars, and so long is left, or was when this was asked before."""
        self._worth = self._worth or (self.last.step >= self.per_epoch and (self.last.remaining or 0.0) >= seconds)
        return self._worth

    def part(self, name: str, number: int) -> Callable[[int, int], object]:
        """The progress of what is no training: ``on_batch(done, total)``."""
        begun, before, past = time.monotonic(), sum(self.costs[:number]), self.seconds

        def told(done: int, total: int):
            if self.on_progress is None:
                return None
            compiling = self.compiling[number]
            passed = compiling + (self.costs[number] - compiling) * done / total if done else 0.0
            seconds, now = time.monotonic() - begun, before + passed
            if done:
                self.rate = seconds / passed
            remaining = None if self.rate is None else self.rate * (sum(self.costs) - now)
            self.seconds = past + seconds
            return self.on_progress(Progress(
                name, done, total, self.seconds, remaining, np.nan, np.nan, self.history, now / sum(self.costs)
            ))  # fmt: skip

        return told

    def joined(self, history: pd.DataFrame) -> pd.DataFrame:
        """The history of all stages, with that of the present one."""
        return _joined(self.history, history)

    def finish(self, history: pd.DataFrame) -> pd.DataFrame:
        if self.last is not None:
            self.seconds = self.last.seconds
        self.history = self.joined(history)
        return self.history


def costs(config: "MapConfig", stars: int) -> tuple[list[float], list[float]]:
    """Seconds of each stage on the reference of `clearview.flows.cost`, and those of them that compile.

    The compilations of the flows are left out, since the progress of a training does not know of its own.
    """
    per_star = star_seconds(config.positions, 3), star_seconds(config.velocities, 3, 3)
    costs, compiling = [training_seconds(stars, config.training, seconds) for seconds in per_star], [0.0, 0.0]
    if (p := config.potential) is not None:
        taken = min(p.stars, stars)
        compiling += [0.6 * (config.positions.layers + config.velocities.layers), 0.9 * p.degree]
        costs += [compiling[2] + 3.5 * taken * sum(per_star), compiling[3] + 2.5e-9 * taken * p.size**2]
    return costs, compiling


def _joined(past: pd.DataFrame, stage: pd.DataFrame) -> pd.DataFrame:
    """The history with that of one stage, which a resumed stage tells anew from its beginning."""
    past = pd.DataFrame(past[~past.stage.isin(stage.stage)])
    return stage if past.empty else pd.concat([past, stage], ignore_index=True)
