"""Writing: events, commands, changelog and dead letters as records with their headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import orjson
from confluent_kafka import Message
from prometheus_client import Counter

from processors.router.turn import Dispatch, Exhaust, Stop
from runtime import clock
from runtime.kafka import dead_letters
from runtime.kafka.processor import Output
from streams.envelope import FORWARDED, Headers, header, headers
from streams.events import EVENT_TYPES, TERMINAL_EVENTS
from streams.ids import attempt_id, route_of
from streams.topics import EVENTS, EXECUTORS_CONTROL, ROUTER_STATE, Topic

SOURCE: Final = "runstream/router"
#: The headers that every event has alike; see streams/envelope.py for what they are.
_CONSTANT: Final = tuple(
    pair
    for pair in headers(ident="", kind="", source=SOURCE, time="", subject="")
    if pair[0] in ("ce_source", "ce_specversion", "content-type")
)

_TYPES: Final = {kind: f"runstream.{kind}.v1".encode() for kind in EVENT_TYPES}

_EVENTS = Counter("runstream_events_total", "Events written")
_ENDED = Counter("runstream_executions_ended_total", "Executions by how they ended", ["status"])
_STEPS = Counter("runstream_steps_dispatched_total", "Attempts dispatched", ["domain"])


@cache
def _dispatched(domain: str) -> Counter:
    """The counter of a domain; looking it up by label each time costs more than the count."""
    return _STEPS.labels(domain)


@dataclass(frozen=True, slots=True)
class Writer:
    """Turns what was decided into records."""

    prefix: str
    group: str

    def events(self, out: Output, events: list[dict[str, Any]], partition: int) -> None:
        """Write the events of one execution under its route key."""
        execution_id = events[0]["execution_id"]
        subject = execution_id.encode()
        key = route_of(execution_id).encode()
        for event in events:
            kind = event["type"]
            given: Headers = [
                ("ce_id", b"%b:%d" % (subject, event["seq"])),
                ("ce_type", _TYPES[kind]),
                ("ce_time", event["at"].encode()),
                ("ce_subject", subject),
                *_CONSTANT,
            ]
            out.send(EVENTS, key, orjson.dumps(event), given, partition)
            if kind in TERMINAL_EVENTS:
                _ENDED.labels(kind.removeprefix("execution.")).inc()
        _EVENTS.inc(len(events))

    def dispatch(self, out: Output, effect: Dispatch, now: float) -> None:
        """Put a step command on its domain topic."""
        command = effect.command
        out.send(
            effect.topic,
            effect.key.encode(),
            orjson.dumps(command),
            self._command_headers(command, "step.command", now),
        )
        _dispatched(command["domain"]).inc()

    def stop(self, out: Output, effect: Stop, now: float) -> None:
        """Tell every executor that an attempt must end."""
        command = effect.command
        ident = attempt_id(command["execution_id"], command["step"], command["attempt"])
        out.send(
            EXECUTORS_CONTROL,
            ident.encode(),
            orjson.dumps(command),
            self._command_headers(command, "step.cancel", now),
        )

    def exhaust(self, out: Output, effect: Exhaust, now: float) -> None:
        """Park a step that failed for the last time, with all its attempts."""
        last = effect.failures[-1]["error"]
        letter = dead_letters.exhausted(
            self.prefix + effect.topic.name,
            effect.key.encode(),
            orjson.dumps({**effect.command, "attempts": effect.failures}),
            message_text=f"{effect.command['attempt']} attempts failed: {last['message']}",
            attempt=effect.command["attempt"],
            app=self.group,
            headers=list(self._command_headers(effect.command, "step.command", now)),
        )
        self._letter(out, letter, effect.topic, dead_letters.RETRIES_EXHAUSTED)

    def dead_letter(
        self, out: Output, topic: Topic, message: Message, error_class: str, text: str
    ) -> None:
        """Park a record that cannot be decided about, unchanged."""
        letter = dead_letters.dead_letter(
            self.prefix + topic.name,
            message,
            error_class=error_class,
            message_text=text,
            stage="decide",
            group=self.group,
        )
        self._letter(out, letter, topic, error_class)

    def _letter(
        self, out: Output, letter: dead_letters.DeadLetter, topic: Topic, error_class: str
    ) -> None:
        partition = -1 if letter.partition is None else letter.partition
        given: Any = letter.headers
        out.send_named(letter.topic, letter.key, letter.value, given, partition)
        dead_letters.WRITTEN.labels(topic.name, error_class).inc()

    def forward(self, out: Output, topic: Topic, message: Message, route: str, home: int) -> None:
        """Send a record on to the partition where its execution lives, once."""
        given: Any = message.headers() or []
        if header(given, FORWARDED) is not None:
            text = "it was forwarded before and still is not where it belongs"
            self.dead_letter(out, topic, message, "misrouted", text)
            return
        kept = [(name, value) for name, value in given if value is not None]
        value: Any = message.value()
        out.send(topic, route.encode(), value, [*kept, (FORWARDED, b"1")], home)

    def changelog(
        self, out: Output, partition: int, pieces: Iterable[tuple[bytes, bytes | None]]
    ) -> None:
        """Write changelog records to the partition whose state they are."""
        for key, value in pieces:
            out.send(ROUTER_STATE, key, value, None, partition)

    def _command_headers(self, command: dict[str, Any], kind: str, now: float) -> Headers:
        subject = command["execution_id"]
        return [
            ("ce_id", attempt_id(subject, command["step"], command["attempt"]).encode()),
            ("ce_type", f"runstream.{kind}.v1".encode()),
            ("ce_time", clock.iso(now).encode()),
            ("ce_subject", subject.encode()),
            *_CONSTANT,
        ]
