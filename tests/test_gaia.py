"""The Gaia archive: what is asked is what is meant, and no fault of the network loses or doubles a star."""

import json
import random
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from tap_server import TapServer
from zero_point import zpt

import clearview
from clearview.catalogs import GaiaBall, GaiaCancelled, GaiaError, GaiaPatch, gaia, query_gaia, read_catalog

N = 3000
PATCH = GaiaPatch(ra=359.0, dec=70.0, radius=40.0, parallax_max=1.0)


def column(table, name):
    return np.ma.filled(table[name].astype(float), np.nan)


def zero_points(table):
    """The recipe as its authors give it, at the edge of its range beyond it, mas."""
    zpt.load_tables()
    solved = np.where(column(table, "astrometric_params_solved") == 95, 95, 31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are at the edge
        return zpt.get_zpt(
            column(table, "phot_g_mean_mag"), np.clip(column(table, "nu_eff_used_in_astrometry"), 1.1, 1.9),
            np.clip(column(table, "pseudocolour"), 1.24, 1.72), column(table, "ecl_lat"), solved,
        )  # fmt: skip


def gaia_source():
    """Random stars with all the columns, some without parallax, colour or radial velocity, some at every edge."""
    rng = np.random.default_rng(11)
    solved = rng.choice([3, 31, 95], N, p=[0.05, 0.75, 0.2])
    floats = {name: rng.normal(size=N) for name in gaia._COLUMNS}
    floats |= {"ra": rng.uniform(0, 360, N), "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, N)))}
    floats |= {"phot_g_mean_mag": rng.uniform(3, 14.5, N), "parallax": rng.gamma(1.0, 0.5, N) - 0.1}
    floats |= {"parallax_error": rng.uniform(0.01, 0.2, N), "ruwe": rng.uniform(0.9, 2, N)}
    floats |= {"nu_eff_used_in_astrometry": rng.uniform(1.0, 2.0, N), "pseudocolour": rng.uniform(1.1, 1.9, N)}
    floats["ecl_lat"] = rng.uniform(-90, 90, N)
    gone = dict.fromkeys(("parallax", "parallax_error", "pmra", "pmdec"), solved == 3)
    gone |= {"nu_eff_used_in_astrometry": solved != 31, "pseudocolour": solved != 95}
    gone["radial_velocity"] = rng.random(N) < 0.2
    wide = {"ra", "dec", "parallax", "pmra", "pmdec", "ecl_lat", "l", "b"}
    table = Table()
    for name, values in floats.items():
        table[name] = MaskedColumn(values, mask=gone.get(name), dtype=float if name in wide else np.float32)
        table[name].unit = gaia._UNITS.get(name)
    table["source_id"] = MaskedColumn(rng.choice(2**62, N, replace=False))
    table["random_index"] = MaskedColumn(rng.choice(gaia._SOURCES, N, replace=False))
    table["astrometric_params_solved"] = MaskedColumn(solved.astype(np.int16))
    table["rv_nb_transits"] = MaskedColumn(rng.integers(1, 40, N).astype(np.int16), mask=gone["radial_velocity"])
    table["duplicated_source"] = MaskedColumn(rng.random(N) < 0.5)
    table["phot_variable_flag"] = MaskedColumn(rng.choice(["VARIABLE", "NOT_AVAILABLE"], N))
    # Every other star is just inside of an edge, once its parallax is corrected.
    edges = np.full(N, 1 / 4), np.full(N, 1.0), 100 * 10 ** ((14 - 5 * np.log10(400) - floats["phot_g_mean_mag"]) / 5)
    edge = np.choose(np.arange(N) // 2 % 4, (*edges, 3 * floats["parallax_error"]))
    edge += zero_points(table) + np.choose(np.arange(N) // 2 % 4, (1e-5, -1e-5, -1e-5, 1e-5))
    table["parallax"][::2] = edge[::2]
    table["parallax"].mask = solved == 3
    return table


SOURCE = gaia_source()
FAR = Table({"source_id": MaskedColumn(SOURCE["source_id"][::2])})
for _name in gaia._DISTANCES:
    FAR[_name] = MaskedColumn(np.arange(len(FAR)), dtype=np.float32)


@pytest.fixture
def server():
    server = TapServer({"gaiadr3.gaia_source": SOURCE, "external.gaiaedr3_distance": FAR})
    yield server
    server.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(gaia, "_WAITS", (0.005, 0.05))
    monkeypatch.setattr(gaia, "_POLLS", (0.002, 0.01))


def ask(server, path, sample=GaiaBall(), **options):  # noqa: B008  (it is frozen)
    return query_gaia(sample, path, server=server.url, **{"timeout": 60.0, "chunk_rows": 300, **options})


def ball(zero_point=True, snr=3.0):
    """The source_id of the stars in the ball, by plain numpy."""
    parallax = column(SOURCE, "parallax") - (zero_points(SOURCE) if zero_point else 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        keep = (
            (parallax >= 1 / 4) & (parallax >= snr * column(SOURCE, "parallax_error")) & ~SOURCE["radial_velocity"].mask
        )
        keep &= column(SOURCE, "phot_g_mean_mag") + 5 * np.log10(np.abs(parallax) / 100) <= 14 - 5 * np.log10(400)
        keep &= column(SOURCE, "phot_g_mean_mag") <= 14
    return set(SOURCE["source_id"][keep].tolist())


def ids(stars):
    found = np.asarray(stars["source_id"]).tolist()
    assert len(set(found)) == len(found)
    return set(found)


# What is asked


@pytest.mark.parametrize("zero_point", [True, False])
def test_the_ball_is_the_ball(server, tmp_path, zero_point):
    truth = ball(zero_point)
    assert 200 < len(truth) < N / 2
    stars = ask(server, tmp_path / "ball.parquet", GaiaBall(zero_point=zero_point))
    assert ids(stars) == truth
    assert len(server.queries) == 1 + 2 * stars.meta["gaia"]["parts"]
    order = np.argsort(SOURCE["source_id"])
    rows = order[np.searchsorted(SOURCE["source_id"][order], stars["source_id"])]
    shift = zero_points(SOURCE)[rows] if zero_point else 0
    np.testing.assert_allclose(stars["parallax"], column(SOURCE, "parallax")[rows] - shift, rtol=0, atol=1e-15)
    if zero_point:
        np.testing.assert_array_equal(stars["parallax_raw"], column(SOURCE, "parallax")[rows])
        assert ball(False) != truth
    assert ("parallax_raw" in stars) == zero_point
    for name in gaia._STANDARD:
        if name != "parallax":
            np.testing.assert_array_equal(
                np.ma.filled(stars[name].astype(float), np.nan), column(SOURCE, name)[rows], name
            )
    assert stars.unit("pmra") == "mas / yr"
    assert stars["source_id"].dtype == np.int64


def test_the_file_tells_all_and_is_read_again_without_a_server(server, tmp_path):
    path = tmp_path / "ball.parquet"
    sample = GaiaBall(ruwe=1.4, distances=True)
    stars = ask(server, path, sample, columns=gaia._COLUMNS)
    server.close()
    assert list(tmp_path.iterdir()) == [path]
    again = ask(server, path, sample, columns=gaia._COLUMNS)
    assert stars.digest(stars.columns) == again.digest(again.columns) == read_catalog(path).digest(stars.columns)
    told = read_catalog(path).meta["gaia"]
    assert told["adql"] == sample.adql(gaia._COLUMNS)
    assert told["server"] == server.url
    assert told["rows"] == stars.report[0].before
    assert stars.report[-1].after == len(stars)
    assert stars.meta["release"] == "Gaia DR3"
    assert told["date"] > "2020"
    assert stars["ruwe"].max() <= 1.4
    near = np.isin(stars["source_id"], FAR["source_id"])
    np.testing.assert_array_equal(np.isfinite(stars["r_med_geo"]), near)
    assert 0 < near.sum() < len(stars)
    assert stars.unit("r_hi_photogeo") == "pc"
    assert stars["duplicated_source"].dtype == bool
    assert set(stars["phot_variable_flag"].tolist()) == {"VARIABLE", "NOT_AVAILABLE"}
    assert len(stars.to_galactocentric(distance="r_med_geo")) > 0
    assert "Gaia archive; Gaia DR3" in repr(stars)


def test_a_patch(server, tmp_path):
    shift, dec = zero_points(SOURCE), np.radians(SOURCE["dec"])
    cosine = np.sin(dec) * np.sin(np.radians(30)) + np.cos(dec) * np.cos(np.radians(30)) * np.cos(
        np.radians(SOURCE["ra"] - 359.0)
    )
    inside = (
        (cosine >= np.cos(np.radians(80))) & (column(SOURCE, "parallax") - shift <= 1) & (column(SOURCE, "ruwe") <= 1.5)
    )
    stars = ask(server, tmp_path / "patch.parquet", replace(PATCH, dec=30.0, radius=80.0, ruwe=1.5))
    assert ids(stars) == set(SOURCE["source_id"][inside].tolist())
    assert stars.to_stream("GD-1").columns


def test_the_zero_point_stays_within_the_bounds_that_loosen_the_query():
    zpt.load_tables()
    sin = np.linspace(-1, 1, 41)
    for k, (faintest, low, high) in enumerate(gaia._BOUNDS):
        brightest = gaia._BOUNDS[k - 1][0] if k else 3
        for solved, colours in ((31, np.linspace(1.1, 1.9, 81)), (95, np.linspace(1.24, 1.72, 49))):
            g, c, b = (
                x.ravel() for x in np.meshgrid(np.arange(brightest, min(faintest, 22) + 0.05, 0.1), colours, sin)
            )
            with pytest.warns(UserWarning, match="outside"):
                z = zpt.get_zpt(np.minimum(g, faintest), c, c, np.degrees(np.arcsin(b)), np.full(len(g), solved))
            assert low < z.min()
            assert z.max() < high


WRONG = [
    ("radius", -1.0), ("radius", float("nan")), ("radius", float("inf")), ("radius", "4"), ("radius", True),
    ("g_max", "14; DROP TABLE g"), ("g_max", None), ("parallax_snr", [3]), ("ruwe", "1' OR '1'='1"),
    ("radial_velocity", "yes"), ("zero_point", 1),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_field_is_refused(field, value):
    with pytest.raises(ValueError, match=rf"^Expected {field} as .*, got .*; "):
        GaiaBall(**{field: value})


def test_wrong_arguments_are_refused_before_anything_is_asked(server, tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(KeyError, match=r"^Expected a column among .*, got 'ra; DROP TABLE g'; "):
        ask(server, path, columns=["ra; DROP TABLE g"])
    with pytest.raises(KeyError, match=r"got 'parallaxx'; did you mean 'parallax'\?"):
        ask(server, path, columns="parallaxx")
    with pytest.raises(TypeError, match=r"^Expected a GaiaBall or GaiaPatch, got str"):
        ask(server, path, "SELECT 1")
    for options in ({"chunk_rows": 0}, {"chunk_rows": 10**7}, {"timeout": np.nan}, {"retries": -1}):
        with pytest.raises(ValueError, match=rf"^Expected {next(iter(options))} as a number from "):
            ask(server, path, **options)
    with pytest.raises(ValueError, match=r"^Expected server as the address"):
        query_gaia(GaiaBall(), path, server="gea")
    with pytest.raises(ValueError, match=r"^Expected a file ending in \.parquet"):
        ask(server, tmp_path / "a.fits")
    with pytest.raises(FileNotFoundError, match=r"^Expected a folder to write to"):
        ask(server, tmp_path / "none" / "a.parquet")
    with pytest.raises(ValueError, match=r"^Expected dec as a number from -90 to 90, got 91"):
        GaiaPatch(ra=0, dec=91, radius=1)
    assert server.requests == 0
    assert not list(tmp_path.iterdir())


def test_no_file_is_overwritten_in_silence(server, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_text("my thesis")
    with pytest.raises(FileExistsError, match=r"^Expected a new file or one of the same query"):
        ask(server, path)
    assert path.read_text() == "my thesis"
    ask(server, path, overwrite=True)
    with pytest.raises(FileExistsError, match="which is another"):
        ask(server, path, GaiaBall(radius=3.0))
    asked = len(server.queries)
    ask(server, path, overwrite=True)
    assert len(server.queries) > asked


# What can fail

FAULTS = ("500", "503", "hang", "drop", "truncated", "cut", "drip", "fewer", "twice", "aborted")
IMPATIENT = {"timeout": 0.5, "retries": 50}  # a busy machine may itself be too slow for it, now and then


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_survived(server, tmp_path, fault):
    server.faults = [fault] * 2
    assert ids(ask(server, tmp_path / "a.parquet", chunk_rows=400, **IMPATIENT)) == ball()
    assert not server.faults


@pytest.mark.parametrize("seed", range(3))
def test_all_faults_in_any_order(server, tmp_path, seed):
    server.faults = list(2 * FAULTS)
    random.Random(seed).shuffle(server.faults)
    assert ids(ask(server, tmp_path / "a.parquet", **IMPATIENT)) == ball()
    assert not server.faults


def test_an_error_of_the_archive_is_told(server, tmp_path):
    server.faults = ["error"]
    with pytest.raises(GaiaError, match=r"^Expected .*Unknown column 'g\.x'.*; ask again\.$"):
        ask(server, tmp_path / "a.parquet")
    assert ids(ask(server, tmp_path / "a.parquet")) == ball()


def test_what_does_not_pass_is_given_up_and_resumed(server, tmp_path):
    path = tmp_path / "a.parquet"
    server.faults = ["500"] * 1000
    with pytest.raises(GaiaError, match=r"^Expected an answer .*HTTP 500.* after 3 attempts; call again"):
        ask(server, path, retries=2)
    server.faults = []
    assert ids(ask(server, path)) == ball()


@pytest.mark.parametrize(
    ("silent", "said"), [(False, "the archive's limit of rows"), (True, "100 rows where the archive")]
)
def test_a_limit_of_rows_is_no_sample(server, tmp_path, silent, said):
    server.limit, server.silent = 100, silent
    with pytest.raises(GaiaError, match=said):
        ask(server, tmp_path / "a.parquet", retries=1)
    assert ids(ask(server, tmp_path / "a.parquet", chunk_rows=50)) == ball()


def test_no_star_is_no_sample(server, tmp_path):
    with pytest.raises(ValueError, match=r"^Expected stars in the sample, got none .*; widen it"):
        ask(server, tmp_path / "a.parquet", GaiaPatch(ra=0, dec=0, radius=0.001))
    assert not list(tmp_path.iterdir())


def cancelled_at(server, path, stars, **options):
    seen = []

    def on_progress(done, total):
        seen.append((done, total))
        return done < stars

    with pytest.raises(GaiaCancelled, match=r"^Expected the whole sample, got .* stars before .*; call again"):
        ask(server, path, on_progress=on_progress, **options)
    return seen


def test_a_cancelled_query_resumes(server, tmp_path):
    path = tmp_path / "a.parquet"
    seen = cancelled_at(server, path, 400)
    assert seen[0] == (0, 0)
    assert seen[-1][1] == json.loads((tmp_path / "a.parquet.parts" / "plan.json").read_text())["total"]
    assert not path.exists()
    before = [query for query in server.queries if "COUNT" not in query]
    assert len(before) == len(list(path.with_name("a.parquet.parts").glob("*.parquet")))
    server.queries.clear()
    seen.clear()
    assert ids(ask(server, path, on_progress=lambda *at: seen.append(at))) == ball()
    assert seen[-1][0] == seen[-1][1]
    assert not set(before) & set(server.queries)
    assert all(job["deleted"] for job in server.jobs.values())


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_part_is_fetched_again(server, tmp_path, damage):
    path = tmp_path / "a.parquet"
    cancelled_at(server, path, 400)
    part = path.with_name("a.parquet.parts") / "00001.parquet"
    body = bytearray(part.read_bytes())
    if damage == "flip":
        body[len(body) // 3] ^= 0x10
    part.write_bytes({"flip": body, "cut": body[:-100], "empty": b""}[damage])
    server.queries.clear()
    stars = ask(server, path)
    assert ids(stars) == ball()
    assert sum("COUNT" not in query for query in server.queries) == stars.meta["gaia"]["parts"] - 1


def test_parts_that_are_not_all_are_no_sample(server, tmp_path):
    path = tmp_path / "a.parquet"
    cancelled_at(server, path, 400)
    plan = path.with_name("a.parquet.parts") / "plan.json"
    told = json.loads(plan.read_text())
    plan.write_text(json.dumps({**told, "total": told["total"] + 1}))
    with pytest.raises(
        GaiaError, match=rf"^Expected the {told['total'] + 1:,} rows .*, got {told['total']:,} in parts"
    ):
        ask(server, path)
    assert not path.exists()
    assert ids(ask(server, path)) == ball()


def test_parts_of_another_query_are_not_taken(server, tmp_path):
    path = tmp_path / "a.parquet"
    cancelled_at(server, path, 400, sample=GaiaBall(parallax_snr=10.0))
    assert ids(ask(server, path)) == ball()


def test_a_part_without_stars(server, tmp_path):
    stars = ask(server, tmp_path / "a.parquet", replace(PATCH, radius=9.0), chunk_rows=1)
    told = stars.meta["gaia"]
    assert told["parts"] == told["rows"] == stars.report[0].before >= 5
    data = [query for query in server.queries if "COUNT" not in query]
    assert len(data) == told["parts"]  # and chance puts two stars into one part, none into another


def test_a_missing_package_is_told(tmp_path):
    code = (
        "import sys, clearview\n"
        "from clearview.catalogs import GaiaBall, query_gaia\n"
        "assert not {'pyvo', 'requests', 'zero_point'} & set(sys.modules)\n"
        "sys.modules['pyvo'] = None\n"
        f"query_gaia(GaiaBall(), {str(tmp_path / 'a.parquet')!r})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: Expected the package pyvo to query Gaia, got none; install it with pip install" in out.stderr


def test_the_names_are_at_the_top():
    assert clearview.query_gaia is query_gaia
    assert clearview.GaiaBall is GaiaBall
