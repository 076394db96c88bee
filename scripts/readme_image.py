#!/usr/bin/env python3
"""Writes docs/img/report.png: the head of the report that the demo of the README makes.

    .venv/bin/python scripts/readme_image.py

Needs what `scripts/setup` installs, and a Chromium.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from meshnb.report.pdf import find_browser
from meshnb.report.run import execute

IMAGE = Path(__file__).parents[1] / "docs" / "img" / "report.png"
SIZE = {"width": 1120, "height": 1395}


def main() -> None:
    """Run the runbook on the recorded demo and take the picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        result = execute("503-no-cluster", out=folder)
        browser = playwright.chromium.launch(executable_path=str(find_browser()), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(result.html.as_uri())
        page.wait_for_function("document.documentElement.dataset.charts !== undefined")
        page.screenshot(path=IMAGE)
        browser.close()


if __name__ == "__main__":
    main()
