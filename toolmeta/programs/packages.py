"""Packages of a machine: what is asked for, and what differs after it was done."""

from __future__ import annotations

from typing import Any, NamedTuple

from toolmeta.programs import report


class Asked(NamedTuple):
    """One package of a call; `version` is None where any will do."""

    name: str
    version: str | None


class Wanted(NamedTuple):
    """One call, whatever the package manager."""

    packages: tuple[Asked, ...]
    state: str
    update_cache: bool
    cache_valid_seconds: int
    recommends: bool
    removals: bool
    downgrade: bool
    lock_wait_seconds: int
    root: str | None


def wanted(given: dict[str, Any]) -> Wanted:
    """The call, from its parameters."""
    packages = []
    for text in dict.fromkeys(given.get("names") or ()):
        name, _, version = text.partition("=")
        packages.append(Asked(name, version or None))
    return Wanted(
        packages=tuple(packages),
        state=given["state"],
        update_cache=given["update_cache"],
        cache_valid_seconds=int(given.get("cache_valid_seconds") or 0),
        recommends=given["install_recommends"],
        removals=given["allow_removals"],
        downgrade=given["allow_downgrade"],
        lock_wait_seconds=int(given["lock_wait_seconds"]),
        root=given.get("root"),
    )


def changes(before: dict[str, str], after: dict[str, str]) -> report.Fields:
    """What was installed, upgraded or downgraded, and removed, with versions."""
    installed = [
        {"name": name, "version": version}
        for name, version in sorted(after.items())
        if name not in before
    ]
    removed = [
        {"name": name, "version": version}
        for name, version in sorted(before.items())
        if name not in after
    ]
    replaced = [
        {"name": name, "before": before[name], "after": version}
        for name, version in sorted(after.items())
        if before.get(name, version) != version
    ]
    return {
        "changed": bool(installed or removed or replaced),
        "installed": report.cut(installed),
        "replaced": report.cut(replaced),
        "removed": report.cut(removed),
    }


def versions(packages: tuple[Asked, ...], after: dict[str, str]) -> dict[str, str | None]:
    """What each package of the call has now; None where it is not installed."""
    return {asked.name: after.get(asked.name) for asked in packages[: report.MOST_ENTRIES]}
