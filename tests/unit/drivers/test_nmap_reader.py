"""nmap's XML, read by python-nmap in its own process, on what nmap really wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from drivers import readers
from drivers.readers.program import ENVIRONMENT, reader_argv

pytest.importorskip("nmap", reason="pip install runstream[network]")

SCAN = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE nmaprun>
<nmaprun scanner="nmap" version="7.93">
<host><status state="up" reason="arp-response"/>
<address addr="192.0.2.9" addrtype="ipv4"/>
<address addr="00:00:5E:00:53:01" addrtype="mac" vendor="Example"/>
<hostnames><hostname name="web.example" type="user"/></hostnames>
<ports><extraports state="closed" count="98"/>
<port protocol="tcp" portid="443"><state state="open" reason="syn-ack"/>
<service name="http" product="nginx" version="1.22" tunnel="ssl"/></port>
<port protocol="udp" portid="53"><state state="open|filtered" reason="no-response"/></port></ports>
<os><osmatch name="Linux 6.x" accuracy="96"><osclass type="general" accuracy="91"/></osmatch></os>
<times srtt="250"/></host>
<host><status state="up" reason="nd-response"/><address addr="2001:db8::9" addrtype="ipv6"/></host>
<host><status state="down" reason="no-response"/><address addr="192.0.2.10" addrtype="ipv4"/></host>
<runstats><finished elapsed="1.50"/><hosts up="2" down="1" total="3"/></runstats>
</nmaprun>"""


def read(xml: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        reader_argv("nmap"), input=xml, capture_output=True, text=True, env=ENVIRONMENT, timeout=60,
        check=False,
    )  # fmt: skip


def result(xml: str) -> dict[str, Any]:
    answer = read(xml)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert isinstance(found, dict)
    return found


def test_every_field_of_the_output() -> None:
    assert result(SCAN) == {
        "count": 2,
        "open_ports": 1,
        "hosts_up": 2,
        "hosts_down": 1,
        "elapsed_seconds": 1.5,
        "version": "7.93",
        "hosts": [
            {
                "address": "192.0.2.9",
                "mac_address": "00:00:5E:00:53:01",
                "vendor": "Example",
                "state": "up",
                "hostnames": ["web.example"],
                "rtt_ms": 0.25,
                "ports": [
                    {
                        "port": 443, "protocol": "tcp", "state": "open", "reason": "syn-ack",
                        "service": "http", "product": "nginx", "version": "1.22", "extra": None,
                        "tunnel": "ssl",
                    },
                    {
                        "port": 53, "protocol": "udp", "state": "open|filtered",
                        "reason": "no-response", "service": None, "product": None,
                        "version": None, "extra": None, "tunnel": None,
                    },
                ],
                "other_ports": {"closed": 98},
                "operating_system": "Linux 6.x",
                "operating_system_accuracy_percent": 96,
            },
            {
                "address": "2001:db8::9", "mac_address": None, "vendor": None, "state": "up",
                "hostnames": [], "rtt_ms": None, "ports": [], "other_ports": {},
                "operating_system": None, "operating_system_accuracy_percent": None,
            },
        ],
    }  # fmt: skip


def test_a_scan_without_hosts() -> None:
    empty = SCAN[: SCAN.index("<host>")] + SCAN[SCAN.index("<runstats>") :]
    assert (result(empty)["hosts"], result(empty)["count"]) == ([], 0)


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE nmaprun [<!ENTITY a "b">]><nmaprun>&a;</nmaprun>',
        "<other/>",
        "no xml",
        "",
        "<nmaprun></nmaprun>",
        SCAN[:400],
    ],
)
def test_entities_other_xml_and_torn_reports_are_refused(xml: str) -> None:
    answer = read(xml)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr


def test_the_executor_itself_imports_no_reader_library() -> None:
    script = (
        "import sys; from drivers.registry import DRIVERS; all(DRIVERS.values()); "
        "sys.exit(len({'nmap', 'scapy', 'pyshark'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("library", ["nmap", "scapy", "pyshark"])
def test_every_reader_is_there(library: str) -> None:
    program = Path(reader_argv(library)[2])
    assert program.is_file()
    assert program.parent == Path(readers.__path__[0])
