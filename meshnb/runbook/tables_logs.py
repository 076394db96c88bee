"""Tables of a `Mesh` from access logs and debug logs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from meshnb.checks.causes_log import Log, open_log
from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.loaders.access_log import AccessLog, scan_access_log
from meshnb.loaders.access_log_lines import LogFile
from meshnb.loaders.log_times import lines_between
from meshnb.model.frame import returns
from meshnb.model.tables.logs import (
    ACCESS_LOG,
    DEBUG_LOG,
    LOG_LEVELS,
    RESPONSE_FLAGS,
    SKIPPED_LINES,
    STORY,
    TCP_STREAMS,
)
from meshnb.runbook.base import MeshBase, Needs

if TYPE_CHECKING:
    import pandas as pd


class LogTables(MeshBase):
    """What the proxies logged."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "access_log": Needs("proxy_log"),
        "skipped_lines": Needs("proxy_log"),
        "response_flags": Needs("proxy_log"),
        "debug_log": Needs("proxy_log"),
        "log_levels": Needs("logging"),
        "tcp_streams": Needs("capture"),
    }

    @returns(ACCESS_LOG)
    def access_log(self, proxy: str = "") -> pd.DataFrame:
        """Access logs of all proxies, or of one, within the window of the mesh.

        Args:
            proxy: `POD.NAMESPACE`.

        Raises:
            NotFound: the snapshot holds no log of this proxy.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo/missing-subset").access_log()["flag_set"].dropna().unique().tolist()
            ['NC']
        """
        files = self._log_files(proxy)
        if not files:
            return ACCESS_LOG.empty()
        if ("access_log", proxy) not in self._made:
            log = self._scanned(files)
            self._made["access_log", proxy] = log.to_pandas()
            self._made["skipped_lines", proxy] = log.skipped
        return self._made["access_log", proxy].copy(deep=False)

    def scan(self, name: str) -> Log:
        """The access logs of all proxies within the window, to be asked without their rows in memory.

        Args:
            name: `access_log`; no other table is as large.

        Raises:
            UsageError: another table.
        """
        if name != "access_log":
            raise UsageError(f"table {name!r} cannot be scanned", hint=f"take mesh.table({name!r})")
        return self._opened

    @cached_property
    def _opened(self) -> Log:
        files = self._log_files("")
        if ("access_log", "") in self._made or not files:
            return open_log(self.access_log())
        return open_log(self._scanned(files))

    def container_log(self, pod: str, container: str) -> str:
        """The log of a container as it was captured, within the window of the mesh (both ends included).

        Args:
            pod: `POD.NAMESPACE`.
            container: name of the container: `istio-proxy`, `discovery` …

        Raises:
            NotFound: the snapshot holds no such log; names those it holds.
        """
        path = f"logs/{pod}/{container}.log"
        logs = {d.path: d for d in self.snapshot.documents() if d.path.startswith("logs/")}
        if path not in logs:
            raise NotFound(f"no {path} in {self.snapshot.name}", hint=f"there are: {', '.join(logs) or 'none'}")
        text = self.snapshot.read(logs[path]).decode("utf-8", "replace")
        if self.window is None:
            return text
        return lines_between(text, start=self.window.start, end=self.window.end)

    @returns(SKIPPED_LINES)
    def skipped_lines(self, proxy: str = "") -> pd.DataFrame:
        """Lines of the proxies' logs that are no access log lines: Envoy's and pilot-agent's own, and damaged ones.

        Args:
            proxy: `POD.NAMESPACE`.

        Raises:
            NotFound: the snapshot holds no log of this proxy.
        """
        files = self._log_files(proxy)
        if not files:
            return SKIPPED_LINES.empty()
        if ("skipped_lines", proxy) not in self._made:
            self._made["skipped_lines", proxy] = self._scanned(files).skipped
        return self._made["skipped_lines", proxy].copy(deep=False)

    @returns(RESPONSE_FLAGS)
    def response_flags(self, proxy: str = "") -> pd.DataFrame:
        """Response flags seen in the access log, most frequent first, with their meaning.

        Args:
            proxy: `POD.NAMESPACE`.

        Raises:
            NotFound: the snapshot holds no log of this proxy.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo/missing-subset").response_flags().name.tolist()
            ['NoClusterFound']
        """
        from meshnb.envoy.flags import count_flags

        log = self._opened if not proxy else self._opened_of(proxy, "flag_set")
        rows = log.ibis(log.table)
        seen = log.run(rows.group_by("flag_set").agg(requests=rows.count())).to_pydict()
        return count_flags(dict(zip(seen["flag_set"], seen["requests"], strict=True)))

    @returns(DEBUG_LOG)
    def debug_log(self, proxy: str = "") -> pd.DataFrame:
        """Records of Envoy's own log in the proxies' logs, at whatever level was set.

        Args:
            proxy: `POD.NAMESPACE`.

        Raises:
            NotFound: the snapshot holds no log of this proxy.
        """
        from meshnb.loaders.debug_log import read_debug_log

        files = self._log_files(proxy)
        if ("debug_log", proxy) not in self._made:
            self._made["debug_log", proxy] = read_debug_log(files) if files else DEBUG_LOG.empty()
        return self._made["debug_log", proxy].copy(deep=False)

    @returns(STORY)
    def story(self, request_id: str = "", *, connection: int | None = None, stream: str = "") -> pd.DataFrame:
        """One request's life through all proxies that logged it at debug level; see `meshnb.envoy.debug_story.story`.

        Args:
            request_id: x-request-id of the request.
            connection: number of a connection instead.
            stream: number of a stream instead.

        Raises:
            NotFound: no log mentions it.
        """
        from meshnb.envoy.debug_story import story

        return story(self.debug_log(), request_id=request_id, connection=connection, stream=stream)

    @returns(LOG_LEVELS)
    def log_levels(self, proxy: str = "") -> pd.DataFrame:
        """Levels of the proxies' loggers.

        Args:
            proxy: `POD.NAMESPACE`.

        Raises:
            NotFound: the snapshot does not hold them for this proxy.
        """
        from meshnb.loaders.debug_log import read_log_levels

        return self.each_document(
            "log_levels",
            LOG_LEVELS,
            lambda document, data: LOG_LEVELS.rows(
                read_log_levels(data.decode(errors="replace"), proxy=document.proxy)
            ),
            proxy=proxy,
        )

    @returns(TCP_STREAMS)
    def tcp_streams(self, proxy: str = "") -> pd.DataFrame:
        """TCP connections in the packet captures of the snapshot.

        Args:
            proxy: `POD.NAMESPACE` of the pod the capture was taken in.

        Raises:
            NotFound: the snapshot holds no capture of this pod.
        """
        from meshnb.loaders.pcap import read_pcap

        return self.each_document(
            "tcp_streams",
            TCP_STREAMS,
            lambda document, data: read_pcap(data, name=self.snapshot.source_of(document), proxy=document.proxy),
            proxy=proxy,
        )

    def _scanned(self, files: list[LogFile]) -> AccessLog:
        """Logs within the window, not read yet."""
        return scan_access_log(files).filter(self._in_window())

    def _opened_of(self, proxy: str, *columns: str) -> Log:
        """Columns of the log of one proxy, to be asked; those of the others are not read for it."""
        made, files = self._made.get(("access_log", proxy)), self._log_files(proxy)
        return open_log(self._scanned(files) if made is None and files else self.access_log(proxy), columns)

    def _log_files(self, proxy: str) -> list[LogFile]:
        """Logs of the proxies that are there; those that are not are kept in `gaps`."""
        documents = self.documents("access_log", proxy=proxy)
        if proxy and not documents:
            known = sorted({d.proxy for d in self.documents("access_log")})
            raise NotFound(f"no access log of proxy {proxy!r}", hint=f"proxies: {', '.join(known) or 'none'}")
        files = []
        for document in documents:
            try:
                path = self.snapshot.path(document)
                files.append(LogFile(path, self.snapshot.source_of(document), document.proxy))
            except FormatError as error:
                self._unreadable[document.path] = error.message
        return files

    def _in_window(self) -> str:
        if self.window is None:
            return ""
        start, end = (t.strftime("%Y-%m-%d %H:%M:%S.%f") for t in (self.window.start, self.window.end))
        return f"start_time >= TIMESTAMP '{start}' AND start_time < TIMESTAMP '{end}'"
