"""Packages by dnf and rpm."""

from __future__ import annotations

import re
import time

from toolmeta.programs import packages, running
from toolmeta.programs.packages import Asked, Wanted
from toolmeta.programs.report import Fields, Refused

#: Exit code of dnf where another one works and it shall not wait.
_LOCKED = 200
_CLASSES = (
    ("capability_missing", r"has to be run with superuser|Permission denied"),
    ("not_found", r"Unable to find a match|No match for argument|No packages marked"),
    ("not_found", r"Cannot download|All mirrors were tried|Status code: 404|\[Errno 2\]"),
    ("unreachable", r"Could not resolve host|Curl error \((5|6|7|28)\)"),
    ("tls_failed", r"Curl error \((35|51|58|60)\)|GPG check FAILED|is not signed"),
    ("conflict", r"Problem: |conflicts with|nothing provides|conflicting requests|protected"),
)


def run(wanted: Wanted) -> Fields:
    """Bring the packages into the state that is asked for."""
    dnf = Dnf(wanted)
    updated = wanted.update_cache and dnf.update()
    before = dnf.installed()
    for action, words in dnf.actions(before):
        ended = dnf.locked(["-y", *action, "--", *words])
        if ended.code != 0:
            fields = dnf.report(before, updated)
            raise failure(ended, fields if fields["changed"] else None)
    return dnf.report(before, updated)


def failure(ended: running.Ended, fields: Fields | None = None) -> Refused:
    """Why dnf ended as it did."""
    said = ended.last("Error: ", "No match", " Problem: ")
    if ended.code == _LOCKED or ".rpm.lock" in ended.said:
        return Refused("busy", f"dnf: another program changes packages now: {said}", fields)
    problem = re.search(r"Problem: (.*(?:\n  - .*)*)", ended.said)
    if problem is not None:
        said = " ".join(problem[1].split())
    for error_class, pattern in _CLASSES:
        if re.search(pattern, ended.said):
            return Refused(error_class, f"dnf: {said}", fields)
    return Refused("exit_status", f"dnf ended with exit code {ended.code}: {said}", fields)


class Dnf:
    """dnf and rpm on one system."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._env = running.environment({"LC_ALL": "C.UTF-8"})
        self._rpm = running.required("rpm", "rpm")
        self._options = [running.required("dnf", "dnf"), "-q", "--setopt=exit_on_lock=True"]
        self._options += ["--color=never", "--noautoremove"]
        if not wanted.recommends:
            self._options.append("--setopt=install_weak_deps=False")
        self._root: list[str] = []
        if wanted.root is not None:
            self._options += [f"--installroot={wanted.root}", "--releasever=/"]
            self._root = [f"--root={wanted.root}"]

    def locked(self, words: list[str]) -> running.Ended:
        """dnf, seen while it works; begun again while another one holds the lock."""
        until = time.monotonic() + self._wanted.lock_wait_seconds
        while True:
            ended = running.shown([*self._options, *words], self._env)
            if ended.code != _LOCKED or time.monotonic() >= until:
                return ended
            time.sleep(1)

    def update(self) -> bool:
        """Read the lists of the repositories."""
        # Without --refresh dnf itself leaves lists alone that are new enough.
        refresh = [] if self._wanted.cache_valid_seconds else ["--refresh"]
        valid = [f"--setopt=metadata_expire={self._wanted.cache_valid_seconds}"]
        words = [*refresh, *(valid if self._wanted.cache_valid_seconds else []), "makecache"]
        ended = self.locked(words)
        if ended.code != 0:
            raise failure(ended)
        return True

    def installed(self) -> dict[str, str]:
        """The version (with release, and epoch where there is one) of every package."""
        form = "%{NAME}\\t%{ARCH}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n"
        ended = running.asked([self._rpm, *self._root, "-qa", f"--queryformat={form}"], self._env)
        if ended.code != 0:
            raise Refused("exit_status", f"rpm: {ended.last()}")
        rows = sorted(line.split("\t") for line in ended.text.splitlines())
        several = {name for name, *_ in rows if sum(name == row[0] for row in rows) > 1}
        found: dict[str, str] = {}
        for name, architecture, version in rows:
            # Kernels are installed beside each other.
            key = f"{name}.{architecture}-{version}" if name in several else name
            found[key] = version
        for name, _, version in rows:
            found.setdefault(name, version)
        return found

    def actions(self, before: dict[str, str]) -> list[tuple[list[str], list[str]]]:
        """Commands of dnf with their packages; none where everything is as it is asked for."""
        state, asked = self._wanted.state, self._wanted.packages
        if state in ("absent", "purged"):
            words = [one.name for one in asked if one.name in before]
            if words:
                self._refuse_other_removals(words)
            return [(["remove"], words)] if words else []
        new: list[str] = []
        newer: list[str] = []
        for one in asked:
            now = before.get(one.name)
            if now is None:
                new.append(one.name if one.version is None else f"{one.name}-{one.version}")
            elif one.version is not None and not _is(now, one.version):
                self._refuse_downgrade(one, now)
                new.append(f"{one.name}-{one.version}")
            elif one.version is None and state == "latest":
                newer.append(one.name)
        erasing = ["--allowerasing"] if self._wanted.removals else []
        found = [(["install", *erasing], new)] if new else []
        return [*found, *([(["upgrade", *erasing], newer)] if newer else [])]

    def _refuse_downgrade(self, asked: Asked, now: str) -> None:
        if self._wanted.downgrade:
            return
        # The versions hold no sign that rpm's macros or Lua give a meaning to.
        older, newer = (
            str(asked.version),
            now if "-" in str(asked.version) else now.partition("-")[0],
        )
        ended = running.asked(
            [self._rpm, "--eval", f"%{{lua:print(rpm.vercmp('{older}', '{newer}'))}}"], self._env
        )
        if ended.text.strip() == "-1":
            raise Refused(
                "conflict",
                f"{asked.name}: {now} is installed, which is newer than {older}; "
                "set allow_downgrade: true where that is wanted",
            )

    def _refuse_other_removals(self, words: list[str]) -> None:
        if self._wanted.removals:
            return
        ended = running.asked([self._rpm, *self._root, "--erase", "--test", *words], self._env)
        needed = sorted(set(re.findall(r"is needed by \(installed\) (\S+)", ended.said)))
        if needed:
            raise Refused(
                "conflict",
                f"{', '.join(needed[:20])} would be removed too, since they need what is to go; "
                "name them too, or set allow_removals: true",
            )

    def report(self, before: dict[str, str], updated: bool) -> Fields:
        """What differs now."""
        after = self.installed()
        return {
            **packages.changes(before, after),
            "manager": "dnf",
            "cache_updated": updated,
            "versions": packages.versions(self._wanted.packages, after),
        }


def _is(now: str, version: str) -> bool:
    """Whether the installed version is the one that is asked for, which may lack its release."""
    return version in (now, now.partition(":")[2] or now) or now.startswith(f"{version}-")
