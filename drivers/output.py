"""Output of an attempt: published in chunks while it runs, summarised in the result."""

from __future__ import annotations

import asyncio
import codecs
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Literal

from runtime import clock
from streams import envelope, ids
from streams.commands import StepCommand
from streams.reports import EXCERPT_BYTES, OutputChunk, StreamSummary

#: Takes so many bytes from what may still be published, and says how many it got.
Allow = Callable[[int], int]
#: Delivers one record: topic, key, value, headers. Called in order; it must hand the record to the
#: producer before it first waits, and return when the broker has it.
Publish = Callable[[str, bytes, bytes, envelope.Headers], Awaitable[None]]
Mask = Callable[[bytes], bytes]
Stream = Literal["stdout", "stderr"]

#: Of text; a character cut by the chunk before may add three bytes to reach 64 KiB.
CHUNK_BYTES: Final = 64 * 1024 - 4
#: A byte may become three (U+FFFD) or six (an escaped NUL): the text must still fit a chunk.
_BINARY_CHUNK_BYTES: Final = CHUNK_BYTES // 6
#: Chunks in flight to the broker, per attempt: 16 of 64 KiB are 1 MiB.
_IN_FLIGHT: Final = 16
#: What is published of one stream of one attempt; the rest is counted only.
PUBLISHED_BYTES: Final = 64 * 1024 * 1024


def escaped(text: str) -> str:
    r"""The text without U+0000, which Postgres cannot store: written as `\u0000` instead."""
    return text.replace("\x00", "\\u0000") if "\x00" in text else text


class _Stream:
    """One stream: what was written to it, and how much of that is published."""

    def __init__(self) -> None:
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.digest = hashlib.sha256()
        self.total = 0
        #: Where publishing ends, once that is known to be before the limit of every stream.
        self.limit: int | None = None
        self.index = 0
        self.offset = 0
        self.lost_bytes = 0
        self.head = b""
        self.tail = b""

    def keep(self, data: bytes) -> None:
        """Keep the first and the last bytes."""
        room = EXCERPT_BYTES - len(self.head)
        self.head += data[:room] if room > 0 else b""
        rest = data[max(room, 0) :]
        if rest:
            self.tail = (self.tail + rest[-EXCERPT_BYTES:])[-EXCERPT_BYTES:]

    def summary(self) -> StreamSummary:
        """Head and tail never overlap, and no character is cut in two between them."""
        head, tail = self.head, self.tail
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(head, final=not tail)
        cut, _ = decoder.getstate()
        tail = cut + tail
        while tail and len(self.tail) == EXCERPT_BYTES and tail[0] & 0xC0 == 0x80:
            tail = tail[1:]
        return StreamSummary(
            bytes=self.total,
            sha256=self.digest.hexdigest(),
            head=escaped(text),
            tail=escaped(tail.decode("utf-8", "replace")),
            lost_bytes=self.lost_bytes,
        )


class OutputPublisher:
    """Publishes what one attempt writes to `execution.output`; memory stays bounded.

    Order within a stream is kept. At most `limit_bytes` of each stream are published, the last
    chunk then says `truncated`; the SHA-256 covers what was published, after masking.
    """

    def __init__(
        self,
        command: StepCommand,
        *,
        topic: str,
        source: str,
        publish: Publish,
        mask: Mask = bytes,
        limit_bytes: int = PUBLISHED_BYTES,
        allow: Allow = int,
    ) -> None:
        """`topic` is the name on this cluster, `source` the executor's CloudEvents source.

        `allow` is what the tenant may still publish: once it gives less than was asked for, the
        rest of the stream is counted only, as it is beyond `limit_bytes`.
        """
        self._command = command
        self._topic = topic
        self._source = source
        self._publish = publish
        self._mask = mask
        self._limit = limit_bytes
        self._allow = allow
        self._streams: dict[Stream, _Stream] = {}
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._in_flight: set[asyncio.Task[None]] = set()

    @property
    def bytes_total(self) -> int:
        """Bytes of both streams so far, as the program wrote them."""
        return sum(stream.total for stream in self._streams.values())

    async def write(self, stream: Stream, data: bytes) -> None:
        """Publish `data`; waits while 16 chunks are in flight."""
        state = self._streams.setdefault(stream, _Stream())
        state.total += len(data)
        masked = self._mask(data)
        state.keep(masked)
        room = (self._limit if state.limit is None else state.limit) - state.offset
        if room <= 0:
            return
        published = masked[:room]
        allowed = self._allow(len(published))
        if allowed < len(published):
            published = published[:allowed]
            state.limit = state.offset + allowed
        limit = self._limit if state.limit is None else state.limit
        step = CHUNK_BYTES if _is_text(published) else _BINARY_CHUNK_BYTES
        for start in range(0, len(published), step):
            piece = published[start : start + step]
            await self._send(stream, state, piece, last=state.offset + len(piece) >= limit)

    async def close(self) -> None:
        """Wait until everything is delivered; at the end of the attempt, also of a cancelled one.

        A character that was cut off by the end of the stream is published as U+FFFD.
        """
        for name, state in self._streams.items():
            if state.limit is None and state.offset < self._limit and state.decoder.getstate()[0]:
                await self._send(name, state, b"", last=False, final=True)
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def has_written(self, stream: Stream) -> bool:
        """Whether anything was written to the stream, published or not."""
        return stream in self._streams

    def published(self, stream: Stream) -> dict[str, Any] | None:
        """Bytes and SHA-256 of what was published of a stream; None where nothing was."""
        state = self._streams.get(stream)
        if state is None or not state.offset:
            return None
        return {"bytes": state.offset, "sha256": state.digest.hexdigest()}

    def summary(self, stream: Stream) -> StreamSummary | None:
        """What the result keeps of a stream; None where nothing was written to it."""
        state = self._streams.get(stream)
        return state.summary() if state is not None else None

    async def _send(
        self,
        name: Stream,
        state: _Stream,
        piece: bytes,
        *,
        last: bool,
        final: bool = False,
    ) -> None:
        # The slot comes first: a write that is cancelled here has not used up an index.
        await self._slots.acquire()
        text = state.decoder.decode(piece, final=final)
        state.digest.update(piece)
        extra: dict[str, Any] = {"truncated": True} if last else {}
        command = self._command
        chunk = OutputChunk(
            execution_id=command.execution_id,
            step=command.step,
            attempt=command.attempt,
            stream=name,
            index=state.index,
            offset=state.offset,
            text=escaped(text),
            tenant=command.tenant,
            **extra,
        )
        headers = envelope.headers(
            ident=f"{command.execution_id}:{command.step}:{command.attempt}:{name}:{state.index}",
            kind="step.output",
            source=self._source,
            time=clock.iso(clock.now()),
            subject=command.execution_id,
        )
        state.index += 1
        state.offset += len(piece)
        key = ids.route_of(command.execution_id).encode()
        task = asyncio.create_task(self._deliver(key, chunk.model_dump_json().encode(), headers))
        self._in_flight.add(task)
        task.add_done_callback(partial(self._delivered, state, len(piece)))

    async def _deliver(self, key: bytes, value: bytes, headers: envelope.Headers) -> None:
        await self._publish(self._topic, key, value, headers)

    def _delivered(self, state: _Stream, length: int, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._slots.release()
        if task.cancelled() or task.exception() is not None:
            # On the topic the gap is in index and offset, in the result it is this count.
            state.lost_bytes += length


def _is_text(data: bytes) -> bool:
    """Whether its text will be no longer than itself; cut characters at the ends are fine."""
    if b"\x00" in data:
        return False
    begin = next((at for at in range(min(4, len(data))) if data[at] & 0xC0 != 0x80), 0)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data[begin:])
    except UnicodeDecodeError:
        return False
    return True
