"""What a plan needs and this machine, whose executor would run it, does not have."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streams.explained import Explained

#: The settings without which the executor has no such source.
_SERVERS: Final = {"vault": "RUNSTREAM_VAULT_URL", "aws": "RUNSTREAM_AWS_REGION"}


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not here: remedies by tool, and paths of secrets."""

    programs: dict[str, str]
    secrets: list[str]


def here(data: Explained, tenant: str) -> Missing:
    """What the calls need and this machine, whose executor would run them, does not have.

    No secret is read, and no server of secrets is asked: what only it knows is not reported.
    """
    from console import catalogue, programs

    tools = catalogue.load()
    named = {call.tool for call in data.calls}
    wanted = [tool for tool in tools.all() if tool.name in named]
    lacking = {item.tool: item.remedy or "" for item in programs.inspect(wanted) if item.missing}
    paths = dict.fromkeys(path for call in data.calls for path in call.secrets)
    unknown = [path for path in paths if not _is_here(path, tenant)]
    return Missing(lacking, unknown)


def _is_here(path: str, tenant: str) -> bool:
    """Whether the executor would find the secret in this environment, or a server to ask for it."""
    source, _, name = path.partition("/")
    if source in _SERVERS:
        return _SERVERS[source] in os.environ
    if source == "env":
        return f"SECRET_{name}" in os.environ
    folder = os.environ.get("RUNSTREAM_SECRETS_DIR")
    # In the order of the executor; a folder that this user may not enter has none for them.
    return folder is not None and any(
        os.path.isfile(file)  # noqa: PTH113 - Path.is_file raises where it may not look
        for file in (Path(folder) / tenant / name, Path(folder) / name)
    )
