"""How often chance makes a candidate: the same search on patches that hold no stream.

A search looks at thousands of cells of proper motion and at all lines in each. The strongest candidate of an empty
patch, searched in the same way, knows of all of them, so a probability taken from many such patches needs no further
correction for how many places were looked at.
"""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2, gumbel_r

from clearview import checks
from clearview.catalogs import Catalog
from clearview.flows.fit import OnProgress
from clearview.streams.config import ScanConfig
from clearview.streams.found import Scan
from clearview.streams.scan import Cancelled, find_lines, follow, steps
from clearview.streams.view import DIGEST, View, score_patch, view_of

KINDS = ("permuted", "smoothed")


@dataclass(frozen=True, eq=False)
class Null:
    """The strongest candidates of empty patches.

    Attributes:
        best: (n,) strength of the strongest candidate of each patch, 0 where there was none.
        strengths: strengths of all candidates of each patch.
        kind: how the patches were made.
        seconds: that it took.
        config: of the scans, if they all had one.
        digest: of the stars that the patches were made of, if they were made of one patch.
    """

    best: np.ndarray
    strengths: tuple[np.ndarray, ...]
    kind: str
    seconds: float
    config: ScanConfig | None = None
    digest: str = ""

    def p_value(self, strength: float) -> float:
        """Probability that the strongest candidate of an empty patch is at least so strong: (1 + k) / (1 + n)."""
        return float((1 + np.sum(self.best >= strength)) / (1 + len(self.best)))

    def judge(self, scan: Scan, patches: int = 1) -> Scan:
        """The scan with the chances of its candidates: ``p_fluke``, the probability that the strongest candidate of as
        many empty patches is at least as strong, so that all that was looked at is accounted for;
        ``p_extrapolated``, the same by `extrapolated`; and ``false_alarms``, the candidates at least as strong that
        these patches have on average.

        Args:
            scan: of the patch that these are empty ones of, searched in the same way.
            patches: that were searched in all.

        Raises:
            TypeError: for something else than a scan.
            ValueError: for fewer than one patch, or a scan of other stars or with other settings than the empty ones.
        """
        checks.a(scan, Scan, "a Scan")
        checks.number("patches", patches, 1, 10**6, whole=True)
        for what, own, other in (("settings", self.config, scan.config), ("stars", self.digest, scan.digest)):
            if own and own != other:
                raise ValueError(
                    f"Expected a scan with the {what} of the empty patches, got one with others; search empty patches "
                    "of these stars with its config."
                )
        table: Any = scan.candidates.copy()
        told = np.asarray(table["strength"], float)
        for name, chance in (("p_fluke", self.p_value), ("p_extrapolated", self.extrapolated)):
            alone = np.array([chance(s) for s in told], float)
            table[name] = -np.expm1(patches * np.log1p(-np.minimum(alone, 1 - 1e-12)))
        table["false_alarms"] = np.array([patches * self.per_patch(s)[0] for s in told], float)
        return dataclasses.replace(scan, candidates=table)

    def extrapolated(self, strength: float) -> float:
        """The same beyond the strongest that was drawn, by a Gumbel distribution through ``best``: an estimate that
        nothing checks out there.
        """
        found = self.best[self.best > 0]
        if len(found) < 10:
            return np.nan
        return float(len(found) / len(self.best) * gumbel_r.sf(strength, *gumbel_r.fit(found)))

    def per_patch(self, strength: float, level: float = 0.95) -> tuple[float, float]:
        """Candidates at least so strong in an empty patch: the mean, and its upper limit at ``level``."""
        checks.number("level", level, 0.01, 0.999)
        count, n = int(sum(np.sum(s >= strength) for s in self.strengths)), max(len(self.strengths), 1)
        return count / n, float(chi2.ppf(level, 2 * count + 2) / 2 / n)

    def threshold(self, per_patch: float = 0.05) -> float:
        """The strength that so many candidates of an empty patch reach, on average."""
        every = np.sort(np.concatenate([*self.strengths, [0.0]]))[::-1]
        allowed = int(np.floor(per_patch * len(self.strengths)))
        return float(every[min(allowed, len(every) - 1)]) + 1e-6


def permuted(view: View, rng: np.random.Generator, *, block: float | None = 6.0, without=None) -> View:
    """A view whose searched stars have exchanged their places.

    The sky keeps its edges, holes, stripes and gradients, proper motions and photometry keep theirs. The places of a
    stream whose members stay are dealt to other motions. Stars exchange places within blocks of proper motion, so that
    a population keeps roughly where it is.

    Args:
        view: of a patch.
        rng: NumPy's generator.
        block: mas/yr; None lets all stars exchange places.
        without: (N,) stars that are left out, such as the members of known streams.
    """
    rows = view.searched
    if without is not None:
        rows = rows[~np.asarray(without)[rows]]
    blocks = np.zeros(len(rows), int)
    if block is not None:
        _, blocks = np.unique(np.floor(view.pm[rows] / block), axis=0, return_inverse=True)
    x, y = view.x.copy(), view.y.copy()
    order = np.argsort(blocks.ravel(), kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(blocks.ravel()[order])) + 1):
        other = rng.permutation(group)
        x[rows[group]], y[rows[group]] = view.x[rows[other]], view.y[rows[other]]
    return view._replace(x=x, y=y, searched=rows)


def smoothed(view: View, rng: np.random.Generator, *, sky: float = 1.5, pm: float = 0.3, without=None) -> View:
    """A view of as many stars drawn from a kernel density of the searched ones: each a star moved by chance.

    Gradients of any population stay; what is narrower than the kernel is smeared: streams, clumps, stripes, and holes
    but for those without any star.

    Args:
        view: of a patch.
        rng: NumPy's generator.
        sky: standard deviation on the sky, deg.
        pm: in each proper motion, mas/yr.
        without: (N,) stars that are left out.
    """
    rows = view.searched
    if without is not None:
        rows = rows[~np.asarray(without)[rows]]
    many = len(view.searched)

    def cells(x, y):
        return np.floor(np.asarray(x) / 0.5).astype(np.int64) * 10_000 + np.floor(np.asarray(y) / 0.5).astype(np.int64)

    seen = np.unique(cells(view.x[rows], view.y[rows]))
    x, y, drawn = np.empty(0), np.empty(0), np.empty(0, int)
    while len(x) < many:
        some = rng.choice(rows, many)
        a, b = (values[some] + sky * rng.standard_normal(many) for values in (view.x, view.y))
        kept = np.isin(cells(a, b), seen)
        x, y, drawn = np.append(x, a[kept]), np.append(y, b[kept]), np.append(drawn, some[kept])
    x, y, drawn = x[:many], y[:many], drawn[:many]
    moved = view.pm[drawn] + pm * rng.standard_normal((many, 2))
    error, cmd = (None if v is None else v[drawn] for v in (view.error, view.cmd))
    return View(x, y, moved, error, cmd, np.arange(many), np.ones(many, bool))


def null_scans(
    stars: Catalog, config: ScanConfig | None = None, *, n: int = 200, kind: str = "permuted",
    block: float | None = 6.0, scan: Scan | None = None, above: float | None = None, seed: int = 0,
    scores: Mapping[str, Any] | None = None, on_progress: OnProgress = None,
) -> Null:  # fmt: skip
    """Search ``n`` empty patches made from one.

    Scores that know nothing of the sky serve permuted patches as they are. Others would have to be learnt anew, which
    is not done here.

    Streams whose members are not left out stay in the empty patches, dealt to other motions or smeared, and make them
    give stronger candidates: the probabilities are too high then, those of fainter candidates by much.

    Args:
        stars: of `Patch.of`.
        config: of the scan.
        n: empty patches.
        kind: "permuted" (see `permuted`) or "smoothed" (see `smoothed`).
        block: of the permutation, mas/yr.
        scan: of the patch; members (probability > 0.5) of its candidates as strong as ``above`` are left out.
        above: strength; by default that of the weakest candidate told.
        seed: of the patches.
        scores: of `score_patch`, if they are at hand.
        on_progress: called with `Progress`; returning False ends it with the patches so far.

    Raises:
        ValueError: for another kind, fewer than one patch, or as `scan_patch`.
    """
    config = ScanConfig() if config is None else config
    checks.a(config, ScanConfig, "a ScanConfig")
    checks.number("n", n, 1, 10**6, whole=True)
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    if kind not in KINDS:
        raise ValueError(f"Expected kind among {', '.join(KINDS)}, got {checks.shown(kind)}; choose one.")
    began, view = time.monotonic(), view_of(stars, config)
    without = np.zeros(len(stars), bool)
    if scan is not None:
        for strength, members in zip(np.asarray(scan.candidates["strength"], float), scan.members, strict=True):
            if strength >= (scan.config.weakest if above is None else above):
                without[np.asarray(members["row"])[np.asarray(members["probability"]) > 0.5]] = True
    if config.method is not None and (config.sky or kind == "smoothed"):
        raise ValueError(
            "Expected scores that know nothing of the sky and permuted patches, got "
            f"sky={config.sky} and kind={kind!r}; make catalogues of empty patches and scan them."
        )
    if config.method is not None and scores is None:
        scores = score_patch(stars, config, on_progress=on_progress)
    if any(made.stopped != "finished" for _, made in (scores or {}).values()):
        n = 0
    strengths = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        empty = permuted(view, rng, block=block, without=without) if kind == "permuted" else smoothed(
            view, rng, without=without
        )  # fmt: skip
        done, stage = np.array([i, i + 0.6, i + 1]) / n, "empty patches"
        try:
            lines = find_lines(empty, config, scores, tell=steps(on_progress, stage, began, *done[:2]))
            found = follow(empty, lines, config, tell=steps(on_progress, stage, began, *done[1:]))
        except Cancelled:
            break
        strengths.append(np.array([f.strength for f in found]))
    best = np.array([s.max(initial=0.0) for s in strengths])
    return Null(best, tuple(strengths), kind, time.monotonic() - began, config, stars.digest(DIGEST))
