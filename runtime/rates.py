"""Rate limits, as `RUNSTREAM_RATE_LIMITS` has them: how often steps may act, and on what.

The defaults are what the services document of themselves; docs/limits.md names each source.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from runtime.documents import document

_MODEL = ConfigDict(extra="forbid", frozen=True, defer_build=True)
#: A name with `*` and `?`.
Glob = Annotated[str, Field(min_length=1, max_length=253)]


class RateLimit(BaseModel):
    """One limit: which steps it is for, which of them share it, and how often they may act."""

    model_config = _MODEL

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    tools: tuple[Glob, ...] = ("*",)
    tenants: tuple[Glob, ...] = ("*",)
    targets: tuple[Glob, ...] = ("*",)
    receivers: tuple[Glob, ...] = ("*",)
    #: What has a limit of its own; empty: all of these steps share one.
    per: tuple[Literal["tool", "target", "tenant", "receiver"], ...] = ()
    per_second: float = Field(gt=0, le=100_000, allow_inf_nan=False)
    #: How many may act at once after a pause.
    burst: int = Field(default=1, ge=1, le=100_000)

    @property
    def by_receiver(self) -> bool:
        """Whether it needs the receiver, which only the driver knows."""
        return "receiver" in self.per or self.receivers != ("*",)

    def is_for(self, tool: str) -> bool:
        """Whether steps of this tool can fall under it."""
        return _any(tool, self.tools)

    def matches(self, tool: str, tenant: str, target: str | None, receiver: str | None) -> bool:
        """Whether a step falls under it; a step without a target matches `*` only."""
        return (
            self.is_for(tool)
            and _any(tenant, self.tenants)
            and _any(target or "", self.targets)
            and _any(receiver or "", self.receivers)
        )


def _any(name: str, globs: tuple[str, ...]) -> bool:
    return globs == ("*",) or any(fnmatchcase(name, glob) for glob in globs)


def _limit(name: str, tools: str, per_second: float, burst: int, *per: Any) -> RateLimit:
    return RateLimit(
        name=name, tools=tuple(tools.split()), per=per, per_second=per_second, burst=burst
    )


DEFAULTS: Final = (
    # One message a second for each webhook, short bursts beyond it.
    _limit("slack", "slack_cli", 1.0, 5, "receiver"),
    # Four requests a second for each webhook.
    _limit("teams", "teams_cli", 4.0, 4, "receiver"),
    # 30 messages a minute (Exchange Online, client submission).
    _limit("mail", "sendmail", 0.5, 30, "receiver"),
    # No service in particular: our own bound.
    _limit("webhook", "webhook_sender", 5.0, 20, "receiver"),
    # Changing calls of EC2: a bucket of 50 that refills by 5 a second, for each account and region.
    _limit("aws", "aws aws_*", 5.0, 50, "tenant"),
    # Writes to Azure's resource manager: 200 and 10 a second for each subscription and principal.
    _limit("azure", "az az_*", 10.0, 200, "tenant"),
    # Programs that probe the network, all together: our own bound. One sends up to 640 packets.
    _limit("probes", "dig host nslookup openssl pg_isready ping traceroute", 10.0, 50),
    # 1,500 requests a minute for each project (Compute Engine).
    _limit("google", "gcloud gcloud_*", 25.0, 100, "tenant"),
)


class RateLimits(BaseModel):
    """Every limit of an executor; one of a default's name takes its place."""

    model_config = _MODEL

    limits: tuple[RateLimit, ...] = DEFAULTS

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        if not isinstance(given, list):
            return given
        named = {one.get("name") for one in given if isinstance(one, dict)}
        kept = [one for one in DEFAULTS if one.name not in named]
        return {"limits": [*given, *kept]}

    @model_validator(mode="after")
    def _names_differ(self) -> RateLimits:
        names = [one.name for one in self.limits]
        if len(set(names)) < len(names):
            raise ValueError("two limits have the same name")
        return self

    @cached_property
    def of_steps(self) -> tuple[RateLimit, ...]:
        """Those that are known before the driver acts."""
        return tuple(one for one in self.limits if not one.by_receiver)

    @cached_property
    def of_receivers(self) -> tuple[RateLimit, ...]:
        """Those that need the receiver."""
        return tuple(one for one in self.limits if one.by_receiver)


#: A setting that holds rate limits: a list.
RateLimitsSetting = Annotated[RateLimits, BeforeValidator(document)]
