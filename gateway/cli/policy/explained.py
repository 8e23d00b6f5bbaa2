"""An explanation as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.cli.ink import Ink
from gateway.review.explain import Audited, Counting, Course, Explanation, Mirrored, Refusal, Turn
from gateway.review.words import asked, duration, missed, request, share
from policies.onion import ORDER
from routing.explain import Finding, Lot, Tried
from routing.price import Price

_WIDTH = 11  # of the words on the left


def lines(explanation: Explanation, name: str, ink: Ink) -> Iterator[str]:
    """The explanation, line by line; `name` is the policy file's."""
    yield ink.faint(f"{name}, version {explanation.policy}")
    yield f"{'request':<{_WIDTH}}{ink.strong(request(explanation.request))}"
    for check in explanation.checks:
        yield f"{check.name:<{_WIDTH}}{check.said if check.holds else ink.bad(check.said)}"
    if explanation.routes:
        yield from ("", ink.strong("routes"))
        yield from _routes(explanation.routes, ink)
    if explanation.split is not None:
        yield from ("", *_split(explanation.split, ink))
    for course in explanation.answers:
        yield from ("", *_course(course, ink))
    if explanation.holdout:
        yield from ("", f"{'held out':<{_WIDTH}}{explanation.holdout}")
    if explanation.limits:
        yield from ("", ink.strong("limits"))
        yield from _limits(explanation.limits, ink)


def _routes(routes: tuple[Tried, ...], ink: Ink) -> Iterator[str]:
    width = max(len(each.route) for each in routes)
    for each in routes:
        name = f"{each.route:<{width}}"
        if each.outcome == "hit":
            held = " and ".join(asked(one) for one in each.conditions) or "no match: it takes everything"
            yield f"  {ink.good(f'✓ {name}')}  {held}"
        elif each.outcome == "missed":
            first, *more = _reasons(each.conditions)
            yield f"  {ink.bad('✗')} {name}  {first}"
            yield from (f"    {'':<{width}}  {reason}" for reason in more)
        else:
            yield ink.faint(f"  · {name}  not reached")


def _limits(limits: tuple[Counting, ...], ink: Ink) -> Iterator[str]:
    width = max(len(each.limit) for each in limits)
    for each in limits:
        name = f"{each.limit:<{width}}"
        if each.counts:
            whose = (
                f"{each.per} '{each.value}'" if each.value else f"all without a {each.per}" if each.per else "all that it counts"
            )
            yield f"  {ink.good(f'✓ {name}')}  {each.allows}, for {whose}"
        else:
            yield f"  {ink.bad('✗')} {name}  {' and '.join(missed(one) for one in each.conditions if not one.holds)}"


def _reasons(conditions: tuple[Finding, ...]) -> list[str]:
    held = [asked(each) for each in conditions if each.holds]
    return [missed(each) for each in conditions if not each.holds] + ([f"({' and '.join(held)} holds)"] if held else [])


def _split(lot: Lot, ink: Ink) -> Iterator[str]:
    told = f" '{lot.value}': the lowest bid wins" if lot.value else ": nothing in this request decides it"
    yield f"{ink.strong('split')} by {lot.unit}{told}"
    width = max(len(side.variant) for side in lot.sides)
    lowest = min((side.bid for side in lot.sides if side.bid is not None), default=None)
    for side in lot.sides:
        won = side.bid is not None and side.bid == lowest
        bid = "" if side.bid is None else f"  bid {side.bid:.6f}"
        line = f"{side.variant:<{width}}  {share(side.share):>6}{bid}"
        yield f"  {ink.good(f'✓ {line}')}" if won else f"    {line}"


def _course(course: Course, ink: Ink) -> Iterator[str]:
    part = "" if course.share == 1 else f" for {share(course.share)} of such requests"
    if course.refused is not None:
        yield ink.strong(f"refused{part}")
        yield from _refused(course.refused, ink)
        return
    yield ink.strong(f"plan{part}")
    yield _line("route", course.route)
    yield _line("deadline", f"{duration(course.deadline)} for the whole answer, the {course.deadline_of}'s")
    for index, each in enumerate(course.asked):
        yield from _turn("then" if index else "ask", each, course)
    if course.ahead is not None:
        yield _line(
            "ahead", f"the next at once, where time is short and {share(course.ahead)} of the rows are expected to need it"
        )
    if len(course.asked) > 1:
        said = f"{course.least:g} if {course.asked[0].variant} is sure of every row, {course.most:g} if nobody is"
    else:
        said = f"{course.most:g}"
    measured = any(each.price is not None and (each.price.gpu_ms or each.price.token) for each in course.asked)
    yield _line("cost", said + (", and what its time and tokens cost" if measured else ""))
    if course.budget is not None:
        yield _line("", f"at most {share(course.budget)} of the route's rows go up; others keep the answer they have")
    if course.sample:
        yield _line("recorded", f"{share(course.sample)} of such requests")
    for index, (part, said) in enumerate(course.cache.items()):
        yield _line("" if index else "kept by", f"{part}: {said}")
    for mirror in course.mirrors:
        yield _line("mirrored", _mirrored(mirror))
    if course.audit is not None:
        yield _line("audited", _audited(course.audit))
    for rolls in course.rollouts:
        part = f" of its part of group {rolls.group}" if rolls.group else ""
        said = f"once started, {rolls.candidate} in the place of {rolls.stable} for its share{part}, by {rolls.unit}"
        yield _line("rollout", said)
    idle = ", ".join(layer for layer in ORDER if layer not in course.layers)
    yield _line("layers", " → ".join(course.layers) + ink.faint(f"  (without effect: {idle})"))


def _mirrored(mirror: Mirrored) -> str:
    if mirror.spared:
        return f"not to shadow {mirror.shadow}: this caller's questions never are"
    noise = f", {share(mirror.noise)} of these asked again" if mirror.noise else ""
    return f"{share(mirror.share)} of such requests to {' → '.join(mirror.asked)} by shadow {mirror.shadow}{noise}"


def _audited(audit: Audited) -> str:
    if audit.spared:
        return "no: this caller's rows never are"
    falls = f"; after an alarm {audit.dear} answers alone" if audit.falls else ""
    return (
        f"{share(audit.share)} of the rows that stay are held against {audit.dear}; promised {share(audit.promise)} alike{falls}"
    )


def _refused(refusal: Refusal, ink: Ink) -> Iterator[str]:
    yield _line("answer", ink.bad(f"{refusal.status}, X-Penstock-Error: {refusal.reason}"))
    yield _line("text", refusal.message)


def _turn(word: str, each: Turn, course: Course) -> Iterator[str]:
    version = f" version {each.version}" if each.version else ""
    yield _line(word, f"{each.variant} ({each.backend}: {each.model}{version}), {_price(each)}")
    if each.timeout is not None:
        yield _line("", f"at most {duration(each.timeout)} for one ask, the variant's")
    if each.accept is not None:
        sure = f"{course.confidence}{', calibrated,' if each.calibrated else ''} of at least {each.accept:g}"
        yield _line("", f"its answer stays if every row has {sure}" if course.together else f"rows with {sure} keep its answer")
    if each.fallback:
        yield _line("", f"if it fails: {', then '.join(each.fallback)}")


def _price(each: Turn) -> str:
    price = each.price or Price()
    parts = {"a row": each.cost, "a call": price.call, "a GPU ms": price.gpu_ms, "a token": price.token}
    return " + ".join(f"{amount:g} {part}" for part, amount in parts.items() if amount or (part == "a row" and price == Price()))


def _line(word: str, text: str) -> str:
    return f"  {word:<{_WIDTH - 2}}{text}"
