"""The argument lists of the scan tools, out of checked parameters and checked targets; pure.

No option of these programs can be given by a user: no scripts, no files, no spoofed addresses, no
evasion.
"""

from __future__ import annotations

from typing import Any, Final

#: nmap techniques that need raw sockets, and the option of each.
_TECHNIQUES: Final = {"connect": "-sT", "syn": "-sS", "udp": "-sU", "ping": "-sn"}
_TIMING: Final = {"polite": "-T2", "normal": "-T3", "aggressive": "-T4"}
_ARP_FORMAT: Final = "${ip}\t${mac}\t${rtt}\t${vendor}"


def needs_raw(program: str, values: dict[str, Any]) -> bool:
    """Whether this call opens raw sockets."""
    return program != "nmap" or bool(
        values.get("technique", "connect") != "connect" or values.get("detect_os")
    )


def nmap(values: dict[str, Any], targets: list[str]) -> list[str]:
    """nmap with XML on stdout, names never looked up, targets after `--`."""
    technique = str(values.get("technique", "connect"))
    raw = needs_raw("nmap", values)
    # Stated, since nmap itself only checks whether it is root.
    argv = ["nmap", "-n", "--no-stylesheet", "--privileged" if raw else "--unprivileged"]
    argv += ["-6"] if ":" in targets[0] else []
    argv += [
        "-oX",
        "-",
        "--stats-every=5s",
        _TECHNIQUES[technique],
        _TIMING[str(values.get("timing", "normal"))],
    ]
    if technique != "ping":
        if values.get("ports"):
            argv += ["-p", str(values["ports"])]
        elif values.get("top_ports"):
            argv.append(f"--top-ports={values['top_ports']}")
        if values.get("detect_services"):
            argv.append("-sV")
        if values.get("detect_os"):
            argv.append("-O")
        if values.get("skip_discovery"):
            argv.append("-Pn")
    if values.get("max_rate"):
        argv.append(f"--max-rate={values['max_rate']}")
    if values.get("host_timeout"):
        argv.append(f"--host-timeout={values['host_timeout'] * 1_000:.0f}ms")
    return [*argv, "--", *targets]


def one_phase(values: dict[str, Any], targets: list[str]) -> bool:
    """Whether nmap goes through the ports of one host, and does nothing else."""
    more = any(values.get(name) for name in ("detect_services", "detect_os"))
    alone = len(targets) == 1 and "/" not in targets[0] and "-" not in targets[0]
    return alone and not more and bool(values.get("skip_discovery"))


def masscan(values: dict[str, Any], targets: list[str]) -> list[str]:
    """masscan with its list format on stdout; it has no `--`, and targets are only digits."""
    argv = ["masscan", "-oL", "-", f"--rate={values['rate']}", f"--wait={values['wait']}"]
    argv.append(f"--ports={values['ports']}")
    if values.get("interface"):
        argv.append(f"--interface={values['interface']}")
    if values.get("gateway"):
        argv.append(f"--router-ip={values['gateway']}")
    return [*argv, *targets]


def arp_scan(values: dict[str, Any], targets: list[str]) -> list[str]:
    """arp-scan with our own line format."""
    argv = ["arp-scan", "--plain", "--numeric", "--rtt", f"--format={_ARP_FORMAT}"]
    argv += [f"--interface={values['interface']}", f"--retry={values['attempts']}"]
    argv.append(f"--timeout={values['wait_ms']}")
    return [*argv, "--", *targets]


def netdiscover(values: dict[str, Any], targets: list[str]) -> list[str]:
    """netdiscover without its screen: over one network, or only listening where there is none."""
    argv = ["netdiscover", "-d", "-N", "-P", "-i", str(values["interface"])]
    return [*argv, "-r", targets[0]] if targets else [*argv, "-p"]
