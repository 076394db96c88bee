"""The HTML report in a browser that can resolve no name: charts are drawn, light and dark, and in print."""

from __future__ import annotations

import json
from importlib.resources import files

import books
import pytest

from meshnb.report.html import to_html
from meshnb.report.pdf import to_pdf
from meshnb.views import FindingList, bar, durations, lines, table, timeline
from meshnb.views.charts import PLOTLY_MEDIA
from meshnb.views.plot import MARK

pytestmark = pytest.mark.browser

DRAWN = "() => document.documentElement.dataset.charts !== undefined"


GREEN = "rgb(0, 128, 0)"


def own_figure():
    """A figure someone made with plotly itself: shapes in colours of their own, one without a line."""
    import plotly.graph_objects as go

    figure = go.Figure(go.Scatter(x=[1, 2], y=[1, 2]))
    figure.add_hline(1.5, line_color=GREEN, annotation={"text": "target", "font": {"color": GREEN}})
    figure.add_shape(type="rect", x0=1, x1=1.5, y0=1, y1=1.5, fillcolor=GREEN)
    return {"text/plain": "Figure", PLOTLY_MEDIA: json.loads(figure.to_json())}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    df = books.requests()
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    notebook = books.notebook(
        books.markdown("# A route leads nowhere\n\nUse this when **503**."),
        books.code('source: str = "demo"', tags=("parameters",)),
        books.markdown("## What do the logs say?"),
        books.code("a", books.shown(bar(df, x="response", title="Requests by status", unit="requests"))),
        books.code("b", books.shown(timeline(df, time="start_time", color="response", title="Over time"))),
        books.code("c", books.shown(durations(df, value="duration_ms", group="pod", marks={"timeout": 500}))),
        books.code("d", books.shown(lines(df, x="start_time", y="duration_ms", color="pod", unit="ms"))),
        books.code("own", books.shown(own_figure())),
        books.code("e", books.shown(table(df.assign(path=evil), title="Access log"))),
        books.code("f", books.shown({"text/html": evil})),
        books.code("g", books.shown(FindingList([books.broken(), books.unknown()], title="Verdict"))),
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(to_html(notebook), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["light", "dark"])
def page(report, open_page, request):
    page = open_page(report.as_uri(), scheme=request.param)
    page.wait_for_function(DRAWN, timeout=60_000)
    return page


def test_charts_are_drawn_without_a_network(page, report):
    assert page.locator(".chart.drawn").count() == 5
    assert page.locator(".chart.drawn .live .main-svg").count() >= 4
    assert page.locator(".chart .live .barlayer .point").count() > 2
    assert [url for url in page.requests if not url.startswith(("data:", "blob:"))] == [report.as_uri()]


def test_only_limits_of_meshnb_take_the_colour_of_failures(page):
    """Shapes and notes of a figure someone made keep their colours; a timeout's mark follows light and dark."""
    color = "element => getComputedStyle(element).stroke"
    limit, own = page.locator(".chart").nth(2), page.locator(".chart").nth(4)
    assert own.locator(".shapelayer path").first.evaluate(color) == GREEN
    assert own.locator(".annotation text").evaluate("element => getComputedStyle(element).fill") == GREEN
    fail = page.evaluate("getComputedStyle(document.querySelector('.finding.error .state')).color")
    assert f'MARK = "{MARK}"' in (files("meshnb.report") / "report.js").read_text()
    assert limit.locator(".shapelayer path").first.evaluate(color) == fail


def test_a_line_of_a_log_cannot_run(page):
    assert page.title() == "A route leads nowhere"
    # what was refused is the smuggled script and nothing of ours
    assert all("Content Security Policy" in said or "ERR_FILE_NOT_FOUND" in said for said in page.wrong)


def contrast(page, selector):
    """Contrast of the text of an element against the page (WCAG)."""
    return page.evaluate(
        """selector => {
          const light = color => {
            const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
              .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const element = document.querySelector(selector), style = getComputedStyle(element);
          const ink = element instanceof SVGElement ? style.fill : style.color;
          const [a, b] = [light(ink), light(getComputedStyle(document.documentElement).backgroundColor)];
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }""",
        selector,
    )


@pytest.mark.parametrize(
    "selector", ["h1", ".about dt", ".finding.error .state", ".finding.unknown .state", ".meshnb td",
                 ".meshnb thead th", "#verdict pre", ".chart .live .ytick text", ".chart .live .xtick text", "footer"],
)  # fmt: skip
def test_text_is_legible_in_light_and_dark(page, selector):
    assert contrast(page, selector) >= 4.5


def test_nothing_is_wider_than_the_page(report, open_page):
    page = open_page(report.as_uri())
    page.wait_for_function(DRAWN, timeout=60_000)
    for width in (1280, 800, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_code_is_shown_by_the_toggle_alone(report, open_page):
    page = open_page(report.as_uri())
    assert page.locator(".code_cell .input").first.is_hidden()
    page.get_by_label("Show code").check()
    assert page.locator(".code_cell .input").first.is_visible()


def test_print_shows_the_pictures_and_the_evidence(report, open_page):
    page = open_page(report.as_uri(), scheme="dark")
    page.wait_for_function(DRAWN, timeout=60_000)
    page.emulate_media(media="print")
    assert page.locator(".chart .live").first.is_hidden() and page.locator(".chart svg[role=img]").first.is_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.get_by_role("cell", name="http.8080").first.is_visible()


def test_pdf_is_written(report, tmp_path):
    to_pdf(report, tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF") and len(data) > 20_000
