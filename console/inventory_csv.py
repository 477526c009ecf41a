"""CSV of hosts with a header: read, and written by `runstream assets export`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from console.ansible_variables import NOT_KNOWN, REMEDY, is_secret
from console.inventory_model import (
    FACTS,
    MAX_HOSTS,
    BadFile,
    Found,
    HostFound,
    LeftOut,
    Login,
    address,
    fact,
    host_name,
    jumps,
    login,
    port,
    templated,
)

#: Spellings of columns besides their own names.
_ALIASES: Final = {"host": "hostname", "name": "hostname", "ip": "ip_address", "type": "asset_type"}
_CONNECTION: Final = ("address", "port", "user", "jump")
#: Columns, in the order in which they are exported.
COLUMNS: Final = ("hostname", "ip_address", *FACTS, *_CONNECTION, "groups")
#: The beginning of a column that holds a tag.
TAG: Final = "tag."
_MAX_COLUMNS: Final = 200


def parse(text: str) -> Found:
    """The hosts of a table; raises BadFile."""
    head = text.partition("\n")[0]
    delimiter = ";" if ";" in head and "," not in head else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    out: list[LeftOut] = []
    columns: list[str] = []
    hosts: dict[str, HostFound] = {}
    try:
        for row in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if not columns:
                columns = _columns(row, line, out)
                continue
            if len(row) != len(columns):
                raise BadFile(f"line {line}: {len(row)} cells, and the header has {len(columns)}")
            found = _host({c: v.strip() for c, v in zip(columns, row, strict=True) if c}, line, out)
            if found.hostname in hosts:
                first = hosts[found.hostname].line
                raise BadFile(f"line {line}: {found.hostname} stands in line {first} already")
            hosts[found.hostname] = found
            if len(hosts) > MAX_HOSTS:
                raise BadFile(f"line {line}: more than {MAX_HOSTS} hosts; import it in parts")
    except csv.Error as error:
        raise BadFile(f"line {reader.line_num}: not CSV: {error}") from None
    return Found(list(hosts.values()), out)


def _columns(row: list[str], line: int, out: list[LeftOut]) -> list[str]:
    """The names of the columns, empty for those that are left out."""
    if len(row) > _MAX_COLUMNS:
        raise BadFile(f"line {line}: more than {_MAX_COLUMNS} columns")
    columns: list[str] = []
    for cell in row:
        written = cell.strip()
        name = _ALIASES.get(written.lower(), written.lower())
        if name.startswith(TAG) and not templated([written]):
            name = TAG + written[len(TAG) :]
        elif name not in COLUMNS:
            why = REMEDY if is_secret(written) else NOT_KNOWN
            out.append(LeftOut(written, line, why))
            name = ""
        if name and name in columns:
            raise BadFile(f"line {line}: the column {written!r} occurs twice")
        columns.append(name)
    if "hostname" not in columns:
        raise BadFile(f"line {line}: the header has no column hostname")
    return columns


def _host(cells: dict[str, str], line: int, out: list[LeftOut]) -> HostFound:
    facts: dict[str, str] = {}
    connection: dict[str, Login] = {}
    tags: dict[str, str] = {}
    # Without the column the file says nothing of groups; an empty cell means none.
    groups = tuple(sorted(set(cells["groups"].split()))) if "groups" in cells else None
    for name, value in cells.items():
        if name in ("hostname", "groups") or not value:
            continue
        if templated([value]):
            out.append(LeftOut(name, line, "is a template, which is not evaluated"))
        elif name.startswith(TAG):
            tags[name[len(TAG) :]] = value
        elif name == "ip_address":
            more, place = address(value, line, name)
            if not more:
                raise BadFile(f"line {line}: ip_address: {value[:80]!r} is no IP address")
            facts |= more
            connection = place | connection
        elif name == "address":
            connection["address"] = address(value, line, name)[1]["address"] or value
        elif name == "port":
            connection["port"] = port(value, line, name)
        elif name == "user":
            connection["user"] = login(value, line, name)
        elif name == "jump":
            hosts, users = jumps(value.replace(" ", ","), line, name)
            connection["jump"] = list(hosts)
            if users:
                out.append(LeftOut("jump", line, "names a user: give that host one of its own"))
        else:
            facts[name] = fact(name, value, line)
    if groups is not None and templated(groups):
        raise BadFile(f"line {line}: groups: a name holds {{{{")
    return HostFound(host_name(cells["hostname"], line), line, facts, connection, tags, groups)


def write(
    rows: Iterable[Sequence[str]], header: Sequence[str], line: Callable[[str], None]
) -> None:
    """Print a table, line by line."""
    for row in (header, *rows):
        cells = io.StringIO(newline="")
        csv.writer(cells, lineterminator="").writerow(row)
        line(cells.getvalue())
