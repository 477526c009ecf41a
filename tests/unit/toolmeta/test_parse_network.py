"""Parsers of the network tools, on what the programs really wrote."""

from __future__ import annotations

from toolmeta.parse import parse


def test_masscan_names_a_port_once() -> None:
    text = "#masscan\n" + "open tcp 80 192.0.2.9 1795163649\n" * 2 + "# end\n"
    found = parse("masscan", text, 0)
    assert (found["count"], found["hosts"], found["ports"][0]["port"]) == (1, ["192.0.2.9"], 80)


def test_neighbours_and_duplicates() -> None:
    text = (
        "192.0.2.9\t00:00:5E:00:53:01\t0.009\t(Unknown: locally administered)\n"
        "192.0.2.9\t00:00:5e:00:53:02\t\tExample Corp\n"
    )
    found = parse("arp_scan", text, 0)
    assert found["duplicate_addresses"] == ["192.0.2.9"]
    assert [host["vendor"] for host in found["hosts"]] == [None, "Example Corp"]
    text = " 192.0.2.9      00:00:5e:00:53:01      1      42  Unknown vendor\n\n-- Active scan\n"
    found = parse("netdiscover", text, 0)
    assert (found["count"], found["hosts"][0]["arp_packets"]) == (1, 1)


def test_ngrep() -> None:
    text = (
        "interface: lo (127.0.0.0/255.0.0.0)\nmatch (JIT): GET\n\n"
        "T 2026/11/20 08:45:54.705751 127.0.0.1:43502 -> 127.0.0.1:80 [AP] GET /a HTTP/1.1..\n\n"
        "U 2026/11/20 08:45:55.000001 fe80::1:53 -> fe80::2:999 ab\n\n"
        "I 2026/11/20 08:45:56.000001 192.0.2.1 -> 192.0.2.2 3:3 E..\n"
    )
    tcp, udp, icmp = parse("ngrep", text, 0)["matches"]
    assert (tcp["source"], tcp["source_port"], tcp["flags"]) == ("127.0.0.1", 43502, "AP")
    assert tcp["payload"] == "GET /a HTTP/1.1.."
    assert tcp["at"] == "2026-11-20T08:45:54.705751+00:00"
    assert (udp["source"], udp["source_port"], udp["destination"]) == ("fe80::1", 53, "fe80::2")
    assert (icmp["protocol"], icmp["source_port"], icmp["payload"]) == ("icmp", None, "E..")


def test_netstat() -> None:
    text = (
        "Active Internet connections (only servers)\n"
        "Proto Recv-Q Send-Q Local Address   Foreign Address State       PID/Program name\n"
        "tcp        0      0 0.0.0.0:22      0.0.0.0:*       LISTEN      712/sshd: /usr/sbin\n"
        "udp6       0      0 :::123          :::*                        -\n"
    )
    tcp, udp = parse("netstat", text, 0)["sockets"]
    assert (tcp["state"], tcp["pid"], tcp["program"]) == ("LISTEN", 712, "sshd: /usr/sbin")
    assert (udp["state"], udp["local_address"], udp["local_port"]) == ("", "::", 123)
    assert udp["peer_port"] is None
    # Without --program the column is not there.
    [plain] = parse("netstat", text[: text.index(" PID/")] + "\n" + text.split("\n")[2][:60], 0)[
        "sockets"
    ]
    assert (plain["state"], plain["pid"], plain["program"]) == ("LISTEN", None, None)


def test_ss_drops_the_raw_sockets() -> None:
    text = "tcp LISTEN 0 5 127.0.0.1:80 0.0.0.0:*\nraw UNCONN 0 0 0.0.0.0:1 0.0.0.0:*\n"
    found = parse("ss", text, 0)
    assert [item["protocol"] for item in found["sockets"]] == ["tcp"]
