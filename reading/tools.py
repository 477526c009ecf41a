"""Tools: the catalogue as people read it; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reading import tool_texts
from reading.models.tools import Fact, ToolDetail, ToolList, ToolParameter, ToolSummary
from toolmeta.effects import Effect, worst
from toolmeta.literals import as_planned
from toolmeta.model import Tool
from toolmeta.parameters import Parameter, Shape
from toolmeta.permissions import worst_permission
from toolmeta.registry import Registry

#: Types of JSON Schema; a duration is a number of seconds or text such as `90s`.
_TYPES: dict[str, Any] = {"duration": ["number", "string"], "any": None}


def listing(
    registry: Registry,
    *,
    domain: str | None = None,
    platform: str | None = None,
    effect: Effect | None = None,
    words: str | None = None,
) -> ToolList:
    """The tools that plans may name, by name; `words` all stand in its name or description."""
    found = [
        _summary(tool)
        for tool in _served(registry)
        if domain in (None, tool.domain)
        and platform in (None, tool.platform)
        and effect in (None, _effect(tool))
        and _has(tool, words)
    ]
    return ToolList(tools=found, total=len(found))


def one(registry: Registry, name: str) -> ToolDetail | None:
    """The tool of this name or alias."""
    tool = registry.get(name)
    if tool is None or tool not in _served(registry):
        return None
    return ToolDetail(
        **_summary(tool).model_dump(),
        parameters=[_parameter(name, one) for name, one in tool.parameters.items()],
        rules=tool_texts.rules(tool),
        facts=[Fact(label=label, text=text) for label, text in tool_texts.risk(tool)],
        permission=worst_permission(tool),
        target=[*tool.target],
        timeout_seconds=tool.timeout_seconds,
        digest=tool.digest,
        example_plan={
            "name": f"{tool.name} example",
            "steps": [{"tool": tool.name, "parameters": as_planned(tool)}],
        },
        example_argv=None if tool.example.argv is None else [*tool.example.argv],
        example_output=tool.example.output,
        output_schema=tool.output,
    )


def _served(registry: Registry) -> tuple[Tool, ...]:
    """Without those of the test domain, where plans may not use them."""
    every = registry.all()
    if registry.test_tools:
        return every
    return tuple(tool for tool in every if tool.domain != "test")


def _has(tool: Tool, words: str | None) -> bool:
    if words is None:
        return True
    text = " ".join((tool.name, *tool.aliases, tool.group, tool.description)).lower()
    return all(word in text for word in words.lower().split())


def _effect(tool: Tool) -> Effect:
    return worst(tool.risk.effect, *tool.risk.raised_by.values())


def _summary(tool: Tool) -> ToolSummary:
    return ToolSummary(
        name=tool.name,
        aliases=[*tool.aliases],
        domain=tool.domain,
        platform=tool.platform,
        group=tool.group,
        kind=tool.kind,
        description=tool.description,
        effect=_effect(tool),
        action_class=tool.action_class,
        needs_root=tool.risk.needs_root,
        program=tool.program,
    )


def _parameter(name: str, parameter: Parameter) -> ToolParameter:
    return ToolParameter(
        name=name,
        type=parameter.type,
        shape=tool_texts.shape(parameter),
        required=parameter.required,
        default=parameter.default,
        secret=parameter.secret,
        meaning=tool_texts.meaning(parameter),
        enum=None if parameter.enum is None else [*parameter.enum],
        json_schema=dict(_schema(parameter)),
    )


def _schema(shape: Shape) -> Iterator[tuple[str, Any]]:
    kind = _TYPES.get(shape.type, shape.type)
    if kind is not None:
        yield "type", kind
    if shape.enum is not None:
        yield "enum", [*shape.enum]
    names = {
        "minimum": shape.minimum if shape.type != "duration" else None,
        "maximum": shape.maximum if shape.type != "duration" else None,
        "minLength": shape.min_length,
        "maxLength": shape.max_length,
        "pattern": None if shape.pattern is None else f"^(?:{shape.pattern})$",
    }
    entries = "Properties" if shape.type == "object" else "Items"
    names |= {f"min{entries}": shape.min_items, f"max{entries}": shape.max_items}
    yield from ((name, value) for name, value in names.items() if value is not None)
    if shape.items is not None:
        yield "items", dict(_schema(shape.items))
    if shape.values is not None:
        yield "additionalProperties", dict(_schema(shape.values))
    if isinstance(shape, Parameter):
        yield "description", shape.description
        if shape.default is not None:
            yield "default", shape.default
