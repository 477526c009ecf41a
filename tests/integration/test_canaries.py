"""Canaries: secrets go through every family of drivers and are found nowhere afterwards."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary_forms import DECOY, found, needles, shown, squeezed
from tests.canary_programs import VARIABLES
from tests.integration.canary_lab import BROKER_USER, MARKER, Kept, ran
from tests.integration.canary_steps import CANARIES
from tests.integration.test_drivers_ssh import SSHD

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiosmtpd"),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """What is left after all steps have run."""
    with (
        pytest.MonkeyPatch.context() as environment,
        ran(Path(tmp_path_factory.mktemp("canaries")), environment) as left,
    ):
        yield left


@pytest.mark.parametrize("value", [*CANARIES.values(), DECOY])
def test_the_search_finds_what_is_written(value: str) -> None:
    assert found(value, squeezed(shown(value))) >= needles(value).keys()
    assert not found(value, squeezed(shown(value[::-1])))


def test_every_secret_was_used_and_masked(kept: Kept) -> None:
    for step in kept.steps:
        event = kept.ended[step.name]
        assert event["type"] == f"step.{step.ends}", (step.name, event)
        assert step.is_silent or "***" in str(event), (step.name, event)
    assert kept.processes["passes"] > 2


def test_the_search_sees_every_form_in_every_place(kept: Kept) -> None:
    """The decoy is written beside the secrets and is none; so it must be everywhere."""
    places = kept.places
    for place in (
        "topic execution.events",
        "topic execution.output",
        "topic steps.reports",
        "topic router.state",
        "dump",
        "table execution.execution_events",
        "command show --json",
        "command watch --jsonl",
    ):
        missing = needles(DECOY).keys() - found(DECOY, places[place])
        assert not missing, (place, missing)
    marked = {place for place, data in places.items() if MARKER.encode() in data}
    assert {
        "topic execution.requests",
        "topic execution.progress",
        "log executor",
        "command show",
        "command watch",
        "command locks",
        "command locks --json",
        "command dlq show",
        "command dlq show --json",
        "command audit show",
        "command audit show --json",
    } <= marked
    assert any(place.startswith("topic steps.automation") for place in marked)
    assert any(place.endswith(".dlq") for place in marked)
    assert b"docker_exec" in places["metrics executor"]
    assert kept.processes["seen"] == {"cmdline": True, "environ": True}


def test_no_place_holds_a_secret(kept: Kept) -> None:
    hits = {
        (place, name): sorted(forms)
        for place, data in kept.places.items()
        for name, value in kept.values.items()
        if (forms := found(value, data))
    }
    assert hits == {}


def test_no_process_shows_a_secret_to_the_steps(kept: Kept) -> None:
    """An executor of root gives each step a user of its own; else they see their environments."""
    own = {f"environ {name} in {variable}" for name in CANARIES for variable in VARIABLES}
    assert set(kept.processes["hits"]) <= (set() if os.geteuid() == 0 else own)


def test_the_files_of_secrets_are_closed_to_the_steps(kept: Kept) -> None:
    """They belong to the user of the secret broker; without root that is the user of the steps."""
    assert kept.broker_users == {BROKER_USER or getpass.getuser()}
    assert len(kept.processes["files"]) >= len(CANARIES)
    if os.geteuid() == 0:
        assert not any(kept.processes["files"].values())
