"""Database clients: rows of mysql and sqlite3, checks, archives, Redis and MongoDB."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any, Final

#: The client escapes these four characters and nothing else, so that other bytes make no XML.
_FIELD: Final = re.compile(
    r'<field name="([^"]*)"(?: xsi:nil="(true)" />|>([^<]*)</field>)|(<row>)', re.S
)
_ESCAPED: Final = re.compile(r"&(lt|gt|amp|quot);")
_CHARACTERS: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
#: What bytes become that are no UTF-8.
_NO_TEXT: Final = "\ufffd"
_ENTRY: Final = re.compile(r"^(\d+); \d+ \d+ (.+?) (\S+) (\S+) ?(\S*)$")
_SETTING: Final = re.compile(r"\A\s*defensive on\s*$", re.M)
_ABSENT: Final = re.compile(r"Error: Table '([^']+)' doesn't exist")
_DUMPED: Final = re.compile(r"done dumping (?P<name>.+) \((?P<documents>\d+) documents?\)")
_UNDUMPED: Final = re.compile(r"^\S+\t(namespace with DB .* does not exist)$", re.M)
_BENCHMARK: Final = {
    "test": "test",
    "rps": "requests_per_second",
    "avg_latency_ms": "average_ms",
    "p50_latency_ms": "p50_ms",
    "p95_latency_ms": "p95_ms",
    "p99_latency_ms": "p99_ms",
    "max_latency_ms": "max_ms",
}


def mysql(stdout: str) -> dict[str, Any]:
    """The rows of the last statement of `mysql --xml`."""
    # One document per statement; in values a `<` is escaped.
    rows: list[dict[str, Any]] = []
    for name, absent, text, row in _FIELD.findall(stdout, max(stdout.rfind("<resultset"), 0)):
        if row:
            rows.append({})
        elif rows:
            rows[-1][_unescaped(name)] = None if absent else _unescaped(text)
    found = _rows(rows)
    lost = [
        name
        for name in found["columns"]
        if any(_NO_TEXT in value for row in rows if (value := row.get(name)))
    ]
    return {**found, "undecodable": lost} if lost else found


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: _CHARACTERS[match[1]], text)


def sqlite(stdout: str) -> dict[str, Any]:
    """The rows of the last statement of `sqlite3 -json`; a statement without rows has no output.

    The answer to `.dbconfig defensive on`, with which the program is started, is no row.
    """
    stdout = _SETTING.sub("", stdout, count=1)
    decoder = json.JSONDecoder()
    rows: list[dict[str, Any]] = []
    end = len(stdout.rstrip())
    position = 0
    while position < end:
        while stdout[position].isspace():
            position += 1
        rows, position = decoder.raw_decode(stdout, position)
    return _rows(rows)


def _rows(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rows": rows, "row_count": len(rows), "columns": list(rows[0]) if rows else []}


def mysqlcheck(stdout: str) -> dict[str, Any]:
    """The tables; a status that is not OK comes with its messages."""
    tables: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        words = line.split()
        kind, _, message = line.partition(":")
        absent = _ABSENT.match(line)
        if absent is not None:
            tables.append({"table": absent[1], "status": "does not exist", "messages": []})
            continue
        if kind.strip().lower() in ("note", "warning", "error", "status", "info") and tables:
            text = message.strip()
            if kind.strip() == "status":
                tables[-1]["status"] = text
            else:
                tables[-1]["messages"].append(f"{kind.strip()}: {text}")
                if kind.strip().lower() == "error":
                    tables[-1]["status"] = "error"
        elif words and "." in words[0]:
            status = " ".join(words[1:])
            tables.append({"table": words[0], "status": status or "see messages", "messages": []})
    for table in tables:
        if table["status"] == "see messages":
            table["status"] = "OK"
    good = ("OK", "Table is already up to date")
    problems = [table["table"] for table in tables if table["status"] not in good]
    return {"tables": tables, "count": len(tables), "problems": problems}


def pg_restore(stdout: str) -> dict[str, Any]:
    """The table of contents of `--list`; a restore has no output."""
    entries: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        found = _ENTRY.match(line)
        if found is not None:
            kind, schema, name = found[2], found[3], found[4]
            # "TABLE DATA public orders owner": a kind of two words; the schema may be "-".
            entries.append({"id": int(found[1]), "type": kind, "schema": schema, "name": name})
    return {"entries": entries, "count": len(entries)}


def redis(stdout: str) -> dict[str, Any]:
    """The reply of `redis-cli --json`; the text of INFO also by its fields."""
    try:
        answer = json.loads(stdout) if stdout.strip() else None
    except ValueError:
        # A verbatim reply such as that of INFO is plain text in spite of --json.
        answer = stdout
    output: dict[str, Any] = {"answer": answer}
    if isinstance(answer, str) and answer.startswith("# "):
        pairs = (line.partition(":") for line in answer.splitlines() if ":" in line)
        output["info"] = {name: value for name, _, value in pairs}
    return output


def redis_benchmark(stdout: str) -> dict[str, Any]:
    """The measured tests of `redis-benchmark --csv`."""
    lines = [line for line in stdout.split("\n") if line.startswith('"')]
    rows = csv.DictReader(io.StringIO("\n".join(lines)))
    results = [
        {
            name: row[key] if key == "test" else float(row[key])
            for key, name in _BENCHMARK.items()
            if row.get(key)
        }
        for row in rows
    ]
    return {"results": results, "count": len(results)}


def mongodump(stdout: str) -> dict[str, Any]:
    """The collections that were dumped, from the messages.

    Raises `ValueError` where the named one is not there, after which the program ends with 0.
    """
    absent = _UNDUMPED.search(stdout)
    if absent is not None:
        raise ValueError(absent[1])
    found = [match for line in stdout.split("\n") if (match := _DUMPED.search(line))]
    collections = [
        {"collection": match["name"], "documents": int(match["documents"])} for match in found
    ]
    total = sum(int(match["documents"]) for match in found)
    return {"collections": collections, "count": len(collections), "documents": total}


def mongosh(stdout: str) -> dict[str, Any]:
    """The reply of a database command; the first batch of a cursor as `documents`."""
    answer = json.loads(stdout)
    output: dict[str, Any] = {"ok": answer.get("ok") in (1, 1.0, {"$numberDouble": "1"})}
    cursor = answer.get("cursor")
    if isinstance(cursor, dict):
        documents = list(cursor.get("firstBatch") or ())
        return {**output, "documents": documents, "count": len(documents)}
    return {**output, "answer": answer}
