"""Commands and scripts of plans on a Windows asset: one constant script, everything bound."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from drivers.connections import Asset
from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests import driver_kit
from tests.driver_kit import Run, command
from tests.fakes.psrp import security
from tests.fakes.psrp.clixml import Thing
from tests.fakes.psrp.server import FakeWindows
from tests.fakes.psrp.shells import Reply
from tests.secret_kit import Given
from tests.tools.windows.kit import Lab, bound
from toolmeta import scripts

HOSTILE = ["-c", "--", "$(id)", "a\nb", "'; Remove-Item C:\\ #", ""]


def attempt(
    lab: Lab, host: FakeWindows, tool: str, parameters: dict[str, Any], **changed: Any
) -> Outcome:
    """One attempt on an asset of the inventory that is the fake host."""
    asset = Asset(
        "win-01", "127.0.0.1", "Windows Server 2022", None,
        {"port": host.port, "user": security.USER, "auth": "basic",
         "password": {"type": "secret", "path": "file/win"}},
    )  # fmt: skip
    allowed = {"allow_commands": "127.0.0.1", "allow_scripts": "127.0.0.1", **changed}

    async def inside() -> Outcome:
        resources = Resources(
            driver_kit.settings(
                winrm_ca_file=str(lab.authority.ca_file),
                assets_database_url=SecretStr("postgresql://127.0.0.1:1/none"),
                **allowed,
            ),
            Given({"file/win": security.PASSWORD}),
        )
        try:
            run = Run(resources, bound(tool, {"host": "win-01", **parameters}), command())
            resources.remembered.put(run.command.tenant, asset)
            return await run.outcome(60)
        finally:
            await resources.close()

    return asyncio.run(inside())


def test_a_script_of_the_plan_is_bound_as_a_value(lab: Lab) -> None:
    host = lab.host(lambda _: Reply(["one", "two"]))
    text = "param($a) $a; # 'text'"
    given = {
        "script": text, "interpreter": "pwsh", "arguments": HOSTILE, "cwd": "C:\\Temp",
        "env": {"STAGE": "blue"}, "input": "typed",
    }  # fmt: skip
    outcome = attempt(lab, host, "script", given)
    assert isinstance(outcome, Success), outcome
    assert outcome.output["stdout"] == ["one", "two"]
    assert outcome.output["script_sha256"] == scripts.digest("pwsh", text)
    called = host.calls[0].first
    assert called["is_script"] and text not in called["name"]
    assert called["parameters"] == {
        "Text": text, "Words": HOSTILE, "Folder": "C:\\Temp", "Variables": {"STAGE": "blue"},
        "InputText": "typed",
    }  # fmt: skip


def test_a_command_is_a_process_with_its_exit_code(lab: Lab) -> None:
    thing = Thing("Custom", {"ExitCode": 3, "Stdout": "a\r\nb\r\n", "Stderr": "bad\r\n"})
    host = lab.host(lambda _: Reply([thing]))
    given: dict[str, Any] = {"argv": ["robocopy.exe", "a b", 'c"d', "e\\"]}
    outcome = attempt(lab, host, "command", given)
    assert isinstance(outcome, Failure) and outcome.error_class == "exit_status"
    assert outcome.message == "win-01: robocopy.exe ended with exit code 3: bad"
    assert outcome.output == {"exit_code": 3, "stdout": ["a", "b"], "stderr": ["bad"]}
    # As the C runtime of Windows takes arguments apart.
    assert host.calls[0].first["parameters"]["Line"] == '"a b" c\\"d e\\'
    outcome = attempt(lab, host, "command", {**given, "exit_codes": [0, 3]})
    assert isinstance(outcome, Success) and outcome.output["exit_code"] == 3


@pytest.mark.parametrize(
    ("tool", "given", "told"),
    [
        ("script", {"script": "id", "interpreter": "bash"}, "pwsh"),
        ("command", {"argv": ["C:\\x\\run.CMD", "a"]}, "batch file"),
        ("command", {"argv": ["run.bat. "]}, "batch file"),
    ],
)
def test_what_does_not_run_there_is_refused(
    lab: Lab, tool: str, given: dict[str, Any], told: str
) -> None:
    host = lab.host()
    outcome = attempt(lab, host, tool, given)
    assert isinstance(outcome, Failure) and outcome.error_class == "invalid_parameters"
    assert told in outcome.message
    assert host.calls == []


def test_the_address_and_not_the_name_of_an_asset_is_allowed(lab: Lab) -> None:
    host = lab.host()
    given = {"script": "1", "interpreter": "pwsh"}
    outcome = attempt(lab, host, "script", given, allow_scripts="win-*")
    assert isinstance(outcome, Failure) and outcome.error_class == "capability_missing"
    assert "win-01 (127.0.0.1)" in outcome.message and host.calls == []
