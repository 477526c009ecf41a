"""What only root can test is tested in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = """
import pytest
pytestmark = pytest.mark.skipif(True, reason="a program is missing")
@pytest.mark.root_only
def test_confined():
    pass
def test_other():
    pass
"""


@pytest.mark.root_only
@pytest.mark.parametrize(("ci", "code", "said"), [("true", 1, "1 error"), ("", 0, "2 skipped")])
def test_a_skip_fails_in_ci_as_root(tmp_path: Path, ci: str, code: int, said: str) -> None:
    file = tmp_path / "test_x.py"
    file.write_text(SKIPPED, "utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.root_only", "-p", "no:cacheprovider",
         "-W", "ignore::pytest.PytestUnknownMarkWarning", str(file)],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout
    assert said in ended.stdout.splitlines()[-1]


def test_the_tests_of_confinement_are_marked() -> None:
    folder = ROOT / "tests/integration"
    lab = (folder / "confinement_lab.py").read_text("utf-8")
    assert "as_root = pytest.mark.root_only\n" in lab
    texts = [path.read_text("utf-8") for path in folder.glob("test_confinement_*.py")]
    assert sum(text.count("@as_root\n") for text in texts) >= 10
    assert "CI=true" in (ROOT / ".ci/run").read_text("utf-8")
