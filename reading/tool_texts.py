"""Tools in words, for commands, pages and the generated reference. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolmeta.model import Tool
    from toolmeta.parameters import Parameter, Shape


def shape(parameter: Shape) -> str:
    """The type with its bounds: `integer 1..65535`, `read | modify`, `list of string`."""
    if parameter.enum is not None:
        text = " | ".join(str(value) for value in parameter.enum)
    elif parameter.type == "array" and parameter.items is not None:
        text = f"list of {shape(parameter.items)}"
    elif parameter.type == "object" and parameter.values is not None:
        text = f"object of {shape(parameter.values)}"
    else:
        text = parameter.format or parameter.type
    bounds = _bounds(parameter)
    if bounds:
        text += f" {bounds}"
    return f"{text} (secret)" if parameter.secret else text


def _bounds(parameter: Shape) -> str:
    unit = " s" if parameter.type == "duration" else ""
    low, high = parameter.minimum, parameter.maximum
    if low is None and high is None:
        return ""
    least = "" if low is None else f"{low:g}"
    most = "" if high is None else f"{high:.15g}"
    return f"{least}..{most}{unit}"


def default(parameter: Parameter) -> str:
    """`required`, the default as JSON, or nothing."""
    if parameter.required:
        return "required"
    return "" if parameter.default is None else json.dumps(parameter.default, ensure_ascii=False)


def meaning(parameter: Parameter) -> str:
    """The description, then what else one must know to give it."""
    words = [parameter.description]
    for name, values in parameter.required_if.items():
        listed = ", ".join(json.dumps(value).strip('"') for value in values)
        without = f" and {' or '.join(parameter.instead)} absent" if parameter.instead else ""
        words.append(f"Required when {name} is {listed}{without}.")
    for name, values in parameter.only_if.items():
        listed = ", ".join(json.dumps(value).strip('"') for value in values)
        words.append(f"Only where {name} is {listed}.")
    for rule in parameter.refused_where:
        listed = ", ".join(json.dumps(value).strip('"') for value in rule.values)
        words.append(f"Where {rule.parameter} is {listed}, not {rule.text}: {rule.why}.")
    if parameter.needs:
        words.append(f"Only with {', '.join(parameter.needs)}.")
    if parameter.literal:
        words.append("Takes no template.")
    if parameter.lone:
        words.append("A single one needs no list.")
    if parameter.aliases:
        words.append(f"Also called {', '.join(parameter.aliases)}.")
    if parameter.pattern is not None:
        words.append(f"Matches {parameter.pattern}")
    if parameter.examples:
        words.append(f"Such as {json.dumps(parameter.examples[0], ensure_ascii=False)}.")
    return " ".join(words)


def rules(tool: Tool) -> list[str]:
    """What holds between parameters, one sentence each."""
    return [
        *(f"At least one of {', '.join(group)} must be given." for group in tool.one_of),
        *(f"At most one of {', '.join(group)} may be given." for group in tool.exclusive),
    ]


def _approval(tool: Tool) -> list[tuple[str, str]]:
    from toolmeta.effects import ORDER
    from toolmeta.risk import approval_environments, effects_of

    where = {
        effect: ", ".join(sorted(approval_environments(tool, effect)))
        for effect in sorted(effects_of(tool), key=ORDER.index)
        if effect != "read"
    }
    if len(set(where.values())) < 2:
        return [("approval", f"in {name}") for name in list(where.values())[:1] if name]
    words = [f"to {effect} in {name}" for effect, name in where.items() if name]
    return [("approval", "; ".join(words))]


def risk(tool: Tool) -> list[tuple[str, str]]:
    """Label and text: effect, repetition, needs, approval, time, program."""
    facts = tool.risk
    effect: str = facts.effect
    if facts.effect_by is not None:
        by = facts.effect_by
        each = ", ".join(f"{value}: {effect}" for value, effect in by.effects.items())
        effect = f"{facts.effect} at worst; by {by.parameter}: {each}"
    if facts.raised_by:
        raised = ", ".join(f"{name}: {effect}" for name, effect in facts.raised_by.items())
        effect = f"{effect}; at least, where set: {raised}"
    if facts.raised_by_headers:
        raised = ", ".join(f"{name}: {effect}" for name, effect in facts.raised_by_headers.items())
        effect = f"{effect}; at least, with a header: {raised}"
    repeated = "safe to repeat" if facts.retry_safe else "not repeated after it may have acted"
    if facts.transient and facts.retry_safe:
        repeated += f"; tried again after {', '.join(sorted(facts.transient))}"
    lines = [("effect", effect), ("repetition", repeated)]
    needs = [*facts.capabilities]
    needs += ["root"] if facts.needs_root else []
    needs += ["network"] if facts.needs_network else []
    if needs:
        lines.append(("needs", ", ".join(needs)))
    lines += _approval(tool)
    lines.append(("time", f"at most {tool.timeout_seconds:g} s"))
    script = tool.run.script
    if script is not None and script.text is not None:
        from toolmeta import scripts

        named = scripts.digest(script.interpreter, script.text)
        lines.append(("script", f"{script.interpreter}, sha256 {named}"))
    if tool.program is not None:
        package = f" (Debian: {tool.debian_package})" if tool.debian_package else ""
        lines.append(("program", f"{tool.program}{package}"))
    return lines
