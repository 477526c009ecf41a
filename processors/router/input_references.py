"""Inputs in a plan: plain references are replaced by their values before the plan is read.

So the policy, locks, approvals and secrets see the real names of hosts. A value is data: what has
braces is not put into a text that is rendered later. There the reference stays, and is looked up
during the run, once.

It works on the JSON of the plan, whatever fields a step has:

- `when`, `assert` and the conditions of `check` and `until` are CEL: they stay as they are, and
  name `inputs` themselves; so do their messages, which are rendered during the run;
- `parameters` and `for_each` are rendered during the run, and may hold any expression;
- everywhere else a plain reference `{{ inputs.name }}` can stand, and nothing else about inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from processors.router.input_values import MAX_PROBLEMS, not_declared
from runtime.cel import cut_fields, expressions
from runtime.cel.form import named_inputs
from runtime.cel.tokens import NotTokens, tokens
from streams.inputs import Input
from streams.limits import MAX_PLAN_BYTES
from toolmeta.invocation import Problem

MAX_DEPTH: Final = 100
_CONDITIONS: Final = frozenset({"when", "assert", "check", "until", "condition"})
_MESSAGE: Final = "message"
_RENDERED: Final = frozenset({"parameters", "inputs"})
_STEP_LISTS: Final = frozenset({"steps", "finally"})
_ROOT: Final = "inputs"


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """Where the reference of a secret input was put."""

    field: str
    input: str
    #: The tool and its parameter; None outside of parameters.
    tool: str | None
    parameter: str | None


@dataclass(slots=True)
class Substituted:
    """The plan with the values of its inputs, and where its secrets went."""

    plan: dict[str, Any]
    secrets: list[SecretPlace] = field(default_factory=list)


def substitute(
    plan: dict[str, Any],
    declared: Mapping[str, Input],
    values: Mapping[str, Any],
    unknown: frozenset[str] = frozenset(),
) -> Substituted | list[Problem]:
    """The plan without its declarations, plain references to inputs replaced; or what is wrong.

    The values of `unknown` inputs are examples: they stand only where no reference can.
    """
    work = _Substitution(declared, values, unknown)
    try:
        found = work.plan(plan)
    except _TooMany:
        pass
    except RecursionError:
        work.problems.append(Problem("plan", "it is nested too deep; flatten its parameters"))
    if work.problems:
        return work.problems[:MAX_PROBLEMS]
    return Substituted(found, work.secrets)


class _TooMany(Exception):
    """Nobody is told of more problems, or the plan has grown too large."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: its field, and whether its text is rendered during the run."""

    field: str
    rendered: bool
    tool: str | None = None
    parameter: str | None = None
    depth: int = 0

    def inside(self, part: str) -> _Place:
        deeper = self.depth + 1
        if deeper > MAX_DEPTH:
            raise RecursionError
        return _Place(f"{self.field}{part}", self.rendered, self.tool, self.parameter, deeper)


@dataclass(slots=True)
class _Substitution:
    declared: Mapping[str, Input]
    values: Mapping[str, Any]
    unknown: frozenset[str]
    problems: list[Problem] = field(default_factory=list)
    secrets: list[SecretPlace] = field(default_factory=list)
    #: Bytes that the values may still take: one could stand at thousands of places.
    left: int = MAX_PLAN_BYTES

    def plan(self, plan: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in plan.items():
            if name == _ROOT:
                continue
            place = _Place(f"plan.{name[:64]}", rendered=False)
            found[name] = self._member(name, value, place, None)
        return found

    def _member(self, name: str, value: Any, place: _Place, tool: str | None) -> Any:
        """A field of the plan, of a step, or of a compensation."""
        if name in _STEP_LISTS:
            # No value of an input is a step: its conditions would be expressions.
            steps = value if isinstance(value, list) else [value]
            found = [
                self._step(step, place.inside(f"[{number}]")) for number, step in enumerate(steps)
            ]
            return found if steps is value else value
        if name == "compensate":
            return self._step(value, place)
        if name in _CONDITIONS:
            return self._condition(value, place)
        if name == _MESSAGE:
            for text in expressions.references(value):
                self._looked_at(text, place)
            return value
        if name == "for_each":
            return self._items(value, place)
        if name in _RENDERED and isinstance(value, dict):
            return {
                key: self._value(
                    item,
                    _Place(f"{place.field}.{key[:64]}", True, tool, key, place.depth + 1),
                )
                for key, item in value.items()
            }
        return self._value(value, place)

    def _step(self, step: Any, place: _Place) -> Any:
        if not isinstance(step, dict):
            return step
        named = step.get("tool")
        tool = self._value(named, place.inside(".tool")) if named is not None else None
        found = {
            name: self._member(name, value, place.inside(f".{name[:64]}"), tool)
            for name, value in step.items()
            if name != "tool"
        }
        return found if tool is None else {"tool": tool, **found}

    def _items(self, value: Any, place: _Place) -> Any:
        rendered = _Place(place.field, True, depth=place.depth)
        if not isinstance(value, str):
            # Hosts of the inventory are looked up by the very names that stand here.
            return self._value(value, rendered if isinstance(value, list) else place)
        found = (
            self._value(value, rendered)
            if "{{" in value
            else self._whole(value, value.strip(), rendered)
        )
        # A text would be taken for an expression.
        return value if isinstance(found, str) else found

    def _condition(self, value: Any, place: _Place) -> Any:
        """Conditions as they are; beside one, how often and how long may be inputs."""
        if isinstance(value, dict):
            return {
                key: self._member(key, item, place.inside(f".{key[:64]}"), None)
                for key, item in value.items()
            }
        for number, one in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(one, str):
                text = one.strip()
                bare = text[2:-2] if text.startswith("{{") and text.endswith("}}") else text
                self._looked_at(bare, place if one is value else place.inside(f"[{number}]"))
        return value

    def _looked_at(self, text: str, place: _Place) -> None:
        """An expression that stays as it is, and is evaluated during the run."""
        text = text.strip()
        names = self._names(text, place)
        if expressions.is_path(text):  # Of others that has been said.
            self._refuse_secrets(names, place)

    def _value(self, value: Any, place: _Place) -> Any:
        if isinstance(value, str):
            return self._text(value, place) if "{{" in value else value
        if isinstance(value, dict):
            return {
                key: self._value(item, place.inside(f".{key[:64]}")) for key, item in value.items()
            }
        if isinstance(value, list):
            return [
                self._value(item, place.inside(f"[{number}]")) for number, item in enumerate(value)
            ]
        return value

    def _text(self, text: str, place: _Place) -> Any:
        pieces: list[str] = []
        at = 0
        for begin, end in expressions.places(text):
            inner = text[begin:end].strip()
            before, after = text[at : begin - 2], text[end + 2 :]
            if not pieces and not before.strip() and not after.strip():
                return self._whole(text, inner, place)
            pieces += (before, self._piece(text[begin - 2 : end + 2], inner, place))
            at = end + 2
        return "".join((*pieces, text[at:]))

    def _whole(self, written: str, inner: str, place: _Place) -> Any:
        """What stands for a text that is exactly one expression."""
        names = self._names(inner, place)
        if not names:
            return written
        if not expressions.is_path(inner):
            return self._kept(written, place)
        value = self._look_up(inner, place)
        declared = self.declared.get(names[0])
        if declared is not None and declared.secret:
            self.secrets.append(SecretPlace(place.field, names[0], place.tool, place.parameter))
        elif place.rendered and names[0] in self.unknown:
            return written
        elif _has(value, "{{"):
            return self._kept(written, place, "its value holds {{, which is an expression there")
        self._take(value)
        return value

    def _piece(self, written: str, inner: str, place: _Place) -> str:
        """What stands for one of several expressions, or for one with text around it."""
        names = self._names(inner, place)
        if not names:
            return written
        if not expressions.is_path(inner):
            return self._kept(written, place)
        declared = self.declared.get(names[0])
        if declared is not None and declared.secret:
            self._problem(place, f"{names[0]} is a secret, and can only be the whole value")
            return written
        value = self._look_up(inner, place)
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        # One brace is enough: the next one may be in the text beside it.
        if place.rendered and ("{" in text or names[0] in self.unknown):
            return written
        if "{{" in text:
            return self._kept(written, place, "its value holds {{, which is an expression there")
        self._take(text)
        return text

    def _kept(self, written: str, place: _Place, why: str = "") -> str:
        """The expression itself, where it is evaluated during the run."""
        if not place.rendered:
            why = why or "only a plain reference such as {{ inputs.name }} to an input can stand"
            self._problem(place, f"{why} here")
        return written

    def _names(self, inner: str, place: _Place) -> list[str]:
        """The inputs that an expression names; unknown ones and secrets in CEL are problems."""
        if _ROOT not in inner:
            return []
        if expressions.is_path(inner):
            parts = cut_fields.parts_of(inner)
            named = [str(parts[1])] if parts[0] == _ROOT and len(parts) > 1 else []
            if parts == (_ROOT,):
                self._problem(place, "name one of the inputs, as {{ inputs.name }}")
        else:
            try:
                named = named_inputs(tokens(inner))
            except NotTokens:
                return []  # Refused at admission, with the reason.
            self._refuse_secrets(named, place)
        for name in named:
            if name not in self.declared:
                self._problem(place, not_declared(name, self.declared))
        return named

    def _refuse_secrets(self, names: list[str], place: _Place) -> None:
        for name in names:
            if name in self.declared and self.declared[name].secret:
                self._problem(place, f"{name} is a secret, which no expression may look at")

    def _look_up(self, path: str, place: _Place) -> Any:
        value: Any = self.values
        for part in cut_fields.parts_of(path)[1:]:
            if isinstance(part, int):
                there = isinstance(value, list) and part < len(value)
            else:
                there = isinstance(value, Mapping) and part in value
            if there:
                value = value[part]
            else:
                if isinstance(value, Mapping) and value is self.values:
                    return None  # Not declared, which is a problem already.
                self._problem(place, f"`{path[:120]}`: there is no {str(part)[:64]} in the value")
                return None
        return value

    def _take(self, value: Any) -> None:
        self.left -= len(orjson.dumps(value))
        if self.left < 0:
            message = f"its inputs make it larger than {MAX_PLAN_BYTES} bytes: split it"
            self.problems = [Problem("plan", message)]
            raise _TooMany

    def _problem(self, place: _Place, message: str) -> None:
        self.problems.append(Problem(place.field[:200], message[:500]))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _TooMany


def _has(value: Any, text: str) -> bool:
    return any(text in one for one in _strings(value))


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
