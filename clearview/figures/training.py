"""The progress of a training."""

import holoviews as hv
import pandas as pd

from clearview.figures.slices import curve
from clearview.figures.style import Named

_STEP, _LOSS = Named("step"), Named("loss")


def loss_curve(history: pd.DataFrame, stage: str | None = None, *, points: int = 400) -> hv.Overlay:
    """Training and validation loss of one stage against the step.

    Args:
        history: columns ``stage``, ``step``, ``train`` and ``validation`` (NaN where it was not computed).
        stage: which stage; by default the last, as losses of different stages have no common scale.
        points: at most so many points a curve.

    Raises:
        ValueError: if a column is missing, or there is no such stage.
    """
    missing = {"stage", "step", "train", "validation"} - set(history.columns)
    if missing:
        raise ValueError(f"Expected columns stage, step, train and validation; {', '.join(sorted(missing))} missing.")
    stages = list(dict.fromkeys(history["stage"]))
    if stage is None and stages:
        stage = stages[-1]
    elif stage is not None and stage not in stages:
        raise ValueError(f"Expected a stage among {', '.join(stages)}, got {stage!r}.")
    table = history.loc[history["stage"] == stage]
    curves = []
    for column, label in (("train", "training"), ("validation", "validation")):
        part = table.loc[table[column].notna()]
        thin = part.iloc[:: max(1, -(-len(part) // points))]
        curves.append(curve(_STEP, thin["step"].to_numpy(), _LOSS, thin[column].to_numpy(), label))
    return hv.Overlay(curves, label=str(stage or ""))
