"""A real Prometheus on a free loopback port, filled from OpenMetrics text by promtool."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

_READY_S = 60


class RealPrometheus:
    """Start Prometheus on `openmetrics`; use as a context manager.

    Args:
        openmetrics: the series, timestamps in seconds, ending with `# EOF`; empty for none.
        rules: text of a rule file.
        options: further flags.
    """

    def __init__(self, openmetrics: str = "", *, rules: str = "", options: tuple[str, ...] = ()) -> None:
        for tool in ("prometheus", "promtool"):
            if not shutil.which(tool):
                raise FileNotFoundError(f"{tool} is not installed; Debian: apt-get install prometheus")
        self.folder = Path(tempfile.mkdtemp(prefix="realprom-"))
        self.openmetrics, self.rules, self.options = openmetrics, rules, options

    def __enter__(self) -> RealPrometheus:
        data = self.folder / "data"
        data.mkdir()
        if self.openmetrics:
            source = self.folder / "series.om"
            source.write_text(self.openmetrics)
            command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", source, data, "-q"]
            done = subprocess.run([*map(str, command)], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr + done.stdout
        (self.folder / "rules.yml").write_text(self.rules or "groups: []\n")
        config = "global: {evaluation_interval: 1s, scrape_interval: 15s}\nrule_files: [rules.yml]\n"
        (self.folder / "prometheus.yml").write_text(config)
        for _ in range(3):  # another process may take the free port first
            self.port = _free_port()
            self.url = f"http://127.0.0.1:{self.port}"
            command = [
                "prometheus",
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={data}",
                "--storage.tsdb.retention.time=20y",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=error",
                *self.options,
            ]
            with (self.folder / "log").open("w") as log:
                self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
            if self._ready():
                return self
        raise RuntimeError((self.folder / "log").read_text())

    def _ready(self) -> bool:
        end = time.monotonic() + _READY_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                    if answer.status == 200:
                        return True
            except OSError:
                time.sleep(0.05)
        return False

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
