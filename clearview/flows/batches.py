"""The rows that training sees: split, shuffled, resampled, and from the disk a window at a time."""

import math
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from clearview.flows.devices import Devices
from clearview.flows.networks import generator, permutation

if TYPE_CHECKING:
    from clearview.flows.fit import FitConfig


class Batches:
    """The training and validation rows of the data, as much of them on the device as is needed at a time.

    Data in memory go there once. Data on disk (`numpy.memmap`) go there ``WINDOW`` rows at a time.
    """

    WINDOW = 2**17

    def __init__(self, data, config: "FitConfig", key, stage: str, members: int | None, bootstrap: bool):
        size = len(data[0])
        for d in data:
            for first in range(0, size, 2**20):
                if not (np.abs(d[first : first + 2**20]) < np.finfo(np.float32).max).all():
                    raise ValueError(
                        f"Expected finite numbers in the training data of {stage}, got NaN or inf; cut those rows."
                    )
        order, held_out = split(key, size, config.validation)
        self.count = size - held_out
        if self.count < 32:
            raise ValueError(
                f"Expected at least 32 stars to train {stage}, got {self.count} after the split; loosen the cuts."
            )
        if config.patience is not None and not held_out:
            raise ValueError(
                f"Expected stars held out to judge {stage} by where there is patience, got none of {size}; raise "
                "validation."
            )
        # In equal parts, since the whole held-out set at once would take memory in proportion.
        parts = max(1, math.ceil(held_out / 8192))
        kept = order[: held_out - held_out % parts]
        self.mapped = any(isinstance(d, np.memmap) for d in data)
        self.data, self.order, self.key, self.members, self.bootstrap = data, order[held_out:], key, members, bootstrap
        self.batch_size, self.per_epoch, self.total = config.plan(self.count)
        self.devices = Devices(members, self.batch_size)
        self.validation = self.devices.put(
            tuple(jnp.asarray(_rows(d, kept).reshape(parts, len(kept) // parts, *d.shape[1:])) for d in data)
        )
        self.window = max(1, min(self.per_epoch, self.WINDOW // self.batch_size)) if self.mapped else self.per_epoch
        self.all = None if self.mapped else self.devices.put(tuple(jnp.asarray(_rows(d, self.order)) for d in data))
        self._orders: tuple[int, np.ndarray] = (-1, np.empty(0))

    def at(self, step: int):
        """For a step: rows in the order in which the steps take them, the data these number, the first step whose
        batch they begin with, and the step up to which they last.
        """
        epoch, begun = divmod(step, self.per_epoch)
        begun -= begun % self.window
        if self._orders[0] != epoch:
            self._orders = -1, np.empty(0)  # let go before there is another
            self._orders = epoch, np.stack([self._order(epoch, m) for m in range(self.members or 1)])
        rows, data = self._orders[1], self.all
        if data is None:
            rows = rows[:, begun * self.batch_size :][:, : self.window * self.batch_size]
            # The last window of a pass may be shorter; one shape, one compilation.
            rows = np.pad(rows, ((0, 0), (0, self.window * self.batch_size - rows.shape[1])), mode="edge")
            taken = [[_rows(d, self.order[r]) for r in rows] for d in self.data]
            data = tuple(jnp.asarray(t[0] if self.members is None else np.stack(t)) for t in taken)
            rows = np.broadcast_to(np.arange(rows.shape[1], dtype=np.int32), rows.shape)
            data = self.devices.put(data, self.members is not None)
        rows = jnp.asarray(rows[0] if self.members is None else rows, jnp.int32)
        first = epoch * self.per_epoch + begun
        last = min(first + self.window, (epoch + 1) * self.per_epoch)
        return self.devices.put(rows, self.members is not None), data, first, last

    def _order(self, epoch: int, member: int) -> np.ndarray:
        order = permutation(generator(self.key, 1, epoch, member), self.count)[: self.per_epoch * self.batch_size]
        if self.bootstrap:
            order = generator(self.key, 2, member).integers(0, self.count, self.count)[order]
        return order.astype(np.int32, copy=False)


def split(key, size: int, validation: float) -> tuple[np.ndarray, int]:
    """Row numbers in random order, and how many of the first are held out; the others are learnt from."""
    return permutation(generator(key, 0), size), round(validation * size)


def _rows(data: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a table as float32; read in the order in which they lie on the disk."""
    by_place = np.argsort(rows)
    out = np.empty((len(rows), *data.shape[1:]), np.float32)
    out[by_place] = data[rows[by_place]]
    return out
