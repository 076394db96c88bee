"""The runbooks in a real JupyterLab: all cells run, nothing fails, form, table, chart and verdict are seen."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request

import pytest

from meshnb.runbook import library

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TIMEOUT_MS = 120_000
# every cell has run, or one failed and the rest will not
DONE = """() => {
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.textContent);
  const failed = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]') !== null;
  return failed || (prompts.length > 0 && prompts.every(text => /\\[\\d+\\]/.test(text)));
}"""


def run_all(page, url, token, name):
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=TIMEOUT_MS)
    until = time.monotonic() + TIMEOUT_MS / 1000
    while not connected(url, token, name):
        assert time.monotonic() < until, "no kernel"
        accept = page.locator(".jp-Dialog .jp-mod-accept")  # it may ask which kernel to take
        if accept.count():
            accept.first.click()
        page.wait_for_timeout(200)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(DONE, timeout=TIMEOUT_MS)


def connected(url, token, name):
    """Whether the notebook has its kernel: what the page shows as idle may have none yet."""
    with urllib.request.urlopen(f"{url}/api/sessions?token={token}", timeout=10) as answer:
        kernels = [session["kernel"] for session in json.load(answer) if session["path"] == name]
    return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels)


@pytest.mark.parametrize("name", ["503-no-cluster", "504-slow-upstream"])
def test_runbook_runs_in_jupyterlab(jupyterlab, open_page, name):
    url, token, root = jupyterlab
    shutil.copyfile(library.find(name).path, root / f"{name}.ipynb")
    page = open_page(f"{url}/lab/tree/{name}.ipynb?reset&token={token}")
    run_all(page, url, token, f"{name}.ipynb")
    outputs = page.locator(".jp-OutputArea-output")
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert outputs.count() > 5
    # the form is live: a field for the source, and Apply
    form = page.locator(".jupyter-widgets").first
    form.wait_for(timeout=TIMEOUT_MS)
    assert page.locator(".jupyter-widgets input[type='text']").count() >= 3
    assert page.get_by_role("button", name="Apply").count() == 1
    # a chart drawn by plotly, a table, and the verdict
    page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=TIMEOUT_MS)
    assert page.locator(".meshnb table tbody tr").count() > 3
    assert page.locator(".meshnb .head", has_text="Verdict").count() == 1
    assert page.locator(".meshnb .finding.error").count() >= 1
    # and it keeps its height when the window or a side bar changes its size
    height = "[...document.querySelectorAll('.js-plotly-plot .main-svg')].map(e => e.getBoundingClientRect().height)"
    before = page.evaluate(height)
    page.set_viewport_size({"width": 1000, "height": 800})
    page.wait_for_timeout(1000)  # plotly hears of it 0.1 s later
    assert min(before) > 100 and page.evaluate(height) == before
    # the theme of JupyterLab decides, not that of the system
    ink = "getComputedStyle(document.querySelector('.meshnb')).color"
    assert page.evaluate(ink) == "rgb(28, 33, 40)"
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    assert page.evaluate(ink) == "rgb(230, 233, 238)"
    foreign = [request for request in page.requests if not request.startswith((url, "data:", "blob:"))]
    assert not foreign


def test_apply_sets_the_variables(jupyterlab, open_page):
    url, token, root = jupyterlab
    shutil.copyfile(library.find("503-no-cluster").path, root / "form.ipynb")
    page = open_page(f"{url}/lab/tree/form.ipynb?reset&token={token}")
    run_all(page, url, token, "form.ipynb")
    field = page.locator(".jupyter-widgets input[type='text']").first
    field.wait_for(timeout=TIMEOUT_MS)
    assert field.input_value() == "demo/missing-subset"
    field.fill("demo")
    field.press("Tab")
    page.get_by_role("button", name="Apply").click()
    page.get_by_text("Set source = 'demo'. Now run the cells below.").wait_for(timeout=TIMEOUT_MS)
