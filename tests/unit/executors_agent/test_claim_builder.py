"""What a batch of commands adds to a claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from processors.executors.claim_builder import CLAIM_DECISIONS, ClaimBuilder
from processors.executors.reports import Reports
from streams import report_lines
from streams.commands import StepCommand
from streams.envelope import HOPS, SIGNATURE
from tests.unit.executors_agent.test_claim import FINE, command
from tests.unit.executors_agent.test_reports import no_tokens
from toolmeta.invocation import Invocation


@dataclass
class Command:
    """A consumed record."""

    raw: bytes
    given: list[tuple[str, bytes]]
    appended_ms: int

    def topic(self) -> str:
        return "p.steps.test"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 9

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return self.raw

    def headers(self) -> list[tuple[str, bytes]]:
        return self.given

    def timestamp(self) -> tuple[int, int]:
        return 2, self.appended_ms


def claiming(
    bind: Any = lambda command: FINE, refuse: Any = lambda *given: None, **given: Any
) -> ClaimBuilder:
    log: Any = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])
    return ClaimBuilder(
        Reports("one", no_tokens), "group", "p.steps.test", "p.steps.reports", "dev",
        lambda attempt: None, set().__contains__, bind, lambda topic: 8, log, refuse,
        lambda command: None, **given,
    )  # fmt: skip


def record(ms: int = 0, **changed: Any) -> Any:
    headers = changed.pop("headers", [])
    return Command(orjson.dumps(command(**changed)), headers, ms)


def told(made: ClaimBuilder) -> list[Any]:
    """The reports in the records of a claim."""
    values = [(output.value or b"", output.headers) for output in made.outputs()
              if output.topic == "p.steps.reports"]  # fmt: skip
    lines = [report_lines.split(value, headers) or [value] for value, headers in values]
    return [orjson.loads(line) for record in lines for line in record]


def raises_for_two(step: StepCommand) -> Invocation:
    if step.attempt == 2:
        raise KeyError("a defect")
    return FINE


def test_a_command_on_which_the_decision_raises_costs_that_command_only(monkeypatch: Any) -> None:
    monkeypatch.setattr("runtime.clock.now", lambda: 1_795_000_000.0)
    sent = 1_795_000_000_000
    made = claiming(raises_for_two)
    decisions = [made.add(record(sent, attempt=attempt)) for attempt in (1, 2, 3)]
    assert decisions == ["started", "dead_letter", "started"]
    assert set(decisions) <= set(CLAIM_DECISIONS)
    *reports, letter = made.outputs()
    assert [report.topic for report in reports] == ["p.steps.reports"]
    assert [one["attempt"] for one in told(made)] == [1, 3]
    assert letter.topic == "p.steps.test.dlq" and made.dead_letters == 1
    assert letter.partition == 3 and dict(letter.headers)["runstream-error-class"] == (
        b"decision_failed"
    )


def test_validity_counts_from_the_append_unless_a_dead_letter_was_sent_again(
    monkeypatch: Any,
) -> None:
    # Valid for 120 s; this clock is an hour ahead of the broker's, and of what the command says.
    appended = 1_795_200_000.0
    monkeypatch.setattr("runtime.clock.now", lambda: appended + 3_600 + 30)
    ms = int(appended * 1_000)
    assert claiming(clock_ahead=3_600.0).add(record(ms)) == "started"
    again = record(ms, headers=[(HOPS, b"1")])
    assert claiming(clock_ahead=3_600.0).add(again) == "refused_expired"


def test_a_forged_command_is_a_dead_letter_and_a_report_that_ends_nothing() -> None:
    made = claiming(refuse=lambda *given: "it is not signed")
    assert made.add(record()) == "not_authentic"
    assert not made.starts and made.dead_letters == 0
    assert made.letter_classes == {"not_authentic": 1}
    report, letter = made.outputs()
    assert orjson.loads(report.value or b"")["type"] == "rejected_command"
    assert dict(letter.headers)["runstream-error-class"] == b"not_authentic"


def test_reports_of_a_claim_are_signed_and_dead_letters_are_not() -> None:
    made = claiming(refuse=lambda message, headers, step: "forged" if step.attempt == 2 else None)
    made.add(record(attempt=1))
    made.add(record(attempt=2))
    signed = [SIGNATURE in dict(output.headers) for output in made.outputs()]
    assert signed == [True, False]
    assert [one["attempt"] for one in told(made)] == [1, 2]


def test_a_copy_of_a_command_in_the_same_batch_is_not_started_again(monkeypatch: Any) -> None:
    monkeypatch.setattr("runtime.clock.now", lambda: 1_795_000_000.0)
    sent = 1_795_000_000_000
    made = claiming()
    assert [made.add(record(sent)) for _ in range(3)] == ["started", "repeated", "repeated"]
    assert len(made.starts) == 1
    reports = told(made)
    assert [report["type"] for report in reports] == ["started", *["rejected_command"] * 2]
    assert reports[1]["message"] == "the attempt was claimed here before: a copy"
