"""The tools `terraform_plan` and `terraform_apply`: the real program, without any other provider.

What was done is read from the state file, and from files that provisioners write.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.tools.driven import answer, failure, for_everybody
from tests.tools.odd.test_file_names import EVERY
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

MAIN = """
variable "size" { default = 1 }
variable "note" { default = "none" }
variable "key" {
  default   = "none"
  sensitive = true
}
resource "terraform_data" "web" {
  count = var.size
  input = "${var.note}-${count.index}"
}
output "note" { value = var.note }
output "key" {
  value     = var.key
  sensitive = true
}
"""


@pytest.fixture
def place() -> Iterator[Path]:
    if not any(map(shutil.which, ("terraform", "tofu"))):
        pytest.skip("neither terraform nor tofu is installed, and no registry of packages has them")
    with for_everybody() as folder:
        (folder / "plans").mkdir(mode=0o700)
        yield folder


@pytest.fixture
def work(place: Path) -> Path:
    return configured(place / "shop", MAIN)


def configured(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "main.tf").write_text(text)
    return folder


def how(folder: Path) -> dict[str, Any]:
    return {"as_root": True, "config_folders": (str(folder.parent),)}


def planned(folder: Path, **given: Any) -> dict[str, Any]:
    asked = {"folder": str(folder), "plan_file": f"{folder.parent}/plans/p", **given}
    return answer("terraform_plan", asked, **how(folder))


def applying(folder: Path, plan: dict[str, Any], **given: Any) -> dict[str, Any]:
    asked = {"folder": str(folder), "plan_file": plan["plan_file"], "sha256": plan["sha256"]}
    return {**asked, **given}


def applied(folder: Path, plan: dict[str, Any], **given: Any) -> dict[str, Any]:
    return answer("terraform_apply", applying(folder, plan, **given), **how(folder))


def unplanned(folder: Path, **given: Any) -> Failure:
    asked = {"folder": str(folder), "plan_file": f"{folder.parent}/plans/p", **given}
    return failure("terraform_plan", asked, **how(folder))


def unapplied(folder: Path, plan: dict[str, Any], **given: Any) -> Failure:
    return failure("terraform_apply", applying(folder, plan, **given), **how(folder))


def in_state(folder: Path, name: str = "terraform.tfstate") -> list[str]:
    state = json.loads((folder / name).read_text())
    return [
        instance["attributes"]["input"]["value"]
        for resource in state["resources"]
        for instance in resource["instances"]
    ]


def test_what_was_planned_is_applied_and_then_nothing_is_to_do(work: Path) -> None:
    plan = planned(work, variables={"size": 2, "note": "a"})
    assert (plan["changed"], plan["add"], plan["change"], plan["destroy"]) == (True, 2, 0, 0)
    assert [item["address"] for item in plan["changes"]] == [
        "terraform_data.web[0]", "terraform_data.web[1]",
    ]  # fmt: skip
    assert not (work / "terraform.tfstate").exists()
    file = Path(plan["plan_file"])
    assert (file.stat().st_mode & 0o777, file.stat().st_size) == (0o600, plan["bytes"])
    done = applied(work, plan)
    assert (done["changed"], done["add"], done["applied"]) == (True, 2, 2)
    assert done["outputs"]["note"] == {"sensitive": False, "value": "a"}
    assert in_state(work) == ["a-0", "a-1"]
    # Nothing but the state lies there.
    assert {item.name for item in work.iterdir()} == {"main.tf", "terraform.tfstate"}

    stale = unapplied(work, plan)
    assert (stale.error_class, stale.transient) == ("conflict", False)
    assert "Saved plan is stale" in stale.message and "make a new plan" in stale.message
    again = planned(work, variables={"size": 2, "note": "a"})
    assert (again["changed"], again["change_count"]) == (False, 0)
    for _ in range(2):
        assert applied(work, again)["changed"] is False

    other = planned(work, variables={"size": 1, "note": "b"})
    assert (other["add"], other["change"], other["destroy"]) == (0, 1, 1)
    assert {tuple(item["actions"]) for item in other["changes"]} == {("update",), ("delete",)}
    applied(work, other)
    gone = planned(work, destroy=True)
    assert (gone["destroy"], gone["add"]) == (1, 0)
    assert applied(work, gone)["changed"] is True
    assert in_state(work) == []


def test_only_the_plan_that_was_approved(work: Path) -> None:
    small = planned(work, variables={"size": 1})
    large = planned(work, variables={"size": 3})
    refused = unapplied(work, small)
    assert refused.error_class == "conflict"
    assert large["sha256"] in refused.message and small["sha256"] in refused.message
    assert not (work / "terraform.tfstate").exists()
    file = Path(large["plan_file"])
    file.write_bytes(file.read_bytes() + b"\0")
    assert unapplied(work, large).error_class == "conflict"
    file.unlink()
    assert unapplied(work, large).error_class == "not_found"
    (work.parent / "plans/mine").write_text("mine\n")
    kept = unplanned(work, plan_file=f"{work.parent}/plans/mine")
    assert kept.error_class == "conflict" and "no plan" in kept.message
    assert (work.parent / "plans/mine").read_text() == "mine\n"
    assert unplanned(work, plan_file=f"{work.parent}/no/p").error_class == "not_found"


def test_variables_are_data_and_secrets_are_shown_nowhere(work: Path) -> None:
    odd = '${file("/etc/hostname")} %{ if true } "\n\' ü'
    plan = planned(work, variables={"note": odd, "key": "s3cret-key"})
    done = applied(work, plan)
    assert in_state(work) == [f"{odd}-0"]
    assert done["outputs"] == {
        "note": {"sensitive": False, "value": odd}, "key": {"sensitive": True},
    }  # fmt: skip
    assert "s3cret" not in json.dumps([plan, done])
    unknown = unplanned(work, variables={"nope": 1})
    assert unknown.error_class == "invalid_parameters"
    assert 'does not declare a variable named "nope"' in unknown.message
    for name in ("TF_CLI_ARGS", "PATH", "LD_PRELOAD", "AWS_CONFIG_FILE", "HTTPS_PROXY", "a b"):
        refused = unplanned(work, env={name: "x"})
        assert refused.error_class == "invalid_parameters" and name in refused.message


def test_workspaces_have_states_of_their_own(work: Path) -> None:
    plan = planned(work, workspace="blue", variables={"note": "blue"})
    assert applied(work, plan, workspace="blue")["add"] == 1
    assert in_state(work, "terraform.tfstate.d/blue/terraform.tfstate") == ["blue-0"]
    assert planned(work)["add"] == 1
    part = planned(work, variables={"size": 3}, targets=["terraform_data.web[2]"])
    assert [item["address"] for item in part["changes"]] == ["terraform_data.web[2]"]


def test_what_cannot_be_planned(place: Path, work: Path) -> None:
    assert unplanned(place / "gone").error_class == "not_found"
    (place / "empty").mkdir()
    assert unplanned(place / "empty").error_class == "not_found"
    broken = configured(place / "broken", 'resource "terraform_data" "x" {\n  input = 5 +\n}\n')
    said = unplanned(broken)
    assert said.error_class == "invalid_parameters"
    assert "Invalid expression" in said.message and "main.tf line 2" in said.message
    required = configured(place / "required", 'variable "x" {}\n')
    missing = unplanned(required)
    assert missing.error_class == "invalid_parameters" and '"x"' in missing.message
    provider = configured(
        place / "provider",
        'terraform {\n  required_providers {\n    x = { source = "example.org/a/x" }\n  }\n}\n',
    )
    (place / "providers").mkdir()
    absent = unplanned(provider, plugin_dir=str(place / "providers"))
    assert "example.org/a/x" in absent.message, absent
    assert not list(place.rglob(".terraform*"))


def test_code_lies_only_where_the_operator_says(place: Path, work: Path) -> None:
    (place / "link").symlink_to("/etc")
    outside = {"as_root": True, "config_folders": (str(work),)}
    for name in (str(place), f"{work}/../shop2", str(place / "link"), "/"):
        asked = {"folder": name, "plan_file": f"{place}/plans/p"}
        refused = failure("terraform_plan", asked, **outside)
        assert refused.error_class == "capability_missing"
        assert "RUNSTREAM_CONFIG_FOLDERS" in refused.message
    (work / "link").symlink_to("/etc")
    asked = {"folder": str(work / "link"), "plan_file": f"{place}/plans/p"}
    assert failure("terraform_plan", asked, **outside).error_class == "capability_missing"
    asked = {"folder": str(work), "plan_file": f"{place}/plans/p"}
    assert failure("terraform_plan", asked, as_root=True).error_class == "capability_missing"


SLOW = """
resource "terraform_data" "fast" {}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.fast]
  provisioner "local-exec" { command = "touch began; while [ ! -e go ]; do sleep 0.1; done" }
}
"""


def test_a_cancel_interrupts_it_and_the_state_is_kept_and_free(place: Path) -> None:
    """terraform ends what it has begun, keeps what it knows of that, and unlocks the state."""
    work = configured(place / "slow", SLOW)
    plan = planned(work)
    definition = load().get("terraform_apply")
    assert definition is not None
    invocation = bind(definition, applying(work, plan))
    assert isinstance(invocation, Invocation)

    async def cancelled() -> dict[str, Any]:
        opened = Resources(settings(root_tools=("terraform_apply",), config_folders=(str(place),)))
        try:
            run = Run(opened, invocation)
            run.context.stop.grace_seconds = 30.0
            evidence = await run.cancelled((work / "began").exists)
            return {**evidence, "said": run.output.stderr.decode(), "told": run.progress}
        finally:
            await opened.close()

    evidence = asyncio.run(cancelled())
    assert evidence["last_signal"] == "SIGTERM", evidence
    assert not (work / ".terraform.tfstate.lock.info").exists()
    state = json.loads((work / "terraform.tfstate").read_text())
    assert {item["name"] for item in state["resources"]} == {"fast", "slow"}
    assert "Interrupt received" in evidence["said"]
    assert evidence["told"][0] == (50.0, "1 of 2 resources")
    again = planned(work)["changes"]
    assert again == [{"address": "terraform_data.slow", "actions": ["delete", "create"]}]


def test_a_state_that_is_locked_is_busy(place: Path, work: Path) -> None:
    slow = configured(place / "slow", SLOW)
    plan = planned(slow)
    pid = os.fork()
    if pid == 0:
        applied(slow, plan)
        os._exit(0)
    try:
        deadline = time.monotonic() + 30
        while not (slow / "began").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        locked = unplanned(slow)
        assert (locked.error_class, locked.transient) == ("busy", True), locked
        assert "lock_timeout" in locked.message
    finally:
        (slow / "go").touch()
        os.waitpid(pid, 0)
    assert planned(slow, lock_timeout="5s")["changed"] is False


@pytest.mark.root_only
@pytest.mark.tried("terraform_plan", "terraform_apply", inputs=("names", "unreadable"))
def test_folders_and_plans_of_any_name_and_what_may_not_be_read(place: Path) -> None:
    folder = configured(place / EVERY, MAIN)
    plan = planned(folder, plan_file=f"{place}/plans/a:{EVERY}")
    assert applied(folder, plan)["changed"] is True
    assert in_state(folder) == ["none-0"]
    assert not list(place.rglob("[xy]"))
    work = configured(place / "work", MAIN)
    plan = planned(work)
    closed = {"step_user": "nobody", "config_folders": (str(place),)}
    denied = failure("terraform_apply", applying(work, plan), **closed)
    assert denied.error_class == "capability_missing", denied
    (work / "main.tf").chmod(0o600)
    asked = {"folder": str(work), "plan_file": "/tmp/rs-none"}
    unread = failure("terraform_plan", asked, **closed)
    assert unread.error_class in ("capability_missing", "invalid_parameters"), unread
    assert "main.tf" in unread.message
