"""`meshnb table NAME SOURCE`: one table of a snapshot or a raw file, for a terminal or another program."""

from __future__ import annotations

import argparse
import difflib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.cli import CLEAN, _output
from meshnb.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.runbook.mesh import Mesh

# flag -> columns it may look at, the first that the table has
_COLUMNS = {
    "port": ("port",),
    "subset": ("subset",),
    "direction": ("direction",),
    "address": ("address", "addresses"),
    "type": ("type",),
    "name": ("route_config", "secret", "listener", "name"),
    "cluster": ("cluster",),
    "status": ("health_status", "status", "state"),
    "workload": ("workload", "name"),
    "workload_namespace": ("workload_namespace", "namespace"),
    "workload_node": ("node",),
    "service_namespace": ("namespace",),
    "policy_namespace": ("namespace",),
    "fqdn": ("fqdn",),
}


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "table",
        help="print a table of a snapshot or a raw file",
        description="Print a table of a snapshot, or of one raw file: a config dump, a /clusters page, a log.",
        epilog="With --style istioctl the text is that of istioctl proxy-config and ztunnel-config, filters included.",
    )
    parser.add_argument("table", metavar="NAME", help="table, such as clusters, routes or ztunnel_workload")
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="snapshot (folder, .tar.gz, demo, lab), raw file, - for standard input, or 'exec:COMMAND' for its output",
    )
    parser.add_argument(
        "-o", "--output", choices=(*_output.FORMATS, "short", "yaml"), help="text (default), csv, json, md, parquet"
    )
    parser.add_argument("--to", default="", metavar="FILE", help="write to a file instead of standard output")
    parser.add_argument("--columns", default="", metavar="A,B", help="only these columns, in this order")
    parser.add_argument("--proxy", default="", metavar="POD.NAMESPACE", help="only of this proxy of a snapshot")
    parser.add_argument("--style", choices=("istioctl", "istioctl-1.6"), help="print exactly what istioctl prints")
    parser.add_argument("--with-headers", action="store_true", help="istioctl: a heading over each table of all")
    parser.add_argument(
        "--verbose", action=argparse.BooleanOptionalAction, default=True, help="istioctl: the longer table"
    )
    parser.add_argument("--raw", action="store_true", help="istioctl: addresses of connections as they are")
    parser.add_argument(
        "--at", default="", metavar="TIME", help="time at which certificates must be valid; default now"
    )
    filters = parser.add_argument_group("filters")
    for name in _COLUMNS:
        flags = list(dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}")))
        filters.add_argument(*flags, type=int if name == "port" else str, metavar=name.upper())
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    filters = {name: value for name in _COLUMNS if (value := getattr(arguments, name)) not in (None, "")}
    if arguments.style and arguments.table == "proxy_status":
        from meshnb.views.proxy_status import istioctl_proxy_status

        status = _filter(arguments.table, _table(arguments), filters)
        _output.put(istioctl_proxy_status(status), arguments.to)
        return CLEAN
    if arguments.style:
        _output.put(_istioctl(arguments, filters), arguments.to)
        return CLEAN
    output = arguments.output or "text"
    if output not in _output.FORMATS:
        raise UsageError(f"-o {output} needs --style istioctl", hint=f"formats: {', '.join(_output.FORMATS)}")
    df = _filter(arguments.table, _table(arguments), filters)
    _output.write(_columns(df, arguments.columns), output, arguments.to)
    skipped = df.attrs.get("skipped")
    if skipped and isinstance(skipped, dict):  # by reason
        print(*(f"meshnb: left out {count}: {reason}" for reason, count in skipped.items()), sep="\n", file=sys.stderr)
    elif skipped:
        print(f"meshnb: {skipped} lines were not of this kind and are left out", file=sys.stderr)
    return CLEAN


def is_snapshot(source: str) -> bool:
    """Whether a source is a snapshot, not one raw file."""
    if source.startswith("exec:"):
        return False
    path = Path(source).expanduser()
    named = source in ("demo", "lab", "live") or source.startswith(("demo/", "live:"))
    return named or path.is_dir() or path.name.endswith((".tar.gz", ".tgz"))


def _table(arguments: argparse.Namespace) -> pd.DataFrame:
    if is_snapshot(arguments.source):
        from meshnb.runbook.mesh import open as open_mesh

        mesh = open_mesh(arguments.source)
        moment = _moment(arguments.at)
        df = mesh.secrets(at=moment) if moment and arguments.table == "secrets" else mesh.table(arguments.table)
        return _of_proxy(df, arguments.proxy) if arguments.proxy else df
    from meshnb.loaders.files import READERS

    if arguments.table not in READERS:
        if is_snapshot(arguments.table):
            raise UsageError(
                "the table comes first, then the source", hint=f"meshnb table {arguments.source} {arguments.table}"
            )
        near = difflib.get_close_matches(arguments.table, READERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"tables of a file: {', '.join(READERS)}"
        raise UsageError(f"no table {arguments.table!r} can be read from one file", hint=hint)
    moment = _moment(arguments.at)
    if arguments.table in ("secrets", "ztunnel_certificate") and moment is not None:
        return _certificates(arguments, moment)
    return READERS[arguments.table](_source(arguments.source))


def _certificates(arguments: argparse.Namespace, moment: datetime) -> pd.DataFrame:
    if arguments.table == "secrets":
        from meshnb.loaders.config_dump import read_config_dump

        return read_config_dump(_source(arguments.source)).secrets(at=moment)
    from meshnb.loaders.ztunnel import read_ztunnel_dump

    return read_ztunnel_dump(_source(arguments.source)).certificates(at=moment)


def _source(source: str) -> str | bytes:
    from meshnb.sources.command import SCHEME, output_of

    if source.startswith(SCHEME):
        return output_of(source.removeprefix(SCHEME))
    return sys.stdin.buffer.read() if source == "-" else source


def _of_proxy(df: pd.DataFrame, proxy: str) -> pd.DataFrame:
    if "proxy" not in df.columns:
        raise UsageError("this table is not of proxies", hint="leave --proxy out")
    kept = df[(df.proxy == proxy).fillna(False)].reset_index(drop=True)
    if kept.empty and len(df):
        known = ", ".join(sorted(df.proxy.dropna().unique()))
        raise UsageError(f"no proxy {proxy!r} in this table", hint=f"proxies: {known}")
    return kept


def _filter(table: str, df: pd.DataFrame, filters: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    for name, wanted in filters.items():
        column = next((one for one in _COLUMNS[name] if one in df.columns), None)
        if column is None:
            raise UsageError(
                f"the table {table} has no filter --{name.replace('_', '-')}",
                hint=f"see its columns: meshnb table {table} SOURCE -o csv",
            )
        if column == "addresses":
            keep = pd.Series([wanted in list(values) for values in df[column]], index=df.index)
        elif name == "fqdn":
            keep = df[column].str.contains(wanted, regex=False)
        elif name in ("status", "type", "direction", "address"):
            keep = df[column].str.lower() == str(wanted).lower()
        else:
            keep = df[column] == wanted
        df = df[keep.fillna(False).astype(bool)]
    return df.reset_index(drop=True)


def _columns(df: pd.DataFrame, wanted: str) -> pd.DataFrame:
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in df.columns:
            near = difflib.get_close_matches(name, df.columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(df.columns)}"
            raise UsageError(f"the table has no column {name!r}", hint=hint)
    return df[names] if names else df


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--at {text!r} is not a time", hint="for example 2026-11-23T09:00:00Z") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _istioctl(arguments: argparse.Namespace, filters: dict[str, Any]) -> str:
    from meshnb.loaders.istioctl import Options, istioctl_text

    output = arguments.output or "short"
    output = "short" if output == "text" else output
    if output not in ("short", "json", "yaml"):
        raise UsageError(f"istioctl has no output {output!r}", hint="-o short, json or yaml; or leave --style out")
    if arguments.raw:
        filters = {**filters, "raw": True}
    options = Options(
        filters,
        style=arguments.style,
        output=output,
        verbose=arguments.verbose,
        with_headers=arguments.with_headers,
        at=_moment(arguments.at),
    )
    return istioctl_text(arguments.table, _istioctl_source(arguments), options)


def _istioctl_source(arguments: argparse.Namespace) -> str | bytes:
    if not is_snapshot(arguments.source):
        return _source(arguments.source)
    from meshnb.runbook.mesh import open as open_mesh

    mesh: Mesh = open_mesh(arguments.source)
    proxy = arguments.proxy or (mesh.proxies[0] if len(mesh.proxies) == 1 else "")
    if not proxy:
        raise UsageError("istioctl looks at one proxy", hint=f"--proxy with one of: {', '.join(mesh.proxies)}")
    return mesh.config_dump(proxy).data
