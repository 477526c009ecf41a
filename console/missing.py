"""What a plan needs and this machine, whose executor would run it, does not have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.explained import Explained


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not here: remedies by tool, and paths of secrets."""

    programs: dict[str, str]
    secrets: list[str]


def here(data: Explained) -> Missing:
    """What the calls need and this machine, whose executor would run them, does not have."""
    from console import programs
    from toolmeta import registry

    tools = registry.load()
    named = {call.tool for call in data.calls}
    wanted = [tool for tool in tools.all() if tool.name in named]
    lacking = {item.tool: item.remedy or "" for item in programs.inspect(wanted) if item.missing}
    paths = dict.fromkeys(path for call in data.calls for path in call.secrets)
    unknown = [path for path in paths if not _is_here(path)]
    return Missing(lacking, unknown)


def _is_here(path: str) -> bool:
    """Whether the variable or file of a secret is here; of other sources nothing can be said."""
    import os

    source, _, name = path.partition("/")
    if source == "env":
        return f"SECRET_{name}" in os.environ
    folder = os.environ.get("RUNSTREAM_SECRETS_DIR")
    return source != "file" or (folder is not None and (Path(folder) / name).exists())
