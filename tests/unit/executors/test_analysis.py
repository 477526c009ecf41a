"""Packets built by scapy, and what the analyses find in them."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable
from typing import Any

import pytest

from drivers.analysis.catalogue import ANALYSES, capture_filter
from drivers.analysis.driver import options_of
from drivers.analysis.findings import Options
from drivers.analysis.packets import Packet, decode, read_packets
from drivers.analysis.pcap import read_records
from drivers.analysis.records import NotACapture, Record

scapy = pytest.importorskip("scapy.all", reason="scapy is not installed: runstream[network]")

CLIENT, SERVER = "192.0.2.7", "192.0.2.80"


def _ether() -> Any:
    """Both addresses are given: scapy would ask the network for an absent one."""
    return scapy.Ether(src="00:00:5e:00:53:01", dst="00:00:5e:00:53:02")


def _packets(frames: Iterable[Any], step: float = 0.01) -> list[Packet]:
    """The frames as captured, `step` seconds apart."""
    found = []
    for number, frame in enumerate(frames):
        data = bytes(frame)
        found.append(Record(1_000.0 + number * step, data, len(data)))
    return list(decode(found))


class Talk:
    """Frames of one TCP connection; sequence numbers are kept."""

    def __init__(self, port: int, client_port: int = 40_000, first: int = 0xFFFFFFF0) -> None:
        # The first numbers are close to the wrap on purpose.
        self.ports = (client_port, port)
        self.next = [first, 5_000]
        self.frames: list[Any] = []

    def _add(self, by_client: bool, flags: str, data: bytes = b"", **changed: Any) -> Any:
        own, other = (0, 1) if by_client else (1, 0)
        ends = (CLIENT, SERVER) if by_client else (SERVER, CLIENT)
        fields = {"seq": self.next[own], "ack": self.next[other], "window": 1_000, **changed}
        frame = (
            _ether()
            / scapy.IP(src=ends[0], dst=ends[1])
            / scapy.TCP(sport=self.ports[own], dport=self.ports[other], flags=flags, **fields)
            / data
        )
        self.frames.append(frame)
        grows = len(data) + ("S" in flags) + ("F" in flags)
        self.next[own] = (self.next[own] + grows) % 2**32
        return frame

    def open(self) -> Talk:
        self._add(True, "S", ack=0)
        self._add(False, "SA")
        self._add(True, "A")
        return self

    def say(self, data: bytes) -> Talk:
        self._add(True, "PA", data)
        return self

    def reply(self, data: bytes) -> Talk:
        self._add(False, "PA", data)
        return self

    def close(self) -> Talk:
        self._add(True, "FA")
        self._add(False, "FA")
        self._add(True, "A")
        return self


def _found(name: str, frames: Iterable[Any], **options: Any) -> dict[str, Any]:
    return ANALYSES[name](_packets(frames), Options(**options))


def _kinds(found: dict[str, Any]) -> set[str]:
    return {item["kind"] for item in found["anomalies"]}


def test_a_whole_connection_is_described() -> None:
    found = _found("tcp", Talk(80).open().say(b"x" * 100).reply(b"y" * 50).close().frames)
    (one,) = found["connections"]
    assert (one["client"], one["server"], one["state"]) == (CLIENT, SERVER, "closed")
    assert (one["bytes_from_client"], one["bytes_from_server"]) == (100, 50)
    assert one["handshake_rtt_ms"] == 20.0
    assert one["retransmissions"] == one["out_of_order"] == one["duplicate_acks"] == 0
    assert found["anomalies"] == []


def test_repetitions_and_reorderings_are_told_apart() -> None:
    talk = Talk(80).open()
    for text in (b"one ", b"two ", b"three "):
        talk.say(text)
    frames = talk.frames
    repeated = _found("tcp", [*frames, frames[-1]])
    assert repeated["connections"][0]["retransmissions"] == 1
    swapped = [*frames[:4], frames[5], frames[4]]
    quick = ANALYSES["tcp"](_packets(swapped, step=0.001), Options())
    assert quick["connections"][0]["out_of_order"] == 1
    late = _packets(swapped, step=0.001)
    slow = late[-1]
    late[-1] = Packet(
        slow.time + 1, slow.length, slow.protocol, slow.source, slow.destination,
        slow.source_port, slow.destination_port, slow.payload, slow.payload_length, slow.segment,
    )  # fmt: skip
    assert ANALYSES["tcp"](late, Options())["connections"][0]["retransmissions"] == 1


def test_streams_are_put_in_order_across_the_wrap_of_numbers() -> None:
    request = b"GET /path HTTP/1.1\r\nHost: a.example\r\n\r\n"
    talk = Talk(80, first=0xFFFFFFFA).open()
    for start in range(0, len(request), 5):
        talk.say(request[start : start + 5])
    middle = talk.frames[3:]
    random.Random(7).shuffle(middle)
    talk.frames[3:] = middle
    talk.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    found = _found("http", talk.frames)
    (row,) = found["requests"]
    assert (row["host"], row["path"], row["status"]) == ("a.example", "/path", 204)


def test_refused_unanswered_and_scans() -> None:
    frames = []
    for port in range(1, 31):
        talk = Talk(port, 41_000 + port)
        talk._add(True, "S", ack=0)
        if port % 2:
            talk._add(False, "RA")
        frames += talk.frames
    found = _found("tcp", frames)
    assert found["states"] == {"refused": 15, "unanswered": 15}
    assert {"refused", "unanswered", "port_scan"} == _kinds(found)


def test_http_with_chunks_continue_and_head() -> None:
    talk = Talk(8080).open()
    talk.say(b"POST /in?token=abc HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
    talk.reply(b"HTTP/1.1 100 Continue\r\n\r\n")
    talk.reply(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    talk.say(b"HEAD /h HTTP/1.1\r\nHost: h\r\nAuthorization: Basic c2VjcmV0\r\n\r\n")
    talk.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    talk.say(b"GET /last HTTP/1.1\r\nHost: h\r\n\r\n")
    found = _found("http", talk.frames)
    assert [(r["method"], r["path"], r["status"]) for r in found["requests"]] == [
        ("POST", "/in", 201), ("HEAD", "/h", 200), ("GET", "/last", None),
    ]  # fmt: skip
    assert found["requests"][0]["request_body_bytes"] == 4
    assert {"cleartext_login", "unanswered"} == _kinds(found)
    assert "c2VjcmV0" not in repr(found) and "abc" not in repr(found["requests"])


def test_what_is_no_http_is_said() -> None:
    found = _found("http", Talk(80).open().say(b"\x00\x01\x02").reply(b"\x03").frames)
    assert found["request_count"] == 0
    assert _kinds(found) == {"not_http"}


def test_dns_over_udp_and_tcp() -> None:
    question = scapy.DNSQR(qname="a.example")
    ask = scapy.DNS(id=1, qd=question)
    answer = scapy.DNS(
        id=1, qr=1, aa=1, qd=question, an=scapy.DNSRR(rrname="a.example", rdata="192.0.2.1")
    )
    out = _ether() / scapy.IP(src=CLIENT, dst=SERVER) / scapy.UDP(sport=999, dport=53)
    back = _ether() / scapy.IP(src=SERVER, dst=CLIENT) / scapy.UDP(sport=53, dport=999)
    talk = Talk(53).open()
    for say, message in ((talk.say, ask), (talk.reply, answer)):
        data = bytes(message)
        say(len(data).to_bytes(2, "big") + data)
    found = _found("dns", [out / ask, out / ask, back / answer, back / answer, *talk.frames])
    assert (found["query_count"], found["answered"], found["retried"]) == (2, 2, 1)
    assert [row["transport"] for row in found["queries"]] == ["udp", "tcp"]
    for row in found["queries"]:
        assert (row["status"], row["answers"][0]["data"]) == ("NOERROR", "192.0.2.1")
    # The second answer to one question.
    assert found["unasked_answers"] == 1
    assert "unasked_answer" in _kinds(found)


def test_udp_port_unreachable_belongs_to_its_conversation() -> None:
    ask = scapy.IP(src=CLIENT, dst=SERVER) / scapy.UDP(sport=999, dport=7) / b"hello"
    error = scapy.IP(src=SERVER, dst=CLIENT) / scapy.ICMP(type=3, code=3) / ask
    found = _found("udp", [_ether() / ask, _ether() / error])
    assert found["conversations"][0]["unreachable"] is True
    assert _kinds(found) == {"port_unreachable"}


def test_smtp_login_and_pipelining_keep_secrets_out() -> None:
    talk = Talk(25).open().reply(b"220 mx ESMTP\r\n").say(b"EHLO me\r\n")
    talk.reply(b"250-mx\r\n250-PIPELINING\r\n250 AUTH LOGIN\r\n").say(b"AUTH LOGIN\r\n")
    talk.reply(b"334 VXNlcm5hbWU6\r\n").say(b"dXNlcg==\r\n").reply(b"334 UGFzc3dvcmQ6\r\n")
    talk.say(b"aHVudGVyMg==\r\n").reply(b"535 no\r\n")
    talk.say(b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n")
    talk.reply(b"250 ok\r\n250 ok\r\n354 go\r\n").say(b"Subject: s\r\n\r\nquit now\r\n.\r\n")
    talk.reply(b"250 queued\r\n").say(b"QUIT\r\n").reply(b"221 bye\r\n")
    found = _found("smtp", talk.frames)
    (session,) = found["sessions"]
    assert session["extensions"] == ["PIPELINING", "AUTH LOGIN"]
    assert (session["auth_mechanism"], session["authenticated"]) == ("LOGIN", False)
    (message,) = found["messages"]
    assert (message["sender"], message["recipients"]) == ("a@x", ["b@x"])
    assert message["size_bytes"] == len(b"Subject: s\r\n\r\nquit now\r\n")
    assert "aHVudGVyMg" not in repr(found) and "dXNlcg" not in repr(found)
    assert {"cleartext_login", "failed_login"} <= _kinds(found)


def test_a_message_of_any_size_is_counted_and_what_follows_is_read() -> None:
    talk = Talk(25).open().reply(b"220 mx\r\n").say(b"EHLO me\r\n").reply(b"250 mx\r\n")
    sizes = []
    for number in (300, 1):
        talk.say(b"MAIL FROM:<a@x>\r\n").reply(b"250 ok\r\n").say(b"RCPT TO:<b@x>\r\n")
        talk.reply(b"250 ok\r\n").say(b"DATA\r\n").reply(b"354 go\r\n")
        for _ in range(number):
            talk.say(b"DATA\r\n" + b"x" * 1_100).say(b"y" * 400 + b"\r\n.not the end\r\n")
        talk.say(b"z.").say(b"\r\n.\r").say(b"\n").reply(b"250 queued\r\n")
        sizes.append(number * 1_522 + 4)
    found = _found("smtp", talk.say(b"QUIT\r\n").reply(b"221 bye\r\n").frames)
    assert [message["size_bytes"] for message in found["messages"]] == sizes
    assert [message["recipients"] for message in found["messages"]] == [["b@x"], ["b@x"]]
    assert (found["accepted_messages"], found["sessions"][0]["complete"]) == (2, True)
    del talk.frames[20]
    late = _found("smtp", talk.frames)
    assert [message["size_bytes"] for message in late["messages"]] == sizes
    assert late["sessions"][0]["complete"] is False


def test_ftp_never_shows_a_password() -> None:
    talk = Talk(21).open().reply(b"220-hello\r\n there\r\n220 ready\r\n").say(b"USER u\r\n")
    talk.reply(b"331 pass\r\n").say(b"PASS hunter2\r\n").reply(b"230 in\r\n")
    talk.say(b"STOR a b.txt\r\n").reply(b"150 go\r\n").reply(b"226 done\r\n")
    found = _found("ftp", talk.frames)
    assert found["logins"] == 1
    assert found["transfers"][0]["name"] == "a b.txt"
    assert found["transfers"][0]["direction"] == "upload"
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "kind, port, reply",
    [("ftp", 21, b"331 Username ok, send password.\r\n"), ("smtp", 25, b"250 mx\r\n")],
)
def test_the_answer_to_what_came_before_the_capture_is_no_banner(
    kind: str, port: int, reply: bytes
) -> None:
    (session,) = _found(kind, Talk(port).reply(reply).say(b"QUIT\r\n").frames)["sessions"]
    assert session["banner"] is None
    (session,) = _found(kind, Talk(port).reply(b"220 ready\r\n").frames)["sessions"]
    assert session["banner"] == "ready"


def test_ssh_names_weak_algorithms() -> None:
    def hello(version: bytes, cipher: bytes) -> bytes:
        lists = (b"curve25519-sha256", b"ssh-ed25519", cipher, cipher, b"hmac-md5", b"hmac-md5")
        body = b"\x14" + bytes(16)
        for text in (*lists, b"none", b"none", b"", b""):
            body += len(text).to_bytes(4, "big") + text
        body += bytes(5)
        packet = bytes([4]) + body + bytes(4)
        return version + b"\r\n" + len(packet).to_bytes(4, "big") + packet

    talk = Talk(22).open().say(hello(b"SSH-2.0-c", b"aes128-ctr,3des-cbc"))
    talk.reply(hello(b"SSH-2.0-s", b"3des-cbc"))
    found = _found("ssh", talk.frames)
    (session,) = found["sessions"]
    assert session["server_version"] == "SSH-2.0-s"
    assert session["chosen"]["cipher_to_server"] == "3des-cbc"
    weak = {item["subject"].split()[1] for item in found["anomalies"]}
    assert weak == {"3des-cbc", "hmac-md5"}


def test_options_choose_ports_and_addresses() -> None:
    frames = [*Talk(80).open().frames, *Talk(81, 40_001).open().frames]
    assert _found("tcp", frames, ports=frozenset({81}))["connection_count"] == 1
    assert _found("tcp", frames, address="192.0.2.99")["packets"] == 0
    assert len(_found("tcp", frames, limit=1)["connections"]) == 1


@pytest.mark.parametrize("written", ["2001:DB8::7", "2001:0db8:0:0::7", "2001:db8::0.0.0.7"])
def test_an_address_is_found_in_any_spelling(written: str) -> None:
    packet = Packet(0.0, 60, "tcp", source="2001:db8::7", destination="2001:db8::8")
    assert options_of({"address": written}).takes(packet)
    assert not options_of({"address": "2001:db8::9"}).takes(packet)


@pytest.mark.parametrize("name", sorted(ANALYSES))
def test_no_damage_raises(name: str) -> None:
    """Cut, flipped and shuffled frames of every protocol end in findings, never in an exception."""
    chance = random.Random(11)
    talks = [
        Talk(port, 42_000 + port).open().say(data).reply(data).frames
        for port, data in (
            (80, b"GET / HTTP/1.1\r\nContent-Length: 99\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
            (443, bytes.fromhex("160301002a0100002603031122334455") + bytes(40)),
            (22, b"SSH-2.0-x\r\n" + bytes(40)),
            (25, b"220 x\r\nAUTH PLAIN x\r\n.\r\nDATA\r\n354\r\n"),
            (21, b"USER a\r\n220-x\r\n PASS\r\n"),
            (53, b"\x00\x1d" + bytes(scapy.DNS(qd=scapy.DNSQR(qname="a.b")))),
        )
    ]
    frames = [bytes(frame) for talk in talks for frame in talk]
    for _ in range(30):
        damaged = []
        for frame in frames:
            data = bytearray(frame)
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            damaged.append(bytes(data[: chance.randrange(len(data)) + 1]))
        chance.shuffle(damaged)
        kinds = (1, 1, 1, 101, 113, 276, 0)
        packets = list(
            decode(
                Record(1.0 + n, data, len(data), chance.choice(kinds))
                for n, data in enumerate(damaged)
            )
        )
        found = ANALYSES[name](packets, Options())
        assert found["packets"] == len(packets)


def test_capture_filters_are_made_of_numbers_and_addresses() -> None:
    options = Options(ports=frozenset({8080, 80}), address="192.0.2.1")
    assert capture_filter("http", options) == "(tcp and (port 80 or port 8080)) and host 192.0.2.1"
    assert capture_filter("tcp", Options()) == "(tcp)"


def test_capture_files_that_are_cut_or_wrong() -> None:
    frame = bytes(Talk(80).open().frames[0])
    file = io.BytesIO()
    writer = scapy.PcapWriter(file)
    writer.write([scapy.Ether(frame)] * 3)
    data = file.getvalue()
    assert len(list(read_packets(io.BytesIO(data), 10))) == 3
    assert len(list(read_packets(io.BytesIO(data[:-1]), 10))) == 2
    assert len(list(read_packets(io.BytesIO(data), 1))) == 1
    with pytest.raises(NotACapture):
        read_records(io.BytesIO(b"no capture at all, but long enough"))
    huge = data[:24] + b"\x00" * 8 + b"\xff\xff\xff\x7f" * 2
    with pytest.raises(NotACapture):
        list(read_packets(io.BytesIO(huge), 10))
