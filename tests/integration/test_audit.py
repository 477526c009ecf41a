"""`runstream audit` on a real broker and a real Postgres: what was done to a log is named.

The ends of all logs are signed by a router, as they are in an installation, and its key is known.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import given, settings

from authority.key_files import read_private
from authority.keys import KeyUse, PrivateKey
from authority.signing import RecordSigner
from console import chain_sources
from console.cli import main
from console.exits import Exit
from sinks.records import EventRow, read_event
from streams.chain import canonical, link, with_chain
from streams.envelope import SIGNATURE
from streams.events import encode_event
from streams.ids import route_of
from streams.lifecycle import TERMINAL_EVENTS
from streams.topics import EVENTS
from tests.brokers import environment
from tests.integration.sink_lab import Lab, eventually
from tests.signing import Keyring
from tests.unit.console.chains import chained
from tests.unit.sinks.stories import Story, mixed, troubled
from tests.unit.streams.test_chain import DATA, event

Capture = pytest.CaptureFixture[str]
#: The signature of the chain of an event; None: the event is not signed.
Sign = Callable[[str], bytes | None]


class SignedLogs(Lab):
    """A lab of a sink, with the keys of an installation."""

    def __init__(self, kafka: str, postgres: str, folder: Path) -> None:
        super().__init__(kafka, postgres)
        self.keys = Keyring(folder, kafka, self.prefix)

    def signer(self, key: str | PrivateKey = "router") -> Sign:
        """Signs with a key of the installation, by its name, or with any other."""
        private = read_private(self.keys.folder.private(key)) if isinstance(key, str) else key
        made = RecordSigner(private, time.time)
        made.cluster = self.keys.cluster(EVENTS)
        return lambda chain: made.tokens(EVENTS.name, [chain.encode()])[0]

    def write(self, values: Iterable[bytes], sign: Sign, topic: str = EVENTS.name) -> None:
        """Produce events; the ends of executions are signed."""
        for value in values:
            event = orjson.loads(value)
            token = sign(event["chain"]) if event["type"] in TERMINAL_EVENTS else None
            headers = None if token is None else [(SIGNATURE, token)]
            self.put(topic, value, key=route_of(event["execution_id"]).encode(), headers=headers)
        assert self.producer.flush(30) == 0


@pytest.fixture
def lab(
    kafka: str, postgres: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[SignedLogs]:
    laboratory = SignedLogs(kafka, postgres, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in environment(kafka).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNSTREAM_TOPIC_PREFIX", laboratory.prefix)
    monkeypatch.setenv("DATABASE_URL", laboratory.dsn)
    monkeypatch.setenv("RUNSTREAM_TRUSTED_KEYS", str(laboratory.keys.folder.trusted))
    yield laboratory
    laboratory.close()


def filled(lab: SignedLogs, stories: list[Story]) -> list[Story]:
    """Chained and signed, in the topic and in the tables."""
    for story in stories:
        story.values = chained(story.values)
    lab.write(mixed(stories), lab.signer())
    stored(lab, sum(len(story.values) for story in stories))
    return stories


def stored(lab: Lab, events: int) -> None:
    """The sink has so many events."""
    with lab.sink():
        eventually(lambda: lab.count("execution_events") == events, "all events stored")


def verified(capsys: Capture, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    capsys.readouterr()
    code = main(["audit", "verify", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def named(result: dict[str, Any]) -> set[tuple[str, int, str]]:
    return {(one["execution_id"], one["seq"], one["kind"]) for one in result["findings"]}


@pytest.mark.slow
def test_a_thousand_executions_are_verified_with_progress(
    lab: SignedLogs, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories = filled(lab, [Story(n, steps=1 + n % 3).run() for n in range(1_000)])
    total = sum(len(story.values) for story in stories)
    monkeypatch.setattr(chain_sources, "_PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(chain_sources, "_PAGE", 100)
    code = main(["audit", "verify", "--all", "--json"])
    said = capsys.readouterr()
    assert code == Exit.OK
    for result, source in zip(json.loads(said.out), ("topic", "postgres"), strict=True):
        assert (result["source"], result["bad"], result["open"]) == (source, 0, 0)
        assert (result["executions"], result["events"]) == (1_000, total)
    assert said.err.count(" events") > 20


def test_each_edit_of_the_tables_is_named_with_its_first_event(
    lab: SignedLogs, capsys: Capture
) -> None:
    stories = filled(lab, [troubled(n) for n in range(12)])
    ids = [story.id for story in stories]
    rows = "execution.execution_events"
    edits = [
        (f"UPDATE {rows} SET data = data || '{{\"n\": 1}}' WHERE seq = 4", 4, "changed"),
        (f"UPDATE {rows} SET at = at + interval '1 microsecond' WHERE seq = 5", 5, "changed"),
        (f"UPDATE {rows} SET at = 'infinity' WHERE seq = 6", 6, "changed"),
        (f"UPDATE {rows} SET tenant = 'other' WHERE seq = 7", 7, "changed"),
        (f"UPDATE {rows} SET chain = NULL WHERE seq = 8", 8, "unchained"),
        (f"UPDATE {rows} SET data = '{{\"n\": 1e5000}}' WHERE seq = 9", 9, "changed"),
        (f"DELETE FROM {rows} WHERE seq BETWEEN 10 AND 12", 10, "missing"),
        (f"DELETE FROM {rows} WHERE seq > 13", 14, "tail_missing"),
        (f"DELETE FROM {rows} WHERE true", 1, "missing"),
        (f"UPDATE {rows} SET event_id = 'x' WHERE seq = 3", 3, "unreadable"),
        (f"INSERT INTO {rows} SELECT event_id || 'x', execution_id, 1 + (SELECT max(seq) FROM "
         f"{rows} AS v WHERE v.execution_id = e.execution_id), event_type, at, tenant, step, "
         f"attempt, data, chain FROM {rows} AS e WHERE seq = 1",
         len(stories[10].values) + 1, "changed"),
    ]  # fmt: skip
    expected = set()
    with psycopg.connect(lab.dsn) as connection:
        for ident, (statement, seq, kind) in zip(ids, edits, strict=False):
            connection.execute(f"{statement} AND execution_id = '{ident}'".encode())
            expected.add((ident, seq, kind))
    code, (result,) = verified(capsys, "--all", "--source", "postgres")
    assert code == Exit.FAILED
    assert named(result) == expected
    code, (topic, tables) = verified(capsys, ids[0])
    assert code == Exit.FAILED
    assert topic["bad"] == 0 and named(tables) == {(ids[0], 4, "changed")}
    code, (topic, tables) = verified(capsys, ids[-1])
    assert code == Exit.OK
    assert topic["chain"] == tables["chain"] and topic["seq"] == len(stories[-1].values)
    assert main(["audit", "verify", ids[2]]) == Exit.FAILED
    said = capsys.readouterr()
    assert f"postgres  {ids[2]}  event 6  changed" in said.out


def test_a_log_of_the_tables_that_was_written_anew_has_the_signature_of_another(
    lab: SignedLogs, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (story,) = filled(lab, [Story(1).run()])
    tree = orjson.loads(story.values[-1])
    tree["data"]["reason"] = "invented"
    del tree["chain"]
    chain = link(orjson.loads(story.values[-2])["chain"], orjson.dumps(tree))
    with psycopg.connect(lab.dsn) as connection:
        connection.execute(
            "UPDATE execution.execution_events SET data = %s, chain = %s WHERE seq = %s",
            [orjson.dumps(tree["data"]).decode(), chain, tree["seq"]],
        )
    # The chain holds; the signature of the router is for the end as it was.
    code, (result,) = verified(capsys, story.id, "--source", "postgres")
    assert code == Exit.FAILED
    assert named(result) == {(story.id, tree["seq"], "unsigned")}
    assert result["findings"][0]["message"] == "the signature is for something else"
    # Where nobody knows the router's key, it shows by what the topic says.
    monkeypatch.delenv("RUNSTREAM_TRUSTED_KEYS")
    code, (result,) = verified(capsys, story.id, "--source", "postgres")
    assert code == Exit.OK and result["bad"] == 0
    code, (_, tables) = verified(capsys, story.id)
    assert code == Exit.FAILED
    assert named(tables) == {(story.id, tree["seq"], "changed")}


def test_a_log_that_was_written_anew_everywhere_is_not_signed_by_a_router(
    lab: SignedLogs, capsys: Capture
) -> None:
    """Whoever can write the topic and the tables has every hash right, and no key of a router."""
    stranger = PrivateKey.generate(KeyUse(role="router"))
    good, *others = stories = [Story(n).run() for n in range(5)]
    good.values = chained(good.values)
    # What the router had signed of the log that is replaced.
    kept = lab.signer()(orjson.loads(chained(others[1].values)[-1])["chain"])
    forms: list[tuple[Sign, str]] = [
        (lambda chain: None, "it is not signed"),
        (lambda chain: kept, "the signature is for something else"),
        (lab.signer("executor"), "is not that of a router"),
        (lab.signer(stranger), "is not trusted here"),
    ]
    lab.write(good.values, lab.signer())
    said = {}
    for story, (sign, why) in zip(others, forms, strict=True):
        invented = story.values[0].replace(b"ci@acme", b"mallory")
        story.values = chained([invented, *story.values[1:]])
        lab.write(story.values, sign)
        said[story.id] = why
    stored(lab, sum(len(story.values) for story in stories))
    code, results = verified(capsys, "--all")
    assert code == Exit.FAILED
    for result in results:
        assert named(result) == {(story.id, len(story.values), "unsigned") for story in others}, (
            result["source"]
        )
        for one in result["findings"]:
            assert said[one["execution_id"]] in one["message"]
    code, both = verified(capsys, others[0].id)
    assert code == Exit.FAILED and [one["bad"] for one in both] == [1, 1]
    assert verified(capsys, good.id)[0] == Exit.OK


def test_what_was_removed_from_the_topic_is_named(
    lab: SignedLogs, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gap, cut, good = filled(lab, [troubled(n) for n in range(3)])
    # Another topic in its place, with what was left over.
    edited = f"{lab.prefix}edited."
    lab.create([edited + EVENTS.name])
    for values in ([*gap.values[:3], *gap.values[4:]], cut.values[:-4], good.values):
        lab.write(values, lab.signer(), topic=f"edited.{EVENTS.name}")
    monkeypatch.setenv("RUNSTREAM_TOPIC_PREFIX", edited)
    code, (result,) = verified(capsys, "--all", "--source", "topic")
    assert code == Exit.FAILED and named(result) == {(gap.id, 4, "missing")}
    assert result["open"] == 1  # A topic alone does not tell a removed tail from a plan that runs.
    for story, seq, kind in ((gap, 4, "missing"), (cut, len(cut.values) - 3, "tail_missing")):
        code, (topic, tables) = verified(capsys, story.id)
        assert (code, named(topic), tables["bad"]) == (Exit.FAILED, {(story.id, seq, kind)}, 0)
    assert verified(capsys, good.id)[0] == Exit.OK
    lab.admin.delete_topics([edited + EVENTS.name])[edited + EVENTS.name].result(30)


def test_foreign_records_in_the_topic_are_named(lab: SignedLogs, capsys: Capture) -> None:
    stories = filled(lab, [troubled(n) for n in range(4)])
    after, between, garbage, good = stories
    forged = orjson.loads(after.values[-1]) | {"seq": len(after.values) + 1}
    lab.put(EVENTS.name, orjson.dumps(forged), key=route_of(after.id).encode())
    again = orjson.loads(between.values[2]) | {"tenant": "other"}
    lab.put(EVENTS.name, orjson.dumps(again), key=route_of(between.id).encode())
    lab.put(EVENTS.name, b"{", key=route_of(garbage.id).encode())
    assert lab.producer.flush(30) == 0
    code, (result,) = verified(capsys, "--all", "--source", "topic")
    assert code == Exit.FAILED
    assert named(result) == {
        (after.id, len(after.values) + 1, "changed"),
        (between.id, 3, "repeated"),
        ("-", 0, "unreadable"),
    }
    code, (topic, _) = verified(capsys, after.id)
    assert code == Exit.FAILED and topic["bad"] == 1
    assert verified(capsys, good.id)[0] == Exit.OK


def test_show_is_a_report_of_people_attempts_and_changes(lab: SignedLogs, capsys: Capture) -> None:
    (story,) = filled(lab, [troubled(1)])
    assert main(["audit", "show", story.id, "--json"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert found["asked"]["facts"]["actor"] == "ci@acme"
    assert found["decisions"][0]["facts"]["action"] == "cancel"
    assert len(found["attempts"]) == sum(b'"step.dispatched"' in one for one in story.values)
    assert {one["executor"] for one in found["attempts"]} == {"agent-1"}
    assert found["chain"] == orjson.loads(story.values[-1])["chain"]
    assert main(["audit", "show", story.id]) == Exit.OK
    said = capsys.readouterr().out
    assert "ci@acme" in said and "web-01" in said and found["chain"] in said


def test_no_json_value_changes_its_canonical_form_in_postgres(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:

        @settings(max_examples=300, deadline=None)
        @given(DATA)
        def survives(data: dict[str, Any]) -> None:
            value = encode_event(event(data))
            row = read_event(with_chain(value, link("x", value)), None)
            assert isinstance(row, EventRow)
            found = connection.execute("SELECT %s::jsonb::text", [row.data_json]).fetchone()
            assert found is not None
            assert canonical(found[0].encode()) == canonical(orjson.dumps(data))

        survives()
