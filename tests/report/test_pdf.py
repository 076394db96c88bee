import pytest

from meshnb.errors import NotFound, RunError
from meshnb.report.pdf import find_browser, to_pdf


def test_without_a_browser_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("meshnb.report.pdf._APPLICATIONS", ())
    assert find_browser() is None
    with pytest.raises(NotFound, match="none is on PATH") as caught:
        to_pdf(tmp_path / "a.html", tmp_path / "a.pdf")
    assert "install chromium" in caught.value.hint


def test_a_browser_that_writes_nothing_is_an_error_with_its_words(tmp_path, monkeypatch):
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho 'cannot start' >&2\nexit 1\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(RunError, match="cannot start"):
        to_pdf(tmp_path / "a.html", tmp_path / "a.pdf")
    assert not (tmp_path / "a.pdf").exists()
