"""Records of the topics are read as they are, and what is none is passed over."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live import frames
from api.live.records import LiveChunk, Origin, decode, one_line
from streams.events import encode_event
from tests.unit.progress.histories import EXECUTION, Log, histories


def test_an_accepted_event_says_whose_it_is() -> None:
    log = Log()
    run = {"name": "patch", "version": "1", "digest": "d", "inputs": "i"}
    log.accept(["a"], procedure=run, environment="staging", approval_level=2)
    event = decode(encode_event(log.events[0]), 3, 17)
    assert event is not None
    assert (event.partition, event.offset, event.execution_id, event.seq) == (3, 17, EXECUTION, 1)
    assert event.origin == Origin("acme", "ci", "staging", 2, "patch")
    assert event.data()["plan_hash"] == "abc"


def test_a_rejected_request_belongs_to_whoever_asked_and_an_end_says_nothing() -> None:
    log = Log()
    log.add("execution.rejected", {"actor": "ann"})
    log.add("execution.rejected")
    first, second = (decode(encode_event(event), 0, 0) for event in log.events)
    assert first is not None
    assert second is not None
    assert first.origin == Origin("acme", "ann", None, None)
    assert second.origin is None


@given(histories())
def test_every_event_is_read_and_sent_as_it_is(events: list[object]) -> None:
    for event in events:
        value = encode_event(event)  # type: ignore[arg-type]
        found = decode(value, 0, 0)
        assert found is not None
        frame = frames.record(b"7", found.value)
        assert frame.startswith(b"id: 7\ndata: ")
        assert frame.endswith(b"\n\n")
        assert frame.count(b"\n") == 3
        assert orjson.loads(frame[len(b"id: 7\ndata: ") :]) == orjson.loads(value)


@pytest.mark.parametrize(
    "value",
    [None, b"", b"x", b"[]", b"1", b"{}", b'{"execution_id":"a","seq":"1"}', b"\xff\xfe",
     b'{"execution_id":"a","seq":0,"type":"t","tenant":"x","at":"now"}'],
)  # fmt: skip
def test_what_is_no_event_is_none(value: bytes | None) -> None:
    assert decode(value, 0, 0) is None


def test_line_breaks_do_not_end_a_frame() -> None:
    value = b'{\n "a":\r\n "x\\ny"}'
    assert orjson.loads(one_line(value)) == {"a": "x\ny"}
    assert b"\n" not in one_line(value)


@given(st.lists(st.binary(min_size=1, max_size=frames.BLOCK_BYTES), max_size=8))
def test_blocks_have_the_same_bytes(given_frames: list[bytes]) -> None:
    made = list(frames.blocks(given_frames))
    assert b"".join(made) == b"".join(given_frames)
    assert all(len(block) <= frames.BLOCK_BYTES for block in made)


def test_a_chunk_says_its_place() -> None:
    said = {"execution_id": EXECUTION, "step": "a", "attempt": 2, "stream": "stderr", "index": 4,
            "offset": 100, "text": "grün\n"}  # fmt: skip
    place = LiveChunk(0, 0, b"r", orjson.dumps(said)).place()
    assert place is not None
    assert (place.step, place.attempt, place.stream, place.number) == ("a", 2, "stderr", 4)
    assert (place.begin, place.length) == (100, 6)
    for wrong in (b"", b"{}", b"[]", orjson.dumps({**said, "index": "4"}), b'{"text":1}'):
        assert LiveChunk(0, 0, b"r", wrong).place() is None
