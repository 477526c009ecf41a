"""The list of tools, for people: read without checking the definitions, which takes far longer."""

from __future__ import annotations

import json
from dataclasses import dataclass

from toolmeta.definitions import read_all
from toolmeta.effects import ACTION_CLASS_OF, worst


@dataclass(frozen=True, slots=True)
class ListedTool:
    """The fields of a tool in a list, as in its definition."""

    name: str
    aliases: tuple[str, ...]
    domain: str
    platform: str
    action_class: str
    effect: str
    description: str


def list_tools(own: str | None = None) -> list[ListedTool]:
    """Every tool, those of the folder `own` too, by name; raises `CatalogueError`.

    Of the catalogue's definitions only that they are YAML is checked.
    """
    listed = [_listed(each.text) for each in read_all()]
    if own is not None:
        from toolmeta import registry

        known = {tool.name for tool in listed}
        tools = registry.load(own=own).all()
        listed += [_listed(tool.model_dump_json()) for tool in tools if tool.name not in known]
    return sorted(listed, key=lambda tool: tool.name)


def _listed(text: str) -> ListedTool:
    data = json.loads(text)
    risk = data["risk"]
    effect = risk["effect"]
    at_worst = worst(effect, *risk.get("raised_by", {}).values())
    return ListedTool(
        name=data["name"],
        aliases=tuple(data.get("aliases", ())),
        domain=data["domain"],
        platform=data["platform"],
        action_class=data.get("action_class") or ACTION_CLASS_OF[at_worst],
        effect=effect,
        description=data["description"],
    )
