"""`runstream locks`: who holds an asset and who waits for it, as the keeper's records say it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from console import broker
from console.cli import main
from console.exits import Exit
from processors.locks.state import COUNTER, Party, encode, encode_counter, key_of
from runtime.kafka import restore

Capture = pytest.CaptureFixture[str]
Records = list[tuple[int, bytes, bytes | None]]
HOLDER = "01989c2a-7c00-8abc-9def-000000000001"
FIRST = "01989c2a-7c00-8abc-9def-000000000002"
SECOND = "01989c2a-7c00-8abc-9def-000000000003"
OTHER = "01989c2a-7c00-8abc-9def-000000000004"
ENDED = "01989c2a-7c00-8abc-9def-000000000005"


def party(ident: str, arrival: int, **fields: Any) -> tuple[int, bytes, bytes | None]:
    one = Party(ident, fields.pop("tenant", "default"), fields.pop("priority", 5), arrival, 60.0)
    for name, value in fields.items():
        setattr(one, name, value)
    return 0, key_of(ident), encode(one)


#: Two wait for what the holder has, the more urgent one first; and something else of a tenant.
RECORDS: Records = [
    party(ENDED, 0, senior=1, tokens={"db-01": 6}),
    party(HOLDER, 1, senior=2, tokens={"db-01": 7, "db-02": 8}),
    party(SECOND, 2, requests={"r": ["db-01"]}),
    party(FIRST, 3, priority=1, requests={"r": ["db-01"]}),
    (1, key_of(OTHER), party(OTHER, 4, tenant="acme", senior=3, tokens={"\x1b[31mweb": 9})[2]),
    (0, COUNTER, encode_counter(9)),
    (0, key_of(ENDED), None),
]


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    """The changelog of the lock keeper, without a broker."""
    found = list(RECORDS)
    monkeypatch.setattr(broker, "partitions", lambda _settings, _topic: 2)
    monkeypatch.setattr(restore, "read_changelog", lambda _settings, _topic, _numbers: found)
    yield found


def test_holders_and_who_waits_in_order(records: Records, capsys: Capture) -> None:
    assert main(["locks", "--json"]) == Exit.OK
    found = {one["asset"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["db-01"] == {
        "tenant": "default",
        "asset": "db-01",
        "holder": HOLDER,
        "fencing_token": 7,
        "waiting": [FIRST, SECOND],
    }
    assert (found["db-02"]["holder"], found["db-02"]["waiting"]) == (HOLDER, [])
    assert len(found) == 3


def test_the_table_shows_the_same_and_no_control_character(
    records: Records, capsys: Capture
) -> None:
    assert main(["locks"]) == Exit.OK
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["TENANT", "ASSET", "HELD", "BY", "TOKEN", "WAITING"]
    (row,) = [line for line in lines if " db-01 " in line]
    assert row.split() == ["default", "db-01", HOLDER, "7", f"{FIRST},", SECOND]
    assert not any("\x1b" in line for line in lines)


def test_one_tenant_alone_and_nothing_that_is_locked(records: Records, capsys: Capture) -> None:
    assert main(["locks", "--tenant", "acme", "--json"]) == Exit.OK
    (only,) = json.loads(capsys.readouterr().out)
    assert only["holder"] == OTHER
    assert main(["locks", "--tenant", "nobody"]) == Exit.OK
    assert "nothing is locked" in capsys.readouterr().err


def test_records_of_another_version_are_said(records: Records, capsys: Capture) -> None:
    records.append((0, key_of(FIRST), b'{"tenant": "default", "seat": 1}'))
    assert main(["locks"]) == Exit.FAILED
    assert "are of another version" in capsys.readouterr().err
