"""Can two samples be told apart? Classifiers judge, on points that they have not learnt from.

A classifier that has learnt all that can be learnt gives ln(p_a / p_b), and the area under its curve (AUC) is 0.5 only
where both samples are of one distribution. A weaker one gives less, so an AUC is a lower bound of the difference: the
same test of a known difference (a power control) says what it would have seen.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import minimize
from scipy.spatial import KDTree
from scipy.special import expit
from threadpoolctl import threadpool_limits

from clearview import checks
from clearview.catalogs import Catalog, to_cylindrical
from clearview.catalogs.columns import PHASE_SPACE
from clearview.field import Axis, Quantity, make_field

LOCAL = ("x", "y", "z", "v_R", "v_phi", "v_z")
"""What is compared of catalogues with phase space, kpc and km/s: classifiers see a disc best in its own directions."""

FEWEST = 200
"""Points of a sample below which there is no telling."""


@dataclass(frozen=True)
class Comparison:
    """How well a classifier tells two samples apart.

    Attributes:
        auc: chance that a point of the first sample looks more like the first than one of the second does; 0.5 where
            they look the same.
        auc_error: its standard error for these classifiers (DeLong et al. 1988, Biometrics 44, 837), with equal points
            counted as one draw (Obuchowski 1997, Biometrics 53, 567).
        jsd: Jensen-Shannon divergence as the classifier sees it, bits: 0 for the same, 1 for samples apart.
        points_a, points_b: (N, d) what was compared.
        scores_a, scores_b: (N,) ln(p_a / p_b) of each point, by classifiers that have not learnt from it.
        columns: the names of the d columns.
        message: one sentence.
    """

    auc: float
    auc_error: float
    jsd: float
    points_a: np.ndarray
    points_b: np.ndarray
    scores_a: np.ndarray
    scores_b: np.ndarray
    columns: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Transfer:
    """Three samples: what tells ``first`` from ``second`` is asked of a third, the ``reference``.

    Attributes:
        first, second: the reference against each, by the classifier of first against second; of a first that is
            as the reference, the AUC is 0.5.
        direct: first against second.
        message: one sentence.
    """

    first: Comparison
    second: Comparison
    direct: Comparison
    message: str


@dataclass(frozen=True)
class Memorisation:
    """Whether a sample repeats what its model has learnt from.

    Attributes:
        ratio: median distance of the sample's points to the nearest one learnt from, over that of points held out.
        near: share of the sample nearer to one than 99 % of the points held out are; 0.01 of a smooth sample.
        near_error: its standard error.
        distances, held_out: (N,) of both, in units of the standard deviations; without points held out that are
            among those learnt from.
        message: one sentence.
    """

    ratio: float
    near: float
    near_error: float
    distances: np.ndarray
    held_out: np.ndarray
    message: str


OnDone = Callable[[float], object] | None
"""Gets the share that is done; returning False stops with `Cancelled`."""


class Cancelled(RuntimeError):
    """The work was stopped by ``on_progress``."""


def two_sample_test(
    a, b, *, columns: Iterable[str] | None = None, weights: Sequence[Any] | None = None, seed: int = 0,
    folds: int = 4, on_progress: OnDone = None,
) -> Comparison:  # fmt: skip
    """Tell two samples apart by boosted trees and a network together, each point judged by those that have not seen it.

    Args:
        a, b: arrays (N, d) and (M, d), or catalogues.
        columns: of catalogues, which to compare, by default `LOCAL`; of arrays their names.
        weights: (N,) and (M,) weights of the points, or None for either.
        seed: of the folds and classifiers.
        folds: parts that are judged in turn by classifiers that have learnt from the others. Equal points are in one.
        on_progress: called with the share done; returning False stops.

    Raises:
        KeyError: if a column is not there.
        TypeError, ValueError: for points that are not finite, of different numbers of columns or fewer than 200, or
            weights that are not positive.
        Cancelled: if it was stopped.
    """
    (a, b), names = _tables((a, b), columns)
    weights = _weights(weights, (a, b))
    scores, groups = _out_of_fold((a, b), weights, seed, folds, on_progress)
    return _comparison((a, b), scores, weights, groups, names)


def three_sample_test(
    first, second, reference, *, columns: Iterable[str] | None = None, seed: int = 0, folds: int = 4,
    on_progress: OnDone = None,
) -> Transfer:  # fmt: skip
    """Learn what tells ``first`` from ``second``, and ask with it which of them looks like ``reference``.

    With stars of a flow first and of a kernel second, the reference being real ones, as in GalaxyFlow (Lim, Raman,
    Buckley & Shih 2022, arXiv:2211.11765), where the flow had an AUC of 0.508 and the kernel 0.950.

    Args:
        first, second, reference: arrays (N, d) or catalogues.
        columns, seed, folds, on_progress: as in `two_sample_test`.

    Raises:
        KeyError, TypeError, ValueError, Cancelled: as `two_sample_test`.
    """
    (a, b, c), names = _tables((first, second, reference), columns)
    weights = _weights(None, (a, b, c))
    scores, groups = _out_of_fold((a, b, c), weights, seed, folds, on_progress)

    def compared(*two):
        parts = [[of[i] for i in two] for of in ((a, b, c), scores, weights, groups)]
        return _comparison(parts[0], parts[1], parts[2], parts[3], names)

    with_first, with_second = compared(0, 2), compared(2, 1)
    return Transfer(
        with_first, with_second, compared(0, 1),
        "By what tells the first from the second, the reference is told from the first with an AUC of "
        f"{with_first.auc:.3f} ± {with_first.auc_error:.3f}, from the second with {with_second.auc:.3f} ± "
        f"{with_second.auc_error:.3f}; 0.5 is the same.",
    )  # fmt: skip


def difference_map(comparison: Comparison, axes: Sequence[Axis], values: Sequence[Any] | None = None) -> xr.Dataset:
    """Where the classifier sees a difference, in one or two coordinates.

    Args:
        comparison: of two samples.
        axes: axes named for compared columns, or for coordinates among the ``values``.
        values: for each sample its coordinates by name, (N,) arrays in the order of its points; by default what was
            compared.

    Returns:
        score: mean ln(p_a / p_b) of the points of both in a cell, and score_error, its standard error; stars_a and
        stars_b, how many there are. Cells without any have NaN.

    Raises:
        ValueError: for an axis that is no column.
    """
    points = comparison.points_a, comparison.points_b
    tables = values or [dict(zip(comparison.columns, p.T, strict=True)) for p in points]
    for axis in axes:
        if values is None and axis.name not in comparison.columns:
            raise ValueError(
                f"Expected axes among {', '.join(comparison.columns)}, got {checks.shown(axis.name)}; choose one."
            )
    edges = [np.linspace(axis.low, axis.high, axis.size + 1) for axis in axes]

    def binned(table, weights):
        at = np.stack([np.asarray(table[axis.name], float) for axis in axes], axis=1)
        return np.histogramdd(at, bins=edges, weights=weights)[0]

    sides = list(zip(tables, (comparison.scores_a, comparison.scores_b), strict=True))
    count: list[Any] = [binned(table, None) for table, _ in sides]
    total: Any
    total, first, second = (sum(binned(t, s**power) for t, s in sides) for power in (0, 1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / total
        error = np.sqrt(np.maximum(second / total - mean**2, 0) / total)
    words = "ln(p_a / p_b) of the classifier"
    return make_field(
        axes,
        {
            "score": Quantity(mean.astype(np.float32), "", words),
            "score_error": Quantity(error.astype(np.float32), "", f"standard error of {words}"),
            "stars_a": Quantity(count[0], "", "points of the first sample"),
            "stars_b": Quantity(count[1], "", "points of the second sample"),
        },
        {"auc": comparison.auc, "auc_error": comparison.auc_error},
    )


def memorisation(
    learnt_from, held_out, sample, *, columns: Iterable[str] | None = None, most: int = 20_000, seed: int = 0
) -> Memorisation:
    """Compare the distances to the nearest points learnt from, of a sample and of points held out.

    Args:
        learnt_from, held_out, sample: arrays (N, d) or catalogues.
        columns: as in `two_sample_test`.
        most: points held out and of the sample that are looked at, chosen at random.
        seed: of the choice.

    Raises:
        KeyError, TypeError, ValueError: as `two_sample_test`.
    """
    checks.number("most", most, FEWEST, whole=True)
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    (learnt, held, made), _ = _tables((learnt_from, held_out, sample), columns)
    scale, rng = _scale(learnt)[1], np.random.default_rng(seed)
    tree = KDTree(learnt / scale)
    ours, theirs = (
        tree.query(rng.permutation(points)[:most] / scale, workers=-1)[0] for points in (made, held)
    )  # fmt: skip
    theirs = theirs[theirs > 0]  # twins of points learnt from would make copies look usual
    if len(theirs) < FEWEST / 2:
        raise ValueError("Expected points held out that are not among those learnt from, got few or none; take others.")
    near = float((ours < np.quantile(theirs, 0.01)).mean())
    error = float(np.sqrt(0.01 / len(ours) + 0.01 / len(theirs)))
    ratio = float(np.median(ours) / np.median(theirs))
    repeats = near > 0.01 + 4 * error
    return Memorisation(
        ratio, near, error, ours, theirs,
        f"{near:.1%} of the sample are nearer to a point learnt from than 99 % of the points held out "
        f"(1.0 ± {100 * error:.1f} % of a smooth one): it "
        f"{'repeats' if repeats else 'shows no sign of repeating'} points that were learnt from.",
    )  # fmt: skip


def _tables(samples, columns) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """The samples as (N, d) float64, and the names of their columns."""
    catalogs = [isinstance(sample, Catalog) for sample in samples]
    if any(catalogs) and not all(catalogs):
        raise TypeError("Expected samples of one kind, got a catalogue and an array; compare like with like.")
    names = LOCAL if columns is None and all(catalogs) else tuple(checks.texts("columns", columns or ()))
    if columns is not None and not names:
        raise ValueError("Expected columns to compare, got none; name some.")
    if all(catalogs):
        _same_units(samples, names)
    tables = [_of_catalog(s, names) if isinstance(s, Catalog) else np.asarray(s) for s in samples]
    width = tables[0].shape[1] if tables[0].ndim == 2 else 0
    names = names or tuple(f"column {i}" for i in range(width))
    for table in tables:
        if table.ndim != 2 or table.shape[1] != len(names) or not table.shape[1] or table.dtype.kind not in "fiu":
            raise ValueError(
                f"Expected samples as tables of numbers (N, {len(names) or 'd'}), got {table.dtype} of shape "
                f"{table.shape}; stack the same columns of each."
            )
        if len(table) < FEWEST:
            raise ValueError(f"Expected at least {FEWEST} points in a sample, got {len(table)}; take more.")
        if bad := np.count_nonzero(~np.isfinite(table).all(1)):
            raise ValueError(f"Expected finite numbers, got {bad:,} of {len(table):,} points without; cut those.")
    return [np.asarray(table, float) for table in tables], names


def _of_catalog(catalog: Catalog, names: Sequence[str]) -> np.ndarray:
    known: dict[str, Any] = {}
    if set(names) & set(LOCAL[3:]):
        known = dict(zip(LOCAL, local(catalog.phase_space).T, strict=True))
    catalog.require(name for name in names if name not in known)
    for name in names:
        if name not in known and catalog[name].dtype.kind not in "fiu":
            raise ValueError(f"Expected numbers in {name}, got {catalog[name].dtype}; leave it out.")
    values = [known[n] if n in known else np.ma.filled(np.ma.asarray(catalog[n], float), np.nan) for n in names]
    return np.stack(values, axis=1)


def _same_units(catalogs, names) -> None:
    for name in names:
        units = {str(catalog.unit(name)) for catalog in catalogs if name in catalog}
        if len(units) > 1 and name not in LOCAL[3:]:
            raise ValueError(f"Expected {name} in one unit, got {' and '.join(sorted(units))}; convert one of them.")


def local(points) -> np.ndarray:
    """(N, 6) the columns `LOCAL` of points x, y, z [kpc], vx, vy, vz [km/s]."""
    points = np.asarray(points, float)
    return np.column_stack([points[:, :3], *to_cylindrical(points[:, :3], points[:, 3:])[3:]])


def _weights(weights, tables) -> list[np.ndarray]:
    given = [None] * len(tables) if weights is None else list(weights)
    if len(given) != len(tables):
        raise ValueError(f"Expected weights for {len(tables)} samples, got {len(given)}; pass None for equal ones.")
    made = []
    for weight, table in zip(given, tables, strict=True):
        weight = np.ones(len(table)) if weight is None else np.asarray(weight, float)
        if weight.shape != (len(table),) or not (np.isfinite(weight) & (weight > 0)).all():
            raise ValueError(
                f"Expected {len(table):,} weights that are finite and above 0, got others; cut points without one."
            )
        made.append(weight / weight.mean())
    return made


def _scale(points):
    """Middle and half-width of each column, those of a column of one value 0 and 1."""
    low, middle, high = np.percentile(points, [16, 50, 84], axis=0)
    spread = np.where(high > low, (high - low) / 2, points.std(0))
    return middle, np.where(spread > 0, spread, 1.0)


def _seen(points, middle, scale):
    """What the classifiers see: the columns, and how far out a point is by all of them, which trees see badly."""
    columns = np.clip((points - middle) / scale, -30, 30)
    out = np.sqrt((columns**2).sum(1, keepdims=True))
    parts = [columns, out]
    if columns.shape[1] == len(PHASE_SPACE):
        parts += [np.sqrt((half**2).sum(1, keepdims=True)) for half in (columns[:, :3], columns[:, 3:])]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _out_of_fold(tables, weights, seed, folds, on_progress) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The scores of all samples, by classifiers of the first two that have not learnt from the same or an equal row,
    and which rows are equal.
    """
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    checks.number("folds", folds, 2, 20, whole=True)
    middle, scale = _scale(np.concatenate(tables[:2]))
    seen = [_seen(table, middle, scale) for table in tables]
    rows = np.concatenate([((table - middle) / scale).astype(np.float32) for table in tables])
    group = np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))), return_inverse=True)[1]
    # A copy of a point in another fold would be known by heart.
    fold_of_group = np.random.default_rng([seed, 7]).permutation(int(group.max()) + 1) % folds
    groups = np.split(group.ravel(), np.cumsum([len(table) for table in tables])[:-1])
    fold = [fold_of_group[of] for of in groups]
    scores = [np.empty(len(table)) for table in tables]
    if any(np.count_nonzero(f == k) in (0, len(f)) for k in range(folds) for f in fold[:2]):
        raise ValueError(
            f"Expected points that differ, got {int(group.max()) + 1:,} different ones in {len(rows):,}; compare other "
            "columns."
        )
    for k in range(folds):
        x = np.concatenate([s[f != k] for s, f in zip(seen[:2], fold[:2], strict=True)])
        side = [w[f != k] for w, f in zip(weights[:2], fold[:2], strict=True)]
        y = np.repeat([1, 0], [len(part) for part in side])
        w = np.concatenate([part / part.sum() * len(x) / 2 for part in side])  # as many of both
        for i, learnt in enumerate((_trees, _network)):

            def told(share, done=2 * k + i):
                if on_progress is not None and on_progress((done + share) / (2 * folds)) is False:
                    raise Cancelled("The comparison was stopped; nothing was kept.")

            told(0.0)
            with threadpool_limits(1):  # threads of two libraries wait for each other, the more on a busy machine
                classifier = learnt(x, y, w, seed + k, told)
            for out, table, f in zip(scores, seen, fold, strict=True):
                p = np.clip(np.asarray(classifier.predict_proba(table[f == k]))[:, 1], 1e-6, 1 - 1e-6)
                out[f == k] = (out[f == k] if i else 0.0) + 0.5 * np.log(p / (1 - p))
    if on_progress is not None:
        on_progress(1.0)
    return scores, groups


# Trees see edges and gaps, a network what is smooth; the mean of both is as good as the better in either. Both learn in
# slices of less than a second, between which they can be stopped.


def _trees(x, y, w, seed: int, told: Callable[[float], object], most: int = 150):
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = HistGradientBoostingClassifier(
        learning_rate=0.06, max_leaf_nodes=16, min_samples_leaf=max(20, len(x) // 1000), l2_regularization=1.0,
        random_state=seed % 2**31, warm_start=True,
    )  # fmt: skip
    step = int(np.clip(3 * 10**6 / len(x), 5, 50))
    for n in range(step, most + step, step):
        trees.set_params(max_iter=min(n, most))
        trees.fit(x, y, sample_weight=w)
        if trees.n_iter_ < min(n, most):
            break
        told(n / most)
    return trees


def _network(x, y, w, seed: int, told: Callable[[float], object], epochs: int = 40, patience: int = 4):
    """The one of all epochs that does best on a tenth which it does not learn from."""
    from sklearn.neural_network import MLPClassifier

    size: Any = min(512, len(x) // 4)
    network = MLPClassifier(
        (64, 64), alpha=1e-4, batch_size=size, learning_rate_init=2e-3, random_state=seed % 2**31
    )  # fmt: skip
    rng = np.random.default_rng([seed % 2**31, 9])
    rows = rng.permutation(len(x))
    judge, rows = np.split(rows, [len(x) // 10])
    best, kept, since = -np.inf, None, 0
    for epoch in range(epochs):
        parts = np.array_split(rng.permutation(rows), max(1, len(rows) // 2**15))
        for i, part in enumerate(parts):
            network.partial_fit(x[part], y[part], classes=[0, 1], sample_weight=w[part])
            told((epoch + (i + 1) / len(parts)) / epochs)
        score = network.score(x[judge], y[judge], w[judge])
        since = 0 if score > best else since + 1
        if not since:
            best, kept = score, [part.copy() for part in (*network.coefs_, *network.intercepts_)]
        if since == patience:
            break
    for part, value in zip((*network.coefs_, *network.intercepts_), kept or (), strict=True):
        part[...] = value
    return network


def _comparison(tables, scores, weights, groups, names) -> Comparison:
    """The AUC with its error and the divergence from the scores of two samples."""
    a, b = scores
    auc, error = _auc(a, b, weights[0], weights[1], np.concatenate(groups))
    # The divergence wants a probability: the scores are stretched and shifted so that it fits best.
    y = np.concatenate([np.ones(len(a)), np.zeros(len(b))])
    w = np.concatenate([weights[0] / weights[0].sum(), weights[1] / weights[1].sum()]) / 2
    s = np.concatenate([a, b])

    def cross_entropy(parameters):
        t = parameters[0] * s + parameters[1]
        wrong = w * (expit(t) - y)
        return w @ (np.logaddexp(0, t) - y * t), np.array([wrong @ s, wrong.sum()])

    fitted: Any = minimize(cross_entropy, np.array([1.0, 0.0]), jac=True, method="BFGS")
    jsd = float(np.clip(1 - min(fitted.fun, np.log(2)) / np.log(2), 0, 1))
    told = abs(auc - 0.5) > 3 * error
    return Comparison(
        auc, error, jsd, tables[0], tables[1], a, b, names,
        f"The classifier {'tells the samples apart' if told else 'does not tell the samples apart'}: AUC {auc:.3f} ± "
        f"{error:.3f} (0.5 is the same), Jensen-Shannon divergence {jsd:.2g} bits.",
    )  # fmt: skip


def _auc(a, b, weight_a, weight_b, group) -> tuple[float, float]:
    """Weighted AUC and its standard error by the variance of the placements of groups of points."""

    def below(values, others, weight):
        order = np.argsort(others)
        total = np.concatenate([[0.0], np.cumsum(weight[order])])
        left, right = (np.searchsorted(others[order], values, side=side) for side in ("left", "right"))
        return 0.5 * (total[left] + total[right]) / total[-1]

    of_a, of_b = below(a, b, weight_b), 1 - below(b, a, weight_a)
    share_a, share_b = weight_a / weight_a.sum(), weight_b / weight_b.sum()
    auc = float(share_a @ of_a)
    of_group = np.bincount(group, np.concatenate([share_a * (of_a - auc), share_b * (of_b - auc)]))
    error = float(np.linalg.norm(of_group))
    return auc, error
