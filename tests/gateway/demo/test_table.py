"""What is printed fits a terminal and stands in columns."""

from gateway.demo.comparison import Measured
from gateway.demo.table import WIDTH, comparison, feature, heading, number

VARIANTS = ["fast", "balanced", "accurate"]


def test_columns_stand_under_their_names() -> None:
    """Each number ends where its heading does."""
    line = comparison(Measured("cascade", 0.985, 7061, {"fast": 446, "accurate": 68}, 0.0081, 0.0189), VARIANTS)
    names = heading(VARIANTS).splitlines()[1]
    for name, value in (("accuracy", "98.5%"), ("1000 rows", "7 061"), ("fast", "446"), ("balanced", "-"), ("p50", "8.1 ms")):
        assert names.index(name) + len(name) == line.index(value) + len(value), name
    assert max(map(len, (*heading(VARIANTS).splitlines(), line))) <= WIDTH


def test_long_words_wrap_under_themselves() -> None:
    """The column of names stays free."""
    lines = feature("sticky split", "word " * 60).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].index("word") == lines[1].index("word")


def test_thousands_are_parted() -> None:
    """Without a comma or point that half the world reads otherwise."""
    assert "40 000" == number(40000)
