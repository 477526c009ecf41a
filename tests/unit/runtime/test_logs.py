"""Log lines: no secret passes, known or by its looks, in a message, a field or a traceback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from drivers.known_secrets import KnownSecrets
from drivers.masking import Masker
from runtime import logs
from runtime.settings import CommonSettings

CANARY = 'canary-7f3a "x"'


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield capsys
    root.handlers, root.level = handlers, level
    logs.mask_with(lambda line: line)
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_every_way_into_a_line(written: pytest.CaptureFixture[str], log_format: str) -> None:
    log = logs.configure(CommonSettings(log_format=log_format, log_level="debug"), "executor")  # type: ignore[arg-type]
    known = KnownSecrets([CANARY])
    logs.mask_with(lambda line: Masker((), known).text(line))
    log.debug(f"sent {CANARY}", body={"a": CANARY}, argv="x --token abcdefgh12")
    logging.getLogger("other.library").warning("password=%s", "hunter2")
    try:
        raise ValueError(f"no such {CANARY}")
    except ValueError:
        log.exception("failed", dsn="postgresql://u:hunter2@h/d")
    shown = written.readouterr().err
    assert "***" in shown and "failed" in shown and "ValueError" in shown
    for part in ("canary", "hunter2", "abcdefgh12"):
        assert part not in shown, shown
    if log_format == "json":
        assert all(json.loads(line) for line in shown.splitlines())


def test_a_process_without_known_values_masks_by_pattern(
    written: pytest.CaptureFixture[str],
) -> None:
    log = logs.configure(CommonSettings(log_format="json"), "router")
    log.info("begun", url="https://ann:hunter2@example.org/")
    assert "hunter2" not in written.readouterr().err
