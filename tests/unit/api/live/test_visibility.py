"""Who may read which execution, and which events a filter lets through."""

from __future__ import annotations

import pytest

from api.live.records import LiveEvent, Origin, decode
from api.live.visibility import Filter, may_read
from reading.reader import Kind, Reader
from streams.events import encode_event
from tests.unit.progress.histories import Log

DEV = frozenset[Kind]({("dev", 0)})
NOTHING = frozenset[Kind]()


@pytest.mark.parametrize(
    ("own", "others", "actor", "origin", "allowed"),
    [
        (DEV, NOTHING, "Ann", Origin("t", "ann", "dev", 0), True),
        (DEV, NOTHING, "bob", Origin("t", "ann", "dev", 0), False),
        (DEV, NOTHING, "ann", Origin("t", "ann", "prod", 0), False),
        (DEV, NOTHING, "ann", Origin("t", "ann", "dev", 1), False),
        (DEV, NOTHING, "ann", Origin("other", "ann", "dev", 0), False),
        (NOTHING, DEV, "bob", Origin("t", "ann", "dev", 0), True),
        (NOTHING, DEV, "ann", Origin("t", "ann", "dev", 0), False),
        # What was refused before anybody read its environment is its actor's.
        (NOTHING, DEV, "bob", Origin("t", None, None, None), False),
        (DEV, DEV, "ann", Origin("t", "ann", None, None), True),
    ],
)
def test_may_read(
    own: frozenset[Kind], others: frozenset[Kind], actor: str, origin: Origin, allowed: bool
) -> None:
    assert may_read(Reader("t", actor, own, others), origin) is allowed


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
