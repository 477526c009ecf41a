"""The shape of a plan: its ids, who waits for whom, and which steps an expression may look at.

Steps that stand beside each other (of the plan, of one block, of `finally`) are a scope: they wait
for each other, and an expression sees the steps that come before its own step in its scope and in
those around it. Ids are unique in the whole plan, so that a reference means one step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from processors.router.calls import Place, places
from runtime.cel import expressions
from runtime.cel.evaluation import Spent
from streams.limits import MAX_STEPS
from streams.plans import MAX_DEPTH, AssetItems, Check, Plan, Step, Until
from toolmeta.invocation import Problem

MAX_PROBLEMS = 20
MAX_ID = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """What was filled in: the id of each step and what it waits for, by its field."""

    names: dict[str, str]
    depends_on: dict[str, list[str]]


def shape_of(plan: Plan, problems: list[Problem]) -> Shape:
    """The shape of the plan; what is wrong with it is added to `problems`."""
    every = list(places(plan))
    names = _names(every, problems)
    depends_on: dict[str, list[str]] = {}
    if problems:
        return Shape(names, depends_on)
    scopes = _scopes(every)
    everywhere = set(names.values())
    for field, scope in scopes.items():
        depends_on |= _dependencies(field, scope, names, everywhere, problems)
    if not problems:
        _check_references(every, scopes, Shape(names, depends_on), problems)
    return Shape(names, depends_on)


def _names(every: Sequence[Place], problems: list[Problem]) -> dict[str, str]:
    """The id of each step; where it has none `step_<n>`, with `<block>_step_<n>` in a block."""
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    if len(every) > MAX_STEPS:
        text = f"{len(every)} steps with those of its blocks; {MAX_STEPS} are allowed: split it"
        problems.append(Problem("plan.steps", text))
        return names
    for place in every:
        field = place.field
        if len(problems) >= MAX_PROBLEMS:
            break
        if len(place.blocks) >= MAX_DEPTH and place.step.steps is not None:
            text = f"blocks nest at most {MAX_DEPTH} deep: make steps of the plan of the inner ones"
            problems.append(Problem(field, text))
        name = place.step.id or _default_name(place, names)
        if name in taken:
            text = f"{name} is the id of {taken[name]} too; ids must be unique"
            problems.append(Problem(f"{field}.id", text))
        elif place.blocks and name == "undo":
            text = "undo ends the names of steps that undo a step: take another id in a block"
            problems.append(Problem(f"{field}.id", text))
        taken.setdefault(name, field.removeprefix("plan."))
        names[field] = name
        if isinstance(place.step.for_each, AssetItems):
            _add_query(field, query_id(name), names, taken, problems)
    return names


def _add_query(
    field: str, query: str, names: dict[str, str], taken: dict[str, str], problems: list[Problem]
) -> None:
    """Name the step that asks the inventory for the items of another one."""
    if query in taken or len(query) > MAX_ID:
        text = f"its items come from a step {query}: take an id for which that is free and short"
        problems.append(Problem(f"{field}.id", text))
    taken[query] = f"{field.removeprefix('plan.')}.for_each"
    names[f"{field}.for_each"] = query


def query_id(name: str) -> str:
    """The id of the step that asks the inventory for the items of the step `name`."""
    return f"{name}_assets"


def _default_name(place: Place, names: dict[str, str]) -> str:
    number = int(place.field.rpartition("[")[2].rstrip("]")) + 1
    if place.blocks:
        return f"{names.get(place.blocks[-1].field, 'block')}_step_{number}"
    return f"{'finally' if place.field.startswith('plan.finally') else 'step'}_{number}"


def _scopes(every: Sequence[Place]) -> dict[str, list[Place]]:
    """The steps beside each other, by the field of their list."""
    scopes: dict[str, list[Place]] = {}
    for place in every:
        scopes.setdefault(place.field.rpartition("[")[0], []).append(place)
    return scopes


def _dependencies(
    scope_field: str,
    scope: Sequence[Place],
    names: dict[str, str],
    everywhere: set[str],
    problems: list[Problem],
) -> dict[str, list[str]]:
    """Who waits for whom: as declared, or each for the one before where nobody declares.

    The steps of `finally` wait for nothing but the end of the others, unless one declares it.
    """
    own = [names[place.field] for place in scope]
    if all(place.step.depends_on is None for place in scope):
        if scope_field == "plan.finally":
            return {place.field: [] for place in scope}
        waits: list[list[str]] = [[], *([name] for name in own[:-1])]
        return {place.field: wanted for place, wanted in zip(scope, waits, strict=True)}
    known = set(own)
    declared: dict[str, list[str]] = {}
    for place, name in zip(scope, own, strict=True):
        wanted = list(dict.fromkeys(place.step.depends_on or ()))
        field = f"{place.field}.depends_on"
        for dependency in wanted:
            if dependency == name:
                problems.append(Problem(field, f"{dependency} cannot wait for itself"))
            elif dependency in {names[block.field] for block in place.blocks}:
                text = f"{dependency} is the block that it is in, which waits for its steps"
                problems.append(Problem(field, text))
            elif dependency not in known:
                text = f"there is no step {dependency}"
                if dependency in everywhere:
                    text = f"{dependency} is not beside it: steps wait for those of their list"
                problems.append(Problem(field, text))
        declared[place.field] = wanted
    if not problems:
        try:
            TopologicalSorter(dict(zip(own, declared.values(), strict=True))).prepare()
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            problems.append(Problem(scope_field, f"the steps wait for each other: {circle}"))
    return declared


def _check_references(
    every: Sequence[Place],
    scopes: dict[str, list[Place]],
    shape: Shape,
    problems: list[Problem],
) -> None:
    before = {
        field: _Before([shape.names[one.field] for one in scope],
                       [shape.depends_on[one.field] for one in scope])
        for field, scope in scopes.items()
    }  # fmt: skip
    everywhere = set(shape.names.values())
    main = {shape.names[place.field] for place in scopes["plan.steps"]}
    spent = Spent()
    for place in every:
        name = shape.names[place.field]
        for field, text in texts(place.step):
            where = f"{place.field}.{field}"
            if len(problems) >= MAX_PROBLEMS:
                return
            try:
                expressions.check(text, spent)
            except expressions.ExpressionError as error:
                problems.append(Problem(where, str(error)))
                if error.error_class == expressions.LIMIT:
                    return
                continue
            for other in sorted(expressions.step_references(text)):
                if other not in everywhere:
                    problems.append(Problem(where, f"there is no step {other} to refer to"))
                elif other == name and field.startswith(("compensate", "check", "until")):
                    continue
                elif not _visible(other, place, shape, before, main):
                    said = f"{other} does not come before {name}; add it to the step's depends_on"
                    if not before[_scope_field(place)].has(other):
                        said = (
                            f"{other} does not come before {name}: an expression sees the steps "
                            "before its own, and before the blocks that it is in"
                        )
                    problems.append(Problem(where, said))


def _scope_field(place: Place) -> str:
    return place.field.rpartition("[")[0]


def _visible(
    other: str, place: Place, shape: Shape, before: dict[str, _Before], main: set[str]
) -> bool:
    if place.field.startswith("plan.finally") and other in main:
        return True
    return any(
        before[_scope_field(one)].comes_before(other, shape.names[one.field])
        for one in (place, *place.blocks)
    )


class _Before:
    """For each step of one scope the set of the steps before it, as bits."""

    def __init__(self, names: list[str], dependencies: list[list[str]]) -> None:
        self._position = {name: index for index, name in enumerate(names)}
        self._dependencies = dependencies
        self._names = names
        self._bits: list[int] | None = None

    def has(self, name: str) -> bool:
        return name in self._position

    def comes_before(self, first: str, second: str) -> bool:
        if first not in self._position:
            return False
        if self._bits is None:
            self._bits = self._ancestors()
        return bool(self._bits[self._position[second]] >> self._position[first] & 1)

    def _ancestors(self) -> list[int]:
        graph = dict(zip(self._names, self._dependencies, strict=True))
        before = [0] * len(self._names)
        for name in TopologicalSorter(graph).static_order():
            index = self._position[name]
            for dependency in self._dependencies[index]:
                other = self._position[dependency]
                before[index] |= before[other] | 1 << other
        return before


def texts(step: Step) -> Iterator[tuple[str, str]]:
    """Every expression of a step, with the field it stands in; not those of steps within it."""
    if step.when is not None:
        yield "when", _bare(step.when)
    if isinstance(step.for_each, str):
        found = list(expressions.references(step.for_each))
        yield from (("for_each", text) for text in found or [step.for_each])
    elif isinstance(step.for_each, AssetItems):
        for name, value in step.for_each.assets.items():
            yield from ((f"for_each.assets.{name}", text) for text in expressions.references(value))
    elif step.for_each is not None:
        yield from (("for_each", text) for text in expressions.references(step.for_each))
    for condition in assertions_of(step):
        yield "assert", _bare(condition)
    yield from (("message", text) for text in expressions.references(step.message))
    for name, rule in (("check", step.check), ("until", step.until)):
        if rule is not None:
            yield from _of_rule(name, rule)
    for name, value in step.parameters.items():
        for text in expressions.references(value):
            yield f"parameters.{name}", text
    if step.compensate is not None:
        if step.compensate.when is not None:
            yield "compensate.when", _bare(step.compensate.when)
        for name, value in step.compensate.parameters.items():
            for text in expressions.references(value):
                yield f"compensate.parameters.{name}", text


def _of_rule(name: str, rule: Check | Until) -> Iterator[tuple[str, str]]:
    yield f"{name}.condition", _bare(rule.condition)
    for text in expressions.references(rule.message):
        yield f"{name}.message", text


def assertions_of(step: Step) -> tuple[str, ...]:
    """The conditions of an assertion; none of any other step."""
    if step.assertion is None:
        return ()
    return (step.assertion,) if isinstance(step.assertion, str) else tuple(step.assertion)


def _bare(condition: str) -> str:
    text = condition.strip()
    return text[2:-2] if text.startswith("{{") and text.endswith("}}") else text
