"""`runstream explain`: how the router would admit a plan, without running anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import terminal
from console.exits import Exit
from console.options import Actor, Json, PlanPath
from console.text import count, one_line, people, plain, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.admitted import AdmittedStep
    from streams.payloads import Accepted, Problem


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(explain)


def explain(
    plan: PlanPath,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME")] = None,
    actor: Actor = None,
    environment: Annotated[
        str | None, typer.Option("--environment", metavar="dev|staging|prod")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what the router would make of a plan: order, classes, limits, or every problem.

    Needs neither Kafka nor a database, and runs nothing. Exit code 3 where it would be rejected.
    """
    from console import planfile
    from console.options import login
    from console.request import Options, prepare
    from processors.router import expressions
    from processors.router.admission import admit
    from processors.router.cel_worker import Worker
    from processors.router.decoding import Undecodable
    from processors.router.request_decoder import Invalid, decode_request
    from streams.payloads import Accepted, Problem
    from toolmeta import registry

    document = planfile.load(str(plan))
    prepared = prepare(
        document, Options(tenant, actor, None, environment),
        login=login(), unix_ms=0, random_bits=0,
    )  # fmt: skip
    read = decode_request(prepared.body)
    if isinstance(read, Undecodable):
        found: Accepted | list[Problem] = [Problem("plan", read.message)]
    elif isinstance(read, Invalid):
        found = [Problem(item.field, item.message) for item in read.problems]
    else:
        worker = Worker()
        expressions.evaluate_by(worker)
        try:
            admitted = admit(
                read.request, read.plan_hash, prepared.idempotency_key, registry.load()
            )
        finally:
            worker.close()
        found = (
            admitted
            if isinstance(admitted, Accepted)
            else [Problem(item.field, item.message) for item in admitted]
        )
    if as_json:
        terminal.data(_document(found))
    elif isinstance(found, Accepted):
        _print_admitted(found)
    else:
        from console import outcome

        outcome.problems(found, "")
    raise typer.Exit(Exit.OK if isinstance(found, Accepted) else Exit.REJECTED)


def _document(found: Accepted | list[Problem]) -> dict[str, Any]:
    """What would be in `execution.accepted`, or why there would be none."""
    import orjson

    from streams.admitted import encode_plan

    if isinstance(found, list):
        problems = [{"field": item.field, "message": item.message} for item in found]
        return {"admitted": False, "problems": problems}
    data: dict[str, Any] = orjson.loads(orjson.dumps(found))
    # A submission without a key gets a new one each time.
    del data["idempotency_key"]
    data["plan"] = orjson.loads(encode_plan(found.plan))
    return {"admitted": True, "problems": [], **data}


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


def _print_admitted(data: Accepted) -> None:
    from rich.table import Table
    from rich.text import Text

    out = terminal.out()
    steps = data.plan.steps
    title = Text().append("would be admitted", "green").append(f"  {plain(data.name or 'plan')}")
    out.print(title.append(f"  {count(len(steps), 'step')}", style="dim"))
    classes = f"{data.sla_class}, {data.mode}, {data.action_class}"
    facts = [
        ("class", f"{classes}, priority {data.priority}"),
        ("environment", f"{data.environment}: executors of another one refuse it"),
        ("ends after", f"at most {seconds(data.timeout_seconds)}"),
        ("SLA", f"promised within {seconds(data.sla_seconds)}"),
    ]
    if data.approval_level:
        facts.append(("approval", f"by {people(data.approval_level)} other than {data.actor}"))
    if data.unknown_fields:
        facts.append(("not understood", f"{', '.join(data.unknown_fields)}: kept, not used"))
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Text(f"  {name}", style="dim"), Text(plain(value)))
    out.print(grid)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("WAVE", "STEP", "TOOL", "DOMAIN", "AFTER", "ATTEMPTS", "LIMIT", "ONLY IF"):
        table.add_column(column, overflow="fold")
    for number, group in enumerate(waves(steps), 1):
        for index, step in enumerate(group):
            table.add_row(
                str(number) if index == 0 else "", Text(step.id, style="bold"),
                step.tool + (" for each item" if step.for_each is not None else ""), step.domain,
                Text(", ".join(step.depends_on)), f"up to {step.max_attempts}",
                seconds(step.timeout_seconds), Text(one_line(step.when or "", 60)),
            )  # fmt: skip
    out.print()
    out.print(table)
