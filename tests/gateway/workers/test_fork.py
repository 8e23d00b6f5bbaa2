"""Children of a small program of its own: this one has threads and loops that a fork must not take along."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, os, select, signal, socket, sys
from gateway.workers.fork import fork

def ended(child):
    select.select([child.ended], [], [], 10)
    return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])

"""


def run(program: str) -> str:
    """What the program printed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM + program], capture_output=True, text=True, timeout=20, check=False)
    assert "" == done.stderr.partition("Traceback")[1] or "boom" in done.stderr, done.stderr
    return done.stdout


def test_a_child_speaks_over_its_line_and_ends_with_its_status() -> None:
    """And never comes back into the parent's code."""
    told = run("""
child = fork(lambda line: line.send(b'hello') - 2)
child.line.setblocking(True)
print(child.line.recv(9).decode(), ended(child), child.line.recv(9))
""")
    assert "hello 3 b''\n" == told


def test_what_the_parent_has_open_is_not_open_in_the_child() -> None:
    """A connection that the parent closes is over, though the child lives on; the child's own loop is not the parent's."""
    told = run("""
import uvloop
near, far = socket.socketpair()

async def wait():
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    reader, writer = await asyncio.open_unix_connection(sock=line)
    writer.write(b'up')
    await over.wait()

def program(given):
    global line
    line = given
    uvloop.run(wait())
    return 0

async def parent():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, print, 'the parent took it')
    made = loop.create_future()
    loop.call_soon(lambda: made.set_result(fork(program)))
    child = await made
    reader, _ = await asyncio.open_unix_connection(sock=child.line)
    await reader.readexactly(2)
    near.close()
    far.settimeout(5)
    print(far.recv(1))
    os.kill(child.pid, signal.SIGTERM)
    print(await reader.read(), ended(child))

asyncio.run(parent())
""")
    assert "b''\nb'' 0\n" == told


def test_a_defect_in_the_child_ends_it_with_status_1() -> None:
    """Its traceback is said, once, and the parent goes on."""
    assert "1\n" == run("""
def program(line):
    raise RuntimeError('boom')
print(ended(fork(program)))
""")
