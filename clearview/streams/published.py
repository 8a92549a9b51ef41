"""The lines of a patch as Via Machinae finds them: regions of interest, protoclusters, protostreams.

After Shih et al. 2021 (arXiv:2104.12789) and 2023 (arXiv:2303.01529): in every signal region and every window of the
other proper motion the stars of highest score, their strongest line, and what strengthens each other merged.
"""

from collections.abc import Callable, Mapping

import numpy as np

from clearview.streams.anomaly import Scores
from clearview.streams.cells import Excess
from clearview.streams.config import ScanConfig
from clearview.streams.lines import Footprint, strongest_line
from clearview.streams.merge import MergeConfig, Protocluster, Protostream, merge_lines
from clearview.streams.regions import SCANS
from clearview.streams.view import View


def protostreams(
    view: View, config: ScanConfig, scores: Mapping[str, tuple[list, Scores]], merge: MergeConfig | None = None, *,
    tell: Callable[[float], object] | None = None,
) -> list[Protostream]:  # fmt: skip
    """The protostreams of a patch, the strongest first.

    Args:
        view: of the patch.
        config: ``cells[0]`` is the width of the windows in the other proper motion, half of it their step; ``tops[0]``
            how many stars of highest score a line is of; ``reach``, ``fewest`` and ``hough`` as in a scan.
        scores: of `score_patch`.
        merge: when lines are one.
        tell: called with the fraction done; it raises to stop.
    """
    rows, wide, top = view.searched, config.cells[0], config.tops[0]
    x, y, pm = view.x[rows], view.y[rows], view.pm[rows]
    footprint = Footprint(config.hough, np.stack([x, y], 1))
    windows = np.arange(-config.reach, config.reach - wide + 1e-9, wide / 2)
    of_all = [(scan, made.ln_ratio[k][rows], region) for scan, (regions, made) in scores.items()
              for k, region in enumerate(regions)]  # fmt: skip
    clusters = []
    for number, (scan, values, region) in enumerate(of_all):
        if tell is not None:
            tell(0.7 * number / len(of_all))
        other = pm[:, 1 - SCANS.index(scan)]
        for low in windows:
            own = np.flatnonzero((other >= low) & (other < low + wide) & np.isfinite(values))
            if len(own) < max(config.fewest, top + 1):
                continue
            best = own[np.argpartition(-values[own], top)[:top]]
            line = strongest_line(x[best], y[best], config.hough, reference=footprint)
            clusters.append(Protocluster(
                scan, (region.low, region.high), (low, low + wide), tuple(pm[best].mean(0)), rows[best], line
            ))  # fmt: skip

    def merging(share):
        if tell is not None:
            tell(0.7 + 0.3 * share)

    return merge_lines(
        clusters, x, y, MergeConfig() if merge is None else merge, ids=rows, hough=config.hough, reference=footprint,
        on_progress=merging,
    )  # fmt: skip


def as_lines(found: list[Protostream], config: ScanConfig) -> list[Excess]:
    """Protostreams as lines that are followed."""
    return [
        Excess(
            p.sigma, p.line.theta, p.line.r, config.hough.width, p.line.count, p.line.expected, tuple(p.pm),
            config.cells[0], len(p.stars), f"{len(p.clusters)} regions of interest",
        ) for p in found
    ]  # fmt: skip
