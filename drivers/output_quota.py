"""How much output the steps of a tenant may publish from this process in a day of UTC."""

from __future__ import annotations

from typing import Final

from runtime import clock
from runtime.quotas import Quotas

_DAY: Final = 86_400
#: Tenants that are counted; then the one counted first begins again.
_TENANTS: Final = 10_000


class OutputQuota:
    """Bytes by tenant since midnight UTC; a restart of the process begins again."""

    def __init__(self, quotas: Quotas) -> None:
        """Nothing was published yet."""
        self._quotas = quotas
        self._day = 0
        self._used: dict[str, int] = {}

    def take(self, tenant: str, wanted: int) -> int:
        """Use up so many bytes; returns how many there were."""
        day = int(clock.now()) // _DAY
        if day != self._day:
            self._day = day
            self._used.clear()
        used = self._used.get(tenant)
        if used is None:
            used = 0
            if len(self._used) >= _TENANTS:
                del self._used[next(iter(self._used))]
        granted = max(0, min(wanted, self._quotas.of(tenant).output_bytes_per_day - used))
        self._used[tenant] = used + granted
        return granted
