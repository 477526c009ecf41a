"""The catalogue with the operator's own tools, as the commands of this machine see it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from console.exits import Exit, Failure

if TYPE_CHECKING:
    from toolmeta.listing import ListedTool
    from toolmeta.registry import Registry


def load() -> Registry:
    """Every definition, checked; raises Failure that names the file which is wrong."""
    from toolmeta import definitions, registry

    try:
        return registry.load(own=_own())
    except definitions.CatalogueError as error:
        raise Failure(f"a definition of a tool is wrong: {error}", Exit.FAILED) from None


def listed() -> list[ListedTool]:
    """What a list says of every tool; raises Failure that names the file which is wrong."""
    from toolmeta import definitions, listing

    try:
        return listing.list_tools(_own())
    except definitions.CatalogueError as error:
        raise Failure(f"a definition of a tool is wrong: {error}", Exit.FAILED) from None


def _own() -> str | None:
    from toolmeta.own_tools import SETTING

    return os.environ.get(SETTING) or None
