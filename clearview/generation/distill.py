"""A flow with a slow way to sample, made fast: a student learns block by block what its teacher does.

A masked autoregressive flow is sampled coordinate by coordinate; its inverse in one pass, but that cannot be trained by
maximum likelihood. So it is fitted to a trained one (Krause & Shih 2021, CaloFlow II, arXiv:2110.11377). There each
coordinate took a whole pass; here it takes a small step (`clearview.flows.discrete.MaskedLayer.in_turn`), so that a
student gains much in many dimensions or small batches, and little in large batches of few.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float

from clearview import checks
from clearview.checks import a
from clearview.flows import IAF, MAF, AbstractFlow, FlowConfig
from clearview.flows.density import over
from clearview.flows.fit import Fit, FitConfig, OnProgress, optimise, training_data


@dataclass(frozen=True)
class DistillConfig:
    """How a student learns.

    Attributes:
        width, depth: of its networks; None takes the teacher's.
        parameters: weight of the squared differences of the spline's parameters; those of the points count 1.
        training: of the student. Of each batch one half begins with data, the other with noise.
        seed: of all random numbers.
    """

    width: int | None = None
    depth: int | None = None
    parameters: float = 0.1
    training: FitConfig = field(
        default_factory=lambda: FitConfig(epochs=20, min_steps=3000, learning_rate=3e-3, b2=0.99, average=0.02)
    )
    seed: int = 0

    def __post_init__(self):
        checks.parts(self)
        checks.numbers(self, whole=True, optional=True, width=(1, 10_000), depth=(1, 100))
        checks.numbers(self, parameters=(0, 1e6))
        checks.numbers(self, whole=True, seed=checks.SEEDS)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DistillConfig":
        """The inverse of `to_dict`; see `clearview.checks.from_plain`."""
        return checks.from_plain(cls, values)


class Distilled(AbstractFlow):
    """A teacher that tells ln p, and its student that draws samples; each in one pass.

    What the student draws has a density of its own, ``student.log_prob``: exact, but slow.
    """

    teacher: AbstractFlow
    student: AbstractFlow
    dim: int = eqx.field(static=True)
    condition_dim: int | None = eqx.field(static=True)

    def __init__(self, teacher: AbstractFlow, student: AbstractFlow):
        self.teacher, self.student = teacher, student
        self.dim, self.condition_dim = teacher.dim, teacher.condition_dim

    def to_base(self, x: Float[Array, " dim"], condition):
        return self.teacher.to_base(x, condition)

    def from_base(self, z: Float[Array, " dim"], condition):
        return self.student.from_base(z, condition)


class Steps(NamedTuple):
    """What a flow does to one point.

    Attributes:
        points: (layers + 1, dim) the point before and after each layer, from data to noise.
        parameters: (layers, count, dim) of the layers' transforms.
    """

    points: Array
    parameters: Array


def to_noise(maf: MAF, x: Float[Array, " dim"], condition) -> Steps:
    """The steps of one point from data to noise, by the flow for which this is fast."""
    points, parameters = [x], []
    for layer in maf.layers:
        parameters.append(layer.parameters(points[-1], condition))
        points.append(layer.transform.forward(points[-1], parameters[-1])[0][::-1])
    return Steps(jnp.stack(points), jnp.stack(parameters))


def to_data(iaf: IAF, z: Float[Array, " dim"], condition) -> Steps:
    """The steps of one point from noise to data, by the flow for which this is fast."""
    points, parameters = [z], []
    for layer in reversed(iaf.layers):
        parameters.append(layer.parameters(points[-1], condition))
        points.append(layer.masked.transform.inverse(points[-1][::-1], parameters[-1]))
    return Steps(jnp.stack(points[::-1]), jnp.stack(parameters[::-1]))


def core(flow: Any) -> Any:
    """The flow of layers in its wrappers, such as `clearview.flows.Standardised`."""
    while hasattr(flow, "inner"):
        flow = flow.inner
    return flow


def distill(
    teacher: AbstractFlow, data, config: DistillConfig | None = None, *, condition=None,
    on_progress: OnProgress = None, resume: Fit | None = None,
) -> Fit:  # fmt: skip
    """Fit a student to a teacher; neither is ever run in its slow direction.

    Half of each batch goes from data through the teacher to noise and back through the student, half from noise
    through the student to data and back through the teacher. What is minimised are the squared differences of the
    points after each layer, and of the parameters of each layer's transform.

    Args:
        teacher: a `clearview.flows.MAF` that was trained on the data, in its wrappers.
        data: (N, dim) points, as the teacher was trained on.
        config: how to learn.
        condition: (N, condition_dim), of a conditional teacher.
        on_progress: called with `clearview.flows.Progress`; returning False cancels.
        resume: a cancelled fit of the same teacher, data and config, to go on with.

    Returns:
        A fit whose ``model`` is `Distilled`.

    Raises:
        TypeError: for a teacher of another kind.
        ValueError: for data that do not suit the teacher, or are too few, a batch of one, or a ``resume`` of another
            teacher.
    """
    config = DistillConfig() if config is None else config
    a(config, DistillConfig, "a DistillConfig")
    maf = a(core(a(teacher, AbstractFlow, "a flow")), MAF, "a masked autoregressive flow (MAF)")
    batch = training_data(teacher, data, condition)
    if not len(batch[0]) or config.training.batch_size < 2:
        raise ValueError(
            f"Expected data and batches of at least 2, got {len(batch[0])} points and batches of "
            f"{config.training.batch_size}; raise them."
        )
    if resume is not None:
        if not (isinstance(resume.model, Distilled) and eqx.tree_equal(resume.model.teacher, teacher)):
            raise ValueError("Expected to resume with the teacher it began with, got another; train anew.")
        resume = resume._replace(model=core(resume.model.student))
    key = random.key(config.seed)
    student = eqx.tree_at(core, teacher, student_of(maf, config))
    # The same wrappers around a flow without layers.
    bare = eqx.tree_at(lambda flow: core(flow).layers, teacher, [])

    @eqx.filter_jit
    def inside(x, condition):
        return over(lambda x, c: bare.to_base(x, c)[0], x, condition)

    rows = 2**15
    x, *given = batch
    parts = range(0, len(x), rows)
    points = np.concatenate([np.asarray(inside(x[i : i + rows], *[c[i : i + rows] for c in given] or [None]))
                             for i in parts])  # fmt: skip
    fit = optimise(
        core(student), lambda student, key, x, c=None: loss(maf, student, key, x, c, config.parameters),
        (points, *given), config.training, key=key, on_progress=on_progress, resume=resume, stage="student",
    )  # fmt: skip
    return fit._replace(model=Distilled(teacher, eqx.tree_at(core, student, fit.model)))


def student_of(maf: MAF, config: DistillConfig) -> IAF:
    """A student as it is before it learns: of as many layers, and of one size with its teacher if none is given."""
    first = maf.layers[0]
    width, depth = config.width or first.biases[0].size, config.depth or len(first.biases) - 1
    kind = {name: getattr(first.transform, name) for name in ("bins", "reach") if hasattr(first.transform, name)}
    size = FlowConfig(
        len(maf.layers), width, depth, "spline" if kind else "affine", spread=1.0, **kind
    )  # fmt: skip
    student = IAF(maf.dim, maf.condition_dim, size, key=random.key(config.seed))
    if [w.shape for w in first.weights] != [w.shape for w in student.layers[0].masked.weights]:
        return student
    # Near the identity both do the same with the same weights, so they are a good start.
    return eqx.tree_at(lambda flow: [layer.masked for layer in flow.layers], student, maf.layers)


def loss(teacher: MAF, student: IAF, key, x, condition, weight: float) -> Float[Array, ""]:
    """Squared differences of teacher and student, half from data, half from noise; see `distill`."""
    half = len(x) // 2
    given = (None, None) if condition is None else (condition[:half], condition[half:])
    down = over(lambda x, c: to_noise(teacher, x, c), x[:half], given[0])
    back = over(lambda z, c: to_data(student, z, c), down.points[:, -1], given[0])
    z = random.normal(key, x[half:].shape)
    up = over(lambda z, c: to_data(student, z, c), z, given[1])
    there = over(lambda x, c: to_noise(teacher, x, c), up.points[:, 0], given[1])

    def apart(one: Steps, other: Steps):
        points, parameters = (((p - q) ** 2).mean() for p, q in zip(one, other, strict=True))
        return points + weight * parameters

    return 0.5 * (apart(down, back) + apart(up, there))
