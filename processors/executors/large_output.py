"""Outputs that are too large for a result: published as a whole, and shortened.

A program's output is on `execution.output` already. What any other driver returned is written
there as JSON, so that there is always a place that has everything.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from drivers.context import Outcome
from drivers.launcher import READ_BYTES
from drivers.output import OutputPublisher
from processors.executors import jsonable
from processors.executors.shortening import shortened
from streams.limits import MAX_OUTPUT_BYTES
from streams.topics import OUTPUT
from streams.truncation import TRUNCATED

#: Masking may make an output longer, and `rest` is added.
_ROOM: Final = MAX_OUTPUT_BYTES - 16 * 1024


@dataclass(frozen=True, slots=True)
class Encoded:
    """An output with its JSON text, so that it is encoded once where masking changes nothing."""

    output: dict[str, Any]
    text: bytes

    def text_of(self, output: dict[str, Any] | None) -> bytes | None:
        """The text of `output`, where it is this very object; masking makes another one."""
        return self.text if output is self.output else None


async def fit(
    outcome: Outcome | None, published: OutputPublisher
) -> tuple[Outcome | None, Encoded | None]:
    """`outcome` with an output that fits a result, before it is masked, and its text if known.

    Waits for the broker as the driver's own output does; called once, after the driver ended.
    """
    if outcome is None or outcome.output is None:
        return outcome, None
    whole = jsonable.dump(outcome.output)
    if len(whole) <= _ROOM:
        return outcome, Encoded(outcome.output, whole)
    if not published.has_written("stdout"):
        for start in range(0, len(whole), READ_BYTES):
            await published.write("stdout", whole[start : start + READ_BYTES])
    # Megabytes: the event loop has other attempts.
    return replace(outcome, output=await asyncio.to_thread(_shortened, whole)), None


def with_rest(output: dict[str, Any] | None, published: OutputPublisher) -> dict[str, Any] | None:
    """A shortened output with the place of the rest, as far as that was published."""
    if output is None or output.get(TRUNCATED) is not True:
        return output
    place = published.published("stdout")
    if place is None:
        return output
    rest = {"topic": OUTPUT.name, "stream": "stdout", "offset": 0, **place}
    return {**output, "rest": rest}


def _shortened(whole: bytes) -> dict[str, Any]:
    return shortened(orjson.loads(whole), _ROOM)
