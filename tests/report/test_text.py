import json

import books

from meshnb.report.text import to_json, to_markdown
from meshnb.views import FindingList, bar, facts, table


def executed(*cells):
    return books.notebook(
        books.markdown("# A case\n\nUse this when."),
        books.code('source: str = "a|b"', tags=("parameters",)),
        books.code("mesh", books.shown(facts({"Envoy": "1.40.0"}, source=True))),
        *cells,
        books.code("v", books.shown(FindingList([books.broken(), books.unknown()], title="Verdict"))),
    )


def test_markdown_has_verdict_first_then_the_cells():
    text = to_markdown(
        executed(
            books.markdown("## What do the logs say?"),
            books.code("t", books.shown(table(books.routes(), title="Routes"))),
            books.code("c", books.shown(bar(books.requests(), x="response", title="Requests"))),
        )
    )
    order = ["# A case", "| `source` | `a\\|b` |", "| Envoy | 1.40.0 |", "## Verdict: 1 error, 1 unknown",
             "80 % of the requests looked at.", "```yaml\napiVersion: networking.istio.io/v1", "```sh\nmeshnb run",
             "- **unknown** `MNB0301`", "Use this when.", "## What do the logs say?", "Routes\nroute",
             "Requests: 200 8 (67 %), 504 UT 4 (33 %)."]  # fmt: skip
    places = [text.index(said) for said in order]
    assert places == sorted(places) and text.count("MNB0101") == 1


def test_a_fence_in_an_output_does_not_end_ours():
    stream = {"output_type": "stream", "name": "stdout", "text": "```\nx\n"}
    assert "````\n```\nx\n````" in to_markdown(executed(books.code("p", stream)))


def test_crash_is_told_in_both():
    notebook = executed(books.code("1/0", books.failed("ZeroDivisionError", "division by zero")))
    assert "This run broke off** in cell 4: ZeroDivisionError" in to_markdown(notebook)
    assert json.loads(to_json(notebook))["crash"] == {"kind": "ZeroDivisionError", "message": "division by zero"}


def test_json_says_what_was_looked_at_and_found():
    data = json.loads(to_json(executed()))
    assert data["version"] == 1 and data["verdict"] == "fail" and data["source"] == {"Envoy": "1.40.0"}
    assert [f["code"] for f in data["findings"]] == ["MNB0101", "MNB0301"]
