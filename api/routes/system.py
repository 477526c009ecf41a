"""Paths of the system itself: locks, executors and health."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import psycopg
from fastapi import APIRouter, Request
from fastapi.responses import Response
from psycopg_pool import PoolTimeout, TooManyRequests

from api.parts import CurrentParts
from api.problems import Problem
from api.reading import RESPONSES, CurrentReader, CurrentTopics, answer, told
from reading import executors, health, locks
from reading.models.executors import ExecutorList
from reading.models.health import SystemHealth
from reading.models.locks import LockList

router: Final = APIRouter(tags=["system"], responses=RESPONSES)

_BROKEN: Final = (psycopg.Error, PoolTimeout, TooManyRequests)


@router.get("/locks", response_model=LockList, summary="Who holds which asset, and who waits")
def list_locks(
    request: Request, parts: CurrentParts, reader: CurrentReader, topics: CurrentTopics
) -> Response:
    """Of the caller's tenant; executions that the caller may not see have no name."""
    with told():
        read = topics.locks.read()
    try:
        found = locks.locked(read.items, reader.tenant)
    except (KeyError, TypeError, ValueError):
        told_ = "the records of the locks are of another version: upgrade this process too"
        raise Problem(503, "unavailable", told_) from None
    with parts.database.connection() as connection:
        return answer(request, locks.locks(connection, reader, found, read.as_of))


@router.get("/executors", response_model=ExecutorList, summary="Who serves which steps")
def list_executors(
    request: Request, parts: CurrentParts, reader: CurrentReader, topics: CurrentTopics
) -> Response:
    """Executors serve every tenant; attempts are counted of the caller's only."""
    with parts.database.connection() as connection:
        found = executors.executors(connection, reader, topics.cluster, parts.settings)
    return answer(request, found)


@router.get("/health", response_model=SystemHealth, summary="Whether the parts answer")
def show_health(
    request: Request, parts: CurrentParts, reader: CurrentReader, topics: CurrentTopics
) -> Response:
    """Always 200: what is wrong stands in it. For probes of this process use its health port."""
    found = health.health(
        parts.database.connection, _BROKEN, reader, topics.cluster, parts.settings,
        version("runstream"),
    )  # fmt: skip
    return answer(request, found)
