"""Names: which names the inventory has for one asset, so that locking one locks all of them. Pure.

Learned from the results of the asset tools. A name that is learned late is no danger: whoever locks
the asset by any name then waits for a holder that locked it by another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import orjson

from processors.locks.state import PREFIX
from streams.limits import MAX_LOCK_BYTES
from streams.locks import AssetNames, bytes_of

_KEY: Final = PREFIX + b"names/"
#: Assets of one partition whose names are known; of further ones each name is an asset.
MAX_KNOWN: Final = 50_000
#: Of all names that one execution locks, those included that it did not write.
MAX_BYTES: Final = 2 * MAX_LOCK_BYTES

#: Tenant and number in the inventory.
Asset = tuple[str, int]


@dataclass(slots=True)
class Names:
    """The names of the assets of one partition's tenants."""

    known: dict[Asset, tuple[str, ...]] = field(default_factory=dict)
    #: (tenant, name) -> the assets that have it; more than one after an address went to another.
    having: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    changed: dict[Asset, None] = field(default_factory=dict)

    def learn(self, tenant: str, assets: Iterable[AssetNames]) -> None:
        """Take the names of these assets as they are now; an asset without any is forgotten."""
        for asset in assets:
            key = (tenant, asset.asset_id)
            names = tuple(dict.fromkeys(asset.names))
            if names == self.known.get(key, ()) or (
                key not in self.known and len(self.known) >= MAX_KNOWN
            ):
                continue
            self._put(key, names)
            self.changed[key] = None

    def expand(self, tenant: str, names: Iterable[str], room: int) -> list[str]:
        """These names, and every other one of the assets that have one of them.

        Others are left out beyond `room` bytes, so that what an execution holds stays bounded.
        """
        found = dict.fromkeys(names)
        for name in list(found):
            for asset_id in self.having.get((tenant, name), ()):
                for other in self.known[tenant, asset_id]:
                    room -= 0 if other in found else bytes_of([other])
                    if room < 0:
                        return list(found)
                    found[other] = None
        return list(found)

    def numbered(self, tenant: str, names: Iterable[str], last: int) -> dict[str, int]:
        """A number above `last` for each name: names of one asset get the same, others do not."""
        found: dict[str, int] = {}
        of_assets: dict[int, int] = {}
        for name in names:
            assets = self.having.get((tenant, name), ())
            number = next((of_assets[one] for one in assets if one in of_assets), None)
            if number is None:
                last = number = last + 1
            found[name] = number
            for one in assets:
                of_assets.setdefault(one, number)
        return found

    def records(self) -> Iterator[tuple[bytes, bytes | None]]:
        """The changelog records of what has changed since the last call."""
        for key in self.changed:
            names = self.known.get(key)
            value = None if names is None else orjson.dumps(names)
            yield _KEY + orjson.dumps(key), value
        self.changed.clear()

    def restore(self, key: bytes, value: bytes) -> None:
        """Take a record; raises ValueError or TypeError for one of another version."""
        tenant, asset_id = orjson.loads(key.removeprefix(_KEY))
        self._put((tenant, int(asset_id)), tuple(orjson.loads(value)))

    def _put(self, key: Asset, names: tuple[str, ...]) -> None:
        tenant, asset_id = key
        for name in self.known.pop(key, ()):
            left = tuple(one for one in self.having[tenant, name] if one != asset_id)
            if left:
                self.having[tenant, name] = left
            else:
                del self.having[tenant, name]
        if names:
            self.known[key] = names
            for name in names:
                self.having[tenant, name] = (*self.having.get((tenant, name), ()), asset_id)


def is_record(key: bytes) -> bool:
    """Whether a key of the changelog is that of the names of an asset."""
    return key.startswith(_KEY)
