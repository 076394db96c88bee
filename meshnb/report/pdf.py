"""An HTML report printed to PDF by a Chromium that is there; meshnb brings none."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from meshnb.errors import NotFound, RunError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
"""Names a browser of the Chromium family has on PATH."""

_APPLICATIONS = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge"),
)
_TIMEOUT_S = 120


def find_browser() -> Path | None:
    """A browser of the Chromium family, if one is installed."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return Path(found)
    return next((path for path in _APPLICATIONS if path.is_file()), None)


def arguments(browser: Path, profile: Path) -> list[str]:
    """How a browser is started so that it shows nothing, keeps nothing and asks nothing of the network."""
    flags = [
        "--headless", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-background-networking",
        "--disable-component-update", "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium does not start as root with it
    return [str(browser), *flags]


def to_pdf(html: Path, pdf: Path) -> None:
    """Print an HTML report.

    Args:
        html: the report.
        pdf: where to write.

    Raises:
        NotFound: no browser of the Chromium family is installed.
        RunError: the browser wrote nothing.
    """
    browser = find_browser()
    if browser is None:
        raise NotFound(
            "a PDF needs a browser of the Chromium family, and none is on PATH",
            hint=f"install chromium, or open {html} in any browser and print it",
        )
    with tempfile.TemporaryDirectory(prefix="meshnb-", ignore_cleanup_errors=True) as folder:
        target = Path(folder) / "report.pdf"
        command = [*arguments(browser, Path(folder) / "profile"), "--no-pdf-header-footer"]
        command += [f"--print-to-pdf={target}", html.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
            said = done.stderr.decode(errors="replace").strip()
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
        if not target.is_file():
            raise RunError(f"{browser} wrote no PDF: {said[-300:] or 'it said nothing'}", hint=f"print {html} by hand")
        shutil.copyfile(target, pdf)
