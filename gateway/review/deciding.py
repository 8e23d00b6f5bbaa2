"""The data plane with nobody behind it: it decides what the live one would, and asks no backend."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from backends.inference import InferenceRequest
from backends.signature import Signature
from gateway.dataplane import Dataplane, Inquiry
from gateway.snapshot import Model, Snapshot
from policies.call import Answer, Call
from routing.conditions import Looks
from routing.match import RouteTable
from routing.plan import Target
from routing.planner import Planner


def model(table: RouteTable, plan: Planner, targets: tuple[Target, ...], looks: Looks | None = None) -> Model:
    """The table's model, planned for by `plan`; `looks` is what the data plane shall find out for it by itself."""
    return Model(table.model, plan, _nobody, _no_stream, targets, looks, table.versions)


def decide(snapshot: Snapshot, request: InferenceRequest, inquiry: Inquiry) -> Call:
    """What would be asked. Raises InferenceError where the policy refuses. Backends serve whichever version is asked for."""
    return Dataplane(snapshot, _Newest(request.version)).plan(snapshot, request, inquiry)


class _Newest:
    """Knows of every target that it serves the one version that is asked for."""

    def __init__(self, version: str) -> None:
        self._known = Signature({}, 0, versions=(version,) if version else ())

    def get(self, _: Target, /) -> Signature:
        return self._known


async def _nobody(_: Call) -> Answer:
    raise AssertionError("who only decides asks nobody")


def _no_stream(_: Call) -> AsyncGenerator[Answer, None]:
    raise AssertionError("who only decides asks nobody")
