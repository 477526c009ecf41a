"""Rules for definitions beyond their fields; checked when one is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from toolmeta import python_programs
from toolmeta.effects import worst
from toolmeta.model import Tool
from toolmeta.scripts import DRIVER as SCRIPT_DRIVER
from toolmeta.template import CHOICE, EACH_NAMES, Each, Entry, Flag, If, names, parts

#: Drivers that start a program.
PROGRAM_DRIVERS: Final = frozenset({"command"})


def faults(tool: Tool) -> Iterator[str]:
    """Every fault of the definition, as a sentence part."""
    yield from _unknown_names(tool)
    yield from _run_faults(tool)
    yield from _python_faults(tool)
    yield from _secret_faults(tool)
    yield from _effect_faults(tool)
    yield from _contact_faults(tool)
    yield from _code_path_faults(tool)
    yield from _target_faults(tool)
    unused = set(tool.parameters) - _used(tool) - set(tool.target) - {"host"}
    unused -= {*tool.targets, *tool.any_target}
    for name in sorted(unused):
        yield f"parameter {name} is used nowhere"


def programs_of(first: Entry) -> tuple[str, ...]:
    """The programs that the first argument can be; empty where a parameter could name one."""
    if isinstance(first, str):
        return () if names(first) else (first,)
    if isinstance(first, If):
        words = [word for word in (*first.then, *first.otherwise) if isinstance(word, str)]
        alone = len(first.then) == len(first.otherwise) == 1 and len(words) == 2
        return tuple(words) if alone and not any(map(names, words)) else ()
    return ()


def exposed(tool: Tool) -> frozenset[str]:
    """The parameters whose text begins an argument that the program could read as an option.

    Those are the ones not after a literal `--`; `check` refuses a leading dash in them.
    """
    found: set[str] = set()
    _walk(tool.run.argv, False, found)
    return frozenset(found - {tool.run.wide})


def _walk(entries: tuple[Entry, ...], after: bool, found: set[str]) -> bool:
    for entry in entries:
        if entry == "--":
            after = True
        elif isinstance(entry, str):
            if not after:
                found.update(_leading(entry))
        elif isinstance(entry, If):
            # A `--` in one branch protects what follows only where the other has it too.
            branches = (entry.then, entry.otherwise)
            after = all([_walk(branch, after, found) for branch in branches])
        elif isinstance(entry, Each) and not after:
            for text in entry.then:
                found.update(entry.each if name in EACH_NAMES else name for name in _leading(text))
    return after


def _leading(text: str) -> Iterator[str]:
    """Parameters that can supply the first character: all before the first literal text."""
    pieces = parts(text)
    for index in range(1, len(pieces), 2):
        if pieces[index - 1]:
            return
        yield pieces[index]


def mentioned(entries: tuple[Entry, ...]) -> Iterator[str]:
    """Every parameter that the argument template reads."""
    for entry in entries:
        if isinstance(entry, str):
            yield from names(entry)
        elif isinstance(entry, Flag):
            yield entry.when
        elif isinstance(entry, If):
            yield entry.condition
            yield from mentioned(entry.then)
            yield from mentioned(entry.otherwise)
        else:
            yield entry.each
            for text in entry.then:
                yield from (name for name in names(text) if name not in EACH_NAMES)


def _in_value(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield from names(template)
    elif isinstance(template, dict) and template.keys() == CHOICE:
        yield template["choose"]
        yield from _in_value(template["from"])
    elif isinstance(template, dict | list):
        for item in template.values() if isinstance(template, dict) else template:
            yield from _in_value(item)


def _used(tool: Tool) -> set[str]:
    run = tool.run
    described = run.driver in PROGRAM_DRIVERS or run.arguments is not None or run.script is not None
    if run.python is not None or not described:
        return set(tool.parameters)
    used = set(mentioned(run.argv)) | set(_in_value(run.arguments)) | set(_in_value(run.env))
    used |= {"query", "params"} if run.bound_stdin is not None else set()
    return used | set(names(run.stdin or ""))


def _unknown_names(tool: Tool) -> Iterator[str]:
    declared = set(tool.parameters)
    read = _used(tool) | {name for group in (*tool.one_of, *tool.exclusive) for name in group}
    read |= {name for item in tool.parameters.values() for name in item.required_if}
    read |= {name for item in tool.parameters.values() for name in item.only_if}
    read |= {name for item in tool.parameters.values() for name in item.needs}
    read |= {name for item in tool.parameters.values() for name in item.instead}
    read |= {rule.parameter for item in tool.parameters.values() for rule in item.refused_where}
    read |= {tool.risk.effect_by.parameter} if tool.risk.effect_by else set()
    read |= (set(tool.target) - {"host"}) | set(tool.targets) | set(tool.any_target)
    raising = {place.partition(".")[0] for place in tool.risk.raised_by}
    read |= raising | _contact_names(tool) | set(tool.run.code_paths)
    for name in sorted(read - declared):
        yield f"{name} is not a declared parameter"
    for name in sorted(raising & declared):
        if tool.parameters[name].default not in (None, False):
            yield f"{name} raises the effect, so only false can be its default"
    aliases = [alias for item in tool.parameters.values() for alias in item.aliases]
    if len(set(aliases)) < len(aliases) or declared & set(aliases):
        yield "a parameter's alias is also another name"


def _run_faults(tool: Tool) -> Iterator[str]:
    run = tool.run
    if run.script is not None:
        if run.driver != SCRIPT_DRIVER or run.call is not None or run.arguments is not None:
            yield f"a script needs driver {SCRIPT_DRIVER} and neither call nor arguments"
    elif run.driver in PROGRAM_DRIVERS:
        if not run.argv or run.call is not None or run.arguments is not None:
            yield f"driver {run.driver} needs argv and neither call nor arguments"
        elif tool.domain != "test":
            if not programs_of(run.argv[0]):
                yield "the first argument must be the program, as a literal or one of two"
            if not tool.program:
                yield "a program tool names its program"
    elif run.argv or run.stdin is not None or run.env or run.call is None:
        yield f"driver {run.driver} needs a call and neither argv, stdin nor env"
    if run.wide is not None:
        shape = tool.parameters.get(run.wide)
        if shape is None or shape.type != "array":
            yield "wide must name an array parameter"


def _python_faults(tool: Tool) -> Iterator[str]:
    run = tool.run
    if run.python is None:
        return
    if not python_programs.exists(run.python):
        yield f"there is no Python program {run.python}"
    if run.argv != python_programs.ARGV or run.stdin is not None or run.parser != "report":
        yield "a Python program has the argv python3 -I -, no stdin, and the parser report"
    if run.failures or run.warnings:
        yield "a Python program names the class of a failure itself"


def _effect_faults(tool: Tool) -> Iterator[str]:
    risk = tool.risk
    by_operation = tuple(risk.effect_by.effects.values()) if risk.effect_by else ()
    # An operation that is not known yet counts as `effect`, so none may be worse.
    if worst(risk.effect, *by_operation) != risk.effect:
        yield "an operation has a worse effect than the tool"
    if risk.raised_by_headers and ("headers" not in tool.parameters or not risk.effect_by):
        yield "raised_by_headers needs the parameter headers, and an effect_by"
    can_read = "read" in (by_operation or (risk.effect,))
    if can_read != (risk.why_read is not None):
        yield "why_read is needed where a call can be a read, and only there"


def _contact_names(tool: Tool) -> set[str]:
    contacts = tool.run.contacts
    kept = {contacts.name_kept_if} if contacts.name_kept_if else set()
    return {*contacts.hosts, *contacts.proxied, *kept}


def _contact_faults(tool: Tool) -> Iterator[str]:
    contacts, programs = tool.run.contacts, tool.run.driver in PROGRAM_DRIVERS
    if programs and tool.risk.needs_network and not contacts.model_fields_set:
        yield "a program that needs the network says in contacts whom it sends to"
    if not programs and contacts.model_fields_set - {"gap", "fixed"}:
        yield f"driver {tool.run.driver} checks its own peers"
    if tool.domain == "network" and contacts.hosts and not contacts.probe:
        yield "a program of the network domain that is sent to a host is a probe"
    if contacts.probe and not contacts.hosts:
        yield "a probe names the hosts that it asks"
    if contacts.probed_ports and not contacts.probe:
        yield "only a probe has probed_ports"
    shaped = ("host", "host-port", "ip")
    for name in contacts.hosts:
        shape = tool.parameters.get(name)
        if shape is not None and shape.format not in shaped and shape.pattern is None:
            yield f"{name} names a host to send to, so it has a format or a pattern"


def _code_path_faults(tool: Tool) -> Iterator[str]:
    named = set(tool.run.code_paths)
    if named and tool.run.driver not in PROGRAM_DRIVERS:
        yield f"driver {tool.run.driver} starts no program, so it has no code_paths"
    raised = tool.risk.raised_by.items()
    paths = {place for place, effect in raised if effect == "destroy" and "." not in place}
    for name in sorted(paths - named):
        yield f"{name} raises the effect to destroy, so it is one of code_paths"


def _target_faults(tool: Tool) -> Iterator[str]:
    """A list of hosts that no policy and no lock looks at would let anybody act on any of them."""
    for name, shape in tool.parameters.items():
        of_hosts = shape.items is not None and shape.items.format in ("host", "host-port")
        if of_hosts and name not in tool.targets:
            yield f"parameter {name} lists hosts, so it is one of targets"
        if name in tool.targets and shape.type != "array":
            yield f"parameter {name} of targets is no array"


def _secret_faults(tool: Tool) -> Iterator[str]:
    in_argv = set(mentioned(tool.run.argv))
    for name in sorted(tool.secret_parameters & in_argv):
        yield f"secret {name} must not be part of argv; use stdin or env"
    for name in sorted(in_argv):
        shape = tool.parameters.get(name)
        if shape is not None and shape.type == "any":
            yield f"parameter {name} of type any must not be part of argv"
