"""The output publisher: order, bounds, borders of characters, and the summary."""

from __future__ import annotations

import asyncio
import hashlib
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.output import OutputPublisher
from streams import envelope
from streams.reports import EXCERPT_BYTES, OutputChunk, StreamSummary
from tests.driver_kit import EXECUTION, command


class FakeBroker:
    """A fake broker: keeps records in the order in which they were handed over."""

    def __init__(self, broken: bool = False) -> None:
        self.records: list[tuple[str, bytes, bytes, envelope.Headers]] = []
        self.flying = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.broken = broken

    async def publish(
        self, topic: str, key: bytes, value: bytes, headers: envelope.Headers
    ) -> None:
        self.records.append((topic, key, value, headers))
        self.flying += 1
        self.most = max(self.most, self.flying)
        await self.gate.wait()
        self.flying -= 1
        if self.broken:
            raise ConnectionError("the fake broker is away")

    @property
    def chunks(self) -> list[OutputChunk]:
        return [OutputChunk.model_validate_json(value) for _, _, value, _ in self.records]


def publisher(broker: FakeBroker, **options: Any) -> OutputPublisher:
    return OutputPublisher(
        command(),
        topic="t.execution.output",
        source="/executor/x",
        publish=broker.publish,
        **options,
    )


def written(*pieces: bytes, **options: Any) -> tuple[FakeBroker, StreamSummary]:
    async def inside() -> tuple[FakeBroker, StreamSummary]:
        broker = FakeBroker()
        broker.gate.set()
        writer = publisher(broker, **options)
        for piece in pieces:
            await writer.write("stdout", piece)
        await writer.close()
        summary = writer.summary("stdout")
        assert summary is not None
        return broker, summary

    return asyncio.run(inside())


def test_a_record_names_its_attempt() -> None:
    broker, _ = written(b"hello\n")
    topic, key, value, headers = broker.records[0]
    assert (topic, key) == ("t.execution.output", EXECUTION[-8:].encode())
    assert json.loads(value)["text"] == "hello\n"
    assert envelope.header(headers, "ce_id") == f"{EXECUTION}:one:1:stdout:0"
    assert envelope.header(headers, "ce_subject") == EXECUTION


@given(st.lists(st.text(max_size=40), max_size=12), st.data())
def test_text_comes_out_as_it_went_in_however_it_is_cut(words: list[str], data: Any) -> None:
    whole = "".join(words).replace("\x00", "").encode("utf-8", "replace")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    edges = [0, *cuts, len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    broker, summary = written(b"", *pieces)
    assert "".join(chunk.text for chunk in broker.chunks).encode() == whole
    assert (summary.head + summary.tail).encode() == whole
    assert summary.bytes == len(whole)
    assert summary.sha256 == hashlib.sha256(whole).hexdigest()


@given(st.binary(max_size=400_000))
def test_every_chunk_fits_and_offsets_follow(data: bytes) -> None:
    broker, summary = written(data)
    offset = 0
    for index, chunk in enumerate(broker.chunks):
        assert chunk.index == index
        assert chunk.offset >= offset
        assert len(chunk.text.encode()) <= 64 * 1024
        assert "\x00" not in chunk.text
        offset = chunk.offset
    assert summary.bytes == len(data)


@pytest.mark.parametrize("filler", [b"\x00", b"\xff", b"a", "€".encode()])
def test_the_worst_bytes_fit_a_chunk(filler: bytes) -> None:
    broker, _ = written(b"\xe2\x82", filler * 200_000)
    assert all(len(chunk.text.encode()) <= 64 * 1024 for chunk in broker.chunks)


def test_head_and_tail_of_a_long_stream() -> None:
    data = b"<" + "€".encode() * 20_000 + b">"
    _, summary = written(data)
    assert summary.head.startswith("<€")
    assert summary.tail.endswith("€>")
    assert "\ufffd" not in summary.head + summary.tail
    assert len(summary.head.encode()) <= EXCERPT_BYTES
    assert len(summary.tail.encode()) <= EXCERPT_BYTES + 4
    assert _short_tail(b"x" * EXCERPT_BYTES) == ""


def _short_tail(data: bytes) -> str:
    return written(data)[1].tail


def test_publishing_stops_at_the_limit_and_says_so() -> None:
    broker, summary = written(b"a" * 70, b"b" * 70, b"c" * 70, limit_bytes=100)
    text = "".join(chunk.text for chunk in broker.chunks)
    assert text == "a" * 70 + "b" * 30
    assert [json.loads(value).get("truncated") for _, _, value, _ in broker.records] == [None, True]
    assert summary.bytes == 210
    assert summary.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_masked_before_it_leaves() -> None:
    broker, summary = written(b"password=canary", mask=lambda data: data.replace(b"canary", b"***"))
    assert b"canary" not in broker.records[0][2]
    assert "canary" not in summary.head


def test_a_slow_broker_slows_the_writer() -> None:
    async def inside() -> None:
        broker = FakeBroker()
        writer = publisher(broker)

        async def flood() -> None:
            for _ in range(100):
                await writer.write("stdout", b"x")

        task = asyncio.create_task(flood())
        for _ in range(200):
            await asyncio.sleep(0)
        assert broker.most == 16
        assert not task.done()
        broker.gate.set()
        await task
        await writer.close()
        assert [chunk.index for chunk in broker.chunks] == list(range(100))

    asyncio.run(inside())


def test_a_cancelled_write_leaves_no_gap() -> None:
    async def inside() -> None:
        broker = FakeBroker()
        writer = publisher(broker)
        for _ in range(16):
            await writer.write("stdout", b"x")
        waiting = asyncio.create_task(writer.write("stdout", b"y"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        broker.gate.set()
        await writer.write("stdout", b"z")
        await writer.close()
        assert [chunk.index for chunk in broker.chunks] == list(range(17))

    asyncio.run(inside())


def test_lost_output_is_said_in_the_result() -> None:
    async def inside() -> tuple[int, int]:
        broker = FakeBroker(broken=True)
        broker.gate.set()
        writer = publisher(broker)
        await writer.write("stderr", b"lost")
        await writer.write("stdout", b"gone too")
        await writer.close()
        stderr, stdout = writer.summary("stderr"), writer.summary("stdout")
        assert stderr is not None and stdout is not None
        return stderr.lost_bytes, stdout.lost_bytes

    assert asyncio.run(inside()) == (4, 8)


def test_a_tenant_that_used_up_its_output_publishes_nothing_more() -> None:
    left = [10]

    def allow(wanted: int) -> int:
        granted = min(wanted, left[0])
        left[0] -= granted
        return granted

    broker, summary = written(b"1234567", b"89abcdef", b"ghi", allow=allow)
    assert [(chunk.text, "truncated" in chunk.model_dump_json()) for chunk in broker.chunks] == [
        ("1234567", False),
        ("89a", True),
    ]
    assert summary.bytes == 18
    assert summary.head == "123456789abcdefghi"
