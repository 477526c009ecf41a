"""The drivers by the name that an invocation gives."""

from __future__ import annotations

from typing import Final

from drivers.analysis.driver import AnalysisDriver
from drivers.cameras.driver import VapixDriver
from drivers.captures.library import LibraryDriver
from drivers.captures.packet_tools import PacketDriver
from drivers.command import CommandDriver
from drivers.context import Driver
from drivers.databases.asset import AssetDriver
from drivers.databases.sql import SqlDriver
from drivers.files.driver import FilesDriver
from drivers.http.driver import HttpDriver
from drivers.messages.slack import SlackDriver
from drivers.messages.smtp import SmtpDriver
from drivers.messages.teams import TeamsDriver
from drivers.messages.webhook import WebhookDriver
from drivers.powershell.driver import WinrmDriver
from drivers.scans.driver import ScanDriver
from drivers.scripts.driver import ScriptDriver
from drivers.testing import TestDriver

#: Drivers hold no state of their own: one of each serves every attempt of the process.
DRIVERS: Final[dict[str, Driver]] = {
    "command": CommandDriver(),
    "files": FilesDriver(),
    "http": HttpDriver(),
    "smtp": SmtpDriver(),
    "slack": SlackDriver(),
    "teams": TeamsDriver(),
    "webhook": WebhookDriver(),
    "sql": SqlDriver(),
    "asset": AssetDriver(),
    "vapix": VapixDriver(),
    "analysis": AnalysisDriver(),
    "library": LibraryDriver(),
    "packets": PacketDriver(),
    "scan": ScanDriver(),
    "script": ScriptDriver(),
    "winrm": WinrmDriver(),
    "test": TestDriver(),
}
