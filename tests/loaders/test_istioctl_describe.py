"""What istioctl x describe prints, held against mesh.describe()."""

from __future__ import annotations

import pytest

import meshnb
from meshnb.errors import FormatError
from meshnb.loaders.istioctl_describe import read_describe

# the layout of 1.17, with the names of the demo
TEXT = """\
Pod: catalog-5d4f7c9b8-v1aaa
   Pod Revision: default
   Pod Ports: 3000 (catalog), 15090 (istio-proxy)
--------------------
Service: catalog
   Port: http 80/HTTP targets pod port 3000
DestinationRule: catalog for "catalog.istioinaction.svc.cluster.local"
   Matching subsets: version-v1
      (Non-matching subsets version-v2)
   No Traffic Policy
--------------------
Effective PeerAuthentication:
   Workload mode: STRICT


Exposed on Ingress Gateway http://127.0.40.10
VirtualService: catalog-v1-v2
   Weight 20%
   1 additional destination(s) that will not reach this pod
"""


def test_s10_19_the_text_agrees_with_mesh_describe():
    """S10-19: parser for the text output as cross-check."""
    told = read_describe(TEXT)
    own = meshnb.open("demo").describe("pod/catalog-5d4f7c9b8-v1aaa")

    def fact(name, section):
        return told[(told.fact == name) & (told.section == section)].value.tolist()

    assert fact("port", "Service") == ["http 80/HTTP targets pod port 3000"]
    matching = own.subsets[own.subsets.matches & own.subsets.subset.notna()].subset.tolist()
    assert fact("matching subsets", "DestinationRule") == matching
    assert fact("weight", "VirtualService") == [f"{w}%" for w in own.routes[own.routes.leads_here].weight]
    assert (
        fact("mode", "Effective PeerAuthentication")
        == own.policies[own.policies.policy == "mutual TLS"].action.tolist()
    )
    assert set(told[told.section == "VirtualService"].name) == {"catalog-v1-v2"}
    assert told[told.fact == "text"].value.tolist() == ["1 additional destination(s) that will not reach this pod"]


def test_warnings_are_facts():
    told = read_describe("Service: catalog\n   WARNING: No VirtualService for subset v9\n")
    assert told[["fact", "value"]].values.tolist() == [["warning", "No VirtualService for subset v9"]]


def test_something_else_is_an_error():
    with pytest.raises(FormatError, match="x describe"):
        read_describe("Error from server (NotFound)", file="describe.txt")
