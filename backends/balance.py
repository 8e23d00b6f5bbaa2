"""Which of several endpoints is asked next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b

from backends.endpoint import Endpoint
from backends.inference import InferenceRequest

Chance = Callable[[], float]  # uniform in [0, 1)


class Balance:
    """Chooses an endpoint.

    least-request: the less busy of two taken at random (Mitzenmacher 2001), which spreads load without everybody running to
    the same idle one. round-robin: each in turn. hash: the one whose hash with the question's unit is the highest (rendezvous,
    Thaler and Ravishankar 1998), so that one that leaves or comes moves its own units only. A sequence is a unit of its own,
    since its state is at one server.
    """

    def __init__(self, kind: str, chance: Chance) -> None:
        self.kind = kind
        self.chance = chance
        self._turn = 0

    def pick(self, endpoints: Sequence[Endpoint], request: InferenceRequest) -> Endpoint:
        """One of them; there is at least one."""
        count = len(endpoints)
        if count == 1:
            return endpoints[0]
        if self.kind == "round-robin":
            self._turn += 1
            return endpoints[(self._turn - 1) % count]
        return self.instead(endpoints, request)

    def unpick(self) -> None:
        """Whoever was picked last was not asked, and is the next."""
        self._turn -= 1

    def instead(self, endpoints: Sequence[Endpoint], request: InferenceRequest) -> Endpoint:
        """One of these where the picked one is not to be asked; its turn is not the next one's, which would get twice as much."""
        if self.kind != "hash":
            count = len(endpoints)
            if count == 1:
                return endpoints[0]
            one = int(self.chance() * count)
            other = (one + 1 + int(self.chance() * (count - 1))) % count
            first, second = endpoints[one], endpoints[other]
            return first if first.in_flight <= second.in_flight else second
        unit = str(request.parameters.get("sequence_id", "")) or request.unit
        score = _score if len(unit) <= _LONGEST else _score.__wrapped__
        return max(endpoints, key=lambda endpoint: score(endpoint.address, unit))


_LONGEST = 256  # characters of a unit that is remembered: clients name their sequences


@lru_cache(maxsize=65536)
def _score(address: str, unit: str) -> bytes:
    return blake2b(f"{address}\0{unit}".encode(), digest_size=8).digest()
