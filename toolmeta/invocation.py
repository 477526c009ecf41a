"""An invocation: the call of a driver, with every parameter bound; pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from toolmeta.hosts import Ports, split_port


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of the user's input: the field, and a sentence with the remedy."""

    field: str
    message: str


class CodePath(NamedTuple):
    """A configuration or a socket that decides what the program does, and who named it."""

    parameter: str
    path: str


@dataclass(frozen=True, slots=True)
class Contact:
    """A host, with a port or without, to which the program sends."""

    #: Where it stands: in this argument of argv, or in this environment variable.
    place: int | str
    before: str
    host: str
    after: str


@dataclass(frozen=True, slots=True)
class Contacts:
    """The peers of one call of a program that are checked before it starts."""

    hosts: tuple[Contact, ...] = ()
    #: The port that the call names apart from the host.
    port: int | None = None
    #: The program gets the name of a host, although its address was checked.
    name_kept: bool = False
    #: The option by which the program gets the name of a host beside its address.
    name_option: str | None = None
    #: The options that have the program compare a certificate with a name and with an address.
    compared_by: tuple[str, str] | None = None
    #: The environment variable in which the program gets the address beside the name.
    address_variable: str | None = None
    #: URLs, paths and connection strings that choose the peers: the program gets a proxy.
    proxied: tuple[str, ...] = ()
    #: The program only asks whether and how a host answers, so the network scope binds it.
    probe: bool = False
    #: What a probe asks where the call names no port.
    probed_ports: tuple[int, int] | None = None

    def ports_of(self, contact: Contact) -> Ports:
        """Every port that the program may connect to there; empty: it asks none, or is not known.

        Where the host and the call name different ones, the program decides which: both count.
        """
        named = (split_port(contact.host)[1], self.port)
        found = tuple((port, port) for port in dict.fromkeys(named) if port is not None)
        return found or (() if self.probed_ports is None else (self.probed_ports,))

    def __bool__(self) -> bool:
        """Whether there is anything to check."""
        return bool(self.hosts or self.proxied)


_NONE: Final = Contacts()


@dataclass(frozen=True, slots=True)
class Unread:
    """How a program ends that could not read everything, and what it must be able to read."""

    #: Exit codes with which it went on after what it could not read.
    codes: tuple[int, ...]
    #: What the caller named: an error about one of these fails the step.
    named: tuple[str, ...]
    #: Its messages hold names as they are, without quotes.
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Invocation:
    """One bound call of a tool.

    `argv` is a list of whole arguments and never passes through a shell; `call` and `arguments`
    are for drivers that do not start a program. A driver reads one or the other.
    """

    tool: str
    driver: str
    argv: tuple[str, ...] = ()
    #: The peers that must be checked before the program starts.
    contacts: Contacts = _NONE
    #: The configurations and sockets that must be checked before the program starts.
    code_paths: tuple[CodePath, ...] = ()
    #: The further program that this one is to start, where it is such a tool.
    starts: str | None = None
    #: The program may gain the rights that its file grants (setuid, setgid, capabilities).
    new_privileges: bool = False
    #: A stop reaches the program alone at first, which tells what it has started itself.
    stops_alone: bool = False
    stdin: str | None = None
    #: Environment variables added for the program; the rest is the driver's minimal environment.
    env: dict[str, str] = field(default_factory=dict)
    #: The operation of a driver that has several (`send`, `query`, `create` ...).
    call: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    #: The host to act on; None or a name of this machine means here.
    host: str | None = None
    #: How messages name what runs; None: by the first argument.
    called: str | None = None
    #: The lines of stderr are a part of the output.
    stderr_lines: bool = False
    #: The parser that turns stdout into structured output, by name; None keeps the text.
    parser: str | None = None
    #: Exit codes that mean success (grep has 1 for "nothing found").
    success_codes: tuple[int, ...] = (0,)
    #: Exit codes that mean success where the program wrote nothing to stderr.
    silent_codes: tuple[int, ...] = ()
    #: How the program says what it could not read, where it goes on with the rest.
    unread: Unread | None = None
    #: The parser reads stdout and stderr together, in the order of arrival.
    parse_stderr: bool = False
    #: The program names the class of its failure itself, in the last line of stderr.
    reports: bool = False
    #: Error classes by the last output of a failed program: (pattern, class), the first match wins.
    failures: tuple[tuple[str, str], ...] = ()
    #: The same for a program that ended well: what it says there on stderr is a failure.
    warnings: tuple[tuple[str, str], ...] = ()
    #: Error classes after which a new attempt may succeed, for tools that are safe to repeat.
    transient: frozenset[str] = frozenset()
    retry_safe: bool = False
    #: Secrets that were resolved into this invocation: masked in all output of the executor.
    secrets: tuple[str, ...] = field(default=(), repr=False)
