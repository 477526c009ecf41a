"""Settings of the HTTP API and the console."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ApiOptions(BaseModel):
    """Where it listens, and whose tokens count there."""

    api_host: str = Field(
        default="127.0.0.1",
        description="address that the API is bound to; anything but loopback belongs behind TLS",
    )
    api_port: int = Field(default=8700, ge=0, le=65535, description="0 takes a free one")
    api_audience: str = Field(
        default="runstream",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$",
        description="name of this installation in tokens (`runstream token`): where a key is "
        "trusted by two installations, each needs its own, or a token for one counts at the other",
    )
    policy: str | None = Field(
        default=None,
        description="the same file as the routers': it says who may read what (docs/policy.md)",
    )
    hooks: str | None = Field(
        default=None,
        description="YAML file of the webhooks that are taken (docs/webhooks.md), read again when "
        "it or a secret of it changes; none by default",
    )
    secrets_dir: str | None = Field(
        default=None, description="folder of the secrets of webhooks that are file/NAME"
    )
    live_streams: int = Field(
        default=1_000, ge=1, le=20_000, description="live streams (SSE) that may be open at once"
    )
    live_streams_per_caller: int = Field(
        default=100, ge=1, le=20_000, description="those of one actor of a tenant"
    )
