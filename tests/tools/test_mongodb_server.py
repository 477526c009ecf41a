"""mongosh from npm and mongodump from Go's modules, at a server that speaks MongoDB's protocol.

The server is mongo-java-server from Maven. It knows no users: test_mongodb.py has the logins.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import free_port
from tests.tools import fetched
from tests.tools.built import built
from tests.tools.conftest import Execute, Result
from tests.tools.mongo_wire import ask, decode, encode
from tests.tools.running import listens, server

pytestmark = pytest.mark.timeout(600)

_LAUNCHER = Path(__file__).parent / "java" / "MongoServerOnPort.java"
#: A name that a shell would not leave alone, text of another script, a value with a line break.
ORDERS: list[dict[str, Any]] = [
    {"_id": 1, "state": "open", "note": "a b; $(id)\nx"},
    {"_id": 2, "state": "closed", "lines": [{"item": "größe", "count": 3}]},
]


@pytest.fixture(scope="module")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server with two orders."""
    classes = fetched.jars("de.bwaldvogel", "mongo-java-server", "1.47.0")
    if shutil.which("javac") is None:
        pytest.skip("program javac is not installed: apt install default-jdk-headless")
    port = free_port()
    path = ":".join(map(str, classes))
    argv = ["java", "-Xmx128m", "-cp", path, str(_LAUNCHER), str(port)]
    with server(argv, lambda: listens(port), tmp_path_factory.mktemp("mongo") / "log"):
        yield port


@pytest.fixture
def shop(mongo: int) -> int:
    """The port, with a database of a known state."""
    ask(mongo, "shop", {"dropDatabase": 1})
    assert ask(mongo, "shop", {"insert": "orders", "documents": ORDERS})["n"] == len(ORDERS)
    return mongo


@pytest.fixture(scope="module")
def mongosh(stack: tuple[object, Path]) -> Iterator[None]:
    """The real program on the PATH of the executors."""
    front = stack[1].parent / "fakes" / "mongosh"
    front.parent.mkdir(exist_ok=True)
    front.symlink_to(fetched.npm("mongosh", "2.5.0") / "mongosh")
    yield
    front.unlink()


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


def failed(result: Result) -> tuple[str, str]:
    assert result.status == "failed", result
    return result.error_class, str(result.error["message"])


@pytest.mark.usefixtures("mongosh")
def test_mongosh(execute: Execute, shop: int) -> None:
    at = {"server": "127.0.0.1", "port": shop, "database": "shop"}
    orders = {**at, "collection": "orders"}

    def told(**parameters: Any) -> dict[str, Any]:
        return succeeded(execute("mongosh", {**orders, **parameters}))

    assert told()["ok"] is True
    found = told(command="find", arguments={"filter": {}, "sort": {"_id": 1}})
    assert (found["documents"], found["count"]) == (ORDERS, 2)
    counted = told(command="count", arguments={"query": {"state": "open"}})
    assert counted["answer"]["n"] == 1
    stages = [{"$group": {"_id": "$state", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}]
    grouped = told(command="aggregate", arguments={"pipeline": stages, "cursor": {}})
    assert grouped["documents"] == [{"_id": "closed", "n": 1}, {"_id": "open", "n": 1}]

    change = {"updates": [{"q": {"_id": 1}, "u": {"$set": {"state": "sent"}}}]}
    assert told(command="update", arguments=change)["answer"]["nModified"] == 1
    added = {"_id": 3, "state": "open"}
    assert told(command="insert", arguments={"documents": [added]})["answer"]["n"] == 1
    gone = {"deletes": [{"q": {"_id": 2}, "limit": 1}]}
    assert told(command="delete", arguments=gone)["answer"]["n"] == 1
    now = ask(shop, "shop", {"find": "orders", "sort": {"_id": 1}})["cursor"]["firstBatch"]
    assert now == [{**ORDERS[0], "state": "sent"}, added]

    assert told(command="find", collection="nobody")["documents"] == []
    succeeded(execute("mongosh", {**at, "command": "dropDatabase"}))
    names = ask(shop, "admin", {"listDatabases": 1})["databases"]
    assert "shop" not in [one["name"] for one in names]


@pytest.mark.usefixtures("mongosh")
def test_mongosh_faults_have_classes(execute: Execute, shop: int) -> None:
    at = {"server": "127.0.0.1", "port": shop, "database": "shop", "collection": "orders"}

    def fault(**parameters: Any) -> tuple[str, str]:
        return failed(execute("mongosh", {**at, **parameters}))

    error_class, message = fault(command="find", arguments={"filter": {"$nosuch": 1}})
    assert error_class == "database"
    assert "unknown top level operator: $nosuch" in message
    # What others wrote decides nothing: neither a name nor a value.
    named = {"filter": {"$ECONNREFUSED Authentication failed. ns not found": 1}}
    assert fault(command="find", arguments=named)[0] == "database"
    assert fault(command="drop", collection="nobody")[0] == "not_found"
    assert fault(command="create")[0] == "conflict"
    assert fault(command="replSetGetStatus")[0] == "database"
    writes = {"pipeline": [{"$out": "x"}], "cursor": {}}
    assert fault(command="aggregate", arguments=writes)[0] == "invalid_parameters"
    # Nobody listens on port 1; the server of the port above is not asked.
    error_class, message = fault(port=1)
    assert error_class == "connection_refused"
    assert "ECONNREFUSED" in message


@pytest.mark.usefixtures("mongosh")
def test_a_write_that_mongodb_took_in_part_is_no_success(execute: Execute, shop: int) -> None:
    """The server answers `ok: 1` with a list of what it did not write."""
    at = {"server": "127.0.0.1", "port": shop, "database": "shop", "collection": "orders"}
    both = {"documents": [{"_id": 7}, {"_id": 1}]}
    error_class, message = failed(
        execute("mongosh", {**at, "command": "insert", "arguments": both})
    )
    assert error_class == "conflict"
    assert "E11000 duplicate key" in message
    assert "index 1" in message
    assert ask(shop, "shop", {"count": "orders"})["n"] == 3


def test_mongodump(execute: Execute, shop: int, tmp_path: Path) -> None:
    built("mongodump")
    folder = tmp_path / "a b;$(id)"
    at = {"server": "127.0.0.1", "port": shop, "database": "shop"}
    output = succeeded(execute("mongodump", {**at, "path": str(folder)}))
    assert output["collections"] == [{"collection": "shop.orders", "documents": 2}]
    assert (output["count"], output["documents"]) == (1, 2)
    dumped = (folder / "shop" / "orders.bson").read_bytes()
    assert dumped == b"".join(map(encode, ORDERS))

    packed = tmp_path / "packed"
    succeeded(execute("mongodump", {**at, "path": str(packed), "gzip": True}))
    inside = gzip.decompress((packed / "shop" / "orders.bson.gz").read_bytes())
    assert inside == dumped
    assert decode(inside) == ORDERS[0]

    archive = {"path": str(tmp_path / "archive"), "archive": True, "collection": "orders"}
    assert succeeded(execute("mongodump", {**at, **archive}))["documents"] == 2
    assert encode(ORDERS[1]) in (tmp_path / "archive").read_bytes()


def test_mongodump_faults_have_classes(execute: Execute, shop: int, tmp_path: Path) -> None:
    built("mongodump")
    at = {"server": "127.0.0.1", "port": shop, "database": "shop", "path": str(tmp_path / "x")}

    def fault(**parameters: Any) -> tuple[str, str]:
        return failed(execute("mongodump", {**at, **parameters}))

    (tmp_path / "file").write_text("")
    error_class, message = fault(path=str(tmp_path / "file" / "connection refused: no such host"))
    assert (error_class, "not a directory" in message) == ("exit_status", True)
    nobody = fault(collection="nobody")
    assert nobody[0] == "output_unparsable"
    assert "collection nobody does not exist" in nobody[1]
    assert fault(port=1)[0] == "connection_refused"
    assert not (tmp_path / "x").exists()
