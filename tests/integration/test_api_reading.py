"""The API's paths over tables: what they find, whom they tell it, and what they refuse."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from sinks.migrate import migrate
from tests.integration.api_lab import Api, api

#: Of tenant `default`: thirty executions, a minute apart, the last the newest. Every third is in
#: prod with level 1, the others in dev; `half` asked for the first five; every tenth failed, the
#: newest one still runs. Of tenant `other` one with the same names.
EXECUTIONS = """
INSERT INTO execution.executions
    (execution_id, tenant, name, actor, environment, approval_level, status, procedure,
     started_by_kind, started_by, sla_seconds, total_steps, created_at, started_at, completed_at,
     duration_seconds, error_message, plan, updated_at, last_seq)
SELECT ('01a1f7c1-4180-8a94-9234-0000000000' || lpad(to_hex(n), 2, '0'))::uuid,
       CASE WHEN n = 31 THEN 'other' ELSE 'default' END, 'patch <b>web</b>',
       CASE WHEN n <= 5 THEN 'Half' ELSE 'ci' END, CASE WHEN n % 3 = 0 THEN 'prod' ELSE 'dev' END,
       CASE WHEN n % 3 = 0 THEN 1 ELSE 0 END,
       (CASE WHEN n = 30 THEN 'running' WHEN n % 10 = 0 THEN 'failed' ELSE 'completed'
        END)::execution.execution_status,
       CASE WHEN n % 3 = 0 THEN 'restart-web' END, CASE WHEN n % 9 = 0 THEN 'schedule' END,
       CASE WHEN n % 9 = 0 THEN 'nightly' END, 10, 2, t, t + interval '1 second',
       CASE WHEN n <> 30 THEN t + n * interval '1 second' END, CASE WHEN n <> 30 THEN n - 1 END,
       CASE WHEN n % 10 = 0 THEN 'web-07: no route to host' END,
       '{"name": "patch", "steps": []}', t, 3
FROM generate_series(1, 31) AS n,
     LATERAL (SELECT now() - (32 - n) * interval '1 minute' AS t) AS at;
INSERT INTO execution.execution_steps
    (execution_id, step, tenant, step_index, parent, tool, target, status, percent, depends_on,
     updated_at, last_seq)
SELECT execution_id, s.name, tenant, s.number, s.parent, 'df', 'web-01',
       (CASE WHEN e.completed_at IS NULL AND s.number = 1 THEN 'running' ELSE 'succeeded'
        END)::execution.step_status, CASE WHEN s.number = 1 THEN 40 ELSE 100 END, '["a"]', now(), 2
FROM execution.executions AS e,
     (VALUES ('a', 0, NULL), ('b', 1, NULL), ('b[2]', 1, 'b'), ('b[10]', 1, 'b'))
     AS s (name, number, parent);
INSERT INTO execution.attempts
    (execution_id, step, attempt, tenant, tool, status, dispatched_at, started_at, completed_at,
     duration_seconds, stdout, last_seq)
SELECT execution_id, 'a', a, tenant, 'df',
       (CASE WHEN a = 1 THEN 'failed' ELSE 'succeeded' END)::execution.step_status,
       created_at, started_at, created_at + interval '3 seconds', 2,
       '{"bytes": 3, "sha256": "x", "head": "abc", "tail": ""}', 2
FROM execution.executions, generate_series(1, 2) AS a;
INSERT INTO execution.execution_events (event_id, execution_id, seq, event_type, at, tenant, data)
SELECT execution_id || ':' || n, execution_id, n, 'execution.queued', created_at, tenant, '{}'
FROM execution.executions, generate_series(1, 3) AS n;
INSERT INTO execution.output
    (execution_id, step, attempt, stream, chunk, byte_offset, tenant, text, at)
SELECT execution_id, 'a', 2, 'stdout', n, n * 10, tenant, 'äöü-' || n || E'\\n', now()
FROM execution.executions, generate_series(0, 9) AS n;
INSERT INTO execution.execution_dlq
    (topic, partition, "offset", at, error_class, error_message, source_topic, execution_id, key,
     key_bytes, value, value_bytes, headers)
SELECT 'steps.reports.dlq', n % 2, n, now() - n * interval '1 minute', 'invalid', 'no JSON',
       'steps.reports',
       CASE n % 4 WHEN 0 THEN '01a1f7c1-4180-8a94-9234-000000000001'
                  WHEN 1 THEN '01a1f7c1-4180-8a94-9234-00000000001f'
                  WHEN 2 THEN NULL ELSE 'not an id; DROP TABLE' END,
       'k', 1, '\\xff00', 2, '{"a": "b"}'
FROM generate_series(1, 40) AS n;
"""
TOP = "01a1f7c1-4180-8a94-9234-0000000000"
HALF_1, FOREIGN, RUNNING = f"{TOP}01", f"{TOP}1f", f"{TOP}1e"
#: What somebody may try in the place of any text.
HOSTILE = ("'; DROP TABLE x --", "%s %(id)s {0}", "\x00", "\ud800", "a" * 301, "<script>", "\\", "")


@pytest.fixture(scope="module")
def ann(postgres: str) -> Iterator[Api]:
    """On a database that no test of this file changes."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    dsn = psycopg.conninfo.make_conninfo(postgres, dbname=name)
    migrate(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute(EXECUTIONS)
    with api(dsn) as made:
        yield made.as_("ann")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def numbers(found: dict[str, Any]) -> list[int]:
    """The numbers of the executions on a page."""
    return [int(row["execution_id"][-2:], 16) for row in found["executions"]]


def test_filters_pages_counts_and_tags(ann: Api) -> None:
    assert numbers(ann.get("/executions", limit=3)) == [30, 29, 28]
    assert numbers(ann.get("/executions", status=["failed", "running"])) == [30, 20, 10]
    assert numbers(ann.get("/executions", procedure="restart-web", limit=2)) == [30, 27]
    assert numbers(ann.get("/executions", schedule="nightly")) == [27, 18, 9]
    assert numbers(ann.get("/executions", trigger="nightly")) == []
    assert numbers(ann.get("/executions", text='"no route" host', environment="dev")) == [20, 10]
    at = {
        n: row["created_at"]
        for n, row in zip(
            range(30, 0, -1), ann.get("/executions", limit=30)["executions"], strict=True
        )
    }
    assert numbers(ann.get("/executions", until=at[3])) == [2, 1]
    assert numbers(ann.get("/executions", since=at[29])) == [30, 29]
    assert numbers(ann.get("/executions", since="59s", until="1s")) == []
    assert numbers(ann.get("/executions", late="true", limit=500)) == [*range(30, 10, -1)]
    seen: list[int] = []
    after = None
    while after is not None or not seen:
        page = ann.get("/executions", limit=7, **({"after": after} if after else {}))
        seen += numbers(page)
        after = page["next"]
    assert seen == [*range(30, 0, -1)]
    counts = ann.get("/executions/counts", status="failed", since=at[16])
    assert counts["counts"] == {"completed": 13, "failed": 1, "running": 1}
    assert (counts["total"], counts["complete"]) == (15, True)
    first = ann.response("/executions", limit=1)
    again = ann.response("/executions", {"If-None-Match": first.headers["etag"]}, limit=1)
    assert (again.status_code, again.content) == (304, b"")


def test_a_running_one_tells_its_steps(ann: Api) -> None:
    row = ann.get("/executions", limit=1)["executions"][0]
    # `b` became two items: with `a` three steps count, of which one has ended.
    assert row["step_counts"] == {"running": 2, "succeeded": 1}
    assert row["percent"] == 60.0
    detail = ann.get(f"/executions/{RUNNING}")
    assert detail["steps_known"] == 4
    assert detail["times_out_at"] is None
    assert detail["late"] is True  # Its class promises ten seconds.
    steps = ann.get(f"/executions/{RUNNING}/steps")
    assert [step["step"] for step in steps["steps"]] == ["a", "b", "b[2]", "b[10]"]
    page = ann.get(f"/executions/{RUNNING}/steps", limit=3)
    rest = ann.get(f"/executions/{RUNNING}/steps", limit=3, after=page["next"])
    assert [step["step"] for step in rest["steps"]] == ["b[10]"]
    assert (page["total"], rest["total"], rest["next"]) == (4, 4, None)
    step = ann.get(f"/executions/{RUNNING}/steps/b[2]")
    assert (step["parent"], step["attempts"], step["streams"]) == ("b", [], [])
    assert [one["attempt"] for one in ann.get(f"/executions/{HALF_1}/attempts")["attempts"]] == [
        1,
        2,
    ]
    events = ann.get(f"/executions/{HALF_1}/events", after=1, limit=1)
    assert [(one["seq"], one["sentence"]) for one in events["events"]] == [(2, "queued")]
    assert (events["next"], events["last_seq"]) == (2, 3)


def test_output_comes_by_range_and_whole(ann: Api) -> None:
    whole = "".join(f"äöü-{number}\n" for number in range(10)).encode()
    path = f"/executions/{HALF_1}/steps/a/output"
    found = ann.response(path)
    assert (found.status_code, found.content) == (200, whole)
    assert found.headers["content-type"] == "text/plain; charset=utf-8"
    for asked, begin, end in (
        ("bytes=0-0", 0, 1), ("bytes=5-14", 5, 15), ("bytes=85-", 85, 90), ("bytes=-4", 86, 90),
        ("bytes=7-9999", 7, 90), ("bytes=-9999", 0, 90),
    ):  # fmt: skip
        part = ann.response(path, {"Range": asked})
        assert (part.status_code, part.content) == (206, whole[begin:end])
        assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/90"
    assert ann.response(path, offset=9, limit=9).content == whole[9:18]
    beyond = ann.response(path, {"Range": "bytes=90-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */90")
    assert ann.response(path, {"Range": "bytes=9-2"}).content == whole
    assert ann.response(path, stream="stderr").content == b""
    assert ann.response(path, attempt=3).status_code == 404
    text, place = "", 0
    while place < 90:
        piece = ann.get(f"{path}/text", offset=place, limit=5)
        assert piece["offset"] == place
        text, place = text + piece["text"], place + piece["length"]
    assert text.encode() == whole
    assert ann.get(f"{path}/text", offset=1, limit=4)["text"] == "ö"


def test_what_one_may_not_see_is_not_there(ann: Api) -> None:
    half, stranger = ann.as_("half"), ann.as_("ann", tenant="other")
    assert numbers(stranger.get("/executions")) == [31]
    seen = numbers(half.get("/executions", limit=500))
    # Their own, whatever they are; of the others those in dev that need no approval.
    assert seen == [n for n in range(30, 0, -1) if n <= 5 or n % 3]
    assert half.get("/executions/counts")["total"] == len(seen)
    for caller, hidden in ((half, f"{TOP}06"), (half, FOREIGN), (ann, FOREIGN)):
        missing = f"{TOP}ee"
        for rest in (
            "", "/plan", "/steps", "/steps/a", "/attempts", "/events", "/progress",
            "/steps/a/output", "/steps/a/output/text",
        ):  # fmt: skip
            answers = [caller.response(f"/executions/{one}{rest}") for one in (hidden, missing)]
            assert [answer.status_code for answer in answers] == [404, 404], rest
            told = [answer.text.replace(hidden, missing) for answer in answers]
            assert told[0] == told[1]
        assert caller.response(f"/approvals/{hidden}").status_code == 404
    assert half.get("/statistics", since="40m")["executions"]["count"] == len(seen)
    assert stranger.get("/statistics", since="40m")["tools"][0]["count"] == 2


def test_letters_belong_to_the_tenant_of_their_execution(ann: Api) -> None:
    listed = ann.get("/dead-letters", limit=500)["letters"]
    assert len(listed) == 30  # An operator of the cluster sees those of nobody too.
    assert [one["at"] for one in listed] == sorted((one["at"] for one in listed), reverse=True)
    stranger, half = ann.as_("ann", tenant="other"), ann.as_("half")
    assert {one["execution_id"] for one in stranger.get("/dead-letters")["letters"]} == {FOREIGN}
    assert {one["execution_id"] for one in half.get("/dead-letters")["letters"]} == {HALF_1}
    foreign = stranger.get("/dead-letters", limit=1)["letters"][0]
    place = f"/dead-letters/{foreign['topic']}/{foreign['partition']}/{foreign['offset']}"
    letter = stranger.get(place)
    assert letter["value"] == {"encoding": "base64", "text": "/wA=", "bytes": 2, "complete": True}
    assert letter["key"]["text"] == "k"
    assert letter["headers"] == [{"name": "a", "value": "b"}]
    assert ann.response(place).status_code == half.response(place).status_code == 404
    seen: list[tuple[int, int]] = []
    after: str | None = None
    while after is not None or not seen:
        page = ann.get("/dead-letters", limit=7, **({"after": after} if after else {}))
        seen += [(one["partition"], one["offset"]) for one in page["letters"]]
        after = page["next"]
    assert seen == [(one["partition"], one["offset"]) for one in listed]
    counts = ann.get("/dead-letters/counts", since="1h", spans=2)
    assert counts["total"] == sum(counts["groups"][0]["series"]) == 30
    assert counts["groups"][0]["series"][0] < counts["groups"][0]["series"][1]


def test_figures_are_those_of_the_rows(ann: Api) -> None:
    rows = ann.get("/executions", limit=30)["executions"]
    first, last = rows[-1]["created_at"], rows[0]["created_at"]
    found = ann.get("/statistics", since=first, until=last, points=29)
    every = found["executions"]
    # 29 have ended after 1 to 29 seconds, of which 1 to 10 were in time, and two failed.
    assert (every["count"], every["succeeded"], every["late"]) == (29, 27, 19)
    assert (every["min_seconds"], every["p50_seconds"], every["max_seconds"]) == (1, 15, 29)
    assert every["sla_compliance"] == pytest.approx(10 / 29, abs=1e-4)
    assert found["now"]["active"] == {"running": 1}
    assert [point["ended"] for point in found["series"]] == [1] * 29
    assert found["tools"][0] | {"count": 58, "succeeded": 29} == found["tools"][0]
    named = {one["name"]: one["count"] for one in found["procedures"]}
    assert named == {"restart-web": 9, "patch <b>web</b>": 20}


def test_hostile_questions_are_refused_or_find_nothing(ann: Api) -> None:
    texts = {
        "/executions": ("actor", "procedure", "schedule", "trigger", "asset", "text", "status",
                        "environment", "since", "until", "after", "limit", "late"),
        "/executions/counts": ("actor", "text", "status"),
        f"/executions/{HALF_1}/steps": ("status", "parent", "after", "limit"),
        f"/executions/{HALF_1}/attempts": ("after", "limit"),
        f"/executions/{HALF_1}/events": ("after", "limit"),
        f"/executions/{HALF_1}/steps/a/output": ("attempt", "stream", "offset", "limit"),
        "/approvals": ("after", "limit"),
        "/statistics": ("since", "until", "points"),
        "/dead-letters": ("topic", "error_class", "execution", "since", "after", "limit"),
        "/dead-letters/counts": ("topic", "spans"),
        "/tools": ("domain", "platform", "effect", "text"),
    }  # fmt: skip
    for path, names in texts.items():
        for name in names:
            for hostile in HOSTILE:
                asked: dict[str, Any] = {name: hostile.encode("utf-8", "surrogatepass")}
                found = ann.response(path, **asked)
                assert found.status_code in (200, 422), (path, name, hostile, found.text)
                if found.status_code == 422:
                    assert found.json()["type"] == "urn:runstream:problem:invalid_request"
    for path in ("/executions/{}", "/executions/{}/steps", f"/executions/{HALF_1}/steps/{{}}",
                 "/approvals/{}", "/tools/{}", "/dead-letters/{}/0/0"):  # fmt: skip
        for hostile in ("%00", "..%2f..%2fetc", "'%3b--", "%ff%fe", "a" * 150):
            found = ann.response(path.format(hostile))
            assert found.status_code == 404, (path, hostile, found.text)
    for cursor in ("W10", "bnVsbA", "WyJleGVjdXRpb25zIiwxLDJd", "Wy0xXQ", "é"):
        assert ann.response("/executions", after=cursor).status_code == 422


def test_tools_have_plans_that_can_be_sent(ann: Api) -> None:
    listed = ann.get("/tools", domain="network", effect="read", text="dns")
    assert listed["total"] == len(listed["tools"]) > 0
    tool = ann.get("/tools/DIG")
    assert tool["example_plan"]["steps"][0]["tool"] == "dig"
    assert ann.response("/tools/no-such").status_code == 404
