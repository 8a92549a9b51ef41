"""The catalogue: construction, units, history, reading and writing."""

import gzip
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable, Table

from clearview.catalogs import Box, Catalog, CutReport, Finite, read_catalog

GAIA = {
    "source_id": np.array([4295806720, 34361129088, 2**62 + 1], np.int64),
    "ra": np.array([44.996, 45.005, 180.25]),
    "dec": np.array([0.0056, 0.0209, -89.5]),
    "parallax": np.array([0.3543, 1.5, np.nan], np.float32),
    "parallax_error": np.array([0.1, 0.2, 0.3], np.float32),
    "pmra": np.array([0.1, 11.7, -3.0]),
    "pmdec": np.array([0.2, -4.0, 5.0]),
    "radial_velocity": np.array([1.5, -250.0, 12.0], np.float32),
    "phot_g_mean_mag": np.array([17.6, 12.0, 9.5], np.float32),
    "bp_rp": np.array([1.0, 0.5, 0.7], np.float32),
    "ruwe": np.array([1.0, 1.1, 0.9], np.float32),
    "pmra_pmdec_corr": np.array([0.1, -0.2, 0.3], np.float32),
}
UNITS = {"ra": "deg", "dec": "deg", "parallax": "mas", "parallax_error": "mas", "pmra": "mas/yr"}
UNITS |= {"pmdec": "mas/yr", "radial_velocity": "km/s", "phot_g_mean_mag": "mag", "bp_rp": "mag"}


def gaia_catalog(**meta):
    return Catalog.from_table(Table(GAIA, meta=meta), units="gaia")


def told(catalog):
    """The meta, but for the files that the stars came through."""
    return {key: value for key, value in catalog.meta.items() if key not in ("file", "origin")}


def assert_same(a, b):
    assert a.columns == b.columns
    assert told(a) == told(b)
    assert a.report == b.report
    for name in a.columns:
        assert a.unit(name) == b.unit(name), name
        strict = a[name].dtype.kind != "U"  # the width of strings may differ
        np.testing.assert_array_equal(a[name], b[name], strict=strict)


def test_values_units_and_dtypes_are_kept():
    stars = gaia_catalog(release="Gaia DR3")
    assert len(stars) == 3
    assert stars.columns == tuple(GAIA)
    for name, values in GAIA.items():
        assert type(stars[name]) is np.ndarray
        np.testing.assert_array_equal(stars[name], values, strict=True)
        assert stars.unit(name) == (u.Unit(UNITS[name]) if name in UNITS else None)
    assert stars.quantity("pmra").to_value("arcsec/yr") == pytest.approx(GAIA["pmra"] / 1000)
    assert stars.meta == {"release": "Gaia DR3"}
    assert not stars.has_phase_space


ENDINGS = ["parquet", "fits", "csv", "ecsv", "vot", "h5"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip(tmp_path, ending):
    mock = {
        "potential": "MWPotential2014",
        "seed": 7,
        "nested": {"sigma": [30.0, 0.1 + 0.2, 1e-12], "dust": None},
    }
    names = np.array(["a", "béta", "c"])
    stars = Catalog.from_table(
        Table({**GAIA, "name": names, "member": np.array([True, False, True])}),
        units="gaia",
    )
    meta = {"source": "test", "mock": mock, "long": "word " * 100}
    stars = stars.with_columns({"my_mag": np.ones(3)}, meta=meta)  # this name is not to be taken apart
    stars = stars.select(Box(pmra=(-5, 5)), Finite("ra")) if ending != "fits" else stars.select(Finite("ra"))
    if ending == "fits":  # FITS strings are ASCII
        stars = stars.with_columns({"name": np.array(["a", "b", "c"])})
    path = tmp_path / f"stars.{ending}"
    stars.write(path)
    assert_same(read_catalog(path), stars)
    assert read_catalog(path, columns=["pmra"]).columns == ("pmra",)


def test_one_star_round_trip(tmp_path):
    one = gaia_catalog().take(np.array([False, True, False]))
    for ending in ENDINGS:
        one.write(tmp_path / f"one.{ending}")
        assert_same(read_catalog(tmp_path / f"one.{ending}"), one)
    assert one.to_galactocentric().phase_space.shape == (1, 6)


def test_pandas_round_trip_and_own_memory():
    stars = gaia_catalog(source="somewhere")
    frame = stars.to_pandas()
    assert_same(Catalog.from_pandas(frame), stars)
    frame.loc[0, "pmra"] = 99.0
    assert stars["pmra"][0] == 0.1
    again = Catalog.from_pandas(frame)
    frame.loc[0, "pmra"] = 1.0
    assert again["pmra"][0] == 99.0


def test_a_table_is_copied():
    table = Table(GAIA)
    stars = Catalog.from_table(table, units="gaia")
    table["pmra"][0] = 5.0
    assert stars["pmra"][0] == 0.1
    assert table["pmra"].unit is None


def test_arrays_cannot_be_written():
    stars = gaia_catalog()
    with pytest.raises(ValueError, match=r"read-only"):
        stars["pmra"][0] = 1.0
    with pytest.raises(ValueError, match=r"read-only"):
        stars.to_galactocentric().phase_space[0] = 1.0
    stars.meta["source"] = "changed"
    assert "source" not in stars.meta


def test_names_and_units_are_told(tmp_path):
    frame = pd.DataFrame({"RA": [1.0], "plx": [1500], "mu": [0.5]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    stars = read_catalog(
        tmp_path / "a.csv",
        names={"ra": "RA", "parallax": "plx", "pmra": "mu"},
        units={"ra": "rad", "plx": "uas", "pmra": "arcsec / yr"},
    )
    assert stars["ra"][0] == pytest.approx(np.rad2deg(1))
    assert stars["parallax"][0] == pytest.approx(1.5)
    assert stars["pmra"][0] == pytest.approx(500)


def test_told_names_come_first():
    table = Table({"radial_velocity": [1.0] * u.km / u.s, "rv_kms": [2.0], "vrad_kms": [3.0]})
    stars = Catalog.from_table(table, names={"radial_velocity": "rv_kms"})
    assert stars["radial_velocity"][0] == 2
    assert stars.columns == ("radial_velocity", "vrad_kms")
    assert Catalog.from_table(table)["radial_velocity"][0] == 1


@pytest.mark.parametrize(
    ("column", "name", "unit"),
    [
        ("ra_deg", "ra", "deg"),
        ("pmra_masyr", "pmra", "mas/yr"),
        ("pmra_error_masyr", "pmra_error", "mas/yr"),
        ("pm_ra_cosdec_masyr", "pmra", "mas/yr"),
        ("parallax_err_mas", "parallax_error", "mas"),
        ("vrad_kms", "radial_velocity", "km/s"),
        ("vlos_err_kms", "radial_velocity_error", "km/s"),
        ("G_mag", "phot_g_mean_mag", "mag"),
        ("phot_g_mean_mag", "phot_g_mean_mag", "mag"),
        ("x_kpc", "x", "kpc"),
        ("vx_kms", "vx", "km/s"),
        ("phi1_deg", "phi1", "deg"),
        ("ps1_g_mag", "ps1_g", "mag"),
        ("log_distance_kpc", "log_distance_kpc", None),
        ("feh_dex", "feh_dex", None),
    ],
)
def test_unit_in_a_name(column, name, unit):
    stars = Catalog.from_table(Table({column: [1.0]}))
    assert stars.columns == (name,)
    assert stars.unit(name) == (None if unit is None else u.Unit(unit))
    assert stars[name][0] == 1


def test_convertible_units_are_converted():
    table = QTable({"parallax": np.float32([0.001]) * u.arcsec, "radial_velocity": [1500] * u.m / u.s})
    table["dist_pc"] = [100]
    stars = Catalog.from_table(table)
    assert stars["parallax"][0] == pytest.approx(1)
    assert stars["parallax"].dtype == np.float32
    assert stars["radial_velocity"][0] == 1.5
    assert stars["distance"][0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("pmra", "km/s"),
        ("parallax", "deg"),
        ("radial_velocity", ""),
        ("x", "km/s"),
        ("ra", "mag"),
        ("bp_rp", "foo"),
    ],
)
def test_wrong_units_are_refused(name, unit):
    table = Table({name: Column([1.0], unit=u.Unit(unit, parse_strict="silent"))})
    with pytest.raises(ValueError, match=rf"^Expected {name} in .*; correct it with units="):
        Catalog.from_table(table)


def test_name_and_file_must_agree_on_the_unit():
    table = Table({"dist_pc": [1.0] * u.kpc})
    with pytest.raises(ValueError, match=r"^Expected dist_pc in the unit of its name, got kpc"):
        Catalog.from_table(table)
    assert Catalog.from_table(table, units={"distance": "kpc"})["distance"][0] == 1


def test_gaia_names_without_units(tmp_path):
    path = tmp_path / "gaia.csv"
    pd.DataFrame(GAIA).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"^Expected a unit for ra, dec, parallax.*units='gaia'"):
        read_catalog(path)
    with pytest.raises(ValueError, match=r"^Expected a unit for ra, dec"):
        read_catalog(path, units={"parallax": "mas"})
    stars = read_catalog(path, units="gaia")
    assert {name: stars.unit(name) for name in UNITS} == {name: u.Unit(unit) for name, unit in UNITS.items()}
    np.testing.assert_array_equal(stars["source_id"], GAIA["source_id"], strict=True)
    np.testing.assert_array_equal(stars["ra"], GAIA["ra"])
    part = read_catalog(path, units={"pmra": "mas/yr", "ra": "deg"}, names={"mu": "pmra"}, columns=["ra", "ruwe"])
    assert part.columns == ("ra", "ruwe")


def test_gaia_units_do_not_reach_other_columns():
    with pytest.raises(ValueError, match=r"^Expected a unit for vx, got none in the file; tell them, .*km / s'}\.$"):
        Catalog.from_table(Table({"ra": [1.0], "vx": [1.0]}), units="gaia")


def test_a_file_that_says_it_is_gaia(tmp_path):
    schema = {"source": "gaiadr3.gaia_source"}
    pq.write_table(pa.table(GAIA).replace_schema_metadata(schema), tmp_path / "a.parquet")
    stars = read_catalog(tmp_path / "a.parquet")
    assert stars.unit("pmra") == u.mas / u.yr
    assert told(stars) == {**schema, "release": "Gaia DR3"}
    pq.write_table(pa.table(GAIA).replace_schema_metadata({"source": "HIPPARCOS"}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"Expected a unit"):
        read_catalog(tmp_path / "b.parquet")


@pytest.mark.parametrize("key", ["unit", "units"])
def test_units_of_parquet_fields(tmp_path, key):
    field = pa.field("pmra", pa.float32(), metadata={key: "mas.yr**-1"})
    table = pa.Table.from_arrays([pa.array([1.0, None], pa.float32())], schema=pa.schema([field]))
    pq.write_table(table, tmp_path / "a.parquet")
    stars = read_catalog(tmp_path / "a.parquet")
    assert stars.unit("pmra") == u.mas / u.yr
    np.testing.assert_array_equal(stars["pmra"], np.array([1, np.nan], np.float32), strict=True)


def test_pandas_parquet_keeps_the_units(tmp_path):
    stars = gaia_catalog(source="test")
    stars.to_pandas().to_parquet(tmp_path / "a.parquet")
    assert_same(read_catalog(tmp_path / "a.parquet"), stars)


def test_gaia_ecsv_bulk_download(tmp_path):
    text = """# %ECSV 1.0
# ---
# delimiter: ','
# datatype:
# - {name: source_id, datatype: int64}
# - {name: ra, datatype: float64, unit: deg}
# - {name: radial_velocity, datatype: float32, unit: km.s**-1}
source_id,ra,radial_velocity
4611686018427387905,45.5,null
4611686018427387906,46.5,-12.25
"""
    with gzip.open(tmp_path / "gaia.csv.gz", "wt") as file:
        file.write(text)
    stars = read_catalog(tmp_path / "gaia.csv.gz")
    assert stars["source_id"].tolist() == [2**62 + 1, 2**62 + 2]
    np.testing.assert_array_equal(stars["radial_velocity"], np.array([np.nan, -12.25], np.float32), strict=True)


def test_missing_integers_keep_their_digits(tmp_path):
    (tmp_path / "a.csv").write_text("# a comment\nsource_id,n_kms,all_gone_mas\n4611686018427387905,1,\n,2,\n")
    stars = read_catalog(tmp_path / "a.csv")
    assert stars["source_id"][0] == 2**62 + 1
    assert stars["source_id"].mask.tolist() == [False, True]
    assert np.isnan(stars["all_gone"]).all()
    for ending in ENDINGS:
        stars.write(tmp_path / f"b.{ending}")
        again = read_catalog(tmp_path / f"b.{ending}")
        assert again["source_id"].mask.tolist() == [False, True]
        assert again["source_id"][0] == 2**62 + 1
    assert len(stars.select(Finite("source_id"))) == 1


def test_masked_measurements_become_nan():
    table = Table({"pmra": MaskedColumn([1, 2], mask=[True, False], unit="mas/yr")})
    table["parallax"] = MaskedColumn(np.float32([1, 2]), mask=[False, True], unit="mas")
    stars = Catalog.from_table(table)
    np.testing.assert_array_equal(stars["pmra"], [np.nan, 2])
    np.testing.assert_array_equal(stars["parallax"], np.array([1, np.nan], np.float32), strict=True)


@pytest.mark.parametrize("convention", ["clearview", "astropy"])
def test_frame_of_the_file(convention):
    table = Table({n: [float(i + 1)] for i, n in enumerate(["x_kpc", "y_kpc", "z_kpc", "vx_kms", "vy_kms", "vz_kms"])})
    stars = Catalog.from_table(table, frame=convention)
    expected = [1, 2, 3, 4, 5, 6] if convention == "clearview" else [-1, -2, 3, -4, -5, 6]
    assert stars.phase_space.tolist() == [expected]


def test_phase_space_from_arrays():
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)).astype(np.float32)
    stars = Catalog.from_phase_space(
        x * 1000 * u.pc, v, columns={"distance": np.ones(5) * u.pc}, meta={"mock": {"a": 1}}
    )
    np.testing.assert_allclose(stars.phase_space, np.hstack([x, v]), rtol=1e-6)
    assert stars.phase_space.dtype == np.float32
    assert stars.phase_space is stars.phase_space
    assert stars["distance"].tolist() == [0.001] * 5
    assert stars.meta == {"mock": {"a": 1}}
    with pytest.raises(ValueError, match=r"^Expected x and v of one shape \(N, 3\), got \(5, 3\) and \(3, 5\)"):
        Catalog.from_phase_space(x, v.T)
    with pytest.raises(ValueError, match=r"^Expected bp_rp of shape \(5,\)"):
        Catalog.from_phase_space(x, v, columns={"bp_rp": [1.0]})
    x[0, 0] = np.nan
    bad = Catalog.from_phase_space(x, v)
    with pytest.raises(ValueError, match=r"got 1 of 5 stars without; call to_galactocentric"):
        _ = bad.phase_space
    assert str(bad.to_galactocentric().report[0]) == "non-finite x: 1 of 5 stars removed"


def test_digest_tells_data_apart():
    x, v = np.ones((2, 3)), np.ones((2, 3))
    first = Catalog.from_phase_space(x, v)
    assert first.digest() == Catalog.from_phase_space(x.copy(), v, meta={"source": "other"}).digest()
    assert len(first.digest()) == 16
    assert first.digest() != Catalog.from_phase_space(x, v * 1.001).digest()


def test_with_columns_leaves_the_parent_alone():
    stars = gaia_catalog()
    more = stars.with_columns({"pmra": np.zeros(3) * u.arcsec / u.yr, "label": [1, 2, 3]}, meta={"a": 1})
    assert more["pmra"].tolist() == [0, 0, 0]
    assert stars["pmra"].tolist() == GAIA["pmra"].tolist()
    assert "label" not in stars
    assert (stars.meta, more.meta) == ({}, {"a": 1})
    with pytest.raises(ValueError, match=r"Expected a unit for pmra"):
        stars.with_columns({"pmra": np.zeros(3)})
    with pytest.raises(ValueError, match=r"Expected label of shape \(3,\)"):
        stars.with_columns({"label": 1})


def test_columns_are_shared_not_copied():
    stars = gaia_catalog()
    assert np.shares_memory(stars["pmra"], stars.select(Finite("pmra"))["pmra"])
    assert np.shares_memory(stars["pmra"], stars.with_columns({"label": [1, 2, 3]})["pmra"])


def test_shown():
    stars = gaia_catalog().select(Finite("parallax"))
    for shown in (repr(stars), stars._repr_html_()):
        assert "Catalog of 2 stars" in shown
        assert "pmra [mas / yr]" in shown
        assert "non-finite parallax: 1 of 3 stars removed" in shown
    assert "<script>" not in gaia_catalog().with_columns({"<script>": [1, 2, 3]})._repr_html_()


def test_wrong_column_lists_the_right_ones():
    with pytest.raises(KeyError) as error:
        gaia_catalog()["pmrra"]
    assert str(error.value).startswith("Expected a column among source_id, ra, dec")
    assert str(error.value).endswith("got 'pmrra'; did you mean 'pmra'?")


def test_wrong_arguments(tmp_path):
    path = tmp_path / "a.parquet"
    gaia_catalog().write(path)
    for arguments, word in [
        ({"names": {"ra": "raj"}}, "got 'raj'; did you mean 'ra'"),
        ({"columns": ["pmrra"]}, "got 'pmrra'; did you mean 'pmra'"),
        ({"units": {"parallaxe": "mas"}}, "got 'parallaxe'; did you mean 'parallax'"),
        ({"units": {"parallax": "milli"}}, "^Expected a unit such as .* for parallax, got 'milli'"),
        ({"units": "mas"}, "^Expected units as a mapping or 'gaia', got 'mas'"),
        ({"frame": "galpy"}, "^Expected frame 'clearview' or 'astropy', got 'galpy'"),
        ({"frame": "astropy"}, "^Expected frame='clearview' for a file that ClearView wrote"),
    ]:
        with pytest.raises((KeyError, ValueError), match=word):
            read_catalog(path, **arguments)
    with pytest.raises(KeyError, match=r"Expected one column for distance, got distance_kpc, distance_pc"):
        Catalog.from_table(Table({"distance_kpc": [1.0], "distance_pc": [1.0]}))
    with pytest.raises(ValueError, match=r"Expected plain JSON values in meta, got object .* for 'a'"):
        Catalog(Table({"a": [1]}), meta={"a": object()})
    with pytest.raises(ValueError, match=r"Expected one value per star in column a, got .*shape \(1, 2\)"):
        Catalog.from_table(Table({"a": [[1, 2]]}))
    with pytest.raises(ValueError, match=r"Expected numbers in column pmra_error, got 'a'"):
        Catalog.from_table(Table({"pmra_error": ["a"]}), units="gaia")
    with pytest.raises(TypeError, match=r"^Expected an astropy Table, got DataFrame; use Catalog.from_pandas"):
        Catalog(pd.DataFrame({"a": [1]}))  # pyright: ignore
    with pytest.raises(ValueError, match=r"Expected columns of one type"):
        Catalog.from_pandas(pd.DataFrame({"a": [1, "b", {}]}))
    with pytest.raises(ValueError, match=r"Expected 3 booleans, got int64 of shape \(3,\)"):
        gaia_catalog().take(np.array([1, 0, 1]))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv, which does not exist"):
        read_catalog(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"which is a folder"):
        read_catalog(tmp_path / "folder.csv")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"^Expected a file ending in one of \.parquet.*\.hdf5.*got a\.txt"):
        read_catalog(tmp_path / "a.txt")
    for kind in ENDINGS:
        path = tmp_path / f"empty.{kind}"
        path.write_bytes(b"")
        with pytest.raises(ValueError, match=r"^Expected a readable .*check the file\.$"):
            read_catalog(path)
    for kind in ("parquet", "fits", "vot", "h5"):
        path = tmp_path / f"foreign.{kind}"
        path.write_text("ra,dec\n1,2\n" * 400)
        with pytest.raises(ValueError, match=r"^Expected a readable"):
            read_catalog(path)


@pytest.mark.filterwarnings("ignore:Error validating header")
@pytest.mark.parametrize("kind", ["parquet", "fits", "ecsv", "vot", "h5"])
def test_truncated_files(tmp_path, kind):
    rng = np.random.default_rng(1)
    path = tmp_path / f"a.{kind}"
    Catalog.from_phase_space(rng.normal(size=(2000, 3)), rng.normal(size=(2000, 3))).write(path)
    whole = path.read_bytes()
    for part in (0.9, 0.5, 0.01):
        path.write_bytes(whole[: int(part * len(whole)) - 3])
        with pytest.raises(ValueError, match=rf"^Expected a readable .* file, got a.{kind}"):
            read_catalog(path)


def test_empty_tables(tmp_path):
    (tmp_path / "a.csv").write_text("ra_deg,dec_deg\n")
    with pytest.raises(ValueError, match=r"^Expected a table with at least one star"):
        read_catalog(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"^Expected a table with at least one star"):
        Catalog(Table())


def test_nothing_is_overwritten_unasked(tmp_path):
    stars = gaia_catalog()
    for kind in ENDINGS:
        path = tmp_path / f"a.{kind}"
        path.write_text("precious")
        with pytest.raises(FileExistsError, match=r"which exists; pass overwrite=True"):
            stars.write(path)
        if kind != "parquet":
            with pytest.raises(ValueError, match=r"^Expected columns that .* can hold, .*datetime64.* column day"):
                stars.with_columns({"day": np.zeros(3, "M8[D]")}).write(path, overwrite=True)
        assert path.read_text() == "precious"
        stars.write(path, overwrite=True)
        assert_same(read_catalog(path), stars)
    with pytest.raises(FileNotFoundError, match=r"make it first"):
        stars.write(tmp_path / "no" / "a.csv")
    with pytest.raises(ValueError, match=r"^Expected columns that FITS can hold"):
        stars.with_columns({"name": np.array(["é", "b", "c"])}).write(tmp_path / "b.fits")
    assert not (tmp_path / "b.fits").exists()
    with pytest.raises(ValueError, match=r"Expected a file ending"):
        stars.write(tmp_path / "a.txt")


def test_fits_data_outlive_the_file(tmp_path):
    path = tmp_path / "a.fits"
    gaia_catalog().with_columns({"flag": np.uint8([1, 2, 3])}).write(path)
    stars = read_catalog(path)
    shutil.copy(path, tmp_path / "b.fits")
    path.write_bytes(b"\0" * path.stat().st_size)
    assert_same(stars, read_catalog(tmp_path / "b.fits"))
    assert all(stars[name].dtype.isnative for name in stars.columns)


def test_the_meta_of_a_written_parquet_file_can_be_read_by_others(tmp_path):
    gaia_catalog(source="test").write(tmp_path / "a.parquet")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.field("pmra").metadata == {b"unit": b"mas / yr"}
    assert json.loads(schema.metadata[b"CLRVIEW"])["meta"] == {"source": "test"}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), pd.DataFrame(GAIA))


def test_rave_tgas():
    from importlib.resources import files

    stars = read_catalog(files("clearview") / "data" / "rave_tgas.parquet")
    assert len(stars) == 19_864
    assert stars["parallax"].min() > 3.333
    assert np.count_nonzero(np.abs(stars["radial_velocity"]) > 300) == 106
    assert isinstance(stars.report, tuple)
    assert CutReport("a", 3, 1).removed == 2
