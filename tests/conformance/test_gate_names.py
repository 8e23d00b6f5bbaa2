"""Path and Host: what was authorised is, byte for byte, what is routed and sent, or the request is refused."""

from __future__ import annotations

import pytest

from tests.conformance.raw import BODY, OK, Case, Gate, bad, good, play, request

pytestmark = pytest.mark.slow

NO_PATH = (404, "path")


def asking(target: str, *fields: str, host: str = "Host: h") -> bytes:
    return request(f"Content-Length: {len(BODY)}", *fields, line=f"POST {target} HTTP/1.1", host=host)


SHAPES = [
    bad(f"target {target!r}", asking(target), 400, "path")
    for target in (
        "/v2/models/../models/echo/infer", "/v2/models/./echo/infer", "/v2/./models/echo/infer", "/../v2/models/echo/infer",
        "/v2/models/echo/infer/.", "/v2/models/echo/infer/..", "/v2/models/%2e%2e/models/echo/infer",
        "/v2/models/.%2E/echo/infer",
        "/v2/models/%2e/echo/infer", "/v2/models/x%2f..%2fecho/infer", "/v2%2fmodels%2fecho%2finfer", "/v2/models/echo%2Finfer",
        "/v2/models\\echo\\infer", "/v2/models/..\\echo/infer", "/v2/models%5cecho%5Cinfer", "/v2/models/echo%00/infer",
        "/v2/models/echo\0/infer", "/v2/models/echo%0d%0aX:1/infer", "/v2/models/echo%0a/infer", "/v2/models/echo%7f/infer",
        "//v2/models/echo/infer", "/v2//models/echo/infer", "/v2/models/echo//infer", "/v2/models/echo/infer//",
        "/v2/models/echo;x=1/infer", "/v2/models/echo/infer;jsessionid=1", "/v2/models/echo%3bx/infer",
        "/v2/..;/v2/models/echo/infer",
        "/v2/models/%c0%ae%c0%ae/echo/infer", "/v2/models/%c0%afecho/infer", "/v2/models/%e0%80%af/infer",
        "/v2/models/%f0%80%80%af/x",
        "/v2/models/%ff/infer", "/v2/models/%fe%fe/infer", "/v2/models/%ed%a0%80/infer", "/v2/models/%u002e%u002e/infer",
        "/v2/models/%%32%65/infer", "/v2/models/echo%/infer", "/v2/models/echo%2/infer", "/v2/models/echo%zz/infer",
        "/v2/models/\xe9cho/infer", "/v2/models/ech\xc3\xb6/infer", "/v2/models/echo/infer#x", "/v2/models/echo/infer?a#b",
        "/v2/models/echo/infer?a\\b", "/v2/models/echo/infer?\xe9", "/v2/models/<echo>/infer", "/v2/models/{echo}/infer",
        "/v2/models/echo\x0c/infer", "v2/models/echo/infer", "*", "?", "h/v2/models/echo/infer", "https://h/v2/models/echo/infer",
        "ftp://h/v2/models/echo/infer", "http:/v2/models/echo/infer", "http://h", "http:///v2/models/echo/infer",
        "file:///etc/passwd",
        "http://h/../v2/models/echo/infer", "http://h//v2/models/echo/infer", "h:80",
    )
]  # fmt: skip

NAMES = [
    good(f"model {name!r}", asking(f"/v2/models/{name}/infer"), (404, reason), asked=0)
    for name, reason in {
        "none": "not-found", "Echo": "not-found", "ECHO": "not-found", "echo.": "not-found", "echo_": "not-found",
        "-": "not-found",
        "..echo": "not-found", "x" * 128: "not-found", "x" * 129: "path", "%65cho": "path", "ech%6f": "path", "%2565cho": "path",
        "%252e%252e": "path", "%252f": "path", "%D0%B5cho": "path", "%EF%BD%85cho": "path", "%E2%80%8Becho": "path",
        "e%CC%81cho": "path",
        "echo%20": "path", "echo+x": "path", "echo:x": "path", "echo@h": "path", "echo,x": "path", "echo*": "path",
        "echo!": "path",
        "...": "path", "~echo": "path", "echo&x=1": "path", "(echo)": "path", "echo'": "path", "$echo": "path", "a=b": "path",
    }.items()
]  # fmt: skip

FORMS = [
    good("with a query", asking("/v2/models/echo/infer?x=1&y=../..%2f%00")),
    good("an absolute target that is Host's", asking("http://h/v2/models/echo/infer")),
    good("the same in other letters", asking("HTTP://H:80/v2/models/echo/infer", host="Host: h:80")),
    bad("an absolute target of another host", asking("http://evil/v2/models/echo/infer"), 400, "host"),
    bad("an absolute target of another port", asking("http://h:81/v2/models/echo/infer"), 400, "host"),
    bad("an absolute target with a user", asking("http://u@h/v2/models/echo/infer"), 400, "host"),
    good("a path behind a slash", asking("/v2/models/echo/infer/"), NO_PATH, asked=0),
    good("a path in other letters", asking("/V2/models/echo/infer"), NO_PATH, asked=0),
    good("a path of the admin port", asking("/api/policy"), NO_PATH, asked=0),
    *(
        good(f"never passed: {path}", asking(path), (403, "forbidden"), asked=0)
        for path in (
            "/v2/systemsharedmemory/region/x/register", "/v2/cudasharedmemory/status", "/v2/repository/models/echo/load",
            "/v2/repository/models/echo/unload", "/v2/trace/setting", "/v2/logging", "/v2/models/echo/trace/setting",
        )
    ),
]  # fmt: skip

HOSTS = [
    *(good(f"host {host!r}", asking("/v2/models/echo/infer", host=f"Host: {host}"))
      for host in ("a", "a.b", "A-b.c_d.", "127.0.0.1:8080", "[::1]:80", "[fe80::1]", "x" * 63 + ".y", "a:65535")),
    *(
        bad(f"host {host!r}", asking("/v2/models/echo/infer", host=f"Host: {host}"), 400, "host")
        for host in (
            "", " ", "a b", "a,b", "a/b", "a\\b", "u@a", "u:p@a", "a:", "a:x", "a:-1", "a:123456", ":80", "[::1", "::1", "[x]",
            "[::::]",
            "[1.2.3.4]", "[::1]x", "a?", "a#b", "a%41", "a..b", ".a", "\xe9", "a" * 300, "a\tb", "http://a", "a;b", "(a)",
            "a:80:80",
        )
    ),
    bad("no host", asking("/v2/models/echo/infer", host=""), 400, "host"),
    bad("two hosts", asking("/v2/models/echo/infer", "Host: h"), 400, "header"),
    bad("two hosts in other letters", asking("/v2/models/echo/infer", "hOST: evil"), 400, "header"),
    bad("a host on a folded line", asking("/v2/models/echo/infer", host="Host:\r\n evil"), 400, "framing"),
    bad("a host with a blank", asking("/v2/models/echo/infer", host="Host : h"), 400, "framing"),
]  # fmt: skip

TWICE = [
    bad(f"two {name}", asking("/v2/models/echo/infer", f"{name}: {value}", f"{name.lower()}: {value}"), 400, "header")
    for name, value in {
        "Authorization": "Bearer x", "Content-Type": "application/json", "X-Request-Timeout-Ms": "1000",
        "x-envoy-expected-rq-timeout-ms": "1000",
    }.items()
] + [bad("two X-API-Key", asking("/v2/models/echo/infer", "x-api-key: other"), 400, "header")]  # fmt: skip


@pytest.mark.parametrize("case", [*SHAPES, *NAMES, *FORMS, *HOSTS, *TWICE], ids=str)
def test_names(gate: Gate, case: Case) -> None:
    """Every doubtful path, name, host or repeated header is refused; what passes is asked under the one name it has."""
    for asked in play(gate, case):
        assert "/v2/models/echo/infer" == asked.path
        assert gate.backend.address == asked.value("host")


@pytest.mark.parametrize("model", ["a.b", "A-b_9"])
def test_names_reach_the_backend_as_they_are(gate: Gate, model: str) -> None:
    """Letters, digits, dot, underscore and minus."""
    (asked,) = play(gate, good(model, asking(f"/v2/models/{model}/infer"), OK))
    assert f"/v2/models/{model}/infer" == asked.path
