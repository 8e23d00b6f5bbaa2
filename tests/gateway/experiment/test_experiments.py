"""What processes counted and were told, joined in rounds, through changes of weight, policy and process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.aside import here
from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from gateway.experiment.counts import Sums
from gateway.experiment.experiments import AGAIN, FILE, STORED, Experiments, Joined, Ways
from gateway.experiment.journal import KEPT
from gateway.experiment.words import Asked, Gathered, Given, Hear, Heard, Hearsay, Noted
from gateway.rollout.words import Key, Order
from gateway.telemetry.rollouts import FeedbackNumbers
from tests.gateway.configuration.test_checks_rollouts import policy

if TYPE_CHECKING:
    from routing.match import RouteTable

GOOD = (
    "dear: {candidate: next, unit: UNIT, proof: person, steps: [{weight: 50%}], guards: [{metric: error-rate}], alpha: 5%, "
    "feedback: [{metric: bought}, {metric: stars, of: told, low: 1, high: 5}]}"
)
KEY = ("digits", "dear")


def tables(rollout: str = GOOD, unit: str = "request") -> dict[str, RouteTable]:
    return route_tables(load_policy(policy(rollout.replace("UNIT", unit)), "policy.yaml"))


@dataclass
class World:
    """All that the tests of a gateway reach."""

    tables: dict[str, RouteTable] = field(default_factory=tables)
    order: Order = field(default_factory=lambda: Order(*KEY, "d", "a/1", "running", 0.5))
    gathered: list[Gathered] = field(default_factory=list)
    joined: list[tuple[Key, Sequence[Joined]]] = field(default_factory=list)
    now: float = 1000.0
    hearsay: Hearsay | None = None
    numbers: FeedbackNumbers = field(default_factory=FeedbackNumbers)

    async def gather(self) -> list[Gathered]:
        gathered, self.gathered = self.gathered, []
        return gathered

    def experiments(self, folder: Path | None = None) -> Experiments:
        def joined(key: Key, several: Sequence[Joined]) -> None:
            self.joined.append((key, several))

        ways = Ways(
            lambda: self.tables, lambda: [self.order], self.gather, joined, lambda: self.now, lambda: self.now, self.hearsay
        )
        return Experiments(ways, folder, here, self.numbers)

    def asked(self, *places: float, weight: float = 0.5) -> None:
        """Requests that are named by where they stand."""
        asked = [Asked(f"r{place:g}", "t/acme", place, weight) for place in places]
        self.gathered.append(Gathered([Noted(self.order.attempt, asked)], []))

    def told(self, *places: float, metric: str = "bought", value: float | bool = True, owner: str = "t/acme") -> None:
        self.gathered.append(Gathered([], [Given(owner, f"r{place:g}", metric, value) for place in places]))

    @property
    def counted(self) -> dict[str, int]:
        lines = list(self.numbers.family.lines())[1:]
        return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}


async def test_joined_to_the_side_first_drawn() -> None:
    """By request id, whatever came first in the round; who bets on it hears of it."""
    world = World()
    experiments = world.experiments()
    world.told(0.1, 0.9)
    world.asked(0.1, 0.2, 0.8, 0.9)
    (found,) = await experiments.shown()
    assert ((2, 2), (0.5, 0.5), "running", "next") == (found.drawn, found.metrics[0].means, found.state, found.candidate)
    assert {"joined": 2} == world.counted
    ((key, several),) = world.joined
    assert (KEY, [0.1, 0.9]) == (key, sorted(each.stood.place for each in several))


async def test_what_comes_before_its_request_is_waited_for() -> None:
    """For some rounds: another process answered it, and has not said so yet; then it is unknown."""
    world = World()
    experiments = world.experiments()
    await experiments.round()
    world.told(0.1, 0.3)
    await experiments.round()
    world.asked(0.1)
    for _ in range(AGAIN + 1):
        await experiments.round()
    assert {"joined": 1, "unknown": 1} == world.counted


async def test_reasons() -> None:
    """Twice, of another's request, of what is no metric, of no value that there could be, a day too late."""
    world = World()
    experiments = world.experiments()
    world.asked(0.1)
    await experiments.round()
    world.told(0.1, 0.1)
    world.told(0.1, metric="stars", value=9)
    world.told(0.1, metric="sold")
    world.told(0.1, owner="t/other", metric="stars", value=3)
    for _ in range(AGAIN + 1):
        await experiments.round()
    world.now += KEPT / 20
    await experiments.round()
    world.asked(0.2)  # what is young is put away
    await experiments.round()
    world.now += KEPT * 1.1
    world.told(0.1, metric="stars", value=3)
    await experiments.round()
    assert {"joined": 1, "duplicate": 1, "value": 1, "metric": 1, "unknown": 1, "expired": 1} == world.counted


async def test_a_sticky_unit_is_its_first() -> None:
    """Three requests of one tenant."""
    world = World(tables(unit="tenant"))
    experiments = world.experiments()
    world.gathered.append(Gathered([Noted("a/1", [Asked(f"r{number}", "t/acme", 0.1, 0.5) for number in range(3)])], []))
    world.gathered.append(Gathered([], [Given("t/acme", f"r{number}", "stars", number + 1) for number in range(3)]))
    (found,) = await experiments.shown()
    assert ((0, 1), (None, 1.0), {"joined": 1, "later": 2}) == (found.drawn, found.metrics[1].means, world.counted)


async def test_another_weight_begins_at_nothing() -> None:
    """And what is told of requests from before counts for nobody; a rollout that ended keeps what it has come to."""
    world = World()
    experiments = world.experiments()
    world.asked(0.1, 0.9)
    await experiments.round()
    world.order = Order(*KEY, "d", "a/1", "running", 0.25)
    world.told(0.1)
    world.asked(0.2, 0.7, weight=0.25)
    (found,) = await experiments.shown()
    assert (0.25, (1, 1), {"earlier": 1}) == (found.weight, found.drawn, world.counted)
    world.order = Order(*KEY, "d", "a/1", "rolled-back", 0.0)
    world.told(0.2)
    (found,) = await experiments.shown()
    assert ("rolled-back", (1, 1), (0.0, 1.0)) == (found.state, found.drawn, found.metrics[0].means)


async def test_what_was_joined_is_kept(tmp_path: Path) -> None:
    """Every few seconds and at the end; a file that cannot be read is put aside, and all begins at nothing."""
    world = World()
    experiments = world.experiments(tmp_path)
    world.asked(0.1, 0.9)
    await experiments.round()
    world.told(0.1)
    await experiments.round()
    world.now += STORED
    await experiments.round()
    before = await experiments.shown()
    assert before == await world.experiments(tmp_path).shown()
    assert 1.0 == before[0].metrics[0].means[1]
    (tmp_path / FILE).write_bytes(b"\xc1")
    (found,) = await world.experiments(tmp_path).shown()
    assert (0, 0) == found.drawn
    assert (tmp_path / f"{FILE}.damaged").exists()


async def test_a_metric_that_comes_and_goes() -> None:
    """The rest keeps what it has come to."""
    world = World()
    experiments = world.experiments()
    world.asked(0.1, 0.9)
    world.told(0.1)
    await experiments.round()
    world.tables = tables(GOOD.replace("{metric: stars, of: told, low: 1, high: 5}", "{metric: clicked}"))
    (found,) = await experiments.shown()
    assert [("bought", (0.0, 1.0)), ("clicked", (0.0, 0.0))] == [(each.metric, each.means) for each in found.metrics]


async def test_before_it_is_started() -> None:
    """Nothing is known, and that is said."""
    world = World()
    world.order = Order(*KEY, "d", "a/1", "pending", 0.0)
    (found,) = await world.experiments().shown()
    assert ("pending", (0, 0), "", ["insufficient"] * 2) == (
        found.state,
        found.drawn,
        found.since,
        [each.found for each in found.metrics],
    )


class Store:
    """Other gateways, as one hears of them."""

    def __init__(self) -> None:
        self.told: list[Hear] = []
        self.heard: Heard | None = Heard("1", [], [])

    async def hear(self, told: Hear) -> Heard | None:
        self.told.append(told)
        return self.heard


async def test_other_gateways() -> None:
    """What is unknown here is handed on, again where the store was away; what they do not know is looked for once, uncounted;
    what they have come to is added, but for what cannot be read."""
    world = World()
    world.hearsay = store = Store()
    experiments = world.experiments()
    world.asked(0.1, 0.9)
    world.told(0.7)
    store.heard = None
    for _ in range(AGAIN + 2):
        await experiments.round()
    assert {} == world.counted
    others = Sums((3, 4), {}, world.tables["digits"].rollouts[0].feedback)
    parcel = [Given("t/acme", name, "bought", True) for name in ("r0.1", "r0.8")]
    parcels, counts = [b"\xc1", msgspec.msgpack.encode(parcel)], [b"\xc1", msgspec.msgpack.encode(others)]
    store.heard = Heard("7", parcels, [counts])
    await experiments.round()
    assert [Given("t/acme", "r0.7", "bought", True)] == msgspec.msgpack.decode(store.told[-1].parcel, type=list[Given])
    assert [("a/1/0.5", Sums((1, 1), {}, others.feedback))] == [
        (name, msgspec.msgpack.decode(each, type=Sums)) for name, each in store.told[-1].counts
    ]
    store.heard = Heard("7", [], [counts])
    (found,) = await experiments.shown()
    assert ((4, 5), 2, (0.0, 0.2)) == (found.drawn, found.gateways, found.metrics[0].means)
    assert ({"joined": 1, "passed": 1}, "7") == (world.counted, store.told[-1].last)
