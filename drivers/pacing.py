"""How fast the steps of this process act: the limits of the settings, and what services ask for.

Every limit holds for one executor process: several processes together act as many times as fast.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import blake2b
from itertools import islice
from typing import Final, Literal, Protocol

from drivers.rate_limits import Rate, RateLimiter
from runtime import clock
from runtime.rates import RateLimit, RateLimits
from streams.commands import StepCommand

#: Receivers that asked for a pause and are remembered; then the oldest is forgotten.
_PAUSED: Final = 10_000


class Step(Protocol):
    """What is asked of a step: whose it is, and how it is held back."""

    @property
    def command(self) -> StepCommand:
        """The command of the attempt."""
        ...

    @property
    def hold(self) -> Callable[[Literal["rate_limit"], str], AbstractContextManager[None]]:
        """See `RunContext.hold`."""
        ...


class Pacing:
    """Holds attempts back (`step.waiting`, reason `rate_limit`) before they act; for one loop."""

    def __init__(self, limits: RateLimits) -> None:
        """Nothing was used yet."""
        self._limiter = RateLimiter()
        self._of_steps = limits.of_steps
        self._of_receivers = limits.of_receivers
        self._of_tool: dict[str, tuple[RateLimit, ...]] = {}
        self._rates = {one.name: Rate(one.per_second, one.burst) for one in limits.limits}
        #: Receiver → until when it asked to be left alone, in monotonic seconds.
        self._paused: OrderedDict[str, float] = OrderedDict()

    async def step(self, context: Step) -> None:
        """Return when a step of this tool, tenant and target may act."""
        tool = context.command.tool
        limits = self._of_tool.get(tool)
        if limits is None:
            # Only tools of the catalogue are claimed, so these are few.
            limits = tuple(one for one in self._of_steps if one.is_for(tool))
            self._of_tool[tool] = limits
        for limit in limits:
            await self._acquire(limit, context, None, "")

    async def receiver(self, context: Step, host: str, endpoint: str = "", shown: str = "") -> None:
        """Return when `host` may be sent something; each `endpoint` there has rates of its own.

        An endpoint (port, path) may hold a secret: only its digest is kept. `shown` names the
        receiver in messages.
        """
        key = _receiver(host, endpoint)
        shown = shown or host
        paused = _paused(context, key)
        while (left := self._paused.get(paused, 0.0) - clock.monotonic()) > 0:
            until = clock.iso(round(clock.now() + left, 3))
            message = f"{shown} asked to be left alone until {until} (Retry-After)"
            with context.hold("rate_limit", message):
                await asyncio.sleep(left)
        for limit in self._of_receivers:
            await self._acquire(limit, context, host, key, shown)

    def pause(self, context: Step, host: str, endpoint: str, seconds: float) -> None:
        """Send nothing of this tenant's to the receiver for so long: it said so.

        Of the tenant only: its login may be what is limited, and no other one should wait for that.
        """
        key = _paused(context, _receiver(host, endpoint))
        self._paused[key] = max(self._paused.get(key, 0.0), clock.monotonic() + seconds)
        self._paused.move_to_end(key)
        for old in list(islice(self._paused, max(0, len(self._paused) - _PAUSED))):
            del self._paused[old]

    async def _acquire(
        self,
        limit: RateLimit,
        context: Step,
        host: str | None,
        receiver: str,
        shown: str = "",
    ) -> None:
        command = context.command
        if not limit.matches(command.tool, command.tenant, command.target, host):
            return
        parts = {
            "tool": command.tool,
            "tenant": command.tenant,
            "target": command.target or "",
            "receiver": receiver,
        }
        key = "\n".join((limit.name, *(parts[name] for name in limit.per)))
        named = {**parts, "receiver": shown}
        whose = ", ".join(f"{name} {named[name]}" for name in limit.per)
        await self._limiter.acquire(key, self._rates[limit.name], _hold(context, limit, whose))


def _receiver(host: str, endpoint: str) -> str:
    text = endpoint.encode("utf-8", "replace")
    digest = blake2b(text, digest_size=12).hexdigest() if endpoint else ""
    return f"{host}#{digest}"


def _paused(context: Step, receiver: str) -> str:
    return f"{context.command.tenant}\n{receiver}"


def _hold(
    context: Step, limit: RateLimit, whose: str
) -> Callable[[int], AbstractContextManager[None]]:
    def hold(before: int) -> AbstractContextManager[None]:
        until = clock.iso(round(clock.now() + (before + 1) / limit.per_second, 3))
        for_whom = f" for {whose}" if whose else ""
        more = f"; {before} wait before this one" if before else ""
        return context.hold(
            "rate_limit",
            f"rate limit {limit.name}: {limit.per_second:g} a second{for_whom} from this "
            f"executor, so about until {until}{more}",
        )

    return hold
