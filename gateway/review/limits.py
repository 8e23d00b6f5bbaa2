"""What a policy's limits are called where people read of them, and what differs between those of two documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from gateway.configuration.problems import path_text, shown
from gateway.configuration.quantities import SECONDS, Rate
from gateway.configuration.schema_limits import Limit, LimitMatch, limit_name
from gateway.review.changes_routes import Change
from routing.budgets import Sum
from routing.conditions import size


def allowed(limit: Limit) -> str:
    """What it allows: `100/s, 200 at once; 16 at the same time; 10MiB/s`."""
    said = []
    if limit.requests is not None:
        said.append(rate(limit.requests) + (f", {limit.burst} at once" if limit.burst else ""))
    if limit.concurrency is not None:
        said.append(f"{limit.concurrency} at the same time")
    if limit.bytes is not None:
        said.append(byte_rate(limit.bytes))
    if limit.cost is not None:
        said.append(f"cost {total(limit.cost)}")
    if limit.escalations is not None:
        said.append(f"rows sent up {total(limit.escalations)}")
    return "; ".join(said)


def rate(found: Rate) -> str:
    """As the document writes it: `100/s`."""
    return f"{found.units:.12g}/{_period(found)}"


def byte_rate(found: Rate) -> str:
    """The same of bytes: `10MiB/s`."""
    return f"{size(int(found.units))}/{_period(found)}"


def total(found: Sum) -> str:
    """What may be spent: `1000/day`."""
    return f"{found.amount:.12g}/{found.period}"


def limit_changes(old: tuple[Limit, ...], new: tuple[Limit, ...]) -> Iterator[Change]:
    """Limits that come, go, are renamed or say something else; what says the same under another name or in another place keeps
    its buckets.
    """
    was = {limit_name(limit, index): limit for index, limit in enumerate(old)}
    now = {limit_name(limit, index): (index, limit) for index, limit in enumerate(new)}
    renamed = _renamed(was, {name: limit for name, (_, limit) in now.items()})
    for name, limit in was.items():
        if name not in renamed:
            yield Change("limits", f"limit {shown(name)} goes: it allowed {_whole(limit)}")
    for name, (index, limit) in now.items():
        before = next((each for each, after in renamed.items() if after == name), None)
        if before is None:
            yield Change(path_text(("limits", index)), f"limit {shown(name)} is new: {_whole(limit)}")
            continue
        if before != name and (limit.name or was[before].name):
            yield Change(path_text(("limits", index)), f"limit {shown(before)} is called {shown(name)} now")
        yield from _fields(index, name, was[before], limit)


def _renamed(was: dict[str, Limit], now: dict[str, Limit]) -> dict[str, str]:
    """Which limit became which: first those that say the same under the same name, then under another, then what has the name."""
    found: dict[str, str] = {name: name for name in was if was[name] == now.get(name)}
    for name, limit in was.items():
        same = (each for each in now if each not in found.values() and _unnamed(now[each]) == _unnamed(limit))
        if name not in found and (other := next(same, None)) is not None:
            found[name] = other
    return found | {name: name for name in was if name not in found and name in now and name not in found.values()}


def _unnamed(limit: Limit) -> Limit:
    return replace(limit, name=None)


def _fields(index: int, name: str, old: Limit, new: Limit) -> Iterator[Change]:
    shows: dict[str, Callable[[Limit], str]] = {
        "match": counted,
        "per": lambda limit: limit.per or "one bucket for all",
        "requests": lambda limit: rate(limit.requests) if limit.requests else "none",
        "burst": lambda limit: str(limit.burst or "as many as the rate counts"),
        "concurrency": lambda limit: str(limit.concurrency or "none"),
        "bytes": lambda limit: byte_rate(limit.bytes) if limit.bytes else "none",
        "cost": lambda limit: total(limit.cost) if limit.cost else "none",
        "escalations": lambda limit: total(limit.escalations) if limit.escalations else "none",
    }
    for field, show in shows.items():
        was, now = show(old), show(new)
        if was != now:
            yield Change(path_text(("limits", index, field)), f"limit {shown(name)}: {was} → {now}")


def counted(limit: Limit) -> str:
    """Whose requests it counts: `tier free or trial and model digits`."""
    match = limit.match or LimitMatch()
    words = {key: getattr(match, key) for key in LimitMatch.__struct_fields__}
    return " and ".join(f"{key} {' or '.join(each)}" for key, each in words.items() if each) or "everybody"


def _whole(limit: Limit) -> str:
    per = f" per {limit.per}" if limit.per else ""
    return f"{counted(limit)}{per}: {allowed(limit)}"


def _period(found: Rate) -> str:
    return next(period for period in ("d", "h", "m", "s") if SECONDS[period] == found.seconds)
