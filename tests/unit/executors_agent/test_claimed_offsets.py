"""What is claimed of a partition, and what of it stands with the committed offset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.executors.claimed_offsets import CAPACITY, ClaimedOffsets, UnknownNote
from runtime.kafka.offsets import CommitMark


@given(st.integers(0, 2**62), st.sets(st.integers(1, CAPACITY - 1), max_size=200))
def test_whoever_reads_what_was_committed_knows_the_same(lowest: int, beyond: set[int]) -> None:
    claimed = ClaimedOffsets(lowest)
    for one in beyond:
        claimed.add(lowest + one)
    known = ClaimedOffsets(lowest, claimed.note())
    for one in [*range(-3, 40), *beyond, *(one + 1 for one in beyond), CAPACITY, CAPACITY * 9]:
        assert (lowest + one in known) is (one < 0 or one in beyond)
    assert known.note() == claimed.note()
    assert (claimed.note() == "") is (not beyond)


@given(st.sets(st.integers(1, 300)), st.integers(0, 400))
def test_what_is_below_the_lowest_is_claimed_and_the_rest_stays(
    beyond: set[int], rise: int
) -> None:
    claimed = ClaimedOffsets(1_000)
    for one in beyond:
        claimed.add(1_000 + one)
    claimed.raise_to(1_000 + rise)
    for one in range(500):
        assert (1_000 + one in claimed) is (one < rise or one in beyond)


def test_the_largest_note_fits_what_a_broker_takes_with_an_offset() -> None:
    claimed = ClaimedOffsets(7)
    for offset in range(8, 7 + CAPACITY):
        assert claimed.reaches(offset)
        claimed.add(offset)
    assert not claimed.reaches(7 + CAPACITY)
    (position,) = CommitMark().next({("t", 0): 7}, {("t", 0): claimed.note()})
    # `offset.metadata.max.bytes` is 4096 unless somebody has changed it.
    assert len((position.metadata or "").encode()) in range(2_000, 3_000)


@pytest.mark.parametrize("note", ["2:AA==", "AA==", "1:A", "1:ä", "1:AA ==", "x" * 5_000])
def test_a_note_that_cannot_be_read_is_not_passed_over(note: str) -> None:
    """To go on without it would start a second time what was claimed."""
    with pytest.raises(UnknownNote):
        ClaimedOffsets(7, note)
