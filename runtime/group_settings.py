"""Settings of a process whose consumer group takes either rebalance protocol."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class GroupSettings(BaseModel):
    """The protocol of the group."""

    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic", description="Kafka rebalance protocol; consumer is KIP-848"
    )
