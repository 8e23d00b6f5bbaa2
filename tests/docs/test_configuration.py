"""The configuration that the pages show is accepted, the mistakes they show are refused in the words they show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gateway.cli import main
from gateway.configuration.load import load_gateway, load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.configuration.schema_policy import PolicyDocument
from tests.docs.pages import DOCS, ROOT, Block, blocks, words
from tests.docs.pages import table as cells

POLICY, OPERATE = DOCS / "policy.md", DOCS / "operate.md"
WHOLE = blocks("yaml policy")


@pytest.mark.parametrize("block", WHOLE, ids=str)
def test_whole_policy(block: Block) -> None:
    """It can be used."""
    load_policy(block.text.encode(), str(block))


@pytest.mark.parametrize("block", blocks("yaml part"), ids=str)
def test_part_of_a_policy(block: Block) -> None:
    """Put in its place in the page's first whole policy, it can be used: a list is routes above the last one."""
    whole = yaml.safe_load(next(each.text for each in WHOLE if each.page == block.page))
    model = whole["models"]["digits"]
    part = yaml.safe_load(block.text)
    if isinstance(part, list):
        model["routes"] = [*part, {"name": "rest", "use": "fast"}] if "match" in part[-1] else part
    else:
        top = part.keys() & {field.encode_name for field in msgspec.structs.fields(PolicyDocument)}
        whole = _over(whole, part) if top else {**whole, "models": {"digits": _over(model, part)}}
    load_policy(yaml.safe_dump(whole).encode(), str(block))


def _over(under: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """`part` laid over `under`; mappings are joined, all else is replaced."""
    joined = {name: _over(under[name], each) for name, each in part.items() if isinstance(each, dict) and name in under}
    return {**under, **part, **joined}


@pytest.mark.parametrize("block", blocks("yaml mistaken"), ids=str)
def test_mistaken_policy(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`penstock policy check` says exactly what the page shows, and that the answer is no."""
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text(block.text)
    assert 1 == main(["policy", "check", "policy.yaml"])
    assert block.output == capsys.readouterr().out


@pytest.mark.parametrize("block", blocks("yaml gateway"), ids=str)
def test_gateway_document(block: Block) -> None:
    """It can be used."""
    load_gateway(block.text.encode(), str(block))


def test_the_repositorys_gateway_document_shows_the_defaults() -> None:
    """As its first lines and the page say: of everything but the state's folder."""
    assert GatewayDocument(state=".penstock") == load_gateway((ROOT / "config" / "gateway.yaml").read_bytes(), "gateway.yaml")


@pytest.mark.parametrize("page", [POLICY, OPERATE], ids=lambda page: page.name)
def test_what_is_not_there_yet_is_refused_as_such(page: Path) -> None:
    """Every line of the page's last table, at the place it names, is refused as known but not supported."""
    for what, *_ in cells(page, "## Not yet"):
        (line,) = words(what)
        assert "not supported by this version yet" in _refusal(line, page == OPERATE), line


def _refusal(line: str, process: bool) -> str:
    """What the loader says of a document with this line in it: keys joined by dots, then the value."""
    keys, _, value = line.partition(": ")
    document: Any = yaml.safe_load(value)
    for key in reversed(keys.split(".")):
        document = {key: [document] if key == "routes" else document}
    if process:
        return _said(load_gateway, document)
    whole = yaml.safe_load(WHOLE[0].text)
    if "models" in document:
        model = whole["models"]["digits"]
        asked = document["models"]["digits"]
        routes = (
            [{"name": "new", "use": "fast", **asked["routes"][0]}, *model["routes"]] if "routes" in asked else model["routes"]
        )
        return _said(load_policy, {**whole, "models": {"digits": {**_over(model, asked), "routes": routes}}})
    return _said(load_policy, _over(whole, document))


def _said(load: Any, document: Any) -> str:
    with pytest.raises(PolicyError) as refused:
        load(yaml.safe_dump(document, allow_unicode=True).encode(), "document.yaml")
    return str(refused.value)
