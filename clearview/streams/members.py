"""Which stars belong to a stream: its track, its proper motion along it, its locus in colour and magnitude."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from clearview import checks


@dataclass(frozen=True)
class MemberConfig:
    """How the members of a stream are told from the stars around it.

    Attributes:
        near: deg on either side of the line within which stars are looked at.
        reach: mas/yr around the stream's proper motion within which they are.
        width: of the stream at the start, a standard deviation in deg.
        widths: least and greatest standard deviation across the stream, deg.
        spreads: least and greatest intrinsic standard deviation in proper motion, mas/yr.
        bend: greatest distance of the track from its line, deg.
        rounds: of expectation and maximisation.
        prior: so many stars with the colours of the background are mixed into those of the stream.
    """

    near: float = 3.0
    reach: float = 2.5
    width: float = 0.3
    widths: tuple[float, float] = (0.08, 0.6)
    spreads: tuple[float, float] = (0.1, 0.8)
    bend: float = 1.0
    rounds: int = 30
    prior: float = 20.0

    def __post_init__(self):
        checks.numbers(self, near=(checks.ABOVE_0, 90), reach=(checks.ABOVE_0, 1e3), width=(checks.ABOVE_0, 90))
        checks.numbers(self, bend=(0, 90), prior=(0, 1e9))
        checks.numbers(self, whole=True, rounds=(1, 1000))
        for name in ("widths", "spreads"):
            pair = getattr(self, name)
            low, high = pair if isinstance(pair, tuple | list) and len(pair) == 2 else (None, None)
            low, high = (checks.number(f"an end of {name}", end, checks.ABOVE_0, 1e6) for end in (low, high))
            if not low < high:
                raise ValueError(f"Expected {name} as two growing positive numbers, got {(low, high)}; correct them.")
            object.__setattr__(self, name, (low, high))


class Members(NamedTuple):
    """The stars near a stream, and what the stream is.

    Attributes:
        rows: (M,) which of the stars given lie in the neighbourhood.
        probability: (M,) of being a member, from place, proper motion, colour and magnitude.
        motion_probability: (M,) the same without the star's own place across the stream; the model that gives it was
            fitted to the stars at their places, so that stars near the line are preferred a little.
        count: expected number of members.
        gain: by how much the stream raises ln(likelihood) of the neighbourhood.
        ends: (2,) along the line between which nine tenths of the probable members lie, deg.
        track: (3,) d = sum_k track[k] (along / 10 deg)^k, the place of the stream across its line, deg.
        width: standard deviation across the track, deg.
        motion: (2, 2) the proper motion at along = 0 and its change over 10 deg, mas/yr.
        spread: intrinsic standard deviation in proper motion, mas/yr.
    """

    rows: np.ndarray
    probability: np.ndarray
    motion_probability: np.ndarray
    count: float
    gain: float
    ends: np.ndarray
    track: np.ndarray
    width: float
    motion: np.ndarray
    spread: float


_FEW_MOTIONS, _FEW_COLOURS = 20, 100  # stars beside a stream without which nothing is known of theirs
_CELL = {"sky": (0.5, 0.1), "pm": (0.25, 0.25), "cmd": (0.05, 0.2)}
_KERNEL = {"sky": (1.0, 0.4), "pm": (0.6, 0.6), "cmd": (0.06, 0.3)}


class NoStream(ValueError):
    """There are too few stars along a line to tell members from others."""


def along_and_across(x, y, theta: float, r: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along a line of `clearview.streams.hough` and from it, deg; theta in rad."""
    return x * np.cos(theta) + y * np.sin(theta), x * np.sin(theta) - y * np.cos(theta) - r


def fit_members(
    x, y, pm, theta: float, r: float, motion, *, pm_error=None, cmd=None, config: MemberConfig | None = None
) -> Members:
    """A mixture of a stream and the stars around it, by expectation and maximisation.

    The stream is a curved band with a Gaussian profile, any density along itself, and a proper motion that changes
    linearly along it; its colours and magnitudes are those of the stars that it takes. The background is a product of
    smoothed counts: on the sky of all stars given (so with the survey's edges, holes and gradients), in proper motion
    and in colour and magnitude of those beside the stream.

    Args:
        x: (N,) deg, in the plane of the patch.
        y: (N,) deg.
        pm: (N, 2) mas/yr.
        theta: of the line, rad: r = x sin(theta) - y cos(theta).
        r: of the line, deg.
        motion: (2,) proper motion to begin with, mas/yr.
        pm_error: (N, 2) standard errors, mas/yr; NaN counts as none.
        cmd: (N, 2) colour and magnitude, mag; a star without them is judged by the rest.
        config: how.

    Raises:
        NoStream: if fewer than ten stars lie near the line and the motion, or none of them is a member; a ValueError.
    """
    config = config or MemberConfig()
    along, across = along_and_across(np.asarray(x, float), np.asarray(y, float), theta, r)
    band = np.abs(across) < config.near
    off = np.abs(np.asarray(pm, float) - np.asarray(motion)).max(1)
    rows = np.flatnonzero(band & (off < config.reach))
    if len(rows) < 10:
        raise NoStream(f"Expected at least 10 stars near the line and the motion, got {len(rows)}; widen the reach.")
    sky = _density("sky", np.stack([along[band], across[band]], 1), np.stack([along[rows], across[rows]], 1))
    along, across, pm = along[rows], across[rows], np.asarray(pm, float)[rows]
    error2 = np.zeros_like(pm) if pm_error is None else np.nan_to_num(np.asarray(pm_error, float)[rows]) ** 2
    mean, drift = np.array(motion, float), np.zeros(2)
    track, width, spread, share = np.zeros(3), config.width, 0.4, 0.1
    u = along / 10
    colours = np.full((len(rows), 2), np.nan) if cmd is None else np.asarray(cmd, float)[rows]
    known = np.isfinite(colours).all(1)
    edges = np.arange(np.floor(along.min()) - 1, np.ceil(along.max()) + 2.0)
    footprint = gaussian_filter(np.histogram(along, edges, weights=1 / sky)[0], 1.5, mode="constant") + 1e-9
    ratio_cmd = np.ones(len(rows))
    background = sky * _density("pm", pm, pm)
    p = total = moves = d = np.zeros(len(rows))
    profile = np.full(len(rows), 1 / np.ptp(along))
    for turn in range(config.rounds):
        d = across - np.vander(u, 3, increasing=True) @ track
        beside = np.abs(d) > 3 * width
        if turn % 10 == 0 and beside.sum() >= _FEW_MOTIONS:  # what lies beside changes little
            background = sky * _density("pm", pm[beside], pm)
        var = spread**2 + error2
        off = pm - mean - u[:, None] * drift
        moves = np.exp(-0.5 * (off**2 / var).sum(1)) / (2 * np.pi * np.sqrt(var.prod(1)))
        signal = profile * np.exp(-0.5 * (d / width) ** 2) / (width * np.sqrt(2 * np.pi)) * moves * ratio_cmd
        total = share * signal + (1 - share) * background
        p = share * signal / total
        share = float(np.clip(p.mean(), 1e-4, 0.9))
        weight = p.sum()
        if weight < 3:
            raise NoStream(f"Expected a stream along the line, got {weight:.1f} members; try another line.")
        # The track and the motion stay where they are at the start, until the colours tell the stream.
        if turn >= 2:
            basis = np.vander(u, 3, increasing=True)
            stiff = np.diag([0.0, 1.0, 1.0]) * width**2 / config.bend**2 * 3
            solved = np.linalg.solve(basis.T @ (p[:, None] * basis) + stiff + 1e-9 * np.eye(3), basis.T @ (p * across))
            track = np.clip(solved, -config.bend, config.bend)
            d = across - basis @ track
            width = float(np.clip(np.sqrt((p * d**2).sum() / weight), *config.widths))
            for k in range(2):
                w = p / var[:, k]
                a = np.stack([np.ones_like(u), u], 1)
                ridge = np.diag([1e-9, spread**-2])
                mean[k], drift[k] = np.linalg.solve(a.T @ (w[:, None] * a) + ridge, a.T @ (w * pm[:, k]))
            off = pm - mean - u[:, None] * drift
            excess = (p[:, None] * (off**2 - error2)).sum() / (2 * weight)
            spread = float(np.clip(np.sqrt(max(excess, 0)), *config.spreads))
        counts = gaussian_filter(np.histogram(along, edges, weights=p / sky)[0], 1.5, mode="constant") / footprint
        level = counts + 0.05 * counts.max() + 1e-12
        covered = footprint > 1e-6
        at = np.clip(np.searchsorted(edges, along, side="right") - 1, 0, len(level) - 1)
        profile = level[at] / (level * covered).sum()
        if known.sum() >= 20 and beside[known].sum() >= _FEW_COLOURS:
            ratio_cmd = np.ones(len(rows))
            field = _density("cmd", colours[known & beside], colours[known])
            taken = _density("cmd", colours[known], colours[known], p[known])
            n = p[known].sum()
            ratio_cmd[known] = (n * taken + config.prior * field) / ((n + config.prior) * field)
    signal_motion = moves * ratio_cmd
    background_motion = background / sky
    inside = np.abs(d) < 2 * width
    local = p[inside].sum() / max(inside.sum(), 1)
    odds = local / max(1 - local, 1e-6) * signal_motion / background_motion
    sure = p > 0.5 if np.sum(p > 0.5) >= 10 else p > 0  # of a faint stream many that are none count a little
    order = np.flatnonzero(sure)[np.argsort(along[sure])]
    ends = np.interp([0.05, 0.95], np.cumsum(p[order]) / p[order].sum(), along[order])
    gain = float(np.log(total / background).sum())
    return Members(
        rows, p, odds / (1 + odds), float(p.sum()), gain, ends, track, width, np.stack([mean, drift]), spread
    )  # fmt: skip


def _density(kind: str, sample: np.ndarray, at: np.ndarray, weights=None) -> np.ndarray:
    """Density of ``sample`` (M, 2) at points (N, 2), smoothed, and normalised over where there are any."""
    cell, kernel = np.array(_CELL[kind]), np.array(_KERNEL[kind])
    both = np.concatenate([sample, at])
    low, high = both.min(0), both.max(0)
    shape = np.maximum(np.ceil((high - low) / cell).astype(int), 1)
    edges = [low[k] + cell[k] * np.arange(shape[k] + 1) for k in range(2)]
    counts = np.histogram2d(*sample.T, bins=edges, weights=weights)[0]
    smooth = gaussian_filter(counts, kernel / cell, mode="nearest")
    smooth += 1e-3 * smooth.max() + 1e-12
    places = ((at - low) / cell - 0.5).T
    return map_coordinates(smooth, places, order=1, mode="nearest") / (smooth.sum() * cell.prod())
