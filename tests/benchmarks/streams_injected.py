"""Faint streams put into full mock patches: how many are found, how pure, and how often an empty patch gives one.

Each patch has 200,000 stars within 15 deg, with Gaia's errors and photometry: discs and a halo with a gradient across
the patch, a globular cluster, a dwarf galaxy, dust holes and scan stripes. Into each one stream is put, 0.2 to 0.5 deg
wide (a standard deviation) and 10 to 15 deg long, at a random angle, place and proper motion (of at least 3 mas/yr),
with 0.5, 0.2 or 0.1 per cent of the stars of its signal region of 6 mas/yr: found_05, found_02 and found_01 are the
shares found. Found is a candidate stronger than the threshold whose members (probability above a half) hold more than
half of the stream's stars in the patch and whose track is within 10 deg of the stream's. The threshold is fixed on
empty patches of other seeds, at one candidate in twenty of them; false_per_patch counts the candidates above it in
further empty patches, with the upper limit of 95 per cent confidence. purity_at_40 is the purity of the most probable
members that hold 40 per cent of the stream's stars, the median over what was found; purity_at_40_05 and so on are those
of each strength.

`--method cathode` (or anode, cwola) adds lines among the stars of highest score; the default counts all stars.
`--plot FILE.png` draws the share found against the strength of the stream, and the purity of the most probable members
against the share of the stream's stars that they hold: median and quartiles of the streams found.
"""

import time

import common
import numpy as np

from clearview.mocks import inject, mock_patch, random_stream
from clearview.streams import Anode, Cathode, Cwola, Null, Patch, ScanConfig, scan_patch

CENTER = (148.6, 24.2)
HELD = np.linspace(0.05, 0.95, 19)
STRENGTHS = {"05": 0.005, "02": 0.002, "01": 0.001}
METHODS = {"none": None, "anode": Anode(), "cwola": Cwola(), "cathode": Cathode()}


def scanned(catalog, config):
    return scan_patch(Patch(*CENTER).of(catalog), config)


def empty(seeds, n, config):
    """Strengths of all candidates of patches without a stream."""
    made = []
    for seed in seeds:
        scan = scanned(mock_patch(n, seed, center=CENTER), config)
        made.append(np.asarray(scan.candidates["strength"], float))
    return Null(np.array([s.max(initial=0.0) for s in made]), tuple(made), "mock", 0.0)


def found(stars, scan, stream, threshold):
    """Whether the stream is among the candidates, and the purity where so much of its stars is `HELD`, else NaN."""
    origin = np.asarray(stars["origin"])
    total = np.sum(origin == 1)
    for row, members in zip(scan.candidates, scan.members, strict=True):
        if row["strength"] < threshold:
            break
        p = np.asarray(members["probability"])
        true = origin[np.asarray(members["row"])] == 1
        tilt = abs((row["angle"] - stream.angle + 90) % 180 - 90)
        if true[p > 0.5].sum() > total / 2 and tilt < 10:
            right = np.cumsum(true[np.argsort(-p)])
            k = np.searchsorted(right, HELD * total)
            return True, np.where(k < len(right), right[np.minimum(k, len(right) - 1)] / (k + 1), np.nan)
    return False, np.full(len(HELD), np.nan)


def run(seed, arguments):
    n = 20_000 if arguments.tiny else arguments.stars
    config = ScanConfig(method=METHODS[arguments.method], seed=seed)
    patches = 2 if arguments.tiny else arguments.patches
    first = 100_000 * (1 + seed)
    tick = time.monotonic()
    threshold = empty(range(first, first + patches), n, config).threshold(0.05)
    rate, limit = empty(range(first + 1000, first + 1000 + patches), n, config).per_patch(threshold)
    result = {"threshold": threshold, "false_per_patch": rate, "false_per_patch_upper_95": limit}
    at_40, purities = int(np.argmin(np.abs(HELD - 0.4))), []
    for number, (name, fraction) in enumerate(STRENGTHS.items()):
        hits, own = [], []
        for i in range(1 if arguments.tiny else arguments.injections):
            at = first + 2000 + 100 * number + i
            catalog = mock_patch(n, at, center=CENTER)
            stream = random_stream(catalog, 10 * fraction if arguments.tiny else fraction, seed=at)
            catalog = inject(catalog, stream, seed=at)
            stars = Patch(*CENTER).of(catalog)
            hit, curve = found(stars, scan_patch(stars, config), stream, threshold)
            hits.append(hit)
            own += [curve[at_40]] if hit else []
            arguments.curves.setdefault(fraction, []).append((hit, curve))
        result[f"found_{name}"] = float(np.mean(hits))
        result[f"purity_at_40_{name}"] = float(np.median(own)) if own else 0.0
        purities += own
    result["purity_at_40"] = float(np.median(purities)) if purities else 0.0
    if arguments.plot and seed == arguments.first + arguments.seeds - 1:
        plot(arguments)
    result["seconds_per_patch"] = (time.monotonic() - tick) / (2 * patches + 3 * len(hits))
    return result


def plot(arguments):
    """Efficiency and purity."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (share, pure) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    strengths = sorted(arguments.curves)
    hits = [[hit for hit, _ in arguments.curves[s]] for s in strengths]
    rate, n = np.array([np.mean(h) for h in hits]), np.array([len(h) for h in hits])
    share.errorbar(100 * np.array(strengths), rate, np.sqrt(rate * (1 - rate) / n), fmt="o-", capsize=3)
    share.set(xscale="log", ylim=(0, 1.05), xlabel="stream's stars, % of its signal region", ylabel="streams found")
    share.set_xticks([100 * s for s in strengths], [f"{100 * s:g}" for s in strengths])
    share.minorticks_off()
    for s in strengths:
        curves = np.array([curve for hit, curve in arguments.curves[s] if hit]).reshape(-1, len(HELD))
        kept = np.isfinite(curves).mean(0) > 0.5 if len(curves) else np.zeros(len(HELD), bool)
        if kept.any():
            low, middle, high = np.nanquantile(curves[:, kept], [0.25, 0.5, 0.75], axis=0)
            line = pure.plot(HELD[kept], middle, label=f"{100 * s:g} %")[0]
            pure.fill_between(HELD[kept], low, high, color=line.get_color(), alpha=0.2, lw=0)
    pure.set(xlim=(0, 1), ylim=(0, 1.05), xlabel="share of the stream's stars held", ylabel="purity")
    pure.legend(title="stream's stars")
    figure.savefig(arguments.plot, dpi=150)


def arguments(parser):
    parser.add_argument("--method", choices=list(METHODS), default="none", help="scores (default none)")
    parser.add_argument("--stars", type=int, default=200_000)
    parser.add_argument("--patches", type=int, default=20, help="empty ones for the threshold, as many for its rate")
    parser.add_argument("--injections", type=int, default=10, help="of each strength")
    parser.add_argument("--plot", help="a figure of efficiency and purity")
    parser.set_defaults(curves={})


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
