"""Settings of executors: where packet captures are kept, how large, and for how long."""

from __future__ import annotations

from pydantic import BaseModel, Field


class CaptureSettings(BaseModel):
    """The captures that the tools of the network domain make."""

    capture_dir: str | None = Field(
        default=None, description="folder of packet captures; default is captures in the state_dir"
    )
    capture_max_bytes: int = Field(
        default=64 * 1024 * 1024, ge=4_096, le=4 * 1024**3, description="size of one capture"
    )
    capture_max_seconds: float = Field(
        default=300.0, ge=1, le=3_600, description="longest time that one capture may listen"
    )
    capture_total_bytes: int = Field(
        default=2 * 1024**3, ge=4_096, description="size of all captures; then none is begun"
    )
    capture_retention_hours: float = Field(
        default=168.0, gt=0, le=8_760, description="age at which a capture is deleted"
    )
