"""Which plans the immediate lane takes, so that long work cannot fill it. Pure.

An executor keeps a few slots for it. Each step there holds one for a short time at most, and a plan
has few of them: what is expected to take longer, or whose size only the run will tell, belongs on
the bulk lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from processors.router import policy
from processors.router.calls import Call
from streams.plans import AssetItems, Step
from toolmeta.invocation import Problem

#: The longest timeout of a step on the immediate lane: six times what a fast plan promises.
IMMEDIATE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Timed:
    """A call with the timeout that was settled for it."""

    call: Call
    timeout_seconds: float


def mode_of(wanted: str | None, sla: str, estimate: float, timed: Sequence[Timed]) -> str:
    """The mode of a plan: as wanted (see `problems`), else by its class and what its steps need.

    A class that the plan states makes nothing shorter: `estimate` seconds count too.
    """
    if wanted is not None:
        return wanted
    short = all(one.timeout_seconds <= IMMEDIATE_SECONDS for one in timed)
    known = not any(_items_unknown(one.call) for one in timed)
    fits = short and known and policy.sla_class(estimate) == "fast"
    return policy.mode(sla) if fits else "background"


def problems(wanted: str | None, estimate: float, timed: Sequence[Timed]) -> list[Problem]:
    """Why a plan that asks for `mode: immediate` cannot have it; `estimate` in seconds."""
    if wanted != "immediate":
        return []
    found: list[Problem] = []
    if policy.sla_class(estimate) != "fast":
        found.append(
            Problem(
                "plan.mode",
                f"its steps are expected to take {estimate:g} s; immediate is for plans below "
                "10 s: leave mode out",
            )
        )
    for one in timed:
        if one.timeout_seconds > IMMEDIATE_SECONDS:
            found.append(
                Problem(
                    f"{one.call.field}.timeout_seconds",
                    f"{one.timeout_seconds:g} s; mode immediate takes steps of at most "
                    f"{IMMEDIATE_SECONDS:g} s: set a shorter one, or leave mode out",
                )
            )
        if _items_unknown(one.call):
            found.append(
                Problem(
                    f"{one.call.field}.for_each",
                    "only the run will tell how many items it has, and mode immediate is for "
                    "short plans: leave mode out",
                )
            )
    return found


def _items_unknown(call: Call) -> bool:
    return isinstance(call.step, Step) and isinstance(call.step.for_each, str | AssetItems)
