"""Real TCP over a link that loses and reorders: what the analyses find, held against tshark."""

from __future__ import annotations

import secrets
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.tools.captures.tshark_truth import analysed, judged_by_tshark, judged_here
from tests.tools.netns import need
from tests.tools.running import root, until

_LINK = Path(__file__).with_name("impaired_link.py")
_REQUESTS = 12
_SIOCETHTOOL = 0x8946
#: ETHTOOL_STXCSUM, STSO, SGSO, SGRO: frames are sent as they would be on a wire.
_OFFLOADS = (0x17, 0x1F, 0x24, 0x2C)

_OFF = textwrap.dedent(f"""
    import array, fcntl, socket, struct, sys
    control = socket.socket()
    for command in {_OFFLOADS}:
        asked = array.array("B", struct.pack("II", command, 0))
        request = struct.pack("16sP", sys.argv[1].encode(), asked.buffer_info()[0])
        fcntl.ioctl(control, {_SIOCETHTOOL}, request)
""")
_SERVER = textwrap.dedent("""
    import socket
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            self.answer(b"z" * int(self.path.split("/")[-1]))
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(b"")
        def answer(self, body):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *words):
            pass
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6
        daemon_threads = True
    server = Server(("::", 80), Handler)
    print("ready", flush=True)
    server.serve_forever()
""")
_CLIENT = textwrap.dedent("""
    import http.client, socket
    for host in ("198.18.1.2", "2001:db8::2"):
        client = http.client.HTTPConnection(host, 80, timeout=60)
        for size in (10, 60_000):
            for asked in (("GET", f"/{size}"), ("POST", "/", b"q" * size), ("GET", "/0")):
                client.request(*asked)
                assert client.getresponse().read() is not None
        client.close()
    # What comes last in a capture that is whole.
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"{end}", ("198.18.1.2", 9))
    print("done")
""")


def _must(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"


@contextmanager
def _started(*argv: str, ready: bool = True) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert not ready or process.stdout.readline() == "ready\n", argv
            yield process
        finally:
            process.kill()


@contextmanager
def _capturing(namespace: str, device: str, path: Path) -> Iterator[None]:
    argv = (
        "ip",
        "netns",
        "exec",
        namespace,
        "tcpdump",
        "-n",
        "-U",
        "--immediate-mode",
        "-i",
        device,
    )
    with subprocess.Popen([*argv, "-w", str(path)], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "listening on" in process.stderr.readline()
            yield
        finally:
            process.terminate()
            process.wait(15)


def _holds(path: Path, mark: bytes) -> bool:
    return mark in path.read_bytes()


def _transferred(folder: Path, *impaired: str) -> dict[str, Path]:
    """Captures of both ends of a link over which a client talks to a server."""
    mark = secrets.token_hex(3)
    client, server, middle = (f"rl-{mark}-{letter}" for letter in "csm")
    inside = ("ip", "netns", "exec")
    files = {"client": folder / "client.pcap", "server": folder / "server.pcap"}
    with ExitStack() as stack:
        for name in (client, server, middle):
            made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
            if made.returncode != 0:
                pytest.skip(f"network namespaces cannot be made here: {made.stderr.decode()}")
            stack.callback(_must, "ip", "netns", "del", name)
        for name, device, far, number in ((client, "near0", "c0", 1), (server, "near0", "s0", 2)):
            peer = ("type", "veth", "peer", "name", far, "netns", middle)
            _must("ip", "-n", name, "link", "add", device, *peer)
            _must("ip", "-n", name, "addr", "add", f"198.18.1.{number}/24", "dev", device)
            six = f"2001:db8::{number}/64"
            _must("ip", "-n", name, "addr", "add", six, "dev", device, "nodad")
            for namespace, one in ((name, device), (middle, far)):
                _must(*inside, namespace, sys.executable, "-c", _OFF, one)
                _must("ip", "-n", namespace, "link", "set", one, "up")
        link = (*inside, middle, sys.executable, str(_LINK), *impaired, "--", "c0", "s0")
        stack.enter_context(_started(*link))
        stack.enter_context(_started(*inside, server, sys.executable, "-c", _SERVER))
        for name, path in ((client, files["client"]), (server, files["server"])):
            stack.enter_context(_capturing(name, "near0", path))
        done = subprocess.run(
            [*inside, client, sys.executable, "-c", _CLIENT.replace("{end}", mark)],
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        assert done.stdout == "done\n", done.stderr
        for path in files.values():
            until(partial(_holds, path, mark.encode()), "the capture is whole", 20)
    return files


@pytest.mark.parametrize(
    "impaired",
    [
        ("--loss=0.04", "--seed=1"),
        ("--loss=0.03", "--delay-ms=3", "--seed=2"),
        ("--loss=0.02", "--overtake=0.2", "--delay-ms=5", "--jitter-ms=4", "--seed=3"),
        ("--loss=0.01", "--double=0.05", "--delay-ms=1", "--seed=4"),
    ],
)
def test_losses_are_counted_as_by_tshark(impaired: tuple[str, ...], tmp_path: Path) -> None:
    """At both ends: at one the lost segments are in the capture, at the other they are not."""
    root()
    for program in ("ip", "tcpdump", "tshark"):
        need(program)
    repeated = 0
    for end, path in _transferred(tmp_path, *impaired).items():
        counts = judged_here(path)
        assert counts == judged_by_tshark(path), end
        repeated += counts["retransmissions"]
        found = analysed(path, "http")
        # tshark itself loses some of these where segments overtake each other.
        assert (found["request_count"], found["answered"]) == (_REQUESTS, _REQUESTS), end
        assert all(row["complete"] for row in found["requests"]), end
        assert found["status_codes"] == {"200": _REQUESTS}
    assert repeated > 0
