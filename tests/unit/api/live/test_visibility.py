"""Who may read which execution, and which events a filter lets through."""

from __future__ import annotations

import pytest

from api.live.records import LiveEvent, Origin, decode
from api.live.visibility import Filter, everything, may_read
from api.rights import Visible
from streams.events import encode_event
from tests.unit.progress.histories import Log

NOTHING = frozenset[tuple[str, int]]()
EVERY = frozenset((name, level) for name in ("dev", "staging", "prod") for level in range(4))
DEV = frozenset({("dev", 0)})


def visible(own: object = NOTHING, others: object = NOTHING) -> Visible:
    return Visible(own=own, others=others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "actor", "origin", "allowed"),
    [
        (visible(own=DEV), "Ann", Origin("t", "ann", "dev", 0), True),
        (visible(own=DEV), "bob", Origin("t", "ann", "dev", 0), False),
        (visible(own=DEV), "ann", Origin("t", "ann", "prod", 0), False),
        (visible(own=DEV), "ann", Origin("t", "ann", "dev", 1), False),
        (visible(others=DEV), "bob", Origin("t", "ann", "dev", 0), True),
        (visible(others=DEV), "ann", Origin("t", "ann", "dev", 0), False),
        (visible(others=DEV), "bob", Origin("t", None, None, None), False),
        (visible(others=EVERY), "bob", Origin("t", None, None, None), True),
        (visible(own=EVERY), "ann", Origin("t", "ann", None, None), True),
        (visible(own=EVERY), "ann", Origin("t", None, None, None), False),
    ],
)
def test_may_read(seen: Visible, actor: str, origin: Origin, allowed: bool) -> None:
    assert may_read(seen, actor, origin) is allowed


def test_everything_is_own_and_others() -> None:
    assert everything(visible(EVERY, EVERY))
    assert not everything(visible(EVERY, EVERY - {("prod", 3)}))
    assert not everything(visible(DEV, EVERY))


def event(kind: str, **data: object) -> LiveEvent:
    log = Log()
    found = decode(encode_event(log.add(kind, dict(data), step="a")), 0, 0)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("words", "kind", "wanted"),
    [
        (Filter.of([], [], []), "step.started", True),
        (Filter.of(["step.started"], [], []), "step.started", True),
        (Filter.of(["step.started"], [], []), "step.succeeded", False),
        (Filter.of(["execution.*"], [], []), "step.started", False),
        (Filter.of(["execution.*", "step.s*"], [], []), "step.started", True),
        (Filter.of(["*"], [], []), "step.started", True),
        (Filter.of([], ["completed"], []), "execution.completed", True),
        (Filter.of([], ["completed", "failed"], []), "execution.failed", True),
        (Filter.of([], ["completed"], []), "step.started", False),
        (Filter.of([], ["running"], []), "execution.resumed", True),
        (Filter.of([], ["paused"], []), "execution.resumed", False),
        (Filter.of([], ["timeout"], []), "execution.timed_out", True),
    ],
)
def test_filters(words: Filter, kind: str, wanted: bool) -> None:
    assert words.wants(event(kind)) is wanted


def test_the_procedure_is_that_of_the_execution() -> None:
    words = Filter.of([], [], ["patch"])
    assert words.needs_origin
    assert words.wants_of(Origin("t", "a", "dev", 0, "patch"))
    assert not words.wants_of(Origin("t", "a", "dev", 0, "other"))
    assert not words.wants_of(Origin("t", "a", "dev", 0))
    assert not words.wants_of(None)
