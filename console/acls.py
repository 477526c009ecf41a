"""`runstream topics acls`: who may do what on the cluster, printed or applied."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from console import endpoints, terminal
from console.exits import Exit, Failure
from console.options import Quiet
from reading.text import count

if TYPE_CHECKING:
    from runtime.settings import CommonSettings
    from streams.access import Principal

#: The beginnings of librdkafka's options for a login and for a client's certificate and key.
_OF_THE_CALLER: Final = ("sasl.", "ssl.key", "ssl.certificate.")


class Format(StrEnum):
    """How the rights are printed."""

    TEXT = "text"
    JSON = "json"
    COMMANDS = "kafka-acls"


def acls(
    form: Annotated[
        Format,
        typer.Option("--format", help="text, json, or commands of Kafka's own kafka-acls tool."),
    ] = Format.TEXT,
    apply: Annotated[
        bool, typer.Option("--apply", help="Create on the cluster what is missing.")
    ] = False,
    users: Annotated[
        Path | None,
        typer.Option(
            "--users",
            metavar="FOLDER",
            help="With --apply: make the users too, SCRAM-SHA-256 with random passwords, and write "
            "the RUNSTREAM_KAFKA_OPTIONS of each to FOLDER/NAME.json.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Show what each process, and people, may read and write: Kafka ACLs from the topic registry.

    One user per process and per domain of executors. With --apply nothing is deleted, and it is
    safe to repeat; the cluster needs an authorizer, and you the right to change ACLs.
    """
    from runtime.settings import CommonSettings
    from streams.access import principals

    if users is not None and not apply:
        raise Failure("--users needs --apply", Exit.USAGE)
    settings = endpoints.load(CommonSettings)
    declared = principals(settings.topic_prefix, test_tools=settings.test_tools)
    if apply:
        _apply(settings, declared, users, quiet=quiet)
    elif form is Format.JSON:
        terminal.data([_document(one) for one in declared])
    elif form is Format.COMMANDS:
        for line in commands(declared, settings.bootstrap_servers):
            terminal.tell(line)
    else:
        _table(declared)


def commands(declared: Sequence[Principal], bootstrap_servers: str) -> list[str]:
    """The rights as command lines of Kafka's own tool; no name has a space or a quote."""
    tool = f"kafka-acls.sh --bootstrap-server {bootstrap_servers} --command-config admin.properties"
    return [
        " ".join(
            (
                f"{tool} --add --allow-principal User:{principal.name}",
                *(f"--operation {operation.value.capitalize()}" for operation in grant.operations),
                f"--{grant.resource} {grant.name}",
                *(("--resource-pattern-type prefixed",) if grant.prefixed else ()),
            )
        )
        for principal in declared
        for grant in principal.grants
    ]


def _apply(
    settings: CommonSettings, declared: Sequence[Principal], users: Path | None, *, quiet: bool
) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]

    from console import broker
    from runtime.kafka import access

    broker.probe(settings)
    admin = broker.admin(settings)
    passwords: dict[str, str] = {}
    if users is not None:
        users.mkdir(mode=0o700, parents=True, exist_ok=True)
        passwords = {one.name: _password(settings, one.name, users) for one in declared}
    try:
        created, extra = access.apply(admin, declared, remove=False)
        access.set_passwords(admin, passwords)
    except TimeoutError as error:
        raise Failure(str(error), Exit.TIMED_OUT, "repeat it: that changes nothing") from None
    except KafkaException as error:
        raise Failure(
            f"the cluster refused: {error.args[0].str()}",
            Exit.FAILED,
            "the brokers need an authorizer, and your login the right to change ACLs and users",
        ) from None
    for one in extra:
        terminal.say(
            f"not declared: {one.principal} {AclOperation(one.operation).name} {one.name}", "yellow"
        )
    if not quiet:
        terminal.say(
            f"{count(len(declared), 'user')} at {settings.bootstrap_servers}: "
            f"{count(len(created), 'ACL')} created, {count(len(passwords), 'password')} set",
            "green",
        )


def _password(settings: CommonSettings, name: str, users: Path) -> str:
    """The password in the user's file, which is made where it is missing. Raises Failure."""
    from devstack.files import write_atomically

    file = users / f"{name}.json"
    try:
        return str(json.loads(file.read_bytes())["sasl.password"])
    except FileNotFoundError:
        password = secrets.token_urlsafe(24)
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(
            f"{file} holds no sasl.password", Exit.USAGE, "remove it to get a new password"
        ) from None
    # Before the cluster knows it: what is interrupted here is completed when repeated.
    write_atomically(file, f"{json.dumps(options_of(settings, name, password))}\n")
    return password


def options_of(
    settings: CommonSettings, name: str, password: str
) -> dict[str, str | int | float | bool]:
    """The caller's options with another login, and without what proves who the caller is."""
    kept = {
        option: value
        for option, value in settings.kafka_options.items()
        if not option.lower().startswith(_OF_THE_CALLER)
    }
    tls = str(settings.kafka_options.get("security.protocol", "")).upper().endswith("SSL")
    return {
        **kept,
        "security.protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": name,
        "sasl.password": password,
    }


def _document(principal: Principal) -> dict[str, object]:
    return {
        "user": principal.name,
        "grants": [
            {
                "resource": grant.resource.value,
                "name": grant.name,
                "prefixed": grant.prefixed,
                "operations": [operation.value for operation in grant.operations],
            }
            for grant in principal.grants
        ],
    }


def _table(declared: Sequence[Principal]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("USER", "RESOURCE", "NAME", "MAY"):
        table.add_column(column, overflow="fold")
    for principal in declared:
        for grant in principal.grants:
            table.add_row(
                principal.name,
                grant.resource.value,
                f"{grant.name}*" if grant.prefixed else grant.name,
                ", ".join(operation.value for operation in grant.operations),
            )
    terminal.out().print(table)
