"""Calls: what a plan would do to which hosts, as far as it is known before the run; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from reading.models.approvals import EffectCounts, HostEffects, PlannedCall
from streams.admitted import AdmittedPlan, AdmittedStep
from toolmeta.acted_on import assets_of
from toolmeta.effects import Effect
from toolmeta.registry import Registry
from toolmeta.risk import effect_of


@dataclass(frozen=True, slots=True)
class _Items:
    """What a call runs for."""

    #: How often it runs; None where only the run will tell.
    number: int | None = 1
    #: What `item` stands for: the items of the step, or of the innermost block with any.
    values: str | list[Any] | None = None

    def within(self, spec: AdmittedStep) -> _Items:
        """What runs for each item of the step."""
        items = spec.for_each
        if items is None:
            return self
        if self.number is None or not isinstance(items, list):
            return _Items(None, items)
        return _Items(self.number * len(items), items)


@dataclass(frozen=True, slots=True)
class Calls:
    """Every call of a plan, and what they do together."""

    calls: list[PlannedCall]
    #: Of the whole plan without what only undoes.
    effects: EffectCounts
    #: By host, those with the worst effects first.
    hosts: list[HostEffects]


def calls_of(plan: AdmittedPlan, registry: Registry) -> Calls:
    """The calls of a plan; a tool that is no longer in the catalogue counts as destroying."""
    found = [*_calls(plan.steps, "plan.steps", registry, _Items())]
    found += _calls(plan.finally_steps, "plan.finally", registry, _Items())
    total: Counter[Effect] = Counter()
    hosts: defaultdict[str | None, Counter[Effect]] = defaultdict(Counter)
    for call in found:
        if call.compensates:
            continue
        total[call.effect] += call.items or 1
        for host in call.hosts:
            hosts[host][call.effect] += 1 if len(call.hosts) > 1 else call.items or 1
    ordered = sorted(
        hosts.items(),
        key=lambda item: (-item[1]["destroy"], -item[1]["modify"], -item[1]["read"], item[0] or ""),
    )
    by_host = [HostEffects(host=host, **_counts(number)) for host, number in ordered]
    return Calls(found, EffectCounts(**_counts(total)), by_host)


def _counts(number: Counter[Effect]) -> dict[str, int]:
    return {"read": number["read"], "modify": number["modify"], "destroy": number["destroy"]}


def _calls(
    steps: Iterable[AdmittedStep], field: str, registry: Registry, around: _Items
) -> Iterator[PlannedCall]:
    for index, spec in enumerate(steps):
        where = f"{field}[{index}]"
        items = around.within(spec)
        if spec.steps:
            yield from _calls(spec.steps, f"{where}.steps", registry, items)
        elif not spec.assertions:
            yield _call(where, spec, spec.id, registry, items)
        if spec.compensate is not None:
            place = f"{where}.compensate"
            yield _call(place, spec.compensate, spec.id, registry, items, compensates=True)


def _call(
    field: str,
    spec: AdmittedStep,
    step: str,
    registry: Registry,
    items: _Items,
    *,
    compensates: bool = False,
) -> PlannedCall:
    tool = registry.get(spec.tool)
    effect: Effect = "destroy" if tool is None else effect_of(tool, spec.parameters)
    return PlannedCall(
        field=field,
        step=step,
        description=spec.description,
        tool=spec.tool,
        domain=spec.domain,
        effect=effect,
        hosts=assets_of(spec, tool, items.values),
        items=items.number,
        compensates=compensates,
        when=spec.when,
        become=None if spec.become is None else str(spec.become.get("user", "root")),
        parameters=spec.parameters,
    )
