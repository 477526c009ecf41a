"""The connection in the metadata of an asset: where steps go, and the login that they use there.

Its secrets are resolved for every step that names the asset. So a reference is stored only where
the plan itself has it: there it was authorised when the plan was admitted. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from toolmeta.secret_references import REMEDY, is_meant, path_of

CONNECTION: Final = "connection"
_LOGIN: Final = ("password", "key")
#: What a login goes to; `address` is a part of the connection itself.
_PLACES: Final = ("hostname", "ip_address")


def fault(metadata: Mapping[str, Any], recorded: Collection[str]) -> str | None:
    """Why the metadata may not be stored, None where it may.

    `recorded` are the JSON pointers of the references that the plan has, `secret_paths`.
    """
    connection = metadata.get(CONNECTION)
    if connection is None:
        return None
    if not isinstance(connection, dict):
        return "metadata.connection: must be an object, or null to remove it"
    for name, value in connection.items():
        field = f"metadata.connection.{str(name)[:64]}"
        if name not in _LOGIN:
            if _holds_reference(value):
                return f"{field}: takes no secret reference; {' and '.join(_LOGIN)} do"
        elif value is not None and path_of(value) is None:
            return f"{field}: must be a secret reference; {REMEDY}"
        elif value is not None and f"/metadata/{CONNECTION}/{name}" not in recorded:
            return (
                f"{field}: came out of a {{{{ … }}}} or an item, which makes no secret reference; "
                "write the reference itself into the plan"
            )
    return None


def kept(stored: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata to store: the given one; it changes the connection only where it names it."""
    metadata = dict(given)
    connection = metadata.pop(CONNECTION) if CONNECTION in given else _stored(stored)
    return metadata if connection is None else {**metadata, CONNECTION: connection}


def moves_login(
    asset: Mapping[str, Any], changes: Collection[str], given: Mapping[str, Any]
) -> str | None:
    """Why the changes may not be made: a stored login would go to another host; else None."""
    connection = _stored(asset["metadata"])
    if not isinstance(connection, dict) or not any(connection.get(name) for name in _LOGIN):
        return None
    moved = [place for place in _PLACES if place in changes]
    if not moved or CONNECTION in given.get("metadata", ()):
        return None
    return (
        f"{moved[0]}: the login in the connection of {asset['hostname']} would go to another host; "
        "give metadata.connection in the same step, which needs the right admin"
    )


def _stored(metadata: Any) -> Any:
    # An operator may have stored anything.
    return metadata.get(CONNECTION) if isinstance(metadata, dict) else None


def _holds_reference(value: Any) -> bool:
    if is_meant(value):
        return True
    if isinstance(value, dict):
        return any(map(_holds_reference, value.values()))
    return isinstance(value, list) and any(map(_holds_reference, value))
