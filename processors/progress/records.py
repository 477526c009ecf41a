"""The records of the progress topic: how they are written and how a restart reads them. Pure.

Each record is a snapshot for everybody, with two headers for the projector itself: where in the
event partition to go on after a crash, and, while the execution lives, the state of the fold.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

import orjson

from processors.progress.history import DurationHistory
from processors.progress.partition import FINISHED_KEPT, PartitionState
from processors.progress.snapshot import show
from processors.progress.state import Progress, pack, unpack
from streams.envelope import Headers, header, headers
from streams.progress import ProgressSnapshot

#: Everything before this offset of the event partition is contained in records up to this one.
OFFSET: Final = "runstream-offset"
#: The packed state of a living execution; absent once it has ended.
STATE: Final = "runstream-state"

HeaderPairs = list[tuple[str, str | bytes | None]]


class Record(NamedTuple):
    """One record of the topic, and the state as it stands in it."""

    key: bytes
    value: bytes
    headers: Headers
    progress: Progress


def record(
    progress: Progress, now: float, low_water: int, history: DurationHistory | None = None
) -> Record:
    """The snapshot at `now` (Unix seconds)."""
    document, progress = show(progress, now, history)
    ident = progress.facts.execution_id
    pairs = headers(
        ident=f"{ident}:{progress.seq}:{document['as_of']}",
        kind="progress.snapshot",
        source="runstream/projector",
        time=document["updated_at"],
        subject=ident,
    )
    pairs.append((OFFSET, str(low_water).encode()))
    if progress.ended_at is None:
        pairs.append((STATE, pack(progress)))
    return Record(ident.encode(), orjson.dumps(document), pairs, progress)


class StateBuilder:
    """Gathers the records of one progress partition into the state that they leave.

    Of two records of an execution the one with the higher event number wins. A record that is
    damaged is listed in `damaged`; the next event of its execution then begins as after a gap.
    Of the ended executions the last `FINISHED_KEPT` are kept, however many the topic holds; what
    their steps took goes to `history`.
    """

    def __init__(self, history: DurationHistory | None = None) -> None:
        """Start with no record."""
        self._history = history
        self._living: dict[str, Progress] = {}
        self._finished: OrderedDict[str, int] = OrderedDict()
        self._position = 0
        self.damaged: list[str] = []

    def add(self, key: str | bytes | None, value: str | bytes | None, pairs: HeaderPairs) -> None:
        """The next record in the order of the partition."""
        ident = key.decode(errors="replace") if isinstance(key, bytes) else key or ""
        if value is None:
            self._living.pop(ident, None)
            self._finished.pop(ident, None)
            return
        try:
            self._position = max(self._position, int(header(pairs, OFFSET) or "0"))
            state = header(pairs, STATE)
            if state is None:
                self._end(ident, ProgressSnapshot.model_validate_json(value))
                return
            progress = unpack(state.encode())
        except ValueError as error:
            self.damaged.append(f"{ident}: {error}"[:200])
            return
        known = self._living.get(ident)
        if ident not in self._finished and (known is None or known.seq <= progress.seq):
            self._living[ident] = progress

    def _end(self, ident: str, last: ProgressSnapshot) -> None:
        self._living.pop(ident, None)
        if self._history is not None and ident not in self._finished:
            self._history.observe_snapshot(last)
        self._finished[ident] = last.seq
        self._finished.move_to_end(ident)
        if len(self._finished) > FINISHED_KEPT:
            self._finished.popitem(last=False)

    def state(self) -> PartitionState:
        """The state as of the last published snapshots."""
        state = PartitionState(self._position)
        for ident, seq in self._finished.items():
            state.finish(ident, seq)
        for progress in self._living.values():
            state.restore(progress)
        return state
