"""Sidecar YAML before it is applied: what Istio would not read, or would read otherwise than it was meant.

`kubectl apply` drops fields it does not know in older releases, and the webhook that would refuse them may be off, so a
slip of the pen is a Sidecar that does something else. Each is told with its line and the line as it should be.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meshnb.envoy.names import full_host
from meshnb.model.finding import Finding, Fix, Severity, Status, Subject

CODE = "MNB0110"
VERIFY = "istioctl validate -f FILE"

_DASH = re.compile(r"^(\s*)-([A-Za-z]\w*:(?:\s.*)?)$")
_IS_SIDECAR = re.compile(r"\bkind[\"']?\s*:\s*[\"']?Sidecar\b")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
# what a field holds: the fields of a mapping, a list of one thing, text, a port, a mapping of texts; None: anything
_PORT = {"number": int, "protocol": str, "name": str, "targetPort": int}
_SHAPE: dict[str, Any] = {
    "workloadSelector": {"labels": dict},
    "ingress": [
        {"port": _PORT, "bind": str, "captureMode": str, "defaultEndpoint": str, "tls": None, "connectionPool": None}
    ],
    "egress": [{"port": _PORT, "bind": str, "captureMode": str, "hosts": [str]}],
    "outboundTrafficPolicy": {"mode": None, "egressProxy": None},
    "inboundConnectionPool": None,
}
# aliases of aliases grow without bound; no Sidecar has as many values
_MOST_VALUES = 200_000
# of a document on one line only the part at fault is shown
_LONG = 160
_SCALARS = tuple(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))


@dataclass(frozen=True, slots=True)
class Slip:
    """One thing wrong.

    Args:
        what: in words.
        path: where in the document, as `spec.egress[0].hosts[1]`.
        line: its line, from 1; 0 if not known.
        better: what should stand there instead.
        severity: how bad it is.
        wrong: the part of the line that `better` takes the place of.
    """

    what: str
    path: str = ""
    line: int = 0
    better: str = ""
    severity: Severity = Severity.ERROR
    wrong: str = ""


def host_problem(host: str) -> str:
    """What is wrong with an egress host by itself, empty if nothing is.

    Example:
        >>> host_problem("web"), host_problem("./*"), host_problem("shop/web")
        ('has no namespace: it must be NAMESPACE/DNS-NAME', '', 'names web, which is no full name and not *')
    """
    if host.count("/") != 1:
        return "has no namespace: it must be NAMESPACE/DNS-NAME" if "/" not in host else "has more than one /"
    space, _, name = host.partition("/")
    if not space or not name:
        return "has an empty namespace" if not space else "has an empty name"
    if space not in ("*", ".", "~") and not (_LABEL.fullmatch(space) and len(space) < 64):
        return f"has the namespace {space}, which is no name, and not *, . or ~"
    if name != "*" and "." not in name:
        return f"names {name}, which is no full name and not *"
    if "*" in name and name != "*" and (not name.startswith("*.") or "*" in name[1:]):
        return f"names {name}: a * may only stand for the whole first part"
    return ""


def host_correction(host: str, namespace: str) -> str:
    """What was probably meant by an egress host that is not well formed; empty if that cannot be told.

    Example:
        >>> host_correction("web", "shop"), host_correction("shop/web", "front"), host_correction("*.io", "shop")
        ('./web.shop.svc.cluster.local', 'shop/web.shop.svc.cluster.local', '*/*.io')
    """
    space, slash, name = host.rpartition("/")
    if not slash:
        space = "*" if "." in name else "."
    better = f"{space}/{full_host(name, namespace if space == '.' else space)}"
    return "" if host_problem(better) or (space == "*" and "." not in name) else better


def object_slips(thing: Mapping[str, Any]) -> Iterator[Slip]:
    """What is wrong with a Sidecar object, whatever else is in the mesh.

    Args:
        thing: the object.
    """
    spec = thing.get("spec")
    if not isinstance(spec, Mapping):
        yield Slip("it has no spec", "spec")
        return
    yield from _shaped(spec, _SHAPE, "spec", "spec")
    meta = thing.get("metadata")
    namespace = str(meta.get("namespace") or "default") if isinstance(meta, Mapping) else "default"
    for number, listener in enumerate(_items(spec.get("ingress"))):
        if isinstance(listener, Mapping) and not _has_port(listener):
            yield Slip("an ingress listener names no port", f"spec.ingress[{number}]")
    yield from _egress_slips(_items(spec.get("egress")), namespace)
    policy = spec.get("outboundTrafficPolicy")
    if isinstance(policy, Mapping) and policy.get("mode") not in ("ALLOW_ANY", "REGISTRY_ONLY"):
        left_out = not policy.get("mode")
        shown = "left out, which means REGISTRY_ONLY" if left_out else f"{policy['mode']}, which is none"
        what = f"outboundTrafficPolicy.mode is {shown}: write ALLOW_ANY or REGISTRY_ONLY"
        severity = Severity.INFO if left_out else Severity.ERROR
        yield Slip(what, "spec.outboundTrafficPolicy", severity=severity)


def _egress_slips(egress: Sequence[Any], namespace: str) -> Iterator[Slip]:
    for number, listener in enumerate(egress):
        if not isinstance(listener, Mapping):  # told of its shape
            continue
        where = f"spec.egress[{number}]"
        hosts = listener.get("hosts")
        if not hosts:
            yield Slip("an egress listener names no hosts", where)
        for index, host in enumerate(_items(hosts)):
            if isinstance(host, str) and (problem := host_problem(host)):
                better = host_correction(host, namespace)
                yield Slip(f"the host {host} {problem}", f"{where}.hosts[{index}]", better=better, wrong=host)
        if "port" in listener and not _has_port(listener):
            yield Slip("the port of an egress listener has no number", f"{where}.port")
        if "port" not in listener and number < len(egress) - 1:
            yield Slip("an egress listener without a port must be the last one", where)


def _has_port(listener: Mapping[str, Any]) -> bool:
    port = listener.get("port")
    # what is no mapping is told of its shape
    return bool(port.get("number")) if isinstance(port, Mapping) else port is not None


def _shaped(value: Any, shape: Any, path: str, name: str) -> Iterator[Slip]:
    """Fields that do not exist, and values of another kind than their field takes."""
    if shape is None or value is None:
        return
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield Slip(f"{name} must be a list", path)
        for number, one in enumerate(_items(value)):
            below, called = f"{path}[{number}]", f"{name}[{number}]"
            yield from [Slip(f"{called} is empty", below)] if one is None else _shaped(one, shape[0], below, called)
    elif shape is str and not isinstance(value, str):
        yield Slip(f"{name} must be a text: write it in quotes", path)
    elif shape is int and not (isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536):
        yield Slip(f"{name} must be a whole number from 1 to 65535", path)
    elif (shape is dict or isinstance(shape, dict)) and not isinstance(value, Mapping):
        yield Slip(f"{name} must be a mapping", path)
    elif shape is dict:
        for key, one in value.items():
            yield from _shaped(one, str, f"{path}.{key}", str(key))
    elif isinstance(shape, dict):
        for key, one in value.items():
            if key not in shape:
                near = difflib.get_close_matches(str(key), shape, n=1)
                yield Slip(f"there is no field {key}{f' ({near[0]} is meant?)' if near else ''}", f"{path}.{key}")
            else:
                yield from _shaped(one, shape[key], f"{path}.{key}", str(key))


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def text_slips(text: str) -> tuple[list[Slip], list[Mapping[str, Any]]]:
    """What is wrong with a YAML text, and the Sidecars in it as far as it can be read.

    Args:
        text: one or more documents; kinds other than Sidecar are left out.
    """
    slips: list[Slip] = []
    found: list[Mapping[str, Any]] = []
    for document in _documents(text):
        wrong, read = _document_slips(document)
        slips += wrong
        found += read
    return slips, found


def _documents(text: str) -> Iterator[str]:
    """The documents that hold a Sidecar, each on the lines it has in the text."""
    lines: list[str] = []
    for number, line in enumerate(text.splitlines()):
        if line.startswith("---"):
            if _IS_SIDECAR.search("\n".join(lines)):
                yield "\n".join(lines)
            lines = [""] * number
        # what stands behind the dashes belongs to the document they begin
        lines.append(f"   {line[3:]}" if line.startswith("---") else line)
    if _IS_SIDECAR.search("\n".join(lines)):
        yield "\n".join(lines)


def _document_slips(text: str) -> tuple[list[Slip], list[Mapping[str, Any]]]:
    import yaml

    lines = text.splitlines()
    slips = [
        Slip("there is no space after the dash", line=number, better=f"{match[1]}- {match[2]}")
        for number, line in enumerate(lines, 1)
        if (match := _DASH.match(line))
    ]
    places: dict[str, int] = {}
    try:
        thing = _plain(yaml.compose(text, yaml.SafeLoader), "", places)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = f"no YAML: {getattr(error, 'problem', None) or error}"
        return slips or [Slip(what, line=mark.line + 1 if mark else 0)], []
    except RecursionError:
        return [Slip("no YAML that Kubernetes takes: it is nested too deeply, or an alias holds itself")], []
    items = thing.get("items") if isinstance(thing, Mapping) else None
    things = {f"items[{n}].": one for n, one in enumerate(items)} if isinstance(items, list) else {"": thing}
    read = {at: one for at, one in things.items() if isinstance(one, Mapping) and one.get("kind") == "Sidecar"}
    if not slips:  # what hangs from a dash without a space is told there
        slips = [_placed(slip, at, places, lines) for at, one in read.items() for slip in object_slips(one)]
    return slips, list(read.values())


def _placed(slip: Slip, at: str, places: Mapping[str, int], lines: list[str]) -> Slip:
    path = at + slip.path
    while path and path not in places:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    line = places.get(path, 0)
    better = slip.better
    if better and line and len(lines[line - 1]) < _LONG:
        better = lines[line - 1].replace(slip.wrong, better, 1)
    return replace(slip, line=line, better=better)


def _plain(node: Any, path: str, places: dict[str, int]) -> Any:
    """A YAML node as plain values of JSON, as Kubernetes reads it; remembers the line of each path."""
    import yaml

    if node is None:
        return None
    places.setdefault(path, node.start_mark.line + 1)
    if len(places) > _MOST_VALUES:
        problem = f"more than {_MOST_VALUES:,} values: aliases of aliases?"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    loader = yaml.SafeLoader("")
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        result = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key.start_mark)
            below = f"{path}.{key.value}" if path else str(key.value)
            places[below] = key.start_mark.line + 1
            result[key.value] = _plain(value, below, places)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(one, f"{path}[{number}]", places) for number, one in enumerate(node.value)]
    try:
        # dates and the like are texts to Kubernetes
        return loader.construct_object(node) if node.tag in _SCALARS else node.value
    except ValueError:
        return node.value


def lint_text(text: str, *, file: str = "sidecar.yaml") -> list[Finding]:
    r"""A finding per thing wrong with Sidecar YAML, with its line and the correction.

    It fails for what is wrong, passes if nothing is, and is unknown if there is no Sidecar in the text.

    Args:
        text: the YAML.
        file: how to name it.

    Example:
        >>> (found,) = lint_text("kind: Sidecar\nspec:\n  egress:\n  -hosts:\n    - ./*\n")
        >>> found.summary
        'sidecar.yaml, line 4: there is no space after the dash.'
        >>> found.fix[0].text
        '  - hosts:'
    """
    return findings_of(*text_slips(text), file=file)


def findings_of(slips: Sequence[Slip], found: Sequence[Mapping[str, Any]], *, file: str) -> list[Finding]:
    """A finding per thing wrong; a pass if nothing is, unknown if there is no Sidecar.

    Args:
        slips: what is wrong.
        found: the Sidecars.
        file: where they stand.
    """
    if not slips:
        status = Status.PASS if found else Status.UNKNOWN
        count = "one Sidecar is" if len(found) == 1 else f"{len(found)} Sidecars are"
        what = f"{count} written as Istio reads it." if found else "there is no Sidecar in it."
        return [Finding(CODE, status, Severity.ERROR, Subject("File", file), f"{file}: {what}")]
    return [
        Finding(
            CODE,
            Status.FAIL,
            slip.severity,
            Subject("File", f"{file}:{slip.line}" if slip.line else file),
            f"{file}{_position(slip)}: {slip.what}.",
            cause="Istio would refuse it, or drop the field and import other hosts than were meant.",
            fix=(Fix(slip.better, note=f"{_position(slip).strip(', ')} as it should be"),) if slip.better else (),
            verify=VERIFY.replace("FILE", file),
            docs="https://istio.io/latest/docs/reference/config/networking/sidecar/",
            refs=("IST0106",),
        )
        for slip in slips
    ]


def _position(slip: Slip) -> str:
    return f", line {slip.line}" if slip.line else f", {slip.path}" if slip.path else ""
