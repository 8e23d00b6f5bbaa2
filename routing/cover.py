"""Finds out which routes of a model any question reaches, who hides the others, and a question that reaches a given one.

Theory. What a question says of one attribute (the tenant, a header, the rows) falls into classes that no condition of the
model tells apart: every word that occurs is a class, all other words are one, and whole numbers are cut wherever a range
begins or ends. A *point* has one class for each attribute: all its questions take the same route. A *box* allows some classes
of each attribute that it names, and every class of the others.

A route is searched from the smallest box around its match. One point of the region is asked of the route itself and of the
earlier ones. If it is the route's own, its questions reach it. Otherwise the answer comes with a reason: the box of all points
that get the same answer by the same conditions. Nothing in that box needs to be asked again, and the region less the box is at
most one smaller region for each attribute in the reason. When nothing is left, no question reaches the route, and the earlier
routes that were met on the way take together all that it asks for. So no match is ever multiplied out, which could take
exponential room. It can still take exponential time (whether `any`, `all` and `not` can hold is satisfiability, which is
NP-complete), so steps are counted, and a route that is open when they are spent passes for reachable: never a false alarm.

Which of thousands of routes takes a point is found with one vector of bits, a bit for a route, for each class of each
attribute (T. V. Lakshman, D. Stiliadis: High-speed policy-based packet forwarding, SIGCOMM 1998).

Attributes count as independent of each other, and the gateway's other rules (authorisation, version_policy) as unknown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import accumulate
from operator import or_, xor
from typing import Any, NamedTuple

from routing.match import LOWEST_PRIORITY, Match, Question, Range
from routing.principal import INFER, Principal
from routing.prompt.scorer import UNIT

STEPS = 1_000_000  # for all routes of one model; looking at a condition is one. Under a second together
STEPS_OF_ONE = 100_000  # for one route
ABSENT = -1  # of numbers

Key = tuple[str, str]  # an attribute: `tenant` and nothing, `header` and its name
Wanted = frozenset[Hashable] | Range
Box = dict[int, int]  # attribute → allowed classes, a bit for each; negative: all but some. Attributes not named are free
Point = dict[int, int]  # attribute → its class; attributes not named have their usual one


class Leaf(NamedTuple):
    """One attribute is of one of these classes."""

    axis: int
    allowed: int


class Branch(NamedTuple):
    """All parts hold, or at least one."""

    every: bool
    parts: tuple[Leaf | Branch, ...]


class Axis:
    """The classes of one attribute: of words first all that no route names (what is absent, too), then each; numbers ascend."""

    def __init__(self, key: Key, wanted: Iterable[Wanted]) -> None:
        """`wanted` is all that the model's conditions want of the attribute."""
        self.key = key
        what = key[0]
        ranges = [each for each in wanted if isinstance(each, Range)]
        if ranges:
            first = 0 if what == "size" else ABSENT
            end = {"priority": LOWEST_PRIORITY + 1, "prompt": UNIT + 1}.get(what)
            cuts = {first, 1, *(each.low for each in ranges), *(each.high + 1 for each in ranges if each.high is not None)}
            self.values: list[Any] = sorted(cut for cut in cuts if first <= cut and (end is None or cut < end))
        else:
            words = {word for each in wanted if isinstance(each, frozenset) for word in each}
            absent = "" if what in ("tenant", "tier", "version") else None
            self.values = [absent, *sorted(words - {absent}, key=repr)]
        self._places = {value: place for place, value in enumerate(self.values)}
        self.full = (1 << len(self.values)) - 1
        self.usual = self._places[1] if what == "rows" else int(key == ("scope", INFER))

    def classes(self, wanted: Wanted) -> int:
        """Those that the condition wants."""
        if isinstance(wanted, Range):
            end = len(self.values) if wanted.high is None else bisect_left(self.values, wanted.high + 1)
            return (1 << end) - 1 & ~((1 << bisect_left(self.values, wanted.low)) - 1)
        return sum(1 << self._places[word] for word in wanted)

    def value(self, place: int) -> Any:
        """One of that class; None for what is not there."""
        return None if self.values[place] == ABSENT else self.values[place]

    def pick(self, allowed: int) -> int:
        """The usual class if it is one of these, else the last: ranges mostly grow from route to route."""
        return self.usual if allowed >> self.usual & 1 else allowed.bit_length() - 1


def witness(matches: Sequence[Match | None], route: int) -> Question | None:
    """A question that this route takes and no earlier one; None where there is none, or none was found in so many steps."""
    return Cover(matches).witness(route)


class Cover:
    """The routes of one model, by their matches in order; None for one that is unknown: it takes nothing and is not judged."""

    def __init__(self, matches: Sequence[Match | None]) -> None:
        wanted: dict[Key, list[Wanted]] = {}
        for key, each in (found for match in matches if match is not None for found in _leaves(match)):
            wanted.setdefault(key, []).append(each)
        self._axes = [Axis(key, several) for key, several in wanted.items()]
        self._usual = [axis.usual for axis in self._axes]
        places = {key: place for place, key in enumerate(wanted)}
        self._known = [match is not None for match in matches]
        self._trees = [Branch(False, ()) if match is None else self._tree(match, places) for match in matches]
        self._bounds = [_bounds(tree) for tree in self._trees]
        self._forbids = self._forbidding()
        self._ordinary = sum(1 << route for route, box in enumerate(self._bounds) if box is not None)  # take the usual point
        for forbids, usual in zip(self._forbids, self._usual, strict=True):
            self._ordinary &= ~forbids[usual]
        self._left = 0  # steps of the search under way

    def hidden(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Each route that no question reaches, with the earlier ones that together take all it asks for; none to spare.

        No earlier ones: the match can never hold, wherever the route stands.
        """
        left = STEPS
        for route in (route for route, known in enumerate(self._known) if known):
            if left <= 0:
                return
            allowed = self._left = min(left, STEPS_OF_ONE)
            takers = self._search(route, (1 << route) - 1)
            needed = self._needed(route, sorted(takers)) if isinstance(takers, frozenset) else None
            left -= allowed - max(0, self._left)
            if needed is not None:
                yield route, needed

    def witness(self, route: int) -> Question | None:
        """A question that this route takes and no earlier one; None where there is none, or none was found in time."""
        self._left = STEPS_OF_ONE
        found = self._search(route, (1 << route) - 1)
        return self._question(found) if isinstance(found, dict) else None

    def _tree(self, match: Match, places: Mapping[Key, int], sign: bool = True) -> Leaf | Branch:
        """The match, or its negation: every `not` is carried down to the leaves."""

        def leaf(key: Key, wanted: Wanted) -> Leaf:
            axis = self._axes[places[key]]
            return Leaf(places[key], axis.classes(wanted) if sign else axis.full & ~axis.classes(wanted))

        parts = [leaf(key, wanted) for key, wanted in _plain(match)]
        nested = [self._tree(part, places, sign) for part in match.every]
        if match.scopes:
            nested.append(_joined(not sign, [leaf(key, wanted) for key, wanted in _scopes(match)]))
        if match.some:
            nested.append(_joined(not sign, [self._tree(part, places, sign) for part in match.some]))
        if match.never is not None:
            nested.append(self._tree(match.never, places, not sign))
        return _joined(sign, [*parts, *nested])

    def _forbidding(self) -> list[list[int]]:
        """For each attribute and each class of it the routes that take no question of that class."""
        edges = [[0] * len(axis.values) for axis in self._axes]  # where a run of forbidden classes begins or has ended
        for route, box in enumerate(self._bounds):
            for place, allowed in ({} if box is None else box).items():
                full = self._axes[place].full
                forbidden = full & ~allowed
                for edge in _bits((forbidden ^ forbidden << 1) & full):
                    edges[place][edge] ^= 1 << route
        return [list(accumulate(each, xor)) for each in edges]

    def _search(self, route: int, among: int) -> Point | frozenset[int] | None:
        """A point that reaches the route past those `among`, or those of them that take all of it; None: steps are spent."""
        start, takers = self._bounds[route], set[int]()
        regions = [iter(() if start is None else (start,))]
        while regions:
            region = next(regions[-1], None)
            if region is None:
                regions.pop()
                continue
            self._left -= len(region)
            if self._left < 0:
                return None
            point = {axis: self._axes[axis].pick(allowed) for axis, allowed in region.items()}
            holds, reason = self._ask(self._trees[route], point)
            if holds:
                taken = self._taker(point, among)
                if taken is None:
                    return point
                taker, reason = taken
                takers.add(taker)
            regions.append(self._less(region, reason))
        return frozenset(takers)

    def _ask(self, node: Leaf | Branch, point: Point) -> tuple[bool, Box]:
        """Whether it holds at the point, and a box around the point in which it does so for the same reason."""
        self._left -= 1
        if isinstance(node, Leaf):
            axis, allowed = node
            if allowed >> point.get(axis, self._usual[axis]) & 1:
                return True, {axis: allowed}
            return False, {axis: ~allowed}
        reasons: list[Box] = []
        for part in node.parts:
            holds, reason = self._ask(part, point)
            if holds is not node.every:
                return holds, reason  # one part decides
            reasons.append(reason)
        return node.every, reasons[0] if len(reasons) == 1 else _meet(reasons)

    def _taker(self, point: Point, among: int) -> tuple[int, Box] | None:
        """The first route of those `among` that takes the point, and why."""
        possible = self._ordinary
        for axis in point:
            possible |= self._forbids[axis][self._usual[axis]]
        possible &= among
        for axis, place in point.items():
            possible &= ~self._forbids[axis][place]
        while possible:
            route = _lowest(possible)
            holds, reason = self._ask(self._trees[route], point)
            if holds:
                return route, reason
            possible &= ~(1 << route)
        return None

    def _less(self, region: Box, box: Box) -> Iterator[Box]:
        """The region without the box, in boxes that share no point."""
        kept = dict(region)
        for axis, allowed in box.items():
            here = kept.get(axis, self._axes[axis].full)
            if rest := here & ~allowed:
                yield kept | {axis: rest}
            kept[axis] = here & allowed

    def _needed(self, route: int, takers: list[int]) -> tuple[int, ...]:
        """Those of the takers without which the route would be reached, as far as steps are left to tell.

        A taker that takes all of it alone is the last one, for it leaves nothing to later ones: so it is what stays.
        """
        needed = sum(1 << each for each in takers)
        for each in reversed(takers):
            if isinstance(self._search(route, needed & ~(1 << each)), frozenset):
                needed &= ~(1 << each)
        return tuple(_bits(needed))

    def _question(self, point: Point) -> Question:
        found = {axis.key: axis.value(point.get(place, axis.usual)) for place, axis in enumerate(self._axes)}

        def named(kind: str) -> dict[str, Any]:
            return {name: value for (what, name), value in found.items() if what == kind and value is not None}

        scopes = {INFER: True} if ("scope", INFER) not in found else {}
        return Question(
            Principal("", found.get(("tenant", ""), ""), found.get(("tier", ""), ""), frozenset(named("scope") | scopes)),
            named("header"),
            found.get(("rows", ""), 1),
            {name: value for name, (_, value) in named("parameter").items()} | named("parameter_range"),
            found.get(("version", ""), ""),
            "",
            found.get(("priority", "")),
            found.get(("size", ""), 0),
            named("text_length"),
            named("prompt"),
        )


def _plain(match: Match) -> Iterator[tuple[Key, Wanted]]:
    """What the match itself wants of single attributes; all of it must hold."""
    for what, words in (("tenant", match.tenants), ("tier", match.tiers), ("version", match.versions)):
        if words:
            yield (what, ""), words
    for name, value in match.headers:
        yield ("header", name), frozenset({value})
    for name, wanted in match.parameters:
        yield ("parameter", name), frozenset({(isinstance(wanted, bool), wanted)})  # true is not 1, but 1 is 1.0
    for what, numbers in (("rows", match.rows), ("size", match.size), ("priority", match.priority)):
        if numbers is not None:
            yield (what, ""), numbers
    for name, lengths in match.text_lengths:
        yield ("text_length", name), lengths
    for name, amounts in match.parameter_ranges:
        yield ("parameter_range", name), amounts
    for name, scores in match.prompts:
        yield ("prompt", name), scores


def _scopes(match: Match) -> Iterator[tuple[Key, Wanted]]:
    """The scopes of which one must be there, each an attribute of its own: a caller can have several."""
    return ((("scope", scope), frozenset({scope})) for scope in sorted(match.scopes))


def _leaves(match: Match) -> Iterator[tuple[Key, Wanted]]:
    """All that the match wants of single attributes, nested ones included."""
    yield from _plain(match)
    yield from _scopes(match)
    for part in (*match.every, *match.some, *(() if match.never is None else (match.never,))):
        yield from _leaves(part)


def _joined(every: bool, parts: Iterable[Leaf | Branch]) -> Leaf | Branch:
    """All of the parts, or any of them; what they say of one attribute is said by one leaf."""
    leaves: dict[int, int] = {}
    branches: list[Branch] = []
    for part in parts:
        for each in part.parts if isinstance(part, Branch) and part.every is every else (part,):
            if isinstance(each, Branch):
                branches.append(each)
            elif every:
                leaves[each.axis] = leaves.get(each.axis, -1) & each.allowed
            else:
                leaves[each.axis] = leaves.get(each.axis, 0) | each.allowed
    joined: tuple[Leaf | Branch, ...] = (*(Leaf(axis, allowed) for axis, allowed in leaves.items()), *branches)
    return joined[0] if len(joined) == 1 else Branch(every, joined)


def _bounds(node: Leaf | Branch) -> Box | None:
    """The smallest box around all points for which it holds; None if there are none."""
    if isinstance(node, Leaf):
        return {node.axis: node.allowed} if node.allowed else None
    boxes = [box for part in node.parts if (box := _bounds(part)) is not None]
    if node.every:
        box = _meet(boxes)
        return box if len(boxes) == len(node.parts) and all(box.values()) else None
    if not boxes:
        return None
    shared = set(boxes[0]).intersection(*boxes[1:])
    return {axis: reduce(or_, (box[axis] for box in boxes)) for axis in boxes[0] if axis in shared}


def _meet(boxes: Sequence[Box]) -> Box:
    """What all of them allow."""
    met: Box = {}
    for box in boxes:
        for axis, allowed in box.items():
            met[axis] = met.get(axis, -1) & allowed
    return met


def _bits(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, ascending."""
    while mask:
        yield (place := _lowest(mask))
        mask ^= 1 << place


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1
