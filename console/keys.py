"""`runstream keys`: make keys, and decide which of them are trusted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import endpoints, options, terminal
from console.exits import Exit, Failure
from console.options import Json

if TYPE_CHECKING:
    from authority.key_folder import KeyFolder
    from authority.keys import KeyUse, TrustedKey


class RoleName(StrEnum):
    """What a key may sign."""

    actor = "actor"
    router = "router"
    executor = "executor"
    matcher = "matcher"
    api = "api"


_Actor = Annotated[
    str | None, typer.Option("--actor", metavar="NAME", help="Whose key it is (role actor).")
]
_Tenant = Annotated[str, typer.Option("--tenant", metavar="NAME", help="The tenant of the actor.")]
_Domains = Annotated[
    list[str] | None,
    typer.Option("--domain", metavar="NAME", help="What an executor's key is for; repeatable."),
]
_Days = Annotated[
    float | None,
    typer.Option("--days", metavar="N", min=0.01, help="For how long it counts; for ever if not."),
]
_Trusted = Annotated[
    Path | None,
    typer.Option(
        "--trusted",
        metavar="FILE",
        envvar="RUNSTREAM_TRUSTED_KEYS",
        help="The trusted keys; those of the state folder if not given.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Keys: who signs, and whose signatures count.")
    for command in (init, new, show, trust, revoke):
        group.command()(command)
    group.command("list")(list_)
    app.add_typer(group, name="keys")


def init(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Where; keys in the state folder if not given."),
    ] = None,
    actor: _Actor = None,
    tenant: _Tenant = "default",
    per_domain: Annotated[
        bool, typer.Option("--per-domain", help="One executor key for each domain.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the keys that a system needs: for each process and an operator; and trust them.

    Keys that are there already stay as they are.
    """
    place = _folder() if folder is None else _folder_at(folder)
    with _faults():
        made = place.complete(actor or options.login(), tenant, per_domain=per_domain)
    if as_json:
        terminal.data({"folder": str(place.path), "made": [_row(key.trusted) for key in made]})
        return
    for key in made:
        terminal.say(f"made {_sentence(key.trusted)}", "green")
    terminal.say(f"the keys are in {place.path}")


def new(
    role: Annotated[RoleName, typer.Argument(help="What it may sign.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where the private key is written.")
    ],
    actor: _Actor = None,
    tenant: _Tenant = "default",
    domain: _Domains = None,
    days: _Days = None,
    trusted: _Trusted = None,
    no_trust: Annotated[
        bool, typer.Option("--no-trust", help="Make it only; somebody else decides to trust it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a private key, and trust it."""
    from authority.key_files import changing_trusted, write_private
    from authority.keys import PrivateKey

    key = PrivateKey.generate(_use(role, actor, tenant, domain, days))
    with _faults():
        write_private(out, key)
        if not no_trust:
            with changing_trusted(_trusted_file(trusted)) as keys:
                keys[key.kid] = key.trusted
    _tell(key.trusted, as_json)


def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A file of a key, or a key's id.")],
    trusted: _Trusted = None,
) -> None:
    """Print the public part of a key, as a JSON Web Key."""
    terminal.data(_found(key, trusted).as_jwk())


def list_(trusted: _Trusted = None, as_json: Json = False) -> None:
    """List the trusted keys."""
    from authority.key_files import read_trusted

    with _faults():
        found = read_trusted(_trusted_file(trusted))
    if as_json:
        terminal.data([_row(key) for key in found.values()])
        return
    for key in found.values():
        terminal.tell(_sentence(key))


def trust(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A JSON Web Key; public will do.")],
    role: Annotated[RoleName, typer.Option("--role", help="What it may sign.")] = RoleName.actor,
    actor: _Actor = None,
    tenant: _Tenant = "default",
    domain: _Domains = None,
    days: _Days = None,
    trusted: _Trusted = None,
    as_json: Json = False,
) -> None:
    """Trust a key that somebody else has made.

    What it may sign is what the options say, whatever its file says of itself.
    """
    from authority.key_files import changing_trusted, read_public

    with _faults():
        key = read_public(file, _use(role, actor, tenant, domain, days))
        with changing_trusted(_trusted_file(trusted)) as keys:
            keys[key.kid] = key
    _tell(key, as_json)


def revoke(
    kid: Annotated[str, typer.Argument(metavar="KID", help="The id of the key.")],
    trusted: _Trusted = None,
) -> None:
    """Trust a key no longer; processes that run notice within seconds."""
    from authority.key_files import changing_trusted

    with _faults(), changing_trusted(_trusted_file(trusted)) as keys:
        if keys.pop(kid, None) is None:
            raise Failure(f"no trusted key has the id {kid}", Exit.FAILED, "runstream keys list")
    terminal.say(f"{kid} is not trusted any more", "green")


def _use(
    role: RoleName, actor: str | None, tenant: str, domains: list[str] | None, days: float | None
) -> KeyUse:
    from datetime import UTC, datetime

    from pydantic import ValidationError

    from authority.keys import KeyUse
    from runtime.clock import now

    expires = None
    if days is not None:
        expires = datetime.fromtimestamp(round(now()), UTC) + timedelta(days=days)
    given = {"role": role.value, "tenant": tenant, "actor": actor, "domains": domains or ()}
    try:
        return KeyUse.model_validate({**given, "expires": expires})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        text = f"{where}: {fault['msg']}" if where else str(fault["msg"])
        raise Failure(text, Exit.USAGE) from None


def _found(key: str, trusted: Path | None) -> TrustedKey:
    from authority.key_files import read_private, read_trusted

    with _faults():
        if Path(key).is_file():
            return read_private(Path(key)).trusted
        found = read_trusted(_trusted_file(trusted)).get(key)
    if found is None:
        raise Failure(f"{key} is no file and no trusted key", Exit.FAILED, "runstream keys list")
    return found


def _folder() -> KeyFolder:
    return _folder_at(endpoints.stack_file().parent / "keys")


def _folder_at(path: Path) -> KeyFolder:
    from authority.key_folder import KeyFolder

    return KeyFolder(path)


def _trusted_file(given: Path | None) -> Path:
    return given or _folder().trusted


@contextmanager
def _faults() -> Iterator[None]:
    from authority.keys import KeyFault

    try:
        yield
    except KeyFault as fault:
        raise Failure(str(fault), Exit.USAGE) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", Exit.FAILED) from None


def _tell(key: TrustedKey, as_json: bool) -> None:
    if as_json:
        terminal.data(key.as_jwk())
    else:
        terminal.say(_sentence(key), "green")


def _row(key: TrustedKey) -> dict[str, Any]:
    return {"kid": key.kid, **key.use.model_dump(mode="json", exclude_defaults=True)}


def _sentence(key: TrustedKey) -> str:
    use = key.use
    whose = f"{use.actor} of {use.tenant}" if use.actor else ", ".join(use.domains)
    until = f", until {use.expires.isoformat(timespec='minutes')}" if use.expires else ""
    return f"{key.kid}  {use.role}{' ' + whose if whose else ''}{until}"
