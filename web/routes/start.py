"""Start: a procedure by its inputs, or a plan that is pasted; what would become of it, and run."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any, Final, Literal

from fastapi import Form, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from api.caller import CurrentCaller
from api.problems import Problem, not_found
from runtime import plan_documents
from streams.explained import Explained
from streams.problems import Problem as PlanProblem
from streams.procedures import digest_of
from web.routing import redirect, router
from web.sources.start import CurrentProcedures, CurrentRequests, Requests
from web.sources.system import CurrentTools
from web.templating import page
from web.views import start as views
from web.views.inputs import PREFIX, values

start = router()

#: Fields that a form may have: the inputs of a procedure are at most 100.
_MAX_FIELDS: Final = 200
_Action = Literal["check", "run"]
#: YAML is read much more slowly than JSON, and everybody waits for this process: not more of it,
#: and one text at a time.
MAX_YAML: Final = 128 * 1024
_READING: Final = asyncio.Semaphore(1)


@start.get("/start")
def choose(
    request: Request,
    caller: CurrentCaller,
    source: CurrentProcedures,
    text: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The procedures that can be started."""
    found = views.procedures(source.every(), text.strip())
    return page(request, "start.html", list=found)


@start.get("/start/plan")
def paste(
    request: Request,
    caller: CurrentCaller,
    tools: CurrentTools,
    tool: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Where a plan is pasted; with a tool, its example stands there."""
    found = tools.one(tool) if tool else None
    text = views.EXAMPLE_PLAN if found is None else views.example_text(found.example_plan)
    form = views.PlanForm(text, _key(), None, None, None)
    return page(request, "start_plan.html", form=form)


@start.post("/start/plan")
async def take_plan(
    request: Request,
    caller: CurrentCaller,
    requests: CurrentRequests,
    plan: Annotated[str, Form()],
    key: Annotated[str, Form(max_length=100)],
    action: Annotated[_Action, Form()],
) -> Response:
    """Say what would become of the plan, or run it."""
    try:
        async with _READING:
            document = await run_in_threadpool(_document, plan)
    except ValueError as error:
        form = views.PlanForm(plan, key, str(error), None, None)
        return page(request, "start_plan.html", 422, form=form)
    answer = await _asked(requests, document, key, action)
    if isinstance(answer, str):
        return redirect(f"/executions/{answer}")
    explained, trouble = answer
    shown = None if explained is None else views.preview(explained)
    form = views.PlanForm(plan, key, None, shown, trouble)
    return page(request, "start_plan.html", 200 if trouble is None else 422, form=form)


@start.get("/start/{name}")
def fill(request: Request, name: str, caller: CurrentCaller, source: CurrentProcedures) -> Response:
    """The form of a procedure."""
    found = source.one(name)
    if found is None:
        raise not_found("procedure")
    form = views.procedure_form(found, _key(), {}, {})
    return page(request, "start_procedure.html", form=form)


@start.post("/start/{name}")
async def take_inputs(
    request: Request,
    name: str,
    caller: CurrentCaller,
    source: CurrentProcedures,
    requests: CurrentRequests,
) -> Response:
    """Say what would become of the procedure with these inputs, or run it."""
    found = await run_in_threadpool(source.one, name)
    if found is None:
        raise not_found("procedure")
    async with request.form(max_fields=_MAX_FIELDS, max_files=0) as sent:
        texts = _texts(sent)
        key, action = str(sent.get("key", ""))[:100] or _key(), str(sent.get("action", "check"))
    given = values(found.input_list, texts)
    if given.wrong:
        form = views.procedure_form(found, key, texts, given.wrong)
        return page(request, "start_procedure.html", 422, form=form)
    document: dict[str, Any] = {
        "procedure": name, "version": found.version, "inputs": given.values
    }  # fmt: skip
    answer = await _asked(requests, document, key, "run" if action == "run" else "check")
    if isinstance(answer, str):
        return redirect(f"/executions/{answer}")
    explained, trouble = answer
    form = views.procedure_form(found, key, texts, {}, explained, trouble)
    return page(request, "start_procedure.html", 200 if trouble is None else 422, form=form)


def _document(text: str) -> dict[str, Any]:
    """The plan in a text; raises ValueError."""
    if len(text) <= MAX_YAML:
        return plan_documents.parse(text)
    try:
        return plan_documents.parse(text, prefer_json=True)
    except ValueError as error:
        limit = f"larger than the {MAX_YAML // 1024} KiB of YAML that are read here"
        raise ValueError(f"{limit}, and as JSON: {error}; send it with runstream run") from None


async def _asked(
    requests: Requests, document: dict[str, Any], key: str, action: _Action
) -> str | tuple[Explained | None, str | None]:
    """The execution that was started; else what would become of it, and what failed."""
    try:
        if action == "run":
            # The same form sent twice starts it once; with other values it is another request.
            return await requests.submit(document, f"{key}-{digest_of(document)[:16]}")
        return await requests.explain(document), None
    except Problem as problem:
        told = problem.document
        if told.status == 401:
            raise
        if not told.errors:
            return None, told.detail
        errors = [PlanProblem(one.field, one.message) for one in told.errors]
        return Explained("rejected", "", message=told.detail, problems=errors), None


def _texts(sent: FormData) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX): value
        for name, value in sent.items()
        if name.startswith(PREFIX) and isinstance(value, str)
    }


def _key() -> str:
    return f"console-{secrets.token_hex(12)}"
