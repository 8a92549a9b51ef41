"""Stars from the Gaia archive: a sample said in ADQL, fetched by TAP in parts that may fail, repeat and resume."""

import io
import json
import os
import random
import shutil
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u

from clearview.checks import number, path_of, texts

from .catalog import Catalog
from .columns import GAIA, HEADER, from_arrow, to_arrow, unknown
from .read import read_catalog
from .select import (
    AbsoluteMagnitude,
    Box,
    Cut,
    CutReport,
    Distance,
    ParallaxQuality,
    completeness_limit,
    tally,
)

T = TypeVar("T")
OnProgress = Callable[[int, int], Any] | None

SERVER = "https://gea.esac.esa.int/tap-server/tap"
"""The archive at ESA; a mirror with the same tables does as well."""

_RELEASE, _SOURCES = "Gaia DR3", 1_811_709_771  # random_index runs from zero to one less
_FIVE = ("ra", "dec", "parallax", "pmra", "pmdec")
_STANDARD = (
    *("source_id", "random_index", *_FIVE, *(f"{name}_error" for name in _FIVE)),
    *(f"{a}_{b}_corr" for i, a in enumerate(_FIVE) for b in (*_FIVE[i + 1 :], "pseudocolour")),
    *("ecl_lat", "astrometric_params_solved", "nu_eff_used_in_astrometry", "pseudocolour", "pseudocolour_error"),
    *("ruwe", "phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "bp_rp", "phot_bp_rp_excess_factor"),
    *("radial_velocity", "radial_velocity_error", "rv_nb_transits", "rv_template_teff", "grvs_mag"),
)
_FURTHER = (
    "solution_id ref_epoch l b ecl_lon pm parallax_over_error bp_g g_rp visibility_periods_used duplicated_source "
    "astrometric_n_good_obs_al astrometric_gof_al astrometric_chi2_al astrometric_excess_noise "
    "astrometric_excess_noise_sig astrometric_sigma5d_max ipd_gof_harmonic_amplitude ipd_frac_multi_peak "
    "ipd_frac_odd_win phot_g_mean_flux_over_error phot_bp_mean_flux_over_error phot_rp_mean_flux_over_error "
    "phot_variable_flag non_single_star rv_method_used rv_expected_sig_to_noise rv_renormalised_gof "
    "rv_chisq_pvalue rv_amplitude_robust rv_visibility_periods_used vbroad vbroad_error teff_gspphot logg_gspphot "
    "mh_gspphot distance_gspphot distance_gspphot_lower distance_gspphot_upper azero_gspphot ag_gspphot "
    "ebpminrp_gspphot"
)
_COLUMNS = (*_STANDARD, *_FURTHER.split())
_DISTANCES = tuple(f"r_{which}_{kind}" for kind in ("geo", "photogeo") for which in ("med", "lo", "hi"))
_UNITS = {**GAIA, **dict.fromkeys(_DISTANCES, u.pc)}

# Down to which G [mag] the zero point [mas] stays between which bounds, at any colour and place: the range of the
# published tables, a little widened. The query must not lose a star that the correction brings into the sample.
_BOUNDS = ((14.0, -0.082, 0.016), (18.0, -0.096, 0.038), (np.inf, -0.153, 0.132))

_WAITS = (2.0, 300.0)  # seconds after a failure, doubled after each, and the longest
_POLLS = (0.5, 20.0)  # seconds between looks at a job, shortest and longest
_JOB = 3 * 3600.0  # seconds; the archive itself ends a job after two hours
_SLOWEST = 10_000  # bytes a second; a transfer slower than this hangs


class GaiaError(RuntimeError):
    """What the archive refused, or why it was given up, in a sentence."""


class GaiaCancelled(GaiaError):
    """The query was cancelled; what is downloaded is kept, and the same call resumes."""


@dataclass(frozen=True, kw_only=True)
class _Sample:
    g_max: float | None = None
    ruwe: float | None = None
    radial_velocity: bool = False
    distances: bool = False
    zero_point: bool = True

    def __post_init__(self):
        number("g_max", self.g_max, 0, 25, optional=True)
        number("ruwe", self.ruwe, 0, 1000, optional=True)
        for name in ("radial_velocity", "distances", "zero_point"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"Expected {name} as True or False, got {getattr(self, name)!r}; choose one.")

    def cuts(self) -> list[Cut]:
        """The cuts that the zero point moves, to be applied to the corrected parallaxes."""
        raise NotImplementedError

    def conditions(self) -> list[str]:
        """What the archive is asked for in ADQL: at least the stars that `cuts` will keep."""
        told = []
        if self.radial_velocity:
            told.append("g.radial_velocity IS NOT NULL")
        if self.g_max is not None:
            told.append(f"g.phot_g_mean_mag <= {_adql(self.g_max)}")
        if self.ruwe is not None:
            told.append(f"g.ruwe <= {_adql(self.ruwe)}")
        return told

    def adql(self, columns: Iterable[str] = _STANDARD, first: int = 0, last: int | None = None) -> str:
        """The query for the stars with ``first`` <= random_index < ``last``, or for their number if no columns.

        Raises:
            KeyError: for a column that is not among those known.
        """
        columns = list(columns)
        for name in columns:
            if name not in _COLUMNS:
                raise unknown(name, _COLUMNS)
        names = [f"g.{name}" for name in columns]
        tables = "gaiadr3.gaia_source AS g"
        if columns and self.distances:  # stars without a distance stay
            names += [f"d.{name}" for name in _DISTANCES]
            tables += " LEFT OUTER JOIN external.gaiaedr3_distance AS d ON d.source_id = g.source_id"
        part = [f"g.random_index >= {int(first)}", *([] if last is None else [f"g.random_index < {int(last)}"])]
        where = " AND ".join([*part, *self.conditions()])
        return f"SELECT {', '.join(names) or 'COUNT(*) AS stars'} FROM {tables} WHERE {where}"

    def _bounds(self) -> tuple[float, float]:
        """The least and greatest zero point that a star of the sample may have, mas."""
        if not self.zero_point:
            return 0.0, 0.0
        return next((low, high) for g, low, high in _BOUNDS if (np.inf if self.g_max is None else self.g_max) <= g)


@dataclass(frozen=True, kw_only=True)
class GaiaBall(_Sample):
    """Stars with 6-D phase space around the Sun, complete in absolute magnitude (Lim et al. 2023, arXiv:2305.13358).

    Those with a radial velocity, a parallax of at least ``parallax_snr`` times its error, 1 / parallax within
    ``radius``, and M_G brighter than a star of G = ``g_max`` has at ``radius``: 0.99 mag for 14 mag and 4 kpc.

    Args:
        radius: kpc.
        g_max: apparent magnitude G down to which the stars are complete.
        parallax_snr: least parallax over error; None for any.
        ruwe: greatest RUWE; None for any.
        radial_velocity: whether only stars with a radial velocity.
        distances: whether to add the distances of Bailer-Jones et al. 2021 (arXiv:2012.05220), r_med_geo,
            r_med_photogeo and their 16th and 84th percentiles [pc], for ``to_galactocentric(distance=)``.
            The ball itself is one in parallax.
        zero_point: whether parallaxes are corrected for their zero point, see `query_gaia`.

    Raises:
        ValueError: for a field that is no number in its range.
    """

    radius: float = 4.0
    g_max: float | None = 14.0
    parallax_snr: float | None = 3.0
    radial_velocity: bool = True

    def __post_init__(self):
        super().__post_init__()
        number("g_max", self.g_max, 0, 25)
        number("radius", self.radius, 1e-3, 100)
        number("parallax_snr", self.parallax_snr, 0, 1000, optional=True)

    def cuts(self):
        quality = [] if self.parallax_snr is None else [ParallaxQuality(self.parallax_snr)]
        return [*quality, Distance(self.radius), AbsoluteMagnitude(self._limit())]

    def _limit(self):
        return completeness_limit(self.g_max, self.radius)  # pyright: ignore[reportArgumentType]

    def conditions(self):
        low, high = self._bounds()
        told = [*super().conditions(), f"g.parallax >= {_adql(1 / self.radius + low)}"]
        if self.parallax_snr is not None:
            told.append(f"g.parallax + {_adql(abs(low))} >= {_adql(self.parallax_snr)} * g.parallax_error")
        # M_G as a bound on the parallax: the logarithm of a parallax below zero would end the query.
        bright = f"100.0 * POWER(10.0, ({_adql(self._limit())} - g.phot_g_mean_mag) / 5.0)"
        return [*told, f"g.parallax <= {bright} + {_adql(high)}"]


@dataclass(frozen=True, kw_only=True)
class GaiaPatch(_Sample):
    """Stars with proper motions in a circle on the sky, for streams.

    Args:
        ra: of the centre, deg.
        dec: of the centre, deg.
        radius: deg.
        parallax_max: greatest parallax [mas], which takes the foreground away; None for any.
        g_max: greatest apparent magnitude G; None for any.
        ruwe: greatest RUWE; None for any.
        radial_velocity: whether only stars with a radial velocity.
        distances: as for `GaiaBall`.
        zero_point: whether parallaxes are corrected for their zero point, see `query_gaia`.

    Raises:
        ValueError: for a field that is no number in its range.
    """

    ra: float
    dec: float
    radius: float
    parallax_max: float | None = None

    def __post_init__(self):
        super().__post_init__()
        number("ra", self.ra, 0, 360)
        number("dec", self.dec, -90, 90)
        number("radius", self.radius, 1e-4, 90)
        number("parallax_max", self.parallax_max, -10, 1000, optional=True)

    def cuts(self):
        return [] if self.parallax_max is None else [Box(parallax=(None, self.parallax_max))]

    def conditions(self):
        circle = f"CIRCLE('ICRS', {_adql(self.ra)}, {_adql(self.dec)}, {_adql(self.radius)})"
        told = [f"1 = CONTAINS(POINT('ICRS', g.ra, g.dec), {circle})", "g.pmra IS NOT NULL", *super().conditions()]
        if self.parallax_max is not None:
            told.append(f"g.parallax <= {_adql(self.parallax_max + self._bounds()[1])}")
        return told


def query_gaia(
    sample: GaiaBall | GaiaPatch,
    path: str | Path,
    *,
    columns: Iterable[str] = (),
    chunk_rows: int = 100_000,
    server: str = SERVER,
    timeout: float = 60.0,
    retries: int = 5,
    on_progress: OnProgress = None,
    overwrite: bool = False,
) -> Catalog:
    """Fetches a sample of Gaia DR3 from the archive into a Parquet file, once; needs pyvo and gaiadr3-zeropoint.

    The sample is asked for in parts of random_index, each an asynchronous TAP job whose rows must be as many as the
    archive counts, none twice, and all of the part; all parts together must be as many as it counts in all. A part
    that fails (no answer in time, a transfer that hangs, an error of the server, a damaged table) is asked for again
    after a growing pause. Parts stay in a folder beside ``path`` until all are there, so that the same call resumes
    after a failure or a cancel; then they become one file, and the same call reads it without the network.

    The file is one of `clearview.read_catalog`; its ``meta["gaia"]`` has the query, server, date and counts. The
    columns are the astrometry with all its errors and correlations, nu_eff and pseudocolour, RUWE, magnitudes and
    radial velocity.

    With ``sample.zero_point`` the column ``parallax`` is corrected for its bias by Lindegren et al. 2021
    (arXiv:2012.01742), with magnitude and colour clipped to the range of their fit, and ``parallax_raw`` is the
    archive's. As the bias is known only once a star is here, the query is loosened by its extremes, and the cuts are
    made on the corrected parallaxes afterwards (`Catalog.report` counts them): none that belongs is missed.

    Args:
        sample: a `GaiaBall` or a `GaiaPatch`.
        path: the Parquet file to make, some 250 bytes a star.
        columns: further columns of gaia_source.
        chunk_rows: how many stars a part has, more or less; at most the archive's own limit of rows.
        server: the TAP service.
        timeout: how long to wait for an answer, s.
        retries: how often a request is repeated before it is given up.
        on_progress: called a few times a second with the stars here and those to come in all (0 while they are still
            counted); returning False cancels.
        overwrite: whether to replace another file at ``path``, or fetch the same anew.

    Raises:
        FileExistsError: if another file is at ``path``, and ``overwrite`` is not set.
        FileNotFoundError: if its folder is not there.
        GaiaCancelled: if it was cancelled.
        GaiaError: if the archive refuses the query, cuts it short or cannot be reached.
        ImportError: if a package is missing.
        KeyError: for a column that is not known.
        TypeError, ValueError: for a wrong argument, or if no star is in the sample.
    """
    if not isinstance(sample, _Sample):
        raise TypeError(f"Expected a GaiaBall or GaiaPatch, got {type(sample).__name__}; make one.")
    number("chunk_rows", chunk_rows, 1, 3_000_000)
    number("timeout", timeout, 1e-3, 3600)
    number("retries", retries, 0, 100)
    if not (isinstance(server, str) and server.startswith(("https://", "http://"))):
        raise ValueError(f"Expected server as the address of a TAP service, got {server!r}; leave it out for ESA's.")
    path, columns = path_of(path), texts("columns", columns)
    columns = list(dict.fromkeys((*_STANDARD, *columns)))
    told = {"sample": repr(sample), "adql": sample.adql(columns), "server": server}
    if path.suffix != ".parquet":
        raise ValueError(f"Expected a file ending in .parquet, got {path.name}; rename it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder to write to, got {path.parent}, which is none; make it first.")
    if path.exists() and not overwrite:
        if told.items() <= _header(path).get("meta", {}).get("gaia", {}).items():
            return read_catalog(path)
        raise FileExistsError(
            f"Expected a new file or one of the same query, got {path}, which is another; pass overwrite=True to "
            "replace it."
        )
    _package("pyvo")
    if sample.zero_point:
        _package("zero_point")

    archive = _Archive(server, timeout, int(retries), on_progress)
    folder = path.with_name(f"{path.name}.parts")
    folder.mkdir(exist_ok=True)
    total = archive.total = _total(archive, sample, told, folder / "plan.json")
    if not total:
        shutil.rmtree(folder)
        raise ValueError(f"Expected stars in the sample, got none for {sample}; widen it.")
    edges = np.linspace(0, _SOURCES, max(1, round(total / chunk_rows)) + 1).astype(int).tolist()
    parts = [folder / f"{k:05d}.parquet" for k in range(len(edges) - 1)]
    for part, first, last in zip(parts, edges, [*edges[1:-1], None], strict=False):
        header = {**told, "adql": sample.adql(columns, first, last)}
        if (rows := _rows_of(part, header)) is None:
            rows = _fetch(archive, sample, header, first, last, part)
        archive.done += rows
        archive.alive()
    if archive.done != total:
        (folder / "plan.json").unlink()
        raise GaiaError(
            f"Expected the {total:,} rows that the archive counted, got {archive.done:,} in parts; ask again, which "
            "counts anew."
        )
    date = datetime.now(UTC).isoformat(timespec="seconds")
    _merge(parts, path, sample, {**told, "date": date, "rows": total, "parts": len(parts)})
    shutil.rmtree(folder)
    return read_catalog(path)


def _total(archive: "_Archive", sample: _Sample, told: dict, plan: Path) -> int:
    """The number of rows in all; kept, since it can take the archive minutes to count."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(plan.read_text())
        if found["told"] == told:
            return int(found["total"])
    total = archive.count(sample.adql([]))
    _replace(plan, lambda partial: partial.write_text(json.dumps({"told": told, "total": total})))
    return total


def _fetch(archive: "_Archive", sample: _Sample, header: dict, first: int, last: int | None, part: Path) -> int:
    """Downloads a part and keeps it once it is whole; the number of its rows."""
    count = archive.count(sample.adql([], first, last))

    def attempt() -> pa.Table:
        table = archive.table(header["adql"], count)
        if len(table) != count:
            raise EOFError(f"{len(table):,} rows where the archive counts {count:,}")
        if not count:
            return pa.table({}, metadata={HEADER: json.dumps({**header, "rows": 0})})
        table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
        index, ids = np.asarray(table["random_index"]), np.asarray(table["source_id"])
        if len(np.unique(ids)) != count or index.min() < first or index.max() >= (last or np.inf):
            raise ValueError("rows twice or of another part")
        units = {name: str(_UNITS[name]) for name in table.colnames if name in _UNITS}
        stars = Catalog.from_table(table, units=units)
        return to_arrow(stars._table, json.dumps({**header, "rows": count}))

    whole = archive.patiently(attempt)
    _replace(part, lambda partial: pq.write_table(whole, partial, compression="zstd", write_page_checksum=True))
    return count


def _rows_of(part: Path, header: dict) -> int | None:
    """The number of rows of a part that is here, whole and of this query; None if it is not."""
    with suppress(Exception):  # whatever a damaged file makes a reader say, it is fetched again
        rows = _read(part).num_rows
        if _header(part) == {**header, "rows": rows}:
            return rows
    return None


def _merge(parts: list[Path], path: Path, sample: _Sample, told: dict) -> None:
    """One file of all parts, corrected and cut, with never more than one of them in memory."""
    meta = {"source": "Gaia archive", "release": _RELEASE, "gaia": told}
    if sample.zero_point:
        told["parallax"] = "zero point of Lindegren et al. 2021 subtracted; parallax_raw is the archive's"
    reports, ids = [], []

    def write(partial: Path) -> None:
        writer = None
        try:
            for arrow in filter(len, map(_read, parts)):
                stars = Catalog(from_arrow(arrow))
                ids.append(np.array(stars["source_id"]))
                if sample.zero_point:
                    stars = _corrected(stars)
                keep, report = tally(stars, sample.cuts())
                reports.append(report)
                if not keep.any():
                    continue
                out = to_arrow(stars.take(keep)._table, "").replace_schema_metadata(None)
                writer = writer or pq.ParquetWriter(partial, out.schema, compression="zstd")
                writer.write_table(out.cast(writer.schema))
            if len(np.unique(np.concatenate(ids))) != told["rows"]:
                raise GaiaError("Expected each star once, got some twice; ask again with another chunk_rows.")
            if writer is None:
                raise ValueError(f"Expected stars in the sample, got none for {sample} after the cuts; widen it.")
            each = zip(*reports, strict=True)  # one cut in every part
            cuts = [CutReport(cut[0].name, *np.sum([r[1:] for r in cut], 0).tolist()) for cut in each]
            writer.add_key_value_metadata({HEADER: json.dumps({"meta": meta, "report": cuts})})
        finally:
            if writer is not None:
                writer.close()

    _replace(path, write)


def _corrected(stars: Catalog) -> Catalog:
    zero_point: Any = _package("zero_point").zpt
    zero_point.load_tables()
    six = np.ma.filled(stars["astrometric_params_solved"], 31) == 95
    colour = np.where(
        six, np.clip(stars["pseudocolour"], 1.24, 1.72), np.clip(stars["nu_eff_used_in_astrometry"], 1.1, 1.9)
    )
    g = np.clip(stars["phot_g_mean_mag"], 6, 21)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the edges are edges
        shift = zero_point.get_zpt(g, colour, colour, stars["ecl_lat"], np.where(six, 95, 31))
    raw = stars["parallax"]
    return stars.with_columns({"parallax": (raw - shift) * u.mas, "parallax_raw": raw * u.mas})


class _Archive:
    """A TAP service that may fail: asked by pyvo, patiently."""

    def __init__(self, server: str, timeout: float, retries: int, on_progress: OnProgress):
        self.server, self.timeout, self.retries, self.on_progress = server, timeout, retries, on_progress
        self.session, self.done, self.total = _session(timeout), 0, 0

    def alive(self) -> None:
        """Reports, and raises GaiaCancelled if told to stop."""
        if self.on_progress is not None and self.on_progress(self.done, self.total) is False:
            raise GaiaCancelled(
                f"Expected the whole sample, got {self.done:,} of {self.total:,} stars before it was cancelled; call "
                "again with the same arguments to resume."
            )

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.alive()
            time.sleep(min(left, 0.25))
        self.alive()

    def patiently(self, attempt: Callable[[], T]) -> T:
        """What ``attempt`` gives, repeated with growing pauses while it fails."""
        problem: Any = None
        for n in range(self.retries + 1):
            if n:
                self.pause(min(_WAITS[0] * 2 ** (n - 1), _WAITS[1]) * random.uniform(0.75, 1.25))
            try:
                return attempt()
            except GaiaError:
                raise
            except Exception as found:  # broken transfers make libraries raise errors of every kind
                problem = found
                if getattr(found, "code", None) in (400, 401, 403):
                    raise GaiaError(f"Expected an answer of the archive, got {_said(found)}; check server=.") from found
        raise GaiaError(
            f"Expected an answer of the archive, got {_said(problem)} after {self.retries + 1} attempts; call again "
            "later to resume, or with fewer chunk_rows."
        ) from problem

    def count(self, adql: str) -> int:
        """The one number that a COUNT gives."""

        def attempt() -> int:
            table = self.table(adql, 1)
            if len(table) != 1:
                raise EOFError(f"{len(table)} rows for a count")
            return int(table[table.colnames[0]][0])

        return self.patiently(attempt)

    def table(self, adql: str, rows: int) -> Any:
        """The astropy table of a query, by an asynchronous job; at most ``rows`` are expected."""
        tap: Any = _package("pyvo").dal
        job = tap.AsyncTAPJob.create(self.server, adql, session=self.session, maxrec=rows + 1)
        try:
            job.run()
            began, (wait, longest) = time.monotonic(), _POLLS
            while (phase := job.phase) not in ("COMPLETED", "ERROR", "ABORTED", "ARCHIVED"):
                if time.monotonic() - began > _JOB:
                    raise TimeoutError(f"a job that is still {phase} after {_JOB / 3600:g} hours")
                self.pause(wait)
                wait = min(longest, 1.5 * wait)
            if phase in ("ABORTED", "ARCHIVED"):
                raise ConnectionAbortedError(f"a job that the archive {phase.lower()}")
            job.raise_if_error()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of units that astropy does not know; and an overflow is refused below
                result = job.fetch_result()
                if str(result.query_status).upper() == "OVERFLOW":
                    raise GaiaError(
                        f"Expected {rows:,} rows, got fewer by the archive's limit of rows; choose fewer chunk_rows."
                    )
                return result.to_table()
        except tap.DALQueryError as problem:
            raise GaiaError(
                f"Expected the archive to answer, got its error {_said(problem)!r}; ask again."
            ) from problem
        finally:
            with suppress(Exception):  # the archive forgets jobs by itself, too
                job.delete()


def _session(timeout: float) -> Any:
    """A session of requests whose every answer is whole before it is used, or fails in time."""
    import urllib3
    from requests import ConnectionError, ReadTimeout, Session
    from requests.adapters import HTTPAdapter

    class Whole(HTTPAdapter):
        def send(self, request, **options):  # pyright: ignore[reportIncompatibleMethodOverride]
            response = super().send(request, **{**options, "stream": True, "timeout": timeout})
            raw, body, began = response.raw, bytearray(), time.monotonic()
            try:
                # The time-out of a socket begins anew with each byte, so a slow drip would never end.
                while piece := raw.read1(1 << 16, decode_content=False):
                    body += piece
                    if time.monotonic() - began > timeout + len(body) / _SLOWEST:
                        raise ReadTimeout(f"a transfer slower than {_SLOWEST / 1000:g} kB/s", request=request)
            except urllib3.exceptions.HTTPError as problem:
                raise ConnectionError(f"a transfer that broke off ({problem})", request=request) from problem
            finally:
                raw.close()
            response.raw = urllib3.HTTPResponse(
                io.BytesIO(body), raw.headers, raw.status, reason=raw.reason, preload_content=False,
                original_response=raw._original_response,
            )  # fmt: skip
            return response

    session = Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, Whole())
    return session


def _package(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise ImportError(
            f"Expected the package {name} to query Gaia, got none; install it with pip install pyvo gaiadr3-zeropoint."
        ) from None


def _said(problem) -> str:
    code = getattr(problem, "code", None)
    told = " ".join(str(problem).split())[:300] or type(problem).__name__
    return f"HTTP {code}, {told}" if isinstance(code, int) and code else told


def _adql(value: Any) -> str:
    return repr(float(value))


def _header(path: Path) -> dict:
    """What a file says of itself under our key; nothing if it is not ours."""
    with suppress(OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return dict(json.loads(pq.read_metadata(path).metadata[HEADER.encode()]))
    return {}


def _read(part: Path) -> pa.Table:
    with pq.ParquetFile(part, page_checksum_verification=True) as file:
        return file.read()


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file beside ``path`` and puts it there once it is whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
