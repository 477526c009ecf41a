"""File names that somebody else chose, in every parameter that takes a path.

Each file holds what no other does, so that an answer shows which one was read; `x` and `y` would be
made by a shell that reads such a name.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from tests.tools.driven import failure, for_everybody, outcomes, root_only
from tests.tools.odd.file_calls import FILES, READERS
from tests.tools.odd.inputs import over_every
from toolmeta.bind import bind
from toolmeta.registry import load

NAMES = (
    "nfc \u00e9",
    "nfd e\u0301",
    "-n",
    "$(touch x);`touch y`{path}{{ b }}*?[a]",
    'it\'s "q" \\n\\t %s',
    "a:b=c,d@e#f&g|h>i",
)
#: Of all of them, for what is slow.
EVERY = '-n \u00e9 e\u0301 $(touch x);`touch y`{path}{{ b }}*?[a] it\'s "q" \\n %s=,d@e#f&g|h>i'
LINE_BREAK = "a\nb"


@pytest.fixture
def folder() -> Iterator[Path]:
    with for_everybody() as made:
        yield made


def installed(tool: str) -> None:
    """Skips where the tool's program or library is not there."""
    definition = load().get(tool)
    assert definition is not None
    name = definition.program or tool
    if shutil.which(name) is None:
        pytest.skip(f"program {name} is not installed")
    if tool in ("scapy", "pyshark"):
        pytest.importorskip(tool)


def how(folder: Path) -> dict[str, Any]:
    """Settings of an executor that may act on the files of this folder."""
    return {
        "allow_private_addresses": True,
        "config_folders": (str(folder),),
        "capture_folders": str(folder),
        # As it is by default: not an absolute path.
        "state_dir": os.path.relpath(folder / "state"),
    }


@over_every(FILES, "names")
def test_a_name_is_the_name_of_one_file(folder: Path, tool: str) -> None:
    root_only()
    installed(tool)
    call = FILES[tool]
    names = (EVERY,) if call.slow else NAMES
    taken = [name for name in names if not set(name) & set(call.refuses)]
    for name in taken:
        call.make(folder / name)
    calls = [call.parameters(str(folder / name)) for name in taken]
    ended = outcomes(tool, *calls, as_root=True, **how(folder))
    for name, outcome in zip(taken, ended, strict=True):
        check(tool, folder / name, outcome)
    assert not list(folder.rglob("[xy]"))
    for name in (LINE_BREAK, *(name for name in names if name not in taken)):
        assert refused(tool, call.parameters(str(folder / name))), name


def refused(tool: str, parameters: dict[str, Any]) -> bool:
    """Whether the definition takes none of it, and says which parameter that is."""
    definition = load().get(tool)
    assert definition is not None
    problems = bind(definition, parameters)
    if not isinstance(problems, list):
        return False
    fields = {problem.field.split(".")[1].split("[")[0] for problem in problems}
    return fields <= set(parameters)


def check(tool: str, path: Path, outcome: Outcome) -> None:
    """What the file holds is in the answer; or the name could be taken for two and was refused."""
    definition = load().get(tool)
    assert definition is not None
    named = FILES[tool].parameters(str(path))
    if ":" in path.name and set(named) & set(definition.run.code_paths):
        assert isinstance(outcome, Failure), outcome
        assert outcome.error_class == "capability_missing"
        return
    assert isinstance(outcome, Success), (path.name, outcome)
    for field, value in FILES[tool].truth(path).items():
        assert outcome.output[field] == value, path.name


@over_every(FILES, "unreadable")
def test_what_may_not_be_read_or_is_not_there(folder: Path, tool: str) -> None:
    """By the class of the failure, with the path in its message; for a user without rights."""
    root_only()
    installed(tool)
    call = FILES[tool]
    names = {"secret": call.denied, "gone": call.absent}
    call.make(folder / "secret")
    (folder / "secret").chmod(0)
    calls = [call.parameters(str(folder / name)) for name in names]
    # The readers of captures may read the store of the executor as root alone.
    ended = outcomes(tool, *calls, as_root=tool in READERS, step_user="nobody", **how(folder))
    for (name, wanted), outcome in zip(names.items(), ended, strict=True):
        if wanted is None:
            continue
        assert isinstance(outcome, Failure), (name, outcome)
        assert (outcome.error_class, outcome.transient) == (wanted, False), outcome


def test_of_a_path_no_second_one_is_read(folder: Path) -> None:
    """collectd takes words of a path for paths; the operator's folders hold for the first alone."""
    for rest in (" /etc/collectd/collectd.conf", "\t/x", "{,/x}", "$HOME", "*", "\\ "):
        assert refused("collectd", {"path": f"{folder}/mine.conf{rest}"}), rest


@pytest.mark.parametrize(
    ("tool", "parameters"),
    [
        ("at", {}),
        ("crontab", {}),
        ("ssh_keygen", {"path": "/dev/null"}),
    ],
)
@pytest.mark.tried("at", "crontab", "ssh_keygen", inputs=("unprivileged",))
def test_a_program_that_needs_a_name_for_its_user(tool: str, parameters: dict[str, Any]) -> None:
    """Of the users as whom an executor of root runs programs, none has one by default."""
    root_only()
    installed(tool)
    failed = failure(tool, parameters)
    assert (failed.error_class, failed.transient) == ("capability_missing", False), failed


@pytest.mark.tried("pg_isready", inputs=("unprivileged",))
def test_pg_isready_needs_no_name_for_its_user() -> None:
    root_only()
    installed("pg_isready")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        asked = {"server": "127.0.0.1", "port": port}
        failed = failure("pg_isready", asked, allow_private_addresses=True)
    assert failed.output is not None
    assert failed.output["message"] == f"127.0.0.1:{port} - no response"


def test_every_reader_of_captures_is_here() -> None:
    assert len(READERS) == 14
