"""The quotas of tenants, as `RUNSTREAM_QUOTAS` has them; router and executors read the same."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from runtime.documents import document

_MODEL = ConfigDict(extra="forbid", frozen=True, defer_build=True)
Tenant = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class TenantQuota(BaseModel):
    """What one tenant may have; the defaults are generous, and finite."""

    model_config = _MODEL

    active_executions: int = Field(default=50_000, ge=1, le=10_000_000)
    executions_per_hour: int = Field(default=2_000_000, ge=1, le=1_000_000_000)
    steps_per_hour: int = Field(default=20_000_000, ge=1, le=1_000_000_000)
    #: For each executor process, in a day of UTC.
    output_bytes_per_day: int = Field(default=64 * 1024**3, ge=0, le=1024**5)


class Quotas(BaseModel):
    """The quota of every tenant, and of those that have another one."""

    model_config = _MODEL

    default: TenantQuota = Field(default_factory=TenantQuota)
    #: Of a tenant only what differs from `default` is named.
    tenants: dict[Tenant, TenantQuota] = Field(default_factory=dict)

    @cached_property
    def _known(self) -> dict[str, TenantQuota]:
        return {
            tenant: self.default.model_copy(
                update={name: getattr(changed, name) for name in changed.model_fields_set}
            )
            for tenant, changed in self.tenants.items()
        }

    def of(self, tenant: str) -> TenantQuota:
        """The quota of a tenant."""
        return self._known.get(tenant, self.default)


#: A setting that holds quotas.
QuotasSetting = Annotated[Quotas, BeforeValidator(document)]
