"""Cuts: small frozen objects that say which stars stay, compose with ``&``, ``|`` and ``~``, and count."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from clearview.checks import ABOVE_0, a, number, texts, triple

from .columns import ColumnError, listed

if TYPE_CHECKING:
    from .catalog import Catalog

Bounds = tuple[float | None, float | None]
Verdict = tuple[np.ndarray, np.ndarray]


class CutReport(NamedTuple):
    """What one cut did: its name, the stars before and after, and how many fell for a non-finite value."""

    name: str
    before: int
    after: int
    nonfinite: int = 0

    @property
    def removed(self) -> int:
        """Number of stars that the cut removed, those without a finite value included."""
        return self.before - self.after

    def __str__(self):
        why = f", {self.nonfinite:,} of them without a finite value" if self.nonfinite else ""
        why = "" if self.name.startswith("non-finite") else why
        return f"{self.name}: {self.removed:,} of {self.before:,} stars removed{why}"


class NoStars(ValueError):
    """No star passed the cuts; ``reports`` tell where they went."""

    def __init__(self, sentence: str, reports: list[CutReport]):
        super().__init__(sentence)
        self.reports = reports


class Cut:
    """A condition on stars. Bounds are included, and stand in the catalogue's units.

    A star without a finite value is neither in nor out: it is removed and counted apart, also under ``~``;
    under ``|`` the other condition may still keep it.

    A ``relative`` cut compares stars with each other: it is asked about those that the cuts before it have kept.
    """

    relative = False

    @property
    def name(self) -> str:
        """The name in the report."""
        return repr(self)

    def test(self, catalog: "Catalog") -> Verdict:
        """Two boolean (N,) arrays: the stars that are in, and those that are out."""
        raise NotImplementedError

    def __and__(self, other: "Cut") -> "Cut":
        return _Composed("({!r} & {!r})", _both, (self, a(other, Cut, "a cut")))

    def __or__(self, other: "Cut") -> "Cut":
        return _Composed("({!r} | {!r})", _either, (self, a(other, Cut, "a cut")))

    def __invert__(self) -> "Cut":
        return _Composed("~{!r}", _neither, (self,))


@dataclass(frozen=True, repr=False)
class _Composed(Cut):
    text: str
    rule: Callable[..., Verdict]
    cuts: tuple[Cut, ...]

    def __repr__(self):
        return self.text.format(*self.cuts)

    @property
    def relative(self):
        return any(cut.relative for cut in self.cuts)

    def test(self, catalog):
        return self.rule(*(cut.test(catalog) for cut in self.cuts))


@dataclass(frozen=True)
class ParallaxQuality(Cut):
    """Parallax at least ``min_snr`` times its error."""

    min_snr: float = 3

    def __post_init__(self):
        number("min_snr", self.min_snr)

    def test(self, catalog):
        parallax, error = _numbers(catalog, "parallax"), _numbers(catalog, "parallax_error")
        with np.errstate(divide="ignore", invalid="ignore"):
            return _within(parallax / error, self.min_snr, np.inf)


@dataclass(frozen=True)
class AbsoluteMagnitude(Cut):
    """Absolute magnitude M_G = G + 5 log10(parallax / 100 mas); from the distance if there is no parallax."""

    brighter_than: float = 0.99
    fainter_than: float = -np.inf

    def __post_init__(self):
        _bounds("AbsoluteMagnitude", (self.fainter_than, self.brighter_than))

    def test(self, catalog):
        near = _positive(catalog, "parallax") if "parallax" in catalog else 1 / sun_distance(catalog)
        with np.errstate(divide="ignore", invalid="ignore"):
            magnitude = _numbers(catalog, "phot_g_mean_mag") + 5 * np.log10(near / 100)
        return _within(magnitude, self.fainter_than, self.brighter_than)


@dataclass(frozen=True)
class ApparentMagnitude(Cut):
    """Apparent G magnitude."""

    brighter_than: float = np.inf
    fainter_than: float = -np.inf

    def __post_init__(self):
        _bounds("ApparentMagnitude", (self.fainter_than, self.brighter_than))

    def test(self, catalog):
        return _within(_numbers(catalog, "phot_g_mean_mag"), self.fainter_than, self.brighter_than)


@dataclass(frozen=True)
class Distance(Cut):
    """Distance from the Sun [kpc]: of x, y, z if there, else the column ``distance``, else 1 / parallax."""

    max: float = np.inf
    min: float = 0

    def __post_init__(self):
        _bounds("Distance", (self.min, self.max))

    def test(self, catalog):
        return _within(sun_distance(catalog), self.min, self.max)


@dataclass(frozen=True)
class Ball(Cut):
    """Stars within ``radius`` [kpc] of ``centre`` (Galactocentric x, y, z [kpc]; by default the Sun)."""

    radius: float = 4
    centre: tuple[float, float, float] | None = None

    def __post_init__(self):
        number("radius", self.radius, 0)
        if self.centre is not None:
            triple("centre", self.centre)

    def test(self, catalog):
        centre = catalog.sun.position if self.centre is None else self.centre
        return _within(_norm(catalog, "xyz", centre), 0, self.radius)


@dataclass(frozen=True)
class Speed(Cut):
    """Speed [km/s] relative to the Sun, or with ``of="galaxy"`` to the Galactic centre. Needs vx, vy, vz."""

    max: float
    min: float = 0
    of: str = "sun"

    def __post_init__(self):
        _bounds("Speed", (self.min, self.max))
        if self.of not in ("sun", "galaxy"):
            raise ValueError(f"Expected of='sun' or of='galaxy', got {self.of!r}; choose one of them.")

    def test(self, catalog):
        rest = catalog.sun.velocity if self.of == "sun" else np.zeros(3)
        return _within(_norm(catalog, ("vx", "vy", "vz"), rest), self.min, self.max)


@dataclass(frozen=True, init=False, repr=False)
class Box(Cut):
    """Any columns between bounds: ``Box(x=(6, 10), bp_rp=(None, 1))``, where None leaves a side open.

    ``Box(ruwe=(None, 1.4))`` leaves out what is no single star to Gaia (Lindegren 2018, GAIA-C3-TN-LU-LL-124).
    """

    limits: tuple[tuple[str, tuple[float, float]], ...]

    def __init__(self, **limits: Bounds):
        if not limits:
            raise ValueError("Expected at least one column with bounds, got none; write for example x=(6, 10).")
        object.__setattr__(self, "limits", tuple((name, _bounds(name, b)) for name, b in limits.items()))

    def __repr__(self):
        inside = ", ".join(f"{name}=({low:g}, {high:g})" for name, (low, high) in self.limits)
        return f"{type(self).__name__}({inside})"

    def test(self, catalog):
        verdicts = [_within(_numbers(catalog, name), *bounds) for name, bounds in self.limits]
        return np.logical_and.reduce([v[0] for v in verdicts]), np.logical_or.reduce([v[1] for v in verdicts])


class ProperMotionWindow(Box):
    """Stars with ``pmra`` and ``pmdec`` [mas/yr] between bounds."""

    def __init__(self, pmra: Bounds = (None, None), pmdec: Bounds = (None, None)):
        super().__init__(pmra=pmra, pmdec=pmdec)


@dataclass(frozen=True)
class Finite(Cut):
    """A column has a finite value."""

    column: str

    @property
    def name(self):
        return f"non-finite {self.column}"

    def test(self, catalog):
        return _within(_numbers(catalog, self.column), -np.inf, np.inf)


@dataclass(frozen=True)
class Positive(Cut):
    """A column is larger than zero, as a parallax must be to give a distance."""

    column: str

    @property
    def name(self):
        return f"non-positive {self.column}"

    def test(self, catalog):
        return _within(_numbers(catalog, self.column), np.finfo(np.float32).tiny, np.inf)


@dataclass(frozen=True)
class Unique(Cut):
    """Each star once: of stars with one ``source_id``, or close together with the same motion, the best one.

    The best has the smallest ``parallax_error``, and is the first of those that have the same, or none. A catalogue
    with neither identifiers nor places on the sky is searched for stars of the very same phase space. It goes behind
    the other cuts: of two entries of a star it may keep one that they would not.

    Args:
        angle: of a pair on the sky, arcsec; 0 looks at the identifiers only. Gaia DR3 tells apart what is
            0.18 arcsec and more apart.
        motion: largest difference of the proper motions of a pair, mas/yr; places count only with proper motions.
    """

    angle: float = 0.4
    motion: float = 2.0

    relative = True

    def __post_init__(self):
        number("angle", self.angle, 0, 3600)
        number("motion", self.motion, 0)

    def test(self, catalog):
        n, links = len(catalog), [np.empty((0, 2), int)]
        named, placed = "source_id" in catalog, {"ra", "dec", "pmra", "pmdec"} <= set(catalog.columns)
        if named:
            links.append(_same(catalog["source_id"]))
        if placed and self.angle > 0:
            links.append(self._close(catalog))
        if not (named or placed):
            links.append(_same(np.ascontiguousarray(catalog.phase_space).view("V24").ravel()))
        a, b = np.concatenate(links).T
        group = connected_components(coo_array((np.ones(len(a), bool), (a, b)), (n, n)), directed=False)[1]
        error = _numbers(catalog, "parallax_error") if "parallax_error" in catalog else np.zeros(n)
        order = np.lexsort((np.arange(n), error, group))  # what is not finite comes last
        inside = np.zeros(n, bool)
        inside[order[np.unique(group[order], return_index=True)[1]]] = True
        return inside, ~inside

    def _close(self, catalog) -> np.ndarray:
        """(P, 2) rows of pairs on the sky that move alike."""
        ra, dec, pmra, pmdec = (np.asarray(_numbers(catalog, k), float) for k in ("ra", "dec", "pmra", "pmdec"))
        rows = np.flatnonzero(np.isfinite(ra + dec + pmra + pmdec))
        l, b = np.deg2rad(ra[rows]), np.deg2rad(dec[rows])
        way = np.stack([np.cos(b) * np.cos(l), np.cos(b) * np.sin(l), np.sin(b)], -1)
        near = KDTree(way).query_pairs(2 * np.sin(np.deg2rad(self.angle / 3600) / 2), output_type="ndarray")
        pairs = rows[near.astype(int)].reshape(-1, 2)
        apart = np.hypot(*(np.diff(k[pairs])[:, 0] for k in (pmra, pmdec)))
        return pairs[apart <= self.motion]


@dataclass(frozen=True, init=False, repr=False)
class Outliers(Cut):
    """Stars within ``k`` robust half widths (half of the 16th to the 84th percentile) of the median, in each column.

    ``Outliers("vx", "vy", "vz", k=10)`` takes bad spectra away; the halo's velocities are no errors, so choose k wide.

    Args:
        columns: one or more names.
        k: in half widths, which of a normal distribution are standard deviations.
    """

    columns: tuple[str, ...]
    k: float

    relative = True

    def __init__(self, *columns: str, k: float = 10.0):
        if not columns:
            raise ValueError('Expected at least one column, got none; write for example Outliers("vx", "vy", "vz").')
        texts("columns", columns)
        number("k", k, 1)
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "k", float(k))

    def __repr__(self):
        return f"Outliers({', '.join(self.columns)}, k={self.k:g})"

    def test(self, catalog):
        inside, outside = np.ones(len(catalog), bool), np.zeros(len(catalog), bool)
        for name in self.columns:
            values = np.asarray(_numbers(catalog, name), float)
            finite = values[np.isfinite(values)]
            low, middle, high = np.percentile(finite, [15.865, 50, 84.135]) if finite.size else [np.nan] * 3
            if not high > low:
                raise ValueError(
                    f"Expected values of {name} that spread, got one and the same for most stars; use another column."
                )
            reach = self.k * (high - low) / 2
            verdict = _within(values, middle - reach, middle + reach)
            inside, outside = inside & verdict[0], outside | verdict[1]
        return inside, outside


def _same(keys: np.ndarray) -> np.ndarray:
    """(P, 2) rows with one key, each beside the next with it; a masked key is none."""
    rows = np.flatnonzero(~np.ma.getmaskarray(keys))
    order = rows[np.argsort(np.asarray(keys)[rows], kind="stable")]
    pairs = np.stack([order[:-1], order[1:]], 1)
    return pairs[np.asarray(keys)[pairs[:, 0]] == np.asarray(keys)[pairs[:, 1]]]


def completeness_limit(g_limit: float = 14, distance: float = 4) -> float:
    """Absolute magnitude [mag] to which a survey complete to ``g_limit`` [mag] is so at ``distance`` [kpc].

    0.99 mag for G < 14 and 4 kpc, as in Lim et al. 2023 (arXiv:2305.13358).
    """
    number("distance", distance, ABOVE_0)
    number("g_limit", g_limit)
    return float(g_limit - 5 * np.log10(distance * 100))


def flat(cuts: Iterable) -> list[Cut]:
    """The cuts, also those in lists.

    Raises:
        TypeError: if something is not a cut.
    """
    found = [one for cut in cuts for one in (cut if isinstance(cut, list | tuple) else [cut])]
    for cut in found:
        if not isinstance(cut, Cut):
            raise TypeError(f"Expected cuts, got {cut!r}; use for example Box(x=(6, 10)).")
    return found


def judge(catalog: "Catalog", cuts: Iterable) -> tuple[np.ndarray, list[CutReport]]:
    """Which stars all cuts keep, (N,) boolean, and what each cut removed after those before it.

    Raises:
        TypeError: if something is not a cut.
        ValueError: if no star is left, naming the cut that removed the last.
    """
    keep, reports = tally(catalog, cuts)
    check_left(reports)
    return keep, reports


def check_left(reports: list[CutReport]) -> None:
    """Refuses cuts that left no star.

    Raises:
        NoStars: naming the cut that removed the last.
    """
    for name, before, after, lost in reports:
        if not after:
            raise NoStars(
                f"Expected stars to be left, got none after {name}, which removed the last {before:,}"
                f"{f' ({lost:,} without a finite value)' if lost else ''}; widen that cut or check its units.",
                reports,
            )


def tally(catalog: "Catalog", cuts: Iterable) -> tuple[np.ndarray, list[CutReport]]:
    """As `judge`, but no star need be left."""
    keep, reports = np.ones(len(catalog), bool), []
    for cut in flat(cuts):
        inside, outside = _judged(cut, catalog, keep)
        before, lost = np.count_nonzero(keep), np.count_nonzero(keep & ~inside & ~outside)
        keep &= inside
        reports.append(CutReport(cut.name, int(before), int(np.count_nonzero(keep)), int(lost)))
    return keep, reports


def _judged(cut: Cut, catalog: "Catalog", keep: np.ndarray) -> Verdict:
    if not cut.relative or keep.all():
        return cut.test(catalog)
    inside, outside = np.zeros(len(keep), bool), np.zeros(len(keep), bool)
    if keep.any():
        inside[keep], outside[keep] = cut.test(catalog.take(keep))
    return inside, outside


def sun_distance(catalog: "Catalog") -> np.ndarray:
    """(N,) distance from the Sun, kpc; NaN where the parallax is not positive."""
    if {"x", "y", "z"} <= set(catalog.columns):
        return _norm(catalog, "xyz", catalog.sun.position)
    if "distance" in catalog:
        return _numbers(catalog, "distance")
    if "parallax" in catalog:
        return 1 / _positive(catalog, "parallax")
    raise ColumnError(
        f"Expected x, y, z or distance or parallax, got only {listed(catalog.columns)}; name one with names=."
    )


def _numbers(catalog, name) -> np.ndarray:
    values = catalog[name]
    if values.dtype.kind not in "fiub":
        raise ValueError(f"Expected numbers in column {name} to cut on, got {str(values[0])!r}; use another column.")
    return np.ma.filled(values.astype(float), np.nan) if isinstance(values, np.ma.MaskedArray) else values


def _positive(catalog, name) -> np.ndarray:
    values = _numbers(catalog, name)
    return np.where(values > 0, values, np.nan)


def _norm(catalog, names, origin) -> np.ndarray:
    return np.sqrt(sum((_numbers(catalog, name) - float(at)) ** 2 for name, at in zip(names, origin, strict=True)))


def _both(a: Verdict, b: Verdict) -> Verdict:
    return a[0] & b[0], a[1] | b[1]


def _either(a: Verdict, b: Verdict) -> Verdict:
    return a[0] | b[0], a[1] & b[1]


def _neither(a: Verdict) -> Verdict:
    return a[1], a[0]


def _within(values, low, high) -> Verdict:
    finite = np.isfinite(values)
    inside = (values >= low) & (values <= high)
    return finite & inside, finite & ~inside


def _bounds(name, bounds) -> tuple[float, float]:
    try:
        low, high = bounds
        if any(isinstance(end, str | bool) for end in (low, high)):
            raise TypeError
        low, high = -np.inf if low is None else float(low), np.inf if high is None else float(high)
    except (TypeError, ValueError):
        low = high = np.nan
    if not low <= high:
        raise ValueError(f"Expected bounds (low, high) of plain numbers for {name}, got {bounds!r}; give low <= high.")
    return low, high
