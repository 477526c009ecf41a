"""docs/own-tools.md, word by word from an empty folder: write, lint, start, run, change."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SERVERS
from tests.docs.blocks import ROOT, blocks

_SECONDS = 300


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_minutes_of_the_page(tmp_path: Path) -> None:
    page = ROOT / "docs" / "own-tools.md"
    written = [block.text for block in blocks() if block.page == page and block.info == "console"]
    assert len(written) >= 5
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in SERVERS and not name.startswith(("PYTEST", "RUNSTREAM_"))
    }
    environment["PATH"] = f"{Path(sys.prefix) / 'bin'}:{environment['PATH']}"
    try:
        # One shell, as a reader has it; the first line that fails ends it.
        ended = subprocess.run(
            ["bash", "-euo", "pipefail"],
            input="\n".join(written),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    finally:
        subprocess.run(
            ["runstream", "down"], cwd=tmp_path, env=environment, check=False, timeout=60,
            capture_output=True,
        )  # fmt: skip
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    assert re.findall(r"^(?:Hello|Good morning) Ada$", ended.stdout, re.M) == [
        "Hello Ada", "Good morning Ada",
    ]  # fmt: skip
    assert "Ada has 3 letters" in ended.stdout
    assert told.count("2 definitions, 0 faults") == 2
