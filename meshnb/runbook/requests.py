"""The questions of the data-plane runbooks, each one call: tables to read and charts to look at.

They answer for the requests of one authority (`host`), or of all if it is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshnb.runbook.tables_envoy import EnvoyTables
from meshnb.runbook.tables_logs import LogTables
from meshnb.runbook.tables_objects import ObjectTables

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.views.charts import Chart
    from meshnb.views.tables import Table


class RequestViews(EnvoyTables, LogTables, ObjectTables):
    """What happened to the requests of a host, and where Envoy sends them."""

    def requests(self, host: str = "", *, side: str = "client") -> pd.DataFrame:
        """Rows of the access log for requests to an authority.

        Args:
            host: the authority, its port left aside; empty for all.
            side: `client` (gateway or calling sidecar), `server` (sidecar of the pod called) or `both`.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo/missing-subset").requests("catalog.istioinaction.io")["flag_set"].unique().tolist()
            ['NC']
        """
        from meshnb.checks.requests import inbound, to_host

        log = self.access_log()
        log = log[to_host(log, host)]
        return log if side == "both" else log[inbound(log) == (side == "server")]

    def status_chart(self, host: str = "") -> Chart:
        """Requests by proxy, split by response code and flags, as the client's side logged them."""
        from meshnb.views.charts import timeline

        log = self.requests(host)
        return timeline(
            log.assign(outcome=_outcome(log)),
            time="start_time",
            color="outcome",
            title=f"Requests to {host or 'any host'} by response code and flags",
        )

    def failures(self, host: str = "") -> Table:
        """How requests failed: response code, flags and details, with what each flag means and what to look at next.

        Returns:
            A table, most frequent first; `.df` has proxy, response_code, flag_set, response_code_details, requests,
            share, meaning and next_step.
        """
        from meshnb.envoy.flags import explain_flags
        from meshnb.views.tables import table

        log = self.requests(host, side="both")
        keys = ["proxy", "response_code", "flag_set", "response_code_details"]
        counts = log.groupby(keys, dropna=False).size().rename("requests").reset_index()
        counts["share"] = counts.requests / counts.groupby("proxy").requests.transform("sum")
        failed = counts[(counts.response_code >= 400) | (counts.response_code == 0) | counts["flag_set"].notna()]
        failed = failed.sort_values("requests", ascending=False, ignore_index=True)
        known = [explain_flags(flags) if isinstance(flags, str) else [] for flags in failed["flag_set"]]
        failed["meaning"] = ["; ".join(flag.meaning for flag in flags) or None for flags in known]
        failed["next_step"] = ["; ".join(flag.next_step for flag in flags) or None for flags in known]
        return table(
            failed, title=f"Failed requests: {int(failed.requests.sum())} of {int(counts.requests.sum())} log lines"
        )

    def listeners_of(self, host: str = "") -> Table:
        """The listeners whose route configuration serves a host, with what leads a connection there.

        Returns:
            A table; `.df` has proxy, listener, address, port, match, route_config, tls, state.
        """
        from meshnb.views.tables import table

        listeners = self.listeners()
        served = set(zip(self._routes_of(host).proxy, self._routes_of(host).route_config, strict=True))
        takes = [pair in served for pair in zip(listeners.proxy, listeners.route_config, strict=True)]
        columns = ["proxy", "listener", "address", "port", "match", "route_config", "tls", "state"]
        return table(
            listeners.loc[takes, columns].reset_index(drop=True), title=f"Listeners that serve {host or 'a host'}"
        )

    def destinations(self, host: str = "") -> Table:
        """Where the routes of a host lead, and whether the proxy has that cluster; one row per weighted destination.

        Routes in use come first. Others, which Envoy rejected or that drain, decide about no request: their `state`
        says what they are, and whether their cluster exists is not said.

        Returns:
            A table; `.df` has proxy, route_config, virtual_host, match, virtual_service, cluster, weight, exists,
            state.
        """
        import pandas as pd

        from meshnb.checks.missing_cluster import missing_routes
        from meshnb.checks.states import in_use
        from meshnb.views.tables import table

        routes = self._routes_of(host)
        used = in_use(routes)
        others = routes[~routes.index.isin(used.index)]
        lacking = missing_routes(used, self.clusters()).index
        exists = [*(index not in lacking for index in used.index), *[None] * len(others)]
        columns = ["proxy", "route_config", "virtual_host", "match", "virtual_service", "cluster", "weight"]
        rows = routes.loc[[*used.index, *others.index], [*columns, "state"]].reset_index(drop=True)
        rows.insert(len(columns), "exists", pd.array(exists, dtype="bool[pyarrow]"))
        left = f"; {len(others)} not in use" if len(others) else ""
        return table(rows, title=f"Routes of {host or 'all hosts'} and their clusters{left}")

    def host_clusters(self, host: str = "") -> Table:
        """The clusters the proxies have for the services that the routes of a host lead to.

        Clusters in use come first. One that warms is not known to Envoy's workers yet, one that was rejected never will
        be: their `state` says so, and they have no number of endpoints.

        Returns:
            A table; `.df` has proxy, cluster, subset, type, destination_rule, endpoints (number of them), state.
        """
        import pandas as pd

        from meshnb.checks.states import in_use
        from meshnb.views.tables import table

        clusters = self.clusters()
        clusters = clusters[clusters.fqdn.isin(self._services_of(host)) & clusters.proxy.isin(self._clients_of(host))]
        used = in_use(clusters)
        counts = in_use(self.endpoints()).groupby(["proxy", "cluster"]).size().rename("endpoints").reset_index()
        joined = used.merge(counts, on=["proxy", "cluster"], how="left").fillna({"endpoints": 0})
        others = clusters[~clusters.index.isin(used.index)]
        columns = ["proxy", "cluster", "subset", "type", "destination_rule", "endpoints", "state"]
        rows = joined.astype({"endpoints": "int64[pyarrow]"})[columns]
        if len(others):
            rows = pd.concat([rows, others.reindex(columns=columns).astype(rows.dtypes)], ignore_index=True)
        left = f"; {len(others)} not in use" if len(others) else ""
        return table(rows, title=f"Clusters the proxies have for these services{left}")

    def host_endpoints(self, host: str = "") -> Table:
        """The endpoints of those clusters, each with the pod behind it.

        Returns:
            A table; `.df` has proxy, cluster, endpoint, health_status, outlier_failed, pod, version, node, ready.
        """
        from meshnb.checks.states import in_use
        from meshnb.views.tables import table

        endpoints = in_use(self.endpoints())
        clusters = in_use(self.host_clusters(host).df).cluster
        endpoints = endpoints[endpoints.cluster.isin(clusters) & endpoints.proxy.isin(self._clients_of(host))]
        pods = self.pods()[["ip", "pod", "version", "node", "ready"]].dropna(subset=["ip"])
        joined = endpoints.merge(pods, left_on="address", right_on="ip", how="left", suffixes=("", "_of_pod"))
        columns = ["proxy", "cluster", "endpoint", "health_status", "outlier_failed", "pod", "version", "node", "ready"]
        return table(joined[columns], title="Endpoints and the pods behind them")

    def host_destinations(self, host: str = "") -> Table:
        """What the VirtualServices of a host say: a row per destination, with its subset and weight.

        Returns:
            A table; `.df` has namespace, virtual_service, gateways, match, destination_host, subset, port, weight,
            timeout_ms.
        """
        from meshnb.views.tables import table

        rules = self.virtual_services()
        rules = rules[[not host or host in hosts for hosts in rules.hosts]]
        columns = ["namespace", "virtual_service", "gateways", "match", "destination_host", "subset", "port", "weight"]
        return table(rules[[*columns, "timeout_ms"]], title=f"VirtualServices of {host or 'all hosts'}")

    def host_subsets(self, host: str = "") -> Table:
        """The subsets that DestinationRules define for the services these VirtualServices lead to.

        Returns:
            A table; `.df` has namespace, destination_rule, host, subset, labels.
        """
        from meshnb.views.tables import table

        rules = self.destination_rules()
        services = set(self.host_destinations(host).df.destination_host.dropna())
        columns = ["namespace", "destination_rule", "host", "subset", "labels"]
        return table(rules.loc[rules.host.isin(services), columns], title="Subsets defined for these services")

    def weights_chart(self, host: str = "") -> Chart:
        """The configured weight of each destination against the share of requests it really got."""
        import pandas as pd

        from meshnb.checks.states import in_use
        from meshnb.views.charts import bar

        routes = in_use(self.destinations(host).df)
        routes = routes[routes.weight.notna()]
        log = self.requests(host)
        got = log.upstream_cluster[log.upstream_cluster.isin(set(routes.cluster))].value_counts()
        configured = routes.groupby("cluster").weight.sum().astype("float64")
        rows = [
            {"destination": f"{_subset(cluster)} {kind}", "percent": 100 * float(value) / float(total)}
            for kind, counts in (("configured", configured), ("observed", got))
            for total in [counts.sum()]
            for cluster, value in counts.items()
        ]
        frame = pd.DataFrame(rows, columns=["destination", "percent"])
        return bar(frame, x="destination", y="percent", title="Weight configured and share observed", unit="%")

    def upstream_hosts(self, host: str = "") -> Table:
        """Requests, timeouts and durations per upstream host with its pod and version, the guilty one first.

        Returns:
            A table; columns as in `meshnb.checks.slow_upstream.by_upstream_host`.
        """
        from meshnb.checks.slow_upstream import by_upstream_host
        from meshnb.views.tables import table

        log = self.requests(host)
        pods = None if self.absent("pods") else self.pods()
        return table(
            by_upstream_host(log[log.upstream_host.notna()], pods), title="Upstream hosts, most timeouts first"
        )

    def durations_chart(self, host: str = "") -> Chart:
        """Every request as a point by the pod that took it, against the timeout of its route."""
        from meshnb.views.charts import durations

        log = self.requests(host)
        log = log[log.upstream_host.notna()]
        names = {row.upstream_host: row.pod for row in self.upstream_hosts(host).df.itertuples()}
        log = log.assign(pod=[names.get(h) or h for h in log.upstream_host], outcome=_outcome(log))
        timeouts = sorted(value for value in self.timeouts(host).df.timeout_ms.dropna().unique() if value > 0)
        return durations(
            log,
            value="duration_ms",
            group="pod",
            color="outcome",
            title="Duration of each request by the pod that took it",
            marks={"timeout": float(timeouts[0])}
            if len(timeouts) == 1
            else {f"timeout {i}": float(t) for i, t in enumerate(timeouts, 1)},
        )

    def timeouts(self, host: str = "") -> Table:
        """Timeouts and retries of the routes of a host and of their clusters.

        Returns:
            A table; `.df` has proxy, virtual_host, match, virtual_service, timeout_ms, idle_timeout_ms, retry_on,
            num_retries, per_try_timeout_ms, cluster, connect_timeout_ms.
        """
        from meshnb.views.tables import table

        routes = self._routes_of(host)
        connect = self.clusters()[["proxy", "cluster", "connect_timeout_ms"]]
        columns = ["proxy", "virtual_host", "match", "virtual_service", "timeout_ms", "idle_timeout_ms", "retry_on"]
        columns += ["num_retries", "per_try_timeout_ms", "cluster", "connect_timeout_ms"]
        joined = routes.merge(connect, on=["proxy", "cluster"], how="left")[columns]
        return table(joined, title="Timeouts and retries of these routes")

    def both_sides(self, host: str = "", *, failed: bool = True) -> Table:
        """Each request as the client's side and the server's side logged it, joined by request id.

        Args:
            host: the authority; empty for all.
            failed: only requests that failed at the client's side.

        Returns:
            A table; `.df` has request_id, path, client, client_code, client_flags, client_ms, server, server_code,
            server_flags, server_ms and ended_by: who ended the request.
        """
        from meshnb.checks.requests import answered, sides
        from meshnb.views.tables import table

        log = self.scan("access_log")
        client, server = sides(log.ibis(log.table), host)
        if failed:
            client = client.filter(((client.response_code >= 500) | (client.response_code == 0)).fill_null(False))
        keep = ["request_id", "path", "proxy", "response_code", "flag_set", "duration_ms"]
        ours = answered(log, client, keep)
        theirs = answered(log, server.semi_join(client, "request_id"), [name for name in keep if name != "path"])
        joined = ours.merge(theirs, on="request_id", how="left", suffixes=("", "_s"))
        joined["ended_by"] = [_ended_by(row) for row in joined.itertuples()]
        names = {
            "proxy": "client",
            "response_code": "client_code",
            "flag_set": "client_flags",
            "duration_ms": "client_ms",
        }
        names |= {f"{old}_s": new.replace("client", "server") for old, new in names.items()}
        return table(joined.rename(columns=names), title="The same requests, logged by both sides")

    def success_by_reporter(self, host: str = "") -> Table:
        """Success rate as the client's side and the server's side report it, with the flags behind the difference.

        Returns:
            A table; `.df` has reporter, requests, success (code below 500, 0 counts as success), code_0_dc, errors_5xx.
        """
        import pandas as pd

        from meshnb.checks.requests import sides, success
        from meshnb.views.tables import table

        log = self.scan("access_log")
        client, server = sides(log.ibis(log.table), host)
        server = server.semi_join(client, "request_id")
        rows = [
            {"reporter": name, **success(log, side)}
            for name, side in (("source (client's side)", client), ("destination (server's side)", server))
        ]
        return table(pd.DataFrame(rows), title="Success by reporter")

    def _routes_of(self, host: str) -> pd.DataFrame:
        routes = self.routes()
        return routes[[_serves(domains, host) for domains in routes.domains]]

    def _services_of(self, host: str) -> set[str]:
        from meshnb.envoy.names import ClusterName

        names = [ClusterName.parse(cluster) for cluster in self.destinations(host).df.cluster.dropna().unique()]
        return {name.fqdn for name in names if name.fqdn}

    def _clients_of(self, host: str) -> set[str]:
        return set(self.destinations(host).df.proxy)


def _serves(domains: Any, host: str) -> bool:
    """Whether a domain of a virtual host is the authority; `*` counts only if no authority is asked for."""
    named = domains if hasattr(domains, "__iter__") else []
    return not host or any(str(domain).partition(":")[0] == host for domain in named)


def _outcome(log: pd.DataFrame) -> list[str]:
    pairs = zip(log.response_code, log["flag_set"], strict=True)
    return [f"{code} {flags}" if isinstance(flags, str) else str(code) for code, flags in pairs]


def _subset(cluster: str) -> str:
    parts = cluster.split("|")
    return parts[2] or parts[3] if len(parts) == 4 else cluster


def _ended_by(row: Any) -> str:
    """Who ended a request, from the flags of both sides."""
    client = row.flag_set.split(",") if isinstance(row.flag_set, str) else []
    server = row.flag_set_s.split(",") if isinstance(row.flag_set_s, str) else []
    if "UT" in client:
        return "the client's proxy: its timeout ran out" + (
            ", the server's proxy saw it leave" if "DC" in server else ""
        )
    if "DC" in client:
        return "the caller: it closed its connection"
    if set(client) & {"NC", "NR", "UH", "UO"}:
        return "the client's proxy: it sent the request nowhere"
    if set(server) & {"UF", "UC", "UR"}:
        return "the server's proxy: its application failed it"
    if isinstance(row.proxy_s, str):
        return "the application: it answered"
    return "unknown: only one side logged it"
