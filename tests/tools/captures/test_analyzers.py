"""What the protocol analyzers find in real traffic."""

from __future__ import annotations

import asyncio
import ftplib
import io
import smtplib
import socket
import ssl
import uuid

import pytest

from tests.tools.captures.kit import Listen, anomalies, get, query
from tests.tools.netns import Lab

#: The first test also starts the whole stack.
pytestmark = pytest.mark.timeout(300)


def test_dns_analyzer(listen: Listen, lab: Lab) -> None:
    def once() -> None:
        query(lab, "www.lab.test", 11)
        query(lab, "no.lab.test", 12)
        query(lab, "fail.lab.test", 13)
        query(lab, "silent.lab.test", 14, wait=0.1)

    result = listen("dns_analyzer", once, packets=21)
    assert result.status == "succeeded", result
    found = result.output
    codes = found["response_codes"]
    assert min(codes["NOERROR"], codes["NXDOMAIN"], codes["SERVFAIL"]) >= 1
    assert found["unanswered"] >= 1
    first = next(query for query in found["queries"] if query["name"] == "www.lab.test")
    assert (first["client"], first["server"], first["type"]) == (lab.here, lab.server, "A")
    assert [answer["data"] for answer in first["answers"]] == [lab.server]
    assert 0 < first["latency_ms"] < 1_000
    assert {"unanswered", "servfail"} <= anomalies(result)


def test_http_analyzer(listen: Listen, lab: Lab) -> None:
    token = uuid.uuid4().hex

    def once() -> None:
        get(lab, f"/{token}?secret=hidden")
        get(lab, "/status/404")
        get(lab, "/status/503")

    result = listen("http-analyzer", once, packets=100)
    assert result.status == "succeeded", result
    found = result.output
    assert min(found["status_codes"][code] for code in ("200", "404", "503")) >= 1
    request = next(item for item in found["requests"] if item["path"] == f"/{token}")
    assert (request["method"], request["host"], request["status"]) == ("GET", lab.server, 200)
    assert request["response_body_bytes"] == len(f"answer to /{token}?secret=hidden")
    assert request["complete"] is True
    assert 0 < request["response_time_ms"] < 5_000
    assert "hidden" not in repr(found)
    assert "server_error" in anomalies(result)


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

    result = listen("tls_analyzer", once, packets=105)
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
    assert {"certificate_expires_soon", "handshake_failed"} <= anomalies(result)


def test_ssh_analyzer(listen: Listen, lab: Lab) -> None:
    import asyncssh

    async def session() -> None:
        async with asyncssh.connect(
            lab.server, known_hosts=None, username="lab", client_keys=None, config=None
        ) as connection:
            await connection.run("true")

    result = listen("ssh_analyzer", lambda: asyncio.run(session()), packets=135)
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

    result = listen("smtp_analyzer", once, packets=75)
    assert result.status == "succeeded", result
    found = result.output
    # The capture may begin in the middle of a session.
    message = next(row for row in found["messages"] if row["sender"])
    assert message["sender"] == "ops@lab.test"
    assert message["recipients"] == ["one@lab.test"]
    assert message["accepted"] is True
    assert message["size_bytes"] == len(f"Subject: x\r\n\r\n{secret}\r\n")
    session = next(row for row in found["sessions"] if row["banner"] and row["refused_recipients"])
    assert session["banner"].startswith("mail.lab.test")
    assert session["helo"] == "client.lab.test"
    assert session["refused_recipients"][0]["status"] == 550
    assert "refused_recipient" in anomalies(result)
    assert secret not in repr(found)


def test_ftp_analyzer(listen: Listen, lab: Lab) -> None:
    def once() -> None:
        with ftplib.FTP(lab.server, timeout=5) as client:
            client.login("backup", "s3cret-ftp")
            client.retrbinary("RETR report.txt", io.BytesIO().write)
        with ftplib.FTP(lab.server, timeout=5) as client, pytest.raises(ftplib.error_perm):
            client.login("backup", "wr0ng-ftp")

    result = listen("ftp_analyzer", once, packets=120)
    assert result.status == "succeeded", result
    found = result.output
    assert found["logins"] >= 1
    assert found["failed_logins"] >= 1
    # The capture may begin in the middle of a session; such a one has no banner.
    good = next(row for row in found["sessions"] if row["logged_in"] and row["banner"])
    assert (good["user"], good["banner"]) == ("backup", "lab ftp")
    transfer = found["transfers"][0]
    assert (transfer["direction"], transfer["name"]) == ("download", "report.txt")
    assert transfer["succeeded"] is True
    assert "s3cret-ftp" not in repr(found)
    assert "wr0ng-ftp" not in repr(found)
    assert {"cleartext_login", "failed_login"} <= anomalies(result)


def test_tcp_analyzer(listen: Listen, lab: Lab) -> None:
    def once() -> None:
        get(lab, "/tcp")
        for port in range(30_000, 30_025):
            with socket.socket() as client:
                assert client.connect_ex((lab.server, port)) != 0

    result = listen("tcp_analyzer", once, packets=180)
    assert result.status == "succeeded", result
    found = result.output
    assert found["states"]["refused"] >= 25
    assert found["states"]["closed"] >= 1
    one = next(row for row in found["connections"] if row["server_port"] == 80)
    assert (one["client"], one["server"]) == (lab.here, lab.server)
    assert one["bytes_from_client"] > 0 < one["bytes_from_server"]
    assert 0 < one["handshake_rtt_ms"] < 1_000
    assert {"refused", "port_scan"} <= anomalies(result)


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

    result = listen("tcp_analyzer", once, packets=27)
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

    result = listen("udp_analyzer", once, seconds=3)
    assert result.status == "succeeded", result
    found = result.output
    # The capture may end between a question and its answer.
    echoes = [row for row in found["conversations"] if row["server_port"] == 9999]
    whole = next(row for row in echoes if row["bytes_from_server"])
    assert whole["bytes_from_client"] == whole["bytes_from_server"] == 7
    assert whole["answered_after_ms"] > 0
    # The kernel limits how often it says so.
    refused = [row for row in found["conversations"] if row["server_port"] == 9998]
    assert any(row["unreachable"] for row in refused)
    assert found["unanswered"] >= 1
    assert "port_unreachable" in anomalies(result)
