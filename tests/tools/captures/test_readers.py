"""Programs and libraries that read captures, live and stored."""

from __future__ import annotations

import importlib.util
import uuid

import pytest

from tests.tools.captures.kit import Listen, get
from tests.tools.conftest import Execute
from tests.tools.netns import Lab, need

#: The first test also starts the whole stack.
pytestmark = pytest.mark.timeout(300)


def test_tshark_dissects_live(listen: Listen, lab: Lab) -> None:
    need("tshark")
    path = f"/{uuid.uuid4().hex}"
    result = listen(
        "tshark",
        lambda: get(lab, path),
        filter="tcp port 80",
        packets=33,
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
    result = listen(
        "ngrep", lambda: get(lab, path), pattern="^GET ", filter="tcp port 80", packets=2
    )
    assert result.status == "succeeded", result
    match = result.output["matches"][0]
    assert (match["source"], match["destination"]) == (lab.here, lab.server)
    assert (match["destination_port"], match["protocol"]) == (80, "tcp")
    assert match["payload"].startswith(f"GET {path} HTTP/1.1")


def test_tcpflow_puts_connections_together(listen: Listen, lab: Lab) -> None:
    need("tcpflow")
    path = f"/{uuid.uuid4().hex}"
    result = listen("tcpflow", lambda: get(lab, path), filter="port 80", packets=33)
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
    made = listen("tcpdump", lambda: get(lab, path), filter="tcp port 80", packets=33)
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
    live = listen(library, lambda: get(lab, path), filter="tcp port 80", packets=33, keep=True)
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
