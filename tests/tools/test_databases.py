"""Clients of databases, run through the whole system against servers of the tests' own."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import free_port
from tests.certificates import Authority
from tests.tools.catalogue import refusal
from tests.tools.conftest import Execute, Result
from tests.tools.running import listens, program, server
from toolmeta.registry import load
from toolmeta.risk import effect_of

NOBODY = 1


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


# SQLite


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    program("sqlite3", "sqlite3")
    path = tmp_path / "jobs.db"
    with sqlite3.connect(path) as database:
        database.execute("create table jobs (name text, state text, score real)")
        database.execute("insert into jobs values ('import', 'open', 1.5), ('export', null, 2)")
    database.close()
    return path


def test_sqlite_rows(execute: Execute, jobs: Path) -> None:
    query = "select 1; select name, state, score from jobs order by score"
    output = succeeded(execute("sqlite3", {"path": str(jobs), "query": query}))
    assert output["columns"] == ["name", "state", "score"]
    assert output["rows"] == [
        {"name": "import", "state": "open", "score": 1.5},
        {"name": "export", "state": None, "score": 2.0},
    ]
    assert output["row_count"] == 2


def test_sqlite_writes_only_when_told(execute: Execute, jobs: Path) -> None:
    change = {"path": str(jobs), "query": "delete from jobs where state is null"}
    assert execute("sqlite3", change).error_class == "capability_missing"
    assert succeeded(execute("sqlite3", {**change, "write": True}))["rows"] == []
    with sqlite3.connect(jobs) as database:
        assert database.execute("select count(*) from jobs").fetchone() == (1,)
    database.close()


@pytest.mark.parametrize("query", [".shell touch {}", "select 1;\n.trace {}", ".system touch {}"])
def test_sqlite_runs_no_commands(jobs: Path, query: str) -> None:
    parameters = {"path": str(jobs), "query": query.format("/srv/canary"), "write": True}
    assert "must match" in refusal("sqlite3", parameters)


def test_sqlite_says_what_is_wrong(execute: Execute, jobs: Path) -> None:
    gone = execute("sqlite3", {"path": str(jobs.with_name("gone.db")), "query": "select 1 from x"})
    assert gone.error_class == "not_found"
    wrong = execute("sqlite3", {"path": str(jobs), "query": "selekt"})
    assert wrong.error_class == "database"
    said = "select char(10) || 'Error: near line 1: database is locked'; select 1 from nothing"
    rows = execute("sqlite3", {"path": str(jobs), "query": said})
    assert (rows.error_class, rows.error["transient"]) == ("database", False)
    other = jobs.with_name("other.db")
    other.write_text("no database at all, but long enough to be looked at as one")
    assert (
        execute("sqlite3", {"path": str(other), "query": "select 1 from x"}).error_class
        == "database"
    )


def test_what_was_written_before_a_lock_is_not_written_again(execute: Execute, jobs: Path) -> None:
    other = jobs.with_name("other.db")
    with sqlite3.connect(other, isolation_level=None) as holder:
        holder.execute("create table t (a)")
        holder.execute("begin exclusive")
        fast = {"path": str(other), "write": True, "busy_timeout_seconds": 0}
        first = execute("sqlite3", {**fast, "query": "insert into t values (1)"})
        assert (first.error_class, first.error["transient"]) == ("busy", True)
        later = execute("sqlite3", {**fast, "query": "select 1;\ninsert into t values (1)"})
        assert (later.error_class, later.error["transient"]) == ("database", False)
    holder.close()


# MariaDB


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of the certificate of that server, for the name localhost."""
    made = Authority(Path(tmp_path_factory.mktemp("trust")))
    made.server("localhost")
    return made


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory, trust: Authority) -> Iterator[int]:
    """A server with the database `shop`; its port. root has no password, `app` has one."""
    daemon = program("mariadbd", "mariadb-server")
    folder = Path(tmp_path_factory.mktemp("mariadb"))
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(
        [
            program("mariadb-install-db", "mariadb-server"),
            *("--no-defaults", f"--datadir={folder / 'data'}", f"--user={user}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    port = free_port()
    argv = [
        daemon,
        *("--no-defaults", f"--datadir={folder / 'data'}", f"--socket={folder / 's'}"),
        *(f"--port={port}", "--bind-address=127.0.0.1", f"--user={user}"),
        *("--innodb-buffer-pool-size=16M", f"--pid-file={folder / 'pid'}"),
        *(f"--ssl-{kind}={trust.ca_file.with_name('localhost.pem')}" for kind in ("cert", "key")),
    ]
    with server(argv, lambda: listens(port), folder / "log"):
        subprocess.run(
            ["mysql", "--no-defaults", "--host=127.0.0.1", f"--port={port}", "--user=root"],
            input="create database shop; use shop;"
            "create table orders (id int primary key, state varchar(20), note blob) engine=InnoDB;"
            "insert into orders values (1, 'open', null), (2, 'a<b', 'x'), (3, 'open', 'y');"
            "create user app@'%' identified by 'canary-password';"
            "grant all on shop.* to app@'%';",
            text=True,
            check=True,
            timeout=30,
        )
        yield port


def on(port: int, **more: Any) -> dict[str, Any]:
    return {
        "server": "127.0.0.1",
        "port": port,
        "user": "app",
        "password": "canary-password",
        "database": "shop",
        **more,
    }


def test_mysql_rows(execute: Execute, mariadb: int) -> None:
    query = "select id, state, note from orders order by id; select state, count(*) as n from orders group by state order by n"  # noqa: E501
    output = succeeded(execute("mysql", on(mariadb, query=query)))
    assert output["columns"] == ["state", "n"]
    assert output["rows"] == [{"state": "a<b", "n": "1"}, {"state": "open", "n": "2"}]
    none = succeeded(execute("mysql", on(mariadb, query="select note from orders where id = 1")))
    assert none["rows"] == [{"note": None}]


def test_mysql_values_are_those_of_the_server(execute: Execute, mariadb: int) -> None:
    """Bytes of every kind, and text that looks like the client's own."""
    words = "a\r\n</field></row><row> &lt; &amp; &#65; \" ' ü 日本 \t \\n end"
    make = (
        "create or replace table kinds"
        " (id int, raw binary(8), note blob, words text character set utf8mb4);"
        f"insert into kinds values (1, 0x00ff41003c260a0d, 'hi', 0x{words.encode().hex()}),"
        " (2, null, '', '')"
    )
    succeeded(execute("mysql", on(mariadb, query=make, write=True)))
    query = 'select id, raw, note, words as `a<"b` from kinds order by id'
    output = succeeded(execute("mysql", on(mariadb, query=query, binary_as_hex=True)))
    assert output["rows"] == [
        {"id": "1", "raw": "0x00FF41003C260A0D", "note": "0x6869", 'a<"b': words},
        {"id": "2", "raw": None, "note": "0x", 'a<"b': ""},
    ]
    assert "undecodable" not in output
    plain = succeeded(execute("mysql", on(mariadb, query=query)))
    assert [row["note"] for row in plain["rows"]] == ["hi", ""]
    assert plain["undecodable"] == ["raw"]
    # The last statement counts, also where it has no rows.
    none = on(mariadb, query="select 1; select id from kinds where false")
    assert succeeded(execute("mysql", none))["rows"] == []
    succeeded(execute("mysql", on(mariadb, query="drop table kinds", write=True)))


def test_a_change_may_be_lifted_from_read_only_and_so_is_no_read() -> None:
    """A statement can end the read-only session, so every call counts as what it could do."""
    tool = load().get("mysql")
    assert tool is not None
    for given in ({}, {"write": False}, {"write": True}):
        assert (
            effect_of(tool, {"query": "set session transaction read write", **given}) == "destroy"
        )


def test_mysql_says_what_its_rows_say_of_failures(execute: Execute, mariadb: int) -> None:
    """A row is no sentence of the client: nothing is repeated for what it says."""
    said = "ERROR 2002 (HY000): Can't connect to server on 'x' (111)"
    query = f"select concat('\\n', \"{said}\", '\\n') as a; select * from absent"
    result = execute("mysql", on(mariadb, query=query))
    assert (result.error_class, result.error["transient"]) == ("database", False)


def test_mysql_by_tls(execute: Execute, mariadb: int, trust: Authority, tmp_path: Path) -> None:
    authority, stranger = trust.ca_file, Authority(tmp_path).ca_file
    query = {"query": "show status like 'Ssl_cipher'", "user": "root", "port": mariadb}
    by_name = {**query, "server": "localhost", "tls": True}
    output = succeeded(execute("mysql", {**by_name, "ca_file": str(authority)}))
    assert output["rows"][0]["Value"].startswith("TLS_")
    assert execute("mysql", {**by_name, "ca_file": str(stranger)}).error_class == "tls_failed"
    # The certificate has the name and not the address.
    other = {**by_name, "server": "127.0.0.1", "ca_file": str(authority)}
    assert execute("mysql", other).error_class == "tls_failed"
    dump: dict[str, Any] = {
        "path": str(authority.with_name("all.sql")),
        "database": "mysql",
        "tables": ["db"],
    }
    dump |= {key: value for key, value in by_name.items() if key != "query"}
    succeeded(execute("mysqldump", {**dump, "ca_file": str(authority)}))
    assert execute("mysqldump", {**dump, "ca_file": str(stranger)}).error_class == "tls_failed"


def test_mysql_writes_only_when_told(execute: Execute, mariadb: int) -> None:
    change = on(mariadb, query="update orders set state = 'done' where id = 3")
    refused = execute("mysql", change)
    assert refused.error_class == "database"
    assert "READ ONLY" in refused.error["message"]
    succeeded(execute("mysql", {**change, "write": True}))
    found = succeeded(execute("mysql", on(mariadb, query="select state from orders where id = 3")))
    assert found["rows"] == [{"state": "done"}]


def test_mysql_runs_no_commands_of_its_client(
    execute: Execute, mariadb: int, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    for query in (f"\\! touch {canary}", f"system touch {canary}", f"tee {canary}"):
        result = execute("mysql", on(mariadb, query=query, write=True))
        assert result.status == "failed", result
    assert not canary.exists()


def test_mysql_sends_the_server_no_file(execute: Execute, mariadb: int, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text("99\tstolen\t\\N\n")
    load = f"load data local infile '{file}' into table orders"
    stolen = on(mariadb, query="select state from orders where id = 99")
    assert execute("mysql", on(mariadb, query=load, write=True)).status == "failed"
    assert succeeded(execute("mysql", stolen))["rows"] == []
    # The server would have taken the file from a client that gives it.
    subprocess.run(
        [
            *("mysql", "--no-defaults", "--host=127.0.0.1", f"--port={mariadb}", "--user=root"),
            *("--local-infile=1", "--database=shop", f"--execute={load}"),
        ],
        check=True,
        timeout=30,
    )
    assert succeeded(execute("mysql", stolen))["rows"] == [{"state": "stolen"}]
    removed = on(mariadb, query="delete from orders where id = 99", write=True)
    succeeded(execute("mysql", removed))


def test_mysql_faults_have_classes(execute: Execute, mariadb: int) -> None:
    refused = execute("mysql", on(mariadb, query="select 1", password="wrong"))
    assert refused.error_class == "login_refused"
    assert execute("mysql", on(NOBODY, query="select 1")).error_class == "connection_refused"
    far = {**on(mariadb, query="select 1"), "server": "no-such-host.invalid"}
    assert execute("mysql", far).error_class == "unreachable"
    away = execute("mysql", on(mariadb, query="select 1", database="nowhere"))
    assert away.error_class in ("not_found", "login_refused")


def test_mysqlcheck(execute: Execute, mariadb: int) -> None:
    output = succeeded(execute("mysqlcheck", on(mariadb, tables=["orders"])))
    assert output["tables"] == [{"table": "shop.orders", "status": "OK", "messages": []}]
    assert output["problems"] == []
    optimized = succeeded(execute("mysqlcheck", on(mariadb, operation="optimize")))
    assert optimized["tables"][0]["status"] == "OK"
    assert "recreate" in optimized["tables"][0]["messages"][0]
    absent = succeeded(execute("mysqlcheck", on(mariadb, tables=["nothing"])))
    assert absent["problems"] == ["shop.nothing"]
    refused = execute("mysqlcheck", on(mariadb, password="wrong"))
    assert refused.error_class == "login_refused", refused


def test_mysqldump(execute: Execute, mariadb: int, tmp_path: Path) -> None:
    path = tmp_path / "shop.sql"
    succeeded(execute("mysqldump", on(mariadb, path=str(path))))
    text = path.read_text()
    assert "CREATE TABLE `orders`" in text
    assert "a<b" in text
    assert "canary-password" not in text
    succeeded(execute("mysqldump", on(mariadb, path=str(path), schema_only=True)))
    assert "INSERT INTO" not in path.read_text()
    absent = execute("mysqldump", on(mariadb, path=str(path), tables=["nothing"]))
    assert absent.error_class == "not_found"
    succeeded(execute("mysqldump", on(mariadb, path=str(path), exclude_tables=["orders"])))
    assert "`orders`" not in path.read_text()
    refused = execute("mysqldump", on(mariadb, path=str(path), password="wrong"))
    assert refused.error_class == "login_refused"
    away = execute("mysqldump", on(mariadb, path="/no/such/folder/x"))
    assert away.error_class == "capability_missing", away
