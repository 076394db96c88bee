"""Whatever is given to the readers of Envoy's configuration, only meshnb's own errors come out."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meshnb
from meshnb.errors import MeshnbError
from meshnb.loaders.istioctl import TABLES, Options, istioctl_text

DATA = Path(__file__).parents[1] / "data" / "envoy"
NAMES = ("listeners", "routes", "clusters", "endpoints", "secrets", "ecds", "authz", "bootstrap", "sizes")
DUMPS = [json.loads(path.read_bytes()) for path in sorted(DATA.glob("*config_dump.json"))]
PAGES = [json.loads(path.read_bytes()) for path in sorted(DATA.glob("*clusters.json"))]
TEXT = (DATA / "odd-clusters.txt").read_bytes()
ODD = (
    None, True, -1, 0, 2**31, 2**64, 10**40, 1e308, -0.5, "", "x", "1s", "-1s", "1e400s", "\ud800", "\x00", "é" * 300,
    [], {}, [[]], [None], {"": ""}, {"@type": "type.googleapis.com/unknown.Extension", "x": [1]},
    "2026-13-45T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z",
)  # fmt: skip

relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def places(value, path=()):
    """The path to every value of a document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


PLACES = [list(places(document))[1:] for document in DUMPS]
PAGE_PLACES = [list(places(document))[1:] for document in PAGES]


def replaced(document, path, value):
    """The document with another value at one place."""
    copy = json.loads(json.dumps(document))
    target = copy
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return copy


def complaints(*reads):
    """What meshnb says of what the readers are given, a text for each; any other error or warning comes out."""
    said = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in reads:
            try:
                read()
                said.append("nothing")
            except MeshnbError as error:
                said.append(str(error))
    return said


def all_tables(document):
    """Readers of all tables of a dump."""
    try:
        dump = meshnb.read_config_dump(document)
    except MeshnbError:
        return [lambda: meshnb.read_config_dump(document)]
    return [lambda: meshnb.read_config_dump(document), *(getattr(dump, name) for name in NAMES)]


@relaxed
@given(st.data())
def test_one_odd_value_anywhere_in_a_dump(data):
    index = data.draw(st.integers(0, len(DUMPS) - 1))
    path = data.draw(st.sampled_from(PLACES[index]))
    document = replaced(DUMPS[index], path, data.draw(st.sampled_from(ODD)))
    table = data.draw(st.sampled_from([name for name in TABLES if not name.startswith("ztunnel")]))
    assert all(
        complaints(
            *all_tables(document),
            lambda: meshnb.diff(document, DUMPS[index]),
            lambda: istioctl_text(table, document, Options({})),
        )
    )


@relaxed
@given(st.data())
def test_one_odd_value_anywhere_in_a_clusters_page(data):
    index = data.draw(st.integers(0, len(PAGES) - 1))
    document = replaced(PAGES[index], data.draw(st.sampled_from(PAGE_PLACES[index])), data.draw(st.sampled_from(ODD)))
    assert all(
        complaints(
            lambda: meshnb.read_clusters_admin(document), lambda: istioctl_text("endpoints", document, Options({}))
        )
    )


@relaxed
@given(st.integers(0, len(DUMPS) - 1), st.integers(0, 2**32))
def test_bytes_cut_turned_and_repeated(index, seed):
    chance = random.Random(seed)
    data = bytearray(json.dumps(DUMPS[index], ensure_ascii=False).encode())
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data))
        kind = chance.randrange(4)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = data[at : at + chance.randrange(1, 200)]
        else:
            del data[at : at + chance.randrange(1, 200)]
        if not data:
            break
    assert all(complaints(*all_tables(bytes(data))))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@relaxed
@given(st.dictionaries(st.sampled_from(["configs", "cluster_statuses", "workloads", "services", "certificates"]), JSON))
def test_any_json_document(document):
    assert all(
        complaints(
            *all_tables(document),
            lambda: meshnb.read_clusters_admin(document),
            lambda: meshnb.read_ztunnel_dump(document).workloads(),
            lambda: meshnb.read_ztunnel_dump(document).certificates(),
            lambda: istioctl_text("ztunnel_all", document, Options({})),
        )
    )


@relaxed
@given(st.binary(max_size=200))
def test_any_bytes(data):
    assert all(
        complaints(*all_tables(data), lambda: meshnb.read_clusters_admin(data), lambda: meshnb.read_ztunnel_dump(data))
    )


@relaxed
@given(st.integers(0, 2**32))
def test_a_text_page_with_turned_bytes(seed):
    chance = random.Random(seed)
    data = bytearray(TEXT)
    for _ in range(5):
        data[chance.randrange(len(data))] = chance.randrange(256)
    cut = bytes(data[: chance.randrange(1, len(data))])
    assert all(complaints(lambda: meshnb.read_clusters_admin(cut)))


ADMIN = "type.googleapis.com/envoy.admin.v3."


def nested(depth):
    inner = {"name": "a"}
    for _ in range(depth):
        inner = {"transport_socket": {"name": "envoy.transport_sockets.tap", "typed_config": inner}}
    return inner


@pytest.mark.parametrize(
    ("document", "tables"),
    [
        ({"configs": [{"@type": f"{ADMIN}UnknownConfigDump{i}", "x": i} for i in range(10_000)]}, NAMES),
        (
            {
                "configs": [
                    {
                        "@type": ADMIN + "EcdsConfigDump",
                        "ecds_filters": [
                            {"ecds_filter": {"name": str(i), "typed_config": {"@type": f"type.googleapis.com/u.E{i}"}}}
                            for i in range(10_000)
                        ],
                    }
                ]
            },
            ("ecds", "sizes"),
        ),
        (
            {
                "configs": [
                    {
                        "@type": ADMIN + "ClustersConfigDump",
                        "static_clusters": [
                            {"cluster": {"name": "a", "transport_socket": {"typed_config": nested(200)}}}
                        ],
                    }
                ]
            },
            ("clusters", "sizes"),
        ),
    ],
    ids=["10,000 unknown sections", "10,000 unknown extensions", "sockets in sockets"],
)
def test_large_and_deep_documents_are_read(document, tables):
    dump = meshnb.read_config_dump(document)
    for name in tables:
        made = getattr(dump, name)()
        assert name != "sizes" or made.bytes.sum() == dump.bytes
        assert name != "ecds" or made.type.nunique() == len(made)


def test_a_cycle_of_internal_listeners_is_read():
    def listener(name, to):
        proxy = {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster": to}
        filters = [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]
        return {"listener": {"name": name, "internal_listener": {}, "filter_chains": [{"filters": filters}]}}

    document = {
        "configs": [
            {"@type": ADMIN + "ListenersConfigDump", "static_listeners": [listener("a", "b"), listener("b", "a")]}
        ]
    }
    assert meshnb.read_config_dump(document).listeners().cluster.tolist() == ["b", "a"]
