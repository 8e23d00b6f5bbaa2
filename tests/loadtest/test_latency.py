"""Latency beside nginx and beside the backend itself, round by round."""

from pathlib import Path

from loadtest import latency, processes
from loadtest.peers import PEERS
from loadtest.processes import Started

HEADERS = (("X-API-Key", "k"),)
Taken = dict[tuple[str, int], list[latency.Found | None]]


def found(p50: float, p99: float) -> latency.Found:
    """A round in which all went well."""
    return {"p50": p50, "p90": p50, "p99": p99, "p999": p99, "late_p99": 20.0, "errors": 0}


def test_every_program_is_asked_with_its_credential_and_the_backend_without(tmp_path: Path) -> None:
    """In the order of the table, the backend first."""
    running = processes.Running("program", None, tmp_path / "log")  # type: ignore[arg-type]
    started = Started(running, "1", 1234, None, {"": (), "key": HEADERS, "jwt": ()})
    aims = latency.aims([(peer, started) for peer in PEERS if peer.name in ("nginx", "penstock")], 99)
    assert [("(direct)", 99), ("nginx", 1234), ("penstock key", 1234), ("penstock jwt", 1234)] == [
        (aim.program, aim.port) for aim in aims
    ]
    assert [(), (), HEADERS, ()] == [aim.headers for aim in aims]


def test_ratios_and_what_is_added_are_those_of_the_medians() -> None:
    """One round with a hiccup changes neither."""
    taken: Taken = {
        ("(direct)", 200): [found(100, 200), found(100, 9000), found(100, 200)],
        ("nginx", 200): [found(200, 400), found(200, 400), found(200, 9000)],
        ("penstock", 200): [found(300, 9000), found(300, 500), found(300, 500)],
    }
    entry = latency.entry(taken, "penstock", 200)
    assert (200, 300) == (entry["added p50"], entry["added p99"])
    assert (1.5, 1.25) == (entry["p50 × nginx"], entry["p99 × nginx"])


def test_rounds_in_which_the_generator_was_late_do_not_count() -> None:
    """Without any other round there is no figure, neither for the program nor beside it."""
    taken: Taken = {
        ("(direct)", 200): [found(100, 200), None],
        ("nginx", 200): [None, None],
        ("penstock", 200): [None, found(300, 500)],
    }
    entry = latency.entry(taken, "penstock", 200)
    assert (300, 200, None) == (entry["p50"], entry["added p50"], entry["p50 × nginx"])
    assert latency.entry(taken, "nginx", 200)["p99"] is None
