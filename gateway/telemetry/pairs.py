"""Writes down what a shadow's two sides said, a line for each row, for `penstock calibrate`: labels and scores, no payload."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import msgspec

from gateway.configuration.schema_gateway import Samples
from gateway.telemetry.lines import Lines
from gateway.telemetry.recorder import LineTaker
from gateway.telemetry.sample_file import SampleFile
from routing.shadow.pairs import Pair

MAX_LINE = 16 << 10  # bytes; a longer one is not written
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class PairLog:
    """A line for each row: where it is from, and label, confidence and version by variant. No confidence is null."""

    def __init__(self, lines: LineTaker) -> None:
        self._lines = lines
        self._complained: set[tuple[str, str]] = set()

    def keep(self, pair: Pair) -> None:
        """Writes the lines of one question. Never raises for what it holds."""
        start = {"time": round(pair.time, 3), "model": pair.model, "shadow": pair.shadow, "request": pair.request}
        scores = [side.scores.tolist() for side in pair.sides]
        for row in range(len(pair.sides[0].labels)):
            told: dict[str, object] = {**start, "row": row}
            for side, known in zip(pair.sides, scores, strict=True):
                told[f"{side.variant}_label"] = side.labels[row]
                told[f"{side.variant}_confidence"] = known[row] if math.isfinite(known[row]) else None
                told[f"{side.variant}_version"] = side.version
            try:
                line = _encode(told) + b"\n"
            except UnicodeEncodeError:  # lone surrogates in a client's request id
                line = b""
            if 0 < len(line) <= MAX_LINE:
                self._lines.put(line)
            else:
                self.missed(pair.model, pair.shadow, "a row is too large to be written")

    def missed(self, model: str, shadow: str, why: str) -> None:
        """Says it on the log, once for each shadow."""
        if (model, shadow) not in self._complained:
            self._complained.add((model, shadow))
            _log.warning("shadow '%s' of model '%s' has pairs that cannot be recorded: %s", shadow, model, why)

    async def close(self) -> None:
        """Writes what is left, or gives up."""
        await self._lines.close()


def pair_log(place: Samples | None) -> PairLog | None:
    """One that writes where gateway.yaml says, if it does. Starts a thread."""
    if place is None:
        return None
    path = Path(place.file)
    return PairLog(Lines("pair log", SampleFile(path, place.size, place.keep)))
