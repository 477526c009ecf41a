"""Rates: who waits for which limit, what is shown of it, and what a service may ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from drivers.context import HoldReason, RunContext
from drivers.output_quota import OutputQuota
from drivers.pacing import Pacing
from drivers.resources import Resources
from runtime import clock
from runtime.quotas import Quotas, TenantQuota
from runtime.rates import DEFAULTS, RateLimit, RateLimits
from runtime.settings import ExecutorSettings, SettingsError, load
from tests.driver_kit import RecordedOutput, command, settings, until


class Held:
    """A context of a step that keeps why it was held back."""

    def __init__(self, **changed: Any) -> None:
        self.messages: list[str] = []
        self.context = RunContext(
            command(**changed), RecordedOutput(), Resources(settings()), lambda percent, note: None
        )
        self.context.hold = self._hold

    @contextmanager
    def _hold(self, reason: HoldReason, message: str) -> Iterator[None]:
        assert reason == "rate_limit"
        self.messages.append(message)
        yield


def limits(*found: RateLimit) -> Pacing:
    return Pacing(RateLimits(limits=found))


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


def test_each_tenant_has_a_bucket_of_its_own() -> None:
    async def body() -> None:
        pacing = limits(RateLimit(name="fair", per=("tenant",), per_second=0.01, burst=1))
        first, second, other = Held(tenant="a"), Held(tenant="a"), Held(tenant="b")
        await pacing.step(first.context)
        await pacing.step(other.context)
        waiting = asyncio.create_task(pacing.step(second.context))
        await until(lambda: bool(second.messages))
        assert first.messages == other.messages == []
        (message,) = second.messages
        assert "rate limit fair: 0.01 a second for tenant a" in message
        assert "until 20" in message and message.count("T") >= 1
        waiting.cancel()

    run(body)


@pytest.mark.parametrize(
    ("limit", "same", "different"),
    [
        ({"per": ("tool",)}, {"tool": "df"}, {"tool": "ls"}),
        ({"per": ("target",)}, {"target": "db-1"}, {"target": "db-2"}),
        ({"per": ("tool", "tenant")}, {"tool": "df", "tenant": "a"}, {"tool": "df", "tenant": "b"}),
        ({"tools": ("aws*",)}, {"tool": "aws_ec2"}, {"tool": "df"}),
        ({"targets": ("db-*",)}, {"target": "db-1"}, {"target": "web-1"}),
        ({"tenants": ("a",)}, {"tenant": "a"}, {"tenant": "b"}),
    ],
)
def test_what_shares_a_limit(
    limit: dict[str, Any], same: dict[str, Any], different: dict[str, Any]
) -> None:
    async def body() -> None:
        pacing = limits(RateLimit(name="x", per_second=0.01, burst=1, **limit))
        await pacing.step(Held(**same).context)
        await pacing.step(Held(**different).context)
        held = Held(**same)
        waiting = asyncio.create_task(pacing.step(held.context))
        await until(lambda: bool(held.messages))
        waiting.cancel()

    run(body)


def test_a_receiver_that_asks_to_be_left_alone_is_by_the_whole_tenant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        pacing, now = limits(), 1_000.0
        monkeypatch.setattr(clock, "monotonic", lambda: now)
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            nonlocal now
            slept.append(seconds)
            now += seconds

        monkeypatch.setattr(asyncio, "sleep", sleep)
        other, same, stranger = Held(), Held(), Held(tenant="stranger")
        pacing.pause(same.context, "hooks.example.org", "", 30.0)
        await pacing.receiver(stranger.context, "hooks.example.org")
        assert stranger.messages == []
        await pacing.receiver(other.context, "other.example.org")
        await pacing.receiver(same.context, "hooks.example.org", shown="the webhook")
        assert other.messages == []
        assert slept == [30.0]
        (message,) = same.messages
        assert message.startswith("the webhook asked to be left alone until 20")
        await pacing.receiver(same.context, "hooks.example.org")
        assert len(same.messages) == 1, "the pause is over"

    run(body)


def test_probes_of_every_kind_share_one_rate_by_default() -> None:
    async def body() -> None:
        # As by default, but so slow that nothing is free again before the test ends.
        pacing = limits(*(one.model_copy(update={"per_second": 0.001}) for one in DEFAULTS))
        for number in range(50):
            first = Held(tool=("ping", "dig")[number % 2], tenant=str(number), target=str(number))
            await pacing.step(first.context)
            assert first.messages == []
        held, other = Held(tool="traceroute", tenant="x", target="x"), Held(tool="df")
        waiting = asyncio.create_task(pacing.step(held.context))
        await until(lambda: bool(held.messages))
        assert held.messages[0].startswith("rate limit probes: 0.001 a second from this executor")
        await pacing.step(other.context)
        assert other.messages == []
        waiting.cancel()

    run(body)


def test_a_path_that_is_a_secret_is_not_kept() -> None:
    async def body() -> None:
        pacing = limits(*DEFAULTS)
        held = Held(tool="slack_cli")
        for _ in range(5):
            await pacing.receiver(
                held.context, "hooks.slack.com", "/services/T0/B0/s3cr3t", "Slack"
            )
        await pacing.receiver(held.context, "hooks.slack.com", "/services/T0/B0/other", "Slack")
        waiting = asyncio.create_task(
            pacing.receiver(held.context, "hooks.slack.com", "/services/T0/B0/s3cr3t", "Slack")
        )
        await until(lambda: bool(held.messages))
        pacing.pause(held.context, "hooks.slack.com", "/services/T0/B0/s3cr3t", 5.0)
        kept = f"{held.messages} {list(pacing._paused)} {list(pacing._limiter._buckets)}"
        assert "s3cr3t" not in kept
        assert "receiver Slack" in held.messages[0]
        waiting.cancel()

    run(body)


def test_pauses_are_bounded() -> None:
    async def body() -> None:
        pacing, held = limits(), Held()
        for number in range(10_100):
            pacing.pause(held.context, f"h{number}", "", 10.0)
        assert len(pacing._paused) == 10_000

    run(body)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"name": "a"}]', "limits.0.per_second: Field required"),
        ('[{"name": "a", "per_second": 0}]', "greater than 0"),
        ('[{"name": "A", "per_second": 1}]', "limits.0.name"),
        ('[{"name": "a", "per_second": 1, "per": ["actor"]}]', "limits.0.per.0"),
        ('[{"name": "a", "per_second": 1}, {"name": "a", "per_second": 2}]', "the same name"),
        ('[{"name": "a", "per_second": 1, "brst": 2}]', "limits.0.brst"),
        ("/no/such/file", "neither JSON nor a file"),
        ("[{", "not valid YAML or JSON"),
    ],
)
def test_a_wrong_setting_is_said_in_one_line(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTREAM_ENVIRONMENT", "dev")
    monkeypatch.setenv("RUNSTREAM_RATE_LIMITS", text)
    with pytest.raises(SettingsError) as caught:
        load(ExecutorSettings)
    assert str(caught.value).startswith("RUNSTREAM_RATE_LIMITS: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_read_and_a_default_is_replaced_by_its_name(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rates.yaml"
    file.write_text("- {name: slack, tools: [slack_cli], per: [receiver], per_second: 0.5}\n")
    monkeypatch.setenv("RUNSTREAM_ENVIRONMENT", "dev")
    monkeypatch.setenv("RUNSTREAM_RATE_LIMITS", str(file))
    found = load(ExecutorSettings).rate_limits.limits
    assert [one.per_second for one in found if one.name == "slack"] == [0.5]
    assert {one.name for one in found} == {one.name for one in DEFAULTS}
    monkeypatch.setenv("RUNSTREAM_RATE_LIMITS", "{limits: []}")
    assert load(ExecutorSettings).rate_limits.limits == ()


def test_output_beyond_the_quota_of_a_day_is_counted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    small = TenantQuota(output_bytes_per_day=100)
    quota = OutputQuota(Quotas(tenants={"a": small}))
    monkeypatch.setattr(clock, "now", lambda: 86_400.0 * 20_000)
    assert (quota.take("a", 60), quota.take("a", 60), quota.take("a", 1)) == (60, 40, 0)
    assert quota.take("b", 10_000) == 10_000
    monkeypatch.setattr(clock, "now", lambda: 86_400.0 * 20_001)
    assert quota.take("a", 60) == 60
