"""Check parameters against a tool: every problem at once, each with its field and remedy."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from toolmeta import rules
from toolmeta.checkers import Allowed, Check, compile_shape, is_reference
from toolmeta.invocation import Problem
from toolmeta.model import Tool
from toolmeta.parameters import Refused

_MOST_UNKNOWN: Final = 20


class Checker:
    """A tool's parameters, compiled once."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        #: Canonical name of every name that is accepted.
        self.canonical: dict[str, str] = {}
        self._checks: dict[str, tuple[str, Check]] = {}
        guarded = rules.exposed(tool)
        for name, shape in tool.parameters.items():
            compiled = compile_shape(shape, guarded=name in guarded)
            for spelling in (name, *shape.aliases):
                self.canonical[spelling] = name
                self._checks[spelling] = (f"parameters.{name}", compiled)
        self._has_aliases = len(self.canonical) > len(tool.parameters)
        self._required = tuple(name for name, item in tool.parameters.items() if item.required)
        self._conditional = tuple(
            (name, item.required_if) for name, item in tool.parameters.items() if item.required_if
        )
        self._limited = tuple(
            (name, item.only_if) for name, item in tool.parameters.items() if item.only_if
        )
        self._refused = tuple(
            (name, rule, re.compile(rule.text))
            for name, item in tool.parameters.items()
            for rule in item.refused_where
        )
        self._dependent = tuple(
            (name, item.needs) for name, item in tool.parameters.items() if item.needs
        )
        self.defaults = {
            name: item.default for name, item in tool.parameters.items() if item.default is not None
        }

    def problems(self, parameters: dict[str, Any], allowed: Allowed) -> list[Problem]:
        """The problems; an empty list where there is none."""
        found: list[Problem] = []
        checks = self._checks
        for name, value in parameters.items():
            known = checks.get(name)
            if known is None:
                # Looking for what may have been meant takes long, and nobody reads more.
                if len(found) < _MOST_UNKNOWN:
                    found.append(self._unknown(name))
            elif value is not None:
                known[1](value, known[0], allowed, found)
        given = self.named(parameters, found) if self._has_aliases else parameters
        for name in self._required:
            if given.get(name) is None:
                found.append(Problem(f"parameters.{name}", self._missing(name)))
        for name, conditions in self._conditional:
            if given.get(name) is None:
                self._require_if(name, conditions, given, found)
        for name, limits in self._limited:
            if given.get(name) not in (None, False):
                self._only_if(name, limits, given, found)
        for name, rule, pattern in self._refused:
            if given.get(name) is not None:
                self._refuse(name, rule, pattern, given, allowed, found)
        for name, needed in self._dependent:
            absent = [other for other in needed if given.get(other) is None]
            if absent and given.get(name) not in (None, False):
                message = f"means nothing without {' and '.join(absent)}"
                found.append(Problem(f"parameters.{name}", message))
        for group in self._tool.one_of:
            if all(given.get(name) is None for name in group):
                found.append(Problem("parameters", f"give one of {', '.join(group)}"))
        for group in self._tool.exclusive:
            both = [name for name in group if given.get(name) is not None]
            if len(both) > 1:
                message = f"cannot be combined with {both[0]}; give only one of them"
                found.append(Problem(f"parameters.{both[1]}", message))
        return found

    def named(self, parameters: dict[str, Any], found: list[Problem]) -> dict[str, Any]:
        """The parameters under their canonical names; one given twice is a problem."""
        given: dict[str, Any] = {}
        for name, value in parameters.items():
            own = self.canonical.get(name, name)
            if value is not None and given.get(own) is not None:
                found.append(Problem(f"parameters.{own}", "is given twice, under two names"))
            if value is not None or own not in given:
                given[own] = value
        return given

    def _missing(self, name: str) -> str:
        return f"is required: {self._tool.parameters[name].description.rstrip('.')}"

    def _require_if(
        self,
        name: str,
        conditions: dict[str, tuple[Any, ...]],
        given: dict[str, Any],
        found: list[Problem],
    ) -> None:
        if any(given.get(other) is not None for other in self._tool.parameters[name].instead):
            return
        for other, values in conditions.items():
            value = self._value(other, given)
            if not is_reference(value) and _is_one(value, values):
                instead = self._tool.parameters[name].instead
                without = f" without {' or '.join(instead)}" if instead else ""
                message = f"is required when {other} is {value}{without}"
                found.append(Problem(f"parameters.{name}", message))

    def _only_if(
        self,
        name: str,
        limits: dict[str, tuple[Any, ...]],
        given: dict[str, Any],
        found: list[Problem],
    ) -> None:
        for other, values in limits.items():
            value = self._value(other, given)
            if not is_reference(value) and not _is_one(value, values):
                listed = ", ".join(str(item) for item in values)
                found.append(Problem(f"parameters.{name}", f"is only for {other} {listed}"))

    def _refuse(
        self,
        name: str,
        rule: Refused,
        pattern: re.Pattern[str],
        given: dict[str, Any],
        allowed: Allowed,
        found: list[Problem],
    ) -> None:
        other = self._value(rule.parameter, given)
        if not _is_one(other, rule.values):
            return
        value = given[name]
        items = enumerate(value) if type(value) is list else ((None, value),)
        for index, item in items:
            later = allowed.references and is_reference(item)
            if type(item) is str and not later and pattern.fullmatch(item):
                place = f"parameters.{name}" + ("" if index is None else f"[{index}]")
                message = f"is refused where {rule.parameter} is {other}: {rule.why}"
                found.append(Problem(place, message))

    def _value(self, name: str, given: dict[str, Any]) -> Any:
        value = given.get(name)
        return self.defaults.get(name) if value is None else value

    def _unknown(self, name: Any) -> Problem:
        shown = str(name)[:64]
        import difflib

        near = difflib.get_close_matches(shown, list(self.canonical), 1, 0.6)
        if near:
            hint = f"did you mean {near[0]}?"
        elif self._tool.parameters:
            hint = f"it takes {', '.join(self._tool.parameters)}"
        else:
            hint = "it takes none"
        return Problem(f"parameters.{shown}", f"is no parameter of {self._tool.name}; {hint}")


def _is_one(value: Any, values: tuple[Any, ...]) -> bool:
    return any(type(value) is type(item) and value == item for item in values)


@lru_cache(maxsize=1_024)
def checker_of(tool: Tool) -> Checker:
    """The compiled checks of a tool."""
    return Checker(tool)


def check(tool: Tool, parameters: dict[str, Any], *, references_allowed: bool) -> list[Problem]:
    """Every problem of these parameters; empty where they are valid.

    With `references_allowed` text with `{{ … }}` is accepted as any value: `bind` checks it
    when it is known. A secret reference is accepted for a parameter that is marked secret.
    """
    if type(parameters) is not dict:
        return [Problem("parameters", "must be an object with one entry per parameter")]
    return checker_of(tool).problems(parameters, Allowed(references_allowed, True))


def apply_defaults(tool: Tool, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters under their canonical names, with defaults for the absent and null ones.

    Names that the tool does not know are kept: refusing them is the task of `check`.
    """
    checker = checker_of(tool)
    given = checker.named(parameters, [])
    filled = {name: value for name, value in given.items() if value is not None}
    for name, value in checker.defaults.items():
        if name not in filled:
            filled[name] = value
    return filled
