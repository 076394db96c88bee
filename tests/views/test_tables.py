import re

import books
import pandas as pd
import pytest

from meshnb.errors import UsageError
from meshnb.views.style import STYLE, text_of, without_style
from meshnb.views.tables import SOURCE_MEDIA, facts, table


def html(df, **options):
    return table(df, **options)._repr_mimebundle_()["text/html"]


def test_says_how_many_rows_there_are_and_where_the_rest_is():
    view = table(pd.DataFrame({"n": range(4213)}), title="Requests")
    assert "20 of 4,213 rows, .df for all" in view._repr_mimebundle_()["text/html"]
    assert "20 of 4,213 rows, .df for all" in view._repr_mimebundle_()["text/plain"]
    assert len(view.df) == 4213 and html(view.df).count("<tr>") == 21


def test_is_read_aloud_as_a_table():
    text = html(books.routes(), title="Routes")
    assert "<caption><b>Routes</b>" in text and text.count('scope="col"') == 3


def test_text_from_a_log_is_escaped():
    df = pd.DataFrame({"<i>": ["<img src=x onerror=alert(1)>"]})
    assert "<img" not in html(df, title="<b>") and "<i>" not in without_style(html(df))


def test_empty_table_shows_its_columns():
    text = html(books.routes().head(0))
    assert "no rows" in text and "cluster" in text


def test_missing_values_are_dashes_whatever_their_type():
    for missing in (None, float("nan"), pd.NA, pd.NaT):
        assert text_of(missing) == "\u2013"


def test_shares_are_percent_by_the_name_of_their_column():
    df = pd.DataFrame({"share": [0.8167], "client_success": [1.0], "rate": [0.5], "shares": [0.25]})
    assert re.findall(r"<td[^>]*>([^<]+)</td>", html(df)) == ["82 %", "100 %", "0.5", "0.25"]
    assert "82 %" in table(df)._repr_mimebundle_()["text/plain"]


def test_a_short_word_is_not_broken_where_its_heading_is():
    """A heading may break at an underscore, so its longest part is what gives a column its width."""
    text = html(pd.DataFrame({"health_status": ["HEALTHY"], "type": ["EDS"]}))
    assert '<th scope="col" style="--w:8ch">health_<wbr>status</th>' in text
    assert '<th scope="col">type</th>' in text


def test_named_index_is_shown():
    assert "pod" in html(pd.DataFrame({"n": [1]}, index=pd.Index(["a"], name="pod")))


def test_times_are_utc():
    assert text_of(pd.Timestamp("2026-11-23T10:00:00.250+01:00")) == "2026-11-23 09:00:00.250"


def test_limit_of_none_is_refused():
    with pytest.raises(UsageError, match="limit is 0"):
        table(books.routes(), limit=0)


def test_needs_no_script_and_carries_the_sheet_once():
    text = html(books.routes())
    assert "<script" not in text and text.count(STYLE) == 1 and STYLE not in without_style(text)


def test_facts_of_the_source_are_recorded_in_order():
    bundle = facts({"Source": "demo", "Captured": None}, source=True)._repr_mimebundle_()
    assert bundle[SOURCE_MEDIA] == {"version": 1, "facts": [["Source", "demo"], ["Captured", "\u2013"]]}
    assert SOURCE_MEDIA not in facts({"a": 1})._repr_mimebundle_()
