"""What the blind search of a patch costs: all signal regions in both proper motions, from the stars to the candidates.

    python tests/benchmarks/streams_cost.py [--json] [--seeds 1] [--sizes 5e4,1e5,2e5] [--method Cwola] [--tiny]

Each size of a mock patch of 15 deg is searched in a process of its own, with everything compiled anew, as the first
patch of a worker is. ``minutes`` are those of the largest, ``minutes_scores``, ``_lines`` and ``_streams`` of its
parts, ``cpu_minutes`` those of all its threads, which tell more on a machine with other work; ``memory_mb`` is the most
that its process has had (resident). ``exponent_stars`` is the slope of ln minutes against ln stars,
``exponent_regions`` that against the number of ``regions`` that are scored, for one at every second step in place of
every one at the middle size.

``loop_ratio``: the seconds of a straight loop, in which each region is scored by a call of its own and compiles what it
needs (what was compiled before is forgotten), over those of one call for all of them, in the same process and at the
middle size. Of the loop ``--loop`` regions are measured, spread evenly over both proper motions; its seconds are theirs
times all regions over these. ``loop_regions`` says how many were.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import common
import numpy as np

SIZES, TINY = "5e4,1e5,2e5", "3e3,4e3"


def arguments(parser):
    parser.add_argument("--sizes", default=SIZES, help="numbers of stars, growing")
    parser.add_argument("--method", default="Cwola", help="Anode, Cwola or Cathode, with their defaults")
    parser.add_argument("--loop", type=int, default=6, help="regions of the loop that are measured")
    parser.add_argument("--step", type=float, default=1.0, help="mas/yr between regions")


def patch_of(size: int, seed: int):
    from clearview.mocks import mock_patch
    from clearview.streams import Patch

    center = 150.0, 40.0
    return Patch(*center).of(mock_patch(size, seed, center=center, smooth=size < 10_000))


def config_of(given):
    from clearview.streams import ScanConfig, anomaly

    config = ScanConfig(method=getattr(anomaly, given["method"])(), step=given["step"])
    if given["tiny"]:
        config = replace(config, method=smallest(config.method), reach=2.0)
    return config


def smallest(method):
    """The method with a budget of seconds: its shape is right, its scores are worth nothing."""
    from clearview.flows import FitConfig

    return replace(method, training=FitConfig(epochs=1, min_steps=0), most=1000, oversample=1.0)


def scored(calls: list):
    """Has a scan tell what it asks to be scored."""
    from clearview.streams import score_regions
    from clearview.streams import view as module

    def keep(method, features, values, regions, **named):
        calls.extend((features, values, region) for region in regions)
        return score_regions(method, features, values, regions, **named)

    module.score_regions = keep


def scan(given):
    """One patch, from its stars to the candidates."""
    from clearview.streams import scan_patch

    stars, config, calls = patch_of(given["size"], given["seed"]), config_of(given), []
    scored(calls)
    began, worked = time.monotonic(), time.process_time()
    made = scan_patch(stars, config)
    seconds, worked = time.monotonic() - began, time.process_time() - worked
    told = {f"minutes_{name}": value / 60 for name, value in made.seconds.items()}
    return {
        "minutes": seconds / 60, "cpu_minutes": worked / 60, **told, "memory_mb": common.peak_memory_mb(),
        "regions": len(calls), "candidates": len(made.candidates),
    }  # fmt: skip


def loop(given):
    """Regions one by one, and all at once."""
    import jax

    from clearview.streams import score_patch, score_regions

    stars, config, calls = patch_of(given["size"], given["seed"]), config_of(given), []
    forget = (lambda: None) if given["tiny"] else jax.clear_caches
    scored(calls)
    forget()
    began = time.monotonic()
    score_patch(stars, config)
    batched = time.monotonic() - began
    chosen = np.unique(np.linspace(0, len(calls) - 1, min(given["loop"], len(calls))).round().astype(int))
    began = time.monotonic()
    for features, values, region in (calls[k] for k in chosen):
        forget()
        score_regions(config.method, features, values, [region], seed=config.seed, folds=config.folds)
    alone = (time.monotonic() - began) * len(calls) / len(chosen)
    return {
        "loop_ratio": alone / batched, "loop_minutes": alone / 60, "batched_minutes": batched / 60,
        "loop_regions": len(chosen), "all_regions": len(calls),
    }  # fmt: skip


def measured(what: str, **given) -> dict[str, float]:
    if given["tiny"]:  # a process of its own each would take longer than the rest
        return {"scan": scan, "loop": loop}[what](given)
    call = [sys.executable, __file__, what, json.dumps(given)]
    lines = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    told = json.loads(lines[-1])
    print(f"{what} {given}: " + ", ".join(f"{k} {v:,.4g}" for k, v in told.items()), flush=True)
    return told


def run(seed, args):
    sizes = [round(float(size)) for size in (TINY if args.tiny and args.sizes == SIZES else args.sizes).split(",")]
    given = {"seed": seed, "method": args.method, "tiny": args.tiny}
    found = {size: measured("scan", size=size, step=args.step, **given) for size in sizes}
    middle, largest = sizes[len(sizes) // 2 - (len(sizes) == 2)], found[sizes[-1]]
    fewer = measured("scan", size=middle, step=2 * args.step, **given)
    result = {key: largest[key] for key in largest}
    if len(sizes) > 1:
        minutes = [found[size]["minutes"] for size in sizes]
        result["exponent_stars"] = float(np.polyfit(np.log(sizes), np.log(minutes), 1)[0])
    counts = found[middle]["regions"] / fewer["regions"]
    result["exponent_regions"] = float(np.log(found[middle]["minutes"] / fewer["minutes"]) / np.log(counts))
    return result | measured("loop", size=middle, step=args.step, loop=1 if args.tiny else args.loop, **given)


if __name__ == "__main__":
    if "--tiny" in sys.argv:  # which is mostly compiling
        os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    if sys.argv[1:2] in (["scan"], ["loop"]):
        print(json.dumps({"scan": scan, "loop": loop}[sys.argv[1]](json.loads(sys.argv[2]))))
    else:
        common.main(__doc__, run, seeds=1, add_arguments=arguments)
