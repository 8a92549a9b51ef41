"""What a score is worth: the significance it gains on labelled stars, and a bump hunt where there are no labels."""

from typing import NamedTuple

import numpy as np

from clearview import checks


class SicCurve(NamedTuple):
    """Significance improvement along all cuts on a score, from the tightest.

    Attributes:
        tpr: part of the signal that passes.
        fpr: part of the background that passes.
        sic: tpr / sqrt(fpr), the factor by which a cut raises signal / sqrt(background).
        fpr_error: relative standard error of fpr.
        threshold: the lowest score that passes.
    """

    tpr: np.ndarray
    fpr: np.ndarray
    sic: np.ndarray
    fpr_error: np.ndarray
    threshold: np.ndarray

    def at(self, tpr: float) -> float:
        """The SIC of the first cut that lets as much of the signal pass; NaN where the curve begins beyond it."""
        return float(self.sic[np.searchsorted(self.tpr, tpr)]) if self.tpr[0] <= tpr <= self.tpr[-1] else np.nan


def sic_curve(score, is_signal, *, error: float | None = 0.2) -> SicCurve:
    """The significance improvement characteristic of a score.

    Args:
        score: (N,) the higher, the more like signal.
        is_signal: (N,) booleans.
        error: cuts that pass so few of the background that the relative error of fpr, sqrt((1 - fpr) / passing), is
            above it are left out, for there the maximum of the curve is that of its noise; None leaves out those alone
            that no background passes.

    Raises:
        ValueError: for arrays of different lengths, NaN, or one class only.
    """
    score, is_signal = np.asarray(score, float), np.asarray(is_signal).astype(bool)
    error = np.inf if error is None else checks.number("error", error, checks.ABOVE_0)
    if score.ndim != 1 or score.shape != is_signal.shape:
        raise ValueError(
            f"Expected a score and a label for each star, got shapes {score.shape} and {is_signal.shape}; correct them."
        )
    if np.isnan(score).any():
        raise ValueError("Expected scores without NaN, got some; take the stars of the signal region alone.")
    if is_signal.all() or not is_signal.any():
        raise ValueError("Expected signal and background, got one of them alone; pass both.")
    order = np.argsort(-score, kind="stable")
    # Stars of one score pass together.
    last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    signal = np.cumsum(is_signal[order])[last]
    passing = last + 1 - signal
    tpr, fpr = signal / signal[-1], passing / passing[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.sqrt((1 - fpr) / passing)
        sic = tpr / np.sqrt(fpr)
    kept = (passing > 0) & (off <= error)
    return SicCurve(tpr[kept], fpr[kept], sic[kept], off[kept], score[order][last][kept])


class Bump(NamedTuple):
    """An excess in an interval of the scanned variable.

    Attributes:
        observed: stars in the interval.
        expected: background there, from the sidebands.
        error: its standard error.
        significance: of the excess, in standard deviations; negative for a lack.
        chi2: of the fit in the sidebands' bins, with ``freedom`` degrees of freedom.
        freedom: as said.
        edges: (bins + 1,) of all bins, those of the interval too.
        counts: (bins,) stars.
        background: (bins,) the fit.
    """

    observed: int
    expected: float
    error: float
    significance: float
    chi2: float
    freedom: int
    edges: np.ndarray
    counts: np.ndarray
    background: np.ndarray


def significance(observed, expected, error) -> np.ndarray:
    """Standard deviations of an excess over a background that is known to an error.

    The profile likelihood ratio of a Poisson count, the background measured by another one of the same relative error:
    Li & Ma (1983, ApJ 272, 317), written for an error as by Cousins, Linnemann & Tucker (2008, arXiv:physics/0702156).

    Args:
        observed: counts.
        expected: background, above 0.
        error: its standard error; 0 for a background that is known.
    """
    n, b, s2 = np.broadcast_arrays(*(np.asarray(v, float) for v in (observed, expected, np.square(error))))
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.where(n > 0, n * np.log(n / b), 0.0) - (n - b)
        both = np.where(n > 0, n * np.log(n * (b + s2) / (b**2 + n * s2)), 0.0)
        both = both - b**2 / s2 * np.log1p(s2 * (n - b) / (b * (b + s2)))
    half = np.where(s2 > 1e-9 * b, both, known)
    return np.sign(n - b) * np.sqrt(2 * np.maximum(half, 0.0))


def bump_hunt(
    scan, low: float, high: float, *, reach: float | None = None, bins: int = 8, degree: int = 2
) -> Bump:  # fmt: skip
    """The excess of stars in an interval of m over a smooth spectrum fitted on both sides of it.

    The spectrum is exp(polynomial), fitted to binned counts by Poisson likelihood without the interval; its error
    within the interval is that of the fit. To hunt after a cut on a score, pass the stars that pass it, on both sides
    too: see ``beside`` of `score_regions`. A cut that was chosen by the significance it gives has lost the meaning of
    it.

    Args:
        scan: (N,) m of the stars that passed.
        low: edge of the interval.
        high: the other.
        reach: how far beyond the edges the sidebands go; None as far as there are stars.
        bins: of the interval; those of the sidebands are as wide.
        degree: of the polynomial.

    Raises:
        ValueError: for values that are not finite, no interval, or sidebands with fewer bins with stars than the fit
            has parameters, and those on both sides.
    """
    scan = np.asarray(scan, float).ravel()
    low, high = float(checks.number("low", low)), float(checks.number("high", high))
    bins, degree = checks.number("bins", bins, 1, 1000, whole=True), checks.number("degree", degree, 0, 10, whole=True)
    reach = checks.number("reach", reach, checks.ABOVE_0, optional=True)
    reach = np.inf if reach is None else float(reach)
    if low >= high:
        raise ValueError(f"Expected an interval from low to high, got {low:g} to {high:g}; exchange them.")
    if not np.isfinite(scan).all():
        raise ValueError("Expected finite values to hunt in, got NaN or infinity; cut them first.")
    width = (high - low) / bins
    if not len(scan):
        raise ValueError("Expected stars to hunt among, got none; loosen the cut.")
    # Whole bins within what the stars reach: one that is cut in two would look like a drop.
    sides = low - max(low - reach, scan.min()), min(high + reach, scan.max()) - high
    below, above = (int(np.clip(side / width + 1e-9, 0, 1000 * bins)) for side in sides)
    edges = low + width * np.arange(-below, bins + above + 1)
    counts = np.histogram(scan, edges)[0].astype(float)
    inside = (np.arange(len(counts)) >= below) & (np.arange(len(counts)) < below + bins)
    filled = (counts > 0) & ~inside
    if filled.sum() < degree + 2 or not filled[:below].any() or not filled[below:].any():
        raise ValueError(
            f"Expected stars in at least {degree + 2} bins of the sidebands, on both sides, got {int(filled.sum())}; "
            "loosen the cut, widen the sidebands, or lower the degree."
        )
    at = (0.5 * (edges[1:] + edges[:-1]) - 0.5 * (low + high)) / (0.5 * (edges[-1] - edges[0]))
    terms = at[:, None] ** np.arange(degree + 1)
    weights, covariance = _poisson_fit(terms[~inside], counts[~inside])
    background = np.exp(terms @ weights)
    slope = background[inside] @ terms[inside]
    expected, error = float(background[inside].sum()), float(np.sqrt(slope @ covariance @ slope))
    observed = int(counts[inside].sum())
    chi2 = float(((counts - background)[~inside] ** 2 / background[~inside]).sum())
    return Bump(
        observed, expected, error, float(significance(observed, expected, error)), chi2,
        int((~inside).sum()) - degree - 1, edges, counts, background,
    )  # fmt: skip


def _poisson_fit(terms, counts):
    """Weights w of the mean counts exp(terms w), and their covariance, by Newton's method on a convex function."""
    weights = np.zeros(terms.shape[1])
    weights[0] = np.log(counts.mean())

    def loss(w):
        return np.exp(np.minimum(terms @ w, 700.0)).sum() - counts @ (terms @ w)

    for _ in range(200):
        mean = np.exp(terms @ weights)
        hessian = (terms.T * mean) @ terms
        step = np.linalg.lstsq(hessian, terms.T @ (counts - mean), rcond=None)[0]
        size, now = 1.0, loss(weights)
        while loss(weights + size * step) > now and size > 1e-8:
            size /= 2
        weights = weights + size * step
        if np.abs(size * step).max() < 1e-9:
            break
    mean = np.exp(terms @ weights)
    return weights, np.linalg.pinv((terms.T * mean) @ terms)
