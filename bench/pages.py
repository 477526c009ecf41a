"""`python -m bench.pages`: how long the console's two main pages take until something is seen.

Fills a database of its own with 10,000 executions and one of 5,000 steps, serves the pages over it,
and opens each in the Chromium of the system: the median of five, the first one left out.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvicorn
from fastapi import FastAPI, Request, Response
from playwright.sync_api import Browser, Page, sync_playwright
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from api import problems
from api.caller import Caller
from api.rights import Rights
from authority.identity import Identity
from authority.policy_file import parse
from bench import lists
from devstack.postgres import PostgresServer
from reading.reader import Reader
from sinks.migrate import migrate
from toolmeta import registry
from web.pages import ROUTERS
from web.sources.executions import find_executions
from web.sources.tables import Tables

EXECUTIONS = 10_000
STEPS = 5_000
ROUNDS = 6
CHROMIUM = "/usr/bin/chromium"
TENANT = "tenant-7"
_POLICY = """
version: 1
rules:
  - {id: all, effect: allow, actors: ["*"], controls: ["*"]}
"""
#: One of the executions gets many steps; all are of one tenant.
_LARGE = """
INSERT INTO execution.execution_steps
    (execution_id, step, tenant, step_index, tool, domain, target, status, attempt, depends_on,
     started_at, completed_at, duration_seconds, updated_at, last_seq)
SELECT %(id)s::uuid, 'step-' || n, %(tenant)s, n, 'df', 'automation', 'host-' || n %% 50,
       'succeeded', 1, CASE WHEN n = 0 THEN '[]' ELSE to_jsonb(ARRAY['step-' || n - 1]) END,
       now() - interval '1 hour' + n * interval '100 ms',
       now() - interval '1 hour' + (n + 1) * interval '100 ms', 0.1, now(), 3
FROM generate_series(0, %(steps)s - 1) AS n
"""
_PAINTED = """
() => new Promise((done) => {
  const look = () => {
    const found = performance.getEntriesByName('first-contentful-paint')[0];
    if (found) done(found.startTime); else setTimeout(look, 10);
  };
  look();
})
"""


def main() -> int:
    """Fill, measure, print; 0 whatever the figures are."""
    with tempfile.TemporaryDirectory(prefix="runstream-pages-") as folder:
        server = PostgresServer(Path(folder) / "postgres")
        server.start()
        try:
            large = fill(server.dsn)
            with served(server.dsn) as url, sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"]
                )
                for name, path in (
                    (f"the list, {EXECUTIONS:,} executions", "/executions"),
                    ("the list, failed ones", "/executions?status=failed"),
                    (f"an execution, {STEPS:,} steps", f"/executions/{large}"),
                    ("its steps", f"/executions/{large}?tab=steps"),
                ):
                    measure(browser, name, url + path)
                browser.close()
        finally:
            server.stop()
    return 0


def fill(url: str) -> str:
    """The rows; returns the id of the execution with many steps."""
    migrate(url)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        for text in (lists._EXECUTIONS, lists._STEPS, lists._ATTEMPTS):
            given = {"count": EXECUTIONS} if "%(count)s" in text else None
            connection.execute(text, given)
        for table in ("executions", "execution_steps", "attempts"):
            connection.execute(f"UPDATE execution.{table} SET tenant = '{TENANT}'")
        connection.execute("UPDATE execution.executions SET approval_level = 0")
        row = connection.execute(
            "SELECT execution_id::text AS id FROM execution.executions LIMIT 1"
        ).fetchone()
        assert row is not None
        ident: str = row["id"]
        connection.execute("DELETE FROM execution.execution_steps WHERE execution_id = %s", [ident])
        connection.execute(_LARGE, {"id": ident, "tenant": TENANT, "steps": STEPS})
        connection.execute("VACUUM ANALYZE")
        return ident


@contextmanager
def served(dsn: str) -> Iterator[str]:
    """The pages over these tables, for somebody who may read everything."""
    policy = parse(_POLICY, registry.load())
    identity = Identity(TENANT, "ann", "key")
    caller = Caller(identity, Rights(policy, identity), read_only=True)
    visible = caller.rights.visible()
    options: dict[str, Any] = {"row_factory": dict_row, "autocommit": True}
    app = FastAPI(openapi_url=None)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)

    @app.middleware("http")
    async def recognise(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        request.state.caller = caller
        return await answer(request)

    with ConnectionPool[Any](dsn, kwargs=options, min_size=2, max_size=8) as pool:
        reader = Reader(caller.tenant, caller.actor, visible.own, visible.others)
        app.dependency_overrides[find_executions] = lambda: Tables(pool, reader)
        config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)


def measure(browser: Browser, name: str, url: str) -> None:
    """The milliseconds of the server, and until the browser has painted something."""
    with httpx.Client(timeout=60) as client:
        answers = [client.get(url) for _ in range(ROUNDS)]
    assert answers[0].status_code == httpx.codes.OK, answers[0].text
    sent = statistics.median(one.elapsed.total_seconds() for one in answers[1:]) * 1_000
    painted = statistics.median([_paint(browser, url) for _ in range(ROUNDS)][1:])
    size = len(answers[0].content) / 1_000
    print(f"{name:34}  server {sent:5.0f} ms  painted {painted:5.0f} ms  {size:5.0f} KB")


def _paint(browser: Browser, url: str) -> float:
    page: Page = browser.new_page(viewport={"width": 1_440, "height": 900})
    page.goto(url, wait_until="commit")
    found: float = page.evaluate(_PAINTED)
    page.close()
    return found


if __name__ == "__main__":
    raise SystemExit(main())
