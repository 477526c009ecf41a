"""Accounts as they stand in the files of a machine, and the programs that change them."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from toolmeta.programs import running
from toolmeta.programs.report import Refused

_CLASSES = (
    ("busy", r"is currently used by process"),
    ("conflict", r"already exists|is not unique|already a member|primary group of user"),
    ("not_found", r"does not exist"),
    ("capability_missing", r"Permission denied|Only root"),
    ("invalid_parameters", r"invalid|bad "),
)


class Account(NamedTuple):
    """One row of passwd."""

    name: str
    uid: int
    gid: int
    comment: str
    home: str
    shell: str


class Files:
    """passwd, group and shadow of the machine, or of a system under a directory."""

    def __init__(self, prefix: str | None) -> None:
        self.prefix = "" if prefix is None else prefix.rstrip("/")

    def account(self, name: str) -> Account | None:
        """The user; None where there is none."""
        row = self._row("passwd", name)
        if row is None:
            return None
        return Account(row[0], int(row[2]), int(row[3]), row[4], row[5], row[6])

    def group(self, name: str) -> int | None:
        """The number of the group, by name or number; None where there is none."""
        for row in self._rows("group"):
            if row[0] == name or row[2] == name:
                return int(row[2])
        return None

    def groups_of(self, name: str) -> set[str]:
        """The groups besides the first one that the user is in."""
        return {row[0] for row in self._rows("group") if name in row[3].split(",")}

    def group_names(self, wanted: list[str]) -> list[str]:
        """The groups by their names, also those that were given by number."""
        by_number = {row[2]: row[0] for row in self._rows("group")}
        return [by_number.get(name, name) for name in wanted]

    def password_hash(self, name: str) -> str | None:
        """What stands in shadow; only root may read it."""
        row = self._row("shadow", name)
        return None if row is None else row[1]

    def change(self, program: str, words: list[str], stdin: bytes | None = None) -> None:
        """Run a program of the package passwd."""
        prefix = [f"--prefix={self.prefix}"] if self.prefix else []
        env = running.environment({"LC_ALL": "C.UTF-8"})
        path = running.required(program, "passwd")
        ended = running.asked([path, *prefix, *words], env, stdin)
        if ended.code == 0:
            return
        said = ended.last(f"{program}: ")
        if re.search(r"cannot lock|unable to lock", ended.said):
            raise Refused("busy" if os.geteuid() == 0 else "capability_missing", said)
        for error_class, pattern in _CLASSES:
            if re.search(pattern, ended.said):
                raise Refused(error_class, said)
        raise Refused("exit_status", f"{program} ended with exit code {ended.code}: {said}")

    def _row(self, file: str, name: str) -> list[str] | None:
        return next((row for row in self._rows(file) if row[0] == name), None)

    def _rows(self, file: str) -> list[list[str]]:
        with open(f"{self.prefix}/etc/{file}", encoding="utf-8", errors="surrogateescape") as text:
            rows = [line.rstrip("\n").split(":") for line in text]
        return [row for row in rows if len(row) >= 4]
