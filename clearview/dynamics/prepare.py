"""Stars on their way into a map, a chunk at a time: what lies on the disk stays there."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from clearview.flows import PhaseSpace

CHUNK = 2**20
"""Stars looked at at a time."""


class Look(NamedTuple):
    """What one pass over (N, D) numbers tells, each (D,): mean, standard deviation, and largest minus smallest."""

    mean: np.ndarray
    std: np.ndarray
    spread: np.ndarray


def parts(points: np.ndarray, function: Callable = np.asarray) -> Iterator[np.ndarray]:
    """``function`` of `CHUNK` rows after the other."""
    return (np.asarray(function(np.asarray(points[i : i + CHUNK]))) for i in range(0, len(points), CHUNK))


def distances(points: np.ndarray, center) -> Iterator[np.ndarray]:
    """Distances from ``center`` (3,) [kpc] of rows x, y, z, ..., in chunks."""
    return parts(points, lambda part: np.linalg.norm(part[:, :3] - np.asarray(center), axis=1).astype(float))


def within(points: np.ndarray, center, radius: float) -> np.ndarray:
    """The rows of ``points`` (N, 6) nearer to ``center`` than ``radius`` [kpc]; the points themselves if all are."""
    inside = [distance < radius for distance in distances(points, center)]
    count = sum(int(np.count_nonzero(part)) for part in inside)
    if count == len(points):
        return points
    return _kept((part[near] for part, near in zip(parts(points), inside, strict=True)), count, points)


def velocity_inputs(density: PhaseSpace, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the density's p takes of ``points`` (N, 6): the velocities (N, 3), and the places (N, 3)."""

    def both(part):
        return np.concatenate(density.velocity_input(jnp.asarray(part[:, :3]), jnp.asarray(part[:, 3:])), axis=1)

    inputs = _kept(parts(points, both), len(points), points)
    return inputs[:, :3], inputs[:, 3:]


def some(points: np.ndarray) -> np.ndarray:
    """Every so many of the rows, at most `CHUNK` of them; all if they are no more."""
    return np.asarray(points[:: -(-len(points) // CHUNK)])


def look(chunks: Iterable[np.ndarray]) -> Look:
    """Over all rows of the chunks; of a single one, as NumPy finds it."""
    told = [(len(a), a.mean(0), a.var(0), a.min(0), a.max(0)) for a in chunks]
    number, means, variances, low, high = (np.array(column) for column in zip(*told, strict=True))
    share = (number / number.sum())[:, None]
    mean = (share * means).sum(0)
    variance = (share * (variances + (means - mean) ** 2)).sum(0)
    return Look(mean, np.sqrt(variance), high.max(0) - low.min(0))


def _kept(chunks: Iterable[np.ndarray], count: int, like: np.ndarray) -> np.ndarray:
    """The chunks one below the other, (count, 6) float32: in memory, or on the disk where ``like`` is."""
    if not isinstance(like, np.memmap):
        out, first = np.empty((count, 6), np.float32), 0
        for chunk in chunks:
            out[first : first + len(chunk)] = chunk
            first += len(chunk)
        return out
    folder = Path(like.filename).parent if like.filename else None
    try:
        with TemporaryFile(dir=folder) as file:  # without a name: it goes when it is used no more
            for chunk in chunks:
                file.write(np.ascontiguousarray(chunk, np.float32).data)
            file.flush()
            kept = np.memmap(file, np.float32, "r", shape=(count, 6))
        kept.filename = like.filename  # what is made of these stands beside them
        return kept
    except OSError as problem:
        raise OSError(
            f"Expected room for {count * 24 / 1e6:,.0f} MB to learn from in {folder or 'the temporary folder'}, got "
            f"{problem.strerror!r}; free some, or prepare the catalogue in another folder."
        ) from problem
