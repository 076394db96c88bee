import re

import books
import nbformat
import pandas as pd
import plotly.graph_objects as go
import pytest

from meshnb.report.html import to_html
from meshnb.views import FindingList, bar, durations, facts, table
from meshnb.views.charts import PLOTLY_MEDIA
from meshnb.views.style import CSS

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


def run(**changes):
    values = {
        "version": 1, "runbook": "503-no-cluster", "started": "2026-11-23T09:00:00+00:00",
        "finished": "2026-11-23T09:00:07+00:00", "versions": {"meshnb": "0.1.0", "python": "3.11.7"}, "redacted": {},
    }  # fmt: skip
    return {"run": {**values, **changes}}


def executed(*cells, verdict=True):
    """A notebook as a run leaves it: parameters, what was looked at, cells, verdict."""
    found = FindingList([books.broken(), books.unknown(), books.passed()], title="Verdict")
    return books.notebook(
        books.markdown("# A route leads nowhere\n\nUse this when **503**."),
        books.code('source: str = "demo"\nwindow: str = ""', tags=("parameters",)),
        books.code('# Parameters\nsource = "demo/missing-subset"\n', tags=("injected-parameters",)),
        books.code("mesh", books.shown(facts({"Source": "demo/missing-subset", "Envoy": "1.40.0"}, source=True))),
        *cells,
        *([books.code("mesh.verdict()", books.shown(found))] if verdict else []),
        meshnb=run(),
    )


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL))


def loading(html):
    """References that a browser would load: all but links a reader follows."""
    without_links = re.sub(r"<a\b[^>]*>", "", html)
    return re.findall(
        r"(?:src|href|data|poster|srcset)\s*=\s*[\"']?(?!data:|#)[^\"'>\s]+|url\([^)]*\)|@import", without_links
    )


def test_header_and_verdict_come_before_the_details():
    text = text_of(to_html(executed(books.markdown("## What do the logs say?"))))
    order = ["A route leads nowhere", "source=demo/missing-subset", "window=", "Envoy 1.40.0",
             "2026-11-23 09:00:00 UTC, 7 s", "meshnb 0.1.0", "Verdict", "✖ 1 error", "? 1 unknown", "✔ 1 passed",
             "MNB0101", "kind: DestinationRule", "Use this when", "What do the logs say?"]  # fmt: skip
    places = [text.index(said) for said in order]
    assert places == sorted(places)


def test_verdict_stands_once():
    html = to_html(executed())
    assert text_of(html).count("No DestinationRule defines the subsets.") == 1
    assert 'href="#verdict"' in html and 'id="verdict"' in html


def test_lists_among_the_cells_only_name_what_the_verdict_tells():
    html = to_html(executed(books.code("mesh.check()", books.shown(FindingList([books.broken()])))))
    body = html.partition("<main>")[2]
    assert "lead to version-v1 and version-v2" in body and "kind: DestinationRule" not in body
    assert "Why, evidence and fix stand at the top." in body
    other = books.broken(code="MNB0999")
    html = to_html(executed(books.code("mesh.check()", books.shown(FindingList([other])))))
    assert "kind: DestinationRule" in html.partition("<main>")[2], "what the verdict lacks is told in full"


def test_loads_nothing():
    """Nothing a browser would load, in plotly's script neither: it is compressed."""
    html = to_html(executed(books.code("c", books.shown(bar(books.requests(), x="response"))),
                            books.code("t", books.shown(table(books.requests())))))  # fmt: skip
    assert loading(html) == []
    assert re.findall(r"https?://[^\s\"'<]+", html) == ["https://istio.io/latest/docs/"] * 2  # the link of the finding
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    "evil",
    ['<script src="https://cdn.example/x.js"></script>', '<img src="https://a.example/x.png">',
     '<link rel="stylesheet" href="//a.example/x.css">', '<div style="background:url(https://a.example/x.png)">a</div>',
     "<style>@import 'https://a.example/x.css'; p{background:url(http://a.example/y)}</style>",
     '<iframe src="https://a.example"></iframe>', "<video poster='http://a.example/p' src=http://a.example/v></video>",
     '<svg><image href="https://a.example/x.svg"/></svg>', '<object data="https://a.example/o"></object>',
     '<img srcset="https://a.example/x.png 2x">', '<meta http-equiv="refresh" content="0;url=https://a.example">',
     '<base href="https://a.example/">'],
)  # fmt: skip
def test_what_others_left_to_be_loaded_is_taken_out_and_counted(evil):
    output = books.shown({"text/html": evil, "text/plain": "x"})
    for cell in (books.code("x", output), books.markdown(f"see {evil}")):
        html = to_html(executed(cell))
        body = html.partition("<main>")[2]
        assert loading(body) == [] and "<script src" not in body
        assert re.search(r"\d references? to other places on a network", html)


def test_links_stay():
    html = to_html(executed(books.markdown("[read](https://istio.io/x) ![picture](https://a.example/p.png)")))
    assert '<a href="https://istio.io/x">read</a>' in html and "a.example" not in html


def test_plotly_is_embedded_once_and_only_for_charts():
    chart = books.shown(bar(books.requests(), x="response"))
    one = to_html(executed(books.code("c", chart)))
    three = to_html(executed(*[books.code("c", chart)] * 3))
    none = to_html(executed(books.code("t", books.shown(table(books.requests())))))
    assert len(none) < 60_000 and 'id="plotly"' not in none and "script-src 'none'" in none
    assert one.count('id="plotly"') == three.count('id="plotly"') == 1
    assert len(one) < 2_500_000 and len(three) - len(one) < 60_000


def test_charts_have_a_static_picture_in_words_too():
    html = to_html(
        executed(books.code("c", books.shown(durations(books.requests(), value="duration_ms", group="pod"))))
    )
    assert "<svg " in html and 'role="img"' in html and 'aria-label="Durations: catalog-v2-slow' in html


def test_figures_of_plotly_itself_are_drawn_too():
    figure = go.Figure(go.Bar(x=["a"], y=[1]))
    data = {PLOTLY_MEDIA: figure.to_plotly_json(), "text/html": "<script src='https://cdn.plot.ly/x.js'></script>"}
    html = to_html(executed(books.code("f", books.shown({**data, PLOTLY_MEDIA: {"data": [], "layout": {}}}))))
    assert 'class="chart"' in html and "cdn.plot.ly" not in html


def test_only_the_two_scripts_of_the_page_may_run():
    evil = books.shown({"text/html": "<script>alert(1)</script>"})
    html = to_html(executed(books.code("x", evil), books.code("c", books.shown(bar(books.requests(), x="response")))))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.count("'sha256-") == 2 and "script-src 'sha256" in policy and "unsafe-inline'; img" in policy


def test_text_of_the_mesh_cannot_break_out():
    evil = "</script><script>alert(1)</script>"
    df = books.requests().assign(response=evil)
    html = to_html(executed(books.code("c", books.shown(bar(df, x="response", title=evil)))))
    assert html.count("<script>alert(1)") == 0


def test_form_and_source_are_told_at_the_top_alone():
    from meshnb.runbook.form import Form
    from meshnb.runbook.parameters import parse_cell

    form = Form(parse_cell('source: str = "demo"  # only in the form'), {})
    html = to_html(executed(books.code("meshnb.form()", books.shown(form))))
    assert "only in the form" not in html
    assert text_of(html).count("1.40.0") == 1


def test_style_sheet_is_there_once():
    html = to_html(executed(*[books.code("t", books.shown(table(books.requests())))] * 3))
    assert html.count(CSS.splitlines()[-2]) == 1 and "<style data-meshnb>" not in html


def test_code_is_hidden_behind_a_toggle_without_script():
    html = to_html(executed(books.code("mesh.routes()", books.shown(table(books.routes())))))
    assert "mesh" in html and ".code_cell .input{display:none" in html
    assert '<input type="checkbox" id="code">' in html and "body:has(#code:checked)" in html


def test_light_dark_and_print_are_in_the_sheet():
    html = to_html(executed())
    assert "light-dark(" in html and "@media print" in html and "color-scheme:light dark" in html


def test_crash_is_told_before_everything_found_before_it():
    broken = executed(books.code("1/0", books.failed("ZeroDivisionError", "division <by> zero")), verdict=False)
    html = to_html(broken)
    text = text_of(html)
    assert text.index("This run broke off") < text.index("Use this when")
    assert "division &lt;by&gt; zero" in html and 'role="alert"' in html and 'href="#cell-id=cell-4"' in html
    assert 'id="cell-id=cell-4"' in html


def test_nothing_checked_is_no_pass():
    html = to_html(executed(verdict=False))
    assert "nothing was checked" in html and "✔" not in html


def test_secrets_in_outputs_are_masked_and_counted():
    printed = {"output_type": "stream", "name": "stdout", "text": f"Authorization: Bearer {JWT}\n"}
    html = to_html(executed(books.code("print(x)", printed)))
    assert JWT not in html and "[redacted:jwt]" in html
    assert "1 secret (1 jwt)" in text_of(html)


def test_notebook_is_not_changed_and_html_is_the_same_each_time():
    notebook = executed(books.code("c", books.shown(bar(books.requests(), x="response"))))
    before = nbformat.writes(notebook)
    assert to_html(notebook) == to_html(notebook)
    assert nbformat.writes(notebook) == before


def test_outputs_without_a_form_for_paper_are_named():
    html = to_html(
        executed(books.code("w", books.shown({"application/vnd.jupyter.widget-view+json": {"model_id": "a"}})))
    )
    assert "shown only in a live notebook: application/vnd.jupyter.widget-view+json" in html


def test_missing_values_and_empty_frames_of_pandas_are_written_as_in_our_tables():
    frame = pd.DataFrame({"a": pd.array([None], dtype="string[pyarrow]"), "b": ["<NA>!"]})
    html = to_html(executed(books.code("f", books.shown({"text/html": frame.to_html()}))))
    assert (
        '<td class="absent">\u2013</td>' in html
        and "<td>&lt;NA&gt;!</td>" in html
        and "<td>&lt;NA&gt;</td>" not in html
    )
    html = to_html(executed(books.code("f", books.shown({"text/html": frame.head(0).to_html()}))))
    assert "no rows</td>" in html


def test_pandas_frames_are_readable():
    html = to_html(executed(books.code("df", books.shown({"text/html": books.requests().to_html(), "text/plain": ""}))))
    assert 'class="dataframe"' in html and "table.dataframe" in html
