"""Tests of gateway.configuration.integrity."""

from __future__ import annotations

import hashlib

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.configuration.integrity import Ends, ends, sealed, unsealed
from gateway.configuration.problems import PolicyError

ALPHABET = st.sampled_from(["---", "...", "a: 1", "# x", " # unsealed", "%YAML 1.1", "\n", "\r\n", " ", "\t", "|", "'", ".", "-"])
TEXTS = st.lists(ALPHABET, max_size=12).map(lambda parts: "".join(parts).encode())


def refused(text: bytes) -> list[str]:
    """What is said against the file, with lines."""
    with pytest.raises(PolicyError) as found:
        ends(text, "f")
    return str(found.value).splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", Ends.OPEN),
        (b"a: 1\n", Ends.OPEN),
        (b"# only a comment", Ends.OPEN),
        (b"---a: 1\n", Ends.OPEN),
        (b"a: b...\n", Ends.OPEN),
        (b"a:\n  ...\n", Ends.OPEN),
        (b"a: |\n  ---\n  ...\n", Ends.OPEN),
        (b"---\na: 1\n...\n", Ends.CLOSED),
        (b"---\na: 1\n...", Ends.CLOSED),
        (b"---\r\na: 1\r\n...\r\n", Ends.CLOSED),
        (b"\xef\xbb\xbf---\na: 1\n...\n", Ends.CLOSED),
        (b"\xef\xbb\xbf# a\n---\na: 1\n...\n", Ends.CLOSED),
        (b"# yaml-language-server: $schema=policy.schema.json\n\n \t\n  # b\n---\na: 1\n...\n", Ends.CLOSED),
        (b"--- # the policy\na: 1\n...\n", Ends.CLOSED),
        (b"--- \t \na: 1\n...\n", Ends.CLOSED),
        (b"---\na: |\n  ---\n  ...\n...\n", Ends.CLOSED),
        (b"---\n...\n", Ends.CLOSED),
        (b"---\na: 1\n... # unsealed\n", Ends.UNSEALED),
        (b"---\na: 1\n... # unsealed", Ends.UNSEALED),
    ],
)
def test_ends(text: bytes, expected: Ends) -> None:
    """A file that opens with --- closes with ...; comments may stand before, and the last line break may be missing."""
    assert expected is ends(text, "f")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"---\na: 1\n", ["f:2: cut off: a file that begins with --- ends with a line that is just ..., and this one does not"]),
        (b"---", ["f:1: cut off: a file that begins with --- ends with a line that is just ..., and this one does not"]),
        (b"---\na: 1\n\n\n..", ["f:5: cut off: … — did you mean '...'?"]),
        (b"---\na: 1\n....\n\n", ["f:3: cut off: … — did you mean '...'?"]),
        ("---\na: 1\n…\n".encode(), ["f:3: cut off: … — did you mean '...'?"]),
        (b"---\na: 1\n  ...\n", ["f:3: cut off: … — did you mean '...'?"]),
        (b"---\na: 1\n...# sha256\n", ["f:3: cut off: …, and this one does not"]),
        (b"--- {a: 1}\n...\n", ["f:1: the document begins on the line after ---, not on the same"]),
        (b"--- |\n", ["f:1: the document begins on the line after ---, not on the same", "f:1: cut off: …"]),
        (b"a: 1\n...\n", ["f:2: this line ... closes a document that no line --- opens — did you mean '---'?"]),
        (b"...\n", ["f:1: this line ... closes a document that no line --- opens — did you mean '---'?"]),
        (b"---\na: 1\n...\n\n", ["f:4: the file closes on line 3; nothing may follow, not even empty lines"]),
        (b"---\na: 1\n...\n---\nb: 1\n...\n", ["f:4: the file closes on line 3; nothing may follow, not even empty lines"]),
        (b"---\na: 1\n... \n", ["f:3: behind ... stands ' '; only a seal may stand there, as `penstock … — did you mean '...'?"]),
        (b"---\na: 1\n... # the end\n# more", ["f:3: behind ... stands ' # the end'; …", "f:4: the file closes …"]),
        (b"---\na: 1\n... # sha256 " + b"0" * 63 + b"\n", ["f:3: behind ... stands …"]),
        (b"---\na: 1\n... # sha256 " + b"A" * 64 + b"\n", ["f:3: behind ... stands …"]),
        (b"---\na: 1\n... # unsealed \n", ["f:3: behind ... stands …"]),
    ],
)  # fmt: skip
def test_refused(text: bytes, expected: list[str]) -> None:
    """A file that is not what its first line promises is refused where it ends, or where something is too much."""
    said = refused(text)
    assert len(expected) == len(said)
    for short, line in zip(expected, said, strict=True):
        assert all(part in line for part in short.split("…")) or short == line


def test_seal() -> None:
    """The seal is the SHA-256 of all bytes before the closing line, so that sha256sum can tell it as well."""
    body = b"# a\n---\na: 1\n"
    text = sealed(body + b"...\n", "f")
    assert body + f"... # sha256 {hashlib.sha256(body).hexdigest()}\n".encode() == text
    assert Ends.SEALED is ends(text, "f")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a: 1\n", b"---\na: 1\n"),
        (b"a: 1", b"---\na: 1\n"),
        (b"# about\n\na: 1\n", b"# about\n\n---\na: 1\n"),
        (b"\xef\xbb\xbfa: 1\n", b"\xef\xbb\xbf---\na: 1\n"),
        (b"# a\r\na: 1\r\nb: 2", b"# a\r\n---\r\na: 1\r\nb: 2\r\n"),
        (b"---\na: 1\n...", b"---\na: 1\n"),
        (b"---\na: 1\n... # unsealed\n", b"---\na: 1\n"),
        (b"---\na: 1\n... # sha256 " + b"0" * 64, b"---\na: 1\n"),
    ],
)
def test_sealing(before: bytes, after: bytes) -> None:
    """What is sealed stays as it is, line ends too; a missing --- comes before the document; sealing twice changes nothing."""
    text = sealed(before, "f")
    assert text.startswith(after + b"... # sha256 ")
    assert text == sealed(text, "f")
    assert Ends.SEALED is ends(text, "f")
    assert text.endswith(b"\r\n" if b"\r\n" in before else b"\n")
    assert after + b"... # unsealed" == unsealed(text, "f").rstrip()
    assert text == sealed(unsealed(text, "f"), "f")


@pytest.mark.parametrize("text", [b"---\na: 1\n", b"---\na: 1\n...\nb: 2\n", b"a: 1\n...\n"])
def test_what_is_broken_is_not_sealed(text: bytes) -> None:
    """No seal makes half a file good."""
    for close in (sealed, unsealed):
        with pytest.raises(PolicyError):
            close(text, "f")


def test_edited() -> None:
    """After any change the seal does not fit; the message names the command that seals anew."""
    text = sealed(b"---\na: 1\n...\n", "f").replace(b"1", b"2", 1)
    again = "if that was meant, `penstock policy seal f` seals it anew"
    assert [f"f:3: edited since it was sealed (line ends count too); {again}"] == refused(text)


def test_other_line_ends() -> None:
    """A file whose line ends an editor or git changed is not what was sealed."""
    text = sealed(b"---\na: 1\n...\n", "f").replace(b"\n", b"\r\n")
    assert ["line ends count too"] == [said[said.index("line") : said.index(")")] for said in refused(text)]


@example(b"%YAML 1.1")
@given(TEXTS | st.binary())
def test_any_bytes(text: bytes) -> None:
    """Whatever the file holds, its ends are known or refused; what can be sealed is whole then, and says the same to YAML."""
    refusal = None
    try:
        ends(text, "f")
    except PolicyError as error:
        refusal = error
    assert refusal is None or refusal.problems
    try:
        text_sealed = sealed(text, "f")
    except PolicyError:
        return
    assert Ends.SEALED is ends(text_sealed, "f")
    assert (_values(text) or [""]) in (_values(text_sealed), [""])


@given(TEXTS)
def test_the_parser_agrees(text: bytes) -> None:
    """What is closed here begins and ends explicitly for YAML too; in what is open YAML sees no explicit end."""
    try:
        found = ends(text, "f")
    except PolicyError:
        return
    events = _events(text)
    ended = [event.explicit for event in events if isinstance(event, yaml.DocumentEndEvent)]
    begun = [event.explicit for event in events if isinstance(event, yaml.DocumentStartEvent)]
    if found is Ends.OPEN:
        assert not any(ended)
    elif events:
        assert (True, True) == (begun[0], ended[-1])


def _events(text: bytes) -> list[yaml.Event]:
    """All of them; none of what is no YAML."""
    try:
        return list(yaml.parse(text.decode(), Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError):
        return []


def _values(text: bytes) -> list[str]:
    """Without a last line break: one that the file lacks is added."""
    return [event.value.rstrip("\n") for event in _events(text) if isinstance(event, yaml.ScalarEvent)]
