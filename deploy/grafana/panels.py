"""The shape of a Grafana dashboard: panels in rows, each with its queries, as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["timeseries", "stat", "bargauge"]

#: Of Grafana's grid.
_COLUMNS: Final = 24
_HEIGHTS: Final[dict[Kind, int]] = {"timeseries": 8, "stat": 4, "bargauge": 8}
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; `worse_from` is the value from which it is shown in red."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    about: str = ""
    worse_from: float | None = None
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `rows` are titles with their panels."""

    uid: str
    title: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def panel(title: str, *queries: tuple[str, str] | str, **more: Any) -> Panel:
    """A panel; a query is an expression, or one with its legend."""
    found = (Query(one) if isinstance(one, str) else Query(*one) for one in queries)
    return Panel(title, tuple(found), **more)


def encode(dashboard: Dashboard, others: Iterable[Dashboard]) -> dict[str, Any]:
    """The dashboard as Grafana imports it, with links to the others."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["runstream"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "links": [
            {"type": "link", "title": other.title, "url": f"/d/{other.uid}", "keepTime": True}
            for other in others
            if other is not dashboard
        ],
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource",
                 "query": "prometheus", "hide": 0},
            ]
        },
        "panels": list(_panels(dashboard)),
    }  # fmt: skip


def _panels(dashboard: Dashboard) -> Iterable[dict[str, Any]]:
    ident, top = 0, 0
    for title, panels in dashboard.rows:
        ident += 1
        yield {
            "id": ident, "type": "row", "title": title, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1},
        }  # fmt: skip
        top += 1
        left, height = 0, 0
        for one in panels:
            if left + one.width > _COLUMNS:
                left, top, height = 0, top + height, 0
            ident += 1
            high = _HEIGHTS[one.kind]
            yield _panel(one, ident, {"x": left, "y": top, "w": one.width, "h": high})
            left, height = left + one.width, max(height, high)
        top += height


def _panel(one: Panel, ident: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": one.unit, "min": 0}
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if one.worse_from is not None:
        steps.append({"color": "red", "value": one.worse_from})
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    found: dict[str, Any] = {
        "id": ident,
        "type": one.kind,
        "title": one.title,
        "description": one.about,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": one.kind != "timeseries",
                "range": one.kind == "timeseries",
            }
            for number, query in enumerate(one.queries)
        ],
    }
    if one.kind == "timeseries":
        stacking = {"mode": "normal" if one.stacked else "none", "group": "A"}
        fill = 30 if one.stacked else 5
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": fill, "stacking": stacking,
                              "showPoints": "never"}  # fmt: skip
        if one.worse_from is not None:
            defaults["custom"]["thresholdsStyle"] = {"mode": "line"}
        found["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    else:
        found["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "orientation": "horizontal" if one.kind == "bargauge" else "auto",
        }
    return found
