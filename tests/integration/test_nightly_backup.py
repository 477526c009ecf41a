"""The nightly backup of the demo: real broker, database and processes, over a change of the clock.

The clock of the processes is moved from night to night. The router is killed on the way; every
night has one backup that was restored, whatever happened.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql

from authority.key_folder import OPERATOR
from console.cli import main
from console.exits import Exit
from runtime import clock
from streams.topics import PROCEDURES
from tests.brokers import environment
from tests.integration.moved_clock import moved
from tests.integration.router_lab import RouterLab, router_lab
from tests.integration.test_procedures import AUTOMATION
from tests.integration.test_router_group import USED
from tests.secret_kit import secret_file

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.skipif(shutil.which("pg_dump") is None, reason="pg_dump is not installed")
#: The nights, in UTC: 02:30 in Berlin, which the second one of the spring does not have, and which
#: that of the autumn has twice. All lie in the past of the broker, whose clock is not moved: it
#: would take what executors read for long expired.
SPRING = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
AUTUMN = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]


class Nights:
    """Processes on a clock of their own, and the database that they save."""

    def __init__(self, lab: RouterLab, folder: Path, postgres: str, shop: str) -> None:
        self.lab = lab
        self.file = folder / "clock"
        self.folder = folder
        self.shop = shop
        self.info = psycopg.conninfo.conninfo_to_dict(postgres)
        self.admin = postgres
        self.rows = 0

    def set(self, moment: str) -> None:
        """It is this moment now, everywhere."""
        wanted = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
        after = self.file.with_suffix(".new")
        after.write_text(str(wanted - time.time()))
        after.replace(self.file)

    def start(self, name: str) -> None:
        words = ("router",) if name.startswith("router") else ("executor", "--domain", "automation")
        more = {} if name.startswith("router") else {
            "secrets_dir": self.folder / "secrets",
            "root_tools": "pg_dump,pg_restore,psql",
            "allow_private_addresses": "true",
        }  # fmt: skip
        program = ("-m", "tests.integration.moved_clock", str(self.file), *words)
        policy = ROOT / "authority" / "default_policy.yaml"
        self.lab.start(name, program, policy=policy, environment="dev", **more)

    def kill(self, name: str) -> None:
        self.lab.signal(name, signal.SIGKILL)
        self.lab.processes[name].wait(30)

    def sell(self) -> None:
        """Another order each day, so that no night's dump is another's."""
        with psycopg.connect(self.admin, dbname=self.shop) as connection:
            connection.execute("insert into orders (state) values ('open')")
        self.rows += 1

    def backups(self) -> dict[str, list[dict[str, Any]]]:
        """The events of each execution that the schedule started, by its moment."""
        found: dict[str, list[dict[str, Any]]] = {}
        for events in self.lab.log.events.values():
            started = events[0]["data"].get("started_by") or {}
            if started.get("name") == "nightly-backup":
                assert started["cause"] not in found, "two of one night"
                found[started["cause"]] = events
        return found

    def saved(self, night: str) -> None:
        """The backup of this night has ended well, and holds the rows of that day."""

        def ended() -> bool:
            events = self.backups().get(night)
            return events is not None and bool(self.lab.log.ends(events[0]["execution_id"]))

        self.lab.until(ended, f"the backup of {night}", 90)
        events = self.backups()[night]
        assert events[-1]["type"] == "execution.completed", events[-3:]
        dump = self.folder / f"{self.shop}-{night}.dump"
        assert dump.stat().st_size > 0
        with psycopg.connect(self.admin, dbname=f"{self.shop}_restored") as connection:
            restored = connection.execute("select id, state from orders order by id").fetchall()
        assert restored == [(number, "open") for number in range(1, self.rows + 1)]


@pytest.fixture
def nights(
    kafka: str,
    postgres: str,
    topics: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    open_folder: Path,
    tmp_path: Path,
) -> Iterator[Nights]:
    shop = f"shop_{os.getpid()}"
    names = [shop, f"{shop}_restored"]
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(postgres, dbname=shop) as connection:
        connection.execute("create table orders (id serial primary key, state text)")
    prefix = topics(*USED, *AUTOMATION, PROCEDURES)
    monkeypatch.chdir(tmp_path)
    with router_lab(kafka, prefix, tmp_path) as lab:
        made = Nights(lab, open_folder, postgres, shop)
        made.set("2026-03-27T12:00:00")
        settings = {
            **environment(kafka),
            "RUNSTREAM_TOPIC_PREFIX": prefix,
            "RUNSTREAM_SIGNING_KEY": str(lab.keys.folder.private(OPERATOR)),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(clock, "now", lambda: moved(made.file))
        yield made
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in names:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(drop)


@pytest.mark.timeout(300)
def test_one_restored_backup_each_night_over_a_change_of_the_clock(
    nights: Nights, capsys: Capture
) -> None:
    schedule = yaml.safe_load((ROOT / "demo/schedules/nightly-backup.yaml").read_text())
    info = nights.info
    secrets = nights.folder / "secrets"
    secrets.mkdir(mode=0o700)
    secret_file(secrets, "backup_password", str(info.get("password") or "unused"))
    schedule["inputs"] |= {
        "server": str(info.get("host") or "127.0.0.1"), "port": int(info.get("port") or 5432),
        "user": str(info.get("user") or getpass.getuser()), "database": nights.shop,
        "scratch": f"{nights.shop}_restored", "folder": str(nights.folder),
    }  # fmt: skip
    file = Path("nightly-backup.yaml")
    file.write_text(yaml.safe_dump(schedule))
    nights.start("router")
    nights.start("executor")
    nights.lab.until(lambda: bool(nights.lab.members()), "joined")

    assert main(["procedures", "apply", str(ROOT / "demo/procedures"), "--yes"]) == Exit.OK
    assert main(["schedules", "apply", str(file), "--yes"]) == Exit.OK
    assert "1 applied" in capsys.readouterr().err
    assert _shown(capsys)["next"] == [*(at.replace("Z", ".000Z") for at in SPRING)]

    for night in SPRING:
        nights.sell()
        nights.set(night.replace("Z", ""))
        nights.saved(night)
    # The summer is not backed up: what was due in an outage of months is not made up for.
    nights.set("2026-10-23T12:00:00")
    # The first night passes under a router that runs.
    nights.sell()
    nights.set("2026-10-24T00:29:59")
    nights.saved(AUTUMN[0])
    # In the second one it has been killed, and comes back after the time.
    nights.kill("router")
    nights.sell()
    nights.set("2026-10-25T00:31:00")
    nights.start("router")
    nights.saved(AUTUMN[1])
    # 02:30 comes a second time in that night: nothing more is started.
    nights.set("2026-10-25T01:31:00")
    nights.sell()
    nights.set("2026-10-26T01:29:59")
    nights.saved(AUTUMN[2])

    assert sorted(nights.backups()) == SPRING + AUTUMN
    told = _shown(capsys, "--next", "1")
    assert told["next"] == ["2026-10-27T01:30:00.000Z"] and told["running"] == []
    outcomes = [one["outcome"] for one in told["history"]]
    # Of the summer: the range, and its last moment, which `latest` would have started.
    assert outcomes == ["completed"] * 3 + ["missed"] * 2 + ["completed"] * 3
    nights.lab.check_log(events[0]["execution_id"] for events in nights.backups().values())


def _shown(capsys: Capture, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    words = words or ("--next", "3")
    assert main(["schedules", "show", "nightly-backup", *words, "--json"]) == Exit.OK
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found
