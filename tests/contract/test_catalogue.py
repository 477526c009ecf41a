"""Every definition of the catalogue keeps the promises that a plan relies on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from drivers.registry import DRIVERS
from toolmeta import parse, registry, rules
from toolmeta.bind import bind
from toolmeta.check import check
from toolmeta.invocation import Invocation
from toolmeta.model import Tool
from toolmeta.parameters import Parameter, Shape
from toolmeta.risk import effect_of

TOOLS = registry.load().all()
PROGRAMS = [tool for tool in TOOLS if tool.run.driver in rules.PROGRAM_DRIVERS]

#: What has been tried on argument builders, and what looks like a dash and is none.
HOSTILE = [
    "; id",
    "$(id)",
    "`id`",
    "a\nb",
    "--help",
    "-oProxyCommand=x",
    "--script=x",
    "-iL",
    "@file",
    "| id",
    "\u2010x",
    "\u2013\u2013script=x",
    "\uff0dx",
    "{{ steps.a.output.b }}",
]


def _ids(tool: Tool) -> str:
    return tool.name


def _bound(tool: Tool, parameters: dict[str, Any]) -> Invocation:
    invocation = bind(tool, parameters)
    assert isinstance(invocation, Invocation), invocation
    return invocation


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_example_binds_to_the_argv_it_states(tool: Tool) -> None:
    assert check(tool, tool.example.parameters, references_allowed=True) == []
    invocation = _bound(tool, tool.example.parameters)
    if invocation.call is None:
        assert tool.example.argv is not None, "a program tool shows its argv"
        assert invocation.argv == tool.example.argv
    else:
        assert tool.example.argv is None
        assert invocation.argv == ()


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_output_of_the_example_fits_the_schema(tool: Tool) -> None:
    Draft202012Validator.check_schema(tool.output)
    Draft202012Validator(tool.output).validate(tool.example.output)
    # A schema that takes anything promises nothing.
    assert tool.output.get("type") == "object"
    assert tool.output.get("required") or tool.domain == "test"


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_unknown_parameter_is_refused_with_its_name(tool: Tool) -> None:
    problems = check(tool, {**tool.example.parameters, "surprise": 1}, references_allowed=True)
    assert [problem.field for problem in problems] == ["parameters.surprise"]


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_every_spelling_finds_the_tool(tool: Tool) -> None:
    catalogue = registry.load()
    for name in (tool.name, *tool.aliases, tool.name.upper(), tool.name.replace("_", "-")):
        assert catalogue.get(name) is tool


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_defaults_and_examples_are_values_that_are_accepted(tool: Tool) -> None:
    for name, shape in tool.parameters.items():
        values = [*shape.examples, *([] if shape.default is None else [shape.default])]
        for value in values:
            problems = check(tool, _alone(tool, name, value), references_allowed=False)
            assert not [item for item in problems if item.field.startswith(f"parameters.{name}")]


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_describes_itself_in_two_lines(tool: Tool) -> None:
    lines = tool.description.split("\n")
    assert len(lines) == 2
    assert all(len(line) <= 110 and line.endswith(".") for line in lines)


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_risk_is_consistent(tool: Tool) -> None:
    assert tool.risk.effect == "read" or tool.action_class != "read"
    if tool.risk.effect == "read":
        assert tool.risk.idempotent
        assert tool.risk.retry_safe
    rule = tool.risk.effect_by
    if rule is not None:
        shape = tool.parameters[rule.parameter]
        names = {str(choice) for choice in shape.enum or ("true", "false")}
        if shape.type == "boolean" or shape.enum is not None:
            assert set(rule.effects) == names
        else:
            # Of free text any other value counts as the worst.
            assert effect_of(tool, {rule.parameter: "something-else"}) == tool.risk.effect
        assert tool.risk.effect in rule.effects.values()
        assert effect_of(tool, {rule.parameter: "{{ steps.a.output.b }}"}) == tool.risk.effect


@pytest.mark.parametrize("tool", PROGRAMS, ids=_ids)
def test_a_program_names_its_debian_package(tool: Tool) -> None:
    assert tool.debian_package or tool.domain == "test"


@pytest.mark.parametrize("tool", PROGRAMS, ids=_ids)
def test_parser_exists(tool: Tool) -> None:
    assert tool.run.parser is None or parse.known(tool.run.parser)


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_every_parameter_reaches_the_invocation(tool: Tool) -> None:
    """Each value that differs from the default changes what is done, or names where."""
    for name, shape in tool.parameters.items():
        # Made one by one: mostly the first shows it, and there may be hundreds.
        accepted = (
            (values, invocation)
            for value in _values(shape)
            for values in _contexts(tool, name, value)
            if isinstance(invocation := bind(tool, values), Invocation)
        )
        tried = False
        for values, invocation in accepted:
            tried = True
            without = {key: item for key, item in values.items() if key != name}
            if _does(invocation) != _does(bind(tool, without)):
                break
        else:
            assert tried, f"no sample value of {name} is accepted"
            raise AssertionError(f"{name} changes nothing")


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_hostile_text_is_refused_or_stays_one_argument(tool: Tool) -> None:
    for text, (name, shape) in product(HOSTILE, tool.parameters.items()):
        if name == tool.run.wide:
            continue
        for value in _with(shape, text):
            for values in _contexts(tool, name, value):
                invocation = bind(tool, values)
                if isinstance(invocation, list):
                    assert all(problem.message for problem in invocation), values
                    continue
                _assert_harmless(invocation, text)


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_nul_and_lone_surrogates_are_refused_everywhere(tool: Tool) -> None:
    for name, shape in tool.parameters.items():
        for text in ("a\x00b", "a\ud800b"):
            for value in _with(shape, text):
                problems = check(tool, {name: value}, references_allowed=True)
                assert any(item.field.startswith(f"parameters.{name}") for item in problems)
                assert isinstance(bind(tool, {name: value}), list)


@pytest.mark.parametrize("host", ["web-01:2222", "192.0.2.1:2222", "[2001:db8::1]:2222"])
def test_host_takes_a_port_wherever_there_is_a_host(host: str) -> None:
    for tool in TOOLS:
        if "host" in tool.parameters:
            parameters = {**tool.example.parameters, "host": host}
            assert check(tool, parameters, references_allowed=False) == [], tool.name
            assert _bound(tool, parameters).host == host


@pytest.mark.parametrize("tool", TOOLS, ids=_ids)
def test_secrets_stay_out_of_argv_and_target(tool: Tool) -> None:
    for name in tool.secret_parameters:
        reference = {"type": "secret", "path": "env/TOKEN"}
        for value in _with(tool.parameters[name], "s3cr3t", whole=reference):
            field = f"parameters.{name}"
            problems = check(tool, _alone(tool, name, value), references_allowed=False)
            assert not any(item.field.startswith(field) for item in problems)
            unresolved = bind(tool, {**tool.example.parameters, name: value})
            assert isinstance(unresolved, list)
            assert any(item.field.startswith(field) for item in unresolved)
        assert name not in tool.target


def test_every_driver_has_a_tool() -> None:
    assert {tool.run.driver for tool in TOOLS} == set(DRIVERS)


def _does(invocation: Any) -> Any:
    if isinstance(invocation, list):
        return None
    return (
        invocation.argv, invocation.stdin, invocation.env, repr(invocation.arguments),
        invocation.host,
    )  # fmt: skip


def _assert_harmless(invocation: Invocation, text: str) -> None:
    """The text stands in one argument; as the start of one only behind `--`."""
    after = False
    for argument in invocation.argv:
        assert "\x00" not in argument
        if argument == "--":
            after = True
        elif text in argument and text.startswith("-"):
            # `--regexp=--help` is one argument whose option is the definition's own.
            assert after or not argument.startswith(text), invocation.argv


def _with(shape: Shape, text: str, whole: Any = None) -> Iterator[Any]:
    """Values of this shape with the text (or `whole`) at every place that holds text."""
    inner: Any = text if whole is None else whole
    if shape.type == "string" and (whole is None or shape.secret):
        yield inner
    elif shape.type == "any" and (whole is None or shape.secret):
        yield {"a": [inner]}
    elif shape.type == "array" and shape.items is not None:
        yield from ([value] for value in _with(shape.items, text, whole))
    elif shape.type == "object" and shape.values is not None:
        yield from ({"X-A": value} for value in _with(shape.values, text, whole))


def _values(shape: Shape) -> list[Any]:
    """Sample values, one of which differs from the default."""
    if shape.enum is not None:
        return list(shape.enum)
    examples = list(getattr(shape, "examples", ()))
    match shape.type:
        case "boolean":
            return [True, False]
        case "integer" | "number" | "duration":
            low = shape.minimum if shape.minimum is not None else 1
            high = shape.maximum if shape.maximum is not None else 99
            return [*examples, low, high, *([7] if low <= 7 <= high else [])]
        case "array":
            assert shape.items is not None
            return [*examples, *([value] for value in _values(shape.items))]
        case "object":
            return [*examples, *({"X-A": value} for value in _values(shape.values or _FREE))]
        case "any":
            return [*examples, {"a": [1]}]
    return [*examples, *_TEXTS]


_FREE = Shape(type="any")
_TEXTS = [
    "/srv/app", "web-01", "192.0.2.7", "https://example.org/a", "ops@example.org", "eth0", "1",
    ":", "#ops", ":bell:", "u=rw", "0644", "00ff00", "a",
]  # fmt: skip


def _contexts(tool: Tool, name: str, value: Any) -> Iterator[dict[str, Any]]:
    """The value beside everything that it may need: each operation, and without its rivals."""
    rivals = {
        other for group in tool.exclusive if name in group for other in group if other != name
    }
    base = {key: item for key, item in tool.example.parameters.items() if key not in rivals}
    for other, values in tool.parameters[name].only_if.items():
        base[other] = values[0]
    base = _complete(tool, {**base, name: value}, rivals)
    yield {**base, name: value}
    for other, shape in tool.parameters.items():
        if other in (name, *rivals):
            continue
        for choice in shape.enum or ((True,) if shape.type == "boolean" else ()):
            yield {**_complete(tool, {**base, other: choice}, rivals), name: value}
    for other, shape in tool.parameters.items():
        if other not in (name, *rivals, *base) and shape.examples:
            yield {**base, other: shape.examples[0], name: value}


def _alone(tool: Tool, name: str, value: Any) -> dict[str, Any]:
    """The value with nothing but what it cannot be without."""
    limits = {other: choices[0] for other, choices in tool.parameters[name].only_if.items()}
    return _complete(tool, {**limits, name: value}, set())


@cache
def _requirable(tool_name: str) -> tuple[tuple[str, Parameter], ...]:
    """The parameters that another one may require."""
    tool = registry.load().get(tool_name)
    assert tool is not None
    needed = {other for shape in tool.parameters.values() for other in shape.needs}
    return tuple(
        (name, shape)
        for name, shape in tool.parameters.items()
        if shape.required_if or name in needed
    )


def _complete(tool: Tool, base: dict[str, Any], rivals: set[str]) -> dict[str, Any]:
    """Add what other parameters require, from their own examples."""
    full = dict(base)
    for other, shape in _requirable(tool.name):
        needed = any(full.get(key) in wanted for key, wanted in shape.required_if.items())
        needed &= not any(key in full for key in shape.instead)
        needed |= any(other in tool.parameters[key].needs for key in full if key in tool.parameters)
        if needed and other not in full and other not in rivals:
            # None fits beside an operation that the parameter is not for.
            for item in _values(shape):
                problems = check(tool, {**full, other: item}, references_allowed=False)
                if not any(one.field.startswith(f"parameters.{other}") for one in problems):
                    full[other] = item
                    break
    return full
