"""Routing: what the routes of pages have in common — errors become pages, strangers sign in."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import quote, urlsplit

import psycopg
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

from api.problems import Problem
from web.templating import HEADERS, fragment, page

#: What the heading of an error says, by status.
_TITLES: Final = {
    403: "Not allowed",
    404: "Not found",
    409: "Not now",
    422: "Not understood",
    503: "Not reachable",
}


class PageRoute(APIRoute):
    """A route whose errors are pages; who is not signed in is led to the login."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with what turns problems into pages around it."""
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except Problem as problem:
                if problem.document.status == 401:
                    return to_login(request)
                document = problem.document
                return error_page(request, document.status, document.title, document.detail)
            except RequestValidationError as error:
                first = error.errors()[0]
                field = ".".join(str(part) for part in first["loc"])
                return error_page(request, 422, "invalid request", f"{field}: {first['msg']}")
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                told = "Postgres has no Runstream tables."
                return error_page(request, 503, "no tables", told, "runstream migrate")
            except psycopg.errors.QueryCanceled:
                told = "The question took too long. Narrow it down by a filter."
                return error_page(request, 503, "too slow", told)
            except (psycopg.OperationalError, PoolTimeout):
                told = (
                    "Postgres does not answer. Plans go on without it; see that it runs, and "
                    "load this page again."
                )
                return error_page(request, 503, "the tables cannot be read", told)
            except HTTPException as error:
                return error_page(request, error.status_code, "error", str(error.detail))

        return handler


def router() -> APIRouter:
    """A router for pages: none of them stands in the description of the API."""
    return APIRouter(
        route_class=PageRoute, include_in_schema=False, default_response_class=Response
    )


def error_page(
    request: Request, status: int, heading: str, detail: str, remedy: str | None = None
) -> Response:
    """The page that says what failed and what to do."""
    if request.headers.get("HX-Request") == "true":
        # It is shown where the answer would have been.
        shown = fragment("error_part.html", heading=heading, detail=detail, remedy=remedy)
        shown.status_code = status
        return shown
    return page(
        request,
        "error.html",
        status,
        title=_TITLES.get(status, "It failed"),
        heading=heading.capitalize(),
        detail=detail,
        remedy=remedy,
    )


def to_login(request: Request) -> Response:
    """To the login, and from there back to what was asked for."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = f"/login?next={quote(wanted, safe='')}" if request.method == "GET" else "/login"
    if request.headers.get("HX-Request") == "true":
        # A redirect would put the login into a part of the page.
        return Response(status_code=204, headers={**HEADERS, "HX-Redirect": target})
    return redirect(target)


def redirect(target: str) -> Response:
    """To another page, by GET."""
    return RedirectResponse(target, 303, headers=dict(HEADERS))


def own_path(value: str) -> str:
    """The path of a page of this console; anything else leads to the first one."""
    parts = urlsplit(value)
    strange = parts.scheme or parts.netloc or not value.startswith("/") or value.startswith("//")
    if strange or "\\" in value or any(ord(character) < 32 for character in value):
        return "/executions"
    return value
