"""Payloads: the fields of the events about locks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, FiniteFloat


@dataclass(slots=True)
class LockAcquired:
    """The execution holds these assets until it ends, or its lease does."""

    tokens: Annotated[dict[str, int], Field(description="asset -> fencing token")]
    step: Annotated[str | None, Field(description="the step that needed them first")] = None
    lease_seconds: FiniteFloat | None = None


@dataclass(slots=True)
class LockEnded:
    """The execution does not hold these assets any more."""

    tokens: Annotated[dict[str, int], Field(description="asset -> fencing token that it had")]
