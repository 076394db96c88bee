"""Windows are half-open, in UTC, and say what is wrong with their text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from meshnb.errors import UsageError
from meshnb.model.window import Window

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("30m", "11:30", "12:00"),
        ("1h30m", "10:30", "12:00"),
        ("2026-11-23T09:00/2026-11-23T10:00", "09:00", "10:00"),
        ("2026-11-23T09:00/30m", "09:00", "09:30"),
        ("30m/2026-11-23T10:00:00+00:00", "09:30", "10:00"),
        ("2026-11-23T10:00:00+01:00/2026-11-23T10:00", "09:00", "10:00"),
    ],
)
def test_text_forms(text, start, end):
    window = Window.parse(text, now=NOW)
    assert (f"{window.start:%H:%M}", f"{window.end:%H:%M}") == (start, end)


@pytest.mark.parametrize("text", ["", "soon", "10", "2026-11-23T09:00/", "2026-13-01/1h", "2026-11-23/2026-11-22"])
def test_wrong_text_is_refused(text):
    with pytest.raises(UsageError):
        Window.parse(text, now=NOW)


def test_times_without_a_zone_are_refused():
    with pytest.raises(UsageError, match="time zone"):
        Window(datetime(2026, 1, 1), datetime(2026, 1, 2))


def test_text_form_comes_back():
    window = Window(NOW, NOW + timedelta(minutes=5))
    assert Window.parse(str(window)) == window
