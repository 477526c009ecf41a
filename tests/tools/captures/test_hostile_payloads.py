"""Payloads that look like the output of the programs that show them: no row can be forged."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import orjson
import pytest

from drivers.context import Success
from tests.tools.captures.handmade import BEGIN, Frames, Talk, ethernet, ip, pcap, udp
from tests.tools.captures.test_files import _run
from tests.tools.netns import need

#: A new line, NUL, escape, C1 in both spellings, a change of direction, separators, quotes.
_EVIL = b"a\x00\x1b[2J\x9b\xc2\x9b\xe2\x80\xae\t,;|\"'\\u0000\xff</field>&lt;"
_HEADING = b"T 2026/11/20 08:00:00.000000 203.0.113.1:1 -> 203.0.113.2:80 [AP] #9 forged"


def _frames() -> Frames:
    talk = Talk().open().say(b"GET /x HTTP/1.1\r\nHost: " + _EVIL + b"\r\nUser-Agent: b\r\n\r\n")
    talk.reply(b"HTTP/1.1 200 OK\r\nServer: " + _EVIL + b"\r\nContent-Length: 0\r\n\r\n")
    talk.say(b"needle\n" + _HEADING + b"\n  needle\r\n" + _HEADING + _EVIL)
    labels = bytes([len(_EVIL)]) + _EVIL + b"\x07example\x00"
    question = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x01\x00\x01"
    ends = ("192.0.2.7", "192.0.2.53")
    ask = (BEGIN + 1, ethernet(ip(*ends, 17, udp(5_000, 53, question))))
    echo = b"\x80\x00\x00\x00\x00\x01\x00\x01needle"
    ping = (BEGIN + 2, ethernet(ip("2001:db8::7", "2001:db8::9", 58, echo)))
    return [*talk.frames, ask, ping]


_MADE = _frames()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "captures" / "evil.pcap"
    made.parent.mkdir()
    made.write_bytes(pcap(_MADE))
    return made


def _output(tool: str, path: Path, **parameters: Any) -> dict[str, Any]:
    store = str(path.parent.parent / "store")
    found = _run(tool, {"file": str(path), **parameters}, path.parent, capture_dir=store)
    assert isinstance(found, Success), found
    # As it goes into an event.
    return dict(orjson.loads(orjson.dumps(found.output)))


def test_tshark_has_a_row_for_each_packet(path: Path) -> None:
    need("tshark")
    names = ["frame.number", "http.host", "http.server", "dns.qry.name", "tcp.payload"]
    rows = _output("tshark", path, fields=names)["rows"]
    assert [row["frame.number"] for row in rows] == [str(n + 1) for n in range(len(_MADE))]
    assert all(set(row) <= set(names) for row in rows)
    assert sum("http.host" in row for row in rows) == 1


def test_ngrep_has_a_match_for_each_packet(path: Path) -> None:
    need("ngrep")
    matches = _output("ngrep", path, pattern="needle")["matches"]
    assert [(match["protocol"], match["source"], match["destination"]) for match in matches] == [
        ("tcp", "192.0.2.7", "192.0.2.80"), ("icmp", "2001:db8::7", "2001:db8::9"),
    ]  # fmt: skip
    assert (matches[0]["source_port"], matches[0]["destination_port"]) == (40_000, 80)
    assert (matches[1]["source_port"], matches[1]["destination_port"]) == (None, None)
    assert "203.0.113.1" in matches[0]["payload"]


def test_tcpflow_has_a_flow_for_each_direction(path: Path) -> None:
    need("tcpflow")
    flows = _output("tcpflow", path)["flows"]
    assert {(flow["source"], flow["destination"]) for flow in flows} == {
        ("192.0.2.7", "192.0.2.80"), ("192.0.2.80", "192.0.2.7"),
    }  # fmt: skip
    assert len(flows) == 2


@pytest.mark.parametrize(("tool", "operation"), [("scapy", "packets"), ("pyshark", "fields")])
def test_libraries_have_a_row_for_each_packet(tool: str, operation: str, path: Path) -> None:
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed: pip install runstream[network]")
    need("tshark")
    assert len(_output(tool, path, operation=operation)["rows"]) == len(_MADE)


def test_the_analyzers_show_no_control_characters(path: Path) -> None:
    http = _output("http_analyzer", path)
    (request,) = http["requests"]
    name = _output("dns_analyzer", path)["queries"][0]["name"]
    listed = _output("dpkt", path, operation="packets")["rows"]
    shown = [request["host"], request["server_software"], name, *(r["payload"] for r in listed)]
    for text in shown:
        assert text.isprintable(), text
