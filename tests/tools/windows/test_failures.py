"""What PowerShell says went wrong, and what is no failure."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.context import Failure
from tests.fakes.psrp.clixml import Thing, Typed
from tests.fakes.psrp.remoting import Fault
from tests.fakes.psrp.shells import Reply
from tests.tools.windows.kit import Lab, bound, login, output


@pytest.mark.parametrize(
    ("fault", "error_class"),
    [
        (Fault("Cannot find any service.", 13, "NoServiceFoundForGivenName,X"), "not_found"),
        (Fault("Access is denied.", 18, "CouldNotGetService,X"), "capability_missing"),
        (Fault("It is broken.", 7, "Broken,X"), "remote_error"),
        (Fault("No such parameter.", 5, "NamedParameterNotFound,X"), "invalid_parameters"),
        (Fault("No such cmdlet.", 13, "CommandNotFoundException"), "program_missing"),
    ],
)
@pytest.mark.parametrize("ends", [False, True])
def test_errors_of_powershell(lab: Lab, fault: Fault, error_class: str, ends: bool) -> None:
    host = lab.host(lambda _: Reply(terminating=fault) if ends else Reply(errors=[fault]))
    outcome, run = lab.attempt(bound("get_service", {**login(host), "names": ["a"]}))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == error_class
    assert outcome.output is not None
    assert outcome.output["errors"][0]["error_id"] == fault.error_id.partition(",")[0]
    assert not outcome.transient
    assert b"ERROR: " in bytes(run.output.stderr)


def test_what_came_before_an_error_is_kept(lab: Lab) -> None:
    fault = Fault("Cannot find any service.", 13, "NoServiceFoundForGivenName,X")
    some = Thing("X", {"Name": "a"})
    host = lab.host(lambda _: Reply([some], errors=[fault]))
    outcome, _ = lab.attempt(bound("get_service", {**login(host), "names": ["a", "b"]}))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "remote_error"
    assert outcome.output is not None
    assert outcome.output["services"][0]["name"] == "a"


@pytest.mark.parametrize(
    ("tool", "given", "error_id"),
    [
        ("get_winevent", {"log_name": "System"}, "NoMatchingEventsFound"),
        ("get_hotfix", {"ids": ["KB5034129"]}, "GetHotFixNoEntriesFound"),
        ("get_process", {"names": ["a"]}, "NoProcessFoundForGivenName"),
    ],
)
def test_nothing_found_is_an_answer(
    lab: Lab, tool: str, given: dict[str, Any], error_id: str
) -> None:
    host = lab.host(lambda _: Reply(errors=[Fault("Nothing.", 13, f"{error_id},X")]))
    outcome, _ = lab.attempt(bound(tool, {**login(host), **given}))
    found = output(tool, outcome)
    assert found["count"] == 0
    assert found["errors"] == []


def test_lost_pings_are_counted(lab: Lab) -> None:
    ping = Thing("X", {"StatusCode": Typed("U32", "0"), "ResponseTime": Typed("U32", "9")})
    lost = Fault("Testing connection failed.", 21, "TestConnectionException,X")
    host = lab.host(lambda _: Reply([ping], errors=[lost] * 3))
    outcome, _ = lab.attempt(bound("test_connection", {**login(host), "target": "10.0.0.1"}))
    found = output("test_connection", outcome)
    assert (found["packets_sent"], found["packets_received"]) == (4, 1)
    assert found["packet_loss_percent"] == 75.0
    assert found["response_time_ms"] == 9.0


def test_a_program_that_fails_is_a_failure(lab: Lab) -> None:
    ended = Thing("X", {"ExitCode": 1, "Text": "ERROR: The system cannot find the file."})
    host = lab.host(lambda _: Reply([ended]))
    outcome, _ = lab.attempt(bound("schtasks", {**login(host), "task_name": "\\A"}))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "exit_status"
    assert "cannot find" in outcome.message
