"""No module of ours imports itself through others, wherever the import statement stands."""

from __future__ import annotations

from pathlib import Path

from tests.architecture.imports import PACKAGES, Import, imports_of, modules

ROOT = Path(__file__).parents[2]


def test_no_import_cycles() -> None:
    sources = modules(ROOT, PACKAGES)
    graph = {
        name: {found for each in imports_of(name, path) if (found := _ours(each, sources))} - {name}
        for name, path in sources.items()
    }
    assert [" <-> ".join(sorted(group)) for group in _cycles(graph)] == []


def test_a_cycle_is_found() -> None:
    assert _cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
    assert _cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def _ours(each: Import, sources: dict[str, Path]) -> str | None:
    """The module that an import runs: the imported name where it is a module, else its parent."""
    for name in (f"{each.module}.{each.name}", each.module):
        if name in sources:
            return name
    return None


def _cycles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one module."""
    reachable = {name: _reachable(name, graph) for name in graph}
    groups = {
        frozenset(other for other in reachable[name] if name in reachable[other])
        for name in graph
        if name in reachable[name]
    }
    return sorted((set(group) for group in groups), key=sorted)


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph.get(waiting.pop(), set()) - seen:
            seen.add(name)
            waiting.append(name)
    return seen
