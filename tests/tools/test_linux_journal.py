"""journalctl on journals of the test's own, which stand in place of the machine's in its mounts.

`systemd-journal-remote` writes them from the export format; what journalctl says of nonsense, of
an absent boot and of a journal that may not be read is no empty answer.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.driven import NEW_MOUNTS, answer, failure, for_everybody, root_only
from tests.tools.running import program

_WRITER = Path("/lib/systemd/systemd-journal-remote")
_MACHINE = Path("/etc/machine-id")
_BOOTS = ("a" * 32, "b" * 32)
_MESSAGES = ((3, b'kex: hostile\n{"PRIORITY":"0"}'), (4, b"slow \xff"))


def _exported(boot: str, second: float, priority: int, message: bytes) -> bytes:
    text = b"MESSAGE\n" + len(message).to_bytes(8, "little") + message + b"\n"
    fields = {
        "__REALTIME_TIMESTAMP": int(second * 1e6),
        "__MONOTONIC_TIMESTAMP": int(second),
        "_BOOT_ID": boot,
        "_MACHINE_ID": "c" * 32,
        "PRIORITY": priority,
        "_PID": 900,
        "_SYSTEMD_UNIT": "ssh.service",
        "SYSLOG_IDENTIFIER": "sshd",
    }
    return "".join(f"{name}={value}\n" for name, value in fields.items()).encode() + text + b"\n"


@pytest.fixture
def journals() -> Iterator[Path]:
    """Two boots with an error and a warning each; everybody may read it."""
    root_only()
    program("journalctl", "systemd")
    if not _WRITER.exists():
        pytest.skip("systemd-journal-remote is not installed: apt install systemd-journal-remote")
    if not _MACHINE.exists():
        pytest.skip(f"{_MACHINE} is not here, without which there is no journal")
    begun = time.time() - 600
    with for_everybody() as home:
        (home / "export").write_bytes(
            b"".join(
                _exported(boot, begun + 10 * place + priority, priority, message)
                for place, boot in enumerate(_BOOTS)
                for priority, message in _MESSAGES
            )
        )
        machine = home / "journals" / _MACHINE.read_text().strip()
        machine.mkdir(parents=True)
        words = [str(_WRITER), f"--output={machine / 'system.journal'}", str(home / "export")]
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        (machine / "system.journal").chmod(0o644)
        yield home / "journals"


def _here(journals: Path) -> dict[str, Any]:
    """These journals and no others, in the mounts of the call."""

    def mount() -> None:
        words = [["mount", "--make-rprivate", "/"]]
        folders = [folder for folder in ("/var/log", "/run/log") if Path(folder).is_dir()]
        words += [["mount", "-t", "tmpfs", "-o", "mode=755", "none", item] for item in folders]
        words += [["mkdir", "/var/log/journal"]]
        words += [["mount", "--bind", str(journals), "/var/log/journal"]]
        for command in words:
            subprocess.run(command, check=True, timeout=20)

    return {"spaces": NEW_MOUNTS, "prepare": mount}


def test_entries(journals: Path) -> None:
    output = answer("journalctl", {}, **_here(journals))
    assert [item["priority"] for item in output["entries"]] == ["err", "warning"] * 2
    assert (output["count"], output["error_count"], output["warning_count"]) == (4, 2, 2)
    messages = [item["message"] for item in output["entries"]]
    assert messages == ['kex: hostile\n{"PRIORITY":"0"}', "slow \ufffd"] * 2
    assert {item["unit"] for item in output["entries"]} == {"ssh.service"}
    newest = answer("journalctl", {"lines": 1}, **_here(journals))
    assert newest["entries"] == output["entries"][-1:]
    # A search is no other order.
    errors = answer("journalctl", {"grep_pattern": "kex"}, **_here(journals))
    assert errors["entries"] == output["entries"][::2]


@pytest.mark.parametrize(
    "parameters",
    [
        {"grep_pattern": "no such words"},
        {"unit": "no-such.service"},
        {"since": "tomorrow"},
        {"priority": "crit"},
        {"kernel_only": True},
    ],
)
def test_none_is_an_answer(journals: Path, parameters: dict[str, Any]) -> None:
    output = answer("journalctl", parameters, **_here(journals))
    assert (output["count"], output["error_count"]) == (0, 0)


@pytest.mark.parametrize(
    ("parameters", "error_class", "said"),
    [
        ({"since": "nonsense"}, "invalid_parameters", "parse timestamp"),
        ({"until": "25:99"}, "invalid_parameters", "parse timestamp"),
        ({"since": "today", "until": "yesterday"}, "invalid_parameters", "since"),
        ({"grep_pattern": "("}, "invalid_parameters", "parenthesis"),
        ({"grep_pattern": "a{9999999}"}, "invalid_parameters", "quantifier"),
        ({"boot": -5}, "not_found", "No such boot"),
    ],
)
def test_nonsense_is_no_empty_answer(
    journals: Path, parameters: dict[str, Any], error_class: str, said: str
) -> None:
    failed = failure("journalctl", parameters, **_here(journals))
    assert failed.error_class == error_class, failed
    assert re.search(said, failed.message)


def test_a_journal_that_may_not_be_read_is_no_empty_answer(journals: Path) -> None:
    for part in (journals, *journals.glob("*/system.journal")):
        before = part.stat().st_mode
        part.chmod(0o700)
        failed = failure("journalctl", {"priority": "err"}, **_here(journals))
        part.chmod(before)
        assert failed.error_class == "capability_missing", failed
        assert "insufficient permissions" in failed.message


def test_the_journal_of_a_user_is_not_that_of_the_system(journals: Path) -> None:
    """Who may read an own journal alone gets that; `system_only` does not take it for all."""
    (system,) = journals.glob("*/system.journal")
    own = system.with_name("user-65534.journal")
    own.write_bytes(system.read_bytes())
    own.chmod(0o644)
    system.chmod(0o600)
    failed = failure("journalctl", {"system_only": True}, **_here(journals))
    assert failed.error_class == "capability_missing", failed
    kernel = failure("journalctl", {"kernel_only": True}, **_here(journals))
    assert kernel.error_class == "capability_missing", kernel
    system.chmod(0o644)
    output = answer("journalctl", {"system_only": True}, **_here(journals))
    assert output["count"] == 4
