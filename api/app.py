"""The application: its paths, its errors, and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, FastAPI

from api import problems
from api.parts import Parts
from api.routes import live

#: Every router of the API, with all paths below /v1.
ROUTERS: Final[tuple[APIRouter, ...]] = (live.router,)


def create(parts: Parts | None, pages: Iterable[APIRouter] = ()) -> FastAPI:
    """The application on these parts, with the routers of the console beside those of the API.

    Without parts only its OpenAPI document is of use.
    """
    app = FastAPI(
        title="Runstream",
        version=version("runstream"),
        description="Executions, their events and output, and everything that steers them.",
        openapi_url="/v1/openapi.json",
        # The page of it would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router, prefix="/v1")
    for router in pages:
        app.include_router(router)
    return app
