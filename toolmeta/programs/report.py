"""How a program of the catalogue says what it did, and why it did not.

The modules of this folder run on the machine that a step names, by its own python3: they need
nothing but the standard library of Python 3.8, and import nothing of this project but each other.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Dict, NoReturn

#: Entries of a list in the report; what is left out is counted.
MOST_ENTRIES = 1_000
#: Characters of one text in the report.
MOST_TEXT = 64 * 1024
#: Characters of a sentence.
MOST_SENTENCE = 1_500

#: Python 3.8 has no `dict[str, Any]` where it is evaluated.
Fields = Dict[str, Any]

_OF_ERRNO = {
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_found",
    errno.EACCES: "capability_missing",
    errno.EPERM: "capability_missing",
    errno.EROFS: "capability_missing",
    errno.ETXTBSY: "busy",
    errno.EISDIR: "invalid_parameters",
    errno.EEXIST: "conflict",
    errno.ENOTEMPTY: "conflict",
    errno.ENAMETOOLONG: "invalid_parameters",
    errno.ELOOP: "invalid_parameters",
    errno.EINVAL: "invalid_parameters",
}


class Refused(Exception):
    """Why it was not done, or not all of it: an error class and a sentence.

    `fields` is the report of what was done before.
    """

    def __init__(self, error_class: str, sentence: str, fields: Fields | None = None) -> None:
        """`error_class` is one of drivers/errors.py."""
        super().__init__(sentence)
        self.error_class = error_class
        self.sentence = sentence
        self.fields = fields


_told_at = 0.0


def progress(percent: float | None, note: str) -> None:
    """Say how far it is, at most once a second; the executor takes the line out of the output."""
    global _told_at  # noqa: PLW0603
    now = time.monotonic()
    if now - _told_at < 1.0:
        return
    _told_at = now
    shown = "-" if percent is None else f"{min(100.0, max(0.0, percent)):.1f}"
    text = " ".join(_plain(note).split())[:200]
    sys.stderr.write(f"runstream progress: {shown} {text}\n")
    sys.stderr.flush()


def finish(main: Callable[[Fields], Fields], parameters: Fields) -> NoReturn:
    """Run `main` and end: its report is the last line of stdout, a failure the last of stderr."""
    # So that files that are written aside are removed.
    signal.signal(signal.SIGTERM, _stop)
    try:
        fields = main(parameters)
    except Refused as error:
        if error.fields is not None:
            _write(error.fields)
        _fail(error.error_class, error.sentence)
    except OSError as error:
        _fail(_OF_ERRNO.get(error.errno or 0, "exit_status"), sentence_of(error))
    _write(fields)
    sys.stdout.flush()
    # Nothing that is still open may change how it ended.
    os._exit(0)


def sentence_of(error: OSError) -> str:
    """The error of a file, with its name."""
    named = [os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{', '.join(named)}: {error.strerror}" if named else f"{error.strerror or error}"


def cut(entries: list[Any]) -> list[Any]:
    """As much of a list as a report takes."""
    return entries[:MOST_ENTRIES]


def _write(fields: Fields) -> None:
    print(json.dumps(_plain(fields)))


def _fail(error_class: str, sentence: str) -> NoReturn:
    sys.stdout.flush()
    text = " ".join(_plain(sentence).split())
    if len(text) > MOST_SENTENCE:
        text = text[: MOST_SENTENCE - 1] + "…"
    sys.stderr.buffer.write(f"\nrunstream {error_class}: {text}\n".encode())
    sys.stderr.flush()
    os._exit(1)


def _plain(value: Any) -> Any:
    """Names that are no UTF-8 become text all the same."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(name): _plain(item) for name, item in value.items()}
    return value


def _stop(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)
