"""redis-cli and redis-benchmark, run through the whole system against servers of the tests' own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import free_port
from tests.tools.catalogue import refusal
from tests.tools.conftest import Execute, Result
from tests.tools.running import listens, program, server

NOBODY = 1


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with a password; its port."""
    yield from _redis(tmp_path_factory, "--requirepass", "canary-password")


@pytest.fixture(scope="module")
def open_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server without a password; its port."""
    yield from _redis(tmp_path_factory)


def _redis(tmp_path_factory: pytest.TempPathFactory, *more: str) -> Iterator[int]:
    daemon = program("redis-server", "redis-server")
    program("redis-cli", "redis-tools")
    folder = Path(tmp_path_factory.mktemp("redis"))
    port = free_port()
    argv = [daemon, *("--port", str(port), "--bind", "127.0.0.1"), *more]
    argv += ["--save", "", "--dir", str(folder)]
    with server(argv, lambda: listens(port), folder / "log"):
        yield port


def test_redis_cli(execute: Execute, redis: int) -> None:
    def run(command: str, *arguments: str) -> Any:
        parameters = {"server": "127.0.0.1", "port": redis, "password": "canary-password"}
        parameters |= {"command": command, "arguments": list(arguments)}
        return succeeded(execute("redis_cli", parameters))

    assert run("PING")["answer"] == "PONG"
    assert run("SET", "greeting", "--help; $(id)\n\u00e9")["answer"] == "OK"
    assert run("GET", "greeting")["answer"] == "--help; $(id)\n\u00e9"
    run("HSET", "user:1", "name", "Ada", "age", "36")
    assert run("HGETALL", "user:1")["answer"] == {"name": "Ada", "age": "36"}
    assert run("DEL", "greeting")["answer"] == 1
    assert run("GET", "greeting")["answer"] is None
    assert run("INFO", "server")["info"]["tcp_port"] == str(redis)
    # Everything is slow from now on.
    subprocess.run(
        ["redis-cli", "-p", str(redis), "config", "set", "slowlog-log-slower-than", "0"],
        env={**os.environ, "REDISCLI_AUTH": "canary-password"},
        check=True,
        timeout=20,
    )
    run("GET", "slow one")
    assert run("SLOWLOG LEN")["answer"] >= 1
    assert ["GET", "slow one"] in [entry[3] for entry in run("SLOWLOG GET", "10")["answer"]]
    where = {"server": "127.0.0.1", "port": redis, "password": "canary-password"}
    asked = {**where, "command": "CONFIG GET", "settings": ["slowlog-log-slower-than", "databases"]}
    answer = succeeded(execute("redis_cli", asked))["answer"]
    assert answer == {"slowlog-log-slower-than": "0", "databases": "16"}


@pytest.mark.parametrize(
    "name", ["requirepass", "RequirePass", "masterauth", "tls-key-file-pass", "*", "require*", "r?"]
)
def test_redis_shows_no_password(name: str) -> None:
    assert "must match" in refusal("redis_cli", {"command": "CONFIG GET", "settings": [name]})
    for command in ("CONFIG GET", "CONFIG", "CONFIG SET"):
        assert refusal("redis_cli", {"command": command, "arguments": [name]})


def test_redis_cli_says_what_is_wrong(execute: Execute, redis: int) -> None:
    here = {"server": "127.0.0.1", "port": redis, "command": "GET", "arguments": ["a"]}
    assert execute("redis_cli", here).error_class == "login_refused"
    assert (
        execute("redis_cli", {**here, "password": "wrong-password"}).error_class == "login_refused"
    )
    assert execute("redis_cli", {**here, "port": NOBODY}).error_class == "connection_refused"
    wrong = {**here, "password": "canary-password", "arguments": ["a", "b"]}
    assert execute("redis_cli", wrong).error_class == "database"
    with pytest.raises(AssertionError, match="must be one of"):
        execute("redis_cli", {**here, "command": "FLUSHALL", "arguments": []})


def test_redis_benchmark(execute: Execute, open_redis: int) -> None:
    parameters = {"server": "127.0.0.1", "port": open_redis, "requests": 200, "clients": 2}
    output = succeeded(execute("redis_benchmark", {**parameters, "tests": ["set", "get"]}))
    assert [item["test"] for item in output["results"]] == ["SET", "GET"]
    assert all(item["requests_per_second"] > 0 for item in output["results"])
    assert all(item["p99_ms"] >= 0 for item in output["results"])


def test_redis_benchmark_says_what_is_wrong(execute: Execute, redis: int, open_redis: int) -> None:
    parameters = {"server": "127.0.0.1", "requests": 10, "clients": 2, "tests": ["set"]}
    closed = execute("redis_benchmark", {**parameters, "port": redis})
    assert closed.error_class == "login_refused", closed
    assert "NOAUTH Authentication required." in closed.error["message"]
    absent = execute("redis_benchmark", {**parameters, "port": open_redis, "database": 99})
    assert absent.error_class == "invalid_parameters", absent
