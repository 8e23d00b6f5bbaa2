"""The reference page of a configuration file, made of its JSON Schema: one table for each object, for people to read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
import yaml

from gateway.configuration.descriptions import EXAMPLES
from gateway.configuration.fragments import Schema
from gateway.configuration.problems import listed

_INTRODUCTION = """\
# {title}

Every key of `{file}`, written by `{command} --reference` from the types that load the file: do not edit this page.
{more}
Keys in **bold** must be there; a key that is not listed is refused. A *name* is 1 to 128 letters, digits, `.`, `_` and `-`.
"""


class Page(msgspec.Struct, frozen=True):
    """What the page says at its top: its title, the file it is about, the command that prints its schema, and more."""

    title: str
    file: str
    command: str
    more: str = ""


def reference(schema: Schema, page: Page) -> str:
    """The page in Markdown."""
    places = _places(schema)
    sections = [_section("The document", schema, ())]
    sections += [_section(_heading(name), each, places[name]) for name, each in schema["$defs"].items()]
    return "\n".join([_INTRODUCTION.format(**msgspec.structs.asdict(page)), *sections]).rstrip()


def _heading(name: str) -> str:
    """`PolicyTest` as a heading: `Policy test`."""
    return " ".join(re.findall(r"[A-Z][a-z]*", name)).capitalize()


def _places(schema: Schema) -> dict[str, list[str]]:
    """Where in the file each object of `$defs` stands; inside itself only below its other places."""
    found: dict[str, list[str]] = {}
    waiting = [(key, each) for key, each in _references(schema)]
    while waiting:
        place, name = waiting.pop(0)
        known = found.setdefault(name, [])
        if not known:
            waiting += [(f"{place}.{inner}", each) for inner, each in _references(schema["$defs"][name]) if each != name]
        known.append(place)
    return found


def _references(schema: Schema) -> Iterator[tuple[str, str]]:
    """Every object that this one's keys hold: the key with `[]` for a list and `.<name>` for a mapping, and its name."""
    for key, each in schema["properties"].items():
        kind, place = _plain(each), key
        if "items" in kind:
            kind, place = _plain(kind["items"]), f"{key}[]"
        elif "propertyNames" in kind:
            kind, place = _plain(kind["additionalProperties"]), f"{key}.<name>"
        if "$ref" in kind:
            yield place, kind["$ref"].rpartition("/")[2]


def _section(heading: str, schema: Schema, places: Sequence[str]) -> str:
    examples = {_heading(struct.__name__): text for struct, text in EXAMPLES.items()}
    at = f"At {listed(f'`{place}`' for place in places)}. " if places else ""
    lines = [
        f"## {heading}",
        "",
        f"{at}{schema['description']}",
        "",
        "| key | what | written as | default |",
        "|---|---|---|---|",
    ]
    required = schema.get("required", ())
    for key, each in schema["properties"].items():
        name = f"**`{key}`**" if key in required else f"`{key}`"
        default = f"`{_written(each['default'])}`" if "default" in each else ""
        lines.append(" | ".join((f"| {name}", each["description"], _kind(each), default)) + " |")
    if heading in examples:
        lines += ["", "```yaml", examples[heading].strip(), "```"]
    return "\n".join([*lines, ""])


def _kind(schema: Schema) -> str:
    """How a value is written, in words."""
    schema = _plain(schema)
    if "$ref" in schema:
        name = _heading(schema["$ref"].rpartition("/")[2])
        alone = f"{_kind(schema['alone'])}, " if "alone" in schema else ""
        return f"{alone}[{name.lower()}](#{name.lower().replace(' ', '-')})"
    if "items" in schema and "title" not in schema:
        return f"a list: {_kind(schema['items'])}"
    if "propertyNames" in schema:
        key = {"text": "name"}.get(name := schema["propertyNames"]["title"].removeprefix("a "), name)
        return f"for each {key}: {_kind(schema['additionalProperties'])}"
    if "enum" in schema:
        return listed(f"`{word}`" for word in schema["enum"])
    examples = ", ".join(f"`{_written(each)}`" for each in schema.get("examples", ()))
    return f"{schema['title']}: {examples}" if examples else str(schema["title"])


def _plain(schema: Schema) -> Schema:
    """Without the null that stands for `left out`; what may stand for an object is its `alone`."""
    if "title" in schema or "anyOf" not in schema:
        return schema
    *alone, kind = (each for each in schema["anyOf"] if each != {"type": "null"})
    return {**kind, "alone": alone[0]} if alone else dict(kind)


def _written(value: object) -> str:
    """A value as YAML writes it on one line, in quotes where it needs them."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
