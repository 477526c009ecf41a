"""The state machine keeps the ten statuses and fourteen edges of the reference."""

from __future__ import annotations

from streams.lifecycle import ENDED, STATUS_AFTER, TRANSITIONS

REFERENCE = {
    "pending_approval": {"approved", "rejected", "cancelled"},
    "approved": {"queued", "running", "cancelled"},
    "queued": {"running", "cancelled", "timeout"},
    "running": {"completed", "failed", "cancelled", "timeout", "partial"},
}


def test_no_edge_of_the_reference_is_lost() -> None:
    assert sum(len(edges) for edges in REFERENCE.values()) == 14
    for status, edges in REFERENCE.items():
        assert edges <= TRANSITIONS[status], status


def test_terminal_statuses_are_absorbing() -> None:
    assert {"completed", "failed", "cancelled", "timeout", "partial", "rejected"} == ENDED
    for status in ENDED:
        assert TRANSITIONS[status] == frozenset()


def test_events_lead_to_known_statuses_only() -> None:
    assert set(STATUS_AFTER.values()) == set(TRANSITIONS)
