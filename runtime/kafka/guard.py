"""The guard around code that decides: a defect in it fails one record, never the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from confluent_kafka import KafkaException
from prometheus_client import Counter

P = ParamSpec("P")
R = TypeVar("R")

STAGES: Final = ("claim", "control", "handle", "tick", "flush", "commit")

_UNDECIDABLE = Counter(
    "runstream_undecidable_total", "Decisions that raised, by the stage that did", ["stage"]
)
for _stage in STAGES:
    _UNDECIDABLE.labels(_stage)


class Undecidable(Exception):
    """A decision raised; its cause is the defect."""

    def __init__(self, stage: str) -> None:
        """`stage` is one of STAGES."""
        super().__init__(stage)
        self.stage = stage
        _UNDECIDABLE.labels(stage).inc()


def guarded(stage: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function`; every exception becomes Undecidable, except those of Kafka.

    What it changed before it raised is unknown: the caller drops that state.
    """
    try:
        return function(*args, **kwargs)
    except KafkaException:
        raise
    except Exception as error:
        raise Undecidable(stage) from error
