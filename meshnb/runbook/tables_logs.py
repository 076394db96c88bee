"""Tables of a `Mesh` from access logs and debug logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from meshnb.errors import FormatError, NotFound
from meshnb.loaders.access_log import scan_access_log
from meshnb.loaders.access_log_lines import LogFile
from meshnb.model.frame import Frame, returns
from meshnb.model.tables.logs import ACCESS_LOG, RESPONSE_FLAGS, SKIPPED_LINES
from meshnb.runbook.base import MeshBase, Needs

if TYPE_CHECKING:
    import pandas as pd


class LogTables(MeshBase):
    """What the proxies logged."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "access_log": Needs("proxy_log"),
        "skipped_lines": Needs("proxy_log"),
        "response_flags": Needs("proxy_log"),
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
            >>> meshnb.open("demo/missing-subset").access_log()["flags"].dropna().unique().tolist()
            ['NC']
        """
        return self._logs(proxy, "access_log", ACCESS_LOG)

    @returns(SKIPPED_LINES)
    def skipped_lines(self, proxy: str = "") -> pd.DataFrame:
        """Lines of the proxies' logs that are no access log lines: Envoy's and pilot-agent's own, and damaged ones.

        Args:
            proxy: `POD.NAMESPACE`.

        Raises:
            NotFound: the snapshot holds no log of this proxy.
        """
        return self._logs(proxy, "skipped_lines", SKIPPED_LINES)

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

        return count_flags(self.access_log(proxy)["flags"])

    def _logs(self, proxy: str, table: str, frame: Frame) -> pd.DataFrame:
        """One of the two tables that reading the logs makes; both are kept."""
        documents = self.documents("access_log", proxy=proxy)
        if proxy and not documents:
            known = sorted({d.proxy for d in self.documents("access_log")})
            raise NotFound(f"no access log of proxy {proxy!r}", hint=f"proxies: {', '.join(known) or 'none'}")
        if (table, proxy) not in self._made:
            files = []
            for document in documents:
                try:
                    path = self.snapshot.path(document)
                    files.append(LogFile(path, self.snapshot.source_of(document), document.proxy))
                except FormatError as error:
                    self._unreadable[document.path] = error.message
            if not files:
                return frame.empty()
            log = scan_access_log(files).filter(self._in_window())
            self._made["access_log", proxy] = log.to_pandas()
            self._made["skipped_lines", proxy] = log.skipped
        return self._made[table, proxy].copy(deep=False)

    def _in_window(self) -> str:
        if self.window is None:
            return ""
        start, end = (t.strftime("%Y-%m-%d %H:%M:%S.%f") for t in (self.window.start, self.window.end))
        return f"start_time >= TIMESTAMP '{start}' AND start_time < TIMESTAMP '{end}'"
