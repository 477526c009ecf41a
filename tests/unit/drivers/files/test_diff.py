"""The diff of a put: what `patch` makes the new text of."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from drivers.files.diff import unified

PATCH = shutil.which("patch")


@pytest.mark.skipif(PATCH is None, reason="patch is not installed")
@pytest.mark.parametrize("seed", range(12))
def test_patch_makes_the_new_text_of_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    old = [f"line {chance.randrange(40)}\n" for _ in range(chance.randrange(1, 120))]
    new = list(old)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(new) + 1)
        new[at : at + chance.randrange(3)] = [f"new {chance.randrange(9)}\n"] * chance.randrange(3)
    before, after = "".join(old), "".join(new)
    if seed % 3 == 0:
        before, after = before.rstrip("\n"), f"{after}x"
    shown = unified(before.encode(), after.encode(), "file").text
    assert shown is not None
    (tmp_path / "file").write_text(before)
    assert PATCH is not None
    done = subprocess.run(
        [PATCH, "--fuzz=0", "file"], cwd=tmp_path, input=shown, text=True, capture_output=True,
        timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "offset" not in done.stdout, done.stdout + shown
    assert (tmp_path / "file").read_text() == after


def test_what_has_none() -> None:
    assert unified(b"\xff\xfe", b"x", "p").left_out == "not text in UTF-8"
    assert unified(b"a\0b", b"x", "p").left_out == "not text in UTF-8"
    assert unified(None, b"x" * 70_000, "p").left_out == "more than 65536 bytes"
    assert unified(None, b"x\n" * 2_000, "p").left_out == "more than 1000 lines are concerned"


def test_hostile_texts_take_no_time() -> None:
    old = "".join(f"{index % 7}\n" for index in range(1_000))
    new = "".join(f"{index % 5}\n" for index in range(1_000))
    began = time.process_time()
    shown = unified(old.encode(), new.encode(), "p")
    assert time.process_time() - began < 5
    assert shown.text is not None and len(shown.text) <= 16 * 1024


def test_a_new_file() -> None:
    assert unified(None, b"a\n", "/p").text == "--- /dev/null\n+++ /p\n@@ -0,0 +1 @@\n+a\n"
