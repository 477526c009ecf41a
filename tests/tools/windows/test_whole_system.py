"""Windows tools through the broker and an executor."""

from __future__ import annotations

import orjson

from tests.fakes.psrp import security
from tests.fakes.psrp.server import FakeWindows
from tests.tools.conftest import Execute
from tests.tools.windows.kit import login


def test_through_the_whole_system_and_no_secret_comes_out(
    execute: Execute, windows: FakeWindows
) -> None:
    reference = {"type": "secret", "path": "file/winrm"}
    given = login(windows, password=reference)
    # The script echoes its arguments: the fake gives back what it was given.
    echo = f"'{security.PASSWORD[:5]}' + 'x'"
    result = execute("powershell", {**given, "script": echo, "arguments": {"A": "b"}})
    assert result.status == "succeeded", result
    assert result.output["objects"] == [{"A": "b"}]
    assert security.PASSWORD not in orjson.dumps(result.events).decode()
    missing = execute("test_path", {**given, "password": {"type": "secret", "path": "file/absent"},
                                    "path": "C:\\a"})  # fmt: skip
    assert missing.status != "succeeded"
    assert windows.calls[0].first["parameters"] == {"A": "b"}


def test_an_asset_leads_to_its_host_and_login(execute: Execute, windows: FakeWindows) -> None:
    connection = {
        "user": security.USER,
        "password": {"type": "secret", "path": "file/winrm"},
        "port": windows.port,
        "auth": "basic",
    }
    asset = {
        "hostname": "win-01.test",
        "ip_address": "127.0.0.1",
        "os_type": "windows",
        "service_type": "winrm",
        "metadata": {"connection": connection},
    }
    assert execute("asset_create", asset).status == "succeeded"
    result = execute("get_service", {"names": ["W32Time"]}, assets=["win-01.test"])
    assert result.status == "succeeded", result
    assert result.output["services"][0]["name"] == "W32Time"
    by_host = execute("test_path", {"host": "WIN-01.test", "path": "C:\\a"})
    assert by_host.output["exists"] is True
    # A Linux tool has no way to a Windows host without SSH, and says so.
    refused = execute("df", {"host": "win-01.test"})
    assert refused.error_class == "invalid_parameters"
    unknown = execute("df", {}, assets=["win-99.test"])
    assert unknown.error_class == "not_found"
    assert execute("asset_delete", {"hostname": "win-01.test", "confirm": True}).output["deleted"]
