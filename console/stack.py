"""`runstream up`, `down` and `status`: the local stack from the terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit, urlunsplit

import typer

from console import endpoints, terminal
from console.exits import Exit, Failure
from reading.text import json_text
from streams.vocabulary import Environment

if TYPE_CHECKING:
    from devstack.stack import LocalStack
    from devstack.state import ProcessStatus, StackStatus

StateDir = Annotated[
    Path,
    typer.Option(help="Folder that holds the whole stack.", envvar="RUNSTREAM_STATE_DIR"),
]
DEFAULT_STATE_DIR = Path(".runstream")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (up, down, status):
        app.command()(command)


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when everything is ready.")
    ] = False,
    test_tools: Annotated[
        bool,
        typer.Option(
            "--test-tools",
            envvar="RUNSTREAM_TEST_TOOLS",
            help="Serve the tools of the test domain too; one runs any program.",
        ),
    ] = False,
    environment: Annotated[
        str,
        typer.Option(
            "--environment",
            metavar="dev|staging|prod",
            envvar="RUNSTREAM_ENVIRONMENT",
            help="What the executors serve; they refuse the steps of plans of another one.",
        ),
    ] = "dev",
    state_dir: StateDir = DEFAULT_STATE_DIR,
) -> None:
    """Start Kafka, Postgres and all processes on this machine.

    KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL name a broker and a database to use instead. The
    processes get the environment of this command, settings included.
    """
    from devstack.errors import LocalStackError

    stack = _stack(state_dir, test_tools=test_tools, environment=environment_of(environment))
    try:
        if stack.start(detach=detach):
            _say("The stack is ready.")
        else:
            _say("The stack is running already.")
            detach = True
        _print_addresses(stack.status(), state_dir, show_secrets=False)
        if not detach:
            _say("Ctrl-C stops it.")
            stack.wait()
    except LocalStackError as error:
        _say(f"runstream up: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _say("Stopping …")
        stack.stop()
        raise typer.Exit(130) from None


def down(state_dir: StateDir = DEFAULT_STATE_DIR) -> None:
    """Stop the local stack; its data stays for the next start."""
    from devstack.errors import LocalStackError

    try:
        stopped = _stack(state_dir).stop()
    except LocalStackError as error:
        _say(f"runstream down: {error}")
        raise typer.Exit(1) from None
    _say("Stopped. Nothing is left running." if stopped else "Nothing was running.")


def status(
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object; its client_options log Kafka clients in."
        ),
    ] = False,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Print the database URL with its password.")
    ] = False,
    state_dir: StateDir = DEFAULT_STATE_DIR,
) -> None:
    """Show the local stack: addresses, processes, health. Exit code 1 if anything is not well."""
    from devstack.errors import LocalStackError

    try:
        found = _stack(state_dir).status()
    except LocalStackError as error:
        raise Failure(str(error), Exit.FAILED) from None
    running = found is not None and found.is_running
    processes = found.processes if found is not None and running else ()
    healthy = running and all(process.healthy for process in processes)
    if as_json:
        document = _as_json(found if running else None, state_dir, show_secrets=show_secrets)
        terminal.tell(json_text(document, indent=2))
    elif found is not None and running:
        _print_addresses(found, state_dir, show_secrets=show_secrets)
        _print_table(processes)
    else:
        if found is not None and found.error is not None:
            _say(f"The last start failed: {found.error}")
        _say("The stack is not running. Start it with: runstream up --detach")
    if not healthy:
        raise typer.Exit(1)


def without_password(url: str) -> str:
    """A database URL without its secrets: the password, and every query parameter,
    since a password may be given as one."""
    parts = urlsplit(url)
    place = parts.netloc
    if parts.password is not None:
        login, _, host = place.rpartition("@")
        place = f"{login.partition(':')[0]}:***@{host}"
    return urlunsplit(parts._replace(netloc=place, query="***" if parts.query else ""))


def environment_of(written: str) -> Environment:
    """The environment that an option names; raises Failure."""
    from pydantic import TypeAdapter, ValidationError

    from streams.plans import WrittenEnvironment

    try:
        return TypeAdapter[Environment](WrittenEnvironment).validate_python(written)
    except ValidationError:
        message = f"--environment: {written!r} is not dev, staging or prod"
        raise Failure(message, Exit.USAGE) from None


def _stack(
    state_dir: Path, *, test_tools: bool = False, environment: Environment = "dev"
) -> LocalStack:
    from devstack.stack import LocalStack

    return LocalStack(
        state_dir,
        test_tools=test_tools,
        environment=environment,
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or None,
        database_url=os.environ.get("DATABASE_URL") or None,
        report=_say,
    )


def _say(line: str) -> None:
    terminal.say(line)


def _as_json(live: StackStatus | None, state_dir: Path, *, show_secrets: bool) -> dict[str, object]:
    """The document of `status --json`; `live` is None where nothing runs."""
    environment = os.environ
    url = live.database_url if live else environment.get("DATABASE_URL")
    return {
        "state": live.phase if live else "stopped",
        "state_dir": str(state_dir.absolute()),
        "environment": live.environment if live else None,
        "bootstrap_servers": live.bootstrap_servers
        if live
        else environment.get("KAFKA_BOOTSTRAP_SERVERS"),
        "client_options": live.client_options if live else _client_options(),
        "api_url": live.api_url if live else None,
        "database_url": url if url is None or show_secrets else without_password(url),
        "processes": [
            process.model_dump(mode="json", exclude={"mark"})
            for process in (live.processes if live else ())
        ],
    }


def _client_options() -> dict[str, object] | None:
    """What a client of the brokers of the environment is given; None where it names none."""
    from runtime.settings import CommonSettings

    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return None
    settings = endpoints.load(CommonSettings)
    return {**settings.kafka_options, "bootstrap.servers": settings.bootstrap_servers}


def _print_addresses(found: StackStatus | None, state_dir: Path, *, show_secrets: bool) -> None:
    if found is None:
        return
    url = found.database_url or ""
    terminal.tell(f"Kafka     {found.bootstrap_servers}")
    login = state_dir.absolute() / "client.properties"
    if login.exists():
        terminal.tell(f"Clients   {login} (kcat -F; java.properties for Java tools)")
    if show_secrets:
        terminal.tell(f"Postgres  {url}")
    else:
        terminal.tell(
            f"Postgres  {without_password(url)} (status --show-secrets tells the password)"
        )
    if found.api_url is not None:
        terminal.tell(f"API       {found.api_url} (runstream token)")
    terminal.tell(f"State     {state_dir.absolute()} (logs in logs/)")
    terminal.tell(f"Serves    plans of the environment {found.environment}")


def _print_table(processes: tuple[ProcessStatus, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("Process", "State", "Pid", "Health port", "Restarts", "Last exit")
    for process in processes:
        table.add_row(
            process.name,
            Text(process.state, style="green" if process.healthy else "red"),
            str(process.pid or "-"),
            str(process.http_port or "-"),
            str(process.restarts),
            "-" if process.last_exit is None else str(process.last_exit),
        )
    terminal.out().print(table)
