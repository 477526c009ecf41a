"""Programs of this machine that were defined first, run through the whole system."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack.postgres import PostgresServer
from tests.certificates import Authority
from tests.tools.conftest import Execute, Result
from tests.tools.fakes.program import FakePrograms
from tests.tools.running import program, root


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


@pytest.mark.parametrize(
    ("tool", "parameters", "field"),
    [
        ("df", {"path": "/"}, "use_percent"),
        ("du", {"path": "/etc/ssl"}, "total_bytes"),
        ("ps", {}, "processes"),
        ("free", {}, "memory"),
        ("uptime", {}, "load_1m"),
        ("ss", {}, "sockets"),
        ("ip", {}, "items"),
    ],
)
def test_it_runs(execute: Execute, tool: str, parameters: dict[str, Any], field: str) -> None:
    output = succeeded(execute(tool, parameters))
    assert output[field] or output[field] == 0


def test_who_and_where(execute: Execute) -> None:
    name = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert succeeded(execute("whoami", {}))["user"] == name
    assert succeeded(execute("id", {}))["uid"]["id"] == os.getuid()
    assert succeeded(execute("hostname", {}))["hostname"].startswith(
        socket.gethostname().partition(".")[0]
    )
    assert succeeded(execute("uname", {}))["kernel_release"] == os.uname().release


def test_it_reads_files(execute: Execute, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("b:2\na:1\nc:3\n")
    where = {"path": str(path)}
    assert succeeded(execute("cat", where))["text"] == "b:2\na:1\nc:3\n"
    assert succeeded(execute("head", {**where, "lines": 1}))["lines"] == ["b:2"]
    assert succeeded(execute("tail", {**where, "lines": 1}))["lines"] == ["c:3"]
    assert succeeded(execute("sort", where))["lines"] == ["a:1", "b:2", "c:3"]
    cut = {**where, "delimiter": ":", "fields": "1"}
    assert succeeded(execute("cut", cut))["lines"] == ["b", "a", "c"]
    found = succeeded(execute("grep", {**where, "pattern": "^a"}))
    assert found["matches"] == [{"file": str(path), "line": 2, "text": "a:1"}]
    listed = succeeded(execute("ls", {"path": str(tmp_path)}))
    assert [item["name"] for item in listed["entries"]] == ["list"]
    files = succeeded(execute("find", {"path": str(tmp_path), "type": "file"}))
    assert [(item["path"], item["size_bytes"]) for item in files["matches"]] == [(str(path), 12)]


def test_it_changes_what_it_should(execute: Execute, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("x")
    assert execute("chmod", {"path": str(target), "mode": "0600"}).status == "succeeded"
    assert target.stat().st_mode & 0o777 == 0o600


def test_chown(execute: Execute, tmp_path: Path) -> None:
    root()
    target = tmp_path / "file"
    target.write_text("x")
    output = succeeded(execute("chown", {"path": str(target), "owner": "65534", "group": "0"}))
    assert (target.stat().st_uid, target.stat().st_gid) == (65534, 0)
    assert output["count"] == 1


def test_kill(execute: Execute, tmp_path: Path) -> None:
    path = tmp_path / f"rs{uuid.uuid4().hex[:10]}"
    shutil.copy(program("sleep", "coreutils"), path)
    process = subprocess.Popen([str(path), "300"])
    try:
        succeeded(execute("kill", {"pid": process.pid}))
        assert process.wait(10) == -15
    finally:
        process.kill()
        process.wait(10)


def test_ping(execute: Execute) -> None:
    program("ping", "iputils-ping")
    output = succeeded(execute("ping", {"target": "127.0.0.1", "count": 2}))
    assert (output["is_reachable"], output["packets_received"]) == (True, 2)


def _request(talk: socket.socket) -> bytes:
    """One whole request; what does not speak HTTP ends at once."""
    data = b""
    while piece := talk.recv(65_536):
        data += piece
        head, end, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: *(\d+)", head)
        if end and len(body) >= int(found[1] if found else 0):
            break
    return data


@contextmanager
def web(context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A server of one JSON answer, by TLS or without; its port and the requests it got."""
    seen: list[bytes] = []
    answer = b'{"ok": true}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                channel, _ = listener.accept()
                with channel:
                    channel.settimeout(10)
                    plain = context is None
                    with channel if plain else context.wrap_socket(channel, True) as talk:  # type: ignore[union-attr]
                        seen.append(_request(talk))
                        length = b"Content-Length: %d\r\n\r\n" % len(answer)
                        talk.sendall(head + length + answer)
            except OSError:
                if listener.fileno() < 0:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(15)


def test_curl(execute: Execute) -> None:
    with web() as (port, seen):
        url = f"http://127.0.0.1:{port}/orders?a=1"
        asked = {"url": url, "method": "POST", "query": {"b": "x y"}, "json": {"n": [1]}}
        output = succeeded(execute("curl", asked))
        assert (output["status"], output["json"]) == (200, {"ok": True})
        head, _, body = seen[-1].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /orders?a=1&b=x+y HTTP/1.1")
        assert body == b'{"n":[1]}'
        succeeded(execute("curl", {"url": url, "method": "POST", "form": {"k": "v&w"}}))
        assert seen[-1].endswith(b"k=v%26w")
        assert execute("curl", {"url": url, "expect_status": 404}).error_class == "http_status"
    assert execute("curl", {"url": "http://127.0.0.1:1/"}).error_class == "connection_refused"


def test_openssl(execute: Execute, tmp_path: Path) -> None:
    program("openssl", "openssl")
    authority = Authority(tmp_path)
    with web(authority.server("127.0.0.1")) as (port, _):
        where = {"server": "127.0.0.1", "port": port, "ca_file": str(authority.ca_file)}
        output = succeeded(execute("openssl", where))
        assert output["verified"] is True
        assert output["protocol"] == "TLSv1.3"
    shown = succeeded(
        execute("openssl", {"action": "certificate", "path": str(tmp_path / "127.0.0.1.pem")})
    )
    assert "Test authority" in shown["issuer"]
    version = succeeded(execute("openssl", {"action": "version"}))
    assert version["version"][0].isdigit()


@pytest.mark.tried("psql", inputs=("password", "wrong user"))
def test_psql(execute: Execute, tmp_path_factory: pytest.TempPathFactory) -> None:
    running = PostgresServer(Path(tmp_path_factory.mktemp("psql")) / "data")
    running.start()
    try:
        with psycopg.connect(running.dsn) as connection:
            info, password = connection.info, connection.info.password
            where = {"host": "127.0.0.1", "port": info.port, "user": info.user}
            where |= {"database": info.dbname, "password": password}
            connection.execute("create table orders (id int, state text)")
            connection.execute("insert into orders values (1, 'open'), (2, '; drop')")
        query = "select id from orders where state = %s"
        output = succeeded(execute("psql", {**where, "query": query, "params": ["; drop"]}))
        assert (output["rows"], output["columns"]) == ([{"id": 2}], ["id"])
        change = {**where, "query": "delete from orders"}
        assert execute("psql", change).error_class == "invalid_parameters"
        assert succeeded(execute("psql", {**change, "write": True}))["row_count"] == 2
        refused = execute("psql", {**where, "query": "select 1", "password": "not-it"})
        assert refused.error_class == "login_refused"
    finally:
        running.remove()


# systemd cannot be had everywhere: its answers are recorded


def test_systemctl_recorded(execute: Execute, fake_program: FakePrograms) -> None:
    properties = "Id=nginx.service\nLoadState=loaded\nActiveState=active\nMainPID=812\n"
    units = '[{"unit":"nginx.service","load":"loaded","active":"active","sub":"running"}]'
    fake = fake_program("systemctl", replies={"show": properties, "list-units": units})
    output = succeeded(execute("systemctl", {"unit": "nginx.service"}))
    assert (output["is_active"], output["main_pid"]) == (True, 812)
    assert fake.argv[:4] == ["systemctl", "--no-pager", "--no-ask-password", "show"]
    assert fake.argv[-2:] == ["--", "nginx.service"]
    listed = succeeded(execute("systemctl", {"action": "list", "state": "failed"}))
    assert listed["count"] == 1
    assert "--state=failed" in fake.argv
    succeeded(execute("systemctl", {"action": "restart", "unit": "nginx.service"}))
    assert fake.argv[-3:] == ["restart", "--", "nginx.service"]


def test_systemctl_says_that_there_is_no_systemd(execute: Execute) -> None:
    program("systemctl", "systemd")
    if Path("/run/systemd/system").exists():
        assert succeeded(execute("systemctl", {"action": "list"}))["units"]
        return
    result = execute("systemctl", {"action": "list"})
    assert result.error_class == "connection_refused"
    assert "systemd" in result.error["message"] or "bus" in result.error["message"]


def test_journalctl_recorded(execute: Execute, fake_program: FakePrograms) -> None:
    line = (
        '{"__REALTIME_TIMESTAMP":"1795161600000000","PRIORITY":"3","_PID":"900",'
        '"_SYSTEMD_UNIT":"ssh.service","SYSLOG_IDENTIFIER":"sshd","MESSAGE":"no \\u00e9 key"}\n'
    )
    fake = fake_program("journalctl", stdout=line)
    output = succeeded(execute("journalctl", {"unit": "ssh.service", "since": "-1h"}))
    assert (output["count"], output["error_count"]) == (1, 1)
    assert output["entries"][0]["message"] == "no \u00e9 key"
    assert "--unit=ssh.service" in fake.argv
    assert "--since=-1h" in fake.argv


def test_journalctl_of_this_machine(execute: Execute) -> None:
    program("journalctl", "systemd")
    output = succeeded(execute("journalctl", {"lines": 5}))
    assert output["count"] == len(output["entries"]) <= 5
