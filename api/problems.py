"""Problems: every answer that is an error, as `application/problem+json`.

Source: RFC 9457 (Problem Details for HTTP APIs).
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE: Final = "application/problem+json"
_KINDS: Final = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
}
#: Faults of one request that are named.
MAX_ERRORS: Final = 50
#: Characters of what a caller has sent that an answer repeats.
_SHOWN: Final = 300


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="where, as `plan.steps[0].tool`")
    message: str = Field(description="what is wrong and what to do")


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 has it; `type` is the stable class."""

    type: str = Field(description="stable class, as `urn:runstream:problem:not_found`")
    title: str = Field(description="the class as a sentence part")
    status: int
    detail: str = Field(description="what happened and what to do, for a person")
    instance: str | None = Field(default=None, description="the path of the request")
    errors: list[FieldError] = Field(default_factory=list)
    execution_id: str | None = Field(default=None, description="of what was refused, if it has one")


class Problem(Exception):
    """An expected error of a request; raised by routes, answered as a `ProblemDocument`."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        title: str | None = None,
        errors: list[FieldError] | None = None,
        headers: Mapping[str, str] | None = None,
        execution_id: str | None = None,
    ) -> None:
        """`kind` is the stable class, in lower case with underscores."""
        super().__init__(detail)
        self.document = ProblemDocument(
            type=f"urn:runstream:problem:{kind}",
            title=title or kind.replace("_", " "),
            status=status,
            detail=detail,
            errors=(errors or [])[:MAX_ERRORS],
            execution_id=execution_id,
        )
        self.headers = dict(headers or {})


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of these answers of a route."""
    model = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": model}},
        }
        for status in statuses
    }


def unauthorized(detail: str) -> Problem:
    """No token, or one that does not count."""
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


def forbidden(detail: str) -> Problem:
    """The policy does not allow it."""
    return Problem(403, "forbidden", detail)


def not_found(what: str) -> Problem:
    """There is none, or none that the caller may see: the answer is the same."""
    return Problem(404, "not_found", f"there is no {what} that you may see")


def unavailable(what: str, remedy: str) -> Problem:
    """A server behind the API does not answer; the API goes on and tries again by itself."""
    told = f"{what} cannot be reached now: {remedy}, or try again"
    return Problem(503, "unavailable", told, headers={"Retry-After": "2"})


def response(problem: Problem, request: Request) -> JSONResponse:
    """The answer to a request that ended with this problem."""
    document = problem.document.model_copy(update={"instance": request.url.path})
    return JSONResponse(
        document.model_dump(mode="json", exclude_none=True),
        status_code=document.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def _shown(text: str) -> str:
    """A text that may be the caller's, short, and without what UTF-8 cannot hold."""
    return text[:_SHOWN].encode("utf-8", "replace").decode()


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""

    @app.exception_handler(Problem)
    async def expected(request: Request, error: Problem) -> JSONResponse:
        return response(error, request)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> JSONResponse:
        kind = _KINDS.get(error.status_code, "http")
        found = Problem(error.status_code, kind, str(error.detail), headers=error.headers)
        return response(found, request)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            FieldError(
                field=_shown(".".join(str(part) for part in one["loc"])),
                message=_shown(str(one["msg"])),
            )
            for one in error.errors()[:MAX_ERRORS]
        ]
        first = "; ".join(f"{one.field}: {one.message}" for one in errors[:3])
        detail = f"the request is not valid: {first}"
        return response(Problem(422, "invalid_request", detail, errors=errors), request)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        # The guard logs it; what it says is for nobody outside.
        told = "the API failed on this request; its log says why"
        return response(Problem(500, "internal", told), request)
