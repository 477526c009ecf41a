"""The list says of every tool what its checked definition says."""

from __future__ import annotations

import subprocess
import sys

from toolmeta import registry
from toolmeta.listing import ListedTool, list_tools


def test_the_list_agrees_with_the_definitions() -> None:
    assert list_tools() == [
        ListedTool(
            tool.name, tool.aliases, tool.domain, tool.platform, tool.action_class,
            tool.risk.effect, tool.description,
        )
        for tool in registry.load().all()
    ]  # fmt: skip


def test_the_list_needs_no_model_of_a_definition() -> None:
    script = (
        "import sys; from toolmeta.listing import list_tools; assert len(list_tools()) > 180; "
        "sys.exit(int('toolmeta.model' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
