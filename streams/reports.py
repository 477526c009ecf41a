"""Reports: what an executor says about the attempts that it claimed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from streams.limits import MAX_ATTEMPTS, MAX_INTEGER

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Attempt = Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)]

_OPEN = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, defer_build=True)

#: Head and tail of a stream that stay in the result, each; the whole is in `execution.output`.
EXCERPT_BYTES = 4 * 1024


#: Why an attempt failed: a stable class for programs and one sentence for people. `transient` says
#: that a new attempt may succeed and is safe.
StepError = TypedDict(
    "StepError",
    {
        "class": Annotated[str, Field(max_length=64)],
        "message": Annotated[str, Field(max_length=2_000)],
        "transient": NotRequired[bool],
    },
)


@dataclass(slots=True)
class StreamSummary:
    """What is left of stdout or stderr in the result."""

    bytes: Annotated[Count, Field(description="total, as the program wrote it")]
    sha256: Annotated[str, Field(description="over the bytes that were published", max_length=64)]
    head: str
    tail: Annotated[str, Field(description="empty where the head is the whole")]
    lost_bytes: Annotated[
        Count, Field(description="of the total, those that could not be published")
    ] = 0


class _Report(BaseModel):
    model_config = _OPEN

    execution_id: str = Field(min_length=36, max_length=36)
    step: str = Field(min_length=1, max_length=128)
    attempt: Attempt
    executor: str = Field(description="the instance that holds the claim", max_length=256)


class Started(_Report):
    """The claim: written in one transaction with the command's offset, before any effect."""

    type: Literal["started"] = "started"


class Waiting(_Report):
    """Claimed, but held back by the executor: nothing has begun and no time limit runs."""

    type: Literal["waiting"] = "waiting"
    reason: Literal["target_limit", "rate_limit"]
    message: str = Field(max_length=500)


class Resumed(_Report):
    """What held a claimed attempt back is over: it begins now, and its time limit with it."""

    type: Literal["resumed"] = "resumed"


#: The most characters of each field of `SecretUse`; an executor cuts what is longer.
USE_LENGTHS: Final = {
    "path": 1_200, "parameter": 256, "rule": 80, "destination": 300, "address": 300,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SecretUse:
    """One secret that an attempt used: its name and where it goes, never its value."""

    path: Annotated[str, Field(max_length=USE_LENGTHS["path"])]
    parameter: Annotated[str, Field(max_length=USE_LENGTHS["parameter"])]
    rule: Annotated[
        str, Field(description="id of the rule that decided", max_length=USE_LENGTHS["rule"])
    ]
    destination: Annotated[
        str | None,
        Field(
            description="the host that gets it, where it is known",
            max_length=USE_LENGTHS["destination"],
        ),
    ] = None
    address: Annotated[
        str | None,
        Field(
            description="what is connected to for it, where the inventory has another one than "
            "the host's name",
            max_length=USE_LENGTHS["address"],
        ),
    ] = None


class SecretsUsed(_Report):
    """Secrets were resolved for the attempt; the broker has this before the attempt uses them."""

    type: Literal["secrets_used"] = "secrets_used"
    uses: list[SecretUse] = Field(min_length=1, max_length=100)


class Heartbeat(_Report):
    """The lease renewed, with what is known of the progress."""

    type: Literal["heartbeat"] = "heartbeat"
    percent: float | None = Field(default=None, ge=0, le=100)
    message: str | None = Field(default=None, max_length=500)
    bytes: Count = 0


class _Ended(_Report):
    duration_seconds: float = Field(ge=0, le=1e9)
    output: dict[str, Any] | None = None
    stdout: StreamSummary | None = None
    stderr: StreamSummary | None = None


class Succeeded(_Ended):
    """The attempt did what it should; `output` is what later steps may reference."""

    type: Literal["succeeded"] = "succeeded"


class Failed(_Ended):
    """The attempt ended without success; `timed_out` where the executor's clock ended it."""

    type: Literal["failed"] = "failed"
    error: StepError
    timed_out: bool = False
    denied: SecretUse | None = Field(
        default=None, description="the use of a secret that the executor refused, if that is why"
    )
    evidence: dict[str, Any] | None = Field(
        default=None, description="what was ended, where the executor ended the attempt"
    )


class Cancelled(_Ended):
    """The attempt was stopped; the evidence says what was ended and whether that is certain."""

    type: Literal["cancelled"] = "cancelled"
    confirmed: bool
    evidence: dict[str, Any] = Field(default_factory=dict)


class Refused(_Report):
    """The claim was not made: nothing was started and nothing will be."""

    type: Literal["refused"] = "refused"
    reason: Literal[
        "expired", "cancelled", "draining", "invalid", "environment", "not_approved", "fenced"
    ]
    message: str = Field(max_length=2_000)


class RejectedCommand(_Report):
    """A forged command or cancel, or a copy of a command, names this attempt.

    It says nothing about the attempt.
    """

    type: Literal["rejected_command"] = "rejected_command"
    record: Literal["command", "cancel"] = "command"
    message: str = Field(max_length=2_000)


AnyReport = (
    Started | Waiting | Resumed | SecretsUsed | Heartbeat | Succeeded | Failed | Cancelled | Refused
    | RejectedCommand
)  # fmt: skip
Report = Annotated[AnyReport, Field(discriminator="type")]
REPORT: TypeAdapter[AnyReport] = TypeAdapter(Report, config=ConfigDict(defer_build=True))


class OutputChunk(BaseModel):
    """A piece of what an attempt wrote, numbered per attempt and stream from 0."""

    model_config = _OPEN

    execution_id: str
    step: str
    attempt: Attempt
    stream: Literal["stdout", "stderr"]
    index: Count
    offset: Annotated[Count, Field(description="bytes of this stream before the chunk")]
    text: str = Field(description="UTF-8, undecodable bytes replaced, at most 64 KiB")
    tenant: str = "default"
