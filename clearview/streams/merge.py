"""From lines in regions of interest to streams: what is found again elsewhere becomes one.

After Via Machinae (Shih et al. 2021, arXiv:2104.12789; 2023, arXiv:2303.01529): the line of a region of interest is a
protocluster, those of one patch that strengthen each other are a protostream, those of neighbouring patches a stream.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clearview.catalogs.frames import basis, sky_point
from clearview.checks import ABOVE_0, a, numbers
from clearview.streams.lines import (
    VIA_MACHINAE,
    Footprint,
    HoughConfig,
    Line,
    line_pole,
    pole_line,
    strongest_line,
)


@dataclass(frozen=True)
class MergeConfig:
    """When lines are one; the defaults are those of Via Machinae.

    Args:
        pm_distance: between the mean proper motions of what is merged within a patch, less than, mas/yr.
        shared: share of the stars in the overlap of two patches that both streams have, more than.
        theta_bins: bins in theta by which lines of two patches may differ.
        r_bins: bins in r by which they may.
    """

    pm_distance: float = 1.0
    shared: float = 0.4
    theta_bins: float = 5
    r_bins: float = 5

    def __post_init__(self):
        numbers(self, pm_distance=(ABOVE_0, 1e3), shared=(0, 1), theta_bins=(0, 1e3), r_bins=(0, 1e3))


AS_PUBLISHED = MergeConfig()


@dataclass(frozen=True, eq=False)
class Protocluster:
    """The line of one region of interest.

    Attributes:
        scan: the proper motion that was scanned, "pm_lon" or "pm_lat".
        region: (low, high) of the signal region in it, mas/yr.
        window: (low, high) of the region of interest in the other proper motion, mas/yr.
        pm: (pm_lon, pm_lat) mean of the stars, mas/yr.
        stars: (N,) identifiers of the stars of the region of interest among which the line was found.
        line: found.
    """

    scan: str
    region: tuple[float, float]
    window: tuple[float, float]
    pm: tuple[float, float]
    stars: np.ndarray
    line: Line

    def __post_init__(self):
        a(self.line, Line, "a Line")
        object.__setattr__(self, "stars", np.unique(np.asarray(self.stars, np.int64)))

    def independent_of(self, other: "Protocluster") -> bool:
        """Whether another scan or another signal region found it."""
        return (self.scan, tuple(self.region)) != (other.scan, tuple(other.region))


@dataclass(frozen=True, eq=False)
class Protostream:
    """Protoclusters of one patch that are one line.

    Attributes:
        clusters: the strongest first.
        stars: (N,) identifiers of all of their stars, each once.
        line: the strongest of these stars.
        center: (ra, dec) [deg] of the patch; None if it was not told.
    """

    clusters: tuple[Protocluster, ...]
    stars: np.ndarray
    line: Line
    center: tuple[float, float] | None = None

    @property
    def sigma(self) -> float:
        """Significance of the line."""
        return self.line.sigma

    @property
    def pm(self) -> np.ndarray:
        """(2,) mean pm_lon, pm_lat [mas/yr] of the clusters, each as many times as it has stars."""
        return np.average([k.pm for k in self.clusters], axis=0, weights=[len(k.stars) for k in self.clusters])

    @property
    def pole(self) -> tuple[float, float]:
        """(ra, dec) [deg] of the pole of its great circle; see `line_pole`.

        Raises:
            ValueError: if the centre is not known.
        """
        if self.center is None:
            raise ValueError("Expected a protostream that knows the centre of its patch, got one without; pass center.")
        return line_pole(self.center, self.line)


@dataclass(frozen=True, eq=False)
class Stream:
    """Protostreams of several patches that are one stream, or of one.

    Attributes:
        parts: the strongest first.
        stars: (N,) identifiers of all of their stars, each once.
    """

    parts: tuple[Protostream, ...]
    stars: np.ndarray

    @property
    def sigma(self) -> float:
        """Root of the sum of squares of the significance in each patch."""
        best: dict[Any, float] = {}
        for part in self.parts:
            best[part.center] = max(best.get(part.center, 0.0), part.sigma)
        return float(np.sqrt(np.sum(np.square(list(best.values())))))

    @property
    def edge(self) -> bool:
        """Whether it lies at the edge of every patch where it was found."""
        return all(part.line.edge for part in self.parts)


def merge_lines(
    clusters: Sequence[Protocluster],
    x,
    y,
    config: MergeConfig = AS_PUBLISHED,
    *,
    ids=None,
    center: tuple[float, float] | None = None,
    hough: HoughConfig = VIA_MACHINAE,
    reference: Footprint | np.ndarray | None = None,
    on_progress: Callable[[float], bool | None] | None = None,
) -> list[Protostream]:
    """Protostreams of one patch.

    From the strongest protocluster on, each of the others in order of its significance is merged with it if it is
    independent (of one of those merged so far: found in another scan or another signal region), its mean proper
    motion is near, and the line of the union of their stars is more significant than the one so far; again until no
    more is. Then the strongest of what is left.

    Args:
        clusters: of the patch.
        x: (N,) lon cos(lat) of the stars in the patch, deg.
        y: (N,) lat, deg.
        config: when lines are one.
        ids: (N,) identifiers of these stars, as in the protoclusters; by default 0 to N - 1.
        center: (ra, dec) [deg] of the patch, which merging across patches needs.
        hough: as the lines were found.
        reference: as the lines were found.
        on_progress: called with the share that is done; returning False stops, and what is merged so far and all else
            as it was comes back.

    Returns:
        The strongest first; a protocluster that merges with none is one too.

    Raises:
        ValueError: if x, y and ids have not one length, ids are given twice, or a protocluster has others.
    """
    a(config, MergeConfig, "a MergeConfig")
    x, y = np.asarray(x, float), np.asarray(y, float)
    ids = np.arange(len(x)) if ids is None else np.asarray(ids)
    if not x.shape == y.shape == ids.shape or x.ndim != 1:
        raise ValueError(f"Expected x, y and ids of one shape (N,), got {x.shape}, {y.shape}, {ids.shape}; give one "
                         "of each a star.")  # fmt: skip
    order = np.argsort(ids, kind="stable")
    known = ids[order]
    if len(known) and not np.all(np.diff(known) > 0):
        raise ValueError("Expected each identifier once, got one twice; leave out repeated stars.")
    for cluster in clusters:
        if not np.isin(a(cluster, Protocluster, "a Protocluster").stars, known).all():
            raise ValueError("Expected protoclusters of the stars given, got others; give x, y and ids of all.")
    footprint = Footprint.of(hough, reference)

    def line_of(stars: np.ndarray) -> Line:
        rows = order[np.searchsorted(known, stars)]
        return strongest_line(x[rows], y[rows], hough, reference=footprint)

    left = sorted(clusters, key=lambda k: -k.line.sigma)
    total, going, out = len(left), True, []
    while left:
        found = Protostream((left[0],), left[0].stars, left[0].line, center)
        left, grown = left[1:], going
        while grown:
            grown = False
            for cluster in list(left):
                if not (
                    any(cluster.independent_of(k) for k in found.clusters)
                    and np.hypot(*(np.asarray(cluster.pm) - found.pm)) < config.pm_distance
                ):
                    continue
                stars = np.union1d(found.stars, cluster.stars)
                line = line_of(stars)
                if line.sigma > found.sigma:
                    found = Protostream((*found.clusters, cluster), stars, line, center)
                    left = [k for k in left if k is not cluster]
                    grown = True
        out.append(found)
        if going and on_progress is not None:
            going = on_progress(1 - len(left) / total) is not False
    return sorted(out, key=lambda k: -k.sigma)


def merge_patches(
    protostreams: Sequence[Protostream],
    ids,
    ra,
    dec,
    config: MergeConfig = AS_PUBLISHED,
    *,
    hough: HoughConfig = VIA_MACHINAE,
) -> list[Stream]:
    """Streams of protostreams of many patches.

    Two of different patches are one if, of the stars that lie in both patches, both have more than ``config.shared``
    (as a share of the mean of how many each has there), and the great circle of each is, in the frame of the
    other, within some bins of the other's line. What is one with one of them is of one stream with both.

    Args:
        protostreams: each with its ``center``.
        ids: (N,) identifiers of all stars of the protostreams.
        ra: (N,) deg.
        dec: (N,) deg.
        config: when lines are one.
        hough: as the lines were found.

    Returns:
        The strongest first; a protostream that merges with none is a stream too.

    Raises:
        ValueError: if a protostream has no centre or stars that are not among ``ids``, or the columns differ in length.
    """
    a(config, MergeConfig, "a MergeConfig")
    ids, ra, dec = np.asarray(ids), np.asarray(ra, float), np.asarray(dec, float)
    if not ids.shape == ra.shape == dec.shape or ids.ndim != 1:
        raise ValueError(f"Expected ids, ra and dec of one shape (N,), got {ids.shape}, {ra.shape}, {dec.shape}; give "
                         "one of each a star.")  # fmt: skip
    order = np.argsort(ids, kind="stable")
    known = ids[order]
    poles = [a(k, Protostream, "a Protostream").pole for k in protostreams]
    if not all(np.isin(k.stars, known).all() for k in protostreams):
        raise ValueError("Expected ids of all stars of the protostreams, got some of them; give all.")
    rows = [order[np.searchsorted(known, k.stars)] for k in protostreams]
    vectors = [basis(ra[own], dec[own])[0] for own in rows]
    centers = [basis(*sky_point(k.center, "center"))[0] for k in protostreams]
    near, reach = np.cos(np.deg2rad(hough.radius)), np.cos(np.deg2rad(min(2 * hough.radius, 180)))
    joined: list[tuple[int, int]] = []
    for i, one in enumerate(protostreams):
        for j, other in enumerate(protostreams[:i]):
            if one.center == other.center or centers[i] @ centers[j] <= reach:
                continue
            first, second = one.stars[vectors[i] @ centers[j] >= near], other.stars[vectors[j] @ centers[i] >= near]
            both, mean = len(np.intersect1d(first, second)), (len(first) + len(second)) / 2
            if both > config.shared * mean and (
                _agree(one, poles[j], config, hough) and _agree(other, poles[i], config, hough)
            ):
                joined.append((i, j))
    pairs, n = np.array(joined, int).reshape(-1, 2), len(protostreams)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(n, n))
    groups = connected_components(graph, directed=False)[1] if n else np.empty(0, int)
    out = []
    for group in np.unique(groups):
        own = (k for k, mark in zip(protostreams, groups, strict=True) if mark == group)
        parts = sorted(own, key=lambda k: -k.sigma)
        out.append(Stream(tuple(parts), np.unique(np.concatenate([k.stars for k in parts]))))
    return sorted(out, key=lambda k: -k.sigma)


def _agree(stream: Protostream, pole: tuple[float, float], config: MergeConfig, hough: HoughConfig) -> bool:
    """Whether a great circle is the line of a protostream, over the seam of theta too."""
    assert stream.center is not None
    try:
        theta, r = pole_line(stream.center, pole)
    except ValueError:  # so far from the centre that it has no nearest point
        return False
    most = config.theta_bins * hough.theta_step, config.r_bins * hough.r_step
    return any(
        abs(theta + 180 * turn - stream.line.theta) <= most[0] and abs((-1) ** turn * r - stream.line.r) <= most[1]
        for turn in (-1, 0, 1)
    )
