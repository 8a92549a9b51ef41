"""GD-1 in the real strip that ships: found blind, at which rank, how pure, and how improbable by chance.

The method sees ra, dec, pmra and pmdec of 25,084 stars of Gaia DR2 along ten degrees of the stream, with any proper
motion; no photometry, which is only there where others had looked for the stream. rank is that of the first candidate
whose track lies within a degree of the published one and whose proper motion is that of GD-1 there (Mateu 2023,
arXiv:2204.10326), track_offset_deg the median distance between the two. top100_purity is that of the hundred stars that
the proper motion alone tells to be members (the place across the stream plays no part), from their excess within
0.5 deg of the track over what lies 0.6 to 1 deg from it, the areas counted by the strip's stars of other motions (the
label that comes with the strip is incomplete). p_value is that of the
strength among permutations of the sky against proper motions, all of them searched in the same way.

The strip is long along the stream. round_* are of the strip turned by a random angle in a disc of 7 deg, filled with
stars whose proper motions are drawn from the strip's and whose places are drawn evenly, where the long axis tells
nothing: rank, tilt, strength against the second, the track's offset and the purity, where all stars put in count as
none of GD-1's, and a p_value of a tenth of the permutations.

anode_*, cwola_* and cathode_* are of blind searches for lines among the hundred stars of highest score of each cell,
and none among all its stars: rank, offset of the track, purity of the hundred as above, and the seconds from the stars
to the candidates. anode_purity and so on are of the hundred stars of highest score in the signal region at GD-1, within
3 mas/yr of it in the other proper motion. That is the only feature of these scores, so cut_purity, of the hundred stars
of that region that lie closest to GD-1 in it, is about what a score can reach that has nothing else to go by.
"""

import time
from dataclasses import replace

import common
import numpy as np
from astropy import units as u
from astropy.table import QTable

import clearview
from clearview.mocks.patch import from_patch
from clearview.streams import (
    Anode,
    Cathode,
    Cwola,
    Fiducial,
    Patch,
    ScanConfig,
    known_streams,
    match_known,
    null_scans,
    scan_patch,
    score_patch,
    track_of,
)

ON, OFF = 0.5, (0.6, 1.0)
FIDUCIAL = Fiducial(missing="skip", magnitude_column="none", color_column="none")


def load(path):
    catalog = clearview.load_sample("gd1_strip") if path is None else clearview.read_catalog(path)
    return Patch(float(np.median(catalog["ra"])), float(np.median(catalog["dec"]))).of(catalog)


def known_track():
    """phi2 of a published track at phi1, as an interpolation."""
    known = known_streams(newest=True)
    track = known.take(np.char.startswith(np.asarray(known["stream"]).astype(str), "GD-1")).to_stream("GD-1")
    order = np.argsort(track["phi1"])
    return lambda phi1: np.interp(phi1, track["phi1"][order], track["phi2"][order])


def area_ratio(stars, across, motion):
    """Area near the track over that beside it, by the stars of other motions: the strip ends, and the track bends."""
    other = np.hypot(stars["pm_lon"] - motion[0], stars["pm_lat"] - motion[1]) > 4.0
    across = np.abs(across[other])
    return np.sum(across < ON) / np.sum((across >= OFF[0]) & (across < OFF[1]))


def purity(across, ratio):
    """Share of stars in excess near the track, and its error."""
    across = np.abs(across)
    on, off = np.sum(across < ON), np.sum((across >= OFF[0]) & (across < OFF[1]))
    return (on - ratio * off) / len(across), np.sqrt(on + ratio**2 * off) / len(across)


def judge(scan, stars, across):
    """Rank of GD-1, offset of its track, and purity of its top hundred."""
    track = known_track()
    for rank, (row, members) in enumerate(zip(scan.candidates, scan.members, strict=True), 1):
        along = np.linspace(row["first"], row["last"], 21)
        ra, dec = track_of(
            scan.center, along, (row["shift"], row["slope"], row["bend"]), np.deg2rad(row["theta"]), row["r"]
        )
        place = clearview.Catalog.from_table(QTable({"ra": ra * u.deg, "dec": dec * u.deg})).to_stream("GD-1")
        offset = float(np.median(np.abs(place["phi2"] - track(place["phi1"]))))
        # Near the centre of a patch its axes are those of ra and dec.
        ones = np.ones(len(ra))
        moves = [f["pm_offset"] for f in match_known(ra, dec, row["pm_lon"] * ones, row["pm_lat"] * ones)
                 if str(f["stream"]).startswith("GD-1")]  # fmt: skip
        if offset < 1.0 and moves and min(moves) <= 2.0:
            best = np.argsort(-np.asarray(members["motion_probability"]))[:100]
            ratio = area_ratio(stars, across, (row["pm_lon"], row["pm_lat"]))
            share, error = purity(across[np.asarray(members["row"])[best]], ratio)
            return {
                "rank": rank, "track_offset_deg": offset, "top100_purity": share, "top100_purity_error": error,
                "strength": row["strength"], "sigma": row["sigma"], "members": row["count"], "area_ratio": ratio,
            }  # fmt: skip
    return {"rank": 99, "track_offset_deg": 99.0, "top100_purity": 0.0}


def in_a_disc(stars, seed, radius=7.0):
    """The strip turned, in a disc that is filled around it with stars of the strip's proper motions."""
    rng = np.random.default_rng([seed, 77])
    lon, lat = stars["lon"].astype(float), stars["lat"].astype(float)
    x, y = lon * np.cos(np.deg2rad(lat)), lat
    s = stars.to_stream("GD-1")
    phi1, phi2 = s["phi1"], s["phi2"]
    low, high = np.percentile(phi1, [0.01, 99.99])
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    pm = np.stack([stars["pm_lon"], stars["pm_lat"]], 1).astype(float)
    density = len(stars) / ((high - low) * 2.0)
    many = round(density * np.pi * radius**2)
    place = radius * np.sqrt(rng.uniform(size=many)) * np.exp(2j * np.pi * rng.uniform(size=many))
    # Where the strip is, its own stars are.
    axis = np.polyfit(phi1, x, 1), np.polyfit(phi1, y, 1)
    along = np.array([axis[0][0], axis[1][0]])
    along /= np.linalg.norm(along)
    middle = np.array([x.mean(), y.mean()])
    off = np.stack([place.real, place.imag], 1) - middle
    a, b = off @ along, off @ np.array([-along[1], along[0]])
    outside = ~((np.abs(a) < (high - low) / 2) & (np.abs(b) < 1.0))
    place = place[outside]
    drawn = pm[rng.integers(0, len(pm), len(place))] + 0.3 * rng.standard_normal((len(place), 2))
    x, y = np.append(x, place.real), np.append(y, place.imag)
    pm = np.concatenate([pm, drawn])
    x, y = cos * x - sin * y, sin * x + cos * y
    pm = np.stack([cos * pm[:, 0] - sin * pm[:, 1], sin * pm[:, 0] + cos * pm[:, 1]], 1)
    lon = x / np.cos(np.deg2rad(y))
    table = QTable({
        "ra": (lon % 360) * u.deg, "dec": y * u.deg, "lon": lon * u.deg, "lat": y * u.deg,
        "pmra": pm[:, 0] * u.mas / u.yr, "pmdec": pm[:, 1] * u.mas / u.yr, "pm_lon": pm[:, 0] * u.mas / u.yr,
        "pm_lat": pm[:, 1] * u.mas / u.yr, "phi2": np.append(phi2, np.full(len(place), np.nan)) * u.deg,
    })  # fmt: skip
    return clearview.Catalog.from_table(table), turn


def turned_offset(row, turn, stars):
    """Median distance [deg] of a track found in the disc from the published one, where the strip's stars are."""
    along = np.linspace(row["first"], row["last"], 101)
    across = row["r"] + row["shift"] + row["slope"] * along / 10 + row["bend"] * (along / 10) ** 2
    place = (along - 1j * across) * np.exp(1j * (np.deg2rad(row["theta"]) - turn))
    ra, dec = from_patch(stars.meta["patch"]["center"], place.real / np.cos(np.deg2rad(place.imag)), place.imag, 0, 0)[
        :2
    ]
    table = QTable({"ra": ra * u.deg, "dec": dec * u.deg})
    track, strip = clearview.Catalog.from_table(table).to_stream("GD-1"), stars.to_stream("GD-1")["phi1"]
    inside = (track["phi1"] > strip.min()) & (track["phi1"] < strip.max())
    return float(np.median(np.abs(track["phi2"] - known_track()(track["phi1"]))[inside])) if inside.any() else 99.0


def run(seed, arguments):
    stars = load(arguments.catalog)
    s = stars.to_stream("GD-1")
    across = s["phi2"] - known_track()(s["phi1"])
    config = ScanConfig(method=None, fiducial=FIDUCIAL, seed=seed)
    tick = time.monotonic()
    scan = scan_patch(stars, config)
    result = {"seconds_scan": time.monotonic() - tick, **judge(scan, stars, across)}
    if result["rank"] > 1:
        return result | {"p_value": 1.0}
    n = 5 if arguments.tiny else arguments.permutations
    null = null_scans(stars, config, n=n, block=None, seed=seed)
    result |= {
        "p_value": null.p_value(result["strength"]),
        "null_best": float(null.best.max()), "null_median": float(np.median(null.best)),
        "seconds_null": null.seconds,
    }  # fmt: skip
    disc, turn = in_a_disc(stars, seed)
    found = scan_patch(disc, config)
    if not len(found.candidates):
        return result | {"round_rank": 99}
    first, members = found.candidates[0], found.members[0]
    tilt = abs((first["theta"] - scan.candidates[0]["theta"] - np.rad2deg(turn) + 90) % 180 - 90)
    motion = np.exp(1j * turn) * complex(scan.candidates[0]["pm_lon"], scan.candidates[0]["pm_lat"])
    same = abs(complex(first["pm_lon"], first["pm_lat"]) - motion) < 1.5
    second = found.candidates["strength"][1] if len(found.candidates) > 1 else 0.0
    best = np.asarray(members["row"])[np.argsort(-np.asarray(members["motion_probability"]))[:100]]
    inside = np.append(across, np.full(len(disc) - len(stars), np.inf))  # who was put in lies far from any stream
    result |= {
        "round_rank": 1 if tilt < 10 and same else 99, "round_tilt_deg": float(tilt),
        "round_strength": float(first["strength"]), "round_second": float(second),
        "round_track_offset_deg": turned_offset(first, turn, stars),
        "round_top100_purity": purity(inside[best], result["area_ratio"])[0],
        "round_p_value": null_scans(disc, config, n=max(n // 10, 2), block=None, seed=seed).p_value(first["strength"]),
    }  # fmt: skip
    for method in () if arguments.tiny else (Anode(), Cwola(), Cathode()):
        name, own = type(method).__name__.lower(), replace(config, method=method, counted=False)
        tick = time.monotonic()
        scores = score_patch(stars, own)
        told = judge(scan_patch(stars, own, scores=scores), stars, across)
        result[f"{name}_seconds"] = time.monotonic() - tick
        result |= {f"{name}_{key}": told[key] for key in ("rank", "track_offset_deg", "top100_purity")}
        shares = []
        for regions, made in scores.values():
            center = scan.candidates[0][regions[0].scan], scan.candidates[0][regions[0].other]
            k = min(range(len(regions)), key=lambda i: abs(regions[i].middle - center[0]))
            offset = np.abs(stars[regions[0].other] - center[1])
            known = np.where(np.isfinite(made.ln_ratio[k]), -offset, np.nan)
            for values in (np.where(offset < 3.0, made.ln_ratio[k], np.nan), known):
                rows = np.flatnonzero(np.isfinite(values))
                top = rows[np.argsort(-values[rows])[:100]]
                shares.append(purity(across[top], result["area_ratio"])[0])
        result[f"{name}_purity"], result["cut_purity"] = float(np.mean(shares[::2])), float(np.mean(shares[1::2]))
    return result


def arguments(parser):
    parser.add_argument(
        "--catalog", help="another strip with ra, dec, pmra, pmdec, as `clearview.read_catalog` reads it"
    )
    parser.add_argument("--permutations", type=int, default=200)


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
