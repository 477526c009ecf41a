"""journalctl on journals of the test's own, which stand in place of the machine's in its mounts.

`systemd-journal-remote` writes them from the export format; what journalctl says of nonsense, of
an absent boot and of a journal that may not be read is no empty answer.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.tools.driven import NEW_MOUNTS, answer, failure, mounted, root_only
from tests.tools.running import program

_WRITER = Path("/lib/systemd/systemd-journal-remote")
_JOURNALS = Path("/var/log/journal")
_BOOTS = ("a" * 32, "b" * 32)


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
def journals(tmp_path: Path) -> Path:
    """Two boots with an error and a warning each; everybody may read it."""
    root_only()
    program("journalctl", "systemd")
    if not _WRITER.exists():
        pytest.skip("systemd-journal-remote is not installed: apt install systemd-journal-remote")
    if not _JOURNALS.is_dir():
        pytest.skip(f"{_JOURNALS} is where the test puts its journals, and is not here")
    begun = time.time() - 600
    (tmp_path / "export").write_bytes(
        b"".join(
            _exported(boot, begun + 10 * place + priority, priority, message)
            for place, boot in enumerate(_BOOTS)
            for priority, message in ((3, b'kex: hostile\n{"PRIORITY":"0"}'), (4, b"slow \xff"))
        )
    )
    folder = tmp_path / "journals"
    machine = folder / Path("/etc/machine-id").read_text().strip()
    machine.mkdir(parents=True)
    words = [str(_WRITER), f"--output={machine / 'system.journal'}", str(tmp_path / "export")]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    (machine / "system.journal").chmod(0o644)
    for part in (tmp_path, *list(tmp_path.parents)[:3]):
        part.chmod(part.stat().st_mode | 0o055)
    return folder


def _here(journals: Path) -> dict[str, Any]:
    return {"spaces": NEW_MOUNTS, "prepare": mounted(journals, _JOURNALS)}


def test_entries(journals: Path) -> None:
    output = answer("journalctl", {}, **_here(journals))
    assert [item["priority"] for item in output["entries"]] == ["err", "warning"] * 2
    assert (output["count"], output["error_count"], output["warning_count"]) == (4, 2, 2)
    messages = [item["message"] for item in output["entries"]]
    assert messages == ['kex: hostile\n{"PRIORITY":"0"}', "slow \ufffd"] * 2
    assert {item["unit"] for item in output["entries"]} == {"ssh.service"}
    newest = answer("journalctl", {"lines": 1}, **_here(journals))
    assert newest["entries"] == output["entries"][-1:]


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
