"""The risk of one call: by its effect, which may depend on the operation it names."""

from __future__ import annotations

from typing import Any

from streams.vocabulary import ActionClass, Environment
from toolmeta.check import apply_defaults
from toolmeta.effects import Effect, worst
from toolmeta.model import Tool
from toolmeta.template import as_text


def effect_of(tool: Tool, parameters: dict[str, Any]) -> Effect:
    """What this call does; an operation that is not known yet counts as the tool's worst."""
    given = apply_defaults(tool, parameters)
    raised = [effect for name, effect in tool.risk.raised_by.items() if given.get(name) is not None]
    return worst(_by_operation(tool, given), *raised)


def _by_operation(tool: Tool, given: dict[str, Any]) -> Effect:
    rule = tool.risk.effect_by
    if rule is None:
        return tool.risk.effect
    worst_of_all = worst(tool.risk.effect, *rule.effects.values())
    operation = given.get(rule.parameter)
    # Text is no switch: what is not of the parameter's own type is not what the table lists.
    wanted = bool if tool.parameters[rule.parameter].type == "boolean" else str
    if type(operation) is not wanted:
        return worst_of_all
    return rule.effects.get(as_text(operation), worst_of_all)


def action_class_of(tool: Tool, parameters: dict[str, Any]) -> ActionClass:
    """`read` for a call that only reads, else the action class of the tool."""
    return "read" if effect_of(tool, parameters) == "read" else tool.action_class


def approval_required(tool: Tool, parameters: dict[str, Any], environment: Environment) -> bool:
    """Whether the definition requires an approval of this call in this environment."""
    return environment in tool.risk.approval_in and effect_of(tool, parameters) != "read"


def may_repeat(tool: Tool, parameters: dict[str, Any]) -> bool:
    """Whether repeating this call is safe though the first one may have had its effect."""
    return tool.risk.idempotent or tool.risk.retry_safe or effect_of(tool, parameters) == "read"
