"""The loader of scripts, in every shell that a host can have as /bin/sh."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from drivers.scripts.loader import LOADER

SHELLS = {
    "dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"], "mksh": ["mksh"],
    "ksh": ["ksh"], "zsh": ["zsh", "--emulate", "sh"],
}  # fmt: skip
SCRIPT = 'printf "%s|" "$@"; cat; umask; exit 7\n# é'


def load(shell: str, size: int, folder: str, program: str, temporary: Path) -> tuple[int, str, str]:
    argv = SHELLS[shell]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"no {argv[0]}")
    words = ["-c", "a\nb", "$(id)", "--", ""]
    ended = subprocess.run(
        [*argv, "-c", LOADER, "sh", "TOKEN", str(size), folder, program, "/dev/fd/3", *words],
        input=f"{SCRIPT}typed\n".encode() if size == len(SCRIPT.encode()) else SCRIPT.encode(),
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary)},
        capture_output=True,
        timeout=30,
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_gets_its_words_and_its_input_and_leaves_nothing(
    shell: str, tmp_path: Path
) -> None:
    code, out, err = load(shell, len(SCRIPT.encode()), "/usr", "sh", tmp_path)
    assert (code, err) == (7, "")
    # With the umask of before.
    assert out.rpartition("\n0")[0] == "-c|a\nb|$(id)|--||typed"
    assert "077" not in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("size", "folder", "program", "gone", "told"),
    [
        (len(SCRIPT.encode()) + 1, "", "sh", False, "the script did not arrive as a whole"),
        (len(SCRIPT.encode()), "", "no-such", False, "no-such is not installed there"),
        (len(SCRIPT.encode()), "/no such", "sh", False, "the folder /no such cannot be entered"),
        (len(SCRIPT.encode()), "", "sh", True, "no file can be made in"),
    ],
)
def test_where_nothing_is_started_that_is_said_behind_the_token(
    shell: str, size: int, folder: str, program: str, gone: bool, told: str, tmp_path: Path
) -> None:
    temporary = tmp_path / "gone" if gone else tmp_path
    code, out, err = load(shell, size, folder, program, temporary)
    assert (code, out) == (125, "")
    assert err.startswith(f"TOKEN\n{told}")
    assert list(tmp_path.iterdir()) == []
