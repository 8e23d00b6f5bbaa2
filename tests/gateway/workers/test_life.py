"""One worker's life as its parent sees it; tests of a whole place are in test_seat.py, whose programs are used here."""

from __future__ import annotations

from tests.gateway.workers.test_seat import run


def test_what_changed_while_it_was_made_is_told_first() -> None:
    """A policy that came between its fork and its line; and what operators have drained."""
    told, _ = run("""
    told = []
    def listens(line):
        async def main():
            over, heard = asyncio.Event(), []
            answers = channel.Answers(*await asyncio.open_unix_connection(sock=line))
            async def note(text): heard.append(text); return b''
            async def metrics(_): return b' '.join(heard)
            async def end(_): over.set(); return b''
            task = asyncio.create_task(answers.give(
                {channel.POLICY: note, channel.HOLD: note, channel.START: note, channel.METRICS: metrics, channel.END: end}))
            await over.wait()
            return 0
        return asyncio.run(main())
    from gateway.workers.life import Life
    orders = [Orders(b'one', b'held', 1)]
    life = Life(listens, (), lambda: orders[0])
    await asyncio.sleep(0)
    orders[0] = Orders(b'two', b'held', 1)
    print(repr(await life.started), await life.look(), life.exposition)
    life.end()
    await life.over
    print(life.served, life.serving, life.ending)
""")
    assert "'' True b'two held '\nTrue False True\n" == told


def test_an_end_that_is_wanted_before_it_has_begun() -> None:
    """It comes as soon as it serves; later questions have no answer, and nobody waits for one."""
    told, _ = run("""
    from gateway.workers.life import Life
    life = Life(serve, (), lambda: Orders(b'', b'', 1))
    life.end()
    await life.over
    print(life.started.result() == '', await life.take(b'x') == '', await life.tell(channel.METRICS), life.exposition)
    life.signal(signal.SIGKILL)
""")
    assert "True True b'' b'the last'\n" == told
