"""Asset names: what the results of the asset tools say of the names of one asset. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from streams.admitted import AdmittedStep
from streams.limits import MAX_INTEGER
from streams.locks import MAX_NAMED, AssetNames
from toolmeta.locking import lock_key

_DOMAIN: Final = "asset"
_DELETE: Final = "asset_delete"


def learned(spec: AdmittedStep, output: Any) -> list[AssetNames]:
    """The assets that the result of a step names, with all names that they have; often none.

    At most MAX_NAMED: no result of a real inventory has so many.
    """
    if spec.domain != _DOMAIN or not isinstance(output, dict):
        return []
    listed = output.get("assets")
    rows = listed if isinstance(listed, list) else [output.get("asset")]
    gone = spec.tool == _DELETE
    found: list[AssetNames] = []
    for row in rows[:MAX_NAMED]:
        if not isinstance(row, dict):
            continue
        asset_id = row.get("asset_id")
        if type(asset_id) is int and 0 < asset_id <= MAX_INTEGER:
            names = [] if gone else list(dict.fromkeys(_names(row, asset_id)))
            found.append(AssetNames(asset_id=asset_id, names=names))
    return found


def _names(row: dict[str, Any], asset_id: int) -> Iterator[str]:
    metadata = row.get("metadata")
    connection = metadata.get("connection") if isinstance(metadata, dict) else None
    address = connection.get("address") if isinstance(connection, dict) else None
    for name in (row.get("hostname"), row.get("ip_address"), address, asset_id):
        key = lock_key(name)
        if key is not None:
            yield key
