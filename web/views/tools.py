"""Tools as their templates show them."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Any, Final
from urllib.parse import urlencode

from reading.models.executors import ExecutorList
from reading.models.tools import ToolDetail, ToolList, ToolParameter, ToolSummary
from web.statuses import Look
from web.views.looks import EFFECT
from web.wording import counted

_SHOWN_TOOLS: Final = 100


@dataclass(frozen=True, slots=True)
class ToolFilters:
    """What the tools are narrowed to; empty text: not at all."""

    text: str = ""
    domain: str = ""
    effect: str = ""

    def query(self, **extra: str) -> str:
        """The address of the page from its `?` on."""
        given = {one.name: getattr(self, one.name) for one in fields(self)} | extra
        given = {name: value for name, value in given.items() if value}
        return f"?{urlencode(given)}" if given else ""


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One tool in the list."""

    tool: ToolSummary
    href: str
    look: Look


@dataclass(frozen=True, slots=True)
class Choice:
    """One filter of a row of them."""

    text: str
    href: str
    current: bool
    count: int
    look: Look | None


@dataclass(frozen=True, slots=True)
class Tools:
    """The page of the tools."""

    filters: ToolFilters
    domains: list[Choice]
    effects: list[Choice]
    rows: list[ToolRow]
    shown: str
    every: str | None


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """One parameter."""

    parameter: ToolParameter
    default: str | None
    values: str | None


@dataclass(frozen=True, slots=True)
class Server:
    """One executor that serves the tool's domain."""

    instance: str
    host: str | None
    alive: bool


@dataclass(frozen=True, slots=True)
class ToolPage:
    """The page of one tool."""

    tool: ToolDetail
    look: Look
    parameters: list[ParameterRow]
    plan: str
    argv: str | None
    output: str
    output_schema: str
    servers: list[Server]
    #: Why nothing is said of the executors.
    servers_problem: str | None
    start: str


def tools(found: ToolList, filters: ToolFilters, *, everything: bool = False) -> Tools:
    """The page of these tools, narrowed."""
    named = [one for one in found.tools if _has(one, filters.text)]
    matching = [one for one in named if _is(one, filters.domain, filters.effect)]
    matching.sort(key=lambda one: _rank(one, filters.text))
    rows = matching if everything else matching[:_SHOWN_TOOLS]
    return Tools(
        filters=filters,
        domains=_domains(named, filters),
        effects=_effects(named, filters),
        rows=[ToolRow(one, f"/tools/{one.name}", EFFECT[one.effect]) for one in rows],
        shown=f"{len(rows)} of {counted(found.total, 'tool')}",
        every=f"/tools{filters.query(all='1')}" if len(rows) < len(matching) else None,
    )


def tool_page(tool: ToolDetail, executors: ExecutorList | None) -> ToolPage:
    """The page of this tool."""
    plan = json.dumps(tool.example_plan, ensure_ascii=False, indent=2)
    problem = None if executors is None else executors.broker_problem
    serving = [] if executors is None else executors.executors
    return ToolPage(
        tool=tool,
        look=EFFECT[tool.effect],
        parameters=[_parameter(one) for one in tool.parameters],
        plan=plan,
        argv=None if tool.example_argv is None else shlex.join(tool.example_argv),
        output=json.dumps(tool.example_output, ensure_ascii=False, indent=2),
        output_schema=json.dumps(tool.output_schema, ensure_ascii=False, indent=2),
        servers=[
            Server(one.instance, one.host, one.alive)
            for one in serving
            if tool.domain in one.domains
        ],
        servers_problem=problem,
        start=f"/start/plan?{urlencode({'tool': tool.name})}",
    )


def _has(tool: ToolSummary, text: str) -> bool:
    words = text.lower().split()
    where = f"{tool.name} {' '.join(tool.aliases)} {tool.group} {tool.description}".lower()
    return all(word in where for word in words)


def _rank(tool: ToolSummary, text: str) -> tuple[int, str]:
    """Tools that are called so stand before those that only speak of it."""
    wanted = text.lower().strip()
    if not wanted or wanted in (tool.name.lower(), *(one.lower() for one in tool.aliases)):
        return 0, tool.name
    return (1 if tool.name.lower().startswith(wanted) else 2), tool.name


def _is(tool: ToolSummary, domain: str, effect: str) -> bool:
    return (not domain or tool.domain == domain) and (not effect or tool.effect == effect)


def _domains(found: list[ToolSummary], filters: ToolFilters) -> list[Choice]:
    counts = Counter(one.domain for one in found if _is(one, "", filters.effect))
    every = replace(filters, domain="")
    choices = [Choice("All", f"/tools{every.query()}", not filters.domain, counts.total(), None)]
    for domain in sorted({*counts, *([filters.domain] if filters.domain else [])}):
        href = f"/tools{replace(filters, domain=domain).query()}"
        choices.append(Choice(domain, href, domain == filters.domain, counts[domain], None))
    return choices


def _effects(found: list[ToolSummary], filters: ToolFilters) -> list[Choice]:
    counts: Counter[str] = Counter(one.effect for one in found if _is(one, filters.domain, ""))
    choices = []
    for effect, look in EFFECT.items():
        current = effect == filters.effect
        href = f"/tools{replace(filters, effect='' if current else effect).query()}"
        choices.append(Choice(look.word, href, current, counts[effect], look))
    return choices


def _parameter(one: ToolParameter) -> ParameterRow:
    values = None if one.enum is None else ", ".join(_literal(value) for value in one.enum)
    default = None if one.default is None else _literal(one.default)
    return ParameterRow(one, default, values)


def _literal(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
