"""The drivers by the name that an invocation gives, each loaded with the first step that needs it.

The libraries of all of them take longer to load than the rest of an executor, and one process
seldom needs more than a few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from threading import Lock
from typing import Final

from drivers.context import Driver

#: The module and the class of each.
_PLACES: Final = {
    "command": ("drivers.command", "CommandDriver"),
    "files": ("drivers.files.driver", "FilesDriver"),
    "http": ("drivers.http.driver", "HttpDriver"),
    "smtp": ("drivers.messages.smtp", "SmtpDriver"),
    "slack": ("drivers.messages.slack", "SlackDriver"),
    "teams": ("drivers.messages.teams", "TeamsDriver"),
    "webhook": ("drivers.messages.webhook", "WebhookDriver"),
    "sql": ("drivers.databases.sql", "SqlDriver"),
    "asset": ("drivers.databases.asset", "AssetDriver"),
    "vapix": ("drivers.cameras.driver", "VapixDriver"),
    "analysis": ("drivers.analysis.driver", "AnalysisDriver"),
    "library": ("drivers.captures.library", "LibraryDriver"),
    "packets": ("drivers.captures.packet_tools", "PacketDriver"),
    "scan": ("drivers.scans.driver", "ScanDriver"),
    "script": ("drivers.scripts.driver", "ScriptDriver"),
    "winrm": ("drivers.powershell.driver", "WinrmDriver"),
    "test": ("drivers.testing", "TestDriver"),
}


class DriverFault(Exception):
    """A driver cannot be loaded on this machine; the message is one line that says why."""


class Drivers(Mapping[str, Driver]):
    """One driver of each kind for every attempt of the process: they hold no state of their own."""

    def __init__(self, places: Mapping[str, tuple[str, str]]) -> None:
        """Loads nothing."""
        self._places = places
        self._loaded: dict[str, Driver] = {}
        #: The lanes are threads; a driver is made once.
        self._loading = Lock()

    def __getitem__(self, name: str) -> Driver:
        """The driver; the first call loads it, which blocks, and raises DriverFault."""
        found = self._loaded.get(name)
        return self._load(name) if found is None else found

    def __contains__(self, name: object) -> bool:
        """Whether there is one of this name; loads nothing."""
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        """Their names."""
        return iter(self._places)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._places)

    def _load(self, name: str) -> Driver:
        module, made_by = self._places[name]
        with self._loading:
            if name not in self._loaded:
                try:
                    self._loaded[name] = getattr(import_module(module), made_by)()
                except ImportError as error:
                    why = f"{type(error).__name__}: {error}"
                    raise DriverFault(f"the driver {name} cannot be loaded: {why}") from error
            return self._loaded[name]


DRIVERS: Final = Drivers(_PLACES)
