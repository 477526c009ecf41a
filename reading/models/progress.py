"""Progress of one execution at this moment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reading.models.base import Model
from streams.progress import ProgressSnapshot


class ProgressView(Model):
    """The progress snapshot, and where it is from."""

    source: Literal["topic", "tables"] = Field(
        description="topic: the projector's latest; tables: made from the rows of the steps, "
        "without an estimate of the end"
    )
    progress: ProgressSnapshot
