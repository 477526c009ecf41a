"""The 32 Windows tools against the FAKE host of tests/fakes/psrp: no Windows was available.

What is real: the definitions, the driver, pypsrp, TLS, NTLM with its message encryption, and the
whole way through the broker in the last tests. What is canned: everything that PowerShell says.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from drivers.context import Failure, Success
from drivers.resources import Resources
from tests import driver_kit
from tests.certificates import Authority
from tests.driver_kit import Run
from tests.fakes.psrp import security
from tests.fakes.psrp.canned import canned
from tests.fakes.psrp.clixml import Thing, Typed
from tests.fakes.psrp.remoting import Fault
from tests.fakes.psrp.server import FakeWindows, WsmanFault
from tests.fakes.psrp.shells import Answers, Reply
from tests.tools.conftest import Execute
from tests.tools.windows_kit import attempt, bound, login, output
from toolmeta import registry
from toolmeta.invocation import Invocation

WINDOWS = [tool for tool in registry.load().all() if tool.kind == "windows"]
SCRIPTS = {"powershell", "invoke_command", "measure_command", "start_job"}


@dataclass
class Lab:
    """A certificate authority and a fake host for each wish."""

    authority: Authority
    made: list[FakeWindows]

    def host(self, answers: Answers | None = None, *, tls: bool = True, **more: Any) -> FakeWindows:
        """A fake host, closed at the end of the test."""
        context = self.authority.server("127.0.0.1") if tls else None
        self.made.append(FakeWindows(context, answers=answers or canned, **more))
        return self.made[-1]

    def attempt(self, invocation: Invocation) -> Any:
        """One attempt that trusts the lab's authority."""
        return attempt(invocation, self.authority.ca_file)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(Authority(tmp_path), [])
    yield made
    for host in made.made:
        host.close()


@pytest.mark.parametrize("tool", WINDOWS, ids=lambda tool: tool.name)
def test_the_example_runs_and_its_output_fits(lab: Lab, tool: Any) -> None:
    host = lab.host()
    given = {**tool.example.parameters, **login(host)}
    outcome, run = lab.attempt(bound(tool.name, given))
    found = output(tool.name, outcome)
    assert found["errors"] == []
    # Every field of the example is one that the host's objects fill.
    assert set(tool.example.output) - {"content"} <= set(found)
    for name, items in tool.example.output.items():
        if isinstance(items, list) and items and isinstance(items[0], dict) and name != "objects":
            assert set(items[0]) <= set(found[name][0]), name
    assert len(host.calls) == 1
    assert host.shells == {}
    assert security.PASSWORD.encode() not in bytes(run.output.stdout) + bytes(run.output.stderr)


HOSTILE = [
    "; id", "$(id)", "`id`", "a\nb", "--help", "-oProxyCommand=x", "@file", "| id", "\u2010x",
    "' + 'a", '"; Remove-Item C:\\ #', "_x0041_", "]]>&amp;<S>", "a\U0001f600b", "%PATH%", "{0}",
    "* ? [a]",
]  # fmt: skip


@pytest.mark.parametrize("tool", WINDOWS, ids=lambda tool: tool.name)
def test_no_value_becomes_part_of_a_command(tool: Any) -> None:
    """Whatever a parameter holds, the text of the commands stays the definition's own."""
    texts: set[tuple[str, ...]] = set()
    for name, shape in tool.parameters.items():
        if name == "script" and tool.name == "powershell":
            continue
        for text in HOSTILE:
            value: Any = [text] if shape.type == "array" else text
            problems = _bind(tool, {**tool.example.parameters, name: value})
            if isinstance(problems, Invocation):
                arguments = problems.arguments
                texts.add((str(arguments.get("cmdlet")), str(arguments.get("script"))))
    assert len(texts) <= 1, texts


def _bind(tool: Any, parameters: dict[str, Any]) -> Any:
    from toolmeta.bind import bind

    return bind(tool, parameters)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_arrives_as_one_bound_value(lab: Lab, text: str) -> None:
    host = lab.host()
    given = {
        "script": "param($Name) $Name",
        "arguments": {"Name": text, "Many": [text, 1.5, 2**40]},
    }
    outcome, _ = lab.attempt(bound("powershell", {**login(host), **given}))
    assert host.calls[0].first["name"] == "param($Name) $Name"
    assert host.calls[0].first["parameters"] == {"Name": text, "Many": [text, 1.5, 2**40]}
    found = output("powershell", outcome)
    assert found["objects"][0]["Name"] == text
    found = host.calls[0].first
    assert found["is_script"]


def test_dates_tables_and_switches_are_bound_with_their_types(lab: Lab) -> None:
    host = lab.host()
    given = {"log_name": "System", "levels": [1], "after": "2026-01-31T08:00:00Z", "limit": 5}
    outcome, _ = lab.attempt(bound("get_winevent", {**login(host), **given}))
    assert output("get_winevent", outcome)["events"][0]["level_name"] == "Error"
    assert host.calls[0].first["parameters"] == {
        "FilterHashtable": {
            "LogName": "System",
            "Level": [1],
            "StartTime": Typed("DT", "2026-01-31T08:00:00Z"),
        },
        "MaxEvents": 5,
    }
    outcome, _ = lab.attempt(bound("get_service", {**login(host), "action": "stop", "names": "a"}))
    assert host.calls[1].first["name"] == "Stop-Service"
    assert host.calls[1].first["parameters"] == {"Name": ["a"], "Force": False, "PassThru": True}
    # A command that changes something is not cut short by a Select-Object -First.
    assert "First" not in host.calls[1].commands[1]["parameters"]


def test_more_than_the_limit_is_cut_and_said(lab: Lab) -> None:
    host = lab.host()
    outcome, _ = lab.attempt(bound("get_service", {**login(host), "limit": 1}))
    found = output("get_service", outcome)
    assert (found["count"], found["truncated"]) == (1, True)
    outcome, _ = lab.attempt(bound("get_service", {**login(host), "limit": 2}))
    assert not output("get_service", outcome)["truncated"]


def test_an_endless_output_is_published_counted_and_bounded(lab: Lab) -> None:
    left = iter(range(400))

    def more() -> Any:
        return "x" * 2_000 if next(left, None) is not None else None

    host = lab.host(lambda _: Reply(stream=more))
    outcome, run = lab.attempt(bound("powershell", {**login(host), "script": "endless"}))
    assert isinstance(outcome, Success)
    assert outcome.output["count"] == 400
    assert outcome.output["truncated"]
    assert len(orjson.dumps(outcome.output)) < 240 * 1024
    assert len(run.output.stdout) == 400 * 2_001


def test_streams_beside_the_output(lab: Lab) -> None:
    reply = Reply(["one"], warnings=["low disk"], progress=("Copying", 40))
    host = lab.host(lambda _: reply)
    outcome, run = lab.attempt(bound("powershell", {**login(host), "script": "x"}))
    found = output("powershell", outcome)
    assert found["warnings"] == ["low disk"]
    assert (found["stdout"], found["exit_code"]) == ("one", 0)
    assert bytes(run.output.stderr) == b"WARNING: low disk\n"
    assert run.progress == [(40.0, "Copying")]


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


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def failure(lab: Lab, fake: FakeWindows | None, **changed: Any) -> Failure:
    """The failure of the simplest tool against a host, with other login parameters."""
    given = login(fake) if fake is not None else {"user": "u", "password": "secret-p"}
    outcome, run = lab.attempt(bound("test_path", {**given, "path": "C:\\a", **changed}))
    assert isinstance(outcome, Failure), outcome
    assert security.PASSWORD not in outcome.message
    assert bytes(run.output.stdout) == b""
    return outcome


def test_ways_not_to_get_in(lab: Lab, tmp_path: Path) -> None:
    host = lab.host()
    refused = failure(lab, host, password="not-" + security.PASSWORD[:3])
    assert (refused.error_class, refused.transient) == ("login_refused", False)
    nobody = failure(lab, None, host="127.0.0.1", port=closed_port(), auth="basic")
    assert (nobody.error_class, nobody.transient) == ("connection_refused", True)
    nowhere = failure(lab, None, host="no-such-host.invalid", auth="basic")
    assert (nowhere.error_class, nowhere.transient) == ("unreachable", True)
    assert "resolved" in nowhere.message
    assert host.calls == []
    (tmp_path / "other").mkdir()
    stranger = Lab(Authority(tmp_path / "other"), lab.made).host()
    untrusted = failure(lab, stranger)
    assert untrusted.error_class == "tls_failed"
    # Not a byte of the login left.
    assert bytes(stranger.wire) == b""
    # A certificate for another name is none.
    assert failure(lab, host, host="localhost").error_class == "tls_failed"


def test_what_the_host_refuses(lab: Lab) -> None:
    denied = lab.host(opening=WsmanFault(5, "Access is denied."))
    assert failure(lab, denied).error_class == "login_refused"
    full = lab.host(opening=WsmanFault(2150859173, "The maximum number of concurrent shells."))
    assert failure(lab, full).error_class == "rate_limited"
    other = lab.host(opening=WsmanFault(87, "The parameter is incorrect."))
    assert failure(lab, other).error_class == "remote_error"
    assert failure(lab, lab.host(status=404)).error_class == "not_found"
    assert failure(lab, lab.host(status=500)).error_class == "unreachable"


def test_a_connection_that_breaks(lab: Lab) -> None:
    host = lab.host(lambda _: Reply(hang=True, cut=True))
    outcome = failure(lab, host)
    # Reading is safe to repeat; the definition says so.
    assert (outcome.error_class, outcome.transient) == ("connection_lost", True)
    outcome, _ = lab.attempt(bound("powershell", {**login(host), "script": "x"}))
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.transient) == ("connection_lost", False)


def test_basic_without_tls_is_refused_before_anything_is_sent(lab: Lab) -> None:
    host = lab.host(tls=False)
    assert failure(lab, host, tls=False).error_class == "invalid_parameters"
    assert bytes(host.wire) == b""


def test_no_password_is_said(lab: Lab) -> None:
    outcome = failure(lab, None, host="127.0.0.1", password=None)
    assert outcome.error_class == "not_configured"


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyspnego's server side finds the password; the client is given it."""
    monkeypatch.setenv("NTLM_USER_FILE", str(security.accounts_file(tmp_path)))


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("tls", [False, True])
def test_negotiate_and_what_is_on_the_wire(lab: Lab, tls: bool) -> None:
    host = lab.host(tls=tls, login="negotiate")
    given = {**login(host), "auth": "negotiate", "tls": tls, "path": "C:\\canary-on-the-wire"}
    outcome, _ = lab.attempt(bound("test_path", given))
    assert output("test_path", outcome)["exists"] is True
    assert host.calls[0].first["parameters"]["LiteralPath"] == "C:\\canary-on-the-wire"
    wire = bytes(host.wire)
    assert security.PASSWORD.encode() not in wire
    assert (host.sealed > 0) == (not tls)
    if not tls:
        # Without TLS the messages are encrypted: not one SOAP tag is to be seen.
        assert b"Envelope" not in wire.replace(b"Encrypted Boundary", b"")


@pytest.mark.usefixtures("accounts")
def test_negotiate_with_a_wrong_password(lab: Lab) -> None:
    host = lab.host(tls=False, login="negotiate")
    wrong = failure(lab, host, auth="negotiate", tls=False, password="wrong-password")
    assert wrong.error_class == "login_refused"


def cancelled(
    lab: Lab, host: FakeWindows, when: Any, **given: Any
) -> tuple[dict[str, Any], FakeWindows]:
    """The evidence of a cancel."""

    async def inside() -> dict[str, Any]:
        settings = driver_kit.settings(winrm_ca_file=str(lab.authority.ca_file))
        resources = Resources(settings)
        try:
            invocation = bound("powershell", {**login(host), "script": "Start-Sleep 999", **given})
            return await Run(resources, invocation).cancelled(when, 60)
        finally:
            await resources.close()

    return asyncio.run(inside()), host


def test_cancel_stops_the_pipeline_and_says_so(lab: Lab) -> None:
    host = lab.host(lambda _: Reply(hang=True))
    evidence, _ = cancelled(lab, host, lambda: bool(host.calls))
    assert evidence == {"host": "127.0.0.1", "pipeline": "stopped", "shell": "deleted"}
    assert host.calls[0].stopped
    assert host.signals == ["powershell/signal/ctrl_c"]
    assert host.shells == {}


def test_cancel_that_the_host_does_not_obey_is_unconfirmed(lab: Lab) -> None:
    host = lab.host(lambda _: Reply(hang=True, stubborn=True))
    evidence, _ = cancelled(lab, host, lambda: bool(host.calls))
    assert "did not say" in evidence["cancel_unconfirmed"]


def test_a_pipeline_that_completed_before_the_cancel_has_its_own_end(lab: Lab) -> None:
    """The executor was frozen: the pipeline's end and the cancel meet it together."""
    host = lab.host(lambda _: Reply())

    async def inside() -> Any:
        resources = Resources(driver_kit.settings(winrm_ca_file=str(lab.authority.ca_file)))
        try:
            run = Run(resources, bound("powershell", {**login(host), "script": "Stop-Process 7"}))
            task = asyncio.create_task(run.outcome())
            await driver_kit.until(lambda: bool(host.calls))
            for thread in threading.enumerate():
                if thread.name == "winrm":
                    thread.join(20)
                    assert not thread.is_alive()
            task.cancel()
            return await task, run.context.evidence
        finally:
            await resources.close()

    found, evidence = asyncio.run(inside())
    assert isinstance(found, Success) and evidence == {}


def test_cancel_before_anything_ran_is_certain(lab: Lab) -> None:
    host = lab.host()
    host.awake.clear()

    def begun() -> bool:
        if not host.wire:
            return False
        asyncio.get_running_loop().call_later(0.3, host.awake.set)
        return True

    evidence, _ = cancelled(lab, host, begun)
    assert evidence["pipeline"] == "never started"
    assert "cancel_unconfirmed" not in evidence
    assert host.calls == []


# ----------------------------------------------------------- through the broker and an executor


@pytest.fixture
def windows(stack: tuple[Any, Path]) -> Iterator[FakeWindows]:
    """A fake host that the session's executor trusts, and the secret that leads to it."""
    folder = stack[1].parent
    (folder / "winrm").mkdir(exist_ok=True)
    authority = Authority(folder / "winrm")
    (folder / "winrm-ca.pem").write_bytes(authority.ca_file.read_bytes())
    (folder / "secrets" / "winrm").write_text(security.PASSWORD + "\n")
    host = FakeWindows(authority.server("127.0.0.1"))
    yield host
    host.close()


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
