"""What runs on the host of an SSH connection, in every shell that a host can have as /bin/sh."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from drivers import remote
from drivers.processes import MARK

SHELLS = [
    [found, *more]
    for name, *more in (["dash"], ["bash", "--posix"], ["busybox", "sh"], ["mksh"], ["ksh93"])
    if (found := shutil.which(name)) is not None
]
#: Of a login: what follows the word `-c` of the line is for sh.
SCRIPT = 'IFS= read -r runstream && eval "$runstream"'
#: Every character of two bytes, so that each byte that UTF-8 can have behind another is there.
TWO_BYTES = "".join(map(chr, range(0x80, 0x800)))
WORDS = [
    "", "'", '"', "a b", "\n", "\n\n", "a\nb\n", "!", "!!x", "it's !1", "\\", "\\n", "a\\", "$HOME",
    "`id`", "$(id)", "*", "~", "-n", "--", "#x", "a;b", "&", "\t", "\r", "\x01\x7f", "ü€😀",
    TWO_BYTES, "x" * 50_000,
]  # fmt: skip


def started(
    shell: list[str], argv: tuple[str, ...], env: dict[str, str], stdin: bytes = b"", **more: str
) -> tuple[bytes, bytes, int]:
    token = remote.Token.new()
    given = remote.STARTER.line(token) + remote.to_start(argv, env) + stdin
    done = subprocess.run(
        [*shell, "-c", SCRIPT], input=given, capture_output=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], **more},
    )  # fmt: skip
    ready, _, rest = done.stdout.partition(b"\n")
    assert ready == token.line + b"ready"
    assert done.stderr.startswith(token.line + b"errors\n")
    state, _, output = rest.partition(b"\n")
    assert state.startswith(token.line)
    return state.removeprefix(token.line), output, done.returncode


def test_the_line_is_the_same_for_every_login_shell() -> None:
    assert f"exec /bin/sh -c '{SCRIPT}'" == remote.LINE
    # What csh and fish read in other ways within single quotes.
    assert not set(SCRIPT) & set("'\n!\\")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_arguments_environment_and_stdin_arrive_byte_for_byte(shell: list[str]) -> None:
    show = "import os, sys; print(ascii((sys.argv[1:], os.environ['A'], sys.stdin.read())))"
    python = shutil.which("python3") or "python3"
    value = "it's\nLD_PRELOAD=x !\\ €"
    stdin = "first\n\nl\u00e4st !"
    words = (python, "-c", show, *WORDS)
    state, output, code = started(shell, words, {"A": value}, stdin.encode(), LANG="C.UTF-8")
    assert (state, code) == (b"started", 0)
    assert output.decode().strip() == ascii((WORDS, value, stdin))


@pytest.mark.parametrize("name", ["bash", "dash", "tcsh", "fish", "zsh", "mksh", "ksh93"])
def test_the_line_in_every_login_shell(name: str) -> None:
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"{name} is not installed")
    token = remote.Token.new()
    given = remote.STARTER.line(token) + remote.to_start(("printf", "%s|", *WORDS), {"A": "b"})
    done = subprocess.run(
        [shell, "-c", remote.LINE], input=given, capture_output=True, timeout=60, check=False
    )
    assert done.stdout.split(b" started\n", 1)[1].decode() == "|".join((*WORDS, ""))


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_environment_is_that_of_the_login_with_the_mark(shell: list[str]) -> None:
    words, env = ("/usr/bin/env", "-0"), {MARK: "the:mark", "A": "b\nC=d"}
    state, output, _ = started(shell, words, env, X="y", PATH="/usr/bin")
    found = dict(one.split("=", 1) for one in output.decode().split("\0") if one)
    assert state == b"started"
    assert found.pop("PATH").split(":") == [
        "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/sbin", "/bin"
    ]  # fmt: skip
    shells_own = {"_", "PWD", "OLDPWD", "SHLVL", "SHELLOPTS", "A__z"}
    assert {name: found[name] for name in found.keys() - shells_own} == {
        "A": "b\nC=d", "X": "y", MARK: "the:mark"
    }  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_where_programs_are(shell: list[str], tmp_path: Path) -> None:
    own = tmp_path / "a [b] *"
    own.mkdir()
    (own / "here").write_text("#!/bin/sh\necho it\n")
    (own / "here").chmod(0o755)
    (own / "text").write_text("")
    path = f"{own}:/nonexistent"
    assert started(shell, ("here",), {}, PATH=path) == (b"started", b"it\n", 0)
    assert started(shell, ("text",), {}, PATH=path) == (b"denied", b"", 127)
    assert started(shell, ("absent",), {}, PATH=path) == (b"missing", b"", 127)
    assert started(shell, (str(own / "here"),), {}) == (b"started", b"it\n", 0)
    # A builtin of the shell is no program.
    assert started(shell, ("ulimit",), {})[0] == b"missing"
    # Set by the tool, PATH is what it says.
    assert started(shell, ("here",), {"PATH": "/usr/bin"}, PATH=path)[0] == b"missing"
    # Debian's folder of the programs for administrators, which no user's PATH has.
    assert started(shell, ("start-stop-daemon", "--version"), {}, PATH="/usr/bin:/bin")[2] == 0


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_connection_that_ends_early_starts_nothing(shell: list[str], tmp_path: Path) -> None:
    """Cancelled while it is being started: the program must not run without its mark."""
    token = remote.Token.new()
    opening = remote.STARTER.line(token)
    line = remote.to_start(("touch", str(tmp_path / "ran")), {MARK: "m", "A": "b"})
    for given in (b"", opening[:-1], opening, opening + line[:9], opening + line[:-1]):
        subprocess.run([*shell, "-c", SCRIPT], input=given, timeout=10, check=False)
    assert not (tmp_path / "ran").exists()
    subprocess.run([*shell, "-c", SCRIPT], input=opening + line, timeout=10, check=True)
    assert (tmp_path / "ran").exists()


def test_what_only_echoes_is_no_proof() -> None:
    token = remote.Token.new()
    assert token.line.strip() not in remote.STARTER.line(token)
    assert token.line != remote.Token.new().line
