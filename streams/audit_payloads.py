"""Payloads: the fields of the events about authority and the use of secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from streams.reports import SecretUse

#: The rule of an `audit.decision` that refuses a record for its signature.
SIGNATURE_RULE: Final = "signature"


@dataclass(slots=True)
class Audit:
    """A decision about authority."""

    actor: str
    action: str
    allowed: bool
    message: str | None = None
    rule: Annotated[str | None, Field(description="the rule of the policy that decided")] = None
    key: Annotated[str | None, Field(description="id of the key that proved the actor")] = None
    claimed_actor: Annotated[
        str | None, Field(description="who a record without a signature says it is from")
    ] = None
    resource: Annotated[
        str | None, Field(description="what it is about, such as `tool/df` or `asset/web-01`")
    ] = None
    via: Annotated[
        str | None, Field(description="id of the key of the API that asked on behalf of the actor")
    ] = None


@dataclass(slots=True)
class SecretsUsed:
    """An attempt gets these secrets; written before it can use them."""

    actor: str
    tool: str
    executor: str
    uses: list[SecretUse]
    claimed_actor: Annotated[
        str | None, Field(description="who a request without a signature says it is from")
    ] = None
