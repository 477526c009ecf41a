"""Triggers on real parts: records of a topic, a matcher that is killed, routers, an executor."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from confluent_kafka import Producer

from authority.key_folder import OPERATOR
from console.cli import main
from console.exits import Exit
from streams.topics import PROCEDURES, TRIGGER_COMMANDS, Topic
from tests.brokers import environment
from tests.integration.router_lab import RouterLab, router_lab
from tests.integration.test_procedures import AUTOMATION
from tests.integration.test_router_group import USED

ROOT = Path(__file__).parents[2]
MATCHER = ("-m", "console", "matcher")
AGENT = ("-m", "console", "executor", "--domain", "automation")
Capture = pytest.CaptureFixture[str]


def foreign(name: str, partitions: int) -> Topic:
    return Topic(name, "any", "alerts", ("people",), ("matcher",), partitions=partitions)


ALERTS, MANY = foreign("monitoring.alerts", 1), foreign("monitoring.many", 48)


@pytest.fixture
def lab(
    kafka: str, topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[RouterLab]:
    """A router, an executor, and the command line beside them; no matcher yet."""
    prefix = topics(*USED, *AUTOMATION, PROCEDURES, ALERTS, MANY)
    monkeypatch.chdir(tmp_path)
    with router_lab(kafka, prefix, tmp_path) as made:
        settings = {
            **environment(kafka),
            "RUNSTREAM_TOPIC_PREFIX": prefix,
            "RUNSTREAM_SIGNING_KEY": str(made.keys.folder.private(OPERATOR)),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        made.start("router-1", policy=ROOT / "authority" / "default_policy.yaml")
        made.until(lambda: bool(made.members()), "joined")
        yield made


def alert(fingerprint: str, status: str = "firing", path: str = "/") -> dict[str, Any]:
    labels = {"alertname": "DiskNearlyFull", "mountpoint": path}
    return {"status": status, "fingerprint": fingerprint, "labels": labels}


def send(lab: RouterLab, *alerts: dict[str, Any], topic: Topic = ALERTS) -> None:
    lab.produce(orjson.dumps({"version": "4", "alerts": alerts}), None, topic.name)
    lab.flush()


def use(lab: RouterLab, capsys: Capture, **changes: Any) -> None:
    """Apply the procedure and the trigger of the demo, on the topic of this test."""
    assert main(["procedures", "apply", str(ROOT / "demo" / "procedures"), "--yes"]) == Exit.OK
    change(lab, capsys, **changes)


def change(lab: RouterLab, capsys: Capture, **changes: Any) -> None:
    told = yaml.safe_load((ROOT / "demo" / "triggers" / "disk-alert.yaml").read_text())
    told = {**told, "topic": lab.prefix + ALERTS.name, **changes}
    Path("trigger.json").write_text(json.dumps(told))
    assert main(["triggers", "apply", "trigger.json", "--yes"]) == Exit.OK
    capsys.readouterr()


def shown(capsys: Capture) -> dict[str, Any]:
    assert main(["triggers", "show", "disk-alert", "--json"]) == Exit.OK
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def counted(lab: RouterLab, capsys: Capture, what: str, least: int) -> dict[str, Any]:
    """The trigger once it has counted so many; fails after a minute."""
    found: dict[str, Any] = {}

    def enough() -> bool:
        found.update(shown(capsys))
        return int(found["counts"].get(what, 0)) >= least

    lab.until(enough, f"{least} {what}")
    return found


def started(lab: RouterLab) -> list[dict[str, Any]]:
    """What was accepted, in any order."""
    events = [event for log in lab.log.events.values() for event in log]
    return [one["data"] for one in events if one["type"] == "execution.accepted"]


@pytest.mark.timeout(300)
def test_an_alert_starts_a_procedure_once_though_it_is_repeated_and_the_matcher_dies(
    lab: RouterLab, capsys: Capture
) -> None:
    lab.start("agent", AGENT, environment="dev")
    use(lab, capsys)
    # Right after the apply, and before any matcher is there.
    send(lab, alert("full"), alert("fine", "resolved"))
    lab.start("matcher-1", MATCHER)
    lab.until(lambda: any(map(lab.log.ends, list(lab.log.events))), "the first one has ended")
    (ident,) = lab.log.events
    events = lab.log.events[ident]
    first = events[0]["data"]
    topic = lab.prefix + ALERTS.name
    assert lab.log.ends(ident) == ["execution.completed"]
    assert (first["started_by"]["kind"], first["started_by"]["name"]) == ("trigger", "disk-alert")
    assert first["started_by"]["cause"] == f"{topic}/0/0/0"
    assert first["actor"] == "ops"
    assert first["procedure"]["name"] == "disk-check"
    assert first["plan"]["steps"][0]["parameters"] == {"path": "/"}
    succeeded = [one for one in events if one["type"] == "step.succeeded"]
    assert succeeded[0]["data"]["output"]["use_percent"] >= 0
    # Killed with the repetition on its way: found again or not, it starts nothing.
    send(lab, alert("full"))
    lab.signal("matcher-1", signal.SIGKILL)
    lab.processes["matcher-1"].wait()
    send(lab, alert("full"), alert("other", path="/tmp"))
    lab.start("matcher-1", MATCHER)
    lab.until(lambda: len(started(lab)) == 2, "the other alert")
    counts = counted(lab, capsys, "repeated", 2)["counts"]
    assert counts["started"] == 2
    # Bytes that nobody can use are counted, shown, and stop nothing.
    for raw in (
        b"not json",
        b"[" * 900 + b"]" * 900,
        b'{"alerts": "\x00"}',
        b'{"x":"%s"}' % (b"y" * 900_000),
    ):
        lab.produce(raw, None, ALERTS.name)
    send(lab, alert("third"))
    lab.until(lambda: len(started(lab)) == 3, "an alert after what nobody can use")
    told = counted(lab, capsys, "failed", 4)
    assert told["counts"]["failed"] == 4
    assert told["last_error"]["field"] in ("message", "for_each")
    # What comes during a pause is not made up for.
    assert main(["triggers", "pause", "disk-alert", "--reason", "night"]) == Exit.OK
    send(lab, alert("paused"))
    assert main(["triggers", "resume", "disk-alert"]) == Exit.OK
    send(lab, alert("fourth"))
    lab.until(lambda: len(started(lab)) == 4, "an alert after the pause")
    # A changed trigger finds what is written after it; nothing of before comes again.
    change(lab, capsys, inputs={"path": "{{ item.labels.mountpoint }}", "limit": 91})
    send(lab, alert("fifth"))
    lab.until(lambda: len(started(lab)) == 5, "an alert after the change")
    # Removed, and applied again: the old records do not count, the same alert does.
    assert main(["triggers", "remove", "disk-alert", "--yes"]) == Exit.OK
    assert main(["triggers", "pause", "disk-alert"]) == Exit.REJECTED
    assert "there is no trigger 'disk-alert'" in capsys.readouterr().err
    send(lab, alert("gone"))
    change(lab, capsys)
    send(lab, alert("full"))
    lab.until(lambda: len(started(lab)) == 6, "an alert after it was applied again")
    causes = [one["started_by"]["cause"] for one in started(lab)]
    assert len(set(causes)) == 6
    assert counted(lab, capsys, "started", 1)["counts"]["started"] == 1


def matched(lab: RouterLab, offset: int) -> bytes:
    """What a matcher would say, of records that are not there."""
    told = {"type": "matched", "tenant": "default", "name": "disk-alert", "definition": "d",
            "topic": "a", "partition": 0, "offset": offset,
            "at": datetime.now(UTC).isoformat(), "inputs": {"path": "/"}}  # fmt: skip
    return orjson.dumps(told)


@pytest.mark.timeout(300)
def test_a_storm_while_the_router_is_down_and_matchers_come_and_go(
    lab: RouterLab, capsys: Capture
) -> None:
    topic = lab.prefix + MANY.name
    use(lab, capsys, topic=topic, limit={"starts": 20, "per_seconds": 3600})
    lab.start("matcher-1", MATCHER)
    lab.start("matcher-2", MATCHER, group_protocol="classic")
    send(lab, alert("before"), topic=MANY)
    lab.until(lambda: len(started(lab)) == 1, "the first")
    # Forged matches: by nobody, by an operator, by the router's key.
    key = b"default/disk-alert"
    forger = Producer({**lab.stack.client_options, "partitioner": "murmur2_random"})
    for number, role in enumerate((None, OPERATOR, "router")):
        value = matched(lab, number)
        signed: Any = [] if role is None else [lab.keys.header(role, TRIGGER_COMMANDS, value)]
        forger.produce(lab.prefix + TRIGGER_COMMANDS.name, value, key, headers=signed)
    assert forger.flush(30) == 0
    letters = lab.dead_letters(TRIGGER_COMMANDS, 3)
    assert {one[1]["runstream-error-class"] for one in letters} == {"not_authentic"}
    # A storm of 2,000 records, each other, with the router away; a matcher dies within it.
    lab.signal("router-1", signal.SIGKILL)
    lab.processes["router-1"].wait()
    for number in range(1_000):
        lab.produce(
            orjson.dumps({"alerts": [alert(f"{number}-{one}") for one in range(2)]}),
            str(number).encode(),
            MANY.name,
        )
    lab.flush()
    lab.signal("matcher-1", signal.SIGKILL)
    lab.processes["matcher-1"].wait()
    lab.start("router-1", policy=ROOT / "authority" / "default_policy.yaml")
    told = counted(lab, capsys, "limited", 1_981)
    assert told["counts"]["started"] == 20
    assert told["counts"]["limited"] == 1_981
    lab.until(lambda: len(started(lab)) == 20, "as many as the limit allows")
    history = told["history"]
    assert history[0]["what"] == "limited"
    assert sum(one["count"] for one in history if one["what"] == "limited") == 1_981
