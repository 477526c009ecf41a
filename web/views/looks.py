"""Looks of what is no execution or step: effects, schedules, triggers and health; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reading.models.approvals import EffectCounts
from toolmeta.effects import ORDER, Effect
from web.statuses import Look

EFFECT: Final[dict[str, Look]] = {
    "read": Look("wait", "search", "Read"),
    "modify": Look("person", "wrench", "Modify"),
    "destroy": Look("fail", "attention", "Destroy"),
}
SCHEDULE: Final[dict[str, Look]] = {
    "unusable": Look("fail", "ban", "Unusable"),
    "paused": Look("person", "pause", "Paused"),
    "running": Look("run", "running", "Running"),
    "waiting": Look("wait", "clock", "Waiting"),
    "done": Look("ok", "check", "Done"),
}
TRIGGER: Final[dict[str, Look]] = {
    "topic missing": Look("fail", "attention", "Topic missing"),
    "paused": Look("person", "pause", "Paused"),
    "active": Look("ok", "bolt", "Active"),
    "unknown": Look("wait", "help", "Unknown"),
}
HEALTH: Final[dict[str, Look]] = {
    "healthy": Look("ok", "check", "Healthy"),
    "degraded": Look("person", "attention", "Degraded"),
    "unhealthy": Look("fail", "cross", "Unhealthy"),
    "unknown": Look("wait", "help", "Unknown"),
}
ALIVE: Final = Look("ok", "check", "Alive")
GONE: Final = Look("fail", "cross", "Gone")


def look_of(looks: dict[str, Look], status: str) -> Look:
    """The look of a status; one of a later version is shown by its name."""
    return looks.get(status) or Look("wait", "dot", status.replace("_", " ").capitalize())


@dataclass(frozen=True, slots=True)
class EffectMark:
    """How many calls have this effect."""

    effect: Effect
    look: Look
    count: int


def effect_marks(counts: EffectCounts) -> list[EffectMark]:
    """The effects that occur, the worst first."""
    every = [EffectMark(one, EFFECT[one], getattr(counts, one)) for one in reversed(ORDER)]
    return [mark for mark in every if mark.count]
