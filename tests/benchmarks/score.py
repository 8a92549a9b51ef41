"""GalaxyScore against flows: the force in a dwarf galaxy whose truth is known, after equal times of training.

    python tests/benchmarks/score.py [--json] [--seeds 3] [--stars 30000] [--seconds 60] [--matching sliced]

Both learn from the same 6-D stars of a cored halo and go on to the force by the same least squares. Each gets --seconds
of processor time for its steps (compilation apart; on an idle core that is the time on the wall), from which its number
of steps follows after a short trial; each has a whole cosine of learning rate. Every seed is another mock and another
start of the networks. Errors are fractional, medians over 2,000 stars of another mock within 0.9 of the ball:

    score_acc_median, flow_acc_median   of the acceleration; ratio is the first over the second
    score_acc_p90, flow_acc_p90         the 90th percentile
    score_rho_median, flow_rho_median   of the density by Gauss's law within half of the ball, its kernel taken into
                                        account on both sides
    score_steps, flow_steps, score_cpu, flow_cpu     steps, and the processor time that they took
"""

import dataclasses
import time

import common
import numpy as np

from clearview.dwarfs.score import GalaxyScoreConfig, fit_galaxy_score
from clearview.dynamics import mass_density, smooth
from clearview.flows import FitConfig, FlowConfig, ScoreConfig
from clearview.flows.score import MATCHING
from clearview.mocks import CORE, CUSP, TRACER, dwarf_truth_of, mock_dwarf

BATCH = 1024


def arguments(parser):
    parser.add_argument("--stars", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time, for the training of each")
    parser.add_argument("--matching", choices=MATCHING, default="sliced")
    parser.add_argument("--halo", choices=("core", "cusp"), default="core")


class Clock:
    """Processor time and steps of each stage of a training, from its second report on: the first compiles."""

    def __init__(self):
        self.stages = {}

    def __call__(self, told):
        if told.step:
            self.stages.setdefault(told.stage, []).append((told.step, time.process_time()))

    @property
    def seconds_per_step(self):
        """Of all stages together."""
        ends = [(s[0], s[-1]) for s in self.stages.values()]
        return sum((b[1] - a[1]) / max(b[0] - a[0], 1) for a, b in ends)

    @property
    def steps(self):
        return sum(s[-1][0] for s in self.stages.values())

    @property
    def seconds(self):
        """As if the steps before the first report had taken as long as the others."""
        ends = [(s[0], s[-1]) for s in self.stages.values()]
        return sum((b[1] - a[1]) / max(b[0] - a[0], 1) * b[0] for a, b in ends)


def trained(stars, config, seconds):
    """The fit after so many seconds of steps, and its clock."""

    def steps(count):
        training = dataclasses.replace(config.training, epochs=1, min_steps=count)
        return dataclasses.replace(config, training=training)

    trial = Clock()
    fit_galaxy_score(stars, steps(60), on_progress=trial)
    clock = Clock()
    return fit_galaxy_score(stars, steps(max(20, int(seconds / trial.seconds_per_step))), on_progress=clock), clock


def run(seed, args):
    count, seconds = (6000, 2.0) if args.tiny else (args.stars, args.seconds)
    halo = CORE if args.halo == "core" else CUSP
    stars = mock_dwarf(count, seed, tracer=TRACER, halo=halo, velocity_error=0.0)
    truth = dwarf_truth_of(stars)
    others = mock_dwarf(4000, 10_000 + seed, tracer=TRACER, halo=halo).phase_space[:, :3].astype(float)
    training = FitConfig(batch_size=BATCH, average=0.05, seconds_per_report=0.05 if args.tiny else 0.25)
    base = GalaxyScoreConfig(training=training, seed=seed)
    if args.tiny:
        base = dataclasses.replace(base, potential=dataclasses.replace(base.potential, degree=4))
    learners = {
        "score": ScoreConfig(16, 2, args.matching) if args.tiny else ScoreConfig(matching=args.matching),
        "flow": FlowConfig(2, 16) if args.tiny else FlowConfig(4, 64),
    }
    result = {}
    for name, learner in learners.items():
        fit, clock = trained(stars, dataclasses.replace(base, learner=learner), seconds)
        r = np.linalg.norm(others, axis=1)
        x = others[r < 0.9 * fit.radius][:2000]
        r = np.linalg.norm(x, axis=1, keepdims=True)
        true = -(truth.circular_velocity(r) ** 2) / r**2 * x
        off = np.linalg.norm(fit.acceleration(x) - true, axis=1) / np.linalg.norm(true, axis=1)
        inner = x[r[:, 0] < 0.5 * fit.radius][:200]
        kernel = (0.15 * fit.radius,) * 3
        rho = mass_density(fit, inner, kernel=kernel)
        known = smooth(lambda p: truth.density(np.linalg.norm(p, axis=1)), inner, kernel)
        result |= {
            f"{name}_acc_median": np.median(off), f"{name}_acc_p90": np.quantile(off, 0.9),
            f"{name}_rho_median": np.median(np.abs(rho / known - 1)), f"{name}_steps": clock.steps,
            f"{name}_cpu": clock.seconds,
        }  # fmt: skip
    return {**result, "ratio": result["score_acc_median"] / result["flow_acc_median"]}


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
