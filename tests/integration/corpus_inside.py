"""Runs inside a network namespace of a test: every tool that takes a host or URL, at hosts of the
inside, and scans and probes beyond their scope; prints what became of each, and every packet that
was seen.

Argument: `addresses`, `metadata`, `control`, `rebinding`, `redirects`, `probes` or `scans`. Names
are answered here, so that no name server is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import quote, unquote

from drivers.context import Failure, Outcome
from drivers.resources import Resources
from runtime.rates import RateLimits
from tests.driver_kit import PYTHON, Run, settings
from tests.integration.corpus_trap import Trap
from tests.integration.test_drivers_http_spellings import INNER, METADATA, RECORDS
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.model import Tool
from toolmeta.registry import load
from toolmeta.rules import programs_of

#: Targets outside 198.18.7.0/29, and what is no target.
BEYOND = """
198.18.7.8 198.18.7.0/28 198.18.0.0/15 0.0.0.0/0 10.0.0.1 outside.example 198.18.7.1-9 198.18.7.*
3323070216 0xc6120708 ::1 fd00:7::2 -iL --script=x
"""
#: Some spellings of each kind: all of them are tried without inner addresses, which is the longest.
SOME_INNER, SOME_METADATA = INNER.split()[::4], METADATA.split()[::3]
#: A public address, which the namespace gives to itself.
REDIRECTING = "9.9.9.9"
#: Where configurations that a plan names may lie.
_NAMED = Path(tempfile.mkdtemp(prefix="corpus-"))
_NAMED.chmod(0o755)
#: A program that connects to whatever its arguments and variables name, in place of the real one.
_STAND_IN = """#!{python}
import os, re, socket, sys
words = sys.argv[1:] + [v for k, v in os.environ.items() if k not in ("PATH", "HOME")]
for word in words:
    for host in re.findall(r"[0-9A-Za-z.:-]+", word.replace("[", "").replace("]", "")):
        for one in (host, host.rpartition(":")[0]):
            try:
                found = socket.getaddrinfo(one, 9, flags=socket.AI_NUMERICHOST)
            except (OSError, UnicodeError):
                continue
            for family, _, _, _, address in found[:1]:
                with socket.socket(family, socket.SOCK_DGRAM) as peer:
                    try:
                        peer.sendto(b"x", address)
                    except OSError:
                        pass
"""


def calls(host: str) -> Iterator[tuple[str, Invocation]]:
    """Every tool with every parameter that names a peer, set to `host`."""
    bracketed = host if not host.count(":") > 1 or host.startswith("[") else f"[{host}]"
    bare = bracketed.strip("[]")
    for tool in load().all():
        for name, text in _values(tool, bare, bracketed):
            given = {**tool.example.parameters, name: text}
            given = {key: _plain(value) for key, value in given.items() if key != "socket"}
            if tool.name == "openssl":
                given["action"] = "connect"
            if name == "connection_string":
                given.pop("account_key", None)
            if name == "webhook_url" or name == "url":
                given.pop("webhook_url" if name == "url" else "url", None)
            found = bind(tool, given)
            if isinstance(found, Invocation):
                yield f"{tool.name}.{name}", found


def _plain(value: Any) -> Any:
    """A reference to a secret as a value, since there is nobody to resolve it."""
    return "x" if isinstance(value, dict) and value.get("type") == "secret" else value


def _values(tool: Tool, bare: str, bracketed: str) -> Iterator[tuple[str, str]]:
    url = f"http://{bracketed}:8080/a"
    for name in tool.run.contacts.hosts:
        yield name, f"tcp://{bracketed}:2375" if name == "engine" else bare
    for name in tool.run.contacts.proxied:
        if name == "connection_string":
            yield name, f"BlobEndpoint={url};AccountName=x;AccountKey=eA=="
        elif name == "kubeconfig":
            file = _NAMED / "kubeconfig"
            file.write_text(json.dumps({"clusters": [{"cluster": {"server": url}}]}))
            yield name, str(file)
        elif name != "config_dir":
            yield name, url
    if tool.run.driver in ("http", "webhook", "slack", "teams"):
        for name in tool.parameters:
            if name in ("url", "webhook_url"):
                yield name, url
                yield name, url.replace("http://", "http://public.example@")
    if tool.run.driver == "sql":
        yield "host", bare
    if tool.run.driver == "vapix":
        yield "host", bare


def answer(monkey: dict[str, list[str]]) -> None:
    """Names are looked up in `monkey` (in order, the last one again and again), else refused."""
    loop = asyncio.get_running_loop()
    real = type(loop).getaddrinfo

    def look_up(host: str, port: Any, **more: Any) -> Awaitable[Any]:
        known = monkey.get(host)
        name = host if known is None else known.pop(0) if len(known) > 1 else known[0]
        local = name.rstrip(".").lower() == "localhost"
        numeric = {**more, "flags": socket.AI_NUMERICHOST}
        return real(loop, "127.0.0.1" if local else name, port, **numeric)

    loop.getaddrinfo = look_up  # type: ignore[method-assign, assignment]


async def outcome(opened: Resources, invocation: Invocation) -> str:
    invocation = replace(invocation, parser=None if invocation.driver == "command" else
                         invocation.parser)  # fmt: skip
    try:
        found: Outcome = await Run(opened, invocation).outcome(20)
    except TimeoutError:
        return "no end"
    return found.error_class if isinstance(found, Failure) else "success"


async def addresses(hosts: list[str], *, private: bool, only: str = "") -> dict[str, int]:
    """How often each class came out; tools that went on are named."""
    answer({**{name: [address] for name, address in RECORDS.items()}})
    counted: dict[str, int] = {}
    opened = Resources(
        settings(allow_private_addresses=private, network_scope="", config_folders=str(_NAMED))
    )
    for host in hosts:
        for name, invocation in calls(host):
            if only and not name.startswith(f"{only}."):
                continue
            found = await outcome(opened, invocation)
            fine = found in ("refused_address", "invalid_parameters", "unreachable")
            key = found if fine else f"{found}: {name} at {host}"
            counted[key] = counted.get(key, 0) + 1
    await opened.close()
    return counted


async def logins(hosts: list[str]) -> dict[str, int]:
    """Steps that are to run on these hosts, over SSH and over WinRM."""
    answer({name: [address] for name, address in RECORDS.items()})
    counted: dict[str, int] = {}
    opened = Resources(settings(allow_private_addresses=True, network_scope=""))
    for host in hosts:
        bracketed = host if host.startswith("[") or host.count(":") < 2 else f"[{host}]"
        for tool, more in (
            ("uptime", {}), ("ping", {"target": "198.18.7.2"}),
            ("get_process", {}), ("invoke_webrequest", {"url": "http://localhost/"}),
        ):  # fmt: skip
            for port in ("", ":80"):
                found = await _scan(opened, tool, {"host": bracketed + port, **more})
                fine = found in ("refused_address", "invalid_parameters")
                key = found if fine else f"{found}: {tool} on {host}{port}"
                counted[key] = counted.get(key, 0) + 1
    await opened.close()
    return counted


class _Redirecting(BaseHTTPRequestHandler):
    """Sends whoever asks to the address that the path is."""

    def _redirect(self) -> None:
        self.send_response(302)
        self.send_header("Location", unquote(self.path[1:]).encode().decode("latin-1"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = _redirect

    def log_message(self, *_values: Any) -> None:
        """Nothing is logged."""


async def redirects() -> dict[str, int]:
    """A server that may be contacted and sends elsewhere: GET and POST, followed and not."""
    answer({name: [address] for name, address in RECORDS.items()})
    server = ThreadingTCPServer((REDIRECTING, 8080), _Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    counted: dict[str, int] = {}
    inner, metadata = [*SOME_INNER, "inside.example"], [*SOME_METADATA, "azure.example"]
    for private, hosts in ((False, inner + metadata), (True, metadata)):
        opened = Resources(
            settings(
                allow_private_addresses=private,
                network_scope="",
                rate_limits=RateLimits(limits=()),
            )
        )
        for host in hosts:
            url = f"http://{REDIRECTING}:8080/{quote(f'http://{host}:8080/a', safe='')}"
            for tool in ("curl", "webhook_sender"):
                found = await _scan(opened, tool, {"url": url})
                key = f"{tool} {found}"
                counted[key] = counted.get(key, 0) + 1
        await opened.close()
    server.shutdown()
    server.server_close()
    return counted


async def probes() -> dict[str, int]:
    """Every program that probes, around a scope of 198.18.7.0/29, with inner addresses allowed."""
    names = {**RECORDS, "within.example": "198.18.7.2", "outside.example": "198.18.7.9"}
    answer({name: [address] for name, address in names.items()})
    counted: dict[str, int] = {}
    opened = Resources(settings(allow_private_addresses=True, network_scope="198.18.7.0/29"))
    beyond = ["198.18.7.9", "1.1.1.1", "10.0.0.1", "[2606:4700::1111]", "[fd00:7::2]",
              "outside.example", *RECORDS, *SOME_INNER]  # fmt: skip
    for host in ("198.18.7.2", "within.example", *beyond):
        for _name, invocation in calls(host):
            if not invocation.contacts.probe:
                continue
            found = await outcome(opened, invocation)
            where = "beyond" if host in beyond else "inside"
            key = f"{where} {found}"
            counted[key] = counted.get(key, 0) + 1
    await opened.close()
    return counted


async def rebinding() -> dict[str, str]:
    """A name that is public when it is checked and of the inside afterwards."""
    found = {}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("aws", {"service": "sts", "verb": "get", "noun": "caller-identity",
                 "access_key_id": "x", "secret_access_key": "y", "region": "eu-central-1",
                 "endpoint_url": "http://rebinding.example:8080"}),
        ("kubectl_get", {"resource": "pods", "kubeconfig": "@"}),
        ("curl", {"url": "http://rebinding.example:8080/"}),
        ("ping", {"target": "rebinding.example", "count": 1, "timeout": 1}),
        ("openssl", {"server": "rebinding.example", "port": 8080}),
    ]  # fmt: skip
    for tool, parameters in asked:
        definition = load().get(tool)
        assert definition is not None
        if parameters.get("kubeconfig") == "@":
            file = _NAMED / "rebinding"
            cluster = {"server": "http://rebinding.example:8080"}
            file.write_text(json.dumps({
                "clusters": [{"name": "a", "cluster": cluster}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "users": [{"name": "a", "user": {}}], "current-context": "a",
            }))  # fmt: skip
            parameters["kubeconfig"] = str(file)
        invocation = bind(definition, parameters)
        assert isinstance(invocation, Invocation), invocation
        # Public, and no way leads there from this namespace but the trap.
        answer({"rebinding.example": ["1.1.1.1", "127.0.0.1"]})
        opened = Resources(
            settings(allow_private_addresses=False, network_scope="", config_folders=str(_NAMED))
        )
        found[tool] = await outcome(opened, invocation)
        await opened.close()
    return found


async def scans() -> dict[str, str]:
    """Scans around a scope of 198.18.7.0/29 with port 22 only."""
    answer({"inside.example": ["198.18.7.2"], "outside.example": ["198.18.7.9"]})
    socket.getaddrinfo = _fixed  # type: ignore[assignment]
    found = {}
    opened = Resources(settings(network_scope="198.18.7.0/29:22", scan_max_rate=500))
    for target in BEYOND.split():
        for tool, more in [
            ("nmap", {"ports": "22"}), ("masscan", {"ports": "22"}),
            ("arp_scan", {"interface": "trap0"}), ("netdiscover", {"interface": "trap0"}),
        ]:  # fmt: skip
            key = "range" if tool == "netdiscover" else "targets"
            found[f"{tool} {target}"] = await _scan(opened, tool, {key: target, **more})
    beyond: list[tuple[str, dict[str, Any]]] = [
        ("nmap", {"targets": "198.18.7.2"}),
        ("nmap", {"targets": "198.18.7.2", "ports": "22,23"}),
        ("nmap", {"targets": "198.18.7.2", "technique": "ping", "ports": "22"}),
        ("nmap", {"targets": "198.18.7.2", "ports": "22", "detect_os": True}),
        ("nmap", {"targets": "198.18.7.2", "ports": "22", "max_rate": 501}),
        ("nmap", {"targets": "198.18.7.2", "ports": "22", "arguments": "--script=vuln"}),
        ("nmap", {"targets": "198.18.7.2", "ports": "22", "timing": "insane"}),
        ("masscan", {"targets": "198.18.7.2", "ports": "22", "rate": 501}),
        ("masscan", {"targets": "198.18.7.2", "ports": "0-65535"}),
        ("masscan", {"targets": "198.18.7.2", "ports": "22", "gateway": "198.18.7.9"}),
        ("masscan", {"targets": "198.18.7.2", "ports": "22", "source_ip": "198.18.7.9"}),
        ("nmap", {"targets": "198.18.7.2", "ports": "22", "decoys": "198.18.7.9"}),
    ]
    for number, (tool, parameters) in enumerate(beyond):
        found[f"beyond {number} {tool}"] = await _scan(opened, tool, parameters)
    for technique in ("connect", "syn"):
        inside = {"targets": "198.18.7.2", "ports": "22", "technique": technique}
        found[f"inside {technique}"] = await _scan(opened, "nmap", inside)
    await opened.close()
    return found


async def _scan(opened: Resources, tool: str, parameters: dict[str, Any]) -> str:
    definition = load().get(tool)
    assert definition is not None
    invocation = bind(definition, parameters)
    if not isinstance(invocation, Invocation):
        return "invalid_parameters"
    try:
        found = await Run(opened, invocation).outcome(60)
    except TimeoutError:
        return "no end"
    return found.error_class if isinstance(found, Failure) else "success"


def _fixed(host: str, port: Any, *_more: Any, **_named: Any) -> list[Any]:
    known = {"inside.example": "198.18.7.2", "outside.example": "198.18.7.9"}
    if host not in known:
        raise socket.gaierror(socket.EAI_NONAME, "no such name here")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], port or 0))]


def main(what: str) -> None:
    folder = Path(tempfile.mkdtemp())
    if what in ("addresses", "metadata", "control", "probes"):
        folder.chmod(0o755)
        tools = [tool for tool in load().all() if tool.run.argv]
        programs = {name for tool in tools for name in programs_of(tool.run.argv[0])}
        for program in programs:
            file = folder / str(program)
            file.write_text(_STAND_IN.format(python=PYTHON))
            file.chmod(0o755)
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    trap = Trap()
    trap.start()
    found: dict[str, Any]
    if what == "addresses":
        found = asyncio.run(addresses([*f"{INNER} {METADATA}".split(), *RECORDS], private=False))
    elif what == "metadata":
        found = asyncio.run(addresses(SOME_METADATA, private=True))
        found["logins"] = asyncio.run(logins([*SOME_METADATA, "azure.example"]))
    elif what == "redirects":
        found = asyncio.run(redirects())
    elif what == "probes":
        found = asyncio.run(probes())
    elif what == "control":
        found = asyncio.run(addresses(["127.0.0.1"], private=True))
        found |= asyncio.run(addresses(["10.0.0.1"], private=True, only="ping"))
    elif what == "rebinding":
        found = asyncio.run(rebinding())
    else:
        found = asyncio.run(scans())
    # What was sent last arrives before this datagram of our own, which ends the recording.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"end", ("198.18.7.6", 9))
    deadline = time.monotonic() + 10
    while not any(target == "198.18.7.6" for _, target in trap.packets):
        assert time.monotonic() < deadline, "the trap sees nothing"
        time.sleep(0.01)
    packets = [pair for pair in trap.packets if pair[1] != "198.18.7.6"]
    sys.stdout.write(json.dumps({"found": found, "packets": sorted(set(packets))}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
