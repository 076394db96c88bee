"""Whether objects are what Kubernetes and Istio would accept.

Kubernetes' schemas come with the package kubernetes-validate. No package brings Istio's as strict as the API server is:
for its kinds the fields the lab uses are written down here, with their types, after Istio's reference; a field that is
not among them is an error. `istio_types` holds them against Istio's own types.
"""

from __future__ import annotations

import jsonschema
import kubernetes_validate

KUBERNETES = "1.29"

_TEXT, _WHOLE = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
_DURATION = {"type": "string", "pattern": r"^(\d+(\.\d+)?(h|m|s|ms))+$"}
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}


def _one_of(*values):
    return {"enum": list(values)}


def _many(item):
    return {"type": "array", "items": item}


def _fields(*required, **fields):
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


_PERCENTAGE = _fields(value={"type": "number", "minimum": 0, "maximum": 100})
_DESTINATION = _fields("host", host=_TEXT, subset=_TEXT, port=_fields(number=_PORT))
_POLICY = _fields(
    connectionPool=_fields(
        http=_fields(http1MaxPendingRequests=_WHOLE, http2MaxRequests=_WHOLE),
        tcp=_fields(connectTimeout=_DURATION, maxConnections=_WHOLE),
    ),
    outlierDetection=_fields(
        baseEjectionTime=_DURATION, consecutive5xxErrors=_WHOLE, interval=_DURATION, maxEjectionPercent=_WHOLE
    ),
    tls=_fields(mode=_one_of("DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"), subjectAltNames=_many(_TEXT)),
)
_ROUTE = _fields(
    name=_TEXT,
    match=_many(_fields(uri={**_fields(exact=_TEXT, prefix=_TEXT, regex=_TEXT), "maxProperties": 1})),
    route=_many(_fields("destination", destination=_DESTINATION, weight=_WHOLE)),
    rewrite=_fields(uri=_TEXT),
    timeout=_DURATION,
    retries=_fields(attempts=_WHOLE, perTryTimeout=_DURATION, retryOn=_TEXT),
    fault=_fields(
        abort=_fields(httpStatus=_WHOLE, percentage=_PERCENTAGE),
        delay=_fields(fixedDelay=_DURATION, percentage=_PERCENTAGE),
    ),
    directResponse=_fields("status", status=_WHOLE, body=_fields(string={"type": "string"})),
)
_RULE = _fields(
    to=_many(_fields(operation=_fields(methods=_many(_TEXT), paths=_many(_TEXT)))),
    **{"from": _many(_fields(source=_fields(principals=_many(_TEXT), namespaces=_many(_TEXT))))},
)
_SERVER = _fields("port", "hosts", port=_fields("number", "name", "protocol", number=_PORT, name=_TEXT, protocol=_TEXT),
                  hosts=_many(_TEXT))  # fmt: skip
_PATCH = _fields(
    applyTo=_TEXT,
    match=_fields(context=_one_of("ANY", "GATEWAY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND")),
    # the value is Envoy's, not Istio's
    patch=_fields(operation=_TEXT, value={"type": "object"}),
)
_NETWORKING, _SECURITY = ("v1", "v1beta1", "v1alpha3"), ("v1", "v1beta1")
_ISTIO = {
    "VirtualService": ("networking.istio.io", _NETWORKING,
        _fields("hosts", hosts={**_many(_TEXT), "minItems": 1}, gateways=_many(_TEXT), http=_many(_ROUTE))),
    "DestinationRule": ("networking.istio.io", _NETWORKING,
        _fields("host", host=_TEXT, trafficPolicy=_POLICY,
                subsets=_many(_fields("name", name=_TEXT, labels=_LABELS, trafficPolicy=_POLICY)))),
    "Gateway": ("networking.istio.io", _NETWORKING, _fields(selector=_LABELS, servers=_many(_SERVER))),
    "EnvoyFilter": ("networking.istio.io", ("v1alpha3",),
        _fields(workloadSelector=_fields(labels=_LABELS), configPatches=_many(_PATCH))),
    "Sidecar": ("networking.istio.io", _NETWORKING,
        _fields(workloadSelector=_fields(labels=_LABELS),
                egress=_many(_fields("hosts", hosts={**_many(_TEXT), "minItems": 1})),
                outboundTrafficPolicy=_fields(mode=_one_of("ALLOW_ANY", "REGISTRY_ONLY")))),
    "AuthorizationPolicy": ("security.istio.io", _SECURITY,
        _fields(selector=_fields(matchLabels=_LABELS), action=_one_of("ALLOW", "DENY", "AUDIT", "CUSTOM"),
                rules=_many(_RULE))),
    "PeerAuthentication": ("security.istio.io", _SECURITY,
        _fields(selector=_fields(matchLabels=_LABELS),
                mtls=_fields(mode=_one_of("UNSET", "DISABLE", "PERMISSIVE", "STRICT")))),
}  # fmt: skip


def check(item):
    """Raise what is wrong with an object, or with a List of one kind.

    Raises:
        jsonschema.ValidationError: it does not fit its schema.
        kubernetes_validate.SchemaNotFoundError: Kubernetes has no such kind.
        KeyError: a kind of Istio whose fields are not written down here.
    """
    group, _, version = item["apiVersion"].rpartition("/")
    if not group.endswith("istio.io"):
        kubernetes_validate.validate(item, KUBERNETES, strict=True)
        return
    if item["kind"].endswith("List"):
        for one in item["items"]:
            check(one)
        return
    known, versions, spec = _ISTIO[item["kind"]]
    if group != known or version not in versions:
        raise jsonschema.ValidationError(f"{item['kind']} is not in {item['apiVersion']}")
    meta = {"type": "object", "required": ["name", "namespace"], "properties": {"labels": _LABELS}}
    jsonschema.validate(item, _fields("spec", "metadata", apiVersion={}, kind={}, metadata=meta, spec=spec))
