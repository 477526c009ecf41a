"""What leaves an attempt, with its secrets masked: its output while it runs, and its outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drivers.context import Outcome, Success
from drivers.masking import Masker
from drivers.output import OutputPublisher, Stream
from toolmeta.locking import LOCK_NAMES


def masked(masker: Masker, outcome: Outcome | None) -> Outcome | None:
    """What a driver returned, with every secret replaced."""
    if not masker or outcome is None:
        return outcome
    if isinstance(outcome, Success):
        return Success(masker.value(outcome.output))
    if outcome.error_class == LOCK_NAMES:
        # The router must get the names as they are; what is locked stands in the events anyway.
        return outcome
    return replace(
        outcome, message=masker.text(outcome.message), output=masker.value(outcome.output)
    )


class MaskedPublisher(OutputPublisher):
    """An `OutputPublisher` that masks, also where a piece ends in the middle of a secret.

    What may be the beginning of one is kept back until more is written, or until the end.
    """

    def __init__(self, masker: Masker, *given: Any, **named: Any) -> None:
        """`masker` may learn more secrets later; the rest is as `OutputPublisher` has it."""
        super().__init__(*given, **named)
        self._masker = masker
        self._held: dict[Stream, bytes] = {}

    @property
    def bytes_total(self) -> int:
        """Bytes of both streams so far, a secret counted as its mask."""
        return super().bytes_total + sum(map(len, self._held.values()))

    def has_written(self, stream: Stream) -> bool:
        """Whether anything was written to the stream, published or not."""
        return stream in self._held or super().has_written(stream)

    async def write(self, stream: Stream, data: bytes) -> None:
        """Publish `data`, masked; waits while 16 chunks are in flight."""
        ready, held = self._masker.split(self._held.pop(stream, b"") + data)
        if held:
            self._held[stream] = held
        if ready:
            await super().write(stream, ready)

    async def close(self) -> None:
        """Publish what was kept back and wait until everything is delivered."""
        while self._held:
            stream, held = self._held.popitem()
            await super().write(stream, self._masker.data(held))
        await super().close()
