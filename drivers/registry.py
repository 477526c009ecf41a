"""The drivers, one file per way of acting, by the name that an invocation gives."""

from __future__ import annotations

from typing import Final

from drivers import (
    analysing,
    asset,
    command,
    http,
    library,
    packet_tools,
    scan,
    slack,
    smtp,
    sql,
    teams,
    testing,
    vapix,
    webhook,
    winrm,
)
from drivers.context import Driver

#: Drivers hold no state of their own: one of each serves every attempt of the process.
DRIVERS: Final[dict[str, Driver]] = {
    "command": command.CommandDriver(),
    "http": http.HttpDriver(),
    "smtp": smtp.SmtpDriver(),
    "slack": slack.SlackDriver(),
    "teams": teams.TeamsDriver(),
    "webhook": webhook.WebhookDriver(),
    "sql": sql.SqlDriver(),
    "asset": asset.AssetDriver(),
    "vapix": vapix.VapixDriver(),
    "analysis": analysing.AnalysisDriver(),
    "library": library.LibraryDriver(),
    "packets": packet_tools.PacketDriver(),
    "scan": scan.ScanDriver(),
    "winrm": winrm.WinrmDriver(),
    "test": testing.TestDriver(),
}
