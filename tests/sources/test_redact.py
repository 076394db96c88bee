"""Secrets are struck wherever they stand, and words are not."""

from __future__ import annotations

import pytest

from meshnb.sources.redact import redact

B64 = b"dXNlcjpwYXNzd29yZA=="


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"authorization: Basic " + B64, "authorization"),
        (b"Authorization: Bearer abcdefghijklm", "authorization"),
        (b"'authorization', 'Bearer abcdefgh12345678'", "authorization"),
        (b'{"authorization":"basic ' + B64 + b'"}', "authorization"),
        (b"Bearer " + b"a" * 40, "authorization"),
        (b"BEARER sEcrEttOkEn", "authorization"),
        (b"x eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0xx.c2ln y", "jwt"),
        (b"https://alice:hunter2@prometheus:9090/", "url-password"),
        (b'[{"name":"DB_PASSWORD","value":"hunter2 \\"x\\" hunter2"},{"name":"A","value":"b"}]', "env"),
        (b'{"name": "aws_secret_access_key", "value": "hunter2"}', "env"),
        (rb'"{\"name\":\"API_TOKEN\",\"value\":\"hunter2\\\"hunter2\"}"', "env"),
        (b"-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----", "private-key"),
    ],
)
def test_secrets_are_struck_and_counted(text, rule):
    done, struck = redact(text)
    assert struck == {rule: 1} and b"[redacted:" + rule.encode() + b"]" in done
    for secret in (B64, b"abcdefgh", b"aaaaaaaa", b"sEcrEt", b"c2ln", b"hunter2", b"MHc"):
        assert secret not in done
    assert redact(done)[0] == done


@pytest.mark.parametrize(
    "text",
    [b"basic authentication", b"Basic Authentication is off", b"a basic description", b"bearer certificates",
     b'{"name":"PWD","value":"/home"}', b'{"name":"SECRET_TTL","value":"24h"}', b'{"name":"TOKEN","value":""}',
     b"https://istio.io/latest", b"http://host:9090/a@b"],
)  # fmt: skip
def test_words_stay(text):
    assert redact(text) == (text, {})
