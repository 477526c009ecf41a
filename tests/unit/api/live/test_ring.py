"""The ring holds the latest records, and says what it does not hold."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from api.live.ring import Ring


@dataclass
class Record:
    offset: int
    value: bytes


def anything(_: Record) -> bool:
    return True


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40)), max_size=800),
    st.integers(1, 60),
    st.integers(1, 400),
    st.integers(1, 100),
)
def test_pieces_from_a_covered_position_are_all_that_follows(
    steps: list[tuple[int, int]], most: int, max_bytes: int, piece_bytes: int
) -> None:
    ring: Ring[Record] = Ring(most, max_bytes)
    ring.restart(5)
    everything: list[Record] = []
    at = 5
    for step, size in steps:
        # Transaction marks take offsets too.
        everything.append(Record(at, b"x" * size))
        ring.append(everything[-1])
        at += step
    assert len(ring) <= most
    assert ring.bytes <= max_bytes or len(ring) == 1
    assert ring.bytes == sum(len(one.value) for one in everything[len(everything) - len(ring) :])
    assert not everything or ring.covers(everything[-1].offset)
    for begin in {ring.start, (ring.start + at) // 2, at}:
        assert ring.covers(begin)
        found, position, at_end = list[Record](), begin, False
        while not at_end:
            piece = ring.since(position, anything, piece_bytes)
            assert piece.records or piece.at_end
            found += piece.records
            position, at_end = piece.position, piece.at_end
        assert found == [one for one in everything if one.offset >= begin]
        assert position >= ring.end
    if ring.start > 5:
        assert not ring.covers(ring.start - 1)


def test_only_what_is_wanted_counts_for_a_piece() -> None:
    ring: Ring[Record] = Ring(100, 10_000)
    ring.restart(0)
    for offset in range(50):
        ring.append(Record(offset, b"12345678"))
    piece = ring.since(0, lambda one: one.offset % 10 == 0, 24)
    assert [one.offset for one in piece.records] == [0, 10, 20]
    piece = ring.since(piece.position, lambda one: one.offset % 10 == 0, 24)
    assert [one.offset for one in piece.records] == [30, 40]
    assert piece.at_end
    assert piece.position == 50


def test_a_restart_forgets_everything() -> None:
    ring: Ring[Record] = Ring(10, 1_000)
    ring.restart(0)
    ring.append(Record(0, b"a"))
    ring.restart(700)
    assert (len(ring), ring.bytes, ring.covers(699), ring.covers(700)) == (0, 0, False, True)
