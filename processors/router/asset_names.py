"""Asset names: what reports say of the names that the inventory has for one asset. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from streams.admitted import AdmittedStep
from streams.limits import MAX_INTEGER
from streams.locks import AssetNames
from toolmeta.locking import names_of

_DOMAIN: Final = "asset"
_DELETE: Final = "asset_delete"


def learned(spec: AdmittedStep, output: Any) -> list[AssetNames]:
    """The assets that the result of a step names, with all names that they have; often none."""
    if spec.domain != _DOMAIN:
        return []
    found = named(output)
    if spec.tool == _DELETE:
        return [AssetNames(asset_id=asset.asset_id, names=[]) for asset in found]
    return found


def named(output: Any) -> list[AssetNames]:
    """The assets of `asset` or `assets` of an output, in the form of the asset tools."""
    return list(_named(output)) if isinstance(output, dict) else []


def _named(output: dict[str, Any]) -> Iterator[AssetNames]:
    listed = output.get("assets")
    for row in listed if isinstance(listed, list) else [output.get("asset")]:
        asset_id = row.get("asset_id") if isinstance(row, dict) else None
        if isinstance(row, dict) and type(asset_id) is int and 0 < asset_id <= MAX_INTEGER:
            yield AssetNames(asset_id=asset_id, names=names_of(row))
