"""Policy files of any bytes: what is read is what another YAML reader finds there; what was sealed and damaged is not adopted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.integrity import sealed
from gateway.configuration.load import load_gateway, load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.yaml_source import parse
from gateway.reload.adoption import Standing, objections
from tests.fuzz.wires import OFTEN, changes, mutated

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "config"
WHOLE = (CONFIG / "examples" / "enterprise.yaml").read_bytes()
SEALED = sealed(WHOLE, "policy.yaml")
IN_FORCE = Standing(SEALED, load_policy(SEALED, "policy.yaml"))
PIECES = (
    b"a", b"b", b"1", b"-1", b"1.5", b".5", b"1e3", b"e5", b"0x1", b"010", b"1_0", b"12:30", b"true", b"no", b"null", b"~",
    b".inf", b"", b" ", b"  ", b"\t", b"\n", b"\n ", b"\n  ", b"\n- ", b"\r\n", b"\r", b": ", b":", b":\n", b"- ", b"-", b"? ",
    b"?", b", ", b",", b"[", b"]", b"{", b"}", b"'", b'"', b"''", b"\\", b"\\n", b"\\x41", b"\\ud800", b"|", b"|-\n", b">",
    b">+2\n", b"#", b" # c", b"&a ", b"*a", b"!a ", b"!!str ", b"!%C0%80 ", b"<<: ", b"%", b"\n%YAML 1.2\n", b"---", b"---\n",
    b"\n---\n", b"...", b"\n...\n", b"\n... # unsealed\n", b"@", b"`", b"=", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf",
    b"\xc3\xa9", b"\0", b"\x7f", b"\xff", b"\xed\xa0\x80", b"tests: []\n", b"without: [tests]\n", b"version: 1\n",
    b"    fallback: {accurate: fast}\n",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=2), max_size=24).map(b"".join)
DAMAGED = changes(PIECES, 4).map(lambda some: mutated(WHOLE, some))
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def meant(text: str) -> object:
    """A plain scalar as the documentation has it: true, false, null, decimal numbers; all else is text."""
    if text in ("", "~", "null", "true", "false"):
        return {"true": True, "false": False}.get(text)
    digits = text.lstrip("+-")
    leading_zero = digits[:1] == "0" and digits[1:2].isdigit()
    if leading_zero or not _NUMBER.fullmatch(text):
        return text
    if _WHOLE_NUMBER.fullmatch(text) and len(digits) <= 18:
        return int(text)
    number = float(text)
    return text if number in (float("inf"), float("-inf")) else number


def other(text: bytes) -> object:
    """What PyYAML's own reader finds, which shares no code with libyaml. Raises yaml.YAMLError."""
    node = yaml.compose(text.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    return None if node is None else _value(node)


def _value(node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _value(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(each) for each in node.value]
    return meant(node.value) if isinstance(node, yaml.ScalarNode) and node.style is None else node.value


@OFTEN
@given(TEXTS | DAMAGED)
def test_hostile_yaml(text: bytes) -> None:
    """What is read, another reader reads in the same way, unless it refuses; what is not read is refused in words."""
    try:
        value = parse(text, "file.yaml").value
    except PolicyError as error:
        assert error.problems  # noqa: PT017 - a refusal is as good as an answer
        assert all(1 <= problem.line <= text.count(b"\n") + 1 for problem in error.problems)  # noqa: PT017
        return
    try:
        expected = other(text)
    except yaml.YAMLError:
        return
    assert repr(expected) == repr(value)


@OFTEN
@given(TEXTS | DAMAGED)
def test_hostile_files(text: bytes) -> None:
    """As a policy and as a process's configuration a file is read or refused; nothing else happens."""
    for load in (load_policy, load_gateway):
        try:
            load(text, "file.yaml")
        except PolicyError as error:
            assert error.problems  # noqa: PT017 - a refusal is as good as an answer


@OFTEN
@given(changes(PIECES, 6).map(lambda some: mutated(SEALED, some)))
def test_damaged_seals(text: bytes) -> None:
    """However a sealed policy is damaged, nothing takes its place that means something else."""
    try:
        after = Standing(text, load_policy(text, "policy.yaml"))
    except PolicyError:
        return
    if not objections(IN_FORCE, after):
        assert IN_FORCE.document == after.document
