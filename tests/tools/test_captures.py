"""Captures of real traffic between network namespaces, and what is found in them."""

from __future__ import annotations

import asyncio
import base64
import ftplib
import hashlib
import importlib.util
import io
import smtplib
import socket
import ssl
import struct
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Success
from drivers.resources import Resources
from tests.driver_kit import Run, command, settings
from tests.tools.conftest import Execute, Result
from tests.tools.netns import Lab, need, network
from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.invocation import Invocation

#: The first test also starts the whole stack.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    need("tcpdump")
    with network(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture
def listen(execute: Execute, lab: Lab) -> Callable[..., Result]:
    """Runs a tool that listens while something happens on the network again and again."""

    def run(tool: str, once: Callable[[], object], **parameters: Any) -> Result:
        with lab.traffic(once):
            return execute(tool, {"interface": lab.device, "seconds": 3, **parameters})

    return run


Listen = Callable[..., Result]


def _get(lab: Lab, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://{lab.server}{path}", timeout=5) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.read()


def _ask(lab: Lab, name: str, ident: int = 7, wait: float = 2.0) -> bytes | None:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    query = struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 0) + labels + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(wait)
        client.sendto(query, (lab.server, 53))
        try:
            return client.recv(512)
        except TimeoutError:
            return None


def _kinds(result: Result) -> set[str]:
    return {item["kind"] for item in result.output["anomalies"]}


# The store


def test_a_capture_is_kept_listed_fetched_and_deleted(
    execute: Execute, listen: Listen, lab: Lab
) -> None:
    path = f"/{uuid.uuid4().hex}"
    made = listen("tcpdump", lambda: _get(lab, path), filter="tcp port 80", packets=500)
    assert made.status == "succeeded", made
    capture = made.output["capture"]
    ident = capture["id"]
    assert ident == f"{capture['execution_id']}.it.1"
    assert made.output["ended_by"] == "seconds"
    assert made.output["packets"] == capture["packets"] >= 10
    assert {talker["address"] for talker in made.output["top_talkers"]} == {lab.here, lab.server}

    listed = execute("tcpdump", {"action": "list"})
    assert ident in {item["id"] for item in listed.output["captures"]}

    data, offset = b"", 0
    while offset is not None:
        piece = execute(
            "tcpdump", {"action": "fetch", "capture": ident, "offset": offset, "length": 4096}
        )
        chunk = base64.b64decode(piece.output["data_base64"])
        assert hashlib.sha256(chunk).hexdigest() == piece.output["chunk_sha256"]
        data, offset = data + chunk, piece.output["next_offset"]
        if len(data) > 12_000:
            break
    whole = base64.b64decode(
        execute("tcpdump", {"action": "fetch", "capture": ident}).output["data_base64"]
    )
    assert whole.startswith(data)
    assert len(whole) == capture["bytes"]
    assert hashlib.sha256(whole).hexdigest() == capture["sha256"]
    assert f"GET {path} HTTP/1.1".encode() in whole

    deleted = execute("tcpdump", {"action": "delete", "capture": ident})
    assert deleted.output["deleted"] is True
    gone = execute("tcpdump", {"action": "fetch", "capture": ident})
    assert (gone.status, gone.error_class) == ("failed", "not_found")


def test_a_capture_ends_after_its_packets(listen: Listen, lab: Lab) -> None:
    begun = time.monotonic()
    result = listen("tcpdump", lambda: _get(lab, "/a"), packets=5, seconds=60)
    assert time.monotonic() - begun < 45
    assert result.output["capture"]["packets"] == 5
    assert result.output["ended_by"] == "packets"


def test_what_a_capture_refuses(execute: Execute, lab: Lab) -> None:
    def error(**parameters: Any) -> str:
        return execute("tcpdump", {"seconds": 1, **parameters}).error_class

    assert error(interface="nosuch0") == "not_found"
    assert error(interface=lab.device, filter="port http and and") == "invalid_parameters"
    assert error(action="fetch", capture="nosuch.it.1") == "not_found"
    need("ngrep")
    need("tshark")
    listening = {"interface": lab.device, "seconds": 1}
    for tool, wrong in (
        ("ngrep", {"pattern": "(x"}),
        ("ngrep", {"pattern": "x", "filter": "port and and"}),
        ("tshark", {"display_filter": "no such thing"}),
        ("tshark", {"filter": "port and and"}),
    ):
        result = execute(tool, {**listening, **wrong})
        assert result.error_class == "invalid_parameters", result


def test_bytes_are_limited_and_a_cancel_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    asyncio.run(_limits(lab, tmp_path))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def _limits(lab: Lab, tmp_path: Path) -> None:
    tool = registry.load().get("tcpdump")
    assert tool is not None
    parameters = {"interface": lab.device, "filter": "tcp port 80", "packets": 100_000}
    invocation = bind(tool, {**parameters, "seconds": 60})
    assert isinstance(invocation, Invocation)
    resources = Resources(settings(capture_dir=str(tmp_path), capture_max_bytes=8_192))
    try:
        with lab.traffic(lambda: _get(lab, "/many")):
            outcome = await Run(resources, invocation).outcome(60)
            assert isinstance(outcome, Success)
            assert outcome.output["ended_by"] == "bytes"
            capture = outcome.output["capture"]
            assert capture["truncated"] is True
            assert 4_096 < capture["bytes"] <= 8_192
            stored = _names(tmp_path)
            run = Run(resources, invocation, command(step="two"))
            await run.cancelled(lambda: any(name.endswith(".part") for name in _names(tmp_path)))
        assert _names(tmp_path) == stored
    finally:
        await resources.close()


# The protocol analyzers


def test_dns_analyzer(listen: Listen, lab: Lab) -> None:
    def once() -> None:
        _ask(lab, "www.lab.test", 11)
        _ask(lab, "no.lab.test", 12)
        _ask(lab, "fail.lab.test", 13)
        _ask(lab, "silent.lab.test", 14, wait=0.1)

    result = listen("dns_analyzer", once)
    assert result.status == "succeeded", result
    found = result.output
    codes = found["response_codes"]
    assert min(codes["NOERROR"], codes["NXDOMAIN"], codes["SERVFAIL"]) >= 1
    assert found["unanswered"] >= 1
    first = next(query for query in found["queries"] if query["name"] == "www.lab.test")
    assert (first["client"], first["server"], first["type"]) == (lab.here, lab.server, "A")
    assert [answer["data"] for answer in first["answers"]] == [lab.server]
    assert 0 < first["latency_ms"] < 1_000
    assert {"unanswered", "servfail"} <= _kinds(result)


def test_http_analyzer(listen: Listen, lab: Lab) -> None:
    token = uuid.uuid4().hex

    def once() -> None:
        _get(lab, f"/{token}?secret=hidden")
        _get(lab, "/status/404")
        _get(lab, "/status/503")

    result = listen("http-analyzer", once)
    assert result.status == "succeeded", result
    found = result.output
    assert min(found["status_codes"][code] for code in ("200", "404", "503")) >= 1
    request = next(item for item in found["requests"] if item["path"] == f"/{token}")
    assert (request["method"], request["host"], request["status"]) == ("GET", lab.server, 200)
    assert request["response_body_bytes"] == len(f"answer to /{token}?secret=hidden")
    assert request["complete"] is True
    assert 0 < request["response_time_ms"] < 5_000
    assert "hidden" not in repr(found)
    assert "server_error" in _kinds(result)


def test_tls_analyzer(listen: Listen, lab: Lab) -> None:
    trusting = ssl.create_default_context(cafile=str(lab.authority.ca_file))
    strange = ssl.create_default_context()

    def shake(port: int, context: ssl.SSLContext) -> None:
        with (
            socket.create_connection((lab.server, port), 5) as plain,
            context.wrap_socket(plain, server_hostname="www.lab.test") as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: www.lab.test\r\n\r\n")
            assert secure.recv(4096).startswith(b"HTTP/1.1 200")

    def once() -> None:
        shake(443, trusting)
        shake(8443, trusting)
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(8443, strange)

    result = listen("tls_analyzer", once)
    assert result.status == "succeeded", result
    found = result.output
    assert set(found["versions"]) == {"TLS 1.2", "TLS 1.3"}
    assert set(found["server_names"]) == {"www.lab.test"}
    # The capture may begin in the middle of a handshake; such a session has no version.
    whole = [row for row in found["sessions"] if row["version"] is not None]
    new = next(row for row in whole if row["server_port"] == 443)
    assert (new["version"], new["certificate_visible"]) == ("TLS 1.3", False)
    assert new["cipher"].startswith("TLS_AES_") or new["cipher"].startswith("TLS_CHACHA20_")
    old = next(row for row in whole if row["server_port"] == 8443 and row["certificate"])
    assert old["version"] == "TLS 1.2"
    assert old["cipher"].startswith("TLS_ECDHE_ECDSA_WITH_")
    assert old["certificate"]["subject"] == "CN=www.lab.test"
    assert old["certificate"]["issuer"] == "CN=Test authority"
    assert old["certificate"]["names"] == ["www.lab.test"]
    assert old["certificate"]["not_after"] > result.output["first_packet_at"]
    assert any(row["alert"] == "unknown_ca" for row in found["sessions"])
    assert {"certificate_expires_soon", "handshake_failed"} <= _kinds(result)


def test_ssh_analyzer(listen: Listen, lab: Lab) -> None:
    import asyncssh

    async def session() -> None:
        async with asyncssh.connect(
            lab.server, known_hosts=None, username="lab", client_keys=None, config=None
        ) as connection:
            await connection.run("true")

    result = listen("ssh_analyzer", lambda: asyncio.run(session()))
    assert result.status == "succeeded", result
    row = next(row for row in result.output["sessions"] if row["chosen"])
    assert row["server_version"].startswith("SSH-2.0-AsyncSSH_")
    assert row["client_version"].startswith("SSH-2.0-AsyncSSH_")
    assert row["chosen"]["host_key"] == "ssh-ed25519"
    assert row["chosen"]["key_exchange"] in row["server_algorithms"]["key_exchange"]
    assert row["encrypted"] is True


def test_smtp_analyzer(listen: Listen, lab: Lab) -> None:
    secret = f"text {uuid.uuid4().hex}"

    def once() -> None:
        with smtplib.SMTP(lab.server, 25, local_hostname="client.lab.test", timeout=5) as client:
            client.sendmail(
                "ops@lab.test",
                ["one@lab.test", "nobody@lab.test"],
                f"Subject: x\r\n\r\n{secret}\r\n",
            )

    result = listen("smtp_analyzer", once)
    assert result.status == "succeeded", result
    found = result.output
    message = found["messages"][0]
    assert message["sender"] == "ops@lab.test"
    assert message["recipients"] == ["one@lab.test"]
    assert message["accepted"] is True
    assert message["size_bytes"] == len(f"Subject: x\r\n\r\n{secret}\r\n")
    session = found["sessions"][0]
    assert session["banner"].startswith("mail.lab.test")
    assert session["helo"] == "client.lab.test"
    assert session["refused_recipients"][0]["status"] == 550
    assert "refused_recipient" in _kinds(result)
    assert secret not in repr(found)


def test_ftp_analyzer(listen: Listen, lab: Lab) -> None:
    def once() -> None:
        with ftplib.FTP(lab.server, timeout=5) as client:
            client.login("backup", "s3cret-ftp")
            client.retrbinary("RETR report.txt", io.BytesIO().write)
        with ftplib.FTP(lab.server, timeout=5) as client, pytest.raises(ftplib.error_perm):
            client.login("backup", "wr0ng-ftp")

    result = listen("ftp_analyzer", once)
    assert result.status == "succeeded", result
    found = result.output
    assert found["logins"] >= 1
    assert found["failed_logins"] >= 1
    good = next(row for row in found["sessions"] if row["logged_in"])
    assert (good["user"], good["banner"]) == ("backup", "lab ftp")
    transfer = found["transfers"][0]
    assert (transfer["direction"], transfer["name"]) == ("download", "report.txt")
    assert transfer["succeeded"] is True
    assert "s3cret-ftp" not in repr(found)
    assert "wr0ng-ftp" not in repr(found)
    assert {"cleartext_login", "failed_login"} <= _kinds(result)


def test_tcp_analyzer(listen: Listen, lab: Lab) -> None:
    def once() -> None:
        _get(lab, "/tcp")
        for port in range(30_000, 30_025):
            with socket.socket() as client:
                assert client.connect_ex((lab.server, port)) != 0

    result = listen("tcp_analyzer", once, packets=5_000)
    assert result.status == "succeeded", result
    found = result.output
    assert found["states"]["refused"] >= 25
    assert found["states"]["closed"] >= 1
    one = next(row for row in found["connections"] if row["server_port"] == 80)
    assert (one["client"], one["server"]) == (lab.here, lab.server)
    assert one["bytes_from_client"] > 0 < one["bytes_from_server"]
    assert 0 < one["handshake_rtt_ms"] < 1_000
    assert {"refused", "port_scan"} <= _kinds(result)


def test_tcp_analyzer_counts_retransmissions(listen: Listen, lab: Lab) -> None:
    deaf = ("blackhole", f"{lab.here}/32")

    def once() -> None:
        with socket.create_connection((lab.server, 80), 5) as client:
            assert lab.inside("ip", "route", "add", *deaf).returncode == 0
            try:
                # The servers hear it, and cannot say so.
                client.sendall(b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n")
                client.settimeout(0.7)
                with pytest.raises(TimeoutError):
                    client.recv(10)
            finally:
                lab.inside("ip", "route", "del", *deaf)
            client.settimeout(10)
            assert client.recv(12) == b"HTTP/1.1 200"

    result = listen("tcp_analyzer", once, packets=2_000, seconds=5)
    assert result.status == "succeeded", result
    assert result.output["retransmissions"] > 0
    assert result.output["retransmission_percent"] > 0
    assert any(row["retransmissions"] for row in result.output["connections"])


def test_udp_analyzer(listen: Listen, lab: Lab) -> None:
    def once() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            client.sendto(b"echo me", (lab.server, 9999))
            assert client.recv(100) == b"echo me"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"nobody", (lab.server, 9998))

    result = listen("udp_analyzer", once)
    assert result.status == "succeeded", result
    found = result.output
    rows = {row["server_port"]: row for row in found["conversations"]}
    assert rows[9999]["bytes_from_client"] == rows[9999]["bytes_from_server"] == 7
    assert rows[9999]["answered_after_ms"] > 0
    # The kernel limits how often it says so.
    refused = [row for row in found["conversations"] if row["server_port"] == 9998]
    assert any(row["unreachable"] for row in refused)
    assert found["unanswered"] >= 1
    assert "port_unreachable" in _kinds(result)


# Programs and libraries


def test_tshark_dissects_live(listen: Listen, lab: Lab) -> None:
    need("tshark")
    path = f"/{uuid.uuid4().hex}"
    result = listen(
        "tshark",
        lambda: _get(lab, path),
        filter="tcp port 80",
        display_filter="http.request",
        fields=["ip.src", "tcp.dstport", "http.request.uri"],
    )
    assert result.status == "succeeded", result
    assert result.output["count"] >= 1
    assert result.output["rows"][0] == {
        "ip.src": lab.here, "tcp.dstport": "80", "http.request.uri": path,
    }  # fmt: skip


def test_ngrep_matches_live(listen: Listen, lab: Lab) -> None:
    need("ngrep")
    path = f"/{uuid.uuid4().hex}"
    result = listen("ngrep", lambda: _get(lab, path), pattern="^GET ", filter="tcp port 80")
    assert result.status == "succeeded", result
    match = result.output["matches"][0]
    assert (match["source"], match["destination"]) == (lab.here, lab.server)
    assert (match["destination_port"], match["protocol"]) == (80, "tcp")
    assert match["payload"].startswith(f"GET {path} HTTP/1.1")


def test_tcpflow_puts_connections_together(listen: Listen, lab: Lab) -> None:
    need("tcpflow")
    path = f"/{uuid.uuid4().hex}"
    result = listen("tcpflow", lambda: _get(lab, path), filter="port 80")
    assert result.status == "succeeded", result
    flows = result.output["flows"]
    asked = next(flow for flow in flows if flow["destination_port"] == 80)
    assert (asked["source"], asked["destination"]) == (lab.here, lab.server)
    assert asked["text"].startswith(f"GET {path} HTTP/1.1")
    answer = next(flow for flow in flows if flow["source_port"] == 80)
    assert f"answer to {path}" in answer["text"]


def test_a_stored_capture_is_read_by_every_reader(
    execute: Execute, listen: Listen, lab: Lab
) -> None:
    for program in ("tshark", "ngrep", "tcpflow"):
        need(program)
    path = f"/{uuid.uuid4().hex}"
    made = listen("tcpdump", lambda: _get(lab, path), filter="tcp port 80")
    capture = {"capture": made.output["capture"]["id"]}
    number = made.output["packets"]
    http = execute("http_analyzer", capture)
    assert http.output["requests"][0]["path"] == path
    assert http.output["capture"]["sha256"] == made.output["capture"]["sha256"]
    rows = execute("tshark", {**capture, "limit": 5})
    assert rows.output["rows"][0]["ip.src"] in (lab.here, lab.server)
    assert execute("ngrep", {**capture, "pattern": path}).output["count"] >= 1
    flows = execute("tcpflow", capture)
    assert flows.status == "succeeded", flows
    assert flows.output["count"] >= 2
    summary = execute("dpkt", {**capture, "operation": "conversations"})
    assert summary.output["rows"][0]["packets"] == number
    ports = execute("dpkt", {**capture, "operation": "ports"})
    assert ports.output["rows"][0]["port"] == 80
    for operation in ("endpoints", "packets", "summary"):
        assert execute("dpkt", {**capture, "operation": operation}).output["packets"] == number


@pytest.mark.parametrize(
    ("library", "operations"),
    [("scapy", ("summary", "packets", "sessions")), ("pyshark", ("summary", "packets", "fields"))],
)
def test_optional_libraries_read(
    execute: Execute, listen: Listen, lab: Lab, library: str, operations: tuple[str, ...]
) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install runstream[network]")
    need("tshark")
    path = f"/{uuid.uuid4().hex}"
    live = listen(library, lambda: _get(lab, path), filter="tcp port 80", keep=True)
    assert live.status == "succeeded", live
    ident = live.output["capture"]["id"]
    assert live.output["packets"] == live.output["capture"]["packets"]
    for operation in operations:
        result = execute(library, {"capture": ident, "operation": operation, "limit": 50})
        assert result.status == "succeeded", result
        assert result.output["operation"] == operation
        assert result.output["packets"] > 0
        if operation in ("packets", "fields"):
            assert lab.server in repr(result.output["rows"])
    if library == "pyshark":
        asked = {"capture": ident, "operation": "fields", "display_filter": "http.request"}
        assert path in repr(execute("pyshark", asked).output["rows"])
        wrong = execute("pyshark", {**asked, "display_filter": "nosuch.field == 1"})
        assert wrong.status == "failed"
