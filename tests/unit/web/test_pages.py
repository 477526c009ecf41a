"""Answers of the pages without a browser: strangers, errors, headers, fragments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from api import problems
from tests.browser.believable import Believable, execution_id
from tests.browser.serving import served
from tests.browser.shown import application
from web.pages import ROUTERS
from web.sources.executions import find_executions


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        served(application(Believable(120))) as url,
        httpx.Client(base_url=url, timeout=60) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def stranger() -> Iterator[httpx.Client]:
    app = FastAPI()
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.state.parts = None
    with served(app) as url, httpx.Client(base_url=url, timeout=60) as made:
        yield made


def test_who_is_not_signed_in_is_led_to_the_login_and_back(stranger: httpx.Client) -> None:
    answer = stranger.get("/executions?status=failed&text=a%26b")
    assert answer.status_code == 303
    assert (
        answer.headers["location"] == "/login?next=%2Fexecutions%3Fstatus%3Dfailed%26text%3Da%2526b"
    )
    assert "no-store" in answer.headers["cache-control"]
    part = stranger.get("/executions", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (204, "/login?next=%2Fexecutions")
    posted = stranger.post(f"/executions/{execution_id(0)}/do/cancel")
    assert posted.headers["location"] == "/login"


def test_every_page_forbids_what_is_not_its_own(client: httpx.Client) -> None:
    headers = client.get("/executions").headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    # Without it browsers send `Origin: null` with a form, and the API refuses that.
    assert headers["referrer-policy"] == "same-origin"


def test_what_is_not_there_is_a_page_that_says_so(client: httpx.Client) -> None:
    answer = client.get("/executions/nope")
    assert answer.status_code == 404
    assert "there is no execution that you may see" in answer.text
    assert client.get(f"/executions/{execution_id(0)}?tab=nonsense").status_code == 422
    assert client.get(f"/executions/{execution_id(0)}/do/explode").status_code == 422


def test_a_database_that_is_away_is_said_with_what_to_do() -> None:
    class Away(Believable):
        def page(self, *_: Any) -> Any:
            raise psycopg.OperationalError("connection refused: password=hunter2")

    app = application()
    app.dependency_overrides[find_executions] = Away
    with served(app) as url:
        answer = httpx.get(f"{url}/executions", timeout=60)
    assert answer.status_code == 503
    assert "Postgres does not answer" in answer.text and "hunter2" not in answer.text


def test_rows_are_sent_alone_and_only_those_asked_for(client: httpx.Client) -> None:
    wanted = [execution_id(0), execution_id(7), "'; DROP TABLE x"]
    answer = client.get("/executions/rows", params={"id": wanted})
    assert answer.text.count("<tr ") == 2 and "<html" not in answer.text
    many = client.get("/executions/rows", params={"id": ["x"] * 51})
    assert many.status_code == 422


def test_a_long_plan_is_shown_in_pages(client: httpx.Client) -> None:
    large = f"/executions/{execution_id(2)}"
    first = client.get(large)
    assert first.text.count("data-row") == 500 and "500 of 5\u2009000 steps" in first.text
    assert "after=500" in first.text
    last = client.get(f"{large}?tab=timeline&after=4500")
    assert last.text.count("data-row") == 500 and "after=5000" not in last.text
    assert "Too many steps to draw" in client.get(f"{large}?tab=graph").text


def test_the_theme_is_kept_in_a_cookie_and_only_a_known_one(client: httpx.Client) -> None:
    answer = client.post("/theme", data={"theme": "dark", "next": "//evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/executions")
    assert "runstream-theme=dark" in answer.headers["set-cookie"]
    assert "set-cookie" not in client.post("/theme", data={"theme": '"><script>'}).headers
    assert (
        'data-theme="system"'
        in client.get("/executions", headers={"Cookie": 'runstream-theme="><script>'}).text
    )
