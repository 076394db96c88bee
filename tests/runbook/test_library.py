import books
import pytest

from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.model.tables.runbooks import RUNBOOKS
from meshnb.runbook import library


@pytest.fixture
def path(tmp_path):
    return books.write(
        tmp_path / "my-case.ipynb",
        books.markdown("# My case\n\n**Use this** when\nit *breaks*.\n\n## First?\n"),
        books.code('source: str = "demo"  # where from\nstrict: bool = False', tags=("parameters",)),
        books.markdown("## Second?"),
    )


def test_a_notebook_is_read_as_a_runbook(path):
    book = library.find(path)
    assert (book.name, book.title, book.about) == ("my-case", "My case", "Use this when it breaks.")
    assert book.sections == ("First?", "Second?")
    assert [p.name for p in book.parameters] == ["source", "strict"]


def test_show_tells_purpose_parameters_steps_and_how_to_run(path):
    text = library.show(path)
    for said in ("My case", "Use this when it breaks.", "source: str", "where from (default demo)", "(default false)",
                 "1. First?", f"meshnb run {path} -p source=demo --out out"):  # fmt: skip
        assert said in text


def test_shipped_runbooks_are_a_table():
    frame = library.runbooks()
    assert list(frame.columns) == RUNBOOKS.column_names
    assert {"503-no-cluster", "504-slow-upstream"} <= set(frame.name)
    assert frame.about.notna().all()


def test_wrong_names_are_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError) as caught:
        library.find("503-no-clutser")
    assert caught.value.hint == "did you mean 503-no-cluster?"
    with pytest.raises(NotFound, match="no notebook at"):
        library.find(tmp_path / "absent.ipynb")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 1}', '{"cells": [1]}', '{"metadata": {}}'])
def test_what_is_no_notebook_is_refused_by_name(tmp_path, text):
    path = tmp_path / "a.ipynb"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"a\.ipynb: not a notebook"):
        library.find(path)


def test_installed_runbooks_come_before_those_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "_PACKAGE", tmp_path / "site" / "meshnb")
    assert library.folder() == tmp_path / "site" / "runbooks"
    (tmp_path / "site" / "meshnb" / "_runbooks").mkdir(parents=True)
    books.write(tmp_path / "site" / "meshnb" / "_runbooks" / "x.ipynb", books.markdown("# X"))
    assert library.names() == ["x"]
