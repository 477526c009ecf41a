"""Readers: programs of our own that read through an optional library and write JSON.

The libraries run apart from the executor because they are slow to load, keep global state, and
(scapy, python-nmap) carry another licence; and because a process can be ended.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Final

from drivers.context import Failure
from drivers.errors import fail
from toolmeta.invocation import Invocation

_READERS: Final = Path(__file__).parent
#: The distributions whose name is not that of their module.
_DISTRIBUTIONS: Final = {"nmap": "python-nmap"}
#: Keeps the libraries from reading or writing settings in the user's home.
ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "XDG_CONFIG_HOME": "/nonexistent"}


def not_installed(invocation: Invocation, library: str) -> Failure | None:
    """The failure of a step whose library is absent."""
    if importlib.util.find_spec(library) is not None:
        return None
    name = _DISTRIBUTIONS.get(library, library)
    message = f"{name} is not installed on this executor: pip install runstream[network]"
    return fail(invocation, "program_missing", message)


def reader_argv(library: str, *arguments: str) -> tuple[str, ...]:
    """The reader of a library as a program; `-P` keeps its folder out of the import path."""
    return (sys.executable, "-P", str(_READERS / f"{library}_reader.py"), *arguments)
