"""Webhooks: what one of them brought, once its sender was authenticated."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, Field

from streams.started import STARTER_NAME
from streams.starter_commands import OPEN

#: Hooks are named as triggers are.
HookName = Annotated[str, Field(pattern=STARTER_NAME)]
HookKind = Literal["github", "alertmanager", "generic"]
#: Ids of deliveries, as senders give them.
DELIVERY_ID: Final = r"^[A-Za-z0-9._:-]{1,128}$"


class HookDelivery(BaseModel):
    """One delivery of a webhook; triggers on its topic start procedures for it."""

    model_config = OPEN

    hook: HookName
    kind: HookKind = Field(description="how its sender was authenticated")
    delivery: str = Field(
        pattern=DELIVERY_ID,
        description="the sender's id of it, equal when it is sent again; where a sender gives "
        "none, the SHA-256 of the body",
    )
    event: str | None = Field(
        default=None, max_length=100, description="what it is about, as `push`; GitHub says it"
    )
    received_at: AwareDatetime
    body: Any = Field(description="the JSON that was sent, as it was sent")
