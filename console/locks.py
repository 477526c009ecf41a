"""`runstream locks`: who holds which asset, and who waits for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from console import endpoints, terminal
from console.exits import Exit, Failure
from console.options import Json
from reading.text import plain

if TYPE_CHECKING:
    from processors.locks.listing import LockedAsset

_Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="Only assets of this tenant.")
]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(locks)


def locks(tenant: _Tenant = None, as_json: Json = False) -> None:
    """Show which execution holds which asset, and who waits, in order.

    It is read from the topic that the lock keeper restores from, so no database is needed.
    """
    found = [lock for lock in _read() if tenant in (None, lock.tenant)]
    if as_json:
        terminal.data([asdict(lock) for lock in found])
    elif not found:
        terminal.say("nothing is locked", "green")
    else:
        _table(found)


def _read() -> list[LockedAsset]:
    from confluent_kafka import KafkaException

    from console import broker
    from processors.locks.listing import listing
    from runtime.kafka import clients
    from runtime.kafka.restore import read_changelog
    from runtime.settings import CommonSettings
    from streams.topics import LOCKS_STATE

    settings = endpoints.load(CommonSettings)
    numbers = range(broker.partitions(settings, LOCKS_STATE))
    try:
        records = read_changelog(settings, LOCKS_STATE, numbers)
        # The record of the last token has one key in every partition, and is not shown.
        return listing((key, value) for _, key, value in records)
    except KafkaException as error:
        name = clients.topic_name(settings, LOCKS_STATE)
        raise broker.refused(settings, name, error) from None
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(
            f"the records of {LOCKS_STATE.name} are of another version", Exit.FAILED
        ) from error


def _table(found: list[LockedAsset]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("TENANT", "ASSET", "HELD BY", "TOKEN", "WAITING"):
        table.add_column(name, overflow="fold")
    for lock in found:
        cells = (
            lock.tenant,
            lock.asset,
            lock.holder or "-",
            str(lock.fencing_token or "-"),
            ", ".join(lock.waiting) or "-",
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    terminal.out().print(table)
