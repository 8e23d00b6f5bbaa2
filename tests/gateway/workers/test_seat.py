"""One worker's place, with small programs in it, in a process of its own to fork from."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, os, signal, sys, time
from gateway.workers import channel
from gateway.workers.seat import Seat, StartError

ends = []
policy = [b'one']

def serve(line):
    '''Says that it serves, tells metrics, ends at SIGTERM.'''
    async def main():
        over = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
        answers = channel.Answers(*await asyncio.open_unix_connection(sock=line))
        async def start(_): return b''
        async def metrics(_): return str(os.getpid()).encode()
        async def take(text): return text[::-1]
        task = asyncio.create_task(answers.give({b's': start, b'm': metrics, b'p': take}))
        await over.wait()
        await answers.tell(channel.LAST, b'the last')
        return 0
    return asyncio.run(main())

def refuse(line):
    async def main():
        async def start(_): return b'no room'
        await channel.Answers(*await asyncio.open_unix_connection(sock=line)).give({b's': start})
        return 1
    return asyncio.run(main())

def made(program):
    seat = Seat(1, program, lambda: policy[0], lambda *end: ends.append(end))
    started = asyncio.get_running_loop().create_future()
    return seat, started, asyncio.create_task(seat.keep(started))

async def other(seat, pid):
    while not seat.serving or not await seat.look() or not seat.exposition or int(seat.exposition) == pid:
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
    print(await seat.look(), seat.exposition.isdigit(), await seat.take(b'abc'))
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
    await seat.look()
    pid = int(seat.exposition)
    seat.signal(signal.SIGKILL)
    await other(seat, pid)
    print(ends == [(str(pid).encode(), True)], seat.serving)
    seat.stop()
    await kept
""")
    assert "True True\n" == told
    assert "worker 1 has ended without being told to; another starts in 0.1 s" in log


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
    await seat.look()
    seat.signal(signal.SIGSTOP)
    begin = time.monotonic()
    print(await asyncio.gather(seat.look(), seat.look()), 0.9 < time.monotonic() - begin < 3)
    seat.signal(signal.SIGCONT)
    print(await seat.look())
    seat.stop()
    await kept
""")
    assert "[False, False] True\nTrue\n" == told
