"""Traces at a real Jaeger: one connected tree per execution, whatever is killed meanwhile."""

from __future__ import annotations

import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import orjson
import psycopg
import pytest

from sinks.migrate import migrate
from streams.topics import Topic
from streams.trace_context import new_trace
from tests.integration.router_lab import EXECUTOR, RouterLab, router_lab
from tests.integration.trace_lab import Jaeger, Seen, tree
from tests.tools.jaegers import jaeger_server

pytestmark = pytest.mark.timeout(300)

SINK = ("-m", "console", "sink")
POLICY = Path(__file__).parents[1] / "policy.yaml"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PRODUCER = "00f067aa0ba902b7"
QUIET = "5bf92f3577b34da6a3ce929d0e0e4736"
PASSWORD = "hunter2-" + "x" * 8
#: None of these is a trace context, and none may be an error.
HOSTILE: list[tuple[str, bytes]] = [
    ("traceparent", b"\xff\xfe"),
    ("traceparent", f"00-{TRACE}-{PRODUCER}-01".encode()),
    ("traceparent", b"00-" + b"a" * 200_000),
    ("tracestate", b"\xc3\x28" * 5_000),
    ("baggage", b"key=" + b"v" * 100_000),
    ("baggage", b"\x00"),
]


@pytest.fixture
def jaeger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> Iterator[Jaeger]:
    """A Jaeger, and the settings of processes that report to it."""
    name = f"t{uuid.uuid4().hex[:10]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    dsn = urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))
    migrate(dsn)
    with jaeger_server(tmp_path / "jaeger.log") as (asked, told):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", told)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret-of-the-receiver")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("DATABASE_URL", dsn)
        yield Jaeger(asked)


@pytest.fixture
def lab(
    kafka: str, topics: Callable[..., str], tmp_path: Path, jaeger: Jaeger
) -> Iterator[RouterLab]:
    with router_lab(kafka, topics(*_topics()), tmp_path) as made:
        yield made


def _topics() -> tuple[Topic, ...]:
    from streams.topics import all_topics

    return tuple(all_topics())


def _start(lab: RouterLab, number: int, *kinds: str) -> None:
    arguments = {"executor": EXECUTOR, "sink": SINK}
    for kind in kinds:
        name = f"{kind}-{number}"
        if kind == "router":
            lab.start(name, policy=POLICY)
        else:
            lab.start(name, arguments[kind])


def _submit(
    lab: RouterLab, steps: list[dict[str, object]], headers: list[tuple[str, bytes]]
) -> str:
    """Submit a plan; returns its execution id."""
    key = uuid.uuid4().hex
    request = {"idempotency_key": key, "plan": {"name": "traced", "steps": steps}}
    lab.produce(orjson.dumps(request), headers=headers)
    lab.flush()
    lab.until(lambda: key in lab.ids_of({key}), "the plan is accepted")
    return lab.ids_of({key})[key]


def _of(jaeger: Jaeger, service: str) -> list[Seen]:
    return [span for span in jaeger.trace(TRACE) if span.service == service]


def _only(found: list[Seen], name: str) -> Seen:
    (one,) = [span for span in found if span.name == name]
    return one


def test_one_tree_from_the_producer_to_the_sink(lab: RouterLab, jaeger: Jaeger) -> None:
    """Executor, router and sink are killed while a step runs; a retry comes before that."""
    _start(lab, 1, "router", "executor", "sink")
    given = ("traceparent", f"00-{TRACE}-{PRODUCER}-01".encode())
    failing = {
        "times": 1, "error_class": "connection_lost", "message": f"password={PASSWORD}"
    }  # fmt: skip
    execution = _submit(
        lab,
        [
            {"id": "echo", "tool": "argv", "parameters": {"argv": ["true"]}},
            {
                "id": "retried", "tool": "fail", "parameters": failing,
                "retry": {"max_attempts": 2, "backoff_seconds": 0.1},
            },
            {"id": "lost", "tool": "sleep", "parameters": {"seconds": 6}},
        ],
        [given],
    )  # fmt: skip

    def has(kind: str, step: str) -> bool:
        return any(
            (event["type"], event.get("step")) == (kind, step)
            for event in lab.log.events[execution]
        )

    steps, requests = f"{lab.prefix}steps.test", f"{lab.prefix}execution.requests"
    events = f"{lab.prefix}execution.events"
    lab.until(lambda: has("step.started", "lost"), "the last step runs")
    # What an executor has not sent yet goes with it; here it is about what it had not ended.
    lab.until(lambda: len(_of(jaeger, "runstream-executor")) == 4, "the others were sent")
    for name in ("executor-1", "router-1", "sink-1"):
        lab.signal(name, signal.SIGKILL)
    _start(lab, 2, "router", "executor", "sink")
    lab.until(lambda: bool(lab.log.ends(execution)), "the plan ends", 120)
    assert lab.log.ends(execution) == ["execution.completed"]

    found = jaeger.wait(TRACE, {"execution", f"store {events}"}, 14)
    below = tree(found)
    (root,) = below[""]
    assert (root.name, root.parent, root.service) == ("execution", PRODUCER, "runstream-router")
    assert root.tags["runstream.execution.id"] == execution
    assert "error" not in root.tags
    # The whole of it lies within the execution, but what is stored after its end.
    inside = [span for span in found if not span.name.startswith("store ")]
    assert min(span.start_us for span in inside) >= root.start_us - 2_000_000
    assert max(span.end_us for span in inside) <= root.end_us + 1_000_000

    names = Counter(span.name for span in below[root.ident])
    sent = f"send {steps}"
    assert names == {f"process {requests}": 1, f"store {events}": 1, sent: 5}
    admitted = _only(below[root.ident], f"process {requests}")
    assert admitted.kind == "consumer"
    assert admitted.tags["messaging.system"] == "kafka"
    assert admitted.tags["messaging.operation.type"] == "process"
    assert admitted.tags["messaging.destination.partition.id"].isdigit()
    assert isinstance(admitted.tags["messaging.kafka.offset"], int)
    assert admitted.tags["messaging.consumer.group.name"] == f"{lab.prefix}runstream-router"

    attempts = {
        (span.tags["runstream.step"], span.tags["runstream.attempt"]): span
        for span in below[root.ident]
        if span.name == sent
    }
    assert sorted(attempts) == [
        ("echo", 1), ("lost", 1), ("lost", 2), ("retried", 1), ("retried", 2)
    ]  # fmt: skip
    assert {span.kind for span in attempts.values()} == {"producer"}
    done = {place: below.get(span.ident, []) for place, span in attempts.items()}
    # Of the attempt whose executor was killed there is what the router knows, and no more.
    assert [span.name for span in done["lost", 1]] == ["step.lost"]
    assert done["lost", 1][0].tags["error.type"] == "lost"
    for place in [("echo", 1), ("retried", 1), ("retried", 2), ("lost", 2)]:
        (run,) = done[place]
        assert run.name == f"process {steps}"
        assert (run.kind, run.service) == ("consumer", "runstream-executor")
        assert run.tags["messaging.message.id"] == f"{execution}:{place[0]}:{place[1]}"
    (failed,) = done["retried", 1]
    assert failed.tags["error.type"] == "connection_lost"
    assert failed.tags["otel.status_code"] == "ERROR"
    assert PASSWORD not in jaeger.raw(TRACE)
    (echo,) = done["echo", 1]
    (program,) = below[echo.ident]
    assert (program.name, program.kind) == ("program", "client")
    assert program.tags["process.executable.name"] == "true"
    assert echo.start_us <= program.start_us <= program.end_us <= echo.end_us

    # What serves many has a trace of its own, and links to those that it serves.
    stored = _only(below[root.ident], f"store {events}")
    batches = jaeger.of_service("runstream-sink", f"process {events}")
    assert any((TRACE, root.ident) in batch.links for batch in batches)
    assert stored.links
    claims = jaeger.of_service("runstream-executor", f"receive {steps}")
    linked = {link for claim in claims for link in claim.links}
    assert {(TRACE, span.ident) for span in attempts.values()} <= linked | {
        # The claim of the attempt that was lost may have gone with its executor.
        (TRACE, attempts["lost", 1].ident)
    }
    lines = (lab.folder / "executor-1.log").read_text()
    assert f'"trace_id": "{TRACE}", "span_id": "{failed.ident}"' in lines
    assert "secret-of-the-receiver" not in "".join(lab.tails().values())


def test_hostile_headers_are_no_context_and_no_error(lab: RouterLab, jaeger: Jaeger) -> None:
    _start(lab, 1, "router", "executor", "sink")
    steps: list[dict[str, object]] = [{"tool": "noop"}]
    plain = _submit(lab, steps, HOSTILE)
    quiet = _submit(lab, steps, [("traceparent", f"00-{QUIET}-{PRODUCER}-00".encode())])
    lab.until(lambda: all(lab.log.ends(one) for one in (plain, quiet)), "both end")
    below = tree(jaeger.wait(new_trace(plain), {"execution"}))
    assert below[""][0].parent is None
    # Not recorded by the producer's word, and neither is the trace that the hostile one named.
    assert jaeger.trace(QUIET) == [] and jaeger.trace(TRACE) == []
