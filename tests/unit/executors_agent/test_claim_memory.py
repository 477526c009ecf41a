"""Which attempts a lane knows that it has claimed."""

from __future__ import annotations

from processors.executors.authentication import MAX_TRANSIT_SECONDS
from processors.executors.claim_memory import KEPT_SECONDS, ClaimMemory


def test_an_attempt_is_known_for_as_long_as_a_copy_of_its_command_counts() -> None:
    memory = ClaimMemory()
    # As many as a busy lane claims meanwhile.
    for number in range(100_000):
        memory.add(f"attempt-{number}", number / 1_700)
    assert "attempt-0" in memory and "attempt-99999" in memory
    assert "attempt-100000" not in memory
    assert KEPT_SECONDS > MAX_TRANSIT_SECONDS


def test_an_old_attempt_is_forgotten() -> None:
    memory = ClaimMemory()
    for turn in range(4):
        memory.add(f"attempt-{turn}", turn * KEPT_SECONDS)
    assert len(memory) == 2 and "attempt-3" in memory and "attempt-0" not in memory


def test_its_size_is_bounded_whatever_comes() -> None:
    memory = ClaimMemory(most=10)
    for number in range(1_000):
        memory.add(f"attempt-{number}", 0.0)
    assert len(memory) <= 20 and "attempt-999" in memory
