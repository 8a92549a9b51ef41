"""The progress of a training."""

from collections.abc import Mapping

import holoviews as hv
import pandas as pd

from clearview.figures.slices import curve
from clearview.figures.style import Named

_STEP, _LOSS = Named("step"), Named("loss")


def loss_curve(
    history: pd.DataFrame, stage: str | None = None, *, points: int = 400,
    others: Mapping[str, pd.DataFrame] | None = None,
) -> hv.Overlay:  # fmt: skip
    """Training and validation loss of one stage against the step.

    Args:
        history: columns ``stage``, ``step``, ``train`` and ``validation`` (NaN where it was not computed).
        stage: which stage; by default the last, as losses of different stages have no common scale.
        points: at most so many points a curve.
        others: histories of other fits by name, of whose same stage the validation loss is shown too.

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
    drawn = [(table, "train", "training"), (table, "validation", "validation")]
    drawn += [(other.loc[other["stage"] == stage], "validation", name) for name, other in (others or {}).items()]
    curves = []
    for rows, column, label in drawn:
        part = rows.loc[rows[column].notna()]
        thin = part.iloc[:: max(1, -(-len(part) // points))]
        curves.append(curve(_STEP, thin["step"].to_numpy(), _LOSS, thin[column].to_numpy(), label))
    return hv.Overlay(curves, label=str(stage or ""))
