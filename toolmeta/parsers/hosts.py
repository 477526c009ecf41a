"""Facts of a machine: `service`, `ssh-keygen`, `uniq -c`, `iptables`, fail2ban."""

from __future__ import annotations

import re
from typing import Any, Final

_SERVICE: Final = re.compile(r"^ \[ ([+?-]) \]\s+(\S+)$")
_FINGERPRINT: Final = re.compile(
    r"^(?:(?P<bits>\d+) )?(?P<print>(?:SHA256|MD5):\S+) (?P<comment>.*?)(?: \((?P<type>[\w-]+)\))?$"
)
_COUNTED: Final = re.compile(r"^\s*(\d+) (.*)$")
#: No two parts can take the same blanks, which would take a time that grows with their square.
_JAIL_FIELD: Final = re.compile(r"^[\s|`-]*([A-Za-z][A-Za-z ]*):\s*(.*)$")
_JAIL_NUMBERS: Final = {
    "Number of jail": "count",
    "Currently failed": "currently_failed",
    "Total failed": "total_failed",
    "Currently banned": "currently_banned",
    "Total banned": "total_banned",
}


def service(stdout: str) -> dict[str, Any]:
    """The text; of `--status-all` also which services run (null: not reported)."""
    states = {"+": True, "-": False, "?": None}
    listed = [found for line in stdout.split("\n") if (found := _SERVICE.match(line))]
    if not listed:
        return {"text": stdout}
    services = [{"name": found[2], "running": states[found[1]]} for found in listed]
    return {"text": stdout, "services": services, "count": len(services)}


def ssh_keygen(stdout: str) -> dict[str, Any]:
    """A fingerprint, a public key, or the entries of a host in known_hosts."""
    output: dict[str, Any] = {"text": stdout}
    entries: list[str] = []
    for line in stdout.split("\n"):
        if not line:
            continue
        found = _FINGERPRINT.match(line)
        if found is not None:
            output["fingerprint"] = found["print"]
            output["comment"] = found["comment"]
            if found["bits"]:
                output |= {"bits": int(found["bits"]), "type": found["type"]}
        elif re.match(r"(ssh|ecdsa|sk)-\S+ AAAA", line):
            output["public_key"] = line
        elif not line.startswith("#") and " AAAA" in line:
            entries.append(line)
    if entries or "found: line" in stdout:
        output |= {"entries": entries, "found": True}
    return output


def uniq(stdout: str) -> dict[str, Any]:
    """The lines with how often each occurred in a row."""
    counted = [found for line in stdout.split("\n") if (found := _COUNTED.match(line))]
    groups = [{"text": found[2], "times": int(found[1])} for found in counted]
    return {"groups": groups, "count": len(groups)}


def iptables(stdout: str) -> dict[str, Any]:
    """The rules of all chains as one list, and the chains with their policies."""
    rules: list[dict[str, Any]] = []
    chains: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        words = line.split()
        if line.startswith("Chain "):
            policy = re.search(r"\(policy (\w+)", line)
            chains.append({"chain": words[1], "policy": policy and policy[1], "rules": 0})
        elif words and words[0].isdigit() and chains:
            rules.append({"chain": chains[-1]["chain"], **_rule(line)})
            chains[-1]["rules"] += 1
    return {
        "rules": rules,
        "count": len(rules),
        "chains": [{**chain, "policy": chain["policy"] or ""} for chain in chains],
    }


def _rule(line: str) -> dict[str, Any]:
    # A rule without a target has only blanks there: then the protocol comes third.
    words = line.split()
    if words[4] in ("--", "-f", "!f"):
        words.insert(3, "")
    number, packets, size, target, protocol, _, inside, outside, source, destination = words[:10]
    return {
        "number": int(number),
        "packets": int(packets),
        "bytes": int(size),
        "target": target or None,
        "protocol": protocol,
        "in_interface": inside,
        "out_interface": outside,
        "source": source,
        "destination": destination,
        "options": " ".join(words[10:]) or None,
    }


def fail2ban(stdout: str) -> dict[str, Any]:
    """The numbers and lists of a status; other output is text."""
    output: dict[str, Any] = {"text": stdout}
    for line in stdout.split("\n"):
        found = _JAIL_FIELD.match(line)
        if found is None:
            continue
        name, value = found[1].strip(), found[2].strip()
        if name in _JAIL_NUMBERS and value.isdigit():
            output[_JAIL_NUMBERS[name]] = int(value)
        elif name == "Jail list":
            output["jails"] = [item for item in re.split(r",\s*", value) if item]
        elif name == "Banned IP list":
            output["banned"] = value.split()
    return output
