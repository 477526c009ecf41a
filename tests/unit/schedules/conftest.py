"""A partition of schedules on the eve of the autumn's change of the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.schedules.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, "2026-10-24T00:00")
