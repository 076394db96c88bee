import pytest

from meshnb.errors import FormatError, UsageError
from meshnb.runbook.parameters import MASK, convert, of_notebook, parse_assignments, parse_cell

CELL = """source: str = "demo"  # snapshot folder = or # archive
hours: int = 2
factor: float = 1
strict: bool = False  # fail early
namespaces: list[str] = []  # all if empty
revision: str = ""
"""


def given(**values):
    return convert(parse_cell(CELL), values)


def test_cell_is_read_with_names_types_defaults_and_help():
    found = parse_cell(CELL)
    assert [(p.name, p.type, p.default) for p in found] == [
        ("source", "str", "demo"), ("hours", "int", 2), ("factor", "float", 1.0), ("strict", "bool", False),
        ("namespaces", "list[str]", []), ("revision", "str", ""),
    ]  # fmt: skip
    assert found[0].help == "snapshot folder = or # archive"
    assert found[1].help == ""


def test_hash_in_a_default_is_no_comment():
    assert parse_cell('url: str = "http://a/#b"')[0].default == "http://a/#b"


@pytest.mark.parametrize("text", ["007", "1e5", "12e4567", "None", "nan", "true", "a=b", "", " x ", "1,2"])
def test_text_stays_text(text):
    assert given(revision=text) == {"revision": text}


def test_texts_become_what_the_annotation_says():
    assert given(hours="3", factor="1e2", strict="yes", namespaces="a, b,") == {
        "hours": 3, "factor": 100.0, "strict": True, "namespaces": ["a", "b"]
    }  # fmt: skip


def test_python_values_are_taken_as_they_are():
    assert given(hours=3, factor=1, namespaces=("a",)) == {"hours": 3, "factor": 1.0, "namespaces": ["a"]}


@pytest.mark.parametrize(
    "values", [{"hours": "two"}, {"hours": "2.5"}, {"hours": 2.5}, {"hours": True}, {"factor": "fast"},
               {"strict": "maybe"}, {"strict": 1}, {"namespaces": [1]}, {"source": 5}],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_named(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        given(**values)


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="no parameter 'huors'") as caught:
        given(huors="2")
    assert caught.value.hint == "did you mean 'hours'?"
    with pytest.raises(UsageError) as caught:
        convert((), {"x": "1"})
    assert caught.value.hint == "it takes none"


def test_assignments_split_at_the_first_equals():
    assert parse_assignments(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    for text in ("a", "=b"):
        with pytest.raises(UsageError, match="not a parameter"):
            parse_assignments([text])


@pytest.mark.parametrize(
    ("cell", "line"),
    [("x: int = 1\nimport os", 2), ("x = 1", 1), ("x: int", 1), ("x: dict = {}", 1), ("x: int = len('a')", 1),
     ("x: int = 'a'", 1), ("x: str = None", 1), ("x: int = (", 1), ("x: str | None = None", 1)],
)  # fmt: skip
def test_anything_else_in_the_cell_is_refused_with_its_line(cell, line):
    with pytest.raises(FormatError) as caught:
        parse_cell(cell, file="a.ipynb")
    assert caught.value.position == f"cell parameters, line {line}" and caught.value.file == "a.ipynb"


def test_found_by_tag_in_a_notebook_of_lines_or_text():
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["a: int = 1\n", "b: int = 2"]}
    assert [p.name for p in of_notebook({"cells": [{"metadata": {}, "source": "x: int = 1"}, cell]})] == ["a", "b"]
    assert of_notebook({"cells": []}) == ()


def test_secrets_are_known_by_name_and_never_shown():
    (token,) = parse_cell("api_token: int = 1")
    assert token.secret and not parse_cell("tokens_per_second: int = 1")[0].secret
    with pytest.raises(UsageError, match="api_token") as caught:
        token.convert("hunter22")
    assert "hunter22" not in str(caught.value) and MASK in str(caught.value)
