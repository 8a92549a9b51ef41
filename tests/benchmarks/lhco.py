"""Weakly supervised searches on events like those of the LHC Olympics: how much of a resonance each method sees.

    python tests/benchmarks/lhco.py [--json] [--seeds 5] [--plot FILE.png]           a toy, made of formulas
    python tests/benchmarks/lhco.py --catalog PATH                                   "LHCO-like", or the real events

PATH is a Parquet file, or a folder of such, with mJJ_TeV, mJ1_TeV, dmJ_TeV, tau21_J1, tau21_J2 and is_signal. With
events beyond 3.3 to 3.7 TeV the background is taken as it is. Without any there are no sidebands; then a flow that is
fitted to the background of half the files (its masses and shapes scaled with a power of m_JJ, each power fitted) makes
the background of the signal region and of the sidebands alike, at m_JJ from the exponential slope of the same events:
"LHCO-like". No event that the generator learnt from is scored; the signal is the files' own.

The signal region is 3.3 to 3.7 TeV, and 0.6 % of its events are signal. Every seed is other events and another start
of the networks. For each of the methods, and of Hallin et al. 2021 (arXiv:2109.00546) as far as it is the same:

    sic_      the most that a cut improves the significance, tpr / sqrt(fpr), where the error of the fpr is below 20 %
    at20_     the same at 20 % of the signal
    corr_     with m_J1 and dm raised by 0.1 m_JJ, which correlates them with it
    seconds_  of each
    bump_before, bump_after     significance of the bump in m_JJ, of all events, and of the 0.2 % that CATHODE prefers
"""

import dataclasses
import time
from functools import lru_cache
from pathlib import Path

import common
import jax
import numpy as np
import pandas as pd

from clearview.flows import MAF, ClassifierConfig, FitConfig, FlowConfig, Standardised, fit
from clearview.flows.density import in_chunks
from clearview.streams import Anode, Cathode, Cwola, Idealised, bump_hunt, score_region, sic_curve

COLUMNS = ["mJ1_TeV", "dmJ_TeV", "tau21_J1", "tau21_J2"]
SCAN, LABEL = "mJJ_TeV", "is_signal"
REGION, RANGE, CENTER = (3.3, 3.7), (2.5, 4.5), 3.5
SLOPE = -1.448  # of ln N along m_JJ per TeV, at 3.5 TeV, among the R&D events
PURITY = 0.006
MARGIN = 1e-4
SIDEBAND, BESIDE = 0.4, 0.4  # TeV beyond the signal region that the flows learn from, and of the bump hunt
TPR = np.linspace(0.02, 1, 99)


def within(m, low, high):
    return (m >= low) & (m < high)


class Generator:
    """Background at any m_JJ, learnt from events of the signal region alone."""

    def __init__(self, events: pd.DataFrame, tiny: bool):
        m, x = events[SCAN].to_numpy(float), events[COLUMNS].to_numpy(float)
        logs = np.log(np.maximum(x, 1e-3))
        self.powers = np.array([np.polyfit(np.log(m / CENTER), column, 1)[0] for column in logs.T])
        x = x / (m[:, None] / CENTER) ** self.powers
        self.low, self.high = x.min(0), x.max(0)
        u = MARGIN + (1 - 2 * MARGIN) * (x - self.low) / (self.high - self.low)
        z = np.log(u) - np.log1p(-u)
        key = jax.random.key(12345)
        size = FlowConfig(2, 16) if tiny else FlowConfig(5, 48, 2, "spline", spread=1.0)
        training = FitConfig(epochs=2 if tiny else 15, min_steps=0, average=0.03)
        flow = Standardised(MAF(4, None, size, key=key), z.mean(0), z.std(0))
        self.flow = fit(flow, z, training, key=key).model

    def __call__(self, m, seed: int):
        """(N, 4) features at m (N,) [TeV]."""
        z = in_chunks(lambda key, size: self.flow.sample(key, (size,)), len(m), jax.random.key(seed))
        u = (1 / (1 + np.exp(-z.astype(float))) - MARGIN) / (1 - 2 * MARGIN)
        return (self.low + np.clip(u, 0, 1) * (self.high - self.low)) * (m[:, None] / CENTER) ** self.powers


def toy_background(m, seed: int):
    """Two falling jet masses in units of m_JJ, and two shapes that depend on them, at m (N,) [TeV]."""
    rng = np.random.default_rng([seed, 1])
    masses = m[:, None] * np.minimum(np.exp(rng.normal([-3.5, -2.9], 0.65, (len(m), 2))), 0.3)
    masses = np.sort(masses, axis=1)
    shapes = np.stack([rng.beta(4.5, 3.2, len(m)), rng.beta(2.8, 3.0, len(m))], -1)
    shapes *= 1 - 0.4 * masses / m[:, None] / 0.3
    return np.stack([masses[:, 0], masses[:, 1] - masses[:, 0], *shapes.T], -1)


def toy_signal(count: int, seed: int):
    """m (N,) [TeV] and features of a resonance at 3.5 TeV that decays to two heavy particles."""
    rng = np.random.default_rng([seed, 2])
    light, heavy = rng.normal(0.105, 0.02, count), rng.normal(0.49, 0.06, count)
    shapes = np.stack([rng.beta(3.2, 5.0, count), rng.beta(2.0, 7.0, count)], -1)
    return rng.normal(3.5, 0.1, count), np.stack([light, heavy - light, *shapes.T], -1)


def falling(count: int, seed: int, low: float, high: float):
    """``count`` values of m_JJ from the exponential spectrum."""
    u = np.random.default_rng([seed, 3]).uniform(size=count)
    ends = np.exp(SLOPE * np.array([low, high]))
    return np.log(ends[0] + u * (ends[1] - ends[0])) / SLOPE


@lru_cache(1)
def catalog_of(path: str, tiny: bool):
    """Background with sidebands or None, a generator or None, and all signal."""
    files = sorted(Path(path).glob("*.parquet")) if Path(path).is_dir() else [Path(path)]
    tables = [pd.read_parquet(file, columns=[SCAN, *COLUMNS, LABEL]) for file in files]
    both = pd.concat(tables, ignore_index=True)
    signal = both[both[LABEL] == 1]
    background = both[both[LABEL] == 0]
    if not within(background[SCAN], *REGION).all():
        return background, None, signal
    half = background.sample(frac=0.5, random_state=0) if len(background) > 60_000 else background
    return None, Generator(half.sample(min(len(half), 5000)) if tiny else half, tiny), signal


def events(seed: int, args):
    """Features (N, 4), m (N,), which are signal, and the same of pure background of the signal region."""
    rng = np.random.default_rng([seed, 0])
    in_region = 4000 if args.tiny else args.events
    ends = np.exp(SLOPE * np.array([*RANGE, *REGION]))
    count = round(in_region * (ends[1] - ends[0]) / (ends[3] - ends[2]))
    m, ideal_m = falling(count, seed, *RANGE), falling(2 * in_region, seed + 10**6, *REGION)
    wanted = round(PURITY / (1 - PURITY) * in_region)
    if not args.catalog:
        x, ideal = toy_background(m, seed), toy_background(ideal_m, seed + 10**6)
        sm, sx = toy_signal(4 * wanted, seed)
    else:
        background, generator, signal = catalog_of(args.catalog, args.tiny)
        if generator is None:
            background = background.sample(frac=1.0, random_state=seed)
            inner = np.flatnonzero(within(background[SCAN].to_numpy(), *REGION))
            spare = np.zeros(len(background), bool)
            spare[inner[: len(inner) // 2]] = True  # half stays out, so that the idealised background is another one
            ideal_m, ideal = background[SCAN][spare].to_numpy(float), background[COLUMNS][spare].to_numpy(float)
            m, x = background[SCAN].to_numpy(float)[~spare], background[COLUMNS].to_numpy(float)[~spare]
            wanted = round(PURITY / (1 - PURITY) * within(m, *REGION).sum())
        else:
            x, ideal = generator(m, seed), generator(ideal_m, seed + 10**6)
        signal = signal.iloc[rng.permutation(len(signal))]
        sm, sx = signal[SCAN].to_numpy(float), signal[COLUMNS].to_numpy(float)
    last = np.flatnonzero(np.cumsum(within(sm, *REGION)) == wanted)
    if not len(last):
        raise SystemExit(f"Expected {wanted} signal events in the signal region, got fewer; add a file of them.")
    sm, sx = sm[: last[0] + 1], sx[: last[0] + 1]
    is_signal = np.r_[np.zeros(len(m), bool), np.ones(len(sm), bool)]
    return np.r_[x, sx], np.r_[m, sm], is_signal, ideal, ideal_m


def methods(tiny: bool):
    """The four, with the sizes that did best by held-out loss on seeds 100 and above."""
    training = FitConfig(epochs=20, min_steps=0, batch_size=256, learning_rate=1e-2, validation=0.15, average=0.05)
    flow_training = FitConfig(epochs=8, min_steps=0, batch_size=512, learning_rate=3e-3, average=0.05)
    flow = FlowConfig(3, 32, 2, "spline", spread=1.0)
    most = 250_000
    if tiny:
        # Most of the time goes into compiling: smaller, and no second function for held-out events.
        training = dataclasses.replace(training, epochs=2, validation=0.0)
        flow_training = dataclasses.replace(flow_training, epochs=1, validation=0.0)
        flow, most = FlowConfig(1, 8, 1), 10_000
    size = ClassifierConfig(8, 1) if tiny else ClassifierConfig(32, 3)
    classifier = {"classifier": size, "training": training, "most": most}
    return {
        "idealised": Idealised(**classifier),
        "cathode": Cathode(
            flow=flow, flow_training=flow_training, sideband=SIDEBAND, flows=1 if tiny else 2, **classifier
        ),
        "cwola": Cwola(sideband=0.2, **classifier),
        "anode": Anode(flow=flow, training=flow_training, sideband=SIDEBAND),
    }


def run(seed, args):
    x, m, is_signal, ideal, ideal_m = events(seed, args)
    region = within(m, *REGION)
    result = {"signal_events": int((is_signal & region).sum()), "events": int(region.sum())}
    for prefix in ("", "corr_"):
        if prefix:  # as in the papers
            x, ideal = x.copy(), ideal.copy()
            x[:, :2] += 0.1 * m[:, None]
            ideal[:, :2] += 0.1 * ideal_m[:, None]
        for name, method in methods(args.tiny).items():
            if name not in args.methods:
                continue
            began = time.monotonic()
            if name == "idealised":
                method = dataclasses.replace(method, background=ideal, background_scan=ideal_m)
            hunt = name == "cathode" and not prefix
            scores = score_region(
                method, x, m, *REGION, seed=seed, members=1 if args.tiny else 2 if name == "anode" else args.members,
                beside=BESIDE if hunt else 0.0,
            )  # fmt: skip
            score, labels = scores.ln_ratio[0], is_signal[region]
            result[f"seconds_{prefix}{name}"] = time.monotonic() - began
            curve = sic_curve(score[region], labels, error=None)
            result[f"{prefix}sic_{name}"] = float(curve.sic[curve.fpr_error <= 0.2].max())
            result[f"{prefix}at20_{name}"] = curve.at(0.2)
            args.curves.setdefault(prefix + name, []).append(np.interp(TPR, curve.tpr, curve.sic, left=np.nan))
            if hunt:
                result |= bumps(score, m, region)
            print(f"seed {seed}, {prefix}{name}: {result[f'{prefix}sic_{name}']:.2f}", flush=True)
    if args.plot and seed == args.first + args.seeds - 1:
        plot(args)
    return result


def bumps(score, m, region):
    """Significance in m_JJ of all events around the signal region, and of those above a score."""
    scored = np.isfinite(score)
    passed = scored & (score > np.quantile(score[region], 0.998))
    before, after = (bump_hunt(m[kept], *REGION, reach=BESIDE) for kept in (scored, passed))
    return {
        "bump_before": before.significance, "bump_after": after.significance, "bump_chi2": after.chi2 / after.freedom,
    }  # fmt: skip


def plot(args):
    """Median and range of the SIC over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
    for axis, prefix, title in zip(axes, ("", "corr_"), ("features as they are", "correlated with m_JJ"), strict=True):
        for name in args.methods:
            curves = np.array(args.curves[prefix + name])
            line = axis.plot(TPR, np.nanmedian(curves, 0), label=name)[0]
            axis.fill_between(TPR, np.nanmin(curves, 0), np.nanmax(curves, 0), color=line.get_color(), alpha=0.2, lw=0)
        axis.axhline(1, color="0.5", lw=0.8)
        axis.set(xlabel="signal efficiency (tpr)", title=title, xlim=(0, 1), ylim=(0, None))
    axes[0].set_ylabel("significance improvement, tpr / sqrt(fpr)")
    axes[1].legend()
    figure.suptitle(f"{kind(args)}: median and range of {args.seeds} seeds")
    figure.savefig(args.plot, dpi=150)


def kind(args) -> str:
    """What the events are, in words."""
    if not args.catalog:
        return "toy"
    return "LHCO-like" if catalog_of(args.catalog, args.tiny)[1] is not None else "LHC Olympics events"


def arguments(parser):
    parser.add_argument("--catalog", help="Parquet file or folder of events; without it, a toy")
    parser.add_argument("--events", type=int, default=120_000, help="background events in the signal region, if made")
    parser.add_argument("--members", type=int, default=5, help="classifiers of an ensemble; ANODE has two flows")
    parser.add_argument("--methods", type=lambda s: s.split(","), default=["idealised", "cathode", "cwola", "anode"])
    parser.add_argument("--plot", help="a figure of the curves")
    parser.set_defaults(curves={})


if __name__ == "__main__":
    common.main(__doc__, run, seeds=5, add_arguments=arguments)
