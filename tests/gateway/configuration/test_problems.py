"""Tests of gateway.configuration.problems."""

from __future__ import annotations

from time import process_time

from gateway.configuration.problems import PolicyError, Problem, listed, nearest, path_text, shown


def test_text() -> None:
    """A problem is one line that an editor can jump to."""
    assert "p.yaml:3: a.b: wrong" == Problem("a.b", 3, "wrong").text("p.yaml")
    assert "p.yaml:3: wrong — did you mean 'x'?" == Problem("", 3, "wrong", "x").text("p.yaml")


def test_order() -> None:
    """An error tells its problems from the file's top to its bottom."""
    error = PolicyError("p.yaml", [Problem("b", 9, "second"), Problem("a", 2, "first")])
    assert ("first", "second") == tuple(problem.message for problem in error.problems)
    assert "p.yaml:2: a: first\np.yaml:9: b: second" == str(error)


def test_nearest() -> None:
    """The nearest word is found in spite of case; nothing is suggested when nothing is near."""
    assert "timeout" == nearest("TimeOut", ("timeout", "match"))
    assert "balanced" == nearest("balancd", ("fast", "balanced"))
    assert nearest("zzz", ("fast", "balanced")) is None
    assert nearest("x" * 100_000, ("fast",)) is None
    assert nearest("a", ()) is None


def test_nearest_of_many() -> None:
    """Among hundreds the nearest is found too, and names made to be hard to compare take no time."""
    assert "variant-77" == nearest("varaint-77", [f"variant-{number}" for number in range(400)])
    began = process_time()
    assert nearest("ab" * 500, [f"{number:03}{'ba' * 500}" for number in range(10_000)])
    assert process_time() - began < 0.1


def test_path_text() -> None:
    """A path reads as one would write it; keys that would be ambiguous are quoted."""
    assert "models.digits.routes[0].use" == path_text(("models", "digits", "routes", 0, "use"))
    assert 'models."a.b".timeout' == path_text(("models", "a.b", "timeout"))
    assert r'"a\nb"' == path_text(("a\nb",))
    assert "" == path_text(())


def test_shown() -> None:
    """The author's text is repeated without control characters and never at length."""
    assert r"'\x1b[31m'" == shown("\x1b[31m")
    assert len(shown("x" * 1000)) < 80
    assert "'true'" == shown(True)


def test_listed() -> None:
    """Words are listed as in a sentence."""
    assert "a" == listed(["a"])
    assert "a, b or c" == listed(["a", "b", "c"])
