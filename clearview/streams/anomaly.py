"""Weakly supervised anomaly scores: how overdense a signal region is at each star, against its sidebands.

A signal region (SR) is an interval of a scanned variable m; what lies beyond it are its sidebands. Nobody labels a
star: every method here compares the SR with what the sidebands lead one to expect in it,

    R(x) = p(x | SR) / p(x | background in the SR),

and differs in how it learns R. A star's score comes from a model that did not see it (k folds). The models of all
signal regions, folds and ensemble members are trained together, as members of one training.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import lax, random
from jaxtyping import Array

from clearview import checks
from clearview.checks import a
from clearview.flows.batches import split
from clearview.flows.classify import Classifier, ClassifierConfig
from clearview.flows.discrete import MAF, FlowConfig
from clearview.flows.ensemble import stack
from clearview.flows.fit import HISTORY, FitConfig, OnProgress, Progress, optimise
from clearview.flows.networks import generator

FEWEST = 100
"""Stars that a signal region and its sidebands have at least."""

EDGE = 1e-3
"""How far the logarithm of the odds keeps from the edges of a feature, in units of its range."""

_CHUNK = 2**14

# Chosen by held-out loss, on 0.6 % of signal among 121,000 events (tests/benchmarks/lhco.py, seed 100). Classifiers at
# this rate, batches of 512: 16 x 2 0.69308, 32 x 2 0.69301, 64 x 2 0.69305, 32 x 3 0.69283, and with batches of 256
# 32 x 3 0.69285, 32 x 4 0.69290 (depth 2, at a rate of 2e-3: 0.69309, and half the significance). Flows: affine 6 x 48
# 5.4951, spline 2 x 48 5.4917, 3 x 32 5.4912.
_SIZE, _FLOW_SIZE = ClassifierConfig(), FlowConfig(3, 32, 2, "spline", spread=1.0)
_CLASSIFIER = FitConfig(
    epochs=20, min_steps=1000, batch_size=512, learning_rate=1e-2, validation=0.15, average=0.05
)  # fmt: skip
_FLOW = FitConfig(epochs=8, min_steps=1500, batch_size=512, learning_rate=3e-3, validation=0.1, average=0.05)


@dataclass(frozen=True)
class _Method:
    """What all methods have.

    Attributes:
        sideband: only stars within so far beyond the edges of the SR (of all that share a flow) are its sidebands, in
            units of m; None for all.
    """

    sideband: float | None = None

    def __post_init__(self):
        checks.numbers(self, sideband=(checks.ABOVE_0, checks.MOST), optional=True)
        checks.parts(self)


@dataclass(frozen=True)
class Anode(_Method):
    """R = p(x | m) learnt in the SR / p(x | m) learnt in the sidebands and interpolated into the SR.

    Nachman & Shih 2020 (arXiv:2001.04990); for streams Shih et al. 2021 (arXiv:2104.12789). Both densities are masked
    autoregressive flows.

    Attributes:
        flow, training: of both densities.
        share: how many neighbouring regions have one flow of the sidebands; its gap covers them all.
        logit: whether the flows see a feature as the logarithm of the odds of its place in its range, so that no
            density has to end at an edge; else as it is.
    """

    flow: FlowConfig = _FLOW_SIZE
    training: FitConfig = _FLOW
    share: int = 1
    logit: bool = True

    def __post_init__(self):
        super().__post_init__()
        checks.numbers(self, whole=True, share=(1, 1000))
        a(self.logit, bool, "logit as True or False")

    def _score(self, work: "_Work"):
        sidebands = work.sideband_flows(self, self.training, work.members)
        pools = [(work.learnt_from(work.inside[r], f), ()) for r, f in work.models]
        densities, held_out = work.train(
            lambda key: MAF(work.dim, 1, self.flow, key=key), _minus_log_prob, pools, self.training,
            "signal region flows", flow=True,
        )  # fmt: skip
        owner = work.owners(self.share)

        def score(r, f, rows):
            x, m = work.flow_view.of(work.features[rows]), work.m[rows]
            there = work.values(densities, work.models.index((r, f)), x, m)
            return there - work.values(sidebands, owner[r], x, m)

        return score, held_out


@dataclass(frozen=True)
class _ByClassifier(_Method):
    """What the methods with a classifier have besides.

    Attributes:
        classifier, training: its network, and how it is trained.
        sees_scan: whether m is a feature of the classifier too.
        oversample: background stars of a pass for each star of the SR, as far as there are so many.
        most: rows of a pass above which there is no more oversampling.
    """

    classifier: ClassifierConfig = _SIZE
    training: FitConfig = _CLASSIFIER
    sees_scan: bool = False
    oversample: float = 4.0
    most: int = 100_000

    def __post_init__(self):
        super().__post_init__()
        checks.numbers(self, oversample=(1, 100))
        checks.numbers(self, whole=True, most=(1000, 2**20))
        a(self.sees_scan, bool, "sees_scan as True or False")

    def _backgrounds(self, work: "_Work") -> list[tuple[np.ndarray, ...]]:
        """For each region the rows of the table that stand for its background, in parts that count alike."""
        raise NotImplementedError

    def _score(self, work: "_Work"):
        backgrounds = self._backgrounds(work)
        pools = [
            (work.learnt_from(work.inside[r], f), tuple(work.background_of(part, f) for part in backgrounds[r]))
            for r, f in work.models
        ]
        models, held_out = work.train(
            lambda key: Classifier(work.dim + self.sees_scan, self.classifier, key=key), _cross_entropy, pools,
            self.training, "classifiers", self.oversample, self.most, self.sees_scan,
        )  # fmt: skip

        def score(r, f, rows):
            return work.values(
                models, work.models.index((r, f)), work.view.of(work.features[rows]), work.m[rows], self.sees_scan
            )

        return score, held_out


@dataclass(frozen=True)
class Cwola(_ByClassifier):
    """Classification without labels: a classifier of the SR against the sidebands, and R the odds it gives.

    Collins, Howe & Nachman 2018 (arXiv:1805.02664); for the stream GD-1 Pettee et al. 2023 (arXiv:2305.03761). It
    takes the features as independent of m: what changes with m is taken for signal. The sidebands below and above
    count alike, as far as no star of theirs then counts more than one of the SR.
    """

    def _backgrounds(self, work):
        return [work.sides[r] for r in range(len(work.regions))]


@dataclass(frozen=True)
class Cathode(_ByClassifier):
    """A flow p(x | m) learnt in the sidebands makes stars of the SR; R by a classifier of the SR against them.

    Hallin et al. 2021 (arXiv:2109.00546). The stars are made at m drawn from a smooth density of the SR's own.

    Attributes:
        flow, flow_training: of the sidebands.
        share: how many neighbouring regions have one flow; its gap covers them all.
        logit: as of `Anode`; the classifier sees the features as they are.
        flows: how many flows of one region make its stars by turns; ``members`` counts the classifiers alone.
    """

    flow: FlowConfig = _FLOW_SIZE
    flow_training: FitConfig = _FLOW
    share: int = 1
    logit: bool = True
    flows: int = 1

    def __post_init__(self):
        super().__post_init__()
        checks.numbers(self, whole=True, share=(1, 1000), flows=(1, 1000))
        a(self.logit, bool, "logit as True or False")

    def _backgrounds(self, work):
        flows, owner, backgrounds = (
            work.sideband_flows(self, self.flow_training, self.flows),
            work.owners(self.share),
            [],
        )
        for r, (low, high) in enumerate(work.regions):
            rng = np.random.default_rng([work.seed, 4, r])
            own = work.scan[work.inside[r]]
            count = round(min(self.oversample * own.size, max(own.size, self.most)))
            # Silverman's rule for a normal; reflected at the edges of the SR.
            m = rng.choice(own, count) + 0.9 * own.std() * own.size**-0.2 * rng.standard_normal(count)
            m = low + np.abs((m - low) % (2 * (high - low)))
            m = np.where(m > high, 2 * high - m, m)
            backgrounds.append((work.append(work.drawn(flows, owner[r] * self.flows, self.flows, m, r), m),))
            work.tell("samples", r + 1, len(work.regions))
        return backgrounds


@dataclass(frozen=True, eq=False)
class Idealised(_ByClassifier):
    """As `Cathode`, with a background that is given: what a method could reach that interpolated without an error.

    Attributes:
        background: (M, d) features of a pure background.
        background_scan: (M,) its values of the scanned variable.
    """

    background: Any = field(default=None, repr=False)
    background_scan: Any = field(default=None, repr=False)

    def _backgrounds(self, work):
        if self.background is None or self.background_scan is None:
            raise ValueError("Expected Idealised with background and background_scan, got none; pass both.")
        features, scan = _tables(self.background, self.background_scan, "background")
        if features.shape[1] != work.dim:
            raise ValueError(
                f"Expected a background with the {work.dim} features of the stars, got {features.shape[1]}; pass the "
                "same."
            )
        rows = work.append(features, scan)
        found = [rows[_within(scan, *region)] for region in work.regions]
        for (low, high), one in zip(work.regions, found, strict=True):
            if len(one) < FEWEST:
                raise ValueError(
                    f"Expected at least {FEWEST} of the background in the signal region {low:g} to {high:g}, got "
                    f"{len(one)}; give more."
                )
        return [(one,) for one in found]


class Scores(NamedTuple):
    """The scores of stars in signal regions.

    Attributes:
        ln_ratio: for each region (N,) float32 ln R, NaN for a star outside of it and what was to be scored ``beside``
            it, or of a region that was not scored.
        stars: for each region how many stars are inside.
        held_out: for each region the validation loss of its models, to compare settings by: cross entropy (ln 2 if
            nothing is found), of `Anode` the mean -ln p of the SR; NaN if it was not scored.
        stopped: "finished", or "cancelled", with no scores.
        message: in words, with what was special about a region.
        seconds: that it took.
    """

    ln_ratio: list[np.ndarray]
    stars: np.ndarray
    held_out: np.ndarray
    stopped: str
    message: str
    seconds: float


def score_region(method, features, scan, low: float, high: float, **kwargs: Any) -> Scores:
    """`score_regions` for one signal region, low <= m < high.

    Raises:
        ValueError: as `score_regions`.
    """
    return score_regions(method, features, scan, [(low, high)], **kwargs)


def score_regions(
    method, features, scan, regions: Sequence[tuple[float, float]], *, seed: int = 0, folds: int = 2,
    members: int = 1, beside: float = 0.0, on_progress: OnProgress = None,
) -> Scores:  # fmt: skip
    """Score the stars of several signal regions of one variable.

    Args:
        method: `Anode`, `Cwola`, `Cathode` or `Idealised`.
        features: (N, d) numbers of each star; the scanned variable is none of them.
        scan: (N,) the scanned variable m.
        regions: (low, high) of each, low <= m < high; they may overlap.
        seed: of the folds, networks, batches and samples; the same gives the same scores.
        folds: parts of the SR; the stars of each are scored by models that learnt from the others.
        members: of an ensemble for each region and fold; ln R is their mean.
        beside: score the stars so far beyond the edges too, in units of m, for `clearview.streams.bump_hunt`; `Cwola`
            then learns from its sidebands by folds. Not with `Anode`, whose flows of the sidebands learnt from the very
            stars that they would score, which makes bumps where there are none.
        on_progress: called with `clearview.flows.Progress`, whose stage is "sideband flows", "signal region flows",
            "samples", "classifiers" or "scores"; returning False cancels.

    Returns:
        The scores. A region with fewer than 100 stars in it, or beside it, is not scored, and the message says so.

    Raises:
        TypeError: for a method that is none.
        ValueError: for `Anode` with ``beside``, values that are not finite, a feature without spread, arrays of
            different lengths, regions that are no intervals, or not one that can be scored.
    """
    a(method, _Method, "a method: Anode, Cwola, Cathode or Idealised")
    seed = checks.number("seed", seed, *checks.SEEDS, whole=True)
    beside = checks.number("beside", beside, 0)
    if beside and isinstance(method, Anode):
        raise ValueError("Expected Cwola, Cathode or Idealised to score beside a region, got Anode; take one of them.")
    folds = checks.number("folds", folds, 2, 100, whole=True)
    members = checks.number("members", members, 1, 1000, whole=True)
    features, scan = _tables(features, scan, "features")
    began = time.monotonic()
    intervals = _intervals(regions)
    inside = [np.flatnonzero(_within(scan, *region)) for region in intervals]
    work = _Work(method, features, scan, intervals, inside, seed, folds, members, beside, on_progress)
    nan = np.full(len(scan), np.nan, np.float32)
    ln_ratio, held_out = [nan.copy() for _ in intervals], np.full(len(intervals), np.nan)
    stars = np.array([len(rows) for rows in inside])

    def result(stopped, message):
        return Scores(ln_ratio, stars, held_out, stopped, message, time.monotonic() - began)

    name = type(method).__name__
    try:
        score, losses = method._score(work)
        for n, (r, f) in enumerate(work.models):
            low, high = work.regions[r]
            rows = np.flatnonzero(_within(scan, low - beside, high + beside) & (work.fold == f))
            ln_ratio[work.kept[r]][rows] = score(r, f, rows)
            work.tell("scores", n + 1, len(work.models))
    except _Cancelled as stop:
        ln_ratio = [nan.copy() for _ in intervals]
        return result("cancelled", f"{name}: cancelled during {stop}; nothing is scored.")
    held_out[work.kept] = losses.reshape(len(work.regions), -1).mean(1)
    told = f"{name}: {len(work.kept)} of {len(intervals)} signal regions scored" if len(intervals) > 1 else name
    return result("finished", "; ".join([told, *work.notes]) + ".")


class _Cancelled(Exception):
    """Progress was told, and the answer was False."""


def _tables(features, scan, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and scan of one length, finite, as float64."""
    try:
        features, scan = np.asarray(features, float), np.asarray(scan, float)
    except (TypeError, ValueError):
        raise ValueError(f"Expected {name} and scan as numbers, got something else; pass arrays.") from None
    if features.ndim != 2 or scan.ndim != 1 or len(features) != len(scan) or not features.shape[1]:
        raise ValueError(
            f"Expected {name} as a table (N, d) and its scan as (N,), got shapes {features.shape} and {scan.shape}; "
            "stack the columns."
        )
    for what, values in ((name, features), ("scan", scan)):
        if wrong := int(np.sum(~np.isfinite(values).reshape(len(values), -1).all(1))):
            raise ValueError(f"Expected finite {what}, got {wrong:,} stars with NaN or infinity; cut them first.")
    if len(scan) > 2**23:
        raise ValueError(f"Expected at most {2**23:,} stars at a time, got {len(scan):,}; divide them into patches.")
    return features, scan


def _intervals(regions) -> list[tuple[float, float]]:
    found = []
    for region in regions:
        pair = tuple(region)
        if len(pair) != 2:
            raise ValueError(f"Expected a signal region as (low, high), got {checks.shown(region)}; give two numbers.")
        low, high = (float(checks.number("an edge of a signal region", edge)) for edge in pair)
        if low >= high:
            raise ValueError(f"Expected a signal region from low to high, got {low:g} to {high:g}; exchange them.")
        found.append((low, high))
    if not found:
        raise ValueError("Expected at least one signal region, got none; give (low, high).")
    return found


def _within(scan, low, high):
    return (scan >= low) & (scan < high)


class _Work:
    """The stars as the models see them, which of them each model learns from, and the training of all models.

    Attributes:
        features: (N + made, d) as they are, background that is made or given last.
        m: (N + made, 1) float32 scan as the models see it.
        scan: (N,) as it is.
        view, flow_view: how classifiers and flows see the features.
        kept: which of the regions can be scored; all else here is of these alone.
        regions: their intervals; ``inside`` and ``sides`` (below, above) their rows.
        fold: (N,) which fold a star is in.
        models: (region, fold) of each model.
        notes: what was special.
    """

    def __init__(self, method, features, scan, intervals, inside, seed, folds, members, beside, on_progress):
        self.beside, self.method, self.seed, self.members, self.on_progress = beside, method, seed, members, on_progress
        self.scan, self.features, self.dim = scan, features, features.shape[1]
        self.began, self.notes = time.monotonic(), []
        gaps = _gaps(intervals, getattr(method, "share", 1))
        reach = np.inf if method.sideband is None else method.sideband
        self.kept, self.regions, self.inside, self.sides, self.gaps = [], [], [], [], []
        for i, ((low, high), gap) in enumerate(zip(intervals, gaps, strict=True)):
            below = np.flatnonzero((scan < gap[0]) & (scan >= gap[0] - reach))
            above = np.flatnonzero((scan >= gap[1]) & (scan < gap[1] + reach))
            words = f"the signal region {low:g} to {high:g}"
            lacking = (
                f"{words} has {len(inside[i]):,} stars of the {max(FEWEST, 64 * folds):,} that it needs"
                if len(inside[i]) < max(FEWEST, 64 * folds)
                else f"{words} has {len(below) + len(above):,} stars in its sidebands of the {FEWEST:,} that it needs"
                if len(below) + len(above) < FEWEST and not isinstance(method, Idealised)
                else None
            )
            if lacking:
                self.notes.append(f"not scored, as {lacking}")
                continue
            if not len(below) or not len(above):
                self.notes.append(f"{words} has no sideband {'below' if not len(below) else 'above'}")
            self.kept.append(i)
            self.regions.append((low, high))
            self.inside.append(inside[i])
            self.sides.append((below, above))
            self.gaps.append(gap)
        if not self.kept:
            raise ValueError(f"Expected signal regions with stars, but {lacking}; widen it, or the sidebands.")
        self.view, self.flow_view = _View(features, False), _View(features, getattr(method, "logit", False))
        low, self.m_center, high = np.percentile(scan, [16, 50, 84])
        self.m_scale = (high - low) / 2 if high > low else 1.0
        self.m = self._scan_seen(scan)
        self.fold = (np.random.default_rng([seed, 0]).permutation(len(scan)) % folds).astype(np.int8)
        self.models = [(r, f) for r in range(len(self.regions)) for f in range(folds)]

    def _scan_seen(self, scan):
        return ((scan - self.m_center) / self.m_scale).astype(np.float32)[:, None]

    def append(self, features, scan) -> np.ndarray:
        """Rows that now hold these further points."""
        first = len(self.features)
        self.features = np.concatenate([self.features, features])
        self.m = np.concatenate([self.m, self._scan_seen(scan)])
        return np.arange(first, len(self.features))

    def learnt_from(self, rows, fold: int) -> np.ndarray:
        """Those of these stars that are in all other folds."""
        return rows[self.fold[rows] != fold]

    def background_of(self, rows, fold: int) -> np.ndarray:
        """Those of these rows from which a model may learn its background: where sidebands are scored, by folds."""
        real = len(rows) and rows.max() < len(self.scan)
        return self.learnt_from(rows, fold) if self.beside and real else rows

    def tell(self, stage: str, done: int, total: int) -> None:
        """Report a stage that is no training."""
        if self.on_progress is None:
            return
        told = Progress(
            stage, done, total, time.monotonic() - self.began, None, np.nan, np.nan, pd.DataFrame(columns=HISTORY),
            done / total,
        )  # fmt: skip
        if self.on_progress(told) is False:
            raise _Cancelled(stage)

    def owners(self, share: int) -> list[int]:
        """For each region the number of the sideband flow that serves it."""
        return [list(dict.fromkeys(self.gaps)).index(gap) for gap in self.gaps]

    def sideband_flows(self, method, training: FitConfig, members: int):
        """Flows for each gap, learnt from the stars beside it."""
        gaps = list(dict.fromkeys(self.gaps))
        pools = [(np.concatenate(self.sides[self.gaps.index(gap)]), ()) for gap in gaps]
        flows, _ = self.train(
            lambda key: MAF(self.dim, 1, method.flow, key=key), _minus_log_prob, pools, training, "sideband flows",
            flow=True, members=members,
        )  # fmt: skip
        return flows

    def train(
        self, build: Callable, loss: Callable, pools, training: FitConfig, stage: str, oversample=1.0, most=1,
        sees_scan: bool = False, flow: bool = False, members: int | None = None,
    ):  # fmt: skip
        """Train one model, and its further members, for each pair of pools; a model sees its own rows alone.

        Args:
            build: makes a model from a key.
            loss: of (model, x, m, background x, background m).
            pools: for each model rows to learn from, and the parts of its background, if it has one.
            training: how.
            stage: its name.
            oversample, most, sees_scan: see `_ByClassifier`.
            flow: whether the models see the features as flows do.
            members: models for each pair of pools, if other than ``self.members``.

        Returns:
            The models, one along each first axis, and the validation loss of each.
        """
        key = random.fold_in(random.key(self.seed), sum(map(ord, stage)))
        each = members or self.members
        count = len(pools) * each
        size = max(max(len(own), round(min(oversample * len(own), most, sum(map(len, parts))))) for own, parts in pools)
        order, held_out = split(key, size, training.validation)
        rows: list[np.ndarray] = [np.empty((size, count), np.float32) for _ in range(1 + bool(pools[0][1]))]
        for i in range(count):
            self.tell(stage, 0, 1)
            rng = generator(key, 1, i)
            own, parts = pools[i // each]
            rows[0][order, i] = _deal(rng, [own], [1.0], size, held_out, training.validation)
            if parts:
                shares = _shares([len(part) for part in parts], len(own))
                rows[1][order, i] = _deal(rng, parts, shares, size, held_out, training.validation)
        table, m = jnp.asarray((self.flow_view if flow else self.view).of(self.features)), jnp.asarray(self.m)
        if sees_scan:
            table = jnp.concatenate([table, m], axis=1)

        def of_member(model, key, *rows):
            mine = lax.stop_gradient(model.number).astype(jnp.int32)
            chosen = [lax.dynamic_index_in_dim(r, mine, 1, keepdims=False).astype(jnp.int32) for r in rows]
            return loss(model.model, *(part for c in chosen for part in (table[c], m[c])))

        start = stack([_Numbered(build(random.fold_in(key, i)), jnp.float32(i)) for i in range(count)])
        made = optimise(
            start, of_member, tuple(rows), training, key=key, on_progress=self.on_progress, stage=stage, members=count,
        )  # fmt: skip
        if made.stopped == "cancelled":
            raise _Cancelled(stage)
        if made.stopped == "diverged":
            self.notes.append(made.message.rstrip("."))
        losses = np.asarray(made.state.best_loss, float) if training.validation else np.full(count, np.nan)
        return made.model.model, losses.reshape(len(pools), each).mean(1)

    def values(self, models, number: int, x, m, sees_scan: bool = False) -> np.ndarray:
        """(N,) ln p, or ln R of a classifier, as the mean of the members of one model."""
        found = [
            np.asarray(_values(models, number * self.members, self.members, sees_scan, *part))[:size]
            for size, part in _chunks(x, m)
        ]
        return np.concatenate(found) if found else np.empty(0, np.float32)

    def drawn(self, flows, first: int, count: int, scan, region: int) -> np.ndarray:
        """(M, d) features drawn from ``count`` of the flows by turns, at these values of the scanned variable."""
        key = random.fold_in(random.fold_in(random.key(self.seed), 5), region)
        made = np.empty((len(scan), self.dim), np.float32)
        for member in range(count):
            mine = slice(member, None, count)
            parts = _chunks(self._scan_seen(scan[mine]))
            made[mine] = np.concatenate([
                np.asarray(_draws(flows, first + member, random.fold_in(key, 1000 * i + member), m))[:n]
                for i, (n, (m,)) in enumerate(parts)
            ])  # fmt: skip
        return self.flow_view.back(made)


class _View:
    """Features as models see them: of order one, and maybe without edges."""

    def __init__(self, features, logit: bool):
        self.low, self.high, self.logit = features.min(0), features.max(0), logit
        for i in np.flatnonzero(~(self.high > self.low)):
            raise ValueError(f"Expected features that differ between stars, got one value in column {i}; leave it out.")
        low, self.center, high = np.percentile(self._spread(features), [16, 50, 84], axis=0)
        self.scale = np.where(high > low, (high - low) / 2, 1.0)

    def _spread(self, features):
        if not self.logit:
            return features
        u = EDGE + (1 - 2 * EDGE) * np.clip((features - self.low) / (self.high - self.low), 0, 1)
        return np.log(u) - np.log1p(-u)

    def of(self, features) -> np.ndarray:
        """(N, d) float32 of features (N, d)."""
        return ((self._spread(features) - self.center) / self.scale).astype(np.float32)

    def back(self, seen) -> np.ndarray:
        """The features; none beyond the edges, for what no star passes would be told by it alone."""
        spread = self.center + self.scale * seen.astype(float)
        if self.logit:
            u = (1 / (1 + np.exp(-spread)) - EDGE) / (1 - 2 * EDGE)
            spread = self.low + u * (self.high - self.low)
        return np.clip(spread, self.low, self.high)


class _Numbered(eqx.Module):
    """A model that knows which of the members it is."""

    model: Any
    number: Array


def _gaps(intervals, share: int) -> list[tuple[float, float]]:
    """For each region the interval that its sidebands leave out: it and its neighbours, ``share`` at a time."""
    order = sorted(range(len(intervals)), key=lambda i: intervals[i])
    gaps: list[Any] = [None] * len(intervals)
    for first in range(0, len(order), share):
        group = order[first : first + share]
        gap = min(intervals[i][0] for i in group), max(intervals[i][1] for i in group)
        for i in group:
            gaps[i] = gap
    return gaps


def _shares(sizes: list[int], stars: int) -> list[float]:
    """How much each part of a background counts: alike, as long as no row then counts more than a star of the SR."""
    if len(sizes) == 1:
        return [1.0]
    least = min(0.5, min(sizes) / stars)
    least = max(least, min(sizes) / sum(sizes))
    return [least, 1 - least] if sizes[0] <= sizes[1] else [1 - least, least]


def _deal(rng, parts, shares, size: int, held_out: int, validation: float) -> np.ndarray:
    """(size,) rows, of each part its share, the first ``held_out`` of them of stars that are not among the others."""
    cards = [np.empty(0, int), np.empty(0, int)]
    sizes = held_out, size - held_out
    for n, (part, share) in enumerate(zip(parts, shares, strict=True)):
        part = rng.permutation(part)
        cut = round(validation * len(part))
        for side, pool in enumerate((part[:cut], part[cut:])):
            wanted = sizes[side] - len(cards[side]) if n == len(parts) - 1 else round(share * sizes[side])
            if wanted and len(pool):
                cards[side] = np.concatenate([cards[side], np.resize(pool, wanted)])
    # A part without any to hold out leaves the others to fill its place.
    return np.concatenate([rng.permutation(np.resize(cards[side], sizes[side])) for side in (0, 1)])


def _minus_log_prob(model, x, m):
    return -model._log_prob(x, m).mean()


def _cross_entropy(model, x, m, other, other_m):
    return model.loss_of_two(x, other)


def _chunks(*arrays) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    """Parts of one length, the last filled up, and how many rows of each are real: one compilation serves all."""
    for first in range(0, len(arrays[0]), _CHUNK):
        parts = [array[first : first + _CHUNK] for array in arrays]
        size = len(parts[0])
        yield size, tuple(np.pad(part, ((0, _CHUNK - size), (0, 0)), mode="edge") for part in parts)


def _at(models, number, count):
    return jax.tree.map(
        lambda leaf: lax.dynamic_slice_in_dim(leaf, number, count) if eqx.is_array(leaf) else leaf, models
    )


@eqx.filter_jit
def _values(models, number, count: int, sees_scan: bool, x, m):
    def one(model):
        if isinstance(model, Classifier):
            return model.logit(jnp.concatenate([x, m], axis=1) if sees_scan else x)
        return model._log_prob(x, m)

    return eqx.filter_vmap(one)(_at(models, jnp.asarray(number), count)).mean(0)


@eqx.filter_jit
def _draws(models, number, key, m):
    model = jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, _at(models, jnp.asarray(number), 1))
    return model._sample(key, len(m), m)
