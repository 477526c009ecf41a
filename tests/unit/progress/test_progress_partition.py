from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.progress import book as books
from processors.progress.book import SPACING, Book
from processors.progress.fold import fold
from processors.progress.records import OFFSET, STATE, Restoring, record
from processors.progress.snapshot import snapshot
from streams.envelope import Headers, header
from streams.events import Event
from streams.progress import ProgressSnapshot
from tests.unit.progress.histories import EXECUTION, START, Log, histories

Published = list[tuple[bytes, bytes, Headers]]


def absorb(book: Book, offset: int, event: Event) -> None:
    book.take(offset, event)
    book.position = offset + 1


def publish(book: Book, monotonic: float, to: Published) -> None:
    due = book.due(monotonic, 100)
    low = book.low_water()
    to.extend(record(progress, book.stream_time, low) for progress in due)
    book.published(due, monotonic)


def restored(published: Published) -> Book:
    restoring = Restoring()
    for key, value, headers in published:
        restoring.add(key, value, list(headers))
    assert restoring.damaged == []
    return restoring.book()


def test_a_living_execution_is_published_at_most_every_fifth_of_a_second() -> None:
    book, log, out = Book(), Log(), Published()
    log.accept(["a", "b"])
    absorb(book, 0, log.events[-1])
    publish(book, 100.0, out)
    log.add("execution.started")
    absorb(book, 1, log.events[-1])
    assert book.due(100.0 + SPACING / 2, 10) == []
    assert book.low_water() == 1
    assert len(book.due(100.0 + SPACING, 10)) == 1


def test_the_end_does_not_wait_and_frees_the_memory() -> None:
    book, log, out = Book(), Log(), Published()
    log.accept(["a"])
    absorb(book, 0, log.events[-1])
    publish(book, 100.0, out)
    absorb(book, 1, log.add("execution.completed"))
    publish(book, 100.0, out)
    assert book.live == {}
    last = ProgressSnapshot.model_validate_json(out[-1][1])
    assert (last.percent, last.status) == (100, "completed")
    assert header(out[-1][2], STATE) is None
    assert book.take(2, log.events[0]).outcome == "duplicate"
    assert book.take(3, log.add("execution.duplicate")).outcome == "after_end"
    assert book.due(1e9, 10) == []


def test_many_events_of_a_run_make_one_snapshot() -> None:
    book, log, out = Book(), Log(), Published()
    log.accept(["a", "b", "c"])
    for step in ("a", "b", "c"):
        log.run(step)
    for offset, event in enumerate(log.events):
        absorb(book, offset, event)
    publish(book, 1.0, out)
    assert len(out) == 1
    assert header(out[0][2], OFFSET) == "0"


def test_a_deadline_that_passes_makes_a_quiet_execution_due_once() -> None:
    book, log, out = Book(), Log(), Published()
    log.accept(["a"], sla_seconds=5.0)
    absorb(book, 0, log.events[-1])
    publish(book, 1.0, out)
    book.passed(log.at + 4.9)
    assert book.due(1e9, 10) == []
    book.passed(log.at + 5.1)
    assert len(book.due(1e9, 10)) == 1
    publish(book, 1e9, out)
    book.passed(log.at + 6.0)
    assert book.due(1e12, 10) == []


def test_finished_ids_and_deadlines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "REMEMBERED", 50)
    book, out = Book(), Published()
    for number in range(3_000):
        log = Log(f"{number:08x}-0000-8000-8000-000000000000")
        log.accept(["a"], sla_seconds=86_400.0)
        log.add("execution.completed")
        for event in log.events:
            absorb(book, book.position, event)
        publish(book, 1.0, out)
    assert len(book._finished) == 50
    assert len(book._deadlines) <= 1_001
    assert book.live == {}


@given(histories(), st.data())
def test_killed_anywhere_and_restored_the_last_snapshot_is_the_same(
    events: list[Event], data: st.DataObject
) -> None:
    out: Published = []
    book, now = Book(), 0.0
    offset = 0
    kills = 0
    while offset < len(events):
        size = data.draw(st.integers(1, 5))
        for event in events[offset : offset + size]:
            absorb(book, offset, event)
            offset += 1
        now += data.draw(st.sampled_from([0.01, SPACING, 1.0]))
        if data.draw(st.booleans()):
            publish(book, now, out)
        if kills < 4 and data.draw(st.integers(0, 3)) == 0:
            kills += 1
            book = restored(out)
            offset = book.position
    while book.due(now, 10):
        publish(book, now, out)
    state = None
    for event in events:
        state = fold(state, event)
    assert state is not None
    last = ProgressSnapshot.model_validate_json(out[-1][1])
    assert last == ProgressSnapshot.model_validate_json(snapshot(state, START).model_dump_json())
    percents = [ProgressSnapshot.model_validate_json(value).percent for _, value, _ in out]
    assert percents == sorted(percents)
    assert {key for key, _, _ in out} == {EXECUTION.encode()}


def test_a_damaged_record_is_named_and_the_others_are_restored() -> None:
    book, log, out = Book(), Log(), Published()
    log.accept(["a"])
    absorb(book, 0, log.events[-1])
    publish(book, 1.0, out)
    restoring = Restoring()
    restoring.add(b"other", b"{}", [(STATE, b"[]")])
    restoring.add(b"third", b"no json", [])
    for key, value, headers in out:
        restoring.add(key, value, list(headers))
    assert [text.split(":")[0] for text in restoring.damaged] == ["other", "third"]
    assert set(restoring.book().live) == {EXECUTION}
    restoring.add(EXECUTION.encode(), None, [])
    assert restoring.book().live == {}
