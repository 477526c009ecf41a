"""`runstream explain`: how the router would admit a plan, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import catalogue, endpoints, terminal
from console.exits import Exit
from console.given_inputs import InputsFile, ProcedureName, SetInput
from console.options import Actor, Json, OptionalPlan, PolicyPath
from reading.text import count, one_line, people, plain, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from console.missing import Missing
    from console.request import Options
    from processors.router.outcomes import Explain
    from streams.admitted import AdmittedStep
    from streams.explained import Explained
    from streams.payloads import Accepted


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(explain)


def explain(
    plan: OptionalPlan = None,
    procedure: ProcedureName = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME")] = None,
    actor: Actor = None,
    environment: Annotated[
        str | None, typer.Option("--environment", metavar="dev|staging|prod")
    ] = None,
    given: SetInput = None,
    inputs: InputsFile = None,
    policy: PolicyPath = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="As for a request without a signature.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what the router would make of a plan: rights, approvals, calls, or every problem.

    Runs nothing, and needs no database, and Kafka only for --procedure. Exit code 3 where it would
    be rejected.
    """
    from console import given_inputs, missing, signing
    from console.options import login
    from console.request import Options
    from runtime.settings import CommonSettings

    # Nothing is sent, so any actor may be asked about: by default the one whose key is here.
    settings = endpoints.load(CommonSettings)
    key = signing.private_key(settings)
    chosen = Options(tenant, actor, None, environment)
    who = key.use.actor if key is not None and key.use.actor else login()
    document = given_inputs.explained(plan, procedure, given or [], inputs, settings, tenant)
    found = decide(document, chosen, who, policy, anonymous=anonymous)
    data = found.data
    here = missing.here(data, found.tenant) if endpoints.stack_file().exists() else None
    if as_json:
        terminal.data(_document(found, here))
    else:
        from console import explanation, outcome

        if data.answer == "rejected":
            outcome.problems(data.problems, data.message or "")
        if found.admitted is not None:
            _print_admitted(found.admitted, data)
            explanation.calls(data, here)
    raise typer.Exit(Exit.REJECTED if data.answer == "rejected" else Exit.OK)


def decide(
    document: dict[str, Any],
    chosen: Options,
    login: str,
    policy: Path | None,
    *,
    anonymous: bool = False,
) -> Explain:
    """What the router would answer to the plan of a file, by its own decision."""
    import orjson

    from authority.identity import Signer
    from console.policy import loaded
    from console.request import prepare
    from processors.router.decoding import Undecodable
    from processors.router.outcomes import Explain
    from processors.router.plan_cache import PlanCache
    from processors.router.requests import RequestHandler
    from processors.router.store import StateStore
    from runtime.cel import expressions
    from runtime.cel.worker import Worker
    from streams.explained import Explained
    from streams.problems import Problem

    tools = catalogue.load()
    rules = loaded(policy, tools)
    prepared = prepare(document, chosen, login=login, unix_ms=0, random_bits=0)
    body = orjson.loads(prepared.body)
    actor = str(body["actor"])
    signer = None if anonymous else Signer("this command", prepared.tenant, actor)
    handler = RequestHandler(0, 1, PlanCache(tools), StateStore(1.0), lambda: 0, lambda: rules)
    worker = Worker()
    expressions.evaluate_by(worker)
    try:
        found = handler.explain(orjson.dumps({**body, "explain": True}), signer, 0.0)
    finally:
        worker.close()
    if isinstance(found, Explain):
        return found
    message = found.message if isinstance(found, Undecodable) else "it cannot be explained"
    told = Explained("rejected", actor, "invalid", message, [Problem("plan", message)])
    return Explain(prepared.execution_id, prepared.tenant, told, keep=False)


def _document(found: Explain, here: Missing | None) -> dict[str, Any]:
    """What would be in `execution.accepted`, or why there would be none, and all that is known."""
    import orjson

    from streams.admitted import encode_plan

    told: dict[str, Any] = orjson.loads(orjson.dumps(found.data))
    problems = told.pop("problems")
    result: dict[str, Any] = {"admitted": found.data.answer != "rejected", "problems": problems}
    if found.admitted is not None:
        data: dict[str, Any] = orjson.loads(orjson.dumps(found.admitted))
        # A submission without a key gets a new one each time.
        del data["idempotency_key"]
        data["plan"] = orjson.loads(encode_plan(found.admitted.plan))
        result |= data
    result |= told
    if here is not None:
        result["missing_here"] = {"programs": here.programs, "secrets": here.secrets}
    return result


def waves(steps: Sequence[AdmittedStep]) -> list[list[AdmittedStep]]:
    """The steps in groups: all of a group may run at once, after the groups before it."""
    level: dict[str, int] = {}
    waiting = {step.id: step for step in steps}
    while waiting:
        ready = [
            ident
            for ident, step in waiting.items()
            if all(other in level for other in step.depends_on)
        ]
        for ident in ready:
            before = [level[other] for other in waiting[ident].depends_on]
            level[ident] = 1 + max(before, default=-1)
        for ident in ready:
            del waiting[ident]
        if not ready:
            break
    groups: list[list[AdmittedStep]] = [[] for _ in range(1 + max(level.values(), default=-1))]
    for step in steps:
        if step.id in level:
            groups[level[step.id]].append(step)
    return groups


def _rows(steps: Sequence[AdmittedStep], begin: str, depth: int = 0) -> Iterator[list[Text]]:
    """A row for each step, those of a block below it; `begin` stands before the wave."""
    from rich.text import Text

    for number, group in enumerate(waves(steps), 1):
        for index, step in enumerate(group):
            each = " for each item" if step.for_each is not None else ""
            runs = bool(step.lease_seconds)
            cells = (
                f"{begin}{number}" if index == 0 else "",
                "  " * depth + step.id,
                step.tool + each,
                step.domain,
                ", ".join(step.depends_on),
                f"up to {step.max_attempts}" if runs else "",
                seconds(step.timeout_seconds) if runs else "",
                one_line(step.when or "", 60),
            )
            yield [Text(text, style="bold" if at == 1 else "") for at, text in enumerate(cells)]
            yield from _rows(step.steps, f"{begin}{number}.", depth + 1)


def _print_admitted(data: Accepted, told: Explained) -> None:
    from rich.table import Table
    from rich.text import Text

    from streams.admitted import every_step

    out = terminal.out()
    steps = list(every_step(data.plan.roots))
    refused = told.answer == "rejected"
    verdict = ("would be rejected", "red") if refused else ("would be admitted", "green")
    title = Text().append(*verdict).append(f"  {plain(data.name or 'plan')}")
    out.print(title.append(f"  {count(len(steps), 'step')}", style="dim"))
    classes = f"{data.sla_class}, {data.mode}, {data.action_class}"
    facts = [
        ("class", f"{classes}, priority {data.priority}"),
        ("environment", f"{data.environment}: executors of another one refuse it"),
        ("ends after", f"at most {seconds(data.timeout_seconds)}"),
        ("SLA", f"promised within {seconds(data.sla_seconds)}"),
    ]
    if data.approval_level:
        limit = f", within {seconds(told.approval_seconds)}"
        who = f"by {people(data.approval_level)} other than {data.actor}{limit}"
        facts += [("approval", who), ("plan hash", data.plan_hash)]
    if data.unknown_fields:
        facts.append(("not understood", f"{', '.join(data.unknown_fields)}: kept, not used"))
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Text(f"  {name}", style="dim"), Text(plain(value)))
    out.print(grid)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("WAVE", "STEP", "TOOL", "DOMAIN", "AFTER", "ATTEMPTS", "LIMIT", "ONLY IF"):
        table.add_column(column, overflow="fold")
    for row in [*_rows(data.plan.steps, ""), *_rows(data.plan.finally_steps, "finally ")]:
        table.add_row(*row)
    out.print()
    out.print(table)
