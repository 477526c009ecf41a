"""Plans that really change assets, and what they did, as seen by the assets themselves.

Each asset is a file that a program locks (flock) while it acts: the kernel gives the lock up when
the program ends, however it ends. A program that finds the file locked says `overlap`. Changes by
the asset tools are written down by a trigger of the database. Neither asks Runstream anything.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from sinks.migrate import migrate
from tests.driver_kit import PYTHON

#: Addresses, so that nothing asks DNS for them.
ASSETS = [f"198.18.0.{number}" for number in range(1, 51)]

#: Acts on the assets for so many seconds, or until there is a file of that path, and for as long as
#: its executor is about to be killed (`hold`); STEP_ATTEMPT names the attempt and its executor.
_PROGRAM = """
import fcntl, os, sys, time
folder, until, *assets = sys.argv[1:]
log = os.open(folder + "/effects", os.O_WRONLY | os.O_APPEND)
def tell(what, asset):
    line = f"{what} {asset} {os.environ['STEP_ATTEMPT']} {time.time():.6f}\\n"
    os.write(log, line.encode())
for asset in assets:
    file = os.open(f"{folder}/{asset}", os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell("overlap", asset)
    else:
        tell("start", asset)
if until[0] != "/":
    time.sleep(float(until))
while until[0] == "/" and not os.path.exists(until):
    time.sleep(0.01)
while os.path.exists(folder + "/hold-" + os.environ["STEP_ATTEMPT"].rpartition(":")[2]):
    time.sleep(0.01)
for asset in assets:
    tell("end", asset)
"""

_TRIGGER = """
CREATE TABLE public.effects (asset text, owner text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.effects VALUES (NEW.hostname, NEW.owner);
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER UPDATE ON execution.assets FOR EACH ROW EXECUTE FUNCTION public.tell();
"""


@dataclass(frozen=True, order=True)
class Effect:
    """Something was done to an asset, at this time of the machine's clock."""

    asset: str
    at: float
    what: str
    execution: str
    step: str
    #: 0 where the asset cannot tell.
    attempt: int = 0
    #: The process id of its executor.
    executor: int = 0


def words(folder: Path, until: str, assets: list[str]) -> list[str]:
    """The program and its arguments."""
    return [PYTHON, "-I", "-S", "-c", _PROGRAM, str(folder), until, *assets]


def hold(folder: Path, executor: int) -> Path:
    """The file that keeps the programs of an executor acting for as long as it is there."""
    return folder / f"hold-{executor}"


def number_of(asset: str) -> int:
    """Its number in the inventory: another name for it."""
    return ASSETS.index(asset) + 1


def prepare(database: str, folder: Path) -> None:
    """Assets in the inventory, each a file of the folder; steps may act on them from here.

    Their rows are written past the asset tools.
    """
    migrate(database)
    here = Jsonb({"connection": {"type": "local"}})
    with psycopg.connect(database) as connection:
        for asset in ASSETS:
            connection.execute(
                "INSERT INTO execution.assets (asset_id, tenant, hostname, environment, metadata) "
                "VALUES (%s, 'default', %s, 'dev', %s)", [number_of(asset), asset, here],
            )  # fmt: skip
        connection.execute(_TRIGGER)
    for name in ("effects", *ASSETS):
        (folder / name).touch()
        (folder / name).chmod(0o666)


def said_bytes(folder: Path) -> int:
    """How much the programs have said so far."""
    return (folder / "effects").stat().st_size


def program_effects(folder: Path, since: int = 0) -> Iterator[Effect]:
    """What the programs said after so many bytes, in the order of their writes."""
    with (folder / "effects").open() as file:
        file.seek(since)
        lines = file.read().splitlines()
    for line in lines:
        what, asset, mark, at = line.split()
        execution, step, attempt, executor = mark.split(":")
        yield Effect(asset, float(at), what, execution, step, int(attempt), int(executor))


def inventory_effects(database: str) -> Iterator[Effect]:
    """The changes that the asset tools made."""
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT asset, owner, at FROM public.effects").fetchall()
    for asset, owner, at in rows:
        assert isinstance(at, datetime)
        execution, step = owner.split()
        yield Effect(asset, at.timestamp(), "update", execution, step)


def told(step: str) -> str:
    """A step's id as its programs know it."""
    return re.sub(r"[^A-Za-z0-9._:-]", "_", step)


class Plans:
    """Makes plans of every kind of step that locks, over few assets."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)

    def one(self) -> dict[str, Any]:
        """A plan of two to four steps; the order in which it names its assets is random."""
        chosen = self._random.sample(ASSETS, 3)
        kinds = [self._program, self._pair, self._update, self._items, self._late]
        picked = self._random.choices(kinds, weights=[4, 3, 3, 2, 2], k=self._random.choice([1, 2]))
        steps: list[dict[str, Any]] = []
        for kind in picked:
            steps += kind(len(steps), self._random.sample(chosen, 2))
        if self._random.random() < 0.15:
            steps += self._undone(len(steps), chosen[0])
        return {
            "steps": steps,
            "timeout_seconds": 600,
            "priority": self._random.randint(1, 10),
            "sla_class": "fast",
        }

    def _words(self, assets: list[str]) -> list[str]:
        seconds = "0.4" if self._random.random() < 0.1 else "0.01"
        return words(self._folder, seconds, assets)

    def _argv(self, asset: str) -> dict[str, Any]:
        return {"tool": "argv", "parameters": {"argv": self._words([asset])}}

    def _program(self, number: int, assets: list[str]) -> list[dict[str, Any]]:
        return [{"id": f"s{number}", **self._argv(assets[0]), "assets": assets[:1]}]

    def _on(self, host: str, assets: list[str]) -> dict[str, Any]:
        program, *arguments = self._words(assets)
        parameters = {"host": host, "program": program, "arguments": arguments}
        return {"tool": "nice", "parameters": parameters}

    def _pair(self, number: int, assets: list[str]) -> list[dict[str, Any]]:
        step = self._on(assets[0], assets)
        return [{"id": f"s{number}", **step, "assets": assets[1:]}]

    def _update(self, number: int, assets: list[str]) -> list[dict[str, Any]]:
        owner = f"{{{{ execution.id }}}} s{number}"
        name, value = self._random.choice(
            [("hostname", assets[0]), ("asset_id", number_of(assets[0]))]
        )
        parameters = {name: value, "owner": owner}
        return [{"id": f"s{number}", "tool": "asset_update", "parameters": parameters}]

    def _items(self, number: int, assets: list[str]) -> list[dict[str, Any]]:
        step = self._on("{{ item }}", ["{{ item }}"])
        return [{"id": f"s{number}", **step, "for_each": assets, "max_parallel": 2}]

    def _late(self, number: int, assets: list[str]) -> list[dict[str, Any]]:
        """Two that only the run can tell: others may hold them the other way round."""
        looks = [
            {"id": f"s{number + n}", "tool": "noop", "parameters": {"value": asset}}
            for n, asset in enumerate(assets)
        ]
        found = [f"{{{{ steps.{look['id']}.output.value }}}}" for look in looks]
        acts = [{"id": f"s{number + 2 + n}", **self._on(host, [host])}
                for n, host in enumerate(found)]  # fmt: skip
        return [*looks, *acts]

    def _undone(self, number: int, asset: str) -> list[dict[str, Any]]:
        """A change that is taken back, since what follows fails."""
        change = self._program(number, [asset])[0]
        failing = {"id": f"s{number + 1}", "tool": "fail", "on_failure": "compensate",
                   "retry": {"max_attempts": 1}}  # fmt: skip
        return [{**change, "compensate": self._argv(asset)}, failing]
