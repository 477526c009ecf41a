"""Bound values of `mysql` against a server of the test's own: no value becomes a part of SQL."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure
from tests.tools.driven import answer, failure
from tests.tools.test_databases import mariadb, on, trust
from toolmeta import bound_values
from toolmeta.bind import bind
from toolmeta.invocation import Problem
from toolmeta.registry import load

__all__ = ["mariadb", "trust"]

HOSTILE = [
    "",
    "'",
    '"',
    "\\",
    "\\'",
    "\\\\' or 1=1 -- ",
    "'; drop table orders; -- ",
    "a\x01b'\x1a\n\r\t",
    "`; delimiter //\n\\! touch /tmp/x",
    "?",
    "@runstream_0",
    "{{ item }}",
    "%s %(name)s :name $1",
    "ü 日本 😀 \u202e \ufeff",
    # In GBK the first byte would take the backslash with it.
    "\u00bf' or 1=1 -- ",
    "縗' or 1=1 -- ",
    "\U0010ffff",
    "0x41",
    " trailing ",
]
MODES = [
    "",
    "NO_BACKSLASH_ESCAPES",
    "ANSI_QUOTES",
    "NO_BACKSLASH_ESCAPES,ANSI_QUOTES",
    "ANSI",
    "ORACLE",
    "PAD_CHAR_TO_FULL_LENGTH,PIPES_AS_CONCAT,HIGH_NOT_PRECEDENCE",
]


def administer(port: int, statements: str) -> None:
    subprocess.run(
        ["mysql", "--no-defaults", "--host=127.0.0.1", f"--port={port}", "--user=root"],
        input=statements, text=True, check=True, timeout=30, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def server(mariadb: int) -> Iterator[int]:
    """The server as it is again after the test."""
    yield mariadb
    administer(mariadb, "set global sql_mode=default; set global init_connect='';")


def rows(port: int, query: str, params: list[Any], **more: Any) -> list[dict[str, Any]]:
    given = on(port, query=query, params=params, **more)
    found: list[dict[str, Any]] = answer("mysql", given, allow_private_addresses=True)["rows"]
    return found


def refused(port: int, query: str, params: list[Any], **more: Any) -> Failure:
    return failure("mysql", on(port, query=query, params=params, **more),
                   allow_private_addresses=True)  # fmt: skip


@pytest.mark.parametrize(
    "names", ["", "set names gbk", "set names latin1, character_set_client=gbk"]
)
@pytest.mark.parametrize("mode", MODES)
def test_hostile_texts_come_back_as_they_are(server: int, mode: str, names: str) -> None:
    administer(server, f"set global sql_mode='{mode}'; set global init_connect='{names}';")
    fields = ", ".join(f"hex(?) as f{index}" for index in range(len(HOSTILE)))
    (row,) = rows(server, f"select {fields}, @@sql_mode as mode", HOSTILE)
    assert mode.partition(",")[0] in row["mode"]
    if not names:
        assert [row[f"f{index}"] for index in range(len(HOSTILE))] == [
            text.encode().hex().upper() for text in HOSTILE
        ]
    else:
        # In a smaller character set some signs become question marks, and none becomes SQL.
        assert [bytes.fromhex(row[f"f{index}"])[-1:] for index in range(1, 7)] == [
            text.encode()[-1:] for text in HOSTILE[1:7]
        ]
    assert rows(server, "select count(*) as n from orders", []) == [{"n": "3"}]


def test_texts_are_stored_and_found(server: int) -> None:
    make = "create or replace table words (id int primary key, plain varchar(60) character set {})"
    for charset in ("utf8mb4", "gbk", "latin1"):
        administer(server, f"use shop; {make.format(charset)};")
        kept = {n: text for n, text in enumerate(HOSTILE) if text.isascii()}
        for number, text in list(kept.items())[:6]:
            rows(server, "insert into words values (?, ?)", [number, text], write=True)
            found = rows(server, "select id from words where plain = ? and id = ?", [text, number])
            assert found == [{"id": str(number)}], (charset, text)
    administer(server, "use shop; drop table words;")


def test_values_keep_their_kind(server: int) -> None:
    values = [7, -(2**63) + 1, 2**63 - 1, 0.1, -1.5e300, True, False, None, "7"]
    named = ", ".join(f"? as v{index}" for index in range(len(values)))
    (row,) = rows(
        server, f"select {named}, ? + 1 as more, ? is null as absent", [*values, 41, None]
    )
    assert [row[f"v{index}"] for index in range(len(values))] == [
        "7", str(-(2**63) + 1), str(2**63 - 1), "0.1", "-1.5e300", "1", "0", None, "7",
    ]  # fmt: skip
    assert (row["more"], row["absent"]) == ("42", "1")
    types = "create or replace table kinds as select ? as i, ? as d, ? as t"
    rows(server, types, [1, 0.5, "x"], write=True)
    asked = "select data_type as t from information_schema.columns where table_name = ? order by 1"
    found = rows(server, asked, ["kinds"])
    kinds = [one["t"] for one in found]
    assert "int" in kinds[0] and kinds[1] == "double" and "text" in kinds[2], kinds
    rows(server, "drop table kinds", [], write=True)


def test_a_large_value(server: int) -> None:
    # As many signs as a text of a plan may have: a megabyte.
    text = "😀" * 262_144
    (row,) = rows(server, "select length(?) as n, sha2(?, 256) as h", [text, text])
    data = text.encode()
    assert row == {"n": str(len(data)), "h": hashlib.sha256(data).hexdigest()}


def test_the_statement_is_one_and_no_command_of_the_client(server: int, tmp_path: Path) -> None:
    both = refused(server, "select ?; drop table orders", ["x"], write=True)
    assert both.error_class == "database"
    mark = tmp_path / "mark"
    for query in (f"\\! touch {mark}", f"system touch {mark}", f"delimiter //\nselect ?//{mark}"):
        assert refused(server, query, [], write=True).error_class == "database"
    assert not mark.exists()
    quoted = rows(server, "select 'it''s; \"?\"' as a, ? as b -- ; ?\n", ["x"])
    assert quoted == [{"a": 'it\'s; "?"', "b": "x"}]
    assert rows(server, "select count(*) as n from orders", []) == [{"n": "3"}]


@pytest.mark.parametrize("params", [[], ["a"], ["a", "b", "c"]])
def test_too_few_and_too_many_values(server: int, params: list[str]) -> None:
    assert refused(server, "select ?, ?", params).error_class == "database"


def test_writing_needs_to_be_told(server: int) -> None:
    change = "update orders set state = ? where id = ?"
    assert refused(server, change, ["done", 2]).error_class == "database"
    assert rows(server, change, ["it's", 2], write=True) == []
    assert rows(server, "select state from orders where id = ?", [2]) == [{"state": "it's"}]
    rows(server, change, ["a<b", 2], write=True)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["x"], "must be text"),
        ({"a": 1}, "must be text"),
        (float("nan"), ""),
        (float("inf"), ""),
        (2**64, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        ("a\x00b", "NUL"),
    ],
)
def test_what_is_no_value(value: Any, told: str) -> None:
    tool = load().get("mysql")
    assert tool is not None
    problems = bind(tool, {"query": "select ?, ?", "params": ["good", value]})
    assert isinstance(problems, list) and isinstance(problems[0], Problem)
    (problem,) = problems
    assert problem.field == "parameters.params[1]" and told in problem.message, problem
    made = bound_values.mysql("select ?", [value])
    assert isinstance(made, str) == isinstance(value, str)


def test_what_no_plan_may_hold_makes_no_sql_either(server: int) -> None:
    """NUL and halves of pairs are refused in every parameter; the statement would hold them."""
    half: str = json.loads('"\\ud800x"')
    values = ["a\x00'b", half, "\x00", 2**64 - 1]
    statement = bound_values.mysql("select hex(?) a, hex(?) b, hex(?) c, ? d", values)
    assert isinstance(statement, str) and statement.isascii()
    asked = ["mysql", "--no-defaults", "--host=127.0.0.1", f"--port={server}", "--user=root"]
    done = subprocess.run(
        [*asked, "--skip-column-names"],
        input=statement, text=True, check=True, timeout=30, capture_output=True,
    )  # fmt: skip
    assert done.stdout.split() == ["61002762", "3F78", "00", str(2**64 - 1)]


def test_psql_and_mysql_call_it_alike() -> None:
    for name in ("mysql", "psql"):
        tool = load().get(name)
        assert tool is not None and tool.parameters["params"].aliases == ("values",)
