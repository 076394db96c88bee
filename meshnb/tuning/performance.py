"""The performance test of the chapter: load to apply, and the runs of the study notes to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshnb.errors import UsageError
from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import PUSH_RUNS

if TYPE_CHECKING:
    import pandas as pd

_TRIPLE = """apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
  labels:
    meshnb.io/load: "true"
spec:
  selector:
    app: {name}
  ports:
    - name: http
      port: 80
      targetPort: 8080
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: {name}
  namespace: {namespace}
  labels:
    meshnb.io/load: "true"
spec:
  selector:
    istio: ingressgateway
  servers:
    - hosts: ["{name}.{domain}"]
      port:
        number: 80
        name: http
        protocol: HTTP
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {name}
  namespace: {namespace}
  labels:
    meshnb.io/load: "true"
spec:
  hosts: ["{name}.{domain}"]
  gateways: ["{name}"]
  http:
    - route:
        - destination:
            host: {name}.{namespace}.svc.cluster.local
            port:
              number: 80
"""


def load_yaml(count: int, *, namespace: str = "default", prefix: str = "load", start: int = 0) -> str:
    """So many triples of Service, Gateway and VirtualService. Applying them is up to you.

    Take them away with `kubectl delete svc,gw,vs -l meshnb.io/load=true -n NAMESPACE`.

    Args:
        count: triples.
        namespace: where they go.
        prefix: how their names begin.
        start: number of the first.

    Raises:
        UsageError: not a positive count, or one above 10,000.

    Example:
        >>> load_yaml(200).count("kind: ")
        600
    """
    if not 0 < count <= 10_000:
        raise UsageError(f"{count} triples", hint="1 to 10,000")
    names = [f"{prefix}-{number}" for number in range(start, start + count)]
    return "---\n".join(_TRIPLE.format(name=name, namespace=namespace, domain="load.meshnb.io") for name in names)


@returns(PUSH_RUNS)
def noted_runs() -> pd.DataFrame:
    """The runs of the study notes: ten triples, 51 proxies, an istiod of Istio 1.17.

    The run the notes call "no delay" is the second; the last two are with Sidecars, the last also with a debounce of
    2500 ms. P99 is that of the convergence time, which leaves the debounce out.
    """
    runs = (
        ("delay 2.5 s", 510, 0.45),
        ("no delay", 51, 0.47),
        ("delay 5 s", 510, 0.43),
        ("delay 2.5 s, Sidecars", 88, 0.10),
        ("delay 2.5 s, Sidecars, debounce 2500 ms", 28, 0.10),
    )
    return PUSH_RUNS.rows({"name": name, "pushes": pushes, "p99_s": p99} for name, pushes, p99 in runs)
