"""`runstream policy check`, `explain` and `show`: who may do what, and by which rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import catalogue, terminal
from console.exits import Exit, Failure
from console.options import Json, PolicyPath
from reading.text import count

if TYPE_CHECKING:
    from authority.policy import Access, Policy
    from toolmeta.registry import Registry


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Who may run and steer what.")
    group.command()(check)
    group.command()(explain)
    group.command()(show)
    app.add_typer(group, name="policy")


def loaded(path: Path | None, tools: Registry) -> Policy:
    """The policy of a file, of RUNSTREAM_POLICY, or the built-in one; raises Failure."""
    from authority import policy_file

    found = path or _by_setting()
    if found is None:
        return policy_file.built_in(tools)
    try:
        return policy_file.read(found, tools)
    except policy_file.PolicyError as error:
        raise Failure(f"{found}: {error}", Exit.FAILED, f"runstream policy check {found}") from None


def _by_setting() -> Path | None:
    from console import endpoints
    from runtime.settings import RouterSettings

    named = endpoints.load(RouterSettings).policy
    return None if named is None else Path(named)


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.")],
    as_json: Json = False,
) -> None:
    """Say whether a policy file can be used, or every fault with its line. Exit code 1 if not."""
    from authority import policy_file

    faults: list[policy_file.Fault] = []
    rules = 0
    try:
        rules = len(policy_file.read(file, catalogue.load()).document.rules)
    except policy_file.PolicyError as error:
        faults = error.faults
    if as_json:
        found = [{"field": one.field, "line": one.line, "message": one.message} for one in faults]
        terminal.data({"file": str(file), "ok": not faults, "rules": rules, "faults": found})
    elif faults:
        for fault in faults:
            terminal.say(f"{file}: {fault}", "red")
    else:
        terminal.say(f"{file}: {count(rules, 'rule')}, no fault", "green")
    raise typer.Exit(Exit.FAILED if faults else Exit.OK)


def show() -> None:
    """Print the built-in policy, to begin a file of one's own with."""
    from authority.policy_file import built_in_text

    for line in built_in_text().splitlines():
        terminal.tell(line)


def explain(
    actor: Annotated[
        str | None,
        typer.Option("--actor", metavar="NAME", help="With a key; anonymous if not given."),
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", metavar="NAME")] = "default",
    tool: Annotated[str | None, typer.Option("--tool", metavar="NAME")] = None,
    action: Annotated[
        str | None,
        typer.Option(
            "--action",
            metavar="RIGHT",
            help="read, write, execute, delete or admin; the tool's worst if not given.",
        ),
    ] = None,
    asset: Annotated[
        str | None,
        typer.Option("--asset", metavar="NAME", help="This machine if not given; - if unknown."),
    ] = None,
    secret: Annotated[str | None, typer.Option("--secret", metavar="PATH")] = None,
    control: Annotated[
        str | None, typer.Option("--control", metavar="VERB", help="Such as cancel or approve.")
    ] = None,
    own: Annotated[
        bool, typer.Option("--own", help="An execution that the same actor asked for.")
    ] = False,
    environment: Annotated[str, typer.Option("--environment", metavar="dev|staging|prod")] = "dev",
    level: Annotated[
        int,
        typer.Option("--level", metavar="N", min=0, max=3, help="Approvals that it needs."),
    ] = 0,
    policy: PolicyPath = None,
    as_json: Json = False,
) -> None:
    """Say whether an actor may run a tool, use a secret or steer, and which rule decides.

    Exit code 3 where it is denied.
    """
    from authority.identity import Identity
    from streams.actors import ANONYMOUS

    tools = catalogue.load()
    access = _access(tools, tool, action, asset, secret, control, own, environment, level)
    unsigned = actor is None or actor.lower() == ANONYMOUS
    identity = Identity(tenant, actor or ANONYMOUS, None if unsigned else "this command")
    found = loaded(policy, tools).decide(identity, access)
    if as_json:
        document: dict[str, Any] = {
            "allowed": found.allowed,
            "rule": found.rule,
            "message": found.message,
            "actor": identity.actor,
            "tenant": tenant,
        }
        terminal.data({**document, "access": access._asdict()})
    else:
        terminal.say(found.message, "green" if found.allowed else "red")
    raise typer.Exit(Exit.OK if found.allowed else Exit.REJECTED)


def _access(
    tools: Registry,
    name: str | None,
    action: str | None,
    asset: str | None,
    secret: str | None,
    control: str | None,
    own: bool,
    environment: str,
    level: int,
) -> Access:
    from authority.policy import Control, RunStep, UseSecret
    from authority.policy_document import Verb
    from streams.vocabulary import Environment, Permission
    from toolmeta.acted_on import LOCAL
    from toolmeta.bind import target_key
    from toolmeta.permissions import worst_permission

    where: Any = _one_of(Environment, "--environment", environment)
    if control is not None:
        verb: Any = _one_of(Verb, "--control", control)
        return Control(verb, where, level, own)
    if name is None:
        raise Failure("give --tool, or --control", Exit.USAGE, "runstream policy explain --help")
    found = tools.get(name)
    if found is None:
        near = tools.suggest(name)
        hint = f"did you mean {near}?" if near else "runstream tools list"
        raise Failure(f"there is no tool {name!r}", Exit.USAGE, hint)
    on = LOCAL if asset is None else None if asset == "-" else target_key(asset)
    if secret is not None:
        return UseSecret(secret, found.name, found.domain, on, where, level)
    right: Any = worst_permission(found)
    if action is not None:
        right = _one_of(Permission, "--action", action)
    return RunStep(found.name, found.domain, right, on, where, level)


def _one_of(words: Any, option: str, given: str) -> str:
    known: tuple[str, ...] = words.__args__
    if given not in known:
        raise Failure(f"{option}: {given!r} is none of {', '.join(known)}", Exit.USAGE)
    return given
