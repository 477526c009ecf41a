"""Parsers: recorded output of the programs that are not everywhere, and hostile text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolmeta.parse import MAX_ENTRIES, ParseError, known, parse

DIG = """\
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 4242
;; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 0

;; ANSWER SECTION:
example.org.\t\t300\tIN\tA\t192.0.2.80
example.org.\t\t300\tIN\tTXT\t"a b c"

;; Query time: 4 msec
;; SERVER: 192.0.2.53#53(192.0.2.53) (UDP)
"""
HOST = """\
Using domain server:
Name: 192.0.2.53
Address: 192.0.2.53#53
Aliases:

example.org has address 192.0.2.80
example.org mail is handled by 10 mail.example.org.
"""
NSLOOKUP = """\
Server:\t\t192.0.2.53
Address:\t192.0.2.53#53

Name:\texample.org
Address: 192.0.2.80

example.org\tmail exchanger = 10 mail.example.org.
"""
PING = """\
PING 192.0.2.77 (192.0.2.77) 56(84) bytes of data.

--- 192.0.2.77 ping statistics ---
2 packets transmitted, 0 received, +2 errors, 100% packet loss, time 1001ms
"""
TRACEROUTE = """\
traceroute to 198.51.100.1 (198.51.100.1), 3 hops max, 60 byte packets
 1  192.0.2.1  0.247 ms  0.210 ms 192.0.2.2  0.3 ms
 2  * * *
 3  198.51.100.1  5.1 ms !X * 5.2 ms
"""
JOURNAL = (
    '{"__REALTIME_TIMESTAMP":"1795158000000000","PRIORITY":"3","_PID":"900",'
    '"_SYSTEMD_UNIT":"ssh.service","MESSAGE":[104,105,255]}\n'
    '{"PRIORITY":"4","MESSAGE":"a\u2028b"}\n'
)
SHOW = "Id=nginx.service\nActiveState=active\nMainPID=812\nMemoryCurrent=[not set]\n"
FREE = """\
               total        used        free      shared  buff/cache   available
Mem:      8000000000  1000000000  5000000000     9000000  2000000000  6000000000
Swap:     1000000000           0  1000000000
"""
NETSTAT = """\
Active Internet connections (servers and established)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0     16 192.0.2.7:22            192.0.2.9:5555          ESTABLISHED 44/sshd: root@pts/0
tcp6       0      0 :::22                   :::*                    LISTEN      -
udp        0      0 0.0.0.0:68              0.0.0.0:*                           400/dhclient
"""
LSB = "Distributor ID:\tDebian\nDescription:\tDebian GNU/Linux 12 (bookworm)\nRelease:\t12\n"


def test_free() -> None:
    found = parse("free", FREE, 0)
    assert (found["memory"]["available"], found["memory"]["buff_cache"]) == (6 * 10**9, 2 * 10**9)
    assert (found["swap"]["total"], found["used_percent"]) == (10**9, 25.0)
    with pytest.raises(ParseError):
        parse("free", "", 0)


def test_netstat() -> None:
    ssh, listening, dhcp = parse("netstat", NETSTAT, 0)["sockets"]
    assert ssh == {
        "protocol": "tcp", "state": "ESTABLISHED", "receive_queue": 0, "send_queue": 16,
        "local_address": "192.0.2.7", "local_port": 22, "peer_address": "192.0.2.9",
        "peer_port": 5555, "pid": 44, "program": "sshd: root@pts/0",
    }  # fmt: skip
    assert (listening["local_address"], listening["peer_port"]) == ("::", None)
    assert (listening["pid"], listening["program"]) == (None, None)
    assert (dhcp["state"], dhcp["pid"], dhcp["program"]) == ("", 400, "dhclient")


def test_lsb_release() -> None:
    assert parse("lsb_release", LSB, 0) == {
        "exit_code": 0, "distributor_id": "Debian", "release": "12",
        "description": "Debian GNU/Linux 12 (bookworm)",
    }  # fmt: skip


def test_dig() -> None:
    found = parse("dig", DIG, 0)
    assert (found["status"], found["server"]) == ("NOERROR", "192.0.2.53")
    assert found["query_time_ms"] == 4
    assert found["authoritative"] is True
    assert found["addresses"] == ["192.0.2.80"]
    assert found["records"][1]["data"] == '"a b c"'


def test_host() -> None:
    found = parse("host", HOST, 0)
    assert [(item["type"], item["data"]) for item in found["records"]] == [
        ("A", "192.0.2.80"),
        ("MX", "10 mail.example.org."),
    ]
    assert parse("host", "Host a.b not found: 3(NXDOMAIN)\n", 1)["status"] == "NXDOMAIN"


def test_nslookup() -> None:
    found = parse("nslookup", NSLOOKUP, 0)
    assert (found["server"], found["addresses"]) == ("192.0.2.53", ["192.0.2.80"])
    assert found["answers"][1]["data"] == "10 mail.example.org."


def test_ping_without_an_answer() -> None:
    found = parse("ping", PING, 1)
    assert (found["exit_code"], found["is_reachable"]) == (1, False)
    assert (found["packet_loss_percent"], found["rtt_avg_ms"]) == (100.0, None)


def test_traceroute() -> None:
    found = parse("traceroute", TRACEROUTE, 0)
    assert [len(hop["probes"]) for hop in found["hops"]] == [3, 3, 3]
    assert found["hops"][0]["probes"][2] == {"address": "192.0.2.2", "rtt_ms": 0.3}
    assert found["hops"][1]["probes"][0] == {"address": None, "rtt_ms": None}
    assert found["reached"] is True


def test_journal_keeps_bytes_and_unicode_line_ends() -> None:
    found = parse("journal", JOURNAL, 0)
    assert (found["count"], found["error_count"], found["warning_count"]) == (2, 1, 1)
    assert found["entries"][1]["at"] == "2026-11-20T07:00:00.000+00:00"
    assert found["entries"][1]["message"] == "hi\ufffd"
    assert found["entries"][0]["message"] == "a\u2028b"


def test_systemctl() -> None:
    found = parse("systemctl", SHOW, 0)
    assert (found["is_active"], found["main_pid"]) == (True, 812)
    assert parse("systemctl", '[{"unit":"a.service"}]', 0)["count"] == 1
    assert parse("systemctl", "", 0) == {"exit_code": 0}


def test_general_parsers() -> None:
    assert parse(None, "a\n", 3) == {"exit_code": 3, "text": "a\n"}
    assert parse("lines", "a\r\nb\u2028c\n", 0)["lines"] == ["a", "b\u2028c"]
    assert parse("json", '{"a": 1}', 0)["data"] == {"a": 1}
    assert parse("json:items", "[]", 0)["items"] == []
    assert parse("jsonl", '{"a":1}\n{"a":2}\n', 0)["count"] == 2
    assert parse("key_value", "A=b=c\n", 0)["values"] == {"A": "b=c"}
    assert parse("field:user", "root\n", 0)["user"] == "root"


def test_long_output_is_cut_and_says_so() -> None:
    found = parse("lines", "x\n" * (MAX_ENTRIES + 5), 0)
    assert (len(found["lines"]), found["count"], found["truncated"]) == (1_000, 1_005, True)
    assert len(parse("text", "x" * 100_000, 0)["text"]) == 65_536


def test_unknown_parser_is_an_error_of_its_own() -> None:
    assert known("df") and known("jc:uptime") and known("field:x")
    assert not known("jc:nothing") and not known("nothing")
    with pytest.raises(ParseError, match="no parser nothing"):
        parse("nothing", "", 0)


OWN = (
    "df", "dig", "du", "find", "free", "grep", "host", "journal", "json", "jsonl", "key_value",
    "lines", "ls", "lsb_release", "netstat", "nslookup", "openssl", "ping", "ps", "ss", "systemctl",
    "traceroute",
    "jc:uptime", "jc:id", "jc:uname",
)  # fmt: skip
RECORDED = [DIG, HOST, PING, TRACEROUTE, JOURNAL, SHOW, FREE, NETSTAT, LSB]


@pytest.mark.parametrize("name", OWN)
@given(
    text=st.text() | st.sampled_from([DIG, HOST, PING, TRACEROUTE, JOURNAL, SHOW, FREE, NETSTAT])
)
def test_any_text_parses_or_is_a_parse_error(name: str, text: str) -> None:
    try:
        assert parse(name, text, 0)["exit_code"] == 0
    except ParseError as error:
        assert len(str(error)) < 400
