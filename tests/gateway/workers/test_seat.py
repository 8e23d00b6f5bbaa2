"""One worker's place, with small programs in it, in a process of its own to fork from."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, os, signal, sys, time
from gateway.workers import channel
from gateway.workers.life import Orders
from gateway.workers.seat import Seat, StartError

ends = []
policy = [b'one']

def serve(line):
    '''Says that it serves, tells metrics, ends when told to; asks to leave at SIGTERM.'''
    async def main():
        over, told = asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        answers = channel.Answers(*await asyncio.open_unix_connection(sock=line))
        async def nothing(_): return b''
        async def metrics(_): return str(os.getpid()).encode()
        async def take(text): return text[::-1]
        async def end(_): over.set(); return b''
        async def leave():
            await told.wait()
            await answers.tell(channel.LEAVE, b'')
        leaving = asyncio.create_task(leave())
        kinds = {channel.START: nothing, channel.HOLD: nothing, channel.METRICS: metrics, channel.POLICY: take, channel.END: end}
        task = asyncio.create_task(answers.give(kinds))
        await over.wait()
        await answers.tell(channel.LAST, b'the last')
        return 0
    return asyncio.run(main())

def refuse(line):
    async def main():
        async def start(_): return b'no room'
        async def nothing(_): return b''
        kinds = {channel.START: start, channel.HOLD: nothing}
        await channel.Answers(*await asyncio.open_unix_connection(sock=line)).give(kinds)
        return 1
    return asyncio.run(main())

def made(program, patience=5):
    run = [program]
    seat = Seat(1, (), lambda line: run[0](line), lambda: Orders(policy[0], b'', patience), lambda *end: ends.append(end))
    seat.run = run
    started = asyncio.get_running_loop().create_future()
    return seat, started, asyncio.create_task(seat.keep(started))

async def pid(seat):
    life = seat.life
    while not life.exposition:
        await life.look()
    return int(life.exposition)

async def other(seat, before):
    while not seat.serving or await pid(seat) == before:
        await asyncio.sleep(0.01)

"""


def run(program: str) -> tuple[str, str]:
    """What the program printed, and what was logged."""
    text = PROGRAM + f"async def main():\n{program}\nasyncio.run(asyncio.wait_for(main(), 20))\n"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, done.stderr


def test_a_worker_serves_tells_and_ends_in_order() -> None:
    """Its last word is kept, and no other is started."""
    told, log = run("""
    seat, started, kept = made(serve)
    await started
    print(await seat.life.look(), seat.life.exposition.isdigit(), await seat.life.take(b'abc'))
    seat.stop()
    await kept
    print(ends, seat.serving)
""")
    assert "True True cba\n[(b'the last', False)] False\n" == told
    assert "" == log


def test_a_killed_worker_has_a_successor() -> None:
    """What it had told stays known."""
    told, log = run("""
    seat, started, kept = made(serve)
    await started
    first = await pid(seat)
    seat.kill()
    await other(seat, first)
    print(ends == [(str(first).encode(), True)], seat.serving)
    seat.stop()
    await kept
""")
    assert "True True\n" == told
    assert "worker 1 has ended without being told to; another starts in 0.1 s" in log


def test_a_worker_is_replaced_by_one_that_serves() -> None:
    """Until that one does, it goes on; nobody counts its end as a death."""
    told, log = run("""
    seat, started, kept = made(serve)
    await started
    before, first = seat.life, await pid(seat)
    await seat.replace(before)
    print(first != await pid(seat), ends, len(seat.lives))
    await seat.replace(before)
    print(len(ends))
    seat.stop()
    await kept
""")
    assert "True [(b'the last', False)] 1\n1\n" == told
    assert "" == log


def test_who_cannot_start_replaces_nobody() -> None:
    """Whether it says why or dies; the one before goes on, and is followed by who can."""
    told, log = run("""
    seat, started, kept = made(serve)
    await started
    first = await pid(seat)
    for seat.run[0] in (refuse, lambda line: 1):
        try:
            await seat.replace(seat.life)
        except StartError as error:
            print(error, await pid(seat) == first)
    seat.run[0] = serve
    await seat.replace(seat.life)
    print(await pid(seat) != first)
    seat.stop()
    await kept
""")
    assert "no room True\na worker ended while it started; its log says why True\nTrue\n" == told
    assert "" == log


def test_one_that_somebody_else_tells_to_end_is_replaced_first() -> None:
    """Or goes on, where no other can start."""
    told, log = run("""
    seat, started, kept = made(serve)
    await started
    first = await pid(seat)
    seat.run[0] = refuse
    os.kill(first, signal.SIGTERM)
    while seat._succeeding is None:
        await asyncio.sleep(0.01)
    await seat._succeeding
    print(first == await pid(seat))
    seat.run[0] = serve
    seat.life.leave.set()
    await other(seat, first)
    seat.stop()
    await kept
    print(len(ends))
""")
    assert "True\n2\n" == told
    assert "worker 1 was told to end and goes on, because no other can start: no room" in log


def test_who_does_not_end_is_killed() -> None:
    """A replaced worker that hangs, when its time is over."""
    told, _ = run("""
    seat, started, kept = made(serve, patience=0.2)
    await started
    before = seat.life
    before.signal(signal.SIGSTOP)
    await seat.replace(before)
    print(seat.serving, len(seat.lives))
    seat.stop()
    await kept
""")
    assert "True 1\n" == told


def test_who_cannot_start_says_why_once() -> None:
    """The first one's reason is the start's; nothing is tried again."""
    told, log = run("""
    seat, started, kept = made(refuse)
    try:
        await started
    except StartError as error:
        print(error)
    await kept
    print(ends)
""")
    assert ("no room\n[]\n", "") == (told, log)


def test_a_worker_that_dies_while_it_starts_ends_the_start() -> None:
    """It cannot say why."""
    told, _ = run("""
    seat, started, kept = made(lambda line: 1)
    try:
        await started
    except StartError as error:
        print(error)
    await kept
""")
    assert "a worker ended while it started; its log says why\n" == told


def test_a_worker_that_hangs_holds_nobody() -> None:
    """A look at it takes a second, not for ever; afterwards it tells again."""
    told, _ = run("""
    seat, started, kept = made(serve)
    await started
    await seat.life.look()
    seat.life.signal(signal.SIGSTOP)
    begin = time.monotonic()
    print(await asyncio.gather(seat.life.look(), seat.life.look()), 0.9 < time.monotonic() - begin < 3)
    seat.life.signal(signal.SIGCONT)
    print(await seat.life.look())
    seat.stop()
    await kept
""")
    assert "[False, False] True\nTrue\n" == told
