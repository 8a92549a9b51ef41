"""Streams over the sky: what the scans of neighbouring patches found, each stream once.

After Via Machinae (Shih et al. 2023, arXiv:2303.01529), with the members of candidates in place of the stars of
protostreams.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table, unique, vstack

from clearview.catalogs.frames import basis
from clearview.mocks.patch import from_patch
from clearview.streams.lines import HoughConfig, Line
from clearview.streams.merge import AS_PUBLISHED, MergeConfig, Protostream, merge_patches
from clearview.streams.regions import Patch
from clearview.streams.scan import Scan

MEMBER = 0.5
"""Probability above which a star counts as a member."""


def protostreams_of(scan: Scan, center: tuple[float, float]) -> list[Protostream]:
    """The candidates of a scan as `merge_patches` takes them: their members, and the line nearest to their track.

    Args:
        scan: of a patch.
        center: (ra, dec) [deg] of the patch.
    """
    out = []
    for row, members in zip(scan.candidates, scan.members, strict=True):
        ids = np.asarray(members["source_id"], np.int64)[np.asarray(members["probability"]) > MEMBER]
        theta, r = _chord(row)
        line = Line(theta, r, float(row["strength"]), round(row["count"]), 0.0, "edge" in str(row["flags"]))
        out.append(Protostream((), np.unique(ids[ids >= 0]), line, center))
    return out


def _chord(row: Any) -> tuple[float, float]:
    """theta, r [deg] of the straight line through both ends of a candidate's track."""
    (x0, x1), (y0, y1) = _places(row, np.array([row["first"], row["last"]], float))
    theta = np.arctan2(y1 - y0, x1 - x0) % np.pi
    return float(np.rad2deg(theta)), float(x0 * np.sin(theta) - y0 * np.cos(theta))


def _places(row: Any, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x, y [deg] of places along a candidate's track [deg]."""
    theta, t = np.deg2rad(row["theta"]), along / 10
    across = row["r"] + row["shift"] + row["slope"] * t + row["bend"] * t**2
    return along * np.cos(theta) + across * np.sin(theta), along * np.sin(theta) - across * np.cos(theta)


def merge_scans(
    scans: Mapping[int, Scan], patches: Sequence[Patch], config: MergeConfig = AS_PUBLISHED
) -> tuple[Table, list[Table]]:
    """Streams over the sky of what was found in patches, by `merge_patches`.

    Args:
        scans: by the number of the patch.
        patches: all of them.
        config: when what two patches found is one stream.

    Returns:
        A table with a row for each stream, the strongest first: ``strength`` and ``sigma``, roots of the sums of the
        squares of those in each patch; ``patches`` where it was found and ``parts``, the candidates there as
        "patch:row", the strongest first; ``members``, how many stars have a probability above one half, and ``count``,
        how many the probabilities add up to, each star once; ``ra``, ``dec`` and ``pmra``, ``pmdec`` at the middle of
        its strongest part; ``pole_ra``, ``pole_dec`` of that part's great circle; ``length`` along it that nine tenths
        of the members span; ``width`` of that part; its ``found_by`` and ``flags``, "edge" only if it lies at the edge
        of every patch. And for each the stars near it, as the scans have them, each once.
    """
    parts, owners = [], {}
    for number in sorted(scans):
        for row, part in enumerate(protostreams_of(scans[number], patches[number].center)):
            owners[id(part)] = number, row
            parts.append(part)
    if not parts:
        return Table({"strength": np.zeros(0)}), []
    near = [table for number in sorted(scans) for table in scans[number].members]
    stars = unique(vstack([t["source_id", "ra", "dec"] for t in near], metadata_conflicts="silent"), "source_id")
    hough = scans[min(scans)].config.hough
    # The members are those of whole patches, so that two patches share all that lies in both.
    radius = np.floor(min(p.radius for p in patches) / hough.r_step + 1e-9) * hough.r_step
    streams = merge_patches(
        parts, stars["source_id"], stars["ra"], stars["dec"], config, hough=_with_radius(hough, float(radius))
    )
    rows, tables = [], []
    for stream in streams:
        found = [owners[id(part)] for part in stream.parts]
        number, first = found[0]
        row, members = scans[number].candidates[first], _members_of([scans[n].members[k] for n, k in found])
        best: dict[int, float] = {}
        for n, k in found:
            sigma = float(np.nan_to_num(scans[n].candidates["sigma"][k]))
            best[n] = max(best.get(n, 0.0), sigma)
        middle = np.array([(row["first"] + row["last"]) / 2])
        x, y = _places(row, middle)
        place = from_patch(
            patches[number].center, x / np.cos(np.deg2rad(y)), y, np.array([row["pm_lon"]]), np.array([row["pm_lat"]])
        )
        ra, dec, pmra, pmdec = (float(value[0]) for value in place)
        pole = stream.parts[0].pole
        flags = {flag for flag in str(row["flags"]).split(",") if flag} - {"edge"} | (
            {"edge"} if stream.edge else set()
        )
        sure = np.asarray(members["probability"]) > MEMBER
        rows.append({
            "strength": stream.sigma, "sigma": float(np.sqrt(sum(s**2 for s in best.values()))),
            "patches": ",".join(map(str, sorted(best))), "parts": ",".join(f"{n}:{k}" for n, k in found),
            "members": int(sure.sum()), "count": float(np.sum(members["probability"])), "ra": ra, "dec": dec,
            "pmra": pmra, "pmdec": pmdec, "pole_ra": pole[0], "pole_dec": pole[1],
            "length": _span(members["ra"][sure], members["dec"][sure], pole, (ra, dec)), "width": float(row["width"]),
            "found_by": str(row["found_by"]), "flags": ",".join(sorted(flags)),
        })  # fmt: skip
        tables.append(members)
    table = Table(rows=rows)
    for name in ("ra", "dec", "pole_ra", "pole_dec", "length", "width"):
        table[name].unit = "deg"
    for name in ("pmra", "pmdec"):
        table[name].unit = "mas / yr"
    return table, tables


def _with_radius(hough: HoughConfig, radius: float) -> HoughConfig:
    return dataclasses.replace(hough, radius=max(radius, hough.radius))


def _members_of(tables: list[Table]) -> Table:
    """Of all parts of a stream, the highest probability of a star first."""
    names = ["source_id", "ra", "dec", "probability", "motion_probability"]
    both = vstack([table[names] for table in tables], metadata_conflicts="silent")
    both = both[np.lexsort((-np.asarray(both["probability"]), both["source_id"]))]
    return unique(both, "source_id", keep="first")


def _span(ra, dec, pole: tuple[float, float], middle: tuple[float, float]) -> float:
    """Degrees along a great circle that nine tenths of the stars span."""
    if not len(ra):
        return 0.0
    up, to = (basis(*place)[0] for place in (pole, middle))
    to = to - (to @ up) * up
    to /= np.linalg.norm(to)
    out = basis(np.asarray(ra, float), np.asarray(dec, float))[0]
    return float(np.ptp(np.quantile(np.rad2deg(np.arctan2(out @ np.cross(up, to), out @ to)), [0.05, 0.95])))
