"""What a hostile file, name or parameter holds is neither run nor fetched nor put into a page as it is."""

import ast
import pickle
import re

import h5py
import ipywidgets as W
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_arguments import CALL
from bad_checkpoints import Bomb
from bad_files import FORMATS, catalog
from fakes import FakeFit, stars
from refusals import HOUSE, nothing_runs, verdict

import clearview as cv
from clearview.catalogs import Catalog, CutReport, read_catalog
from clearview.catalogs.columns import parse_unit
from clearview.panels import view
from clearview.panels.base import _held
from clearview.panels.share import code_of

TAGS = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>')
PAYLOAD = pickle.dumps(Bomb())


@pytest.fixture(autouse=True)
def quiet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with nothing_runs(tmp_path):
        yield


def test_the_watch_sees_what_runs(tmp_path):
    """This test fails if the others could not."""
    with pytest.raises(AssertionError, match=r"pickle\.find_class"), nothing_runs(tmp_path / "inner"):
        pickle.loads(PAYLOAD)
    (tmp_path / "ran").unlink()


def parquet(path, fields=(), **meta):
    schema = pa.schema([pa.field("ra", pa.float64(), metadata={"unit": "deg"}), *fields])
    table = pa.table([pa.array([1.0, 2.0])] * len(schema), schema=schema)
    pq.write_table(table.replace_schema_metadata(meta), path)
    return path


def test_pickles_in_the_metadata_of_parquet(tmp_path):
    extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": PAYLOAD, "unit": "mas"}
    field = pa.field("parallax", pa.float64(), metadata=extension)
    path = parquet(tmp_path / "a.parquet", [field], pandas=PAYLOAD, note=PAYLOAD)
    assert verdict(lambda: read_catalog(path)).startswith("accepted") or not list(tmp_path.glob("ran"))
    pq.write_table(pa.table({"blob": pa.array([PAYLOAD] * 2)}), tmp_path / "b.parquet")
    assert not verdict(lambda: read_catalog(tmp_path / "b.parquet"))


def test_pickles_in_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["ra"], file["blob"] = [1.0, 2.0], np.array([np.void(PAYLOAD)] * 2)
        file["ra"].attrs["unit"] = "deg"
        file.attrs["meta"] = np.void(PAYLOAD)
    assert read_catalog(tmp_path / "a.h5", columns=["ra"])["ra"].tolist() == [1, 2]
    verdict(lambda: read_catalog(tmp_path / "a.h5"))


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch ran']",
        "!!python/name:os.system",
        "!!python/object/new:os.system [touch ran]",
        "!!python/module:antigravity",
    ],
)
def test_yaml_that_makes_objects(tag, tmp_path):
    head = f"%ECSV 1.0\n---\ndatatype:\n- {{name: ra, unit: deg, datatype: float64}}\nmeta: {{a: {tag}}}\n"
    text = "".join(f"# {line}\n" for line in head.splitlines()) + "ra\n1\n"
    (tmp_path / "a.ecsv").write_text(text)
    assert not verdict(lambda: read_catalog(tmp_path / "a.ecsv"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"] = np.array([(1.0,)], [("ra", "f8")])
        file["t.__table_column_meta__"] = [line.encode() for line in head.splitlines()[2:]]
    assert not verdict(lambda: read_catalog(tmp_path / "a.h5"))


def test_entities_of_a_votable(tmp_path):
    (tmp_path / "secret").write_text("xyzzy")
    bombs = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    for entity in (
        f'<!ENTITY x SYSTEM "file://{tmp_path}/secret">', '<!ENTITY x SYSTEM "http://localhost/secret">',
        f'<!ENTITY a0 "ha">{bombs}<!ENTITY x "&a11;">',
    ):  # fmt: skip
        (tmp_path / "a.vot").write_text(
            f'<?xml version="1.0"?><!DOCTYPE VOTABLE [{entity}]><VOTABLE version="1.3"><RESOURCE><DESCRIPTION>&x;'
            '</DESCRIPTION><TABLE><FIELD name="ra" datatype="double" unit="deg"/><DATA><TABLEDATA><TR><TD>1</TD></TR>'
            "</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
        )
        found = []
        verdict(lambda found=found: found.append(read_catalog(tmp_path / "a.vot")))
        assert "xyzzy" not in str([one.meta for one in found])
        assert len(str([one.meta for one in found])) < 10_000


def test_words_that_would_be_code_are_words(tmp_path):
    assert not parse_unit(CALL).is_equivalent("mas")
    field = pa.field(CALL, pa.float64(), metadata={"unit": CALL})
    found = read_catalog(parquet(tmp_path / "a.parquet", [field]))
    assert CALL in found.columns
    assert CALL in repr(found)


@pytest.mark.parametrize("name", ["$(touch ran)", "`touch ran`", "; touch ran;", "| touch ran", "-rf", "%x{touch ran}"])
def test_names_of_files_are_names(name, tmp_path):
    for ending in FORMATS:
        catalog().write(tmp_path / f"{name}.{ending}")
        assert len(read_catalog(tmp_path / f"{name}.{ending}")) == len(catalog())


def widgets(widget) -> list[W.Widget]:
    return [widget, *(k for part in _held(widget) for k in widgets(part))]


def assert_no_tags(html: str) -> None:
    assert not re.search(r"<(script|img|svg)", html), html


@pytest.mark.parametrize("tag", TAGS)
def test_no_tag_of_a_file_is_in_a_page(tag, tmp_path, made):
    path = parquet(tmp_path / "a.parquet", [pa.field(tag, pa.float64(), metadata={"unit": "deg"})], source=tag)
    found = read_catalog(path)
    found = Catalog(found._table, meta={**found.meta, "release": tag}, report=[CutReport(tag, 3, 2)])
    assert tag in found.columns
    assert_no_tags(found._repr_html_())
    panels = [cv.PhaseSpacePanel(found, x="ra", y=tag, first=(tag, 1.0, 1.0), size=64, threaded=False),
              cv.StarsPanel(found, views=[("ra", tag)], size=64, threaded=False)]  # fmt: skip
    fit = FakeFit("x", message=tag, stopped="preview")
    panels.append(cv.AccelerationPanel(stars(50), fit, size=64, threaded=False))
    for panel in map(made, panels):
        panel.tell("draw", tag)
        for widget in widgets(panel):
            if isinstance(widget, W.HTML | W.HTMLMath | W.Label):
                assert_no_tags(widget.value)


def test_all_text_of_a_picture_is_escaped():
    """Every word from a frame goes through ``esc`` before it becomes a part of the page."""
    script = view.RasterView._esm
    script = script if isinstance(script, str) else str(script)
    assert 'replace(/[&<>"]/g' in script
    assert set(re.findall(r"innerHTML\s*\+?=\s*([^;\n]+)", script)) == {'out.join("")'}
    assert not re.findall(
        r"outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment", script
    )
    templates = re.findall(r"<(?:text|div)[^`]*`", script)
    assert templates
    assert all("${esc(" in template for template in templates)


def test_the_code_of_a_panel_is_only_calls_of_ours(made, tmp_path):
    words = f"1); {CALL} #"
    for meta in (
        {"source": "mock_galaxy", "mock": {"n": words, "seed": words, "potential": words, "radius": words}},
        {"file": {"name": f"a');{CALL};('.parquet\n{CALL}"}, "stream": {"name": words, "reflex": {"distance": words}}},
        {"stream": {"reflex": words}, "file": {}},
    ):
        found = Catalog(catalog()._table, meta=meta)
        found.meta["mock"] = None
        panel = made(cv.PhaseSpacePanel(found, size=64, threaded=False))
        names = {node.id for node in ast.walk(ast.parse(code_of(panel))) if isinstance(node, ast.Name)}
        assert names <= {"clearview", "stars", "fit", "panel"}


def test_a_refusal_of_a_hostile_word_is_short():
    problem = None
    try:
        cv.GaiaBall(radius="x" * 10**6)
    except ValueError as found:
        problem = str(found)
    assert HOUSE.fullmatch(problem)
    assert len(problem) < 300
