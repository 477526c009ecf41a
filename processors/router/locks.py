"""Locks: what a step must hold before it is dispatched, and what the keeper's answers change.

An execution asks once for every asset that its plan names for steps that may change something,
when the first of these steps is free; a `for_each` step asks for the assets of all its items.
What only the run can tell is asked for later. It keeps what it has until it ends.

What was asked for and not yet answered is in memory only: it is asked again after a restart, and
each time the lease is renewed. A repeated request changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from processors.router import policy
from processors.router.asset_names import uncovered
from processors.router.decision import AskKeeper, Decision
from processors.router.state import Execution, LockNeeds, StepState
from runtime.cel import expressions
from streams.admitted import AdmittedStep, every_step
from streams.limits import MAX_LOCK_BYTES
from streams.lock_payloads import LockAcquired, LockEnded
from streams.locks import (
    Acquire,
    AnyLockAnswer,
    Expired,
    Granted,
    Queued,
    Refused,
    Release,
    Renew,
    bytes_of,
)
from streams.payloads import Waiting
from streams.timestamps import iso
from toolmeta.bind import target_key
from toolmeta.checkers import is_reference
from toolmeta.locking import LOCK_NAMES, lock_key
from toolmeta.targets import listed

#: How often a lease is renewed while the execution lives.
RENEWALS: Final = 3


class TooManyLocks(Exception):
    """The execution would hold more than its record can say."""


def fencing_tokens(
    decision: Decision,
    step: StepState,
    spec: AdmittedStep,
    targets: Iterable[Any],
    context: dict[str, Any] | None,
) -> dict[str, int] | None:
    """The tokens of everything that the step locks, or None: it waits, and what it lacks is asked.

    `targets` is what its parameters name now that references are resolved; `context` is what they
    were resolved with. Raises TooManyLocks.
    """
    execution = decision.execution
    keys = [*_keys(targets, spec.assets), *_uncovered(execution, step)]
    missing = [key for key in keys if key not in execution.locks]
    if not missing:
        return _with_other_names(execution.locks, keys)
    _ask(decision, step, spec, missing, context)
    _tell(decision, step, missing)
    return None


def _with_other_names(held: dict[str, int], keys: list[str]) -> dict[str, int]:
    """The tokens of these keys and of the other names of their assets: those are the same."""
    tokens = {key: held[key] for key in keys}
    if len(tokens) < len(held):
        numbers = set(tokens.values())
        tokens |= {name: number for name, number in held.items() if number in numbers}
    return tokens


def _uncovered(execution: Execution, step: StepState) -> list[str]:
    """The names without which the last attempt did not begin."""
    if step.error is None or step.error["class"] != LOCK_NAMES:
        return []
    assets = uncovered(step.output, execution.locks)
    return list(dict.fromkeys(name for asset in assets for name in asset.names))


def _ask(
    decision: Decision,
    step: StepState,
    spec: AdmittedStep,
    missing: list[str],
    context: dict[str, Any] | None,
) -> None:
    execution = decision.execution
    needs = execution.lock_needs = execution.lock_needs or LockNeeds()
    if not needs.asked.isdisjoint(missing):
        return
    # Of a step in a block, the items of the block.
    item = next((one for one in execution.around(step) if one.is_item), None)
    container = None if item is None else item.parent
    if container is not None and container in needs.too_many:
        raise TooManyLocks(needs.too_many[container])
    wanted = dict.fromkeys(missing)
    if container is not None:
        items = execution.steps[container].items or []
        for one in (spec, spec.compensate):
            if one is not None and one.locks and one.references:
                wanted |= dict.fromkeys(_of_items(decision, items, one, context or {}))
    if needs.planned is None:
        needs.planned = dict.fromkeys(planned(execution.plan.roots))
    wanted |= needs.planned
    fresh = sorted(key for key in wanted if key not in execution.locks)
    if not needs.asked.isdisjoint(fresh):
        # Each asset is asked for once: thousands of items would each ask for all of the plan, and
        # whoever gets its own before holds what others wait for while it waits itself.
        return
    known = {*execution.locks, *execution.locks_lost, *needs.asked, *fresh}
    size = bytes_of(known)
    if size > MAX_LOCK_BYTES:
        message = (
            f"the execution would lock {len(fresh) + len(execution.locks)} assets; their names "
            f"have {size} bytes and {MAX_LOCK_BYTES} are allowed: split the plan"
        )
        if container is not None:
            needs.too_many[container] = message
        raise TooManyLocks(message)
    needs.asked.update(fresh)
    request = Acquire(
        execution_id=execution.id, tenant=execution.tenant, request=step.id, assets=fresh,
        priority=execution.priority, lease_seconds=policy.LOCK_LEASE_SECONDS,
    )  # fmt: skip
    decision.effects.append(AskKeeper(request))
    _keep_renewing(decision)


def planned(steps: Iterable[AdmittedStep]) -> Iterator[str]:
    """The keys of all assets that these steps name literally and lock; with repetitions."""
    for spec in every_step(steps):
        undo = spec.compensate
        if spec.locks:
            yield from _keys(_literal_targets(spec), spec.assets)
        if undo is not None and undo.locks:
            yield from _keys(_literal_targets(undo), undo.assets)


def _keys(targets: Iterable[Any], assets: Iterable[str] | None) -> list[str]:
    found = (lock_key(name) for name in (*targets, *(assets or ())))
    return list(dict.fromkeys(key for key in found if key is not None))


def _literal_targets(spec: AdmittedStep) -> list[Any]:
    return [_literal_target(spec), *listed(spec.targets, spec.parameters)]


def _literal_target(spec: AdmittedStep) -> str | None:
    """The target where the plan itself says it; None where only the run can."""
    for name in spec.target:
        value = spec.parameters.get(name)
        if is_reference(value):
            return None
        target = target_key(value)
        if target is not None:
            return target
    return spec.target_default


def _of_items(
    decision: Decision, items: list[Any], spec: AdmittedStep, context: dict[str, Any]
) -> Iterator[str]:
    """The targets of a step for all these items, as far as they can be told already."""
    one = next((spec.parameters[name] for name in spec.target if name in spec.parameters), None)
    # A path is looked up here; evaluating anything else for each item would take too long.
    texts = [
        text
        for text in (one, *listed(spec.targets, spec.parameters))
        if is_reference(text) and all(map(expressions.is_path, expressions.references(text)))
    ]
    for index, item in enumerate(items if texts else ()):
        here = {**context, "item": item, "index": index}
        for text in texts:
            try:
                value = expressions.render(text, here, decision.spent)
            except expressions.ExpressionError:
                # The item itself fails by that, when it is its turn.
                continue
            keys = map(lock_key, value if isinstance(value, list) else [value])
            yield from (key for key in keys if key is not None)


def _tell(decision: Decision, step: StepState, missing: list[str]) -> None:
    """Say why the step waits, once it is known; at once where it waited for something else."""
    needs = decision.execution.lock_needs or LockNeeds()
    # What is asked is granted together: it may be another asset of the plan that is not free.
    asset = next((key for key in (*missing, *needs.blocked) if key in needs.blocked), None)
    if asset is not None:
        message = needs.blocked[asset]
        if step.waiting == "lock" and needs.told.get(step.id) == message:
            return
        needs.told[step.id] = message
    elif step.status == "waiting" and step.waiting != "lock":
        message = f"it asks for the lock of {missing[0]}"
    else:
        return
    until = decision.now + policy.LOCK_WAIT_SECONDS
    if step.waiting == "lock" and step.retry_at is not None:
        until = step.retry_at
    decision.emit("step.waiting", Waiting("lock", message, iso(until)), step.id)


def apply(decision: Decision, answer: AnyLockAnswer) -> None:
    """Take an answer of the keeper; the caller then looks at every step again."""
    execution = decision.execution
    match answer:
        case Granted(request=request, tokens=tokens):
            _granted(decision, request, tokens)
        case Queued(asset=asset, holder=holder, held=held):
            needs = execution.lock_needs = execution.lock_needs or LockNeeds()
            message = f"{asset} is {'locked by' if held else 'kept free for'} {holder}"
            needs.blocked[asset] = message
        case Expired(tokens=tokens):
            held_here = execution.locks
            ended = {name: token for name, token in tokens.items() if held_here.get(name) == token}
            execution.lock_needs = None
            if ended:
                decision.emit("lock.expired", LockEnded(ended))
        case Refused():
            execution.lock_needs = None


def _granted(decision: Decision, request: str, tokens: dict[str, int]) -> None:
    """A token counts once: a repeated grant says nothing new, nor does one that has expired."""
    execution = decision.execution
    held, lost = execution.locks, execution.locks_lost
    fresh = {
        name: token
        for name, token in tokens.items()
        if token > held.get(name, 0) and token > lost.get(name, 0)
    }
    needs = execution.lock_needs
    if needs is not None:
        needs.asked.difference_update(tokens)
        for name in tokens:
            needs.blocked.pop(name, None)
        if not needs.asked:
            execution.lock_needs = None
    if fresh:
        data = LockAcquired(fresh, request, policy.LOCK_LEASE_SECONDS)
        decision.emit("lock.acquired", data)
        _keep_renewing(decision)


def refusal(answer: Refused) -> str:
    """Why a request was refused, and what to do."""
    return (
        f"{answer.asset} is locked by {answer.holder}, which waits for what this execution holds; "
        "name every asset in `assets` of the first step that changes one, so that all of them are "
        "locked together"
    )


def renew(decision: Decision) -> None:
    """A third of the lease is over: say that the execution lives, and ask again for the rest.

    What is asked again follows from looking at every step, which is the caller's next work.
    """
    execution = decision.execution
    execution.renew_at = None
    if execution.lock_needs is not None:
        execution.lock_needs.asked.clear()
    if execution.locks:
        renewal = Renew(execution_id=execution.id, tenant=execution.tenant)
        decision.effects.append(AskKeeper(renewal))
        _keep_renewing(decision)


def _keep_renewing(decision: Decision) -> None:
    if decision.execution.renew_at is None:
        decision.execution.renew_at = decision.now + policy.LOCK_LEASE_SECONDS / RENEWALS


def release(decision: Decision) -> None:
    """The execution ends: it gives up what it holds and what it waits for."""
    execution = decision.execution
    if not execution.locks and execution.lock_needs is None:
        return
    give_up = Release(execution_id=execution.id, tenant=execution.tenant)
    decision.effects.append(AskKeeper(give_up))
    execution.lock_needs = execution.renew_at = None
    if execution.locks:
        decision.emit("lock.released", LockEnded(dict(execution.locks)))


def give_back(answer: AnyLockAnswer) -> Release | None:
    """What follows from an answer to an execution that has ended or was never known here."""
    if isinstance(answer, Granted | Queued):
        return Release(execution_id=answer.execution_id, tenant=answer.tenant)
    return None


def restored(execution: Execution, now: float) -> None:
    """After a restart the lease is renewed, and what may not be answered yet is asked again."""
    if execution.locks or any(spec.locks for spec in _calls(execution.plan.roots)):
        execution.renew_at = now
        # It may wait with the keeper: if it ends before it asks again, it gives that up.
        execution.lock_needs = LockNeeds()


def _calls(steps: Iterable[AdmittedStep]) -> Iterator[AdmittedStep]:
    for spec in every_step(steps):
        yield spec
        if spec.compensate is not None:
            yield spec.compensate
