"""Rows of a query, and conditions with their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Row = dict[str, Any]


class Condition(NamedTuple):
    """A condition of a query, and the values of its parameters."""

    sql: str
    values: Mapping[str, Any]
