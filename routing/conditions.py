"""A route's conditions as functions of a question, each with the words that explain it; compiled once per policy document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from backends.inference import Parameter
from routing.match import Match, Question, Range, RouteTable
from routing.prompt.scorer import UNIT, PromptRouter, Scorer

Predicate = Callable[[Question], bool]
_BYTES = ("B", "KiB", "MiB", "GiB")


class Condition(msgspec.Struct, frozen=True):
    """One line of a match. `holds` decides live requests; the rest says why, to whoever asks `penstock policy explain`."""

    key: str  # as in the document: `tenant`, `header.x-a`, `any`
    wanted: str  # in words; empty where `parts` say it
    holds: Predicate
    found: Callable[[Question], object]  # what the question has there; None where it has nothing
    parts: tuple[tuple[Condition, ...], ...] = ()  # of `any`, `all` and `not`: the conditions of each match in it


def conditions(match: Match) -> tuple[Condition, ...]:
    """The match's conditions, cheapest first; an empty match gives none."""
    return (*_words(match), *_pairs(match), *_ranges(match), *_nested(match))


def predicates(match: Match) -> tuple[Predicate, ...]:
    """The match as functions of a question that must all hold, cheapest first."""
    return tuple(condition.holds for condition in conditions(match))


def size(count: int) -> str:
    """Bytes as the document writes them, `64MiB`, `512B`: in the largest unit that needs no fraction."""
    power = min(3, ((count & -count).bit_length() - 1) // 10) if count else 0
    return f"{count >> 10 * power}{_BYTES[power]}"


def same(found: Parameter | None, wanted: Parameter) -> bool:
    """Equal in value and in kind: `true` is not `1`, but `1` is `1.0`."""
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


def _words(match: Match) -> Iterator[Condition]:
    if tenants := match.tenants:
        yield Condition(
            "tenant",
            _either(tenants),
            lambda question: question.principal.tenant in tenants,
            lambda question: question.principal.tenant or None,
        )
    if tiers := match.tiers:
        yield Condition(
            "tier",
            _either(tiers),
            lambda question: question.principal.tier in tiers,
            lambda question: question.principal.tier or None,
        )
    if versions := match.versions:
        yield Condition(
            "version", _either(versions), lambda question: question.version in versions, lambda question: question.version or None
        )
    if scopes := match.scopes:
        yield Condition(
            "scope",
            _either(scopes),
            lambda question: not scopes.isdisjoint(question.principal.scopes),
            lambda question: " ".join(sorted(question.principal.scopes)) or None,
        )


def _either(words: frozenset[str]) -> str:
    return " or ".join(sorted(words))


def _pairs(match: Match) -> Iterator[Condition]:
    for name, value in match.headers:
        yield _header(name, value)
    for parameter, wanted in match.parameters:
        yield _parameter(parameter, wanted)


def _header(name: str, value: str) -> Condition:
    return Condition(
        f"header.{name}", value, lambda question: question.headers.get(name) == value, lambda question: question.headers.get(name)
    )


def _parameter(name: str, wanted: Parameter) -> Condition:
    return Condition(
        f"parameter.{name}",
        msgspec.json.encode(wanted).decode(),
        lambda question: same(question.parameters.get(name), wanted),
        lambda question: question.parameters.get(name),
    )


def _ranges(match: Match) -> Iterator[Condition]:
    if match.rows is not None:
        yield _number("rows", match.rows, lambda question: question.rows)
    if match.priority is not None:
        yield _number("priority", match.priority, lambda question: question.priority)
    if match.size is not None:
        low, high = match.size.low, match.size.high
        words = f"{size(low) if low or high is None else ''}..{'' if high is None else size(high)}"
        yield _number("bytes", match.size, lambda question: question.size, words)
    for name, wanted in match.parameter_ranges:
        yield _number(f"parameter_range.{name}", wanted, _parameter_of(name))
    for name, wanted in match.text_lengths:
        yield _number(f"text_length.{name}", wanted, _length_of(name))
    for name, wanted in match.prompts:
        yield _score(name, wanted)


def _length_of(name: str) -> Callable[[Question], int | None]:
    return lambda question: question.text_lengths.get(name)


def _parameter_of(name: str) -> Callable[[Question], float | None]:
    def read(question: Question) -> float | None:
        found = question.parameters.get(name)
        return found if isinstance(found, int | float) and not isinstance(found, bool) else None

    return read


def _number(key: str, wanted: Range, read: Callable[[Question], float | None], words: str = "") -> Condition:
    def holds(question: Question) -> bool:
        return (found := read(question)) is not None and wanted.holds(found)

    return Condition(key, words or wanted.text(), holds, read)


def _score(name: str, wanted: Range) -> Condition:
    said = [f"at least {wanted.low / UNIT:g}"] if wanted.low or wanted.high is None else []
    said += [] if wanted.high is None else [f"below {(wanted.high + 1) / UNIT:g}"]

    def holds(question: Question) -> bool:
        return (found := question.prompts.get(name)) is not None and wanted.holds(found)

    def score(question: Question) -> float | None:
        return None if (found := question.prompts.get(name)) is None else found / UNIT

    return Condition(f"prompt.{name}", " and ".join(said), holds, score)


def _nested(match: Match) -> Iterator[Condition]:
    if match.every:
        parts = tuple(conditions(part) for part in match.every)
        yield Condition("all", "", lambda question: all(_holds(part, question) for part in parts), _nothing, parts)
    if match.some:
        options = tuple(conditions(part) for part in match.some)
        yield Condition("any", "", lambda question: any(_holds(part, question) for part in options), _nothing, options)
    if match.never is not None:
        refused = conditions(match.never)
        yield Condition("not", "", lambda question: not _holds(refused, question), _nothing, (refused,))


def _holds(part: tuple[Condition, ...], question: Question) -> bool:
    return all(condition.holds(question) for condition in part)


def _nothing(_: Question) -> None:
    return None


class Looks(msgspec.Struct, frozen=True):
    """What a model's routes look at that costs something to find out; the data plane fills in no more than that."""

    priority: bool = False
    size: bool = False
    texts: frozenset[str] = frozenset()  # names of BYTES inputs
    prompts: frozenset[str] = frozenset()  # names of routers
    routers: tuple[PromptRouter, ...] = ()  # these, where it is known what they are

    def __bool__(self) -> bool:
        return self.priority or self.size or bool(self.texts) or bool(self.prompts)


def looks(match: Match) -> Looks:
    """What this match looks at, nested ones included."""
    texts, prompts = (frozenset(name for name, _ in several) for several in (match.text_lengths, match.prompts))
    found = Looks(match.priority is not None, match.size is not None, texts, prompts)
    nested = (*match.every, *match.some, *(() if match.never is None else (match.never,)))
    return together(found, *(looks(part) for part in nested))


def together(*several: Looks) -> Looks:
    """What any of them looks at."""
    return Looks(
        any(each.priority for each in several),
        any(each.size for each in several),
        frozenset().union(*(each.texts for each in several)),
        frozenset().union(*(each.prompts for each in several)),
    )


def looks_of(table: RouteTable) -> Looks:
    """What any route of the table looks at, with its routers."""
    found = together(*(looks(route.match) for route in table.routes))
    return replace(found, routers=tuple(each for each in table.routers if each.name in found.prompts))


def ready(looked: Looks, scorers: Mapping[str, Scorer]) -> Looks:
    """The same with routers that can score; `scorers` by SHA-256."""
    return replace(looked, routers=tuple(replace(each, scorer=scorers[each.sha256]) for each in looked.routers))
