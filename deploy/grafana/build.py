"""Writes the dashboards to `dashboards/` beside this: `python -m deploy.grafana.build`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from deploy.grafana.api import API
from deploy.grafana.dead_letters import DEAD_LETTERS
from deploy.grafana.executions import EXECUTIONS
from deploy.grafana.executors import EXECUTORS
from deploy.grafana.overview import OVERVIEW
from deploy.grafana.panels import encode
from deploy.grafana.storage import STORAGE

FOLDER: Final = Path(__file__).with_name("dashboards")
DASHBOARDS: Final = (OVERVIEW, EXECUTIONS, EXECUTORS, STORAGE, DEAD_LETTERS, API)


def files() -> dict[Path, str]:
    """Every file with its content."""
    return {
        FOLDER / f"{one.uid}.json": json.dumps(encode(one, DASHBOARDS), indent=1) + "\n"
        for one in DASHBOARDS
    }


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
