"""Paths of what plans are made of: tools and procedures."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from api.parts import CurrentParts
from api.problems import not_found
from api.queries import Text
from api.reading import RESPONSES, CurrentReader, CurrentTopics, answer, told
from reading import procedures, tools
from reading.models.procedures import ProcedureDetail, ProcedureList
from reading.models.tools import ToolDetail, ToolList
from toolmeta.effects import Effect

router: Final = APIRouter(tags=["catalogue"], responses=RESPONSES)

Name = Annotated[str, Path(max_length=200)]


@router.get("/tools", response_model=ToolList, summary="List the tools")
def list_tools(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    domain: Text | None = None,
    platform: Text | None = None,
    effect: Effect | None = None,
    text: Annotated[Text | None, Query(description="words of name or description")] = None,
) -> Response:
    """By name; the operator's own tools too."""
    found = tools.listing(parts.tools, domain=domain, platform=platform, effect=effect, words=text)
    return answer(request, found)


@router.get("/tools/{name}", response_model=ToolDetail, summary="One tool")
def show_tool(request: Request, parts: CurrentParts, reader: CurrentReader, name: Name) -> Response:
    """With its parameters, its risk, and a plan that can be sent; any spelling of its name."""
    found = tools.one(parts.tools, name)
    if found is None:
        raise not_found("tool")
    return answer(request, found)


@router.get("/procedures", response_model=ProcedureList, summary="List the procedures")
def list_procedures(request: Request, reader: CurrentReader, topics: CurrentTopics) -> Response:
    """Of the caller's tenant, as they were applied last."""
    with told():
        found = procedures.of_tenant(topics.procedures.read().items, reader.tenant)
    return answer(request, procedures.listing(found.values()))


@router.get("/procedures/{name}", response_model=ProcedureDetail, summary="One procedure")
def show_procedure(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    topics: CurrentTopics,
    name: Name,
) -> Response:
    """With its plan, its inputs as JSON Schema, and which versions of it were run."""
    with told():
        found = procedures.of_tenant(topics.procedures.read().items, reader.tenant).get(name)
    if found is None:
        raise not_found("procedure")
    with parts.database.connection() as connection:
        return answer(request, procedures.detail(connection, reader, found))
