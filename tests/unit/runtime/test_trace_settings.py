"""The standard variables: when there are traces, where they go, and of which executions."""

from __future__ import annotations

import pytest

from runtime import settings, tracing
from runtime.settings import RouterSettings, SettingsError
from runtime.trace_settings import Sampling, TraceSettings
from streams.trace_context import NO_SPAN, new_trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> TraceSettings | None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return tracing.load()


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, None),
        ({ENDPOINT: ""}, None),
        ({ENDPOINT: "http://collector:4318"}, "http://collector:4318/v1/traces"),
        ({ENDPOINT: "https://collector/otlp/"}, "https://collector/otlp/v1/traces"),
        (
            {ENDPOINT: "http://a:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b:1/x"},
            "http://b:1/x",
        ),
        ({ENDPOINT: "http://a:4318", "OTEL_SDK_DISABLED": "true"}, None),
        ({ENDPOINT: "http://a:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
        (
            {ENDPOINT: "http://a:4318", "OTEL_TRACES_SAMPLER_ARG": "", "OTEL_SDK_DISABLED": ""},
            "http://a:4318/v1/traces",
        ),
    ],
)
def test_where_spans_go(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str | None
) -> None:
    found = loaded(monkeypatch, **variables)
    assert (None if found is None else found.spans_url) == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (ENDPOINT, "collector:4318"),
        (ENDPOINT, "http://user:password@collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
    ],
)
def test_a_wrong_value_stops_the_start_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(monkeypatch, **{ENDPOINT: "http://a:4318", name: value})
    assert str(refused.value).startswith(name)
    assert "password" not in str(refused.value)


def test_without_a_receiver_what_is_meant_for_others_is_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_SAMPLER": "jaeger_remote"}
    assert loaded(monkeypatch, **others) is None
    monkeypatch.setenv(ENDPOINT, "collector:4317")
    # A command reads no settings of traces at all.
    assert settings.load(RouterSettings).log_level == "info"


def test_headers_are_a_secret_and_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "Api-Key=a%20b, x=1=2,broken,=no"}
    found = loaded(monkeypatch, **{ENDPOINT: "http://a:4318"}, **headers)
    assert found is not None
    assert found.spans_headers == {"api-key": "a b", "x": "1=2"}
    assert "a%20b" not in repr(found)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in settings.secret_variables()


def _parent(sampled: bool) -> bytes:
    return f"00-{TRACE}-{SPAN}-{'01' if sampled else '00'}".encode()


@pytest.mark.parametrize("sampled", [True, False])
def test_a_parent_based_sampler_does_as_the_producer_says(sampled: bool) -> None:
    for rest in ("always_on", "always_off", "traceidratio"):
        context = Sampling(f"parentbased_{rest}", 0.5).begin(_parent(sampled), "any")  # type: ignore[arg-type]
        assert context == (TRACE, SPAN, sampled)


def test_without_a_parent_the_trace_begins_here() -> None:
    context = Sampling("parentbased_always_on", 1).begin(None, "execution")
    assert context == (new_trace("execution"), NO_SPAN, True)
    assert not Sampling("parentbased_always_off", 1).begin(None, "execution").sampled


def test_other_samplers_keep_the_trace_and_decide_themselves() -> None:
    assert Sampling("always_off", 1).begin(_parent(True), "any") == (TRACE, SPAN, False)
    assert Sampling("always_on", 1).begin(_parent(False), "any") == (TRACE, SPAN, True)


def test_a_ratio_takes_its_part_and_the_same_part_everywhere() -> None:
    quarter = Sampling("traceidratio", 0.25)
    taken = [number for number in range(4_000) if quarter.begin(None, str(number)).sampled]
    assert 850 < len(taken) < 1_150
    half = Sampling("traceidratio", 0.5)
    assert all(half.begin(None, str(number)).sampled for number in taken)
    assert not Sampling("traceidratio", 0).begin(None, "x").sampled
    assert Sampling("traceidratio", 1).begin(None, "x").sampled
