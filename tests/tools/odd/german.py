"""A German environment: as an executor's own, and as that of a login to a host."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: LANGUAGE decides on messages wherever the locale is another one than `C`, also for `C.UTF-8`.
ENVIRONMENT: Final = {
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "de_DE.UTF-8",
    "LANGUAGE": "de:en",
    "TZ": "Asia/Kathmandu",
}
_COMPILED: Final = Path("/usr/lib/locale/de_DE.utf8")
_SOURCE: Final = Path("/usr/share/i18n/locales/de_DE")


@contextmanager
def locale() -> Iterator[bool]:
    """The locale de_DE.UTF-8 of the machine, made for the time of a test; whether there is one."""
    listed = subprocess.run(["locale", "-a"], capture_output=True, text=True, timeout=20).stdout
    if "de_DE.utf8" in listed.split():
        yield True
        return
    if shutil.which("localedef") is None or not _SOURCE.exists():
        yield False
        return
    words = ["localedef", "--no-archive", "-i", "de_DE", "-f", "UTF-8", "de_DE.UTF-8"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    try:
        yield True
    finally:
        shutil.rmtree(_COMPILED)
