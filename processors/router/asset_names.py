"""Asset names: what reports say of the names that the inventory has for one asset. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, Final

from streams.admitted import AdmittedStep
from streams.limits import MAX_INTEGER
from streams.locks import MAX_NAMED, AssetNames
from toolmeta.locking import names_of

_DOMAIN: Final = "asset"
_DELETE: Final = "asset_delete"
#: Assets that the report of one attempt may name besides its result.
_MOST: Final = 64


def learned(spec: AdmittedStep, output: Any) -> list[AssetNames]:
    """The assets that the result of a step names, with all names that they have; often none.

    At most MAX_NAMED: no result of a real inventory has so many.
    """
    if spec.domain != _DOMAIN:
        return []
    found = list(islice(_named(output), MAX_NAMED))
    if spec.tool == _DELETE:
        return [AssetNames(asset_id=asset.asset_id, names=[]) for asset in found]
    return found


def uncovered(output: Any, held: Collection[str]) -> list[AssetNames]:
    """The assets that an attempt did not begin for, since its lock lacks names of theirs.

    Only those that have a name which is held: the report of one step says nothing of others.
    """
    found = (asset for asset in _named(output) if any(name in held for name in asset.names))
    return list(islice(found, _MOST))


def _named(output: Any) -> Iterator[AssetNames]:
    """The assets of `asset` or `assets` of an output, in the form of the asset tools."""
    if not isinstance(output, dict):
        return
    listed = output.get("assets")
    for row in listed if isinstance(listed, list) else [output.get("asset")]:
        asset_id = row.get("asset_id") if isinstance(row, dict) else None
        if isinstance(row, dict) and type(asset_id) is int and 0 < asset_id <= MAX_INTEGER:
            yield AssetNames(asset_id=asset_id, names=names_of(row))
