"""The questions of the runbook `what-is-failing`, each one call."""

from __future__ import annotations

from datetime import UTC
from functools import cached_property
from typing import TYPE_CHECKING, cast

from meshnb.model.frame import returns
from meshnb.model.tables.logs import CAUSE_SHARES, FAILED_REQUESTS
from meshnb.model.window import Window
from meshnb.runbook.base import MeshBase

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.checks.causes_assign import Assigned
    from meshnb.runbook.mesh import Mesh
    from meshnb.views.charts import Chart
    from meshnb.views.findings import FindingList
    from meshnb.views.tables import Table


class CauseViews(MeshBase):
    """Why requests fail."""

    def causes(self, *, window: str = "") -> FindingList:
        """Every failed or slow request assigned to one cause; causes ranked by the requests they explain.

        Args:
            window: look only at these requests: `10m` before the capture, or `START/END`; default that of the mesh.

        Returns:
            Findings, most requests first, with evidence, rival explanation, fix and verify command. They are recorded
            for the verdict.

        Example:
            >>> import meshnb
            >>> found = meshnb.open("demo/slow-replica").causes()
            >>> found[0].code, found[0].subject.name
            ('MNB0221', 'catalog-v2-6c8d9f7b6-bbbb2')
        """
        mesh = cast("Mesh", self)
        if not window:
            return mesh.check("MNB0210")
        span = Window.parse(window, now=self.snapshot.manifest.created.astimezone(UTC))
        found = type(mesh)(self.snapshot, namespace=self.namespace, window=span).check("MNB0210")
        mesh.record(found)
        return found

    @returns(FAILED_REQUESTS)
    def failed_requests(self) -> pd.DataFrame:
        """Requests that failed or were slow for their caller, each with its cause.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo/slow-replica").failed_requests().cause.unique().tolist()
            ['slow_replica']
        """
        if "failed_requests" not in self._made:
            self._made["failed_requests"] = self._assigned.rows()
        return self._made["failed_requests"].copy(deep=False)

    @cached_property
    def _assigned(self) -> Assigned:
        """Failed requests and their causes, in the engine that holds the log."""
        from meshnb.checks.causes_assign import assign

        mesh = cast("Mesh", self)
        routes, endpoints = (None if mesh.absent(name) else mesh.table(name) for name in ("routes", "endpoints"))
        return assign(mesh.scan("access_log"), routes=routes, endpoints=endpoints)

    @returns(CAUSE_SHARES)
    def cause_shares(self) -> pd.DataFrame:
        """How many requests each cause explains.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo/missing-subset").cause_shares().share.tolist()
            [1.0]
        """
        from meshnb.checks.causes import shares

        return shares(self.failed_requests())

    def causes_chart(self) -> Chart:
        """Failed and slow requests over time, split by cause: the onset of each."""
        from meshnb.views.charts import timeline

        return timeline(
            self.failed_requests(), time="start_time", color="cause", title="Failed and slow requests by cause"
        )

    def failed_durations_chart(self) -> Chart:
        """How long failed and slow requests took, by cause: heaps at one duration are the mark of a timeout."""
        from meshnb.views.charts import durations

        failed = self.failed_requests()
        return durations(failed, value="duration_ms", group="cause", title="Durations of failed requests by cause")

    def baselines(self, cause: str = "") -> Table:
        """Which endpoint, route, path, client or agent has more failures than the rest.

        Args:
            cause: only failures of this cause; empty for all.

        Returns:
            A table; `.df` has property, value, requests, affected, rate, rest_rate, excess.
        """
        from meshnb.checks.causes_baseline import baselines
        from meshnb.views.tables import table

        failed = self.failed_requests()
        chosen = failed[failed.cause == cause] if cause else failed
        return table(baselines(self._assigned, chosen), title="More frequent than elsewhere")

    def story_chart(self, request_id: str = "") -> Chart:
        """The steps in the life of one request in time, a row per connection; see `mesh.story`.

        Args:
            request_id: x-request-id of the request.
        """
        from meshnb.views.charts import durations

        steps = cast("Mesh", self).story(request_id)
        lanes = [
            f"{proxy.rpartition('.')[0]}, {side} C{connection}"
            for proxy, side, connection in zip(
                steps.proxy.fillna("proxy"),
                steps.side.fillna("side not known"),
                steps.connection.astype("string[pyarrow]").fillna("?"),
                strict=True,
            )
        ]
        return durations(
            steps.assign(lane=lanes), value="offset_ms", group="lane", title=f"Life of request {request_id}"
        )

    def reporter_gap(self) -> str:
        """The gap between success as clients and as servers report it, and how much of it `DC` explains."""
        return self._assigned.sides.gap or "Both sides report the same success, or the log of one side is missing."
