"""The application: its paths, its errors, and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fastapi import APIRouter, FastAPI

from api import database, problems
from api.document import describe
from api.parts import Parts
from api.routes import (
    approvals,
    catalogue,
    control,
    dead_letters,
    executions,
    hooks,
    live,
    redriving,
    starter_control,
    starters,
    statistics,
    steps,
    submission,
    system,
)

#: Every router of the API, with all paths below /v1.
ROUTERS: Final[tuple[APIRouter, ...]] = (
    submission.router,
    control.router,
    redriving.router,
    executions.router,
    live.router,
    steps.router,
    approvals.router,
    statistics.router,
    dead_letters.router,
    catalogue.router,
    starters.router,
    starter_control.router,
    system.router,
    hooks.router,
)


def create(parts: Parts | None, pages: Iterable[APIRouter] = ()) -> FastAPI:
    """The application on these parts, with the routers of the console beside those of the API.

    Without parts only its OpenAPI document is of use.
    """
    app = FastAPI(
        title="Runstream",
        # Of the paths, which have it too; whatever the release of the software.
        version="1.0.0",
        description="Executions, their events and output, and everything that steers them.",
        openapi_url="/v1/openapi.json",
        # The page of it would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    problems.install(app)
    database.install(app)
    for router in ROUTERS:
        app.include_router(router, prefix="/v1")
    for router in pages:
        app.include_router(router, include_in_schema=False)

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    # FastAPI's own way to another document.
    app.openapi = document  # type: ignore[method-assign]
    return app
