"""What a call that counts as a read can make its program do: nothing, whatever it is asked."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.tools.running import program
from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.risk import effect_of


def ran(name: str, parameters: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """The program as an executor starts it, in this folder; the call must count as a read."""
    tool = registry.load().get(name)
    assert tool is not None
    assert effect_of(tool, parameters) == "read"
    invocation = bind(tool, parameters)
    assert isinstance(invocation, Invocation), invocation
    return subprocess.run(
        invocation.argv, input=invocation.stdin or "", cwd=folder, capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a database and a text file, and nothing else."""
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        database.execute("create table jobs (name text)")
        database.execute("insert into jobs values ('import')")
    database.close()
    (tmp_path / "text").write_text("touch made\n")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "query",
    [
        "delete from jobs;",
        "attach 'made' as m; create table m.t (a);",
        "vacuum into 'made';",
        "select writefile('made', 'x');",
        "select edit('x', 'touch made');",
        "select load_extension('made');",
        # A schema that is written makes a table of the module whose name is refused as text.
        "create temp table t (a); pragma writable_schema = on; "
        "insert into temp.sqlite_schema (type, name, tbl_name, rootpage, sql) values ("
        "'table', 'z', 'z', 0, 'create virtual table z using zip' || 'file(''made'')'); "
        "pragma writable_schema = reset; insert into z (name, data) values ('a', 'b');",
        "select readfile('text');",
        "pragma writable_schema = on; update sqlite_schema set sql = 'x';",
        "select fts3_tokenizer('x', 'y');",
    ],
)
def test_sqlite3(data: Path, query: str) -> None:
    program("sqlite3", "sqlite3")
    before = contents(data)
    done = ran("sqlite3", {"path": str(data / "jobs.db"), "query": query}, data)
    assert contents(data) == before
    assert done.returncode != 0, done


@pytest.mark.parametrize(
    "script",
    [
        'BEGIN { print "x" > "made" }',
        'BEGIN { print "x" | "touch made" }',
        'BEGIN { system("touch made") }',
        'BEGIN { "touch made" | getline line }',
        'BEGIN { "touch made" |& getline line }',
        'BEGIN { getline line < "text"; exit(line == "") }',
        'BEGIN { ARGV[1] = "/inet/tcp/0/127.0.0.1/9" } { print }',
        '@load "filefuncs"\nBEGIN { chdir("/") }',
        '@include "inplace"\n{ print "x" }',
    ],
)
def test_awk(data: Path, script: str) -> None:
    program("gawk", "gawk")
    before = contents(data)
    done = ran("awk", {"program": script, "paths": [str(data / "text")]}, data)
    assert contents(data) == before
    assert done.returncode != 0, done


@pytest.mark.parametrize("script", ["w made", "e", "1e touch made", "s/touch/x/w made", "s/a/b/e"])
def test_sed(data: Path, script: str) -> None:
    program("sed", "sed")
    before = contents(data)
    done = ran("sed", {"script": script, "paths": [str(data / "text")]}, data)
    assert contents(data) == before
    assert done.returncode != 0, done
