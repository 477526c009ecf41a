"""Plans with tools of the operator's own: admitted by the definition that counts now."""

from __future__ import annotations

from pathlib import Path

from processors.router.plan_cache import PlanCache
from streams.payloads import Accepted
from streams.plans import ExecutionRequest
from tests.own_tools import SAY_GOODBYE, SAY_HELLO, write
from toolmeta.own_tools import OwnTools
from toolmeta.registry import Registry, load


def test_the_definition_is_part_of_what_was_admitted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write(tmp_path, SAY_HELLO)
    registry = Registry(load().all(), own=OwnTools(tmp_path))
    plans = PlanCache(registry)
    steps = [{"tool": "say_hello", "parameters": {"name": "Ada"}}, {"tool": "noop"}]
    request = ExecutionRequest.model_validate({"plan": {"steps": steps}})

    def definitions() -> list[str | None]:
        found = plans.admit(request, "the plan's hash", "key", 1)
        assert isinstance(found, Accepted)
        return [spec.definition for spec in found.plan.steps]

    first = definitions()
    assert first == definitions() and first[0] is not None and first[1] is None
    write(tmp_path, SAY_GOODBYE)
    registry.refresh()
    second = definitions()
    assert second[0] not in (None, first[0])
    (tmp_path / "automation" / "say_hello.yaml").unlink()
    registry.refresh()
    rejected = plans.admit(request, "the plan's hash", "key", 1)
    assert isinstance(rejected, list) and "say_hello" in rejected[0].message
