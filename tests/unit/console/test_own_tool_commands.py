"""`runstream tools new` and `lint`: what is written is right, and nothing is replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cli import main
from console.exits import Exit

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def loose_umask() -> Iterator[None]:
    """What many desktops have: files that a group can write to."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.parametrize("script", [None, "sh", "bash", "python3", "pwsh"])
@pytest.mark.parametrize("domain", ["automation", "network"])
def test_what_is_written_is_right(
    tmp_path: Path, capsys: Capture, script: str | None, domain: str
) -> None:
    folder = tmp_path / "tools"
    options = ["--domain", domain, *([] if script is None else ["--script", script])]
    assert main(["tools", "new", "greet", str(folder), *options]) == Exit.OK
    written = capsys.readouterr().out.split()
    assert all(Path(path).is_file() for path in written)
    assert main(["tools", "lint", str(folder), "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == []
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert main(["tools", "new", "greet", str(folder), *options]) == Exit.USAGE
    assert "greet is a tool already" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.parametrize(
    "arguments",
    [
        ["Greet", "tools"], ["../x", "tools"], ["-x", "tools"], ["df", "tools"],
        ["kubectl-get", "tools"], ["greet", "tools", "--domain", "kitchen"], ["greet"],
        ["greet", "tools", "--script", "perl"], ["shell", "tools"],
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNSTREAM_TOOLS_PATH", raising=False)
    assert main(["tools", "new", *arguments]) == Exit.USAGE
    assert list(tmp_path.iterdir()) == []


def test_no_file_name_forges_a_line_of_lint(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "automation"
    folder.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    (folder / "a\nb.yaml: all is well.yaml").write_text("name: [")
    (folder / "a\nb.yaml: all is well.yaml").chmod(0o644)
    folder.chmod(0o755)
    assert main(["tools", "lint", str(tmp_path)]) == Exit.FAILED
    told = capsys.readouterr().err.splitlines()
    assert not any(line.startswith("b.yaml") for line in told)


def test_lint_tells_faults_and_ends_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("RUNSTREAM_TOOLS_PATH", str(tmp_path / "tools"))
    assert main(["tools", "new", "greet"]) == Exit.OK
    path = Path(capsys.readouterr().out.strip())
    path.write_text(path.read_text().replace("effect: read", "effect: reed"))
    assert main(["tools", "lint"]) == Exit.FAILED
    told = capsys.readouterr().err
    assert f"{path}:" in told.replace("\n", "") and "risk.effect" in told
    assert "1 definition, 1 fault" in told
    assert main(["tools", "lint", "--json"]) == Exit.FAILED
    (fault,) = json.loads(capsys.readouterr().out)
    assert fault["file"] == str(path) and fault["field"] == "risk.effect"
    assert isinstance(fault["line"], int) and fault["remedy"]
    monkeypatch.delenv("RUNSTREAM_TOOLS_PATH")
    assert main(["tools", "lint"]) == Exit.USAGE
