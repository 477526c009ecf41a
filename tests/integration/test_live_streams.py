"""Live streams on a real broker and database: what readers see, and what ends a stream."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from prometheus_client import REGISTRY

from api.live import connection, reading, response, watch
from streams.events import encode_event
from streams.ids import route_of
from streams.topics import OUTPUT, PROGRESS
from tests.integration.live_lab import TOPICS, Api, Browser, LiveLab, Said, eventually, new_id
from tests.unit.progress.histories import Log


@pytest.fixture
def lab(kafka: str, database: str, topics: Callable[..., str]) -> Iterator[LiveLab]:
    yield LiveLab(kafka, database, topics(*TOPICS))


class Following(threading.Thread):
    """A reader of one stream to its end."""

    def __init__(self, api: Api, path: str, who: str = "acme/reader", last_id: str | None = None):
        super().__init__(daemon=True)
        self._api, self._path, self._who, self._last_id = api, path, who, last_id
        self.said: list[Said] = []
        self.first_byte: float | None = None
        self.status = 0

    def run(self) -> None:
        browser, began = Browser(), time.monotonic()
        with self._api.stream(self._path, self._who, self._last_id) as answer:
            self.status = answer.status_code
            for piece in answer.iter_raw():
                self.first_byte = self.first_byte or time.monotonic() - began
                self.said += browser.feed(piece)

    def messages(self) -> list[Any]:
        return [one.data for one in self.said if one.kind == "message"]

    def kinds(self) -> set[str]:
        return {one.kind for one in self.said}


@contextmanager
def following(api: Api, path: str, *given: str) -> Iterator[Following]:
    made = Following(api, path, *given)
    made.start()
    yield made
    made.join(30)
    assert not made.is_alive(), made.said[-3:]


def truth(log: Log) -> list[Any]:
    """The events as the router writes them."""
    return [orjson.loads(encode_event(event)) for event in log.events]


def test_an_execution_from_its_rows_to_its_end(
    lab: LiveLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing of the past is in memory.
    monkeypatch.setattr(reading, "_LATEST", dict.fromkeys(reading._LATEST, 0))
    ident = new_id("from-rows")
    log = Log(ident, time.time())
    log.accept(["a", "grün [0]"], environment="prod")
    for number in range(700):
        log.run(f"s{number}", 0.001)
    path = f"/v1/executions/{ident}/live"
    with lab.sink():
        lab.emit(*log.events)
        lab.flush()
        eventually(lambda: lab.stored(ident) == len(log.events), "the events are stored")
    # What follows lies on the topic only, until a reader has begun in the middle of it.
    stored = len(log.events)
    log.run("unstored", 0.0)
    lab.emit(*log.events[stored:])
    lab.flush()
    with lab.api() as api, following(api, path) as one:
        eventually(lambda: len(one.messages()) == len(log.events), "the past")
        key = route_of(ident).encode()
        lab.put(PROGRESS, ident.encode(), orjson.dumps({"seq": 3, "percent": 40.0}), key)
        lab.flush()
        eventually(lambda: "progress" in one.kinds(), "the snapshot")
        with following(api, path, "acme/reader", "2000") as late:
            eventually(lambda: "progress" in late.kinds(), "the latest snapshot comes at once")
            sent = len(log.events)
            log.add("execution.completed", seconds=0.0)
            lab.emit(*log.events[sent:])
            lab.put(PROGRESS, ident.encode(), orjson.dumps({"seq": sent + 1, "percent": 100}), key)
            lab.flush()
        assert [data["seq"] for data in late.messages()] == list(range(2001, sent + 2))
        one.join(10)
        assert one.messages() == truth(log)
        assert one.said[-1].kind == "end"
        shown = [said.data["percent"] for said in one.said if said.kind == "progress"]
        assert shown == [40.0, 100]
        # A browser that comes back is told to stay away.
        assert api.get(path, **{"Last-Event-ID": str(sent + 1)}).status_code == 204
        # Others have nothing to see, and are not told more.
        unknown = api.get(f"/v1/executions/{new_id('none', 1e9)}/live")
        for who in ("other/reader", "acme/dev-reader", "acme/stranger"):
            refused = api.get(path, who)
            assert refused.status_code == unknown.status_code == 404
            assert refused.json()["detail"] == unknown.json()["detail"]
        assert api.get(path, "acme/ci", **{"Last-Event-ID": "9999"}).status_code == 204


def test_an_execution_is_waited_for_and_an_answer_of_the_router_is_heard(lab: LiveLab) -> None:
    ident, foreign = new_id("soon"), new_id("foreign")
    log = Log(ident, time.time())
    log.accept(["a"])
    log.add("execution.cancelled", seconds=0.0)
    with (
        lab.api() as api,
        following(api, f"/v1/executions/{ident}/live") as one,
        following(api, f"/v1/executions/{foreign}/live") as other,
        following(api, "/v1/live?status=cancelled") as tenant,
    ):
        eventually(lambda: None not in (one.first_byte, other.first_byte), "both are waited for")
        eventually(lambda: tenant.first_byte is not None, "the tenant is followed")
        lab.emit(*log.events)
        stranger = Log(foreign, time.time())
        stranger.accept(["a"])
        lab.emit(*stranger.events, tenant="other")
        lab.flush()
        one.join(20)
        other.join(20)
        eventually(lambda: len(tenant.messages()) == 1, "the end is told")
        api.end_streams()
    assert one.messages() == truth(log)
    assert [said.kind for said in other.said] == ["problem"]
    assert other.said[0].data["status"] == 404
    assert tenant.messages() == truth(log)[-1:]
    assert tenant.said[-1].data["reason"] == "stopped"


def chunk(ident: str, number: int, text: str, begin: int, attempt: int = 1) -> bytes:
    return orjson.dumps(
        {"execution_id": ident, "step": "a", "attempt": attempt, "stream": "stdout",
         "index": number, "offset": begin, "text": text, "tenant": "acme"}
    )  # fmt: skip


def test_output_follows_like_tail(lab: LiveLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LATEST", dict.fromkeys(reading._LATEST, 0))
    ident = new_id("output")
    key = route_of(ident).encode()
    log = Log(ident, time.time())
    log.accept(["a"])
    log.add("step.dispatched", {"tool": "noop"}, step="a", attempt=1, seconds=0)
    log.add("step.started", {"executor": "e1"}, step="a", attempt=1, seconds=0)
    texts = [f"line {number} ü 1 ***\n" * 50 for number in range(60)]
    begins = [sum(len(text.encode()) for text in texts[:n]) for n in range(len(texts) + 1)]

    def put(*numbers: int) -> None:
        for number in numbers:
            lab.put(OUTPUT, key, chunk(ident, number, texts[number], begins[number]), key)
        lab.put(OUTPUT, key, chunk(ident, 0, "of another attempt", 0, 2), key)
        lab.put(OUTPUT, key, b"no chunk", key)
        lab.flush()

    path = f"/v1/executions/{ident}/steps/a/output/live"
    with lab.sink():
        lab.emit(*log.events)
        put(*range(40))
        count = f"SELECT count(*) FROM execution.output WHERE execution_id = '{ident}'"
        eventually(lambda: lab.ask(count) == 41, "the output is stored")
    put(40, 41)
    with (
        lab.api() as api,
        following(api, f"{path}?attempt=1") as whole,
        following(api, f"{path}?attempt=1&last=1500") as tail,
        following(api, f"{path}?attempt=1&last=0") as now,
        following(api, path, "acme/reader", "1-41") as resumed,
    ):
        eventually(lambda: len(whole.messages()) == 42, "what there is")
        put(42, 42, 41)
        eventually(lambda: whole.messages()[-1]["text"] == texts[42], "what comes")
        assert api.get(f"{path}?attempt=1", "other/reader").status_code == 404
        put(*range(43, 60))
        summary = {"bytes": begins[60], "sha256": "", "head": "", "tail": ""}
        ended = {"duration_seconds": 1.0, "stdout": summary}
        sent = len(log.events)
        log.add("step.succeeded", ended, step="a", attempt=1, seconds=0)
        lab.emit(*log.events[sent:])
        lab.flush()
        # A step that never begins has no output, and its stream ends with the execution.
        with following(api, f"/v1/executions/{ident}/steps/never/output/live") as never:
            eventually(lambda: never.first_byte is not None, "it is waited for")
            log.add("execution.completed", seconds=0)
            lab.emit(log.events[-1])
            lab.flush()
    assert [one.kind for one in never.said] == ["end"]
    assert "".join(data["text"] for data in whole.messages()) == "".join(texts)
    assert [data["index"] for data in whole.messages()] == list(range(60))
    assert all(data["attempt"] == 1 for data in whole.messages())
    assert [data["index"] for data in resumed.messages()] == list(range(41, 60))
    first = tail.messages()[0]["index"]
    assert begins[40] - begins[first] >= 1500 > begins[40] - begins[first + 1]
    assert [data["index"] for data in now.messages()] == list(range(40, 60))
    assert all(one.said[-1].kind == "end" for one in (whole, tail, now, resumed))


def test_a_reader_that_takes_nothing_is_cut_off_and_others_notice_nothing(
    lab: LiveLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.5)
    with lab.api() as api:
        slow = stuck(api, "/v1/live")
        before = endings("slow") + endings("stalled")
        with following(api, "/v1/live?type=step.*") as quick:
            eventually(lambda: quick.first_byte is not None, "the other reader has begun")
            sent = 0
            while endings("slow") + endings("stalled") == before:
                log = Log(new_id(f"load-{sent}"), time.time())
                log.accept(["a"])
                log.add(
                    "step.succeeded", {"duration_seconds": 1.0, "output": "x" * 20_000}, step="a",
                    attempt=1, seconds=0.0,
                )  # fmt: skip
                lab.emit(*log.events)
                lab.flush()
                sent += 1
                assert sent < 5_000
            eventually(lambda: len(quick.messages()) == sent, "the other reader has everything")
            eventually(lambda: api.connections() == 1, "its connection is gone")
            api.end_streams()
        slow.settimeout(10)
        received = b""
        try:
            while more := slow.recv(1 << 20):
                received += more
        except ConnectionResetError:
            pass
        slow.close()
        assert len(received) < 16 * 1024 * 1024
        assert quick.said[-1].data["reason"] == "stopped"


def stuck(api: Api, path: str) -> socket.socket:
    """A connection whose reader reads nothing after the first bytes."""
    found = urlsplit(api.url)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.connect((found.hostname, found.port))
    made.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer acme/reader\r\n\r\n".encode()
    )
    assert made.recv(200).startswith(b"HTTP/1.1 200")
    return made


def endings(ending: str) -> float:
    labels = {"stream": "tenant", "ending": ending}
    return REGISTRY.get_sample_value("runstream_live_streams_ended_total", labels) or 0.0


def test_limits_of_streams_and_a_token_that_is_revoked(
    lab: LiveLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BEAT_SECONDS", 0.2)
    with lab.api(live_streams=3, live_streams_per_caller=2) as api:
        open_ones = [Following(api, "/v1/live", who) for who in ("acme/reader", "acme/READER")]
        for one in open_ones:
            one.start()
        eventually(lambda: all(one.first_byte for one in open_ones), "two streams")
        refused = api.get("/v1/live")
        assert (refused.status_code, refused.json()["type"]) == (
            429, "urn:runstream:problem:too_many_streams",
        )  # fmt: skip
        assert refused.headers["retry-after"] == "10"
        third = Following(api, "/v1/live", "acme/reader-3")
        third.start()
        eventually(lambda: third.first_byte is not None, "the third stream")
        assert api.get("/v1/live", "acme/reader-4").status_code == 503
        api.revoked.add("reader")
        open_ones[0].join(10)
        assert open_ones[0].said[-1].data["reason"] == "token"
        assert api.get("/v1/live", "acme/nobody").status_code == 403
        assert api.get("/v1/live?after=1.2.3").status_code == 422
        assert api.get("/v1/live", **{"Last-Event-ID": "x" * 300}).status_code == 422
        # Offsets that were never given out: so far behind, or ahead, that nothing can be resumed.
        with following(api, "/v1/live", "acme/reader-9", "f.f.f.f.f.f.f.f") as lost:
            eventually(lambda: "reset" in lost.kinds(), "the place is reset")
            api.end_streams()
