"""A Kubernetes cluster to read from: connection and credentials by the official client, bytes as they come.

The client's typed objects are not used: they are slow, and they refuse objects the API serves.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from meshnb.errors import Forbidden, MissingExtra, NotFound, SourceError, SourceTimeout, Unreachable
from meshnb.model.resources import Resource

PAGE = 500
_TRIES = 5
_AGAIN = frozenset({429, 500, 502, 503, 504})
_LONGEST_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of an answer of the API server."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Meta(msgspec.Struct):
    token: str = msgspec.field(default="", name="continue")
    remaining: int | None = msgspec.field(default=None, name="remainingItemCount")


class _Page(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class Cluster:
    """A cluster, read only.

    Args:
        configuration: the official client's configuration.
        name: how the user calls it, for the manifest and errors.
        timeout_s: how long one answer may take.
        sleep: waits between tries; replaced in tests.

    Use `Cluster.connect` to make one.
    """

    def __init__(
        self,
        configuration: Any,
        *,
        name: str = "",
        timeout_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        from kubernetes.client import ApiClient

        self.configuration = configuration
        self.name = name or configuration.host
        self.timeout_s = timeout_s
        self._sleep = sleep
        self._pool = ApiClient(configuration).rest_client.pool_manager

    @classmethod
    def connect(cls, context: str = "", *, timeout_s: float = 30.0) -> Cluster:
        """The cluster of a kubeconfig context, or the one this process runs in.

        Args:
            context: context of the kubeconfig; empty for the current one, or for the cluster meshnb runs in.
            timeout_s: how long one answer may take.

        Raises:
            MissingExtra: the kubernetes client is not installed.
            NotFound: there is no kubeconfig, or no such context.
        """
        try:
            from kubernetes import config
            from kubernetes.client import Configuration
        except ImportError:
            raise MissingExtra("live", needed_for="a live cluster") from None
        configuration = Configuration()
        try:
            config.load_kube_config(context=context or None, client_configuration=configuration)
        except config.ConfigException as error:
            if context:
                raise NotFound(f"no context {context!r}: {error}", hint="see: kubectl config get-contexts") from error
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException:
                hint = "set KUBECONFIG, or give the file kubectl uses"
                raise NotFound(f"no cluster to connect to: {error}", hint=hint) from error
        return cls(configuration, name=context, timeout_s=timeout_s)

    def authorization(self) -> dict[str, str]:
        """The header that proves who asks; exec plugins are asked anew when their token has run out."""
        setting = self.configuration.auth_settings().get("BearerToken") or {}
        return {"authorization": str(setting["value"])} if setting.get("value") else {}

    def request(
        self, path: str, query: Mapping[str, Any] | None = None, *, method: str = "GET", body: Any = None
    ) -> Answer:
        """One request, tried again while the server is busy or breaks.

        Args:
            path: path below the server, quoted.
            query: query parameters; `None` values are left out.
            method: HTTP method.
            body: sent as JSON.

        Returns:
            The answer, also one that refuses: 4xx except 429.

        Raises:
            Unreachable: no connection.
            SourceTimeout: no answer in time.
            SourceError: it kept answering 429 or 5xx.
        """
        import urllib3

        wanted = {key: value for key, value in (query or {}).items() if value is not None}
        url = self.configuration.host.rstrip("/") + path + (f"?{urlencode(wanted)}" if wanted else "")
        headers = {"accept": "application/json", **self.authorization()}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["content-type"] = "application/json"
        failure: SourceError = Unreachable(f"{self.name}: no answer")
        for attempt in range(_TRIES):
            wait = min(0.2 * 2**attempt, _LONGEST_WAIT_S)
            try:
                answer = self._pool.request(
                    method, url, headers=headers, body=data, timeout=self.timeout_s, retries=False, redirect=False
                )
            except urllib3.exceptions.NewConnectionError as error:
                failure = Unreachable(f"{self.name}: {error}", hint="does kubectl get pods work?")
            except urllib3.exceptions.TimeoutError:
                failure = SourceTimeout(
                    f"{path}: no answer in {self.timeout_s:.0f} s", hint="try again with fewer namespaces"
                )
            except urllib3.exceptions.HTTPError as error:
                failure = Unreachable(f"{self.name}: {error}", hint="does kubectl get pods work?")
            else:
                if answer.status not in _AGAIN:
                    return Answer(answer.status, answer.headers, answer.data)
                failure = SourceError(f"{path}: HTTP {answer.status} {_message(answer.data)}", hint="try again later")
                wait = _retry_after(answer.headers, wait)
            if attempt + 1 < _TRIES:
                self._sleep(wait)
        raise failure

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> bytes:
        """The body of what is asked for.

        Raises:
            Forbidden: 401 or 403, with the verb and resource that is missing.
            NotFound: 404.
            SourceError: anything else that is no success.
        """
        answer = self.request(path, query)
        return _checked(answer, path)

    def pages(self, resource: Resource, *, namespace: str = "", limit: int = PAGE) -> Iterator[bytes]:
        """All objects of a kind, page by page, as raw Lists; they are held until the list is whole.

        Args:
            resource: the kind.
            namespace: of this namespace only.
            limit: objects a page.

        Raises:
            SourceError: as `stream_pages`.
        """
        seen: list[bytes] = []
        for page in self.stream_pages(resource, namespace=namespace, limit=limit, begin_anew=seen.clear):
            seen.append(page)
        yield from seen

    def stream_pages(
        self, resource: Resource, *, namespace: str = "", limit: int = PAGE, begin_anew: Callable[[], None]
    ) -> Iterator[bytes]:
        """All objects of a kind, page by page as they come, as raw Lists.

        A list that changes too much while it is paged ends in 410; it is then begun anew, once, and after that
        continued with the token the server offers, which may show objects of two moments.

        Args:
            resource: the kind.
            namespace: of this namespace only.
            limit: objects a page.
            begin_anew: told that the pages so far are void.

        Raises:
            NotFound: the cluster does not know the kind.
            Forbidden: it may not be listed.
            SourceError: it cannot be listed now.
        """
        path = self._served(resource, namespace)
        token, again = "", True
        while True:
            answer = self.request(path, {"limit": limit, "continue": token or None})
            if answer.status == 410 and token:
                offered = _token(answer.body)
                if again:
                    again, token = False, ""
                    begin_anew()
                    continue
                if not offered:
                    raise SourceError(f"{path}: the list changed too fast to be read", hint="try again")
                token = offered
                continue
            page = _checked(answer, path)
            token = _token(page)
            yield page
            if not token:
                return

    def first_page(self, resource: Resource, *, namespace: str = "", limit: int = PAGE) -> tuple[bytes, int | None]:
        """The first objects of a kind, as a raw List, and how many follow: `None` if the server does not say.

        Raises:
            NotFound: the cluster does not know the kind.
            Forbidden: it may not be listed.
            SourceError: it cannot be listed now.
        """
        path = self._served(resource, namespace)
        body = _checked(self.request(path, {"limit": limit}), path)
        return body, _meta(body).remaining if _token(body) else 0

    def _served(self, resource: Resource, namespace: str) -> str:
        """The path of a kind in the newest version the cluster serves."""
        place = f"/namespaces/{quote(namespace)}" if namespace and resource.namespaced else ""
        if not resource.group:
            return f"/api/v1{place}/{resource.plural}"
        for version in resource.versions:
            base = f"/apis/{resource.group}/{version}"
            answer = self.request(base)
            if answer.status == 404:
                continue
            names = [item.get("name") for item in json.loads(_checked(answer, base)).get("resources", [])]
            if resource.plural in names:
                return f"{base}{place}/{resource.plural}"
        raise NotFound(f"the cluster does not know {resource.plural}.{resource.group}", hint="is Istio installed?")

    def logs(
        self,
        pod: str,
        namespace: str,
        container: str,
        *,
        since_s: int | None = None,
        tail: int | None = None,
        previous: bool = False,
    ) -> bytes:
        """The log of a container.

        Args:
            pod: pod.
            namespace: its namespace.
            container: container.
            since_s: only the last seconds.
            tail: only the last lines.
            previous: of the container before its last restart.
        """
        query = {
            "container": container,
            "sinceSeconds": since_s,
            "tailLines": tail,
            "previous": "true" if previous else None,
        }
        return self.get(f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log", query)

    def version(self) -> str:
        """Version of the API server."""
        return str(json.loads(self.get("/version")).get("gitVersion", ""))

    def can(
        self, verb: str, resource: str, *, group: str = "", namespace: str = "", subresource: str = "", name: str = ""
    ) -> str:
        """Why the user may not do something; empty if they may.

        Args:
            verb: `list`, `get`, `create` …
            resource: plural name.
            group: API group.
            namespace: in this namespace; empty for all.
            subresource: `log`, `portforward`, `exec`.
            name: of this object alone.
        """
        attributes = {
            "verb": verb,
            "resource": resource,
            "group": group,
            "namespace": namespace or None,
            "subresource": subresource or None,
            "name": name or None,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v is not None}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        status = json.loads(_checked(self.request(path, method="POST", body=body), path)).get("status") or {}
        if status.get("allowed"):
            return ""
        return str(status.get("reason") or status.get("evaluationError") or "not allowed")


def _checked(answer: Answer, path: str) -> bytes:
    if 200 <= answer.status < 300:
        return answer.body
    message = f"{path}: HTTP {answer.status} {_message(answer.body)}".rstrip()
    if answer.status in (401, 403):
        raise Forbidden(message, hint="grant it with docs/rbac.yaml")
    if answer.status == 404:
        raise NotFound(message)
    raise SourceError(message)


def _message(body: bytes) -> str:
    """What a Status object says; else the beginning of the text."""
    try:
        return str(json.loads(body).get("message", ""))
    except (ValueError, AttributeError):
        return body[:200].decode("utf-8", "replace").strip()


def _token(body: bytes) -> str:
    """The continue token of a list or of the Status of an expired one."""
    return _meta(body).token


def _meta(body: bytes) -> _Meta:
    """Metadata of a list, found without decoding the items."""
    try:
        return msgspec.json.decode(body, type=_Page).metadata
    except msgspec.MsgspecError as error:
        raise SourceError(f"the API server answered no list: {error}", hint="is a proxy in between?") from error


def _retry_after(headers: Mapping[str, str], default: float) -> float:
    value = headers.get("retry-after") or headers.get("Retry-After") or ""
    return min(float(value), _LONGEST_WAIT_S) if value.replace(".", "", 1).isdigit() else default
