"""Every tool that runs on a host: over each login, in a German one, and without rights here.

What is asked changes nothing, and the answers of two accounts of one machine must be equal, but for
the fields that depend on the account or on the moment.
"""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from drivers.context import Success
from tests.integration.test_drivers_ssh import SSHD, attempt
from tests.tools.driven import root_only
from tests.tools.odd.calls import CALLS
from tests.tools.odd.hosts import BAD, GOOD, Host, host, ipv6
from tests.tools.odd.inputs import over_every
from tests.tools.odd.truths import TRUTHS
from tests.tools.odd.unprivileged import Ended
from toolmeta.invocation import Invocation
from toolmeta.registry import load

pytestmark = [
    pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def machine() -> Iterator[Host]:
    root_only()
    with host() as made:
        yield made


def wanted(tool: str, ends: str | None) -> str | None:
    """The class of an end, which for a program that is not installed is another one."""
    definition = load().get(tool)
    assert definition is not None
    installed = shutil.which(definition.program or tool) is not None
    return ends if installed else "program_missing"


def steady(tool: str, one: Ended) -> dict[str, Any]:
    """What of an output depends neither on the account nor on the moment."""
    return {name: value for name, value in one.output.items() if name not in CALLS[tool].varies}


def check(tool: str, found: Ended, here: Ended) -> None:
    """It ended as the table says, and as it ends for an executor of the machine's own."""
    ends = wanted(tool, CALLS[tool].ends)
    if ends is None:
        assert found.ends not in ("login_refused", "unreachable", "program_missing"), found
        return
    assert found.ends == ends, found
    assert steady(tool, found) == steady(tool, here)


@pytest.mark.root_only
@over_every(GOOD, "unprivileged", "locale")
def test_an_executor_without_rights_in_a_german_environment(machine: Host, tool: str) -> None:
    check(tool, machine.here[tool], machine.here[tool])
    if tool in BAD:
        failed = machine.here_bad[tool]
        assert failed.ends == wanted(tool, CALLS[tool].bad_ends), failed


@pytest.mark.root_only
@over_every(GOOD, "key", "locale", "unprivileged")
def test_by_a_key_in_a_german_login(machine: Host, tool: str) -> None:
    check(tool, machine.by_key[tool], machine.here[tool])
    if tool in BAD:
        failed = machine.by_key_bad[tool]
        assert failed.ends == wanted(tool, CALLS[tool].bad_ends), failed
        assert failed.output == machine.here_bad[tool].output


@pytest.mark.root_only
@over_every(GOOD, "password", "unprivileged")
def test_by_a_password(machine: Host, tool: str) -> None:
    check(tool, machine.by_password[tool], machine.here[tool])


@over_every(GOOD, "IPv6 host")
def test_at_an_ipv6_address(machine: Host, tool: str) -> None:
    """The same calls: their host was `[::1]`, and the server saw them come from there."""
    if not ipv6():
        pytest.skip("this machine has no IPv6")
    check(tool, machine.by_password[tool], machine.here[tool])
    log = (machine.server.folder / "log").read_text()
    assert f"Accepted password for {machine.plain.name} from ::1 " in log


@pytest.mark.root_only
@over_every(GOOD, "wrong user")
def test_nobody_is_let_in(machine: Host, tool: str) -> None:
    found = machine.by_nobody[tool]
    assert (found.ends, found.output) == ("login_refused", {}), found
    assert "rs-no-such-login" in found.message


@pytest.mark.root_only
@over_every(GOOD, "changed host key")
def test_a_host_with_another_key_is_not_logged_in_to(machine: Host, tool: str) -> None:
    found = machine.changed[tool]
    assert (found.ends, found.output) == ("host_key_changed", {}), found
    # The user of the tests logs in to this server in no other test.
    assert machine.sessions(getpass.getuser()) == 0


@pytest.mark.parametrize("tool", sorted(TRUTHS))
def test_the_answer_is_the_truth(machine: Host, tool: str) -> None:
    """As Python and the kernel say it; over SSH in the German login."""
    if wanted(tool, "") != "":
        pytest.skip(f"{tool} is not installed")
    for output in (machine.by_key[tool].output, machine.here[tool].output):
        for name, value in TRUTHS[tool](machine.place).items():
            assert output[name] == value


def test_the_german_login_is_german(machine: Host) -> None:
    if not machine.has_german:
        pytest.skip("the locale de_DE cannot be made here: apt install locales")
    asked = Invocation("argv", "command", argv=("locale", "decimal_point"))
    invocation = replace(asked, host=machine.server.host)
    outcome, _ = attempt(machine.server, invocation, ssh_user=machine.german.name)
    assert outcome == Success({"exit_code": 0, "text": ",\n"})


def test_accounts_are_who_they_are(machine: Host) -> None:
    assert machine.by_key["whoami"].output["user"] == machine.german.name
    assert machine.by_password["whoami"].output["user"] == machine.plain.name
    assert machine.here["whoami"].output["user"] == machine.plain.name
