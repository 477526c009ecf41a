"""Tests that only root can run: marked `root_only`, skipped elsewhere, and never in CI as root.

They prove that the programs of steps have no rights of the executor. Where CI runs as root, a skip
of one of them is a failure, whatever its reason: the proof would be missing, and nobody would see.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root_only") is not None and os.geteuid() != 0:
        pytest.skip("only root can switch users")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, pytest.TestReport]:
    report: pytest.TestReport = yield
    in_ci = os.environ.get("CI", "").lower() in ("true", "1") and os.geteuid() == 0
    if report.skipped and in_ci and item.get_closest_marker("root_only") is not None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"may not be skipped in CI as root: {reason}"
    return report
