"""The tool `line_in_file`: a line is in a text file, or is not; the rest of the file stays."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from typing import BinaryIO, NamedTuple

from toolmeta.programs.report import MOST_TEXT, Fields, Refused

#: Bytes of one line of the file; what is longer is no text that is edited by lines.
_LONGEST_LINE = 16 * 1024 * 1024
#: Rows of the difference.
_MOST_ROWS = 200
_BEGIN, _END = "BOF", "EOF"


class Wanted(NamedTuple):
    """One call."""

    path: str
    state: str
    line: bytes | None
    pattern: re.Pattern[bytes] | None
    after: re.Pattern[bytes] | str | None
    before: re.Pattern[bytes] | str | None
    every: bool


class Plan(NamedTuple):
    """What the first reading of the file found; numbers of lines begin with 0."""

    lines: int
    #: The lines that are to become the wanted one, or to go.
    hits: frozenset[int]
    #: The number of the line before which the wanted one is put; None where it is not put.
    insert: int | None
    ending: bytes
    #: Whether the last line has no end.
    open_end: bool


def main(parameters: Fields) -> Fields:
    """Look for the line, then write the file anew where it differs."""
    wanted = _wanted(parameters)
    path = os.path.realpath(wanted.path)
    if not os.path.lexists(path):
        if wanted.state == "absent":
            return _report(wanted, [], None, 0)
        if not parameters["create"]:
            raise Refused("not_found", f"{wanted.path}: is not there; create: true makes it")
        if not parameters["dry_run"]:
            _create(path)
        elif not os.path.isdir(os.path.dirname(path)):
            raise Refused("not_found", f"{os.path.dirname(path)}: is not there")
    elif not stat.S_ISREG(os.stat(path).st_mode):
        raise Refused("invalid_parameters", f"{wanted.path}: is no file")
    if parameters["dry_run"] and not os.path.lexists(path):
        row = f"+1: {_text(wanted.line or b'')}"
        return _report(wanted, [row], None, 1)
    with open(path, "rb") as source:
        plan = _planned(wanted, source)
        if plan.insert is None and not plan.hits:
            return _report(wanted, [], None, 0)
        source.seek(0)
        return _write(wanted, plan, path, source, parameters)


def _wanted(given: Fields) -> Wanted:
    line = given.get("line")
    state = given["state"]
    pattern = given.get("regexp")
    if state == "present" and line is None:
        raise Refused("invalid_parameters", "line: is required where state is present")
    return Wanted(
        path=given["path"],
        state=state,
        line=None if line is None else line.encode("utf-8", "surrogateescape"),
        pattern=None if pattern is None else _pattern("regexp", pattern),
        after=_place("insert_after", given.get("insert_after")),
        before=_place("insert_before", given.get("insert_before")),
        every=state == "absent",
    )


def _pattern(name: str, text: str) -> re.Pattern[bytes]:
    try:
        return re.compile(text.encode("utf-8", "surrogateescape"))
    except re.error as error:
        raise Refused("invalid_parameters", f"{name}: no regular expression: {error}") from error


def _place(name: str, text: str | None) -> re.Pattern[bytes] | str | None:
    return text if text in (None, _BEGIN, _END) else _pattern(name, text)


def _create(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def _next(source: BinaryIO) -> bytes:
    line = source.readline(_LONGEST_LINE + 1)
    if len(line) > _LONGEST_LINE:
        raise Refused("limit_exceeded", "the file has a line of more than 16 MiB")
    return line


def _planned(wanted: Wanted, source: BinaryIO) -> Plan:
    hits: list[int] = []
    equal: list[int] = []
    anchor: int | None = None
    ending = b""
    number = 0
    last = b""
    while True:
        raw = _next(source)
        if not raw:
            break
        last = raw
        body = raw.rstrip(b"\r\n") if raw.endswith(b"\n") else raw
        if not ending and raw.endswith(b"\n"):
            ending = b"\r\n" if raw.endswith(b"\r\n") else b"\n"
        same = wanted.line is not None and body == wanted.line
        if same:
            equal.append(number)
        if wanted.pattern is not None:
            if wanted.pattern.search(body):
                hits.append(number)
        elif same:
            hits.append(number)
        if isinstance(wanted.after, re.Pattern) and wanted.after.search(body):
            anchor = number + 1
        if isinstance(wanted.before, re.Pattern) and anchor is None and wanted.before.search(body):
            anchor = number
        number += 1
    end = ending or b"\n"
    open_end = bool(last) and not last.endswith(b"\n")
    if wanted.every:
        return Plan(number, frozenset(hits), None, end, open_end)
    if hits:
        # As for many tools of this kind: the last line that matches is the one.
        chosen = hits[-1]
        changed = frozenset() if chosen in equal else frozenset({chosen})
        return Plan(number, changed, None, end, open_end)
    if equal:
        return Plan(number, frozenset(), None, end, open_end)
    if wanted.before == _BEGIN:
        anchor = 0
    return Plan(number, frozenset(), number if anchor is None else anchor, end, open_end)


def _write(wanted: Wanted, plan: Plan, path: str, source: BinaryIO, given: Fields) -> Fields:
    line = wanted.line or b""
    rows: list[str] = []
    found = os.fstat(source.fileno())
    folder, name = os.path.split(path)
    aside = os.path.join(folder, f".{name[:100]}.runstream-{secrets.token_hex(8)}")
    dry = given["dry_run"]
    count = 0
    try:
        with open(os.devnull if dry else aside, "wb" if dry else "xb") as target:
            for number in range(plan.lines + 1):
                if number == plan.insert:
                    count += 1
                    rows.append(f"+{number + 1}: {_text(line)}")
                    if number == plan.lines and plan.open_end:
                        target.write(plan.ending)
                        target.write(line)
                    else:
                        target.write(line + plan.ending)
                raw = _next(source)
                if number not in plan.hits:
                    target.write(raw)
                    continue
                count += 1
                body = raw.rstrip(b"\r\n") if raw.endswith(b"\n") else raw
                if len(rows) < _MOST_ROWS:
                    rows.append(f"-{number + 1}: {_text(body)}")
                if not wanted.every:
                    rows.append(f"+{number + 1}: {_text(line)}")
                    target.write(line + raw[len(body) :])
            target.flush()
            if not dry:
                _like(target.fileno(), found)
                os.fsync(target.fileno())
        if dry:
            return _report(wanted, rows, None, count)
        now = os.stat(path)
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
        ):
            raise Refused("conflict", f"{wanted.path}: was changed meanwhile; run the step again")
        backup = _backup(path) if given["backup"] and found.st_size else None
        os.replace(aside, path)
        return _report(wanted, rows, backup, count)
    finally:
        if os.path.lexists(aside):
            os.unlink(aside)


def _like(file: int, found: os.stat_result) -> None:
    """Owner and rights of the file that was there."""
    if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
        try:
            os.fchown(file, found.st_uid, found.st_gid)
        except PermissionError as error:
            raise Refused(
                "capability_missing",
                "the file belongs to another user or group, which this user cannot give to the new "
                "one; use become",
            ) from error
    os.fchmod(file, stat.S_IMODE(found.st_mode))


def _backup(path: str) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in range(100):
        name = f"{path}.{stamp}{f'-{number}' if number else ''}.bak"
        if not os.path.lexists(name):
            shutil.copy2(path, name)
            return name
    raise Refused("conflict", f"{path}: has a hundred copies of this second already")


def _text(line: bytes) -> str:
    return line[:2_000].decode("utf-8", "surrogateescape")


def _report(wanted: Wanted, rows: list[str], backup: str | None, count: int) -> Fields:
    diff = "\n".join(rows)
    return {
        "changed": bool(count),
        "path": wanted.path,
        "lines_changed": count,
        "diff": diff[:MOST_TEXT],
        "backup": backup,
    }
