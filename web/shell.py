"""The shell: what surrounds every page — navigation, who is signed in, the theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fastapi import Request

from api.caller import Caller

Theme = Literal["system", "light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("system", "light", "dark")
THEME_COOKIE: Final = "runstream-theme"


@dataclass(frozen=True, slots=True)
class Place:
    """One page of the navigation."""

    path: str
    title: str
    icon: str


#: The navigation, by group.
NAVIGATION: Final[tuple[tuple[str, tuple[Place, ...]], ...]] = (
    (
        "Work",
        (
            Place("/executions", "Executions", "list"),
            Place("/approvals", "Approvals", "person"),
            Place("/start", "Start", "play"),
        ),
    ),
    (
        "Automation",
        (
            Place("/schedules", "Schedules", "calendar"),
            Place("/triggers", "Triggers", "bolt"),
            Place("/tools", "Tools", "wrench"),
        ),
    ),
    (
        "System",
        (
            Place("/overview", "Overview", "chart"),
            Place("/dead-letters", "Dead letters", "inbox"),
            Place("/locks", "Locks", "lock"),
            Place("/executors", "Executors", "cpu"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Shell:
    """What the layout shows around a page."""

    path: str
    theme: Theme
    tenant: str | None
    actor: str | None
    read_only: bool
    navigation: tuple[tuple[str, tuple[Place, ...]], ...] = NAVIGATION

    @property
    def next_theme(self) -> Theme:
        """The theme that the switch leads to."""
        return THEMES[(THEMES.index(self.theme) + 1) % len(THEMES)]

    def is_current(self, place: Place) -> bool:
        """Whether the page is this place, or below it."""
        return self.path == place.path or self.path.startswith(place.path + "/")


def shell_of(request: Request) -> Shell:
    """The shell around the answer to this request."""
    caller = getattr(request.state, "caller", None)
    known = caller if isinstance(caller, Caller) else None
    return Shell(
        path=request.url.path,
        theme=_theme(request.cookies.get(THEME_COOKIE)),
        tenant=None if known is None else known.tenant,
        actor=None if known is None else known.actor,
        read_only=known is not None and known.read_only,
    )


def _theme(value: str | None) -> Theme:
    for theme in THEMES:
        if theme == value:
            return theme
    return "system"
