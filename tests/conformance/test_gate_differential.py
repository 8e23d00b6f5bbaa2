"""What the gateway's routing saw is what the backend received, or the request was refused: 20 000 paths and hosts."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conformance.raw import BODY, Gate, Reply, request
from tests.real_parts import until

pytestmark = pytest.mark.slow

EXAMPLES, EACH = 200, 100
AHEAD = 8  # requests sent before their answers are read
GOOD = (
    "/v2/models/echo/infer", "/v2/models/a.b/infer", "/v2/models/A-b_9/infer", "/v2/models/echo/versions/1/infer",
    "/v2/models/echo/versions/a.b-1/infer", "/v2/models/none/infer",
)  # fmt: skip
PIECES = (
    "/", "//", "/./", "/../", ".", "..", "%2e", "%2E%2e", "%2f", "%2F", "%5c", "\\", ";", ";x=1", "%3b", "%00", "%0a",
    "%0d%0a", "%20",
    "%25", "%252e", "%c0%ae", "%c0%af", "%e0%80%af", "%ff", "%u002f", "%", "%4", "%65", "e", "E", "1", "_", "-", "~", ":", "@",
    "!", "*",
    "+", ",", "=", "&", "'", "(", "?", "?x=/../", "#", "#x", "|", "^", "{", "\"", "<", "\t", "\x0b", "\x7f", "\x80", "\xe9",
    "\xa0", "infer",
    "/infer", "versions", "/versions/2", "models", "/v2/models/a.b/infer", "http://h", "HTTP://h/", "http://evil/", "h:80", "",
    "%EF%BC%8F",
)  # fmt: skip
HOSTS = (
    "h", "gateway:8080", "[::1]", "127.0.0.1", "", "evil", "h:80", "h, evil", "h evil", "h/evil", "evil@h", "h:x", "[h]",
    "h\x80", "h:", ".h",
    "h..", "a.b.", "%68", "[::1", "h;x", "h?x", "http://h",
)  # fmt: skip
HOST = re.compile(r"([A-Za-z0-9-]+\.?)+(:[0-9]+)?|\[::1\]|127\.0\.0\.1")  # of those above, the good ones


@dataclass(frozen=True)
class Question:
    """A target and a host that somebody may send."""

    target: str
    host: str

    def sent(self, identity: str) -> bytes:
        fields = (f"X-Request-Id: {identity}", f"Content-Length: {len(BODY)}")
        return request(*fields, line=f"POST {self.target} HTTP/1.1", host=f"Host: {self.host}")


def mutated(good: str, changes: list[tuple[int, int, str]]) -> str:
    """The path with pieces put in, in place of some letters or between them."""
    for place, length, piece in changes:
        at = place % (len(good) + 1)
        good = good[:at] + piece + good[at + length :]
    return good


CHANGE = st.tuples(st.integers(0, 60), st.integers(0, 6), st.sampled_from(PIECES))
TARGET = st.builds(mutated, st.sampled_from(GOOD), st.lists(CHANGE, max_size=2))
HOSTLIKE = st.one_of(st.just("h"), st.sampled_from(HOSTS))
QUESTIONS = st.lists(st.builds(Question, TARGET, HOSTLIKE), min_size=EACH, max_size=EACH)


def answered(gate: Gate, questions: list[tuple[str, Question]]) -> list[Reply]:
    """One answer for each, over as few connections as the refusals leave."""
    found: list[Reply] = []
    while len(found) < len(questions):
        with gate.client() as client:
            client.send(b"".join(each.sent(identity) for identity, each in questions[len(found) : len(found) + AHEAD]))
            for _ in questions[len(found) : len(found) + AHEAD]:
                reply = client.reply()
                assert reply is not None
                found.append(reply)
                if reply.headers.get("connection") == "close":
                    assert client.reply() is None
                    break
    return found


def test_what_was_authorised_is_what_is_asked(gate: Gate) -> None:
    """Each question is answered once: refused and never asked, or asked once under the very path that was sent and logged."""
    every: dict[str, tuple[Question, Reply]] = {}

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(QUESTIONS)
    def ask(questions: list[Question]) -> None:
        named = [(f"differential-{len(every) + number}", each) for number, each in enumerate(questions)]
        for (identity, question), reply in zip(named, answered(gate, named), strict=True):
            every[identity] = question, reply

    ask()
    assert len(every) >= EXAMPLES * EACH
    asked = [each for each in gate.backend.asked if dict(each.fields).get("x-request-id") in every]
    passed = {identity for identity, (_, reply) in every.items() if reply.status == 200}
    assert Counter(dict.fromkeys(passed, 1)) == Counter(each.value("x-request-id") for each in asked)
    assert {200, 400, 404} <= {reply.status for _, reply in every.values()} <= {200, 400, 403, 404, 405}
    assert 0.1 < len(passed) / len(every) < 0.9
    logged = seen(gate, passed)
    for each in asked:
        question, _ = every[each.value("x-request-id")]
        line = logged[each.value("x-request-id")]
        path = re.sub(r"(?i)\Ahttp://[^/]+", "", question.target).partition("?")[0]
        assert (path, path, path.split("/")[3]) == (each.path, line["path"], line["model"])
        assert HOST.fullmatch(question.host)
        assert gate.backend.address == each.value("host")


def seen(gate: Gate, identities: set[str]) -> dict[str, dict[str, str]]:
    """The access log's lines about these."""

    def lines() -> dict[str, dict[str, str]]:
        found = [json.loads(line) for line in (gate.process.folder / "access.log").read_text().splitlines()]
        return {line["request_id"]: line for line in found if line["request_id"] in identities}

    until(lambda: len(lines()) == len(identities))
    return lines()
