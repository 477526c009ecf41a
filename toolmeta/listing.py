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


def list_tools() -> list[ListedTool]:
    """Every tool of this installation, by name; raises `CatalogueError` where a file is no YAML."""
    return sorted((_listed(each.text) for each in read_all()), key=lambda tool: tool.name)


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
