"""Packages by apt and dpkg."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from toolmeta.programs import packages, running
from toolmeta.programs.packages import Wanted
from toolmeta.programs.report import Fields, Refused

#: Nothing asks, restarts services on a question of its own, or lists changes in a pager.
_SILENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "APT_LISTBUGS_FRONTEND": "none",
    "NEEDRESTART_MODE": "l",
    "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1",
    "LC_ALL": "C.UTF-8",
}
#: What apt and dpkg say, in the order in which it is looked for.
_CLASSES = (
    ("busy", r"Could not get lock|dpkg frontend( lock)? (was|is) locked|is locked by another"),
    ("capability_missing", r"(?m)^E: .*(are you root\?|superuser|13: Permission)"),
    ("conflict", r"dpkg was interrupted, you must manually run"),
    ("conflict", r"Held packages were changed"),
    ("conflict", r"Packages were downgraded and -y was used without"),
    ("conflict", r"Packages need to be removed but remove is disabled"),
    ("conflict", r"Essential packages were removed|Removing essential system-critical packages"),
    ("conflict", r"you have held broken packages|Unmet dependencies|unmet dependencies"),
    ("not_found", r"Version '.*' for '.*' was not found"),
    ("not_found", r"has no installation candidate|Unable to locate package"),
    ("not_found", r"E: The repository '.*' does not have a Release file|  ?404 +Not Found"),
    ("not_found", r"E: Failed to fetch file:.*File not found"),
    ("connection_refused", r"Could not connect to .*Connection refused"),
    (
        "unreachable",
        r"Temporary failure resolving|Could not resolve|Could not connect to|timed out",
    ),
    ("tls_failed", r"Certificate verification failed|certificate is NOT trusted"),
    ("tls_failed", r"unauthenticated packages|is not signed|signatures couldn't be verified"),
)
_PLANNED_REMOVAL = re.compile(r"^(?:Remv|Purg) (\S+)", re.MULTILINE)
_POLICY_NAME = re.compile(r"^(\S+):$", re.MULTILINE)


def run(wanted: Wanted) -> Fields:
    """Bring the packages into the state that is asked for."""
    apt = Apt(wanted)
    updated = wanted.update_cache and apt.update()
    before = apt.installed()
    words = apt.words(before)
    if words:
        apt.refuse_other_removals(words)
        ended = apt.get([*apt.action(), "--", *words])
        if ended.code != 0:
            fields = apt.report(before, updated)
            raise failure(ended, fields if fields["changed"] else None)
    return apt.report(before, updated)


def failure(ended: running.Ended, fields: Fields | None = None) -> Refused:
    """Why apt ended as it did."""
    said = ended.last("E: ", "dpkg: error")
    for error_class, pattern in _CLASSES:
        if re.search(pattern, ended.said):
            return Refused(error_class, f"apt-get: {_explained(said, ended.said)}", fields)
    return Refused("exit_status", f"apt-get ended with exit code {ended.code}: {said}", fields)


def _explained(said: str, text: str) -> str:
    if "Held packages were changed" in said:
        held = re.search(r"The following held packages will be changed:\n((?: .*\n)+)", text)
        names = " ".join(held[1].split()) if held else "one of the packages"
        return f"{names}: on hold; release it with apt-mark unhold, or leave it out"
    if "remove is disabled" in said:
        return f"{said} The packages that stand in the way are named above; allow_removals: true"
    if "was used without --allow-downgrades" in said:
        return f"{said} Set allow_downgrade: true where that is wanted"
    if "broken packages" in said or "nmet dependencies" in text:
        found = re.search(r"The following packages have unmet dependencies:\n((?: .*\n)+)", text)
        return " ".join((found[1] if found else said).split())
    return said


class Apt:
    """apt-get and dpkg-query on one system."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._env = running.environment(_SILENT)
        self._get = running.required("apt-get", "apt")
        self._cache = running.required("apt-cache", "apt")
        self._query = running.required("dpkg-query", "dpkg")
        self._options = ["-q", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Color=0"]
        self._options += ["-o", f"DPkg::Lock::Timeout={wanted.lock_wait_seconds}"]
        # A configuration that somebody edited stays; one that nobody did is replaced.
        self._options += ["-o", "DPkg::Options::=--force-confdef"]
        self._options += ["-o", "DPkg::Options::=--force-confold"]
        self._admin = "/var/lib/dpkg"
        self._lists = "/var/lib/apt/lists"
        self._system: list[str] = []
        if wanted.root is not None:
            root = wanted.root.rstrip("/")
            self._admin, self._lists = root + self._admin, root + self._lists
            self._system = ["-o", f"Dir={root}/", "-o", f"Dir::State::status={self._admin}/status"]
            self._options += ["-o", f"DPkg::Options::=--root={root}"]

    def get(self, words: list[str]) -> running.Ended:
        """apt-get, seen while it works."""
        return running.shown([self._get, *self._options, *self._system, *words], self._env)

    def update(self) -> bool:
        """Read the lists of the repositories; False where those that are there are new enough."""
        if self._age() < self._wanted.cache_valid_seconds:
            return False
        ended = self.get(["-o", "APT::Update::Error-Mode=any", "update"])
        if ended.code != 0:
            raise failure(ended)
        # apt leaves the time alone where no list is another one.
        os.utime(self._lists)
        return True

    def _age(self) -> float:
        """Seconds since the lists were read."""
        lists = Path(self._lists)
        # An image without lists has had them removed with the lock of whoever read them.
        if not (lists / "lock").exists():
            return float("inf")
        return max(time.time() - lists.stat().st_mtime, 0)

    def installed(self) -> dict[str, str]:
        """The version of every package, by its name, and by name:architecture too."""
        form = "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Abbrev}\\n"
        ended = running.asked(
            [self._query, f"--admindir={self._admin}", "--show", f"--showformat={form}"], self._env
        )
        # With no package at all it ends with 1.
        if ended.code not in (0, 1):
            raise Refused("exit_status", f"dpkg-query: {ended.last()}")
        found: dict[str, str] = {}
        self._leftover: set[str] = set()
        for line in ended.text.splitlines():
            name, architecture, version, status = line.split("\t")
            if status[1:2] == "i":
                found[f"{name}:{architecture}"] = version
            elif status[1:2] == "c":
                self._leftover |= {name, f"{name}:{architecture}"}
        return _by_name(found)

    def words(self, before: dict[str, str]) -> list[str]:
        """What apt-get has to be told; nothing where everything is as it is asked for."""
        state = self._wanted.state
        asked = self._wanted.packages
        if state in ("absent", "purged"):
            gone = self._leftover if state == "purged" else set()
            return [one.name for one in asked if one.name in before or one.name in gone]
        candidates = self._candidates([one.name for one in asked])
        words = []
        for name, version in asked:
            now = before.get(name)
            # apt takes a name that it does not know for a pattern, or for one with a sign at its
            # end that says what to do with it.
            if name not in candidates and now is None:
                raise Refused("not_found", f"there is no package {name} in the lists of apt")
            if version is not None:
                words += [f"{name}={version}"] if now != version else []
            elif now is None:
                if candidates[name] is None:
                    raise Refused("not_found", f"{name}: has no installation candidate")
                words.append(name)
            elif state == "latest" and candidates.get(name) not in (None, now):
                words.append(name)
        return words

    def _candidates(self, names: list[str]) -> dict[str, str | None]:
        ended = running.asked([self._cache, *self._system, "policy", "--", *names], self._env)
        if ended.code != 0:
            raise failure(ended)
        found: dict[str, str | None] = {}
        parts = _POLICY_NAME.split(ended.text)[1:]
        for name, text in zip(parts[::2], parts[1::2]):
            candidate = re.search(r"^  Candidate: (\S+)", text, re.MULTILINE)
            version = candidate[1] if candidate else "(none)"
            found[name] = None if version == "(none)" else version
        return found

    def action(self) -> list[str]:
        """The command of apt-get with its options."""
        wanted = self._wanted
        if wanted.state in ("absent", "purged"):
            return ["remove", *(["--purge"] if wanted.state == "purged" else [])]
        return [
            "install",
            *([] if wanted.recommends else ["--no-install-recommends"]),
            *([] if wanted.removals else ["--no-remove"]),
            *(["--allow-downgrades"] if wanted.downgrade else []),
        ]

    def refuse_other_removals(self, words: list[str]) -> None:
        """Refuse to remove what depends on the packages, unless that is allowed."""
        if self._wanted.state not in ("absent", "purged") or self._wanted.removals:
            return
        planned = [self._get, *self._options, *self._system, "--simulate", *self.action()]
        ended = running.asked([*planned, "--", *words], self._env)
        if ended.code != 0:
            raise failure(ended)
        named = {name.partition(":")[0] for name in words}
        others = [name for name in _PLANNED_REMOVAL.findall(ended.text) if name not in named]
        others = [name for name in others if name.partition(":")[0] not in named]
        if others:
            raise Refused(
                "conflict",
                f"{', '.join(others[:20])} would be removed too, since they need what is to go; "
                "name them too, or set allow_removals: true",
            )

    def report(self, before: dict[str, str], updated: bool) -> Fields:
        """What differs now."""
        after = self.installed()
        return {
            **packages.changes(_shown(before), _shown(after)),
            "manager": "apt",
            "cache_updated": updated,
            "versions": packages.versions(self._wanted.packages, after),
        }


def _by_name(found: dict[str, str]) -> dict[str, str]:
    """Each package under its name too; the one of several architectures that comes first."""
    names: dict[str, str] = {}
    for name, version in found.items():
        names.setdefault(name.partition(":")[0], version)
    return {**found, **names}


def _shown(found: dict[str, str]) -> dict[str, str]:
    """Each package once: by name, where several architectures have it by name:architecture."""
    count: dict[str, int] = {}
    full = {name: version for name, version in found.items() if ":" in name}
    for name in full:
        short = name.partition(":")[0]
        count[short] = count.get(short, 0) + 1
    return {
        name if count[name.partition(":")[0]] > 1 else name.partition(":")[0]: version
        for name, version in full.items()
    }
