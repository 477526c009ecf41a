"""Parsers that other packages bring: entry points of the group `runstream.parsers`.

A definition names one as `plugin:<name>`, so that none can stand for a parser of Runstream. It is
a function from the text of stdout to the fields of the output, and is loaded when it is first
needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

GROUP: Final = "runstream.parsers"


class PluginError(Exception):
    """There is no such parser, or none that can be used; the message is one sentence."""


def known(name: str) -> bool:
    """Whether exactly one package brings a parser of this name."""
    return len(_found(name)) == 1


def load(name: str) -> Callable[[str], dict[str, Any]]:
    """The parser; raises PluginError."""
    found = _found(name)
    if not found:
        raise PluginError(f"no installed package brings a parser {name} ({GROUP})")
    if len(found) > 1:
        raise PluginError(f"the parser {name} is in two packages: {_packages(found)}")
    return _loaded(found[0])


def _found(name: str) -> tuple[EntryPoint, ...]:
    # One package can be found twice, where two folders of sys.path lead to it.
    return tuple(
        {(each.name, each.value): each for each in entry_points(group=GROUP, name=name)}.values()
    )


def _packages(found: tuple[EntryPoint, ...]) -> str:
    return " and ".join(each.dist.name if each.dist else each.value for each in found)


@lru_cache(maxsize=256)
def _loaded(point: EntryPoint) -> Callable[[str], dict[str, Any]]:
    try:
        parser: Callable[[str], Any] = point.load()
    # A foreign module may raise anything while it is imported.
    except Exception as error:
        raise PluginError(
            f"the parser {point.name} of {_packages((point,))} cannot be loaded "
            f"({type(error).__name__}: {error})"[:500]
        ) from error

    def checked(stdout: str) -> dict[str, Any]:
        fields = parser(stdout)
        if not isinstance(fields, dict) or any(type(name) is not str for name in fields):
            raise PluginError(f"the parser {point.name} answers no object with named fields")
        return fields

    return checked
