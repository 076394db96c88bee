"""`mesh.explain`: what Envoy does with one request, and why nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

from meshnb.envoy.explain import Config, Explanation, Request, listener_conflicts, request_of_row, unreachable_routes
from meshnb.envoy.explain import explain as explain_request
from meshnb.errors import NotFound, UsageError
from meshnb.model.frame import returns
from meshnb.model.manifest import Document
from meshnb.model.tables.explain import LISTENER_CONFLICTS, UNREACHABLE_ROUTES
from meshnb.runbook.base import MeshBase, Needs

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.views.path import PathView


class ShownExplanation(Explanation):
    """An explanation that a notebook shows as a picture of the path with its steps."""

    __slots__ = ()

    @property
    def diagram(self) -> PathView:
        """The path as a picture; `.figure` is the plotly figure."""
        from meshnb.views.path import path

        return path(self.to_dict(), text=str(self))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return self.diagram._repr_mimebundle_()


class ExplainViews(MeshBase):
    """What Envoy would do."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "unreachable_routes": Needs("config_dump"),
        "listener_conflicts": Needs("config_dump"),
    }

    def explain(
        self,
        what: object,
        *,
        proxy: str = "",
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        **known: Any,
    ) -> ShownExplanation:
        """Which listener, filter chain, virtual host, route, cluster and endpoints a request takes, and what lost.

        Args:
            what: a URL, a row of `access_log()` or a `Request`.
            proxy: proxy that gets the request: `POD.NAMESPACE`, or how its name begins if only one does so. A log row
                names it itself.
            method: HTTP method.
            headers: request headers.
            **known: other fields of `meshnb.envoy.explain.Request`, such as `port`, `address`, `listener`, `sni`,
                `alpn`, `source`, `principal`.

        Returns:
            The explanation: `str()` for a terminal, `.frame` for a table, `.diagram` for a picture.

        Raises:
            NotFound: no config dump of such a proxy.
            UsageError: no proxy given and there are several, not a URL, or an unknown field.
            FormatError: the dump cannot be read.

        Example:
            >>> import meshnb
            >>> mesh = meshnb.open("demo/missing-subset")
            >>> found = mesh.explain("http://catalog.istioinaction.io/items", proxy="istio-ingressgateway")
            >>> found.outcome.response_code, found.outcome.response_flags, found.outcome.response_code_details
            (503, 'NC', 'cluster_not_found')
        """
        if isinstance(what, Request):
            request = what
        elif isinstance(what, str):
            unknown = set(known) - {field.name for field in fields(Request)}
            if unknown:
                raise UsageError(
                    f"a request has no {', '.join(sorted(unknown))}", hint="see meshnb.envoy.explain.Request"
                )
            request = Request.to(what, method=method, headers=headers, **known)
        else:
            request = request_of_row(what)
            named = what.get("proxy") if isinstance(what, Mapping) else getattr(what, "proxy", None)
            proxy = proxy or (named if isinstance(named, str) else "")
        document = self._dump_of(proxy)
        found = explain_request(self._indexed(document), request, proxy=document.proxy)
        return ShownExplanation(found.request, found.steps, found.outcomes, found.proxy)

    @returns(UNREACHABLE_ROUTES)
    def unreachable_routes(self, *, proxy: str = "") -> pd.DataFrame:
        """Routes that no request can reach, as an earlier one takes them all.

        Args:
            proxy: only of this proxy (`POD.NAMESPACE`).

        Example:
            >>> import meshnb
            >>> len(meshnb.open("demo").unreachable_routes())
            0
        """
        return self.each_document(
            "unreachable_routes",
            UNREACHABLE_ROUTES,
            lambda document, _: unreachable_routes(self._indexed(document), proxy=document.proxy),
            proxy=proxy,
        )

    @returns(LISTENER_CONFLICTS)
    def listener_conflicts(self, *, proxy: str = "") -> pd.DataFrame:
        """Listeners and filter chains that stand in each other's way.

        Args:
            proxy: only of this proxy (`POD.NAMESPACE`).

        Example:
            >>> import meshnb
            >>> len(meshnb.open("demo").listener_conflicts())
            0
        """
        return self.each_document(
            "listener_conflicts",
            LISTENER_CONFLICTS,
            lambda document, _: listener_conflicts(self._indexed(document), proxy=document.proxy),
            proxy=proxy,
        )

    def _dump_of(self, proxy: str) -> Document:
        documents = self.documents("unreachable_routes")
        found = [d for d in documents if d.proxy == proxy] or [d for d in documents if d.proxy.startswith(proxy)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(sorted(d.proxy for d in documents)) or "none"
        if proxy and not found:
            raise NotFound(f"no config dump of proxy {proxy!r}", hint=f"proxies: {names}")
        raise UsageError(f"which proxy gets the request? {len(found)} fit {proxy!r}", hint=f"proxies: {names}")

    def _indexed(self, document: Document) -> Config:
        cache: dict[str, Config] = self.__dict__.setdefault("_explain_configs", {})
        if document.path not in cache:
            from meshnb.loaders.config_json import read_config_json

            name = self.snapshot.source_of(document)
            dump = read_config_json(self.snapshot.read(document), name=name)
            pages = self.snapshot.documents("clusters", proxy=document.proxy)
            page = (
                read_config_json(self.snapshot.read(pages[0]), name=self.snapshot.source_of(pages[0]))
                if pages
                else None
            )
            cache[document.path] = Config(dump, clusters=page, name=name)
        return cache[document.path]
