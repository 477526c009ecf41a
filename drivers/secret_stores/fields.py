"""One field of a secret that has several, as text."""

from __future__ import annotations

from typing import Any

import orjson

from drivers.secret_use import SecretError


def text_of(fields: Any, field: str, where: str) -> str | None:
    """The text of a field, numbers and booleans as JSON has them; None where there is no such one.

    `where` names the secret in messages. Raises SecretError for a field that is no single value.
    """
    if not isinstance(fields, dict) or fields.get(field) is None:
        return None
    value = fields[field]
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise SecretError(f"The field {field} of {where} is no text; store each value alone.")
    return orjson.dumps(value).decode()
