"""Kinds of bad catalogue files: name -> what writes the file into a folder and gives the call that must be refused."""

import gzip
import io
import json
import pickle
import zipfile
from functools import lru_cache, partial

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from clearview.catalogs import Catalog, read_catalog
from clearview.catalogs.columns import HEADER

N = 50
FORMATS = ("parquet", "fits", "vot", "ecsv", "h5")


@lru_cache
def catalog(n: int = N) -> Catalog:
    """A few stars as of the Gaia archive."""
    rng = np.random.default_rng(4)
    mas = u.mas / u.yr
    return Catalog(Table({
        "source_id": 4_295_806_720 * 10**6 + np.arange(n),
        "ra": rng.uniform(0, 360, n) * u.deg, "dec": rng.uniform(-80, 80, n) * u.deg,
        "parallax": rng.uniform(0.3, 2, n) * u.mas, "parallax_error": rng.uniform(0.01, 0.05, n) * u.mas,
        "pmra": rng.normal(0, 5, n) * mas, "pmra_error": np.full(n, 0.02) * mas,
        "pmdec": rng.normal(0, 5, n) * mas, "pmdec_error": np.full(n, 0.02) * mas,
        "radial_velocity": rng.normal(0, 40, n) * u.km / u.s,
        "radial_velocity_error": np.full(n, 0.5) * u.km / u.s,
        "phot_g_mean_mag": rng.uniform(10, 14, n) * u.mag,
        "name": np.array([f"star {i}" for i in range(n)]),
    }), meta={"source": "a test"})  # fmt: skip


@lru_cache
def good(ending: str) -> bytes:
    """The bytes of a good file."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"good.{ending}"
        if ending == "csv":
            catalog().to_pandas().to_csv(path, index=False)
        else:
            catalog().write(path)
        return path.read_bytes()


UNITS = {name: str(catalog().unit(name)) for name in catalog().columns if catalog().unit(name)}


def read(content: bytes, ending: str, tmp, **how):
    """The reading of a file with this content."""
    path = tmp / f"bad.{ending}"
    path.write_bytes(content)
    return partial(read_catalog, path, **how)


def columns(tmp, ending="parquet", how=None, **values):
    """The reading of a file made of columns, for arrow or for pandas' CSV."""
    path = tmp / f"bad.{ending}"
    pq.write_table(pa.table(values), path)
    return partial(read_catalog, path, **(how or {}))


def text(content: str, ending="csv", encoding="utf-8", **how):
    return lambda tmp: read(content.encode(encoding), ending, tmp, **how)


def told(header):
    """A Parquet file whose header of ours says ``header``."""

    def make(tmp):
        table = pa.table({"ra": [1.0], "dec": [2.0]}).replace_schema_metadata({HEADER: header})
        pq.write_table(table, tmp / "bad.parquet")
        return partial(read_catalog, tmp / "bad.parquet", units="gaia")

    return make


def hdf5(fill, **how):
    def make(tmp):
        with h5py.File(tmp / "bad.h5", "w") as file:
            fill(file)
        return partial(read_catalog, tmp / "bad.h5", **how)

    return make


def fits_table(*made, header=(), **how):
    def make(tmp):
        hdu = fits.BinTableHDU.from_columns(list(made))
        hdu.header.update(dict(header))
        hdu.writeto(tmp / "bad.fits")
        return partial(read_catalog, tmp / "bad.fits", **how)

    return make


def swapped(ending: str, old: bytes, new: bytes, **how):
    """A good file with other bytes in one place."""
    assert good(ending).count(old) >= 1, (ending, old)
    return lambda tmp: read(good(ending).replace(old, new, 1), ending, tmp, **how)


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("stars.csv", "ra,dec\n1,2\n")
    return out.getvalue()


def _npy() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(6.0))
    return out.getvalue()


FOREIGN = {
    "a pickle": pickle.dumps({"ra": [1.0]}), "a zip archive": _zip(), "a .npy file": _npy(),
        "a PDF": b"%PDF-1.7\n%\xe2",
    "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(40), "zeros": bytes(4096),
        "random bytes": np.random.default_rng(0).bytes(999),
    "a line of words": b"hello world\n", "HTML": b"<!DOCTYPE html><html><body>503</body></html>\n",
    "gzip that is cut": gzip.compress(b"ra,dec\n" + b"1,2\n" * 999)[:40],
}  # fmt: skip

KINDS = {}
for _ending in (*FORMATS, "csv"):
    KINDS[f"{_ending}: empty"] = partial(read, b"", _ending)
    KINDS[f"{_ending}: no such file"] = lambda tmp, e=_ending: partial(read_catalog, tmp / f"none.{e}")
    KINDS[f"{_ending}: a folder"] = lambda tmp, e=_ending: (
        (tmp / f"a.{e}").mkdir() or partial(read_catalog, tmp / f"a.{e}")
    )
    for _what, _bytes in FOREIGN.items():
        KINDS[f"{_ending}: {_what}"] = partial(read, _bytes, _ending)
    for _other in FORMATS:
        if _other != _ending and {_other, _ending} != {"ecsv", "csv"}:
            KINDS[f"{_ending}: {_other} inside"] = lambda tmp, e=_ending, o=_other: read(good(o), e, tmp)
    KINDS |= {
        f"{_ending}: a column that is not there": lambda tmp, e=_ending: read(good(e), e, tmp, columns=["nope"]),
        f"{_ending}: no column asked for": lambda tmp, e=_ending: read(good(e), e, tmp, columns=[]),
        f"{_ending}: names= of a column that is not there": lambda tmp, e=_ending: read(
            good(e), e, tmp, names={"radial_velocity": "rv"}
        ),
        f"{_ending}: names= two for one column": lambda tmp, e=_ending: read(
            good(e), e, tmp, names={"pm_lon": "pmra", "pm_lat": "pmra"}, units=UNITS
        ),
        f"{_ending}: units= of a column that is not there": lambda tmp, e=_ending: read(
            good(e), e, tmp, units={**UNITS, "nope": "mas"}
        ),
        f"{_ending}: table= of one that is not there": lambda tmp, e=_ending: read(good(e), e, tmp, table="nope"),
        f"{_ending}: frame= unknown": lambda tmp, e=_ending: read(good(e), e, tmp, frame="galactic"),
    }
for _ending in ("parquet", "fits", "vot", "h5"):  # of text that ends early nothing tells
    for _share in (0.01, 0.3, 0.7, 0.9):
        KINDS[f"{_ending}: cut at {_share:.0%}"] = lambda tmp, e=_ending, s=_share: read(
            good(e)[: int(s * len(good(e)))], e, tmp
        )
for _unit in (
    "nonsense",
    "deg",
    "kpc",
    "km / s",
    "",
    "5",
    "mas / s",
    "__import__('os').system('true')",
    5,
    None,
    [],
    "1e400 mas",
):
    KINDS[f"units= of parallax {_unit!r}"] = lambda tmp, unit=_unit: read(
        good("csv"), "csv", tmp, units={**UNITS, "parallax": unit}
    )
for _units in ("Gaia", 5, ["mas"], True):
    KINDS[f"units={_units!r}"] = lambda tmp, units=_units: read(good("csv"), "csv", tmp, units=units)
for _names in ("ra", 5, ["ra"], {"ra": 5}, {5: "ra"}, {"": "ra"}, {"ra": None}):
    KINDS[f"names={_names!r}"] = lambda tmp, names=_names: read(good("csv"), "csv", tmp, names=names, units="gaia")
for _wanted in (5, [5], [None], ["ra", "nope"], "nope", {"ra": 1, "nope": 2}):
    KINDS[f"columns={_wanted!r}"] = lambda tmp, wanted=_wanted: read(
        good("csv"), "csv", tmp, columns=wanted, units="gaia"
    )
for _path in (None, 5, b"stars.csv", "", ".", "stars", "stars.txt", "stars.npy", "http://localhost/stars.csv",
              "https://localhost/stars.parquet", "ftp://localhost/a.fits", "s3://bucket/a.parquet", "x\0.csv",
              "$(touch ran).csv", "; touch ran;.csv", "~/no/such.csv", "a" * 5000 + ".csv"):  # fmt: skip
    KINDS[f"path {str(_path)[:40]!r} of {type(_path).__name__}"] = lambda tmp, path=_path: partial(read_catalog, path)

ones = [1.0] * 4
KINDS |= {
    "measurement without a unit": lambda tmp: columns(tmp, ra=ones, dec=ones),
    "strings for numbers": lambda tmp: columns(tmp, how={"units": "gaia"}, ra=["a", "b"], dec=[1.0, 2.0]),
    "booleans for numbers": lambda tmp: columns(tmp, how={"units": "gaia"}, ra=[True, False], dec=[1.0, 2.0]),
    "nested lists": lambda tmp: columns(tmp, how={"units": "gaia"}, ra=[[1.0], [2.0, 3.0]], dec=[1.0, 2.0]),
    "vectors": lambda tmp: columns(tmp, ra=pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float64(), 2))),
    "structs": lambda tmp: columns(tmp, stars=[{"ra": 1.0}, {"ra": 2.0}]),
    "binary": lambda tmp: columns(tmp, blob=pa.array([b"\x80\x04", b"K\x01"])),
    "maps": lambda tmp: columns(tmp, m=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32()))),
    "decimals": lambda tmp: columns(tmp, how={"units": "gaia"}, ra=pa.array([1, 2]).cast(pa.decimal128(20, 0))),
    "times": lambda tmp: columns(tmp, how={"units": "gaia"}, ra=pa.array([1, 2], pa.timestamp("ns"))),
    "no rows": lambda tmp: columns(tmp, how={"units": "gaia"}, ra=pa.array([], pa.float64())),
    "no columns": lambda tmp: columns(tmp),
    "two columns of one name": lambda tmp: (
        pq.write_table(pa.table([pa.array(ones)] * 2, names=["ra", "ra"]), tmp / "bad.parquet")
        or partial(read_catalog, tmp / "bad.parquet", units="gaia")
    ),
    "two columns for one quantity": lambda tmp: columns(tmp, vrad_kms=ones, rv_kms=ones),
    "a unit against the name": lambda tmp: (
        pq.write_table(
            pa.table([pa.array(ones)], pa.schema([pa.field("plx_mas", pa.float64(), metadata={"unit": "kpc"})])),
            tmp / "bad.parquet",
        )
        or partial(read_catalog, tmp / "bad.parquet")
    ),
    "a unit that is no text": lambda tmp: (
        pq.write_table(
            pa.table([pa.array(ones)], pa.schema([pa.field("ra", pa.float64(), metadata={"unit": b"\xff\xfe"})])),
            tmp / "bad.parquet",
        )
        or partial(read_catalog, tmp / "bad.parquet")
    ),
    "csv: two columns of one name": text("ra,ra\n1,2\n", units="gaia"),
    "csv: an empty name": text(",dec\n1,2\n", units={"": "deg", "dec": "deg"}),
    "csv: words for numbers": text("ra,dec\n1,2\nx,3\n", units="gaia"),
    "csv: a row too long": text("ra,dec\n1,2,3\n", units="gaia"),
    "csv: a row too short": text("ra,dec\n1,2\n3\n", units="gaia"),
    "csv: only names": text("ra,dec\n", units="gaia"),
    "csv: no unit": text("ra,dec\n1,2\n"),
    "csv: another encoding": text("ra,dec,größe\n1,2,3\n", encoding="utf-16", units="gaia"),
    "csv: latin letters": text("ra,größe\n1,2\n", encoding="latin-1", units="gaia"),
    "csv: names with semicolons": text("ra;dec\n1;2\n", units={"ra": "deg"}),
    "csv: an open quote": text('ra,dec\n1,2\n"3,4\n', units="gaia"),
    "csv: complex numbers": text("ra,dec\n1+2j,3\n", units="gaia"),
    "csv: truth values": text("ra,dec\ntrue,3\n", units="gaia"),
    "csv: dates": text("ra,dec\n2020-01-01,3\n", units="gaia"),
    "csv: identifiers beyond 64 bits": text("source_id,ra\n99999999999999999999999,3\n", units="gaia"),
    "csv: HTML by its name": text("<html><body>404</body></html>\n"),
    "ecsv: header that is no YAML": text("# %ECSV 1.0\n# ---\n# {datatype: [\nra\n1\n", "ecsv"),
    "ecsv: header without columns": text("# %ECSV 1.0\n# ---\n# meta: {}\nra\n1\n", "ecsv"),
    "ecsv: columns that are no list": text("# %ECSV 1.0\n# ---\n# datatype: 5\nra\n1\n", "ecsv"),
    "ecsv: a type that is none": text("# %ECSV 1.0\n# ---\n# datatype: [{name: ra, datatype: foo}]\nra\n1\n", "ecsv"),
    "ecsv: complex": text(
        "# %ECSV 1.0\n# ---\n# datatype: [{name: ra, unit: deg, datatype: complex128}]\nra\n1+2j\n", "ecsv"
    ),
    "ecsv: nested": text(
        "# %ECSV 1.0\n# ---\n# datatype: [{name: ra, datatype: string, subtype: 'float64[2]'}]\nra\n[1,2]\n", "ecsv"
    ),
    "ecsv: another column than its header": text(
        "# %ECSV 1.0\n# ---\n# datatype: [{name: ra, unit: deg, datatype: float64}]\ndec\n1\n", "ecsv"
    ),
    "ecsv: words for numbers": text(
        "# %ECSV 1.0\n# ---\n# datatype: [{name: ra, unit: deg, datatype: float64}]\nra\nx\n", "ecsv"
    ),
    "ecsv: a number that overflows": text(
        "# %ECSV 1.0\n# ---\n# datatype: [{name: id, datatype: int8}]\nid\n300\n", "ecsv"
    ),
    "ecsv: header cut": lambda tmp: read(good("ecsv")[:200], "ecsv", tmp),
    "fits: wrong first card": swapped("fits", b"SIMPLE  =", b"SIMPLX  ="),
    "fits: wrong format of a column": swapped("fits", b"TFORM2  = 'D", b"TFORM2  = '?"),
    "fits: more rows than there are": swapped("fits", b"NAXIS2  =                   50",
        b"NAXIS2  =             50000000"),
    "fits: negative rows": swapped("fits", b"NAXIS2  =                   50", b"NAXIS2  =                  -50"),
    "fits: rows that are no number": swapped("fits", b"NAXIS2  =                   50",
        b"NAXIS2  =                  5x0"),
    "fits: no table": lambda tmp: fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp / "bad.fits")
    or partial(read_catalog, tmp / "bad.fits"),
    "fits: two tables": lambda tmp: fits.HDUList([
        fits.PrimaryHDU(), *(fits.BinTableHDU.from_columns([fits.Column("ra", "D", "deg", array=[1.0])]),) * 2
    ]).writeto(tmp / "bad.fits") or partial(read_catalog, tmp / "bad.fits"),
    "fits: two columns of one name": swapped("fits", b"'pmdec   '", b"'pmra    '"),
    "fits: vectors": fits_table(fits.Column("ra", "2D", "deg", array=[[1.0, 2.0]])),
    "fits: complex": fits_table(fits.Column("ra", "M", "deg", array=[1 + 2j])),
    "fits: lists of any length": fits_table(fits.Column("ra", "PD()", "deg", array=np.array([[1.0], [1.0, 2.0]],
        object))),
    "fits: strings for numbers": fits_table(fits.Column("ra", "5A", array=["hello"]), units="gaia"),
    "fits: a wrong unit": fits_table(fits.Column("parallax", "D", "K", array=[1.0])),
    "fits: no rows": fits_table(fits.Column("ra", "D", "deg", array=np.empty(0))),
    "vot: no XML": swapped("vot", b"<VOTABLE", b"<VOTABLE<"),
    "vot: another root": swapped("vot", b"VOTABLE", b"TABLEVO"),
    "vot: no fields": text(
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE/></VOTABLE>', "vot"
    ),
    "vot: a type that is none": swapped("vot", b'datatype="double"', b'datatype="doubly"'),
    "vot: base64 that is none": swapped("vot", b'<STREAM encoding="base64">', b'<STREAM encoding="base64">AAAAA'),
    "vot: data elsewhere": text(
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        '<FIELD name="ra" datatype="double" unit="deg"/><DATA><FITS><STREAM href="http://localhost/a.fits"/></FITS>'
        "</DATA></TABLE></RESOURCE></VOTABLE>", "vot",
    ),
    "vot: a field without a name": text(
        '<VOTABLE version="1.3"><RESOURCE><TABLE><FIELD datatype="double" unit="deg"/><DATA><TABLEDATA><TR><TD>1</TD>'
        "</TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>", "vot",
    ),
    "vot: a field outside a table": text('<VOTABLE version="1.3"><FIELD name="ra" datatype="double"/></VOTABLE>',
        "vot"),
    "h5: nothing in it": hdf5(lambda file: None),
    "h5: two tables": hdf5(lambda file: file.update({"a/ra": ones, "b/ra": ones})),
    "h5: columns of two lengths": hdf5(lambda file: file.update({"ra": ones, "dec": [1.0]}), units="gaia"),
    "h5: a matrix": hdf5(lambda file: file.update({"ra": np.ones((3, 3))}), units="gaia"),
    "h5: complex": hdf5(lambda file: file.update({"ra": np.ones(3, complex)}), units="gaia"),
    "h5: references": hdf5(
        lambda file: file.create_dataset("ra", (2,), h5py.ref_dtype, data=[file.ref, file.ref]), units="gaia"
    ),
    "h5: a link to another file": hdf5(lambda file: file.update({"ra": h5py.ExternalLink("other.h5", "/ra")}),
        units="gaia"),
    "h5: a link to nowhere": hdf5(lambda file: file.update({"ra": h5py.SoftLink("/nowhere")}), units="gaia"),
    "h5: no rows": hdf5(lambda file: file.update({"ra": np.empty(0)}), units="gaia"),
    "h5: enough for no memory": hdf5(
        lambda file: file.create_dataset("ra", (10**14,), "f8", chunks=(1000,)), units="gaia"
    ),
    "h5: strings for numbers": hdf5(lambda file: file.update({"ra": ["a", "b"]}), units="gaia"),
    "h5: a table of pandas": hdf5(lambda file: file.create_group("t").attrs.update(pandas_type="frame")),
}  # fmt: skip
for _header in ("", "{", "5", "[]", "null", '"x"', "{}", '{"meta": 5, "report": []}', '{"meta": {}, "report": 5}',
                '{"meta": {}, "report": [["a"]]}', '{"meta": {}, "report": ["abc"]}', '{"meta": {}, "report": [{}]}',
                '{"meta": {}, "report": [["cut", "5", "3", 0]]}', '{"meta": {"a": NaN}, "report": []}',
                '{"meta": {}, "report": [["cut", 3, 5, -1]]}', '{"meta": {"sun": {"R": "x"}}, "report": []}',
                '{"meta": {"sun": {"Q": 1}}, "report": []}', '{"meta": {"sun": {"R": -1}}, "report": []}',
                '{"meta": {"sun": [8, 0]}, "report": []}',
                '{"meta": ' + "[" * 100_000 + "]" * 100_000 + "}"):  # fmt: skip
    KINDS[f"a header {_header[:60]!r}"] = told(_header)
KINDS["pandas: attributes that are no JSON"] = lambda tmp: (
    pq.write_table(pa.table({"ra": ones}).replace_schema_metadata({"PANDAS_ATTRS": "{"}), tmp / "bad.parquet")
    or partial(read_catalog, tmp / "bad.parquet", units="gaia")
)
KINDS["pandas: units that are a list"] = lambda tmp: (
    pq.write_table(
        pa.table({"ra": ones}).replace_schema_metadata({"PANDAS_ATTRS": json.dumps({"units": ["deg"]})}),
        tmp / "bad.parquet",
    )
    or partial(read_catalog, tmp / "bad.parquet")
)
