"""Rules over every notebook in git: source only, thin, parameters that everyone reads alike, and they run."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest

from meshnb.report.run import execute
from meshnb.runbook import library
from meshnb.runbook.parameters import of_notebook

ROOT = Path(__file__).parents[1]
RUNBOOKS = sorted((ROOT / "runbooks").glob("*.ipynb"))
NOTEBOOKS = [*RUNBOOKS, *sorted((ROOT / "notebooks").glob("*.ipynb"))]
MAX_LINES = 6

# what a cell may be made of: calls, attributes, literals, subscripts, comparisons that select rows
PLAIN = (
    ast.Module, ast.Assign, ast.AnnAssign, ast.Expr, ast.Import, ast.ImportFrom, ast.alias, ast.Name, ast.Load,
    ast.Store, ast.Call, ast.keyword, ast.Attribute, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Subscript,
    ast.Slice, ast.Compare, ast.cmpop, ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop, ast.JoinedStr,
    ast.FormattedValue, ast.Starred,
)  # fmt: skip

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
every_runbook = pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def cells(path, kind):
    return [(cell["id"], "".join(cell["source"])) for cell in read(path)["cells"] if cell["cell_type"] == kind]


def test_there_are_runbooks():
    assert {"503-no-cluster", "504-slow-upstream"} <= {path.stem for path in RUNBOOKS}


@every_notebook
def test_is_source_only(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook["nbformat"] == 4 and notebook["nbformat_minor"] >= 5
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert not {"papermill", "widgets"} & set(notebook["metadata"])
    for cell in notebook["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None, f"{cell['id']} was executed in place"
        assert set(cell["metadata"]) <= {"tags"}, f"{cell['id']} carries {set(cell['metadata'])}"


@every_notebook
def test_cells_have_names(path):
    names = [cell["id"] for cell in read(path)["cells"]]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) for name in names), names


@every_notebook
def test_is_thin(path):
    """Calls and assignments only: what needs an `if` belongs into the package."""
    for name, source in cells(path, "code"):
        lines = [line for line in source.splitlines() if line.strip()]
        assert name == "parameters" or len(lines) <= MAX_LINES, f"{name} has {len(lines)} lines"
        for node in ast.walk(ast.parse(source)):
            assert isinstance(node, PLAIN), f"{name} holds a {type(node).__name__}"
            if isinstance(node, ast.Import):
                assert [alias.name for alias in node.names] == ["meshnb"], f"{name} imports something else"
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] == "meshnb", f"{name} imports something else"


@every_notebook
def test_opens_with_a_title_and_a_purpose(path):
    first = read(path)["cells"][0]
    assert first["cell_type"] == "markdown" and "".join(first["source"]).startswith("# ")
    book = library.read(path)
    assert len(book.about) > 40
    if path in RUNBOOKS:
        assert book.about.startswith("Use this when"), book.about


@every_runbook
def test_declares_parameters_shows_the_form_and_ends_in_a_verdict(path):
    notebook = read(path)
    tagged = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", ())]
    assert len(tagged) == 1
    parameters = of_notebook(notebook, file=path)
    assert parameters[0].name == "source" and str(parameters[0].default).startswith("demo")
    assert all(parameter.help for parameter in parameters), "a parameter without a word on what it is for"
    assert not any(parameter.secret for parameter in parameters), "credentials are no parameters"
    code = [source for _, source in cells(path, "code")]
    assert any("meshnb.form()" in source for source in code)
    assert sum("mesh.verdict()" in source for source in code) == 1


@every_notebook
def test_papermill_reads_the_same_parameters(path):
    import papermill

    found = {p["name"]: p["inferred_type_name"] for p in papermill.inspect_notebook(str(path)).values()}
    assert found == {p.name: p.type for p in of_notebook(read(path))}


@every_notebook
def test_runbooks_it_sends_to_are_there(path):
    text = "\n".join(source for _, source in cells(path, "markdown"))
    for name in re.findall(r"runbooks? `([^`]+)`", text):
        assert name in library.names(), f"there is no runbook {name}"


@pytest.mark.slow
@every_notebook
def test_runs_from_top_to_bottom(path, tmp_path):
    """S10-03: on the recorded mesh, which is the default of every `source`, with no cluster."""
    result = execute(path, out=tmp_path)
    assert result.error is None
    if path in RUNBOOKS:
        assert len(result.findings) > 0
    assert len(result.notebook.read_bytes()) < 600_000
