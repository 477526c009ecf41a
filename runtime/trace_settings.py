"""Settings of traces: the standard variables of OpenTelemetry, as far as they are read here.

They are no part of what every process and command reads: other programs of a machine have them too,
and where no receiver is named nothing of Runstream may fail by them.

The rest of them its exporter reads by itself: OTEL_EXPORTER_OTLP_TIMEOUT,
OTEL_EXPORTER_OTLP_COMPRESSION, OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_RESOURCE_ATTRIBUTES and others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.trace_context import NO_SPAN, TraceContext, new_trace, parsed

Sampler = Literal[
    "always_on", "always_off", "traceidratio",
    "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
]  # fmt: skip
_PATH: Final = "/v1/traces"
#: Without one of these there are no traces.
RECEIVERS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
#: What it wants to know of who sends: secrets.
RECEIVER_HEADERS: Final = frozenset(
    {"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"}
)
#: A sampler by ratio compares this many bits of the trace id.
_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which traces are recorded, decided where an execution begins and kept to its end."""

    sampler: Sampler
    ratio: float

    def begin(self, parent: bytes | None, execution_id: str) -> TraceContext:
        """The trace of a new execution, with its producer's span where it has named one."""
        given = None if parent is None else parsed(parent)
        context = given or TraceContext(new_trace(execution_id), NO_SPAN, False)
        if given is not None and self.sampler.startswith("parentbased"):
            return given
        return context._replace(sampled=self._takes(context.trace_id))

    def _takes(self, trace_id: str) -> bool:
        if self.sampler.endswith("traceidratio"):
            return int(trace_id, 16) % (1 << _BITS) < round(self.ratio * (1 << _BITS))
        return self.sampler.endswith("always_on")


class TraceSettings(BaseSettings):
    """Where spans go, and of which traces."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, defer_build=True
    )

    otlp_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices(RECEIVERS[0]),
        pattern=r"^https?://[^\s/@]+(/\S*)?$|^$",
        description="OTLP receiver over HTTP (http://collector:4318); spans go to /v1/traces "
        "below it. Without it there are no traces (docs/tracing.md); the same for all processes",
    )
    otlp_traces_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices(RECEIVERS[1]),
        pattern=r"^https?://[^\s/@]+(/\S*)?$|^$",
        description="the whole URL for spans, in the place of the one before",
    )
    otlp_headers: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_HEADERS"),
        description="headers of each request to it, name=value, comma separated; a secret",
    )
    otlp_traces_headers: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
        description="the same for spans alone; a secret",
    )
    otlp_protocol: Literal["http/protobuf"] = Field(
        default="http/protobuf",
        validation_alias=AliasChoices(
            "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
        ),
        description="the only one that is spoken here",
    )
    traces_exporter: Literal["otlp", "none"] = Field(
        default="otlp",
        validation_alias=AliasChoices("OTEL_TRACES_EXPORTER"),
        description="none turns traces off",
    )
    sdk_disabled: bool = Field(
        default=False,
        validation_alias=AliasChoices("OTEL_SDK_DISABLED"),
        description="true turns traces off",
    )
    traces_sampler: Sampler = Field(
        default="parentbased_always_on",
        validation_alias=AliasChoices("OTEL_TRACES_SAMPLER"),
        description="which executions are traced; parentbased ones do as the producer's "
        "traceparent says, where there is one. The router decides",
    )
    traces_sampler_arg: float = Field(
        default=1.0,
        ge=0,
        le=1,
        validation_alias=AliasChoices("OTEL_TRACES_SAMPLER_ARG"),
        description="the part of all traces that a sampler by ratio takes",
    )
    span_queue: int = Field(
        default=2_048,
        ge=1,
        le=100_000,
        validation_alias=AliasChoices("OTEL_BSP_MAX_QUEUE_SIZE"),
        description="spans that wait for the receiver; further ones are dropped and counted",
    )
    span_batch: int = Field(
        default=512,
        ge=1,
        le=10_000,
        validation_alias=AliasChoices("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
        description="spans of one request",
    )
    span_delay_ms: int = Field(
        default=1_000,
        ge=10,
        le=60_000,
        validation_alias=AliasChoices("OTEL_BSP_SCHEDULE_DELAY"),
        description="how long spans wait for others of their request, in milliseconds",
    )
    service_name: str | None = Field(
        default=None,
        max_length=255,
        validation_alias=AliasChoices("OTEL_SERVICE_NAME"),
        description="name of the service in all spans; default is runstream-router, "
        "runstream-executor and so on",
    )

    @field_validator(
        *("otlp_protocol", "traces_exporter", "sdk_disabled", "traces_sampler"),
        *("traces_sampler_arg", "span_queue", "span_batch", "span_delay_ms"),
        mode="before",
    )
    @classmethod
    def _unset(cls, value: object, info: ValidationInfo) -> object:
        """An empty variable is as one that is not set, by the standard."""
        return cls.model_fields[info.field_name or ""].default if value == "" else value

    @property
    def spans_url(self) -> str | None:
        """Where spans go; None where there are no traces."""
        if self.sdk_disabled or self.traces_exporter == "none":
            return None
        if self.otlp_traces_endpoint:
            return self.otlp_traces_endpoint
        return f"{self.otlp_endpoint.rstrip('/')}{_PATH}" if self.otlp_endpoint else None

    @property
    def spans_headers(self) -> dict[str, str]:
        """The headers of each request; what is not name=value is left out, as the standard says."""
        given = self.otlp_traces_headers or self.otlp_headers
        found: dict[str, str] = {}
        for part in (given.get_secret_value() if given else "").split(","):
            name, sign, value = part.partition("=")
            if sign and name.strip():
                found[unquote(name.strip()).lower()] = unquote(value.strip())
        return found

    @property
    def spans_host(self) -> str:
        """The receiver's address as it may be shown: without path and query."""
        return urlsplit(self.spans_url or "").netloc

    @property
    def sampling(self) -> Sampling:
        """Which executions are traced."""
        return Sampling(self.traces_sampler, self.traces_sampler_arg)
