"""`runstream assets import`, `list`, `show` and `export`: the inventory."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from console import endpoints, terminal
from console.asset_import import import_
from console.exits import Exit, Failure
from console.options import Json
from reading.text import json_text, one_line, plain

if TYPE_CHECKING:
    from console.inventory_rows import Filters, Row

Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="Whose; `default` if not given.")
]
_EnvironmentName = Annotated[
    str | None, typer.Option("--environment", metavar="dev|staging|prod", help="Where they belong.")
]
_Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME[=VALUE]", help="A tag, with this value; repeatable."),
]
_Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="NAME", help="In this group of an import; repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="The hosts that plans find by name and tag.")
    group.command("import")(import_)
    group.command("list")(list_)
    group.command()(show)
    group.command()(export)
    app.add_typer(group, name="assets")


def list_(
    hostname: Annotated[
        str | None, typer.Option("--hostname", metavar="TEXT", help="A part of the name.")
    ] = None,
    ip_address: Annotated[str | None, typer.Option("--ip-address", metavar="IP")] = None,
    asset_type: Annotated[str | None, typer.Option("--type", metavar="NAME")] = None,
    status: Annotated[str | None, typer.Option("--status", metavar="NAME")] = None,
    environment: _EnvironmentName = None,
    location: Annotated[str | None, typer.Option("--location", metavar="TEXT")] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="TEXT")] = None,
    os_type: Annotated[str | None, typer.Option("--os-type", metavar="NAME")] = None,
    os_version: Annotated[str | None, typer.Option("--os-version", metavar="TEXT")] = None,
    service_type: Annotated[str | None, typer.Option("--service-type", metavar="NAME")] = None,
    tag: _Tags = None,
    group: _Groups = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most this many.")
    ] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0, max=1_000_000)] = 0,
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """List assets by name; all that is given must fit, as in asset_query."""
    equal = {
        "ip_address": ip_address, "asset_type": asset_type, "status": status,
        "location": location, "owner": owner, "os_type": os_type, "os_version": os_version,
        "service_type": service_type,
    }  # fmt: skip
    wanted = _filters(equal, environment, hostname, tag, group)
    rows = _select(tenant, wanted, limit, offset)
    if as_json:
        terminal.data(rows)
    elif rows:
        _print(rows)
        if len(rows) == limit:
            terminal.say(f"more: --offset {offset + limit}", "dim")
    else:
        terminal.say("no assets match; runstream assets import FILE adds some", "dim")


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host name.")],
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """Show one asset with its tags and connection."""
    from console.inventory_model import canonical
    from console.inventory_rows import Filters

    wanted = canonical(name)
    rows = _select(tenant, Filters(hostname=wanted), 10_000, 0)
    found = next((row for row in rows if row["hostname"] == wanted), None)
    if found is None:
        every = [row["hostname"] for row in rows or _select(tenant, Filters(), 10_000, 0)]
        near = difflib.get_close_matches(wanted, every, n=1)
        hint = f"did you mean {near[0]}?" if near else "runstream assets list"
        raise Failure(f"there is no asset {name!r}", Exit.USAGE, hint)
    if as_json:
        terminal.data(found)
        return
    width = max(map(len, found))
    for field, value in found.items():
        if value not in (None, {}):
            text = value if isinstance(value, str) else json_text(value)
            terminal.tell(plain(f"{field:<{width}}  {text}"))


def export(
    form: Annotated[
        Literal["csv", "ansible-yaml", "json"], typer.Option("--format", help="Of the output.")
    ] = "csv",
    environment: _EnvironmentName = None,
    tag: _Tags = None,
    group: _Groups = None,
    tenant: Tenant = None,
) -> None:
    """Print the inventory; what `import` reads again. References to secrets are in json only."""
    from console import inventory_export
    from console.inventory_rows import MAX_ROWS

    wanted = _filters({}, environment, None, tag, group)
    rows = _select(tenant, wanted, MAX_ROWS + 1, 0)
    if len(rows) > MAX_ROWS:
        raise Failure(
            f"more than {MAX_ROWS} assets", Exit.USAGE, "export them in parts, by --tag or --group"
        )
    if form == "json":
        terminal.data(rows)
    elif form == "csv":
        inventory_export.as_csv(rows, terminal.raw)
    else:
        terminal.raw(inventory_export.as_ansible(rows))


def _filters(
    equal: dict[str, str | None],
    environment: str | None,
    hostname: str | None,
    tags: list[str] | None,
    groups: list[str] | None,
) -> Filters:
    from console.inventory_model import GROUP_TAG
    from console.inventory_rows import Filters
    from console.stack import environment_of

    given = {name: value for name, value in equal.items() if value is not None}
    if environment is not None:
        given["environment"] = environment_of(environment)
    pairs = [tag.partition("=") for tag in tags or ()]
    named = [name for name, equals, _ in pairs if not equals]
    return Filters(
        hostname,
        given,
        {name: value for name, equals, value in pairs if equals},
        [*named, *(GROUP_TAG + name for name in groups or ())],
    )


def _select(tenant: str | None, wanted: Filters, limit: int, offset: int) -> list[Row]:
    from console import database, inventory_rows, signing
    from runtime.settings import CommonSettings, DatabaseSettings

    key = signing.private_key(endpoints.load(CommonSettings))
    whose = signing.tenant_of(key, tenant) or "default"
    with database.reading(endpoints.load(DatabaseSettings)) as connection:
        rows = inventory_rows.select(connection, whose, wanted, limit, offset)
    return [inventory_rows.shown(row) for row in rows]


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("NAME", "ADDRESS", "ENVIRONMENT", "STATUS", "TYPE", "TAGS"):
        table.add_column(column, overflow="fold")
    for row in rows:
        tags = " ".join(f"{k}={v}" if v else k for k, v in sorted(row["tags"].items()))
        cells = (row["hostname"], row["ip_address"] or "-", row["environment"], row["status"],
                 row["asset_type"], one_line(tags, 100))  # fmt: skip
        table.add_row(*(Text(plain(cell)) for cell in cells))
    terminal.out().print(table)
