"""The programme: every scene once, in an order that makes sense."""

from gateway.demo import scenes_protocol, scenes_refusals, scenes_routing
from gateway.demo.show import SCENES
from gateway.demo.table import TITLE


def test_nothing_runs_after_the_stop_and_nothing_before_the_count() -> None:
    """The first counts what the comparison alone left behind."""
    scenes = [scene for _, scene in SCENES]
    assert (scenes_protocol.savings, scenes_protocol.stop) == (scenes[0], scenes[-1])
    assert len(scenes) == len(set(scenes))
    assert {scenes_routing.fallback, scenes_routing.reload, scenes_refusals.deadline} <= set(scenes)


def test_names_fit_their_column() -> None:
    """Each once."""
    names = [name for name, _ in SCENES]
    assert max(map(len, names)) <= TITLE
    assert len(names) == len(set(names))
