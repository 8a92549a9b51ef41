"""Dark halos of mock dwarf galaxies: how near the density and the mass come, and whether the bands hold the truth.

    python tests/benchmarks/dwarfs.py [--json] [--realisations 5] [--sizes 1000,100] [--cases core,cusp,core_om]
    python tests/benchmarks/dwarfs.py --catalog PATH --halo 4e8,1,1,3,0 --ra 0.25    stars of others, their truth told
    python tests/benchmarks/dwarfs.py --catalog PATH --labels PATH                   the same, with a table of truth

A seed is ``--realisations`` galaxies of each case, and other stars in each. Anisotropy is known but for ``free_``;
``baseline_`` bins the velocities, as GravSphere does; ``jflow_`` (--methods jflow) is JFlow's smeared likelihood. Of
each, with the number of stars with velocities at the end:

    rho_error_    median of |ln(rho / truth)| from 0.5 to 2 projected half-light radii; rho_outside_ from 0.1 to 0.5 and
                  from 2 to 5
    mass_error_   median of |ln(M / truth)| within 1.7 half-light radii; mass_bias_ is the mean, with its sign
    coverage_     part of the radii from 0.5 to 2 where the 68 % band holds the truth; coverage of all with known
                  anisotropy; mass_coverage_ the same of M within 1.7
    core_cusp_right_    part of the galaxies whose Bayes factor at 150 pc (of JFlow most members' slopes) is on the side
                  of the true slope
    beta_error_   median of |beta - truth| from 0.5 to 2
    seconds_, unconverged_

PATH is a Parquet file with x_kpc, y_kpc, z_kpc, vx_kms, vy_kms and vz_kms, seen along z (with --labels along x, y and z
in turn). If it has n_tracers, realisation and with_errors, these are its galaxies, and those with errors are taken; if
not, --error is added to the velocities. A table of truth has r_kpc and several ..._mass_enc_Msun, which
are added; the density is their derivative.
"""

from types import SimpleNamespace

import common
import numpy as np
import pandas as pd
from astropy import units as u
from astropy.table import Table
from scipy.optimize import least_squares

from clearview.catalogs import Catalog
from clearview.dwarfs import DwarfConfig, JFlowConfig, fit_binned, fit_dwarf, fit_jflow
from clearview.flows import FitConfig
from clearview.halos import Zhao
from clearview.mocks import CORE, CUSP, TRACER, dwarf_truth_of, mock_dwarf

CASES = {
    "core": dict(halo=CORE), "cusp": dict(halo=CUSP), "core_om": dict(halo=CORE, anisotropy=0.25),
    "small_core": dict(halo=Zhao(1.5e8, 0.8, 2.0, 3.5, 0.0)),
}  # fmt: skip
INNER, OUTER = np.geomspace(0.5, 2, 24), np.concatenate([np.geomspace(0.1, 0.48, 8), np.geomspace(2.1, 5, 8)])
RADIUS, THRESHOLD = 0.15, -0.7  # kpc, and the slope between core and cusp


def mocks(seed, size, args):
    """Catalogues of one size with their truths and half-light radii."""
    for c, name in enumerate(args.cases):
        for i in range(args.realisations):
            stars = mock_dwarf(size, 10**6 * (seed + 1) + 1000 * c + i, tracer=TRACER, **CASES[name])
            truth = dwarf_truth_of(stars)
            yield name, stars, truth, truth.half_light_radius, truth.anisotropy


def of_cylinders(labels):
    """The halo whose cylinders along z hold the masses of a table, to a percent.

    The table that comes with EDGE's halo383early calls them enclosed; but its stars' are, to a thousandth, those within
    R on the sky and half a bin, of the particles seen along z, and its densities are those masses by the rings' areas.
    """
    edge = labels["r_kpc"].to_numpy() + 0.5 * np.diff(labels["r_kpc"])[0]
    near = edge < 20
    R, mass = edge[near], labels.filter(like="mass_enc").sum(axis=1).to_numpy()[near]
    r = np.geomspace(1e-3, 400, 4000)
    inside = 1 - np.sqrt(np.clip(1 - (R[:, None] / r) ** 2, 0, None))  # of a shell, in the cylinder

    def halo(p):
        return Zhao(*np.exp(p[:3]), *p[3:])

    def off(p):
        return np.log(np.trapezoid(inside * 4 * np.pi * r**3 * halo(p).density(r), np.log(r), axis=1) / mass)

    found = least_squares(off, [16, 1, 0, 3, 1], bounds=([5, -3, -1, 2.2, 0], [25, 4, 1.5, 6, 2]))
    print(f"truth: {halo(found.x)}, off by {np.std(found.fun):.1%} rms of the table's masses", flush=True)
    return halo(found.x)


def of_file(seed, size, args):
    """The same of a file."""
    table = pd.read_parquet(args.catalog)
    if args.labels:
        halo = of_cylinders(pd.read_parquet(args.labels))
        galaxies = [table] * 3
    else:
        halo = Zhao(*args.halo)
        galaxies = [table]
    if "n_tracers" in table:
        counts = sorted(n for n in table["n_tracers"].unique() if n >= size)
        chosen = table[table["with_errors"] & (table["n_tracers"] == counts[0])]
        galaxies = [g for _, g in chosen.groupby("realisation")]
    rng = np.random.default_rng(seed)
    for i, galaxy in enumerate(galaxies[: args.realisations]):
        los = "xyz"[i] if args.labels else "z"
        sky = [axis for axis in "xyz" if axis != los]
        half = float(np.median(np.hypot(*(galaxy[f"{axis}_kpc"] for axis in sky))))
        few = galaxy.sample(size, random_state=seed)
        noise = 0 if "n_tracers" in table else args.error * rng.standard_normal(size)
        columns = {
            "R": np.hypot(*(few[f"{axis}_kpc"].to_numpy(float) for axis in sky)) * u.kpc,
            "v_los": (few[f"v{los}_kms"].to_numpy(float) + noise) * u.km / u.s,
            "v_los_error": np.full(size, args.error) * u.km / u.s,
        }
        beta = (lambda r: np.full_like(r, np.nan)) if args.ra is None else (lambda r: r**2 / (r**2 + args.ra**2))
        truth = SimpleNamespace(mass=halo.mass, density=halo.density, slope=halo.slope, beta=beta)
        yield "file", Catalog(Table(columns)), truth, half, args.ra


def judged(fit, truth, half):
    """What one fit is worth."""
    r, far = half * INNER, half * OUTER
    rho, mass = fit.density(r), fit.mass(np.array([1.7 * half]))[:, 0]
    levels = dict(q=[0.16, 0.5, 0.84], axis=0, method="weibull")  # unbiased for JFlow's few members
    (low, middle, high), (m_low, m_middle, m_high) = np.quantile(rho, **levels), np.quantile(mass, **levels)
    true, m_true, slope = truth.density(r), float(truth.mass(1.7 * half)), float(truth.slope(RADIUS))
    has_chains, told = hasattr(fit, "converged"), fit.core_or_cusp(RADIUS, THRESHOLD)  # JFlow has members
    right = (told.bayes_factor > 1 if has_chains else told.share > 0.5) == (slope > THRESHOLD)
    beta = fit.field(r, quantiles=[0.5])["beta"].values[0]
    return {
        "rho_error": np.abs(np.log(middle / true)),
        "rho_outside": np.abs(np.log(np.median(fit.density(far), 0) / truth.density(far))),
        "mass_error": [abs(np.log(m_middle / m_true))], "mass_bias": [np.log(m_middle / m_true)],
        "coverage": (low < true) & (true < high), "mass_coverage": [m_low < m_true < m_high],
        "core_cusp_right": [right], "beta_error": np.abs(beta - truth.beta(r)),
        "band": np.log(high / low) / 2, "seconds": [fit.seconds],
        "unconverged": [not fit.converged if has_chains else np.nan],
    }  # fmt: skip


def run(seed, args):
    if args.catalog and args.ra is None:  # nobody knows its anisotropy
        args.methods = [name for name in args.methods if name != "known"]
    result, inside = {}, []
    budget = dict(chains=8, warmup=60, draws=50) if args.tiny else {}
    for size in args.sizes:
        rows: dict[str, list] = {}
        for name, stars, truth, half, ra in (of_file if args.catalog else mocks)(seed, size, args):
            for prefix in args.methods:
                if prefix == "jflow":
                    training = FitConfig(min_steps=20) if args.tiny else JFlowConfig().training
                    found = judged(fit_jflow(stars, JFlowConfig(anisotropy_radius=ra, training=training)), truth, half)
                    rows.setdefault(prefix, []).append(found)
                    continue
                method = fit_binned if prefix == "baseline" else fit_dwarf
                if prefix == "free" or (args.catalog and args.ra is None):
                    config = DwarfConfig(anisotropy="free", **budget)
                else:
                    config = DwarfConfig(anisotropy_radius=ra, **budget)
                found = judged(method(stars, config), truth, half)
                rows.setdefault(prefix, []).append(found)
                short = ", ".join(f"{k} {np.nanmedian(v):.3g}" for k, v in found.items())
                print(f"seed {seed}, {name}, {size} stars, {prefix}: {short}", flush=True)
        for prefix, found in rows.items():
            for key in found[0]:
                values = np.concatenate([np.asarray(row[key], float) for row in found])
                middle = np.nanmedian if key in ("rho_error", "rho_outside", "mass_error", "seconds") else np.nanmean
                if np.isfinite(values).any():
                    result[f"{'' if prefix == 'known' else prefix + '_'}{key}_{size}"] = float(middle(values))
        inside += [row["coverage"] for row in rows.get("known", [])]
    return result | ({"coverage": float(np.mean(inside))} if inside else {})


def arguments(parser):
    def names(s):
        return s.split(",")

    parser.add_argument("--realisations", type=int, default=5, help="galaxies of each case")
    parser.add_argument("--sizes", type=lambda s: [int(n) for n in s.split(",")], default=[1000, 100])
    parser.add_argument("--cases", type=names, default=["core", "cusp", "core_om"], help=", ".join(CASES))
    parser.add_argument("--methods", type=names, default=["known", "free", "baseline"], help="or jflow")
    parser.add_argument("--catalog", help="Parquet file of stars")
    parser.add_argument("--labels", help="Parquet file of the truth")
    parser.add_argument("--halo", type=lambda s: [float(v) for v in s.split(",")], default=[4e8, 1.0, 1.0, 3.0, 0.0],
                        help="rho_s [Msun/kpc^3], r_s [kpc], alpha, beta, gamma of the file's halo")  # fmt: skip
    parser.add_argument("--ra", type=float, help="radius of Osipkov and Merritt of the file's stars, kpc")
    parser.add_argument("--error", type=float, default=2.0, help="of the file's velocities, km/s")


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
