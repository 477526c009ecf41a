"""The `scan` driver: nmap, masscan, arp-scan and netdiscover, only inside the network scope.

It is safe by its order: targets become addresses, addresses are checked against
`RUNSTREAM_NETWORK_SCOPE`, and only then an argument list is built, out of the addresses.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from drivers import local
from drivers.captures.capturing import INTERRUPTED, KeptErrors, absent, missing, timed
from drivers.captures.sentences import explained
from drivers.context import Failure, Outcome, RunContext
from drivers.errors import fail
from drivers.program_progress import by_time
from drivers.readers.program import not_installed
from drivers.scans import argv as scan_argv
from drivers.scans.report import KeptOutput, read_report
from drivers.scans.scope import (
    EVERY_PORT,
    SETTING,
    BadTarget,
    OutOfScope,
    check_targets,
    parse_ports,
    parse_scope,
)
from toolmeta.hosts import Ports
from toolmeta.invocation import Invocation

RATE: Final = "RUNSTREAM_SCAN_MAX_RATE"
_RESOLVE_SECONDS: Final = 10.0

_PROGRAMS: Final[dict[str, tuple[str, Callable[[dict[str, Any], list[str]], list[str]]]]] = {
    "nmap": ("nmap", scan_argv.nmap),
    "masscan": ("masscan", scan_argv.masscan),
    "arp_scan": ("arp-scan", scan_argv.arp_scan),
    "netdiscover": ("netdiscover", scan_argv.netdiscover),
}


class ScanDriver:
    """Scans for hosts and ports, from the executor itself."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Check the targets, then run the program to its end."""
        context.not_acting()
        call, values = str(invocation.call), invocation.arguments
        program, build = _PROGRAMS[call]
        passive = call == "netdiscover" and not values.get("range")
        most = context.resources.settings.scan_max_rate
        rate = values.get("rate") or values.get("max_rate") or 0
        if rate > most:
            message = f"{rate} packets a second; this executor sends at most {most} ({RATE})"
            return fail(invocation, "out_of_scope", message)
        targets: list[str] | Failure = []
        if not passive:
            targets = await _allowed(invocation, context, _targets(call, values))
        if isinstance(targets, Failure):
            return targets
        if call == "netdiscover" and targets and not targets[0].endswith("/24"):
            message = f"netdiscover scans whole /24 networks, and {targets[0]} is none"
            return fail(invocation, "invalid_parameters", message)
        problem = missing(invocation, context, program, raw=scan_argv.needs_raw(call, values))
        problem = problem or absent(invocation)
        if problem is None and call == "nmap":
            problem = not_installed(invocation, "nmap")
        if problem is not None:
            return problem
        values = {**values, "max_rate": rate or most}
        if call == "nmap" and _ports_limited(context):
            # Looking whether a host is up would ask ports that the scope may not allow.
            values["skip_discovery"] = True
        argv = tuple(build(values, targets))
        codes = invocation.success_codes
        if passive:
            # It listens until it is interrupted, and then ends by that signal.
            argv = timed(float(values["seconds"]), list(argv))
            codes = (*codes, *INTERRUPTED)
        stderr = KeptErrors(context.output)
        one_phase = scan_argv.one_phase(values, targets)
        report = KeptOutput(stderr, context.report_progress, one_phase=one_phase)
        outcome = await _listening(
            values if passive else None,
            replace(
                invocation,
                driver="command",
                argv=argv,
                env={"LC_ALL": "C.UTF-8"},
                # The XML of nmap is read by a program of its own.
                parser="field:report" if call == "nmap" else call,
                success_codes=codes,
            ),
            replace(context, output=report if call == "nmap" else stderr),
        )
        if isinstance(outcome, Failure):
            return explained(invocation, outcome, stderr.tail)
        return await read_report(invocation, context, report) if call == "nmap" else outcome


async def _listening(
    values: dict[str, Any] | None, invocation: Invocation, context: RunContext
) -> Outcome:
    """Run the program; with `values`, of one that only listens, the time that passes is told."""
    if values is None:
        return await local.run(invocation, context)
    async with by_time(context.report_progress, float(values["seconds"]), "listening"):
        return await local.run(invocation, context)


def _targets(call: str, values: dict[str, Any]) -> list[str]:
    named = [values["range"]] if call == "netdiscover" else list(values["targets"])
    # The gateway gets packets too.
    return [*named, *([values["gateway"]] if values.get("gateway") else [])]


def _version(invocation: Invocation) -> int | None:
    """The version of IP to take of names.

    ARP is of IPv4; masscan finds the next hop and its own address only on IPv4 networks.
    """
    if str(invocation.call) != "nmap":
        return 4
    return 6 if invocation.arguments.get("ipv6") else None


def _ports(call: str, values: dict[str, Any]) -> Ports:
    """The ports that the scan asks; ARP asks none."""
    # Looking for hosts asks 80 and 443, and a guess of the system a port by chance.
    beyond = values.get("technique") == "ping" or values.get("detect_os")
    if values.get("ports") and not beyond:
        return parse_ports(str(values["ports"]))
    return EVERY_PORT if call in ("nmap", "masscan") else ()


def _ports_limited(context: RunContext) -> bool:
    return any(entry.ports for entry in parse_scope(context.resources.settings.network_scope))


async def _allowed(
    invocation: Invocation, context: RunContext, targets: list[str]
) -> list[str] | Failure:
    """The targets as addresses, or why they may not be scanned."""
    try:
        scope = parse_scope(context.resources.settings.network_scope)
    except ValueError as error:
        return fail(invocation, "not_configured", f"{SETTING}: {error}")
    try:
        ports = _ports(str(invocation.call), invocation.arguments)
    except ValueError as error:
        return fail(invocation, "invalid_parameters", f"ports: {error}")
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            resolve = partial(_resolve, time.monotonic() + _RESOLVE_SECONDS)
            check = partial(check_targets, version=_version(invocation))
            found = await asyncio.to_thread(check, targets, scope, resolve, ports)
    except OutOfScope as error:
        return fail(invocation, "out_of_scope", str(error))
    except BadTarget as error:
        return fail(invocation, "invalid_parameters", str(error))
    except OSError as error:  # TimeoutError too
        return fail(invocation, "unreachable", f"a target's name has no address: {error.strerror}")
    if _version(invocation) == 4 and ":" in found[0]:
        message = f"{invocation.tool} scans IPv4 networks only; nmap scans those of IPv6"
        return fail(invocation, "invalid_parameters", message)
    gateway = invocation.arguments.get("gateway")
    return [target for target in found if target != gateway or target in targets[:-1]]


def _resolve(until: float, name: str) -> Sequence[str]:
    if time.monotonic() > until:
        # Nobody waits any more: the thread is not to go on with the next name.
        raise TimeoutError
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
