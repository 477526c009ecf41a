"""What capturing and scanning programs say at their failure, as error classes; pure.

A sentence is looked for as the program writes it, at the beginning or the end of its line: parts of
a plan (a filter, a file's name) stand in these lines too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from drivers.context import Failure
from drivers.errors import fail
from toolmeta.invocation import Invocation

#: In this order: what is not permitted, what is not there, what the caller wrote wrong.
_SENTENCES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "capability_missing",
        re.compile(
            # libpcap, dumpcap and tshark; errno texts; nmap; arp-scan.
            r"You don't have permission to capture on that device\b"
            r"|^tshark: You don't have permission to read the file "
            r"|\b(?:Operation not permitted|Permission denied)[).]*$"
            r"|requires root privileges\.$"
            r"|^You need to be root, or arp-scan must be SUID root",
            re.MULTILINE,
        ),
    ),
    (
        "not_found",
        re.compile(
            r": No such device exists(?: \(No such device exists\))?(?:: No such device)?$"
            r"|^tshark: There is no device named "
            r"|: That device is not up$"
            r"|SIOCGIFHWADDR: No such device\)?$"
            r"|^I cannot figure out what source address to use for device .*does it even exist\?$"
            r"|^tshark: The file \".*\" doesn't exist\.$",
            re.MULTILINE | re.IGNORECASE,
        ),
    ),
    (
        "output_unparsable",
        re.compile(
            r"^tshark: The file \".*\" isn't a capture file in a format TShark understands\.$"
            r"|: unknown file format(?:: No such file or directory)?$"
            r"|: truncated dump file; ",
            re.MULTILINE,
        ),
    ),
    (
        "invalid_parameters",
        re.compile(
            # libpcap's compiler.
            r"can't parse filter expression|syntax error$|expression rejects all packets"
            r"|illegal token: |^(?:\w+: )?unknown (?:host|port|network|protocol|ether host) "
            r"|invalid (?:port|qualifier|capture filter)|bogus (?:ethernet|IPv6|ipv6) address"
            r"|is not supported for [\w.-]+$"
            # tshark's, which points at the place with carets.
            r"|^ +\^~*$|neither a field nor a protocol name|isn't a valid display filter"
            r"|isn't a valid capture filter|was unexpected in this context"
            r"|Unexpected end of filter expression"
            r"|^tshark: Some fields aren't valid:$"
            # ngrep; interfaces that have no hardware address.
            r"|regex compile failed|fatal: .*regex"
            r"|^\[-\] FAIL: failed to detect (?:MAC|IP|IPv4|IPv6) address of interface"
            r"|^ERROR: Could not obtain MAC address for interface ",
            re.MULTILINE | re.IGNORECASE,
        ),
    ),
)


def explained(invocation: Invocation, outcome: Failure, errors: bytes) -> Failure:
    """The failure of a capturing program in the classes that a user can act on."""
    if outcome.error_class != "exit_status":
        return outcome
    text = errors.decode("utf-8", "replace")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    # tshark writes a line with an arrow below its message.
    own = [line for line in lines if line.startswith("tshark: ")]
    last = (own or lines[-1:] or [outcome.message])[0]
    for error_class, sentence in _SENTENCES:
        if sentence.search(text):
            return fail(invocation, error_class, last)
    return replace(outcome, output=None)
