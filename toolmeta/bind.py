"""Bind: a tool and its parameters become an invocation. Pure; nothing is looked up or run."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from toolmeta import bound_values, python_programs, scripts
from toolmeta.check import apply_defaults, checker_of
from toolmeta.checkers import Allowed, is_reference
from toolmeta.code_paths import code_paths_of
from toolmeta.contacts import contacts_of
from toolmeta.durations import seconds_of
from toolmeta.hosts import ascii_lower, split_port
from toolmeta.invocation import Invocation, Problem, Unread
from toolmeta.model import Tool
from toolmeta.risk import may_repeat
from toolmeta.template import as_text, fill, fill_value, render

#: Linux refuses a single argument beyond 128 KiB; all of them together stay well below ARG_MAX.
MAX_ARGV_BYTES: Final = 128 * 1024
#: Characters of a key, as of a host name (RFC 1035, section 2.3.4).
_LONGEST: Final = 253

_NOTHING_OPEN: Final = Allowed(references=False, secrets=False)
_SECRETS_OPEN: Final = Allowed(references=False, secrets=True)


def bind(tool: Tool, parameters: dict[str, Any]) -> Invocation | list[Problem]:
    """The invocation, or every problem. References and secrets must be resolved already.

    A number is taken as text where text is required, since a reference that is the whole value
    keeps its type; durations become seconds.
    """
    if type(parameters) is not dict:
        return [Problem("parameters", "must be an object with one entry per parameter")]
    checker = checker_of(tool)
    given = {
        name: _wanted_type(tool, checker.canonical.get(name, ""), value)
        for name, value in parameters.items()
    }
    problems = checker.problems(given, _NOTHING_OPEN)
    if problems:
        return problems
    values = apply_defaults(tool, given)
    for name, shape in tool.parameters.items():
        value = values.get(name)
        if shape.type == "duration" and type(value) is str:
            values[name] = seconds_of(value)
        elif shape.lone and value is not None and type(value) is not list:
            values[name] = [value]
    argv = tuple(render(tool.run.argv, values)) if tool.run.argv else ()
    if argv and sum(len(argument.encode()) + 1 for argument in argv) > MAX_ARGV_BYTES:
        message = f"make more than {MAX_ARGV_BYTES} bytes of arguments; give fewer or shorter ones"
        return [Problem("parameters", message)]
    stdin = _stdin(tool, values)
    return stdin if isinstance(stdin, list) else _invocation(tool, argv, values, stdin)


def expect(tool: Tool, parameters: dict[str, Any]) -> Invocation | list[Problem]:
    """What is known of the invocation while secret references are not resolved, or every problem.

    It has no arguments: its secrets may still be found to fit no parameter.
    """
    checker = checker_of(tool)
    given = {
        name: _wanted_type(tool, checker.canonical.get(name, ""), value)
        for name, value in parameters.items()
    }
    problems = checker.problems(given, _SECRETS_OPEN)
    if problems:
        return problems
    values = apply_defaults(tool, given)
    host = values.get("host")
    return Invocation(
        tool=tool.name,
        driver=tool.run.driver,
        call=tool.run.call if tool.run.script is None else scripts.LIBRARY,
        host=host if type(host) is str else None,
        transient=tool.risk.transient,
        retry_safe=may_repeat(tool, values),
    )


def target_of(tool: Tool, parameters: dict[str, Any]) -> str | None:
    """The host or asset that the step acts on, as a key; None where no parameter names one.

    Lower case without the trailing dot and without a port, so that all spellings of one machine
    give the same key. A value that is still a reference is not known: None.
    """
    values = apply_defaults(tool, parameters)
    for name in tool.target:
        target = target_key(values.get(name))
        if target is not None:
            return target
    return None


def target_key(value: Any) -> str | None:
    """A host or asset as a key: lower case, without trailing dot and port; None names none.

    Two ports of one machine are one target: a plan may name its usual port or leave it out.
    """
    if type(value) is str and len(value) <= _LONGEST:
        return _kept(value)
    return _target_key(str(value)) if type(value) in (str, int) else None


def _target_key(text: str) -> str | None:
    if is_reference(text):
        return None
    return ascii_lower(split_port(text.strip())[0][:_LONGEST].rstrip(".")) or None


# Every step of an execution, and each of its parts, asks for the same ones.
_kept = lru_cache(maxsize=4_096)(_target_key)


@lru_cache(maxsize=1_024)
def target_names(tool: Tool) -> tuple[tuple[str, ...], str | None]:
    """The parameters that say what a call acts on, aliases included, and the default target.

    The first that is set counts; parameters after one with a default are ignored.
    """
    names: list[str] = []
    defaults = checker_of(tool).defaults
    for name in tool.target:
        shape = tool.parameters.get(name)
        # A local tool may name the target `host` without having that parameter.
        names.extend((name, *shape.aliases) if shape is not None else ())
        if name in defaults:
            return tuple(names), target_key(defaults[name])
    return tuple(names), None


def _wanted_type(tool: Tool, name: str, value: Any) -> Any:
    shape = tool.parameters.get(name)
    if shape is None:
        return value
    if shape.type == "string":
        return _text(value)
    if shape.type == "array" and shape.items is not None and shape.items.type == "string":
        return [_text(item) for item in value] if type(value) is list else _text(value)
    return value


def _text(value: Any) -> Any:
    # Numbers out of bounds are not converted, and are refused later.
    if type(value) in (int, float) and abs(value) < 2**63:
        return as_text(value)
    return value


def _started(tool: Tool, values: dict[str, Any]) -> str | None:
    program = values.get(tool.run.starts) if tool.run.starts is not None else None
    return program if type(program) is str else None


def _unread(tool: Tool, values: dict[str, Any]) -> Unread | None:
    rule = tool.run.unread
    if rule is None:
        return None
    named = values.get(rule.named)
    items = named if type(named) is list else [named]
    paths = tuple(item for item in items if type(item) is str)
    return Unread(rule.codes, paths, rule.plain)


def _stdin(tool: Tool, values: dict[str, Any]) -> str | list[Problem] | None:
    run = tool.run
    if run.python is not None:
        given = {name: value for name, value in values.items() if name != "host"}
        return python_programs.stdin(run.python, given)
    if run.bound_stdin == "mysql" and values.get("params") is not None:
        return bound_values.mysql(values["query"], values["params"])
    return None if run.stdin is None else fill(run.stdin, values)


def _script(script: scripts.Script, argv: tuple[str, ...]) -> dict[str, Any]:
    return {"interpreter": script.interpreter, "script": script.text, "arguments": list(argv)}


def _invocation(
    tool: Tool, argv: tuple[str, ...], values: dict[str, Any], stdin: str | None
) -> Invocation:
    run = tool.run
    arguments: Any
    env = {name: fill(text, values) for name, text in run.env.items()}
    call = run.call
    if run.script is not None:
        call, arguments, argv = scripts.LIBRARY, _script(run.script, argv), ()
    elif run.call is None:
        arguments = {}
    elif run.arguments is None:
        arguments = values
    else:
        arguments = fill_value(run.arguments, values)
    host = values.get("host")
    return Invocation(
        tool=tool.name,
        driver=run.driver,
        argv=argv,
        contacts=contacts_of(tool, values),
        code_paths=code_paths_of(tool, values) if run.code_paths else (),
        starts=_started(tool, values),
        new_privileges=run.new_privileges,
        stops_alone=run.stops_alone,
        stdin=stdin,
        env={name: text for name, text in env.items() if text is not None},
        call=call,
        arguments=arguments,
        host=host if type(host) is str else None,
        parser=run.parser,
        success_codes=run.success_codes,
        silent_codes=run.silent_codes,
        unread=_unread(tool, values),
        parse_stderr=run.parse_stderr,
        reports=run.python is not None,
        failures=tuple((rule.text, rule.error_class) for rule in run.failures),
        warnings=tuple((rule.text, rule.error_class) for rule in run.warnings),
        transient=tool.risk.transient,
        retry_safe=may_repeat(tool, values),
    )
