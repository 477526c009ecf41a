"""Logs: one JSON object per line (or coloured text on a terminal), on stderr, in UTC."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import structlog

from runtime import recording
from runtime.pattern_matcher import PatternMatcher, patterns_of
from runtime.settings import CommonSettings

Log = structlog.stdlib.BoundLogger


class _Masking:
    """The last step of every log line: what looks like a secret, and what is known to be one."""

    def __init__(self) -> None:
        self.patterns: PatternMatcher | None = None
        #: Of an executor, which knows values.
        self.known: Callable[[str], str] | None = None

    def __call__(self, logger: Any, method: str, line: Any) -> str:
        text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        if self.known is not None:
            text = self.known(text)
        return text if self.patterns is None else self.patterns.text(text)


_masking = _Masking()


def mask_with(known: Callable[[str], str]) -> None:
    """Pass every line through `known` from now on; it is called from any thread."""
    _masking.known = known


def masked(text: str) -> str:
    """The text as it would stand in a line."""
    return _masking(None, "", text)


def _trace_ids(logger: Any, method: str, line: structlog.typing.EventDict) -> Any:
    """Name the span that the line was written in, where there is one."""
    here = recording.current()
    if here is not None:
        line.setdefault("trace_id", here.context.trace_id)
        line.setdefault("span_id", here.context.span_id)
    return line


def configure(settings: CommonSettings, app: str) -> Log:
    """Set up logging for this process; the standard library's loggers have the same output."""
    _masking.patterns = patterns_of(settings)
    pretty = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _trace_ids,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
            _masking,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("runstream").setLevel(settings.log_level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    log: Log = structlog.get_logger("runstream").bind(app=app, instance=settings.instance)
    return log
