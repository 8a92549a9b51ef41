"""Files of every kind: nothing is lost on a round trip, foreign layouts are understood, bad files are refused."""

import gzip
import json
import struct
import tracemalloc
from base64 import b64encode
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable.tree import TableElement
from astropy.table import Column, MaskedColumn, QTable, Table
from pyarrow import csv

from clearview.catalogs import Box, Catalog, Finite, read_catalog
from clearview.catalogs.formats import _FORMATS

KINDS = {"Parquet": "parquet", "FITS": "fits", "CSV": "ecsv", "VOTable": "vot", "HDF5": "h5"}
HOLDS = {kind.name: (kind.holds or "b1 u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8 U").split() for kind in _FORMATS.values()}


def stars_of(codes, masks=True):
    """Three stars with a column of each type, its extreme values, and (integers) one with a missing value."""
    table = Table({"ra": [0.0, 359.999999999999, 1e-300] * u.deg, "pm_phi1": np.float32([1, -2, 3]) * u.mas / u.yr})
    table["phi2"] = Column([-90.0, 0.1 + 0.2, np.nan], unit="deg")
    for code in codes:
        values = np.array(["α Lyr", "", 'a "b", c\\'] if code == "U" else [1, 0, 1])
        values = values if code == "U" else values.astype(code)
        if code[0] in "iu":
            values[:2] = np.iinfo(code).min, np.iinfo(code).max
        if code[0] == "f":
            values = np.array([-np.inf, np.finfo(code).tiny, np.pi], code)
        table[f"a_{code}"] = values
        if masks and code[0] in "iub":
            table[f"m_{code}"] = MaskedColumn(values, mask=[False, True, False])
    return Catalog.from_table(table, units={"phi2": "deg"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_survives(tmp_path, kind):
    codes = [code for code in HOLDS[kind] if not (kind == "FITS" and code == "U")]
    stars = stars_of(codes, masks=kind != "FITS")
    if kind == "FITS":
        text = np.array(["a", "", "c d"])
        stars = stars.with_columns({"a_U": text, "m_i8": MaskedColumn([-(2**63), 1, 2**63 - 1], mask=[0, 1, 0])})
        stars = stars.with_columns({"k_i8": MaskedColumn([999999, 1, 3], mask=[0, 1, 0])})  # astropy's own stand-in
    odd = Column([1.0, 2.0, 3.0], unit=u.Unit("blob", parse_strict="silent"))
    flux = Column([1.0, 2.0, 3.0], unit=u.electron / u.s)
    stars = stars.with_columns({"odd": odd, "flux": flux, "n": np.ones(3) * u.one}, meta={"a": [1]})
    stars = stars.with_columns({"logg": Column([1.0, 2, 3], unit=u.dex(u.cm / u.s**2))})
    stars = stars.select(Finite("ra"))
    path = tmp_path / f"stars.{KINDS[kind]}"
    for _ in range(2):  # what was read can be written again
        stars.write(path, overwrite=True)
        again = read_catalog(path)
        assert again.columns == stars.columns
        assert again.report == stars.report
        assert again.meta["a"] == [1]
        for name in stars.columns:
            assert str(again.unit(name)) == str(stars.unit(name)), name
            np.testing.assert_array_equal(again[name], stars[name], strict=again[name].dtype.kind != "U")
            assert np.array_equal(np.ma.getmaskarray(again[name]), np.ma.getmaskarray(stars[name])), name
        assert again.digest(stars.columns) == stars.digest(stars.columns)
        stars = again


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("FITS", Column(np.array([1, 2, 3], np.int8))),  # FITS would make truth values of these
        ("FITS", MaskedColumn([True, False, True], mask=[1, 0, 0])),
        ("FITS", MaskedColumn(np.array([1, 2, 3], np.uint16), mask=[1, 0, 0])),
        ("FITS", Column(np.array([1, 2, 3], np.float16))),
        ("VOTable", Column(np.array([1, 2, 3], np.uint64))),
        ("VOTable", Column(["a", "b", "\N{GLOWING STAR}"])),
        *((kind, Column([1j, 2, 3])) for kind in KINDS),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, kind, column):
    path = tmp_path / f"stars.{KINDS[kind]}"
    with pytest.raises(ValueError, match=rf"^Expected columns that {kind} can hold, .*; choose another"):
        stars_of([]).with_columns({"odd": column}).write(path)
    assert not list(tmp_path.iterdir())


def test_names_with_a_slash_are_no_hdf5_groups(tmp_path):
    with pytest.raises(ValueError, match=r"a name with a slash, S/N"):
        stars_of([]).with_columns({"S/N": [1, 2, 3]}).write(tmp_path / "a.h5")


def test_objects_are_no_measurements():
    with pytest.raises(ValueError, match=r"^Expected one value per star in column a, got tuple; leave it out"):
        Catalog.from_table(Table({"a": Column([(1, 2), (3,)], dtype=object)}))
    texts = Catalog.from_table(Table({"a": Column(["x", None, "yz"], dtype=object)}))
    assert texts["a"].tolist() == ["x", "", "yz"]
    missing = Catalog.from_table(Table({"a": MaskedColumn(["x", "y"], mask=[False, True])}))
    assert type(missing["a"]) is np.ndarray
    assert missing["a"].tolist() == ["x", ""]


# Provenance


def test_the_history_is_kept_and_does_not_grow(tmp_path):
    table = Table({"source_id": [1, 2], "ra": [10.0, 20], "dec": [5.0, 6], "pmra": [1.0, 2], "pmdec": [3.0, 4]})
    table.meta["RELEASE"] = "gaiadr3"
    table.write(tmp_path / "query.fits")
    stars = read_catalog(tmp_path / "query.fits", units="gaia")
    size = (tmp_path / "query.fits").stat().st_size
    first = {"name": "query.fits", "format": "FITS", "rows": 2, "bytes": size}
    assert stars.meta["file"] == first
    assert stars.meta["release"] == "Gaia DR3"
    assert "origin" not in stars.meta
    assert "  from: query.fits (FITS, 2 rows); Gaia DR3\n" in f"{stars!r}\n"
    stars = stars.to_stream("GD-1", reflex_distance=8).to_patch((148.6, 24.2)).select(Box(ra=(None, 15)))
    told = {key: value for key, value in stars.meta.items() if key not in ("file", "origin")}
    lengths = []
    for i, ending in enumerate(2 * list(KINDS.values())):
        path = tmp_path / f"{i}.{ending}"
        stars.write(path)
        stars = read_catalog(path)
        assert stars.meta == {
            **told,
            "file": {"name": path.name, "format": (*KINDS, *KINDS)[i], "rows": 1, "bytes": path.stat().st_size},
            "origin": first,
        }
        lengths.append(len(json.dumps({**stars.meta, "file": None})))
        assert len(stars.report) == 1
    assert len(set(lengths)) == 1
    assert stars.meta["patch"] == {"center": [148.6, 24.2]}
    assert stars.meta["stream"]["reflex"] == {"distance": 8.0, "sun": stars.sun.to_dict()}
    for shown in (repr(stars), stars._repr_html_()):
        assert "from: 9.h5 (HDF5, 1 rows); first query.fits (FITS, 2 rows); Gaia DR3; lon, lat around ra, dec" in shown
    assert "phi1, phi2 along GD-1, the Sun's motion taken out of pm_phi1, pm_phi2 at 8 kpc" in repr(stars)
    assert str(tmp_path) not in json.dumps(stars.meta)


def test_provenance_of_others_is_no_trap(tmp_path):
    said = {
        "file": "x",
        "origin": "y",
        "stream": "GD-1",
        "patch": "z",
        "source": "Gaia DR2 and Gaia EDR3",
        "distance": "d",
    }
    pq.write_table(pa.table({"n": [1]}).replace_schema_metadata(said), tmp_path / "a.parquet")
    stars = read_catalog(tmp_path / "a.parquet")
    assert "release" not in stars.meta  # two are named
    assert stars.meta["file"]["name"] == "a.parquet"
    assert stars.meta["stream"] == "GD-1"
    assert "from: a.parquet (Parquet, 1 rows); Gaia DR2 and Gaia EDR3" in repr(stars)
    assert "from" not in repr(Catalog(Table({"n": [1]})))
    Catalog(Table({"n": [1]})).write(tmp_path / "gaia_dr3.h5")
    assert set(read_catalog(tmp_path / "gaia_dr3.h5").meta) == {"file"}  # a name is no proof


def test_galactocentric_parameters_are_shown():
    table = Table(
        {"ra_deg": [10.0], "dec_deg": [0.0], "parallax_mas": [0.5], "pmra_masyr": [0.0], "pmdec_masyr": [0.0]}
    )
    table["vrad_kms"] = 0.0
    stars = Catalog.from_table(table).to_galactocentric()
    assert "from: x, y, z by parallax with the Sun at 8.122 kpc" in repr(stars)


# Digests


def test_digest_of_columns():
    stars = stars_of(["i8", "f4", "U"])
    names = ["ra", "a_i8", "m_i8", "a_U"]
    digest = stars.digest(names)
    assert len(digest) == 16
    assert digest == stars.digest(tuple(names)) == stars.with_columns({"other": [1, 2, 3]}).digest(names)
    assert digest != stars.digest(["a_i8", "ra", "m_i8", "a_U"])
    others = [
        {"ra": np.nextafter(stars["ra"], 1) * u.deg},
        {"a_i8": stars["a_i8"].astype(float)},
        {"a_i8": Column(stars["a_i8"], unit="m")},
        {"m_i8": stars["m_i8"].data},
        {"a_U": np.array(["α Lyr", "", "a"])},
    ]
    assert len({digest, *(stars.with_columns(other).digest(names) for other in others)}) == 6
    same = MaskedColumn(np.where(stars["m_i8"].mask, 5, stars["m_i8"].data), mask=stars["m_i8"].mask)
    assert stars.with_columns({"m_i8": same}).digest(names) == digest
    converted = Catalog.from_table(Table({"phi1": [1.0] * u.deg})).digest("phi1")
    assert Catalog.from_table(Table({"phi1": [60.0] * u.arcmin})).digest(["phi1"]) == converted
    assert Catalog.from_table(Table({"a": [-0.0, np.nan]})).digest("a") == Catalog.from_table(
        Table({"a": [0.0, -np.nan]})
    ).digest("a")
    with pytest.raises(KeyError, match=r"got none for rra"):
        stars.digest(["rra"])
    with pytest.raises(ValueError, match=r"Expected at least one column"):
        stars.digest([])


# Only what is asked for is read

COLUMNS, ROWS = 20, 100_000


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Twenty columns of 800 kB, in every kind of file that is read by columns."""
    folder, rng = tmp_path_factory.mktemp("wide"), np.random.default_rng(0)
    table = Table({f"c{i}": rng.normal(size=ROWS) for i in range(COLUMNS)})
    stars = Catalog.from_table(table)
    for ending in ("parquet", "fits", "h5"):
        stars.write(folder / f"a.{ending}")
    table.write(folder / "rows.h5", path="table", serialize_meta=True)
    csv.write_csv(pa.table({name: stars[name] for name in stars.columns}), folder / "a.csv")
    stars.take(np.arange(ROWS) < 2000).write(folder / "a.vot")
    return folder


POOLS = []  # arrow crashes if one goes before the memory that it gave


def peak(call):
    """The most bytes that numpy and arrow held at once, beyond those before."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool := pa.proxy_memory_pool(before))
    POOLS.append(pool)
    tracemalloc.start()
    try:
        result = call()
        return result, tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


@pytest.mark.parametrize("name", ["a.parquet", "a.fits", "a.h5", "rows.h5", "a.csv"])
def test_columns_left_out_take_no_memory(wide, name):
    read_catalog(wide / name, columns=["c3"])  # what is imported late does not count
    stars, few = peak(lambda: read_catalog(wide / name, columns=["c3", "c7"]))
    whole, all_ = peak(lambda: read_catalog(wide / name))
    assert stars.columns == ("c3", "c7")
    np.testing.assert_array_equal(stars["c7"], whole["c7"])
    assert all_ > COLUMNS * ROWS * 8
    # The text of a CSV file passes by in blocks, of which some wait; the other files are read by columns or some rows.
    assert few < ((wide / name).stat().st_size * 0.75 if name == "a.csv" else 6 * ROWS * 8)


@pytest.mark.parametrize("name", ["a.parquet", "a.h5"])
def test_columns_left_out_are_not_read_from_disk(wide, tmp_path, name):
    """All bytes of the other columns are destroyed, and the one asked for is read all the same."""
    good, path = read_catalog(wide / name), tmp_path / name
    spoilt = bytearray((wide / name).read_bytes())
    if name.endswith("h5"):
        with h5py.File(wide / name) as file:
            places = [(file[f"c{i}"].id.get_offset(), 8 * ROWS) for i in range(COLUMNS) if i != 3]
    else:
        meta = pq.ParquetFile(wide / name).metadata
        chunks = [meta.row_group(g).column(i) for g in range(meta.num_row_groups) for i in range(COLUMNS) if i != 3]
        places = [(chunk.data_page_offset, chunk.total_compressed_size) for chunk in chunks]
    for start, length in places:
        spoilt[start : start + length] = b"\xff" * length
    path.write_bytes(spoilt)
    np.testing.assert_array_equal(read_catalog(path, columns=["c3"])["c3"], good["c3"])
    try:
        other = read_catalog(path, columns=["c4"])["c4"]
    except ValueError:
        return
    assert not np.array_equal(other, good["c4"])


def test_columns_left_out_of_a_votable_are_not_kept(wide, monkeypatch):
    kept = []
    convert = TableElement.create_arrays
    monkeypatch.setattr(
        TableElement, "create_arrays", lambda self, *a, **k: kept.append(self) or convert(self, *a, **k)
    )
    assert read_catalog(wide / "a.vot", columns=["c3", "c1"]).columns == ("c3", "c1")
    assert [field.name for element in kept for field in element.fields] == ["c1", "c3"]


def test_no_columns_are_no_catalogue(wide):
    with pytest.raises(ValueError, match=r"^Expected at least one column in columns="):
        read_catalog(wide / "a.h5", columns=[])


# VOTable

GAIA_FIELDS = """
   <FIELD datatype="char" name="DESIGNATION" arraysize="*" ucd="meta.id;meta.main"/>
   <FIELD datatype="long" name="source_id" ucd="meta.id"><DESCRIPTION>Unique source identifier</DESCRIPTION></FIELD>
   <FIELD datatype="double" name="ra" ref="GAIADR3" ucd="pos.eq.ra;meta.main" unit="{angle}"/>
   <FIELD datatype="double" name="pmra" unit="{motion}"/>
   <FIELD datatype="float" name="parallax" unit="{small}"/>
   <FIELD datatype="float" name="radial_velocity" unit="{speed}"/>
   <FIELD datatype="float" name="phot_g_mean_flux" unit="'electron'.s**-1"/>
   <FIELD datatype="float" name="logg_gspphot" unit="log(cm.s**-2)"/>
   <FIELD datatype="short" name="rv_nb_transits"/>
   <FIELD datatype="boolean" name="has_rvs"/>
   <FIELD datatype="unicodeChar" name="flag" arraysize="3"/>"""
DR3 = {"angle": "deg", "motion": "mas.yr**-1", "small": "mas", "speed": "km.s**-1"}
DR1 = {"angle": "Angle[deg]", "motion": "Angular Velocity[mas/year]", "small": "Angle[mas]", "speed": "Velocity[km/s]"}
ROWS_TEXT = """
   <TR><TD>Gaia DR3 4611686018427387905</TD><TD>4611686018427387905</TD><TD>45.5</TD><TD>-1.25</TD><TD>0.5</TD><TD/>
     <TD>100.5</TD><TD>4.5</TD><TD></TD><TD>T</TD><TD>α</TD></TR>
   <TR><TD>Gaia DR3 2</TD><TD>9007199254740993</TD><TD>359.5</TD><TD/><TD>NaN</TD><TD>-12.5</TD>
     <TD/><TD/><TD>7</TD><TD>F</TD><TD></TD></TR>"""


def binary2(*rows):
    """Rows as the archive sends them: bits of the missing values, then big-endian numbers."""
    stream = b""
    for missing, name, *numbers, flag, text in rows:
        stream += struct.pack(">H", missing) + struct.pack(">I", len(name)) + name.encode()
        stream += struct.pack(">qddffffh", *numbers) + flag.encode() + text.ljust(3, "\0").encode("utf-16-be")
    return b64encode(stream).decode()


BINARY2 = binary2(
    (0b0000010010000000, "Gaia DR3 4611686018427387905", 2**62 + 1, 45.5, -1.25, 0.5, 9, 100.5, 4.5, 9, "T", "α"),
    (0b0001001100000000, "Gaia DR3 2", 2**53 + 1, 359.5, 9, np.nan, -12.5, 9, 9, 7, "F", ""),
)


def gaia_votable(data, units, version="1.4", more=""):
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="{version}" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
 <RESOURCE type="results">
  <INFO name="QUERY_STATUS" value="OK"/>
  <INFO name="QUERY" value="SELECT TOP 2 * FROM gaiadr3.gaia_source"><![CDATA[SELECT TOP 2]]></INFO>
  <COOSYS ID="GAIADR3" epoch="J2016.0" system="ICRS"/>
  <TABLE>{GAIA_FIELDS.format(**units)}
   <DATA>{data}</DATA>
  </TABLE>{more}
 </RESOURCE>
</VOTABLE>"""


@pytest.mark.parametrize("units", [DR3, DR1])
@pytest.mark.parametrize("version", ["1.3", "1.4"])
@pytest.mark.parametrize(
    "data",
    [f"<TABLEDATA>{ROWS_TEXT}</TABLEDATA>", f"<BINARY2><STREAM encoding='base64'>{BINARY2}</STREAM></BINARY2>"],
    ids=["tabledata", "binary2"],
)
def test_gaia_votable(tmp_path, data, version, units):
    (tmp_path / "result.vot").write_text(gaia_votable(data, units, version), encoding="utf-8")
    stars = read_catalog(tmp_path / "result.vot")
    assert len(stars) == 2
    np.testing.assert_array_equal(stars["source_id"], np.array([2**62 + 1, 2**53 + 1]), strict=True)
    np.testing.assert_array_equal(stars["ra"], [45.5, 359.5])
    np.testing.assert_array_equal(stars["pmra"], [-1.25, np.nan])
    np.testing.assert_array_equal(stars["parallax"], np.array([0.5, np.nan], np.float32), strict=True)
    np.testing.assert_array_equal(stars["radial_velocity"], np.array([np.nan, -12.5], np.float32), strict=True)
    assert stars["rv_nb_transits"].mask.tolist() == [True, False]
    assert stars["rv_nb_transits"].dtype == np.int16
    assert stars["has_rvs"].tolist() == [True, False]
    assert stars["DESIGNATION"].tolist() == ["Gaia DR3 4611686018427387905", "Gaia DR3 2"]
    assert stars["flag"].tolist() == ["α", ""]
    expected = {"ra": u.deg, "pmra": u.mas / u.yr, "parallax": u.mas, "radial_velocity": u.km / u.s}
    assert {name: stars.unit(name) for name in expected} == expected
    assert stars.meta["release"] == "Gaia DR3"
    assert stars.meta["QUERY"] == "SELECT TOP 2 * FROM gaiadr3.gaia_source"
    assert stars.meta["COOSYS"] == "GAIADR3 ICRS J2016.0"
    part = read_catalog(tmp_path / "result.vot", columns=["pmra", "source_id"])
    assert part.columns == ("pmra", "source_id")
    assert part["source_id"][0] == 2**62 + 1
    for ending in (*KINDS.values(), "csv"):
        if ending != "fits":  # its texts are ASCII
            stars.write(tmp_path / f"b.{ending}")
            assert read_catalog(tmp_path / f"b.{ending}").digest(stars.columns) == stars.digest(stars.columns)


def test_zipped_votable_by_its_bytes(tmp_path):
    text = gaia_votable(f"<TABLEDATA>{ROWS_TEXT}</TABLEDATA>", DR3).encode()
    (tmp_path / "a.vot.gz").write_bytes(gzip.compress(text))
    (tmp_path / "b.vot.gz").write_bytes(text)  # browsers unzip without renaming
    assert read_catalog(tmp_path / "a.vot.gz").digest(["ra"]) == read_catalog(tmp_path / "b.vot.gz").digest(["ra"])


def test_a_votable_without_units(tmp_path):
    bare = gaia_votable(f"<TABLEDATA>{ROWS_TEXT}</TABLEDATA>", dict.fromkeys(DR3, ""))
    (tmp_path / "a.xml").write_text(bare, encoding="utf-8")
    with pytest.raises(ValueError, match=r"^Expected a unit for ra, pmra, parallax, radial_velocity"):
        read_catalog(tmp_path / "a.xml")
    assert read_catalog(tmp_path / "a.xml", units="gaia").unit("pmra") == u.mas / u.yr


# HDF5


def test_astropy_hdf5(tmp_path):
    table = QTable(
        {"parallax": np.float32([1, 2]) * u.arcsec / 1000, "place": SkyCoord([1, 2] * u.deg, [3, 4] * u.deg)}
    )
    table["source_id"] = MaskedColumn([2**62 + 1, 5], mask=[False, True])
    table["name"] = ["a", "bé"]
    table["ok"] = [True, False]
    table.meta["source"] = "somewhere"
    table.write(tmp_path / "a.h5", path="deep/table", serialize_meta=True)
    stars = read_catalog(tmp_path / "a.h5", names={"ra": "place.ra", "dec": "place.dec"})
    np.testing.assert_array_equal(stars["parallax"], np.float32([1, 2]), strict=True)
    assert stars["ra"].tolist() == [1, 2]
    assert stars["source_id"].tolist() == [2**62 + 1, None]
    assert stars["name"].tolist() == ["a", "bé"]
    assert stars["ok"].tolist() == [True, False]
    assert stars.meta["source"] == "somewhere"
    part = read_catalog(tmp_path / "a.h5", columns=["source_id"])
    assert part.columns == ("source_id",)
    assert part["source_id"].mask.tolist() == [False, True]


def test_hdf5_groups(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.attrs["release"] = np.bytes_(b"Gaia EDR3")
        group = file.create_group("stars")
        group["ra"], group["pm"], group["name"] = [1.0, 2], np.float32([3, 4]), [b"a", b"b"]
        group["ra"].attrs["units"], group["pm"].attrs["unit"] = ["deg"], np.bytes_(b"arcsec/yr")
        group["scalar"] = 3.0
    stars = read_catalog(tmp_path / "a.hdf5", names={"pmra": "pm"})
    assert stars.columns == ("name", "pmra", "ra")
    assert stars["pmra"].tolist() == [3000, 4000]
    assert stars["name"].tolist() == ["a", "b"]
    assert stars.meta["release"] == "Gaia EDR3"


def test_hdf5_rows_of_other_writers(tmp_path):
    rows = np.array([(1, 2.5, b"a", 10.0), (2, 3.5, b"b", 11.0)], "i8, >f4, S1, f8")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["rows"] = rows
        text = np.array([("é", 1)], [("name", h5py.string_dtype()), ("n", int)])
        file["text"] = text
    stars = read_catalog(tmp_path / "a.h5", table="rows", names={"ra": "f3"}, units={"ra": "deg"})
    assert stars["f1"].tolist() == [2.5, 3.5]
    assert stars["f1"].dtype.isnative
    assert stars["f2"].tolist() == ["a", "b"]
    assert stars["ra"].tolist() == [10, 11]
    assert read_catalog(tmp_path / "a.h5", table="/text/")["name"].tolist() == ["é"]


def test_odd_columns_of_an_hdf5_group(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"], file["k"], file["matrix"] = [1, 2, 3], [1, 2], np.ones((3, 2))
    with pytest.raises(
        ValueError, match=r"^Expected columns of one length in a.h5, got a \(3\), k \(2\), matrix \(3\)"
    ):
        read_catalog(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"^Expected one value per star in column matrix, got .*shape \(3, 2\)"):
        read_catalog(tmp_path / "a.h5", columns=["a", "matrix"])
    assert read_catalog(tmp_path / "a.h5", columns="k")["k"].tolist() == [1, 2]


def test_a_pandas_frame_in_hdf5_says_what_to_do(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:  # as DataFrame.to_hdf makes them
        for layout in ("fixed", "appendable"):
            file.create_group(layout).attrs["pandas_type"] = b"frame"
        file["fixed/axis0"], file["fixed/block0_values"] = [b"ra"], np.ones((2, 1))
        file["appendable/table"] = np.ones(2, "i8, f8")
        file["good/ra"] = [1.0, 2]
        file["good/ra"].attrs["unit"] = "deg"
    for frame in ("fixed", "appendable"):
        with pytest.raises(
            ValueError, match=r"^Expected an astropy Table or a group .* pandas\.read_hdf .*from_pandas"
        ):
            read_catalog(tmp_path / "a.h5", table=frame)
    assert len(read_catalog(tmp_path / "a.h5", table="good")) == 2


def test_a_header_of_any_length(tmp_path):
    stars = stars_of([]).with_columns({}, meta={"mock": {"word": "é" * 100_000}})
    for ending in KINDS.values():
        stars.write(tmp_path / f"a.{ending}")
        assert read_catalog(tmp_path / f"a.{ending}").meta["mock"] == stars.meta["mock"]


# FITS


def test_fits_of_others(tmp_path):
    """Scaled and unsigned numbers, a missing value by its stored number, padded texts, keywords."""
    scaled = fits.Column("mag", "I", array=np.int16([1, 2, 4]), null=4, unit="mag")
    plain = fits.Column("id", "K", array=np.array([2**62 + 1, -1, 3]), null=-1)
    count = fits.Column("n", "J", array=np.array([1, 2, 2**32 - 1], np.uint32), bzero=2**31)
    text = fits.Column("name", "6A", array=np.array(["a   ", "bc", ""]))
    hdu = fits.BinTableHDU.from_columns([scaled, plain, count, text], name="STARS")
    hdu.header["ORIGIN"], hdu.header["HISTORY"] = "somewhere", "made by hand"
    hdu.header["TSCAL1"], hdu.header["TZERO1"] = 0.5, 10.0
    hdu.writeto(tmp_path / "a.fits")
    stars = read_catalog(tmp_path / "a.fits")
    np.testing.assert_array_equal(stars["mag"], [10.5, 11, np.nan])
    assert stars["id"].tolist() == [2**62 + 1, None, 3]
    assert stars["n"].tolist() == [1, 2, 2**32 - 1]
    assert stars["name"].tolist() == ["a", "bc", ""]
    assert (stars.meta["ORIGIN"], stars.meta["HISTORY"]) == ("somewhere", ["made by hand"])
    assert not {"TTYPE1", "NAXIS1", "TSCAL1"} & set(stars.meta)


def test_ascii_fits(tmp_path):
    columns = [fits.Column("ra", "F8.3", array=[1.5, 2.5], unit="deg", ascii=True)]
    fits.TableHDU.from_columns(columns).writeto(tmp_path / "a.fit")
    assert read_catalog(tmp_path / "a.fit")["ra"].tolist() == [1.5, 2.5]


# ECSV


def test_ecsv_of_astropy(tmp_path):
    table = QTable({"distance": [1.0, 2] * u.pc * 1000, "place": SkyCoord([1, 2] * u.deg, [3, 4] * u.deg)})
    table["source_id"] = MaskedColumn([2**62 + 1, 5], mask=[False, True])
    table["name"] = ["two words", 'a "quote"\nand a line']
    table["ok"] = MaskedColumn([True, False], mask=[True, False])
    table.meta["source"] = "somewhere"
    table["shape"] = [[1, 2], [3, 4]]
    for delimiter in (" ", ","):
        table.write(tmp_path / "a.ecsv", delimiter=delimiter, overwrite=True)
        with pytest.raises(ValueError, match=r"^Expected one value per star in column shape, got int64\[2\]; leave"):
            read_catalog(tmp_path / "a.ecsv")
        stars = read_catalog(tmp_path / "a.ecsv", columns=["distance", "place.ra", "source_id", "name", "ok"])
        assert stars["distance"].tolist() == [1, 2]
        assert stars.unit("place.ra") == u.deg
        assert stars["source_id"].tolist() == [2**62 + 1, None]
        assert stars["name"].tolist() == table["name"].tolist()
        assert stars["ok"].tolist() == [None, False]
        assert stars.meta["source"] == "somewhere"


# CSV


def test_types_that_only_later_rows_tell(tmp_path):
    """More rows than arrow looks at first, then a fraction, a text and a number where none was."""
    rows = ["n,label,late_mas", *["4611686018427387905,1,"] * 30_000, "2.5,x,7"]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    stars = read_catalog(tmp_path / "a.csv")
    assert stars["n"][-1] == 2.5
    assert stars["label"][[0, -1]].tolist() == ["1", "x"]
    assert np.isnan(stars["late"][0])
    assert stars["late"][-1] == 7
    part = read_catalog(tmp_path / "a.csv", columns=["late", "n"])
    np.testing.assert_array_equal(part["n"], stars["n"])
    (tmp_path / "b.csv").write_text("\n".join([*rows[:-1], "1,2,3,4"]))
    with pytest.raises(ValueError, match=r"^Expected a readable CSV file"):
        read_catalog(tmp_path / "b.csv")


# Bad files


def several(folder, kind):
    """A file with the tables one (a) and two (b), and how they are named."""
    path = folder / f"several.{KINDS[kind]}"
    if kind == "FITS":
        tables = [fits.BinTableHDU(Table({n: [1]}), name=name) for n, name in (("a", "one"), ("k", "two"))]
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path)
        return path, ("ONE", "TWO")
    if kind == "HDF5":
        Table({"a": [1]}).write(path, path="one")
        with h5py.File(path, "a") as file:
            file["group/k"] = [1]
        return path, ("one", "group")
    tables = "".join(
        f"<TABLE name='{name}'><FIELD name='{n}' datatype='int'/>"
        "<DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA></TABLE>"
        for n, name in (("a", "one"), ("k", "two"))
    )
    path.write_text(f"<VOTABLE><RESOURCE>{tables}</RESOURCE></VOTABLE>")
    return path, ("one", "two")


@pytest.mark.parametrize("kind", ["FITS", "VOTable", "HDF5"])
def test_several_tables(tmp_path, kind):
    path, (one, two) = several(tmp_path, kind)
    both = rf"(?=.*\b{one}\b)(?=.*\b{two}\b)"
    with pytest.raises(
        ValueError, match=rf"^Expected one table of {path.name} among {both}.* got 2 of them; choose with"
    ):
        read_catalog(path)
    with pytest.raises(ValueError, match=rf"^Expected one table of {path.name} among {both}.* got 'three'; choose"):
        read_catalog(path, table="three")
    assert read_catalog(path, table=one).columns == ("a",)
    assert read_catalog(path, table=two, columns=["k"]).columns == ("k",)


@pytest.mark.parametrize("ending", ["csv", "ecsv", "parquet"])
def test_a_file_of_one_table_has_no_choice(tmp_path, ending):
    stars_of([]).write(tmp_path / f"a.{ending}")
    with pytest.raises(ValueError, match=r"^Expected no table= for a\..*, got 'x'; leave it out"):
        read_catalog(tmp_path / f"a.{ending}", table="x")


def test_a_file_without_a_table(tmp_path):
    fits.PrimaryHDU(np.ones((2, 2))).writeto(tmp_path / "a.fits")
    h5py.File(tmp_path / "a.h5", "w").close()
    (tmp_path / "a.vot").write_text("<VOTABLE><RESOURCE/></VOTABLE>")
    for ending in ("fits", "h5", "vot"):
        with pytest.raises(ValueError, match=rf"^Expected a table of stars, got none in a.{ending}"):
            read_catalog(tmp_path / f"a.{ending}")
    (tmp_path / "a.xml").write_text("<?xml version='1.0'?><bins><layer id='0'/></bins>")
    with pytest.raises(ValueError, match=r"^Expected a VOTable in a.xml, got XML that begins with bins"):
        read_catalog(tmp_path / "a.xml")


def test_another_kind_than_the_name_tells(tmp_path):
    for kind, ending in KINDS.items():
        stars_of([]).write(tmp_path / f"a.{ending}")
        for other, wrong in KINDS.items():
            if other == kind:
                continue
            path = tmp_path / f"{kind}.{wrong}"
            path.write_bytes((tmp_path / f"a.{ending}").read_bytes())
            expected = r"^Expected a readable" if kind == "CSV" else rf"^Expected a {other} file .* got {kind} inside"
            with pytest.raises(ValueError, match=expected):
                read_catalog(path)


def test_empty_tables_of_each_kind(tmp_path):
    nothing = Table({"a": np.empty(0)})
    nothing.write(tmp_path / "a.fits")
    nothing.write(tmp_path / "a.ecsv")
    nothing.write(tmp_path / "a.vot", format="votable")
    nothing.write(tmp_path / "a.h5", path="t")
    nothing.to_pandas().to_parquet(tmp_path / "a.parquet")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["a"] = np.empty(0)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError, match=r"^Expected a table with at least one star"):
            read_catalog(path)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_columns_and_units_of_each_kind(tmp_path, kind):
    path = tmp_path / f"a.{KINDS[kind]}"
    table = Table({"pmra": [1.0, np.inf, np.nan] * u.km / u.s, "n": [1, 2, 3]})
    if kind == "Parquet":
        field = pa.field("pmra", pa.float64(), metadata={"unit": "km/s"})
        pq.write_table(pa.table([table["pmra"].data, table["n"].data], schema=pa.schema([field, ("n", "i8")])), path)
    else:
        how = {"HDF5": {"path": "t", "serialize_meta": True}, "VOTable": {"format": "votable"}}.get(kind, {})
        table.write(path, **how)
    with pytest.raises(ValueError, match=r"^Expected pmra in mas / yr or a unit near it, got km / s"):
        read_catalog(path)
    with pytest.raises(KeyError, match=r"got 'pmrra'; did you mean 'pmra'"):
        read_catalog(path, columns=["pmrra"])
    stars = read_catalog(path, units={"pmra": "mas/yr"})
    np.testing.assert_array_equal(stars["pmra"], [1, np.inf, np.nan])
    assert len(stars.select(Finite("pmra"))) == 1


def test_a_damaged_header_of_ours(tmp_path):
    for header in ("{", "[]", '{"meta": {}}', '{"meta": {}, "report": [[]]}'):
        pq.write_table(pa.table({"n": [1]}).replace_schema_metadata({"CLRVIEW": header}), tmp_path / "a.parquet")
        with pytest.raises(ValueError, match=r"^Expected ClearView's header as JSON"):
            read_catalog(tmp_path / "a.parquet")


def test_no_part_of_a_file_is_left_behind(tmp_path, monkeypatch):
    stars, path = stars_of([]), tmp_path / "a.h5"
    stars.write(path)
    before = path.read_bytes()

    def fail(*args):
        Path(args[1]).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("clearview.catalogs.formats.Format.write", property(lambda self: fail))
    with pytest.raises(OSError, match=r"disk full"):
        stars.write(path, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
