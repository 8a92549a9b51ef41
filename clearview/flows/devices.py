"""Several devices at once: the members of an ensemble are shared out, and so are the stars of a batch."""

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

T = TypeVar("T")


class Devices:
    """Where the arrays of a training lie: all devices that JAX sees, or as many as the work can be shared out to.

    The members of an ensemble go to as many devices as divide their number, and what is left divides the stars of a
    batch, whose gradients are then summed over the devices. The table of stars lies on each device whole.

    Results on another number of devices differ in the last digits, for sums are taken in another order.

    Attributes:
        mesh: of devices, (members, stars); None for a single one.
        along: how many devices divide the stars of a batch.
        axis: the name of the members' axis of the mesh, if there is one.
    """

    def __init__(self, members: int | None, batch_size: int):
        devices = jax.local_devices()
        across = math.gcd(members or 1, len(devices))
        along = math.gcd(batch_size, len(devices) // across)
        self.along, self.mesh, self.axis = along, None, None
        if across * along > 1:
            self.mesh = Mesh(np.reshape(devices[: across * along], (across, along)), ("members", "stars"))
            self.axis = "members"

    def where(self, tree, members: bool):
        """How each array of a pytree lies: by its first axis if that is of ``members``, else whole on each device."""
        if self.mesh is None:
            return None
        each = NamedSharding(self.mesh, PartitionSpec("members")), NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda leaf: each[0] if members and np.ndim(leaf) else each[1], tree)

    def put(self, tree: T, members: bool = False) -> T:
        """The pytree on the devices; what lies there stays."""
        return tree if self.mesh is None else jax.device_put(tree, self.where(tree, members))

    def gather(self, tree: T) -> T:
        """The pytree on the first device, to be used with any other array."""
        return tree if self.mesh is None else jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), tree)

    def split(self, rows):
        """Rows of a batch, inside of a compiled function, each device's share of them."""
        if self.mesh is None or len(rows) % self.along:
            return rows
        return lax.with_sharding_constraint(rows, NamedSharding(self.mesh, PartitionSpec("stars")))
