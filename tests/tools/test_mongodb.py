"""Clients of MongoDB with recorded fakes: logins, and what keeps a password out of argv."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.tools.conftest import Execute, Result
from tests.tools.fakes.program import FakePrograms
from tests.tools.running import program


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


def test_mongosh_recorded(execute: Execute, fake_program: FakePrograms) -> None:
    reply = {
        "cursor": {"firstBatch": [{"_id": {"$oid": "65f0c0ffee0000000000abcd"}, "n": 1}],
                   "id": 0, "ns": "shop.orders"},
        "ok": 1,
    }  # fmt: skip
    fake = fake_program("mongosh", stdout=json.dumps(reply, indent=2))
    find = {
        "server": "127.0.0.1",
        "database": "shop",
        "user": "report",
        "password": "canary-password",
        "command": "find",
        "collection": "orders",
        "arguments": {"filter": {"state": "$(id)"}},
    }
    output = succeeded(execute("mongosh", find))
    assert output["ok"] is True
    assert output["documents"] == reply["cursor"]["firstBatch"]  # type: ignore[index]
    assert fake.argv[:6] == ["mongosh", "--nodb", "--quiet", "--norc", "--json=relaxed", "--eval"]
    assert len(fake.argv) == 7
    assert "canary-password" not in " ".join(fake.argv)
    assert "$(id)" not in " ".join(fake.argv)
    environment = fake.environment
    assert environment["RUNSTREAM_PASSWORD"] == "canary-password"
    assert json.loads(environment["RUNSTREAM_ARGUMENTS"]) == find["arguments"]
    assert environment["RUNSTREAM_SERVER"] == "127.0.0.1:27017"


def test_mongosh_script_does_what_it_says() -> None:
    """The fixed script of the definition in a JavaScript engine, with `connect` recorded."""
    node = program("node", "nodejs")
    from toolmeta.registry import load

    tool = load().get("mongosh")
    assert tool is not None
    assert tool.example.argv is not None
    script = tool.example.argv[-1]
    prelude = (
        "const EJSON = JSON;"
        "const connect = (u) => ({runCommand: (c) => console.log(JSON.stringify([u, c]))});"
    )

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        names = {
            "RUNSTREAM_SERVER": "127.0.0.1:27017",
            "RUNSTREAM_DATABASE": "shop",
            "RUNSTREAM_AUTH": "admin",
            "RUNSTREAM_ARGUMENTS": "{}",
            **variables,
        }
        return subprocess.run(
            [node, "-e", prelude + script],
            env=names,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    url, command = json.loads(
        run(
            RUNSTREAM_NAME="find",
            RUNSTREAM_COLLECTION="orders",
            RUNSTREAM_ARGUMENTS='{"limit": 1}',
            RUNSTREAM_USER="a@b",
            RUNSTREAM_PASSWORD="p/w",
        ).stdout
    )
    assert url.startswith("mongodb://a%40b:p%2Fw@127.0.0.1:27017/shop?")
    assert url.endswith("&authSource=admin")
    assert command == {"find": "orders", "limit": 1}
    assert json.loads(run(RUNSTREAM_NAME="ping").stdout)[1] == {"ping": 1}
    writes = '{"pipeline": [{"$out": "x"}], "cursor": {}}'
    refused = run(RUNSTREAM_NAME="aggregate", RUNSTREAM_COLLECTION="o", RUNSTREAM_ARGUMENTS=writes)
    assert refused.returncode != 0
    assert "is refused" in refused.stderr


def test_mongodump_recorded(execute: Execute, fake_program: FakePrograms, tmp_path: Path) -> None:
    fake = fake_program(
        "mongodump",
        stderr="2026-11-20T08:00:00.000+0000\twriting shop.orders to /srv/backup/shop/orders.bson\n"
        "2026-11-20T08:00:00.004+0000\tdone dumping shop.orders (12 documents)\n",
    )
    parameters = {
        "server": "127.0.0.1",
        "user": "backup",
        "password": "canary-password",
        "auth_database": "admin",
        "database": "shop",
        "path": str(tmp_path / "dump"),
        "gzip": True,
    }
    output = succeeded(execute("mongodump", parameters))
    assert output["collections"] == [{"collection": "shop.orders", "documents": 12}]
    assert fake.argv == [
        "mongodump", "--host=127.0.0.1", "--port=27017", "--username=backup",
        "--authenticationDatabase=admin", "--db=shop", "--gzip", f"--out={tmp_path / 'dump'}",
    ]  # fmt: skip
    assert fake.stdin == "canary-password\n"


def test_refused_logins_of_mongodb(execute: Execute, fake_program: FakePrograms) -> None:
    """The server of test_mongodb_server.py knows no users; these are the words of MongoDB's own."""
    said = {
        "errorLabelSet": {},
        "errorResponse": {"ok": 0, "errmsg": "Authentication failed.", "code": 18},
        "code": 18,
        "codeName": "AuthenticationFailed",
        "connectionGeneration": 0,
        "message": "Authentication failed.",
        "name": "MongoServerError",
    }
    fake_program("mongosh", stdout=json.dumps(said, indent=2), exit_code=1)
    refused = execute("mongosh", {"server": "127.0.0.1"})
    assert refused.error_class == "login_refused"
    assert '"message": "Authentication failed."' in refused.error["message"]
    fake_program(
        "mongodump",
        stderr="2026-11-20T08:00:00.000+0000\tFailed: can't create session: failed to connect to "
        "mongodb://127.0.0.1:27017/: connection() error occurred during connection handshake: auth "
        "error: sasl conversation error: unable to authenticate using mechanism "
        '"SCRAM-SHA-256": (AuthenticationFailed) Authentication failed.\n',
        exit_code=1,
    )
    assert execute("mongodump", {"path": "/srv/x"}).error_class == "login_refused"
    fake_program(
        "mongodump",
        stderr="2026-11-20T08:00:00.000+0000\tFailed: error getting collections for database "
        "`shop`: error running `listCollections`. Database: `shop` Err: (Unauthorized) command "
        "listCollections requires authentication\n",
        exit_code=1,
    )
    assert execute("mongodump", {"path": "/srv/x"}).error_class == "login_refused"
    fake_program(
        "mongodump",
        stderr="2026-11-20T08:00:00.000+0000\tFailed: error dumping metadata: error creating "
        "directory for metadata file /srv/(Unauthorized) x/shop: mkdir: not a directory\n",
        exit_code=1,
    )
    assert execute("mongodump", {"path": "/srv/x"}).error_class == "exit_status"
