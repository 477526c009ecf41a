"""The limits of the programs of one step on the executor's machine."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

_MIB = 1024 * 1024


class StepLimits(BaseModel):
    """What all programs of one step may use together; open files and file size are per process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int = Field(default=512, ge=8, le=1_000_000)
    memory_bytes: int = Field(default=2_048 * _MIB, ge=64 * _MIB)
    open_files: int = Field(default=1_024, ge=64, le=1_000_000)
    file_bytes: int = Field(default=16_384 * _MIB, ge=_MIB)
    scratch_files: int = Field(default=10_000, ge=10)
    scratch_bytes: int = Field(default=1_024 * _MIB, ge=_MIB)
    output_bytes: int = Field(default=4_096 * _MIB, ge=_MIB)
