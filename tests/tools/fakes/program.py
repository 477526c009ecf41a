"""A fake program: records how it was started and prints what the test gave it.

Usage, in a test under tests/tools (the fixture `fake_program` is in tests/tools/conftest.py):

    def test_helm(execute: Execute, fake_program: FakePrograms) -> None:
        helm = fake_program("helm", stdout='[{"name": "web"}]')
        result = execute("helm", {"arguments": ["list", "--output", "json"]})
        assert result.status == "succeeded"
        assert helm.argv == ["helm", "list", "--output", "json"]   # of the last call
        assert helm.stdin == ""
        assert helm.environment["KUBECONFIG"] == "/etc/kube"

The executor of the session's stack searches the fakes' folder before the machine's own PATH, so
the plan goes the whole way: broker, router, executor, driver, start of a program. The fake is
there for one test only, and what ran in that test does not count as really executed. It hides a
program of the same name, so use it only where the program cannot be had.

Give `exit_code` and `stderr` for a program that fails; `replies` where several calls differ
(`replies={"version": "v3.1"}`: the first key that is among the arguments wins over `stdout`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

_SCRIPT = """#!{python} -IS
import json, os, sys
reply = json.loads({reply!r})
call = {{
    "argv": [{name!r}, *sys.argv[1:]],
    "stdin": sys.stdin.read(),
    "environment": dict(os.environ),
}}
with open({calls!r}, "a", encoding="utf-8") as file:
    file.write(json.dumps(call) + "\\n")
words = sys.argv[1:]
sys.stdout.write(next((t for k, t in reply["replies"].items() if k in words), reply["stdout"]))
sys.stderr.write(reply["stderr"])
sys.exit(reply["exit_code"])
"""


@dataclass(frozen=True)
class Call:
    """One start of the fake: its whole argv, what it read, and its environment."""

    argv: list[str]
    stdin: str
    environment: dict[str, str]


@dataclass(frozen=True)
class FakeProgram:
    """A fake that is on the executor's PATH; the calls are in the order of their starts."""

    path: Path

    @property
    def calls(self) -> list[Call]:
        """Every call so far."""
        log = _log_of(self.path)
        lines = log.read_bytes().splitlines() if log.exists() else []
        return [Call(**orjson.loads(line)) for line in lines]

    @property
    def last(self) -> Call:
        """The last call; fails where there was none."""
        calls = self.calls
        assert calls, f"the fake {self.path.name} was never started"
        return calls[-1]

    @property
    def argv(self) -> list[str]:
        """The argv of the last call, beginning with the program's name."""
        return self.last.argv

    @property
    def stdin(self) -> str:
        """What the last call read from its standard input."""
        return self.last.stdin

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the last call."""
        return self.last.environment


class FakePrograms(Protocol):
    """The fixture `fake_program`: makes a fake and gives it back."""

    def __call__(
        self,
        name: str,
        *,
        stdout: str = "",
        stderr: str = "",
        exit_code: int = 0,
        replies: dict[str, str] | None = None,
    ) -> FakeProgram:
        """Put a fake `name` before everything else on the executor's PATH."""
        ...


def install(
    folder: Path,
    name: str,
    *,
    stdout: str = "",
    stderr: str = "",
    exit_code: int = 0,
    replies: dict[str, str] | None = None,
) -> FakeProgram:
    """Write the fake's executable into `folder`; replaces one of the same name."""
    assert "/" not in name, "a fake is a program's name, not a path"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    reply = {
        "stdout": stdout,
        "stderr": stderr,
        "exit_code": exit_code,
        "replies": replies or {},
    }
    text = _SCRIPT.format(
        python=sys.executable,
        reply=orjson.dumps(reply).decode(),
        name=name,
        calls=str(_log_of(path)),
    )
    # Written aside and renamed: nobody starts half a script.
    half = folder / f".{name}.half"
    half.write_text(text, encoding="utf-8")
    half.chmod(0o755)
    half.rename(path)
    return FakeProgram(path)


def remove(program: FakeProgram) -> None:
    """Take the fake off the PATH, with its record."""
    program.path.unlink(missing_ok=True)
    _log_of(program.path).unlink(missing_ok=True)


def _log_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.calls")
