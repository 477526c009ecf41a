"""How long Postgres keeps what: `RUNSTREAM_RETENTION`, read by the sink and `runstream retention`.

Nothing is deleted that no rule names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import NoDecode

from runtime.documents import document
from runtime.quotas import Tenant

RowClass = Literal["output", "attempts", "executions", "events", "dead_letters"]
CLASSES: Final[tuple[RowClass, ...]] = get_args(RowClass)
#: Days that must have passed. An ended execution may get events as long as its idempotency key is
#: remembered, seven days at most.
LEAST_DAYS: Final[dict[RowClass, int]] = {
    "output": 1, "attempts": 1, "executions": 8, "events": 8, "dead_letters": 1,
}  # fmt: skip
_MOST_DAYS: Final = 36_500
_MODEL: Final = ConfigDict(extra="forbid", frozen=True)


class RetentionFault(ValueError):
    """A run was asked for that no rule allows; the message is one sentence with the remedy."""


class Ages(BaseModel):
    """Days after the end of an execution at which its rows go; null keeps them."""

    model_config = _MODEL

    #: What attempts printed (table `output`).
    output_days: int | None = Field(default=None, ge=LEAST_DAYS["output"], le=_MOST_DAYS)
    #: The table `attempts`.
    attempts_days: int | None = Field(default=None, ge=LEAST_DAYS["attempts"], le=_MOST_DAYS)
    #: The execution with its steps, and what is left of its attempts and output.
    executions_days: int | None = Field(default=None, ge=LEAST_DAYS["executions"], le=_MOST_DAYS)
    #: The audit trail: `execution_events`, `audit` and `approvals`.
    events_days: int | None = Field(default=None, ge=LEAST_DAYS["events"], le=_MOST_DAYS)

    def days(self, name: RowClass) -> int | None:
        """The age of a class; None: kept."""
        days: int | None = getattr(self, f"{name}_days", None)
        return days


class Retention(BaseModel):
    """The ages of every tenant, and of those that have others."""

    model_config = _MODEL

    default: Ages = Field(default_factory=Ages)
    #: Of a tenant only what differs from `default` is named; null keeps its rows.
    tenants: dict[Tenant, Ages] = Field(default_factory=dict)
    #: Copies of dead letters (`execution_dlq`), of all tenants.
    dead_letters_days: int | None = Field(
        default=None, ge=LEAST_DAYS["dead_letters"], le=_MOST_DAYS
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, ages in (("default", self.default), *self._known.items()):
            where = name if name == "default" else f"tenants.{name}"
            whole, events = ages.executions_days, ages.events_days
            for part in ("output", "attempts"):
                days = ages.days(part)
                if whole is not None and days is not None and days > whole:
                    raise ValueError(
                        f"{where}: {part}_days ({days}) is longer than executions_days ({whole}), "
                        "with which they go; make it shorter, or leave it out"
                    )
            if events is not None and (whole is None or events < whole):
                kept = "for ever" if whole is None else f"{whole} days"
                raise ValueError(
                    f"{where}: events_days ({events}) is shorter than executions are kept "
                    f"({kept}), and the log is kept at least as long; set executions_days to "
                    f"{events} or less"
                )
        return self

    @cached_property
    def _known(self) -> dict[str, Ages]:
        return {
            tenant: self.default.model_copy(
                update={name: getattr(changed, name) for name in changed.model_fields_set}
            )
            for tenant, changed in self.tenants.items()
        }

    def of(self, tenant: str | None) -> Ages:
        """The ages of a tenant; None: of those that are not named."""
        return self.default if tenant is None else self._known.get(tenant, self.default)

    @property
    def is_empty(self) -> bool:
        """Whether it keeps everything."""
        return not any(rules(self, datetime.max))


@dataclass(frozen=True, slots=True)
class Rule:
    """What is to go: rows of a class whose executions ended before a moment."""

    rows: RowClass
    before: datetime
    #: None: every tenant but `others`.
    tenant: str | None = None
    others: tuple[str, ...] = ()
    #: Executions that ended before this go by a rule of the same run.
    executions_before: datetime | None = None
    #: Classes that go by a rule of the same run, at this age or earlier.
    apart: tuple[RowClass, ...] = ()


def rules(policy: Retention, now: datetime, tenant: str | None = None) -> Iterator[Rule]:
    """The rules of the policy, those of one tenant where it is given; executions before events."""
    named = (*sorted(policy.tenants), None) if tenant is None else (tenant,)
    for name in named:
        ages = policy.of(name)
        others = tuple(sorted(policy.tenants)) if name is None else ()
        whole = ages.executions_days
        gone = None if whole is None else now - timedelta(days=whole)
        apart = tuple(rows for rows in CLASSES if ages.days(rows) is not None)
        for rows in apart:
            days = ages.days(rows) or 0
            yield Rule(rows, now - timedelta(days=days), name, others, gone, apart)
    if tenant is None and policy.dead_letters_days is not None:
        yield Rule("dead_letters", now - timedelta(days=policy.dead_letters_days))


def rules_before(
    policy: Retention,
    now: datetime,
    before: datetime,
    wanted: Collection[RowClass],
    tenant: str | None = None,
) -> Iterator[Rule]:
    """The rules of one run by another age than the policy's; raises RetentionFault.

    The log is never deleted at a younger age than the policy says, whatever a run asks for.
    """
    for rows in CLASSES:
        if rows not in wanted:
            continue
        least = now - timedelta(days=LEAST_DAYS[rows])
        if before > least:
            raise RetentionFault(
                f"{rows} are kept for {LEAST_DAYS[rows]} days at least: name an earlier time"
            )
        if rows == "dead_letters":
            if tenant is not None:
                raise RetentionFault("dead letters belong to no tenant: leave out one of the two")
            yield Rule(rows, before)
            continue
        named = (*sorted(policy.tenants), None) if tenant is None else (tenant,)
        for name in named:
            days = policy.of(name).events_days
            if rows == "events" and (days is None or before > now - timedelta(days=days)):
                of = "every tenant" if name is None else name
                kept = "for ever" if days is None else f"for {days} days"
                raise RetentionFault(
                    f"the log of {of} is kept {kept} by RUNSTREAM_RETENTION: change events_days "
                    "there, or leave out events"
                )
            others = tuple(sorted(policy.tenants)) if name is None else ()
            gone = before if "executions" in wanted else None
            yield Rule(rows, before, name, others, gone, tuple(wanted))


class RetentionSettings(BaseModel):
    """What the sink and `runstream retention` read."""

    retention: Annotated[Retention, NoDecode, BeforeValidator(document)] = Field(
        default_factory=Retention,
        description="how long Postgres keeps what, as JSON or the path of a YAML file; see "
        "retention.md. Without it nothing is deleted",
    )
    retention_every_hours: float = Field(
        default=6.0, gt=0, le=168, description="how often the sink applies the retention policy"
    )
