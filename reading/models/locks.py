"""Locks: who holds which asset, and who waits."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from reading.models.base import Model


class LockParty(Model):
    """An execution that holds an asset or waits for it."""

    execution_id: str | None = Field(description="null where the caller may not read it")
    name: str | None
    step: str | None
    since: AwareDatetime | None = Field(description="null where the tables do not say it yet")


class LockView(Model):
    """One asset that is held or waited for."""

    asset: str
    holder: LockParty | None = Field(
        description="null while it is kept free for the first who waits, who needs others too"
    )
    fencing_token: int | None
    waiting: list[LockParty] = Field(description="in the order in which they are served")


class LockList(Model):
    """Locked assets by name."""

    locks: list[LockView]
    total: int
    as_of: AwareDatetime = Field(description="when the topic was read")
