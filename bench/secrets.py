"""The cost of secrets: of an attempt without any, and of masking what attempts write.

`python -m bench.secrets` prints microseconds per attempt and per 64 KiB of output, the best of
several rounds; it starts no process and needs no broker of Kafka.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from drivers.context import RunContext
from drivers.known_secrets import KnownSecrets
from drivers.masking import Masker
from drivers.output import Stream
from drivers.registry import DRIVERS
from drivers.resources import Resources
from drivers.secret_places import placed
from drivers.secret_use import Resolved, Use
from processors.executors.binding import binder
from processors.executors.resolving import Unresolved, resolved
from runtime.pattern_matcher import patterns_of
from runtime.settings import ExecutorSettings
from streams.commands import StepCommand
from streams.reports import SecretUse
from toolmeta import registry
from toolmeta.secret_references import SecretPath, pointers

_ROUNDS: Final = 7
_TIMES: Final = 2_000
_PIECE: Final = 64 * 1024


class _Nowhere:
    """An output that keeps nothing."""

    async def write(self, stream: Stream, data: bytes) -> None:
        """Do nothing."""


class _Known:
    """A source that has every secret at once: what is left is the work around it."""

    async def resolve(self, path: SecretPath, use: Use) -> Resolved:
        """Always the same value."""
        return Resolved("w7-f3akzq9x-quartz", "bench")


def main() -> None:
    """Measure and print."""
    asyncio.run(_attempts())
    _masking()


def _command(parameters: dict[str, Any]) -> StepCommand:
    now = datetime.now(UTC)
    return StepCommand(
        execution_id="01989c2a-7c00-8abc-9def-0123456789ab", step="one", attempt=1, tool="curl",
        domain="automation", parameters=parameters, tenant="default", actor="bench",
        environment="dev", timeout_seconds=60.0, lease_seconds=30.0, dispatched_at=now,
        expires_at=now + timedelta(minutes=5), secret_paths=pointers(parameters),
    )  # fmt: skip


async def _attempts() -> None:
    """What is done for secrets at the claim, at the beginning and with the result."""
    registered = registry.load()
    tool = registered.get("curl")
    assert tool is not None
    bind = binder(registered, DRIVERS)
    url = "https://example.org/health"
    without = _command({"url": url})
    having = _command({"url": url, "headers": {"X-Key": {"type": "secret", "path": "env/KEY"}}})
    own = ExecutorSettings(environment="dev")
    resources = Resources(own, _Known())
    patterns = patterns_of(own)
    answer = {"status": 200, "headers": {"content-type": "application/json"}, "json": {"ok": True}}
    _print("bind an attempt without secrets", await _best(lambda: bind(without)))
    _print("  of that, look for references", await _best(lambda: placed(tool, without)))
    _print("bind an attempt with one", await _best(lambda: bind(having)))
    known = resources.secrets.known
    masker = Masker((), known, patterns)
    _print("mask a small result", await _best(lambda: masker.value(answer)))

    async def told(uses: Sequence[SecretUse]) -> None:
        assert len(uses) == 1

    found = bind(having)
    assert isinstance(found, Unresolved)

    async def begun() -> None:
        context = RunContext(having, _Nowhere(), resources, lambda percent, note: None)
        context.secrets_used = told
        await resolved(found, context)

    _print("resolve one, without the broker's and Kafka's time", await _best(begun))
    await resources.close()


def _print(what: str, microseconds: float) -> None:
    print(f"{what:52} {microseconds:8.1f} us")


async def _best(act: Callable[[], Any]) -> float:
    """Microseconds of one call, in the best round."""
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(_TIMES):
            done = act()
            if asyncio.iscoroutine(done):
                await done
        rounds.append((time.perf_counter() - began) / _TIMES * 1e6)
    return min(rounds)


def _masking() -> None:
    """64 KiB of a log, and the worst text: base64 without an end."""
    line = "2026-11-20T07:00:00Z web-01 nginx[812]: GET /health 200 0.004 bytes=512 id={}\n"
    log = "".join(line.format(number) for number in range(1_000)).encode()[:_PIECE]
    dense = base64.b64encode(bytes(number * 7 % 251 for number in range(_PIECE)))[:_PIECE]
    patterns = patterns_of(ExecutorSettings(environment="dev"))
    for secrets in (0, 1, 20, 200):
        known = KnownSecrets(f"secret-{number:04}-w7f3akzq9x" for number in range(secrets))
        for text, data in (("log", log), ("base64", dense)):
            values = _masked(Masker((), known), data)
            both = _masked(Masker((), known, patterns), data)
            print(
                f"64 KiB of {text:6} and {secrets:3} known secrets  {values:8.0f} us by value,"
                f" {both:8.0f} us with patterns"
            )


def _masked(masker: Masker, data: bytes) -> float:
    masker.split(data)
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        masker.split(data)
        rounds.append((time.perf_counter() - began) * 1e6)
    return min(rounds)


if __name__ == "__main__":
    main()
