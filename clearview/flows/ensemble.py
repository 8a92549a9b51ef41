"""Several densities of the same stars as one: their mean, and what they disagree about."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, PRNGKeyArray

from clearview.flows.density import AbstractDensity, checked
from clearview.flows.fit import Fit, FitConfig, OnModel, OnProgress, loss_of_model, optimise, training_data


class Ensemble(AbstractDensity):
    """The mean of the members' densities.

    Attributes:
        members: one density whose arrays have the members on their first axis.
        count: how many there are.
    """

    members: AbstractDensity
    count: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    condition_dim: int | None = eqx.field(static=True)

    def __init__(self, members: AbstractDensity):
        self.members, self.dim, self.condition_dim = members, members.dim, members.condition_dim
        self.count = len(jax.tree.leaves(eqx.filter(members, eqx.is_array))[0])

    def member(self, number: int) -> AbstractDensity:
        """One of the densities."""
        if not 0 <= number < self.count:
            raise ValueError(f"Expected a member from 0 to {self.count - 1}, got {number}; choose one of them.")
        arrays, static = eqx.partition(self.members, eqx.is_array)
        return eqx.combine(jax.tree.map(lambda leaf: leaf[number], arrays), static)

    @eqx.filter_jit
    def log_prob_of_members(self, x: Float[Array, "*batch dim"], condition=None) -> Float[Array, "count ..."]:
        """ln p(x | condition) of each member: their spread is the uncertainty that training left."""
        x, condition = checked(self, x, condition)
        return self._each(lambda member: member.log_prob(x, condition))

    def _each(self, function):
        return eqx.filter_vmap(function)(self.members)

    def _log_prob(self, x, condition):
        each = self._each(lambda member: member._log_prob(x, condition))
        return jax.nn.logsumexp(each, axis=0) - jnp.log(self.count)

    def _sample(self, key, count, condition):
        # Each member draws its share; which draws are whose is chance.
        share = -(-count // self.count)
        slots = random.permutation(random.fold_in(key, 0), self.count * share)
        given = None
        if condition is not None:
            given = condition[jnp.argsort(slots).reshape(self.count, share) % count]
        keys = random.split(random.fold_in(key, 1), self.count)
        draws = eqx.filter_vmap(lambda member, key, given: member._sample(key, share, given))(self.members, keys, given)
        return draws.reshape(-1, self.dim)[slots][:count]


def stack(each: list):
    """Models of one form as one, whose arrays have the models on their first axis."""
    arrays = [eqx.filter(one, eqx.is_array) for one in each]
    return eqx.combine(jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *arrays), each[0])


def fit_ensemble(
    build, data, config: FitConfig | None = None, *, key: PRNGKeyArray, members: int = 8, bootstrap: bool = False,
    condition=None, on_progress: OnProgress = None, on_model: OnModel = None, resume: Fit | None = None,
    stage: str = "ensemble",
) -> Fit:  # fmt: skip
    """Train several densities of the same stars together; see `clearview.flows.fit` for what is not listed here.

    Each member begins with other weights and sees the stars in another order. One compilation and one loop serve
    all. The best weights of each are kept by themselves; losses are told as means, and one member that diverges ends
    the training. With ``config.patience`` training ends when no member
    improves any more.

    Args:
        build: makes the density to start from: ``build(key)``.
        members: how many.
        bootstrap: every member learns from as many stars drawn with replacement, so that the spread of the members
            holds the finite number of stars too.

    Returns:
        A fit whose ``model`` is an `Ensemble`.

    Raises:
        ValueError: for less than one member, or data that `clearview.flows.fit` refuses.
    """
    if isinstance(members, bool) or not isinstance(members, int | np.integer) or members < 1:
        raise ValueError(f"Expected a whole number of members, at least one, got {members!r}; correct it.")
    each = [build(random.fold_in(key, i)) for i in range(members)]
    if not isinstance(each[0], AbstractDensity):
        raise ValueError(f"Expected build to make a density, got a {type(each[0]).__name__}; fit those one by one.")
    batch = training_data(each[0], data, condition)
    result = optimise(
        stack(each), loss_of_model, batch, config or FitConfig(), key=key, on_progress=on_progress, on_model=on_model,
        resume=resume, stage=stage, members=members, bootstrap=bootstrap,
    )  # fmt: skip
    return result._replace(model=Ensemble(result.model))
