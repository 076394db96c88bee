"""The config dumps of many proxies at once, read by as many processes as the machine has cores.

The processes are plain `python -m meshnb.loaders.fleet`, which works from a script, a notebook or a service alike; they
hand their tables back as Arrow streams.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.errors import MeshnbError, RunError, UsageError
from meshnb.loaders.config_dump import ConfigDump, read_config_dump
from meshnb.model.frame import Frame, to_pandas
from meshnb.model.tables.envoy import BOOTSTRAP, CLUSTERS, ECDS, ENDPOINTS, LISTENERS, ROUTES, SECRETS, SIZES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FRAMES: dict[str, Frame] = {
    one.name: one for one in (LISTENERS, ROUTES, CLUSTERS, ENDPOINTS, SECRETS, ECDS, BOOTSTRAP, SIZES)
}
"""Tables that can be asked for."""


@dataclass(frozen=True, slots=True)
class ConfigDumps:
    """Tables over many proxies.

    Args:
        tables: DataFrame by name of the table.
        unreadable: why, by the path of each dump that could not be read.
    """

    tables: dict[str, pd.DataFrame]
    unreadable: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, table: str) -> pd.DataFrame:
        return self.tables[table]


def read_config_dumps(
    paths: Sequence[str | Path] | Mapping[str, str | Path],
    *,
    tables: Sequence[str] = ("listeners", "routes", "clusters", "endpoints"),
    workers: int = 0,
) -> ConfigDumps:
    """Read many config dumps into tables over all proxies.

    Args:
        paths: the files; a mapping gives each the proxy (`POD.NAMESPACE`) it is of.
        tables: names of tables, of `FRAMES`.
        workers: processes; the number of cores if 0. One reads in this process.

    Returns:
        The tables, rows in the order of the files, and the files that could not be read with the reason.

    Raises:
        UsageError: no such table.
        RunError: a process was ended from outside.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "web-0.json"
        >>> _ = file.write_text('{"configs": []}')
        >>> dumps = read_config_dumps({"web-0.shop": file, "web-1.shop": "gone.json"}, workers=1)
        >>> len(dumps["clusters"]), dumps.unreadable
        (0, {'gone.json': 'no file gone.json'})
    """
    unknown = sorted(set(tables) - set(FRAMES))
    if unknown:
        raise UsageError(f"no table {', '.join(unknown)}", hint=f"tables: {', '.join(FRAMES)}")
    pairs = list(paths.items()) if isinstance(paths, Mapping) else [("", path) for path in paths]
    jobs = [[proxy, str(path)] for proxy, path in pairs]
    count = min(workers or os.cpu_count() or 1, max(len(jobs), 1))
    if count == 1:
        made, unreadable = _read(jobs, tables)
    else:
        made, unreadable = _in_processes(jobs, list(tables), count)
    return ConfigDumps({name: to_pandas(table) for name, table in made.items()}, unreadable)


def _read(jobs: list[list[str]], tables: Sequence[str]) -> tuple[dict[str, pa.Table], dict[str, str]]:
    import pyarrow as pa

    parts: dict[str, list[pa.Table]] = {name: [_empty(FRAMES[name])] for name in tables}
    unreadable: dict[str, str] = {}
    for proxy, path in jobs:
        try:
            dump = read_config_dump(path, proxy=proxy)
            made = {name: _make(dump, name) for name in tables}
        except MeshnbError as error:
            unreadable[path] = error.message
            continue
        for name, table in made.items():
            parts[name].append(table)
    return {name: pa.concat_tables(found) for name, found in parts.items()}, unreadable


def _make(dump: ConfigDump, table: str) -> pa.Table:
    if table in ("listeners", "routes", "clusters", "endpoints"):
        return dump.arrow(table)
    import pyarrow as pa

    frame = FRAMES[table]
    schema = pa.schema([(column.name, column.arrow_type) for column in frame.columns])
    df = getattr(dump, table)()
    return pa.Table.from_pandas(df, schema=schema, preserve_index=False).replace_schema_metadata(None)


def _empty(frame: Frame) -> pa.Table:
    return frame.arrow({name: [] for name in frame.column_names})


def _in_processes(jobs: list[list[str]], tables: list[str], count: int) -> tuple[dict[str, pa.Table], dict[str, str]]:
    import pyarrow as pa

    # even shares by size, each a run of neighbours, so that the rows stay in order
    shares = _shares(jobs, count)
    unreadable: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="meshnb-") as folder:
        running = []
        for number, share in enumerate(shares):
            order = {"jobs": share, "tables": tables, "folder": str(Path(folder) / str(number))}
            process = subprocess.Popen(
                [sys.executable, "-m", "meshnb.loaders.fleet"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                # meshnb is where this process found it, installed or not
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
            running.append((process, json.dumps(order)))
        try:
            # each is given its order before any is waited for
            for process, order_text in running:
                assert process.stdin is not None  # noqa: S101 - it was opened as a pipe
                process.stdin.write(order_text)
                process.stdin.close()
                process.stdin = None
            for process, _ in running:
                answer, _ = process.communicate()
                if process.returncode:
                    raise RunError(f"a reading process ended with {process.returncode}", hint="try workers=1")
                unreadable |= json.loads(answer)
        finally:
            for process, _ in running:
                process.kill()
                process.wait()
        made = {
            name: pa.concat_tables([_load(Path(folder) / str(number) / name) for number in range(len(shares))])
            for name in tables
        }
    return made, unreadable


def _shares(jobs: list[list[str]], count: int) -> list[list[list[str]]]:
    sizes = [_size(path) for _, path in jobs]
    target = sum(sizes) / count
    shares: list[list[list[str]]] = [[] for _ in range(count)]
    done = 0.0
    for job, size in zip(jobs, sizes, strict=True):
        shares[min(int((done + size / 2) / target), count - 1) if target else 0].append(job)
        done += size
    return [share for share in shares if share]


def _size(path: str) -> int:
    try:
        return Path(path).expanduser().stat().st_size
    except OSError:
        return 0


def _load(file: Path) -> pa.Table:
    import pyarrow as pa

    with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
        return stream.read_all()


def work(order: Mapping[str, Any]) -> dict[str, str]:
    """What a process does: read its share and write each table as an Arrow stream; returns what was unreadable."""
    import pyarrow as pa

    made, unreadable = _read(order["jobs"], order["tables"])
    folder = Path(order["folder"])
    folder.mkdir(parents=True)
    for name, table in made.items():
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return unreadable


if __name__ == "__main__":
    sys.stdout.write(json.dumps(work(json.load(sys.stdin))))
