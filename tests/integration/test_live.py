"""Live streams on a real broker: nothing is missed and nothing comes twice, whoever reconnects."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from api.live import held
from tests.integration.live_lab import (
    TOPICS,
    Api,
    Browser,
    LiveLab,
    Said,
    eventually,
    new_id,
)
from tests.unit.progress.histories import Log

RECONNECTS = 200
#: Of one connection, before it breaks: some events.
_MOST_BYTES = 6_000


@pytest.fixture
def lab(kafka: str, database: str, topics: Callable[..., str]) -> Iterator[LiveLab]:
    yield LiveLab(kafka, database, topics(*TOPICS))


def read_until(
    api: Api,
    path: str,
    enough: Callable[[list[Said]], bool],
    who: str = "acme/reader",
    last_id: str | None = None,
) -> list[Said]:
    """What a stream says until that is enough, or it ends."""
    browser, found = Browser(), list[Said]()
    with api.stream(path, who, last_id) as response:
        assert response.status_code == 200, response.read()
        for piece in response.iter_raw():
            found += browser.feed(piece)
            if enough(found):
                break
    return found


def messages(said: list[Said]) -> list[Said]:
    return [one for one in said if one.kind == "message"]


class Reconnecting(threading.Thread):
    """A reader that loses its connection again and again, in the middle of whatever is sent."""

    def __init__(
        self,
        api: list[Api],
        path: str,
        seed: int,
        done: Callable[[list[Said]], bool],
        who: str = "acme/reader",
        first_id: str | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self._who = who
        self._first_id = first_id
        self._api = api
        self._path = path
        self._random = random.Random(seed)
        self._done = done
        self.said: list[Said] = []
        self.connections = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            last_id = self._first_id
            while not (self.connections >= RECONNECTS and self._done(self.said)):
                last_id = self._connect(last_id)
        except BaseException as error:
            self.failure = error

    def _connect(self, last_id: str | None) -> str | None:
        browser = Browser()
        browser.last_id = last_id or ""
        # Bytes, not seconds: a slow machine breaks it at the same places.
        left = self._random.randrange(_MOST_BYTES)
        try:
            with self._api[0].stream(self._path, self._who, last_id, 10.0) as response:
                assert response.status_code in (200, 204), response.read()
                self.connections += 1
                for piece in response.iter_raw():
                    is_over = self.connections < RECONNECTS and len(piece) > left
                    # It breaks in the middle of whatever is sent.
                    self.said += browser.feed(piece[:left] if is_over else piece)
                    left -= len(piece)
                    if is_over or self._done(self.said):
                        break
        except httpx.TransportError:
            # The API was stopped in this moment: the reader comes back with what it has.
            time.sleep(0.02)
        if self._random.random() < 0.01:
            # Longer than memory reaches.
            time.sleep(4.0)
        return browser.last_id or None


class Writing(threading.Thread):
    """Writes the events of an execution that is followed, and of many others, until told to end."""

    def __init__(self, lab: LiveLab, followed: str) -> None:
        super().__init__(daemon=True)
        self._lab = lab
        self._followed = followed
        self.end = threading.Event()
        self.written: list[tuple[str, int]] = []

    def run(self) -> None:
        log = Log(self._followed, time.time())
        log.accept(["a"])
        number = sent = 0
        while not self.end.is_set():
            log.run(f"s{number}", 0.0)
            other = Log(new_id(f"other-{number}"), time.time())
            other.accept(["a"])
            other.run("a", 0.0)
            other.add("execution.completed", seconds=0.0)
            self._send(log, sent)
            self._send(other, 0)
            foreign = Log(new_id(f"foreign-{number}"), time.time())
            foreign.accept(["a"])
            # Of another tenant: nobody here reads them.
            self._lab.emit(*foreign.events, tenant="others")
            sent, number = len(log.events), number + 1
            time.sleep(0.08)
        log.add("execution.completed", seconds=0.0)
        self._send(log, sent)
        self._lab.flush()

    def _send(self, log: Log, begin: int) -> None:
        self._lab.emit(*log.events[begin:])
        self.written += [(event.execution_id, event.seq) for event in log.events[begin:]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_gap_and_no_duplicate_over_two_hundred_reconnects(
    lab: LiveLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While events flow, the sink is away for a time, memory is short, and the API starts anew."""
    monkeypatch.setattr(held, "EVENT_RECORDS", 400)
    followed = new_id("followed")
    writing = Writing(lab, followed)
    with ExitStack() as running:
        sink = running.enter_context(ExitStack())
        sink.enter_context(lab.sink())
        first = running.enter_context(ExitStack())
        apis = [first.enter_context(lab.api())]
        writing.start()
        eventually(lambda: len(writing.written) > 100, "events flow")

        def has_ended(said: list[Said]) -> bool:
            return bool(said) and said[-1].kind == "end"

        def has_all(said: list[Said]) -> bool:
            return not writing.is_alive() and len(messages(said)) >= len(writing.written)

        readers = [
            Reconnecting(apis, f"/v1/executions/{followed}/live", 1, has_ended),
            Reconnecting(apis, "/v1/live", 2, has_all, first_id="0.0.0.0.0.0.0.0"),
            Reconnecting(apis, "/v1/live", 3, has_all, "acme/ci", first_id="0.0.0.0.0.0.0.0"),
        ]
        for reader in readers:
            reader.start()

        def connections() -> int:
            """Of the slowest reader; raises what has ended one of them."""
            for reader in readers:
                if reader.failure is not None:
                    raise reader.failure
            return min(reader.connections for reader in readers)

        eventually(lambda: connections() > RECONNECTS // 4, "a quarter")
        sink.close()
        eventually(lambda: connections() > RECONNECTS // 2, "half")
        first.close()
        apis[0] = running.enter_context(lab.api())
        running.enter_context(lab.sink())
        eventually(lambda: connections() >= RECONNECTS - 10, "nearly all")
        writing.end.set()
        writing.join()
        for reader in readers:
            reader.join(60)
            assert not reader.is_alive(), (len(messages(reader.said)), len(writing.written))
            assert reader.failure is None, reader.failure
            assert reader.connections >= RECONNECTS
    everything = Counter(writing.written)
    of_followed = [seq for ident, seq in writing.written if ident == followed]
    one, *tenant = readers
    assert [said.data["seq"] for said in messages(one.said)] == of_followed
    for reader in tenant:
        got = Counter(
            (said.data["execution_id"], said.data["seq"]) for said in messages(reader.said)
        )
        assert got == everything
        of_one: dict[str, int] = {}
        for said in messages(reader.said):
            before = of_one.get(said.data["execution_id"], 0)
            assert said.data["seq"] == before + 1
            of_one[said.data["execution_id"]] = said.data["seq"]
    kinds = {said.kind for reader in readers for said in reader.said}
    assert kinds <= {"message", "progress", "end", "cut"}, kinds
