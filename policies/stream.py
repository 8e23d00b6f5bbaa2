"""Asks one target for any number of answers (decoupled models): the core of a stream, with its deadline and its three endings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import Backend, InferenceResponse
from policies.call import Answer, Call, Ending, Observer, Share, StreamAsk, translated
from policies.spending import Ended, more_tokens, streamed
from routing.cost import Costs


def streaming(
    clusters: Mapping[str, Backend], observer: Observer, clock: Callable[[], float], costs: Costs | None = None
) -> StreamAsk:
    """Every answer as it comes; the first carries what is known of the question's cost then, which is all of it but for time and
    tokens. `backend_seconds` is the time since it was asked.

    A target's own timeout is for the whole stream.
    """
    return _Streams(clusters, observer, clock, costs or Costs()).ask


class _Streams:
    def __init__(self, clusters: Mapping[str, Backend], observer: Observer, clock: Callable[[], float], costs: Costs) -> None:
        self._clusters = clusters
        self._observer = observer
        self._clock = clock
        self._costs = costs

    async def ask(self, call: Call) -> AsyncGenerator[Answer, None]:
        target, rows, clock = call.target, call.request.rows or 1, self._clock
        assert target is not None, "the data plane chooses the target"
        unit = call.principal.tenant or call.principal.subject
        sent: list[float] = []
        request = replace(call.request, model=target.model, version=target.version, unit=unit, sent=sent)
        start, outcome = clock(), "abandoned"
        cost = target.cost * rows + (target.price.call if target.price is not None else 0.0)
        deadline = call.deadline.hop(start)
        if target.timeout is not None:
            deadline = deadline.within(target.timeout, start)
        answers = self._clusters[target.backend].stream(request, deadline)
        tokens: float | None = 0.0
        if call.bill is not None:
            call.bill.asked()
        try:
            while (response := await _next(answers, deadline.at)) is not None:
                tokens = more_tokens(tokens, target.price, rows, response)
                share = Share(target.variant, rows, response.model or target.model, response.version)
                yield Answer(response, (share,), cost, clock() - start)
                cost = 0.0
            outcome = "ok"
        except InferenceError as error:
            outcome = error.kind.value
            told = translated(error, call)
            if told is error:
                raise
            raise told from error
        finally:
            await answers.aclose()
            self._paid(call, Ended(outcome, None, sent, start, clock()), tokens)

    def _paid(self, call: Call, ended: Ended, tokens: float | None) -> None:
        target, rows = call.target, call.request.rows or 1
        assert target is not None
        paid = streamed(self._costs, call.model, target, ended, (rows, tokens))
        self._observer.asked(call.model, target, Ending(rows, ended.now - ended.start, ended.outcome, paid))
        if call.bill is not None:
            call.bill.pay(paid)


async def _next(answers: AsyncGenerator[InferenceResponse, None], at: float) -> InferenceResponse | None:
    """The next answer, None at the end. A timeout round each step, never across a `yield`: there it would hit the consumer."""
    try:
        async with asyncio.timeout_at(at):
            return await anext(answers, None)
    except TimeoutError:
        raise InferenceError(ErrorKind.DEADLINE, "the stream did not end within the deadline") from None
