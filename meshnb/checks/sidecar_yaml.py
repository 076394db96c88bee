"""Sidecar YAML before it is applied: what Istio would not read, or would read otherwise than it was meant.

`kubectl apply` drops fields it does not know in older releases, and the webhook that would refuse them may be off, so a
slip of the pen is a Sidecar that does something else. Each is told with its line and the line as it should be.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshnb.envoy.names import full_host
from meshnb.model.finding import Finding, Fix, Severity, Status, Subject

CODE = "MNB0110"
VERIFY = "istioctl validate -f FILE"

_DASH = re.compile(r"^(\s*)-([A-Za-z]\w*:(?:\s.*)?)$")
_IS_SIDECAR = re.compile(r"^[\s{\-]*[\"']?kind[\"']?\s*:\s*[\"']?Sidecar\b", re.MULTILINE)
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PORT = {"number": None, "protocol": None, "name": None, "targetPort": None}
_SHAPE: dict[str, Any] = {
    "workloadSelector": {"labels": None},
    "ingress": [
        {"port": _PORT, "bind": None, "captureMode": None, "defaultEndpoint": None, "tls": None, "connectionPool": None}
    ],
    "egress": [{"port": _PORT, "bind": None, "captureMode": None, "hosts": None}],
    "outboundTrafficPolicy": {"mode": None, "egressProxy": None},
    "inboundConnectionPool": None,
}


@dataclass(frozen=True, slots=True)
class Slip:
    """One thing wrong.

    Args:
        what: in words.
        path: where in the document, as `spec.egress[0].hosts[1]`.
        line: its line, from 1; 0 if not known.
        better: what should stand there instead.
        severity: how bad it is.
    """

    what: str
    path: str = ""
    line: int = 0
    better: str = ""
    severity: Severity = Severity.ERROR


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
    yield from _shaped(spec, _SHAPE, "spec")
    meta = thing.get("metadata")
    namespace = str(meta.get("namespace") or "default") if isinstance(meta, Mapping) else "default"
    egress = spec.get("egress")
    listeners = [one for one in egress if isinstance(one, Mapping)] if isinstance(egress, list) else []
    for number, listener in enumerate(listeners):
        where = f"spec.egress[{number}]"
        hosts = listener.get("hosts")
        if not isinstance(hosts, list) or not hosts:
            yield Slip("an egress listener names no hosts", where)
            continue
        for index, host in enumerate(hosts):
            if problem := host_problem(str(host)):
                better = host_correction(str(host), namespace)
                yield Slip(f"the host {host} {problem}", f"{where}.hosts[{index}]", better=better)
        if "port" not in listener and number < len(listeners) - 1:
            yield Slip("an egress listener without a port must be the last one", where)
    policy = spec.get("outboundTrafficPolicy")
    if isinstance(policy, Mapping) and policy.get("mode") not in ("ALLOW_ANY", "REGISTRY_ONLY"):
        left_out = not policy.get("mode")
        shown = "left out, which means REGISTRY_ONLY" if left_out else f"{policy['mode']}, which is none"
        what = f"outboundTrafficPolicy.mode is {shown}: write ALLOW_ANY or REGISTRY_ONLY"
        severity = Severity.INFO if left_out else Severity.ERROR
        yield Slip(what, "spec.outboundTrafficPolicy", severity=severity)


def _shaped(value: Any, shape: Any, path: str) -> Iterator[Slip]:
    if shape is None or value is None:
        return
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield Slip(f"{path.rpartition('.')[2]} must be a list", path)
            return
        for number, one in enumerate(value):
            yield from _shaped(one, shape[0], f"{path}[{number}]")
        return
    if not isinstance(value, Mapping):
        yield Slip(f"{path.rpartition('.')[2]} must be a mapping", path)
        return
    for key, one in value.items():
        if key not in shape:
            near = difflib.get_close_matches(str(key), shape, n=1)
            yield Slip(f"there is no field {key}{f' ({near[0]} is meant?)' if near else ''}", f"{path}.{key}")
        else:
            yield from _shaped(one, shape[key], f"{path}.{key}")


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
        lines.append("" if line.startswith("---") else line)
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
    if better and line:
        host = slip.what.split()[2]
        better = lines[line - 1].replace(host, better, 1)
    return replace(slip, line=line, better=better)


def _plain(node: Any, path: str, places: dict[str, int]) -> Any:
    """A YAML node as plain values; remembers the line of each path."""
    import yaml

    if node is None:
        return None
    places.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result = {}
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            places[below] = key.start_mark.line + 1
            result[key.value] = _plain(value, below, places)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(one, f"{path}[{number}]", places) for number, one in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node)


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
    slips, found = text_slips(text)
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
            f"{file}, line {slip.line}: {slip.what}." if slip.line else f"{file}: {slip.what}.",
            cause="Istio would refuse it, or drop the field and import other hosts than were meant.",
            fix=(Fix(slip.better, note=f"line {slip.line} as it should be"),) if slip.better else (),
            verify=VERIFY.replace("FILE", file),
            docs="https://istio.io/latest/docs/reference/config/networking/sidecar/",
            refs=("IST0106",),
        )
        for slip in slips
    ]
