"""The class of each failure whose cause the program says: a plan tells them apart by it alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.driven import answer, failure, for_everybody, root_only
from tests.tools.running import program

_NOBODY = "no_such_account"
_READERS: dict[str, dict[str, Any]] = {
    "cat": {},
    "head": {},
    "tail": {},
    "sort": {},
    "uniq": {},
    "cut": {"fields": "1"},
    "sed": {"script": "p"},
    "awk": {"program": "1"},
    "grep": {"pattern": "x"},
    "ls": {},
    "find": {},
    "du": {},
    "df": {},
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for everybody, with a file and a folder for nobody but root."""
    root_only()
    with for_everybody() as folder:
        (folder / "shut").mkdir()
        (folder / "shut" / "file").write_text("x\n")
        (folder / "shut").chmod(0o700)
        (folder / "secret").write_text("x\n")
        (folder / "secret").chmod(0o600)
        yield folder


@pytest.mark.tried(*_READERS, inputs=("unreadable", "unprivileged"))
@pytest.mark.parametrize("tool", _READERS)
def test_a_file_to_read(folder: Path, tool: str) -> None:
    if tool == "awk":
        program("gawk", "gawk")
    for name, error_class in (
        ("gone", "not_found"),
        ("secret/below", "not_found"),
        ("shut/file", "capability_missing"),
    ):
        failed = failure(tool, {**_READERS[tool], "path": str(folder / name)})
        assert failed.error_class == error_class, failed
    # Of these, the facts of a file are read and not what is in it.
    if tool not in ("ls", "find", "du", "df"):
        failed = failure(tool, {**_READERS[tool], "path": str(folder / "secret")})
        assert failed.error_class == "capability_missing", failed


@pytest.mark.parametrize("tool", ["cat", "head", "tail", "sort", "cut", "sed", "grep", "awk"])
def test_a_folder_in_place_of_a_file(folder: Path, tool: str) -> None:
    if tool == "awk":
        program("gawk", "gawk")
    failed = failure(tool, {**_READERS[tool], "path": str(folder)})
    assert failed.error_class == "invalid_parameters", failed
    assert str(folder) in failed.message


def test_awk_names_the_folder_that_it_skipped_among_files(folder: Path) -> None:
    program("gawk", "gawk")
    (folder / "lines").write_text("a b\n")
    odd = folder / "an odd' name"
    odd.mkdir(mode=0o755)
    for skipped in (folder, odd):
        for script in ("1", "{ print }\nEND { print NR }"):
            given = {"program": script, "paths": [str(folder / "lines"), str(skipped)]}
            failed = failure("awk", given)
            assert failed.error_class == "invalid_parameters", failed
            assert str(skipped) in failed.message
            # What it printed of the files is there all the same.
            assert failed.output is not None and failed.output["lines"][0] == "a b"
    # Nothing that a file holds is such a message.
    (folder / "lines").write_text(
        "gawk: warning: command line argument `/x' is a directory: skipped\n"
    )
    answer("awk", {"program": "1", "path": str(folder / "lines")})


@pytest.mark.parametrize(
    ("tool", "parameters", "error_class"),
    [
        ("find", {"path": "/etc", "owner": _NOBODY}, "invalid_parameters"),
        ("grep", {"pattern": "(", "path": "/etc/passwd"}, "invalid_parameters"),
        ("grep", {"pattern": "[b-a]", "path": "/etc/passwd"}, "invalid_parameters"),
        ("grep", {"pattern": "a{1,99999}", "path": "/etc/passwd"}, "invalid_parameters"),
        ("df", {"type": "nosuchfs"}, "not_found"),
        ("cut", {"text": "x", "fields": "0"}, "invalid_parameters"),
        ("cut", {"text": "x", "fields": "5-2"}, "invalid_parameters"),
        ("id", {"user": _NOBODY}, "not_found"),
        # A step has a user number of its own, which has no name.
        ("whoami", {}, "not_found"),
        ("ps", {"user": _NOBODY}, "invalid_parameters"),
        ("top", {"user": _NOBODY}, "invalid_parameters"),
        ("pgrep", {"pattern": "x", "users": [_NOBODY]}, "invalid_parameters"),
        ("pgrep", {"pattern": "("}, "invalid_parameters"),
        ("pkill", {"pattern": "xx", "users": [_NOBODY]}, "invalid_parameters"),
        ("pkill", {"pattern": "x("}, "invalid_parameters"),
        ("kill", {"pid": 4194303}, "not_found"),
        ("renice", {"pid": 4194303, "niceness": 1}, "not_found"),
        ("chmod", {"path": "/no/such/file", "mode": "0644"}, "not_found"),
        ("chmod", {"path": "/etc/passwd", "mode": "0600"}, "capability_missing"),
        ("chown", {"path": "/no/such/file", "owner": "0"}, "not_found"),
        ("chown", {"path": "/etc/passwd", "owner": "1"}, "capability_missing"),
        ("chown", {"path": "/etc/passwd", "owner": _NOBODY}, "not_found"),
        ("chown", {"path": "/etc/passwd", "group": _NOBODY}, "not_found"),
        ("chown", {"path": "/etc/passwd", "owner": "1", "group": _NOBODY}, "not_found"),
        ("ip", {"device": "nosuch0"}, "not_found"),
        ("passwd", {"user": "root", "password": "x"}, "capability_missing"),
        ("useradd", {"name": "rs-nobody"}, "capability_missing"),
        ("usermod", {"name": "root", "comment": "x"}, "capability_missing"),
    ],
)
def test_what_was_asked(tool: str, parameters: dict[str, Any], error_class: str) -> None:
    root_only()
    failed = failure(tool, parameters)
    assert (failed.error_class, failed.transient) == (error_class, False), failed


def test_a_process_of_somebody_else() -> None:
    root_only()
    failed = failure("kill", {"pid": 2, "signal": "CONT"})
    assert failed.error_class == "capability_missing", failed
    reniced = failure("renice", {"pid": 2, "niceness": 5})
    assert reniced.error_class == "capability_missing", reniced


def test_an_account_that_is_not_there() -> None:
    root_only()
    given = {"user": _NOBODY, "password": "$6$saltsalt$abc", "encrypted": True}
    failed = failure("passwd", given, as_root=True)
    assert failed.error_class == "not_found", failed


@pytest.mark.parametrize(
    ("content", "error_class"),
    [
        ("if $msg contains 'No such file' then {\n", "invalid_parameters"),
        ('*.* /tmp/x\nmodule(load="no-such-module")\n', "invalid_parameters"),
        ("$IncludeConfig /no/such/file.conf\n*.* /tmp/x\n", "invalid_parameters"),
        ("no directive\n", "invalid_parameters"),
        (None, "not_found"),
    ],
)
def test_a_configuration_of_rsyslog(tmp_path: Path, content: str | None, error_class: str) -> None:
    program("rsyslogd", "rsyslog")
    root_only()
    if content is not None:
        (tmp_path / "conf").write_text(content)
    named = {"path": str(tmp_path / "conf")}
    failed = failure("rsyslog", named, as_root=True, config_folders=(str(tmp_path),))
    assert failed.error_class == error_class, failed


def test_what_a_file_says_is_no_message_of_the_program(folder: Path) -> None:
    """The end of what a program printed is looked at too: only its own last sentence counts."""
    (folder / "lines").write_text("/usr/bin/cat: x: No such file or directory\n" * 3)
    paths = [str(folder / "lines"), str(folder / "secret")]
    failed = failure("awk", {"program": "1", "paths": paths})
    assert failed.error_class == "capability_missing", failed


def test_a_long_name_of_a_process() -> None:
    """The kernel keeps 15 characters of a name: a longer one matches nothing, and says so."""
    name = "a-name-of-more-than-fifteen"
    for tool in ("pgrep", "pkill"):
        failed = failure(tool, {"pattern": name})
        assert failed.error_class == "invalid_parameters", failed
        assert "15 characters" in failed.message
    assert answer("pgrep", {"pattern": name, "full": True})["found"] is False
    assert answer("pgrep", {"pattern": "a-name-fifteen"})["found"] is False
