"""Filters of the list of executions: they stand in the address, so a list can be sent on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final
from urllib.parse import urlencode

#: The ranges that can be chosen, with what they are called.
RANGES: Final[dict[str, str]] = {
    "1h": "Last hour",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
}
#: What a filter is called where it can be taken away.
_NAMES: Final = {
    "actor": "By",
    "procedure": "Procedure",
    "asset": "Asset",
    "environment": "Environment",
    "started_by": "Started by",
    "text": "Text",
    "since": "Since",
    "until": "Until",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter that is set, and the list without it."""

    name: str
    value: str
    without: str


@dataclass(frozen=True, slots=True)
class ListFilters:
    """What the list is narrowed to; empty text: not at all."""

    text: str = ""
    status: str = ""
    actor: str = ""
    procedure: str = ""
    asset: str = ""
    environment: str = ""
    started_by: str = ""
    since: str = ""
    until: str = ""
    late: bool = False

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return self != ListFilters()

    @property
    def live(self) -> bool:
        """Whether what comes new belongs into the list without asking."""
        return self == ListFilters()

    def query(self, after: str | None = None) -> str:
        """The list's address from its `?` on."""
        given = {
            field.name: "1" if field.name == "late" else str(getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name)
        }
        if after:
            given["after"] = after
        return f"?{urlencode(given)}" if given else ""

    def with_status(self, status: str, *, late: bool = False) -> str:
        """The same list of another status."""
        return f"/executions{replace(self, status=status, late=late).query()}"

    def removable(self) -> list[Filter]:
        """The filters beside the status that are set."""
        found = []
        for key, name in _NAMES.items():
            value = getattr(self, key)
            if value:
                without: dict[str, str] = {key: ""}
                query = replace(self, **without).query()  # type: ignore[arg-type]
                shown = RANGES.get(value, value) if key == "since" else value
                found.append(Filter(name, shown, f"/executions{query}"))
        return found
