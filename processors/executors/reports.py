"""Reports of attempts as bytes, made without building models.

The models of `streams.reports` say what is valid; a test holds everything made here against them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from drivers.context import HoldReason
from processors.executors import jsonable, shortening
from streams import envelope, ids
from streams.commands import StepCommand
from streams.limits import MAX_OUTPUT_BYTES
from streams.reports import USE_LENGTHS, SecretUse, StepError, StreamSummary
from streams.topics import REPORTS

#: Of the parts, as JSON text. With the output and the names of execution, step and executor they
#: stay below `limits.MAX_REPORT_BYTES`, whatever a tool returned, wrote or said.
_EXCERPT_BYTES: Final = 8 * 1024
_EVIDENCE_BYTES: Final = 12 * 1024
_MESSAGE_BYTES: Final = 8 * 1024
_MESSAGE: Final = 2_000
_NOTE: Final = 500

Record = tuple[bytes, bytes, envelope.Headers]
#: The signature of each value, in their order, for the topic of this name.
Tokens = Callable[[str, Sequence[bytes]], list[bytes]]


class Reports:
    """Builds the records of `steps.reports` of one executor."""

    def __init__(self, instance: str, tokens: Tokens) -> None:
        """`instance` is this process's name in every report; `tokens` signs them."""
        self.instance = instance
        self._tokens = tokens
        self.source = f"runstream/executor/{instance}"

    def record(
        self,
        command: StepCommand,
        kind: str,
        time: str,
        traceparent: bytes | None = None,
        number: int | None = None,
        **fields: Any,
    ) -> Record:
        """Key, value and headers of one report; `number` tells repeated kinds apart.

        The id is derived from the attempt, so a report that is sent twice has one id.
        """
        execution = command.execution_id
        body = {
            "type": kind,
            "execution_id": execution,
            "step": command.step,
            "attempt": command.attempt,
            "executor": self.instance,
            **fields,
        }
        ident = f"{execution}:{command.step}:{command.attempt}:{kind}"
        headers = envelope.headers(
            ident=ident if number is None else f"{ident}:{number}",
            kind=f"report.{kind}",
            source=self.source,
            time=time,
            subject=execution,
            traceparent=traceparent,
        )
        return ids.route_of(execution).encode(), orjson.dumps(body), headers

    def sign(self, made: Sequence[Record]) -> list[Record]:
        """These records with their signatures: together they cost little more than one."""
        tokens = self._tokens(REPORTS.name, [value for _, value, _ in made])
        return [
            (key, value, [*headers, (envelope.SIGNATURE, token)])
            for (key, value, headers), token in zip(made, tokens, strict=True)
        ]


def end_fields(
    duration_seconds: float,
    output: Mapping[str, Any] | None = None,
    stdout: StreamSummary | None = None,
    stderr: StreamSummary | None = None,
    *,
    text: bytes | None = None,
) -> dict[str, Any]:
    """The fields that every report of an end has; a field without a value is left out.

    `text` is `output` encoded, where that is known; it fits a report.

    Raises TypeError for an output that is no object.
    """
    fields: dict[str, Any] = {"duration_seconds": round(max(0.0, duration_seconds), 6)}
    if output is not None:
        if not isinstance(output, Mapping):
            raise TypeError("the output of a tool is an object")
        fields["output"] = orjson.Fragment(text or shortening.encode(output, MAX_OUTPUT_BYTES))
    if stdout is not None:
        fields["stdout"] = _excerpt(stdout)
    if stderr is not None:
        fields["stderr"] = _excerpt(stderr)
    return fields


def _excerpt(summary: StreamSummary) -> dict[str, Any]:
    """Control characters take six bytes of JSON each: an excerpt of them is cut further."""
    fields = asdict(summary)
    fields["head"] = jsonable.cut(summary.head, _EXCERPT_BYTES)
    fields["tail"] = jsonable.cut(summary.tail, _EXCERPT_BYTES, end=True)
    return fields


def error(error_class: str, message: str, transient: bool) -> StepError:
    """The `error` of a failed report."""
    return {
        "class": jsonable.text(error_class)[:64],
        "message": jsonable.cut(message[:_MESSAGE], _MESSAGE_BYTES),
        "transient": transient,
    }


def secret_use(use: SecretUse) -> dict[str, str | None]:
    """The use of a secret, granted or refused, cut to what a report may hold."""
    fields = asdict(use)
    return {
        name: None if text is None else text[: USE_LENGTHS[name]] for name, text in fields.items()
    }


def evidence(found: Mapping[str, Any]) -> orjson.Fragment:
    """The evidence of a cancel as JSON of bounded size."""
    return orjson.Fragment(shortening.encode(found, _EVIDENCE_BYTES))


def waiting(reason: HoldReason, message: str) -> dict[str, Any]:
    """The fields that say why an attempt does not begin yet."""
    return {"reason": reason, "message": jsonable.text(message)[:_NOTE]}


def progress(percent: float | None, message: str | None, total: int) -> dict[str, Any]:
    """The fields of a heartbeat."""
    fields: dict[str, Any] = {"bytes": total}
    # NaN compares false with everything and is left out.
    if percent is not None and 0 <= percent <= 100:
        fields["percent"] = percent
    if message is not None:
        fields["message"] = jsonable.text(message)[:_NOTE]
    return fields
