"""What terraform has planned and somebody else has approved is what is applied; the whole system.

What was done is read from the state file, which terraform itself writes.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from console.exits import Exit
from devstack.stack import LocalStack
from tests.harness import PATIENCE_SECONDS, Harness
from tests.tools.test_terraform import MAIN, configured, in_state

PLANS = Path(__file__).parents[2] / "demo" / "plans"
Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("terraform", "tofu"))),
    reason="neither terraform nor tofu is installed, and no registry of packages has them",
)


class Shop:
    """A working folder, its plan file, and the two plans of the demo about them."""

    def __init__(self, folder: Path, capture: Capture, stack: LocalStack) -> None:
        self.work = configured(folder / "shop", MAIN)
        self.file = folder / "shop.tfplan"
        self._capture, self._stack = capture, stack
        self._places = [f"--set=folder={self.work}", f"--set=plan_file={self.file}"]

    def told(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """The exit code of a command, its JSON, and what it said to people."""
        self._capture.readouterr()
        code = main([*words, "--json"])
        said = self._capture.readouterr()
        return code, json.loads(said.out) if said.out.strip() else {}, said.err

    def planned(self, size: int) -> dict[str, Any]:
        """The output of the plan for so many resources."""
        variables = json.dumps({"size": size, "note": f"n{size}"})
        name = str(PLANS / "terraform-plan.yaml")
        code, told, said = self.told("run", name, *self._places, f"--set=variables={variables}")
        assert code == Exit.OK, (told, said)
        (step,) = told["steps"]
        output: dict[str, Any] = step["output"]
        return output

    def asked(self, sha256: str) -> str:
        """The execution that is to apply this plan, and waits for its approval."""
        name = str(PLANS / "terraform-apply.yaml")
        code, told, said = self.told("submit", name, *self._places, f"--set=sha256={sha256}")
        assert code == Exit.OK, (told, said)
        ident: str = told["execution_id"]
        return ident

    def approve(self, monkeypatch: pytest.MonkeyPatch, ident: str, plan_hash: str) -> int:
        """Approve as somebody else than who asked."""
        key = self._stack.keys.private("bob")
        if not key.exists():
            assert main(["keys", "new", "actor", "--actor", "bob", "--out", str(key)]) == Exit.OK
        with monkeypatch.context() as bob:
            bob.setenv("RUNSTREAM_SIGNING_KEY", str(key))
            return self.told("approve", ident, "--plan-hash", plan_hash)[0]

    def resources(self) -> list[str]:
        """What terraform's own state says that there is."""
        return in_state(self.work) if (self.work / "terraform.tfstate").exists() else []


def until_asked(harness: Harness, ident: str) -> str:
    """The hash of the plan that waits for an approval."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        events = harness.log.events.get(ident, [])
        for event in events:
            if event["type"] == "execution.approval_requested":
                plan_hash: str = event["data"]["plan_hash"]
                return plan_hash
        assert time.monotonic() < deadline, [event["type"] for event in events]
        harness.read()


def test_what_was_planned_and_approved_is_applied_and_nothing_else(
    harness: Harness,
    stack: tuple[LocalStack, Path],
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNSTREAM_STATE_DIR", str(stack[1].parent / "stack"))
    shop = Shop(tmp_path, capsys, stack[0])
    two = shop.planned(2)
    assert (two["add"], two["change"], two["destroy"]) == (2, 0, 0)
    assert shop.resources() == []

    ident = shop.asked(two["sha256"])
    plan_hash = until_asked(harness, ident)
    # Who asked cannot approve, and nothing runs before somebody else does.
    code, _, said = shop.told("approve", ident, "--plan-hash", plan_hash)
    assert code == Exit.REJECTED and "asked for this execution" in said
    assert shop.resources() == []
    assert shop.approve(monkeypatch, ident, plan_hash) == Exit.OK
    code, told, said = shop.told("watch", ident)
    assert code == Exit.OK, (told, said)
    assert shop.resources() == ["n2-0", "n2-1"]
    (step,) = told["steps"]
    assert (step["output"]["sha256"], step["output"]["applied"]) == (two["sha256"], 2)

    # One is approved, and another one lies in the file when it runs.
    four = shop.planned(4)
    ident = shop.asked(four["sha256"])
    plan_hash = until_asked(harness, ident)
    five = shop.planned(5)
    assert shop.approve(monkeypatch, ident, plan_hash) == Exit.OK
    code, told, said = shop.told("watch", ident)
    assert code == Exit.FAILED, (told, said)
    (step,) = told["steps"]
    assert step["error"]["class"] == "conflict"
    assert four["sha256"] in step["error"]["message"] and five["sha256"] in step["error"]["message"]
    assert shop.resources() == ["n2-0", "n2-1"]
