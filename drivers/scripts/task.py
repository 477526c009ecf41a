"""What a step of the `script` driver asks for: a command, or a script with its arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolmeta import scripts
from toolmeta.invocation import Invocation

#: Names of parsers by the word of a plan.
_PARSERS = {"lines": "lines", "json": "json", "jsonl": "jsonl", "key_value": "key_value"}


@dataclass(frozen=True, slots=True)
class Script:
    """A script, as data: nothing is ever put into its text."""

    interpreter: str
    text: str = field(repr=False)

    @property
    def digest(self) -> str:
        """The hash of interpreter and text."""
        return scripts.digest(self.interpreter, self.text)


@dataclass(frozen=True, slots=True)
class Task:
    """One run; of a command the first word is the program."""

    words: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict, repr=False)
    script: Script | None = None
    folder: str | None = None
    stdin: str | None = field(default=None, repr=False)
    success_codes: tuple[int, ...] = (0,)
    parser: str | None = None
    #: The operator of this executor wrote it, not the plan.
    own: bool = False

    @property
    def called(self) -> str:
        """How messages name it."""
        return self.words[0] if self.script is None else f"the {self.script.interpreter} script"


def task_of(invocation: Invocation) -> Task:
    """What is to run; raises ValueError with a sentence where it cannot be run."""
    given = invocation.arguments
    if invocation.call == scripts.LIBRARY:
        return Task(
            words=tuple(given["arguments"]),
            env=invocation.env,
            script=Script(given["interpreter"], given["script"]),
            stdin=invocation.stdin,
            success_codes=invocation.success_codes,
            parser=invocation.parser,
            own=True,
        )
    env = {str(name): str(value) for name, value in (given.get("env") or {}).items()}
    for name in env:
        fault = scripts.variable_fault(name)
        if fault is not None:
            raise ValueError(f"env: {fault}")
    words = _words(given.get("arguments") if invocation.call == scripts.INLINE else given["argv"])
    return Task(
        words=words,
        env=env,
        script=_script(given) if invocation.call == scripts.INLINE else None,
        folder=given.get("cwd"),
        stdin=given.get("input"),
        success_codes=tuple(given.get("exit_codes") or (0,)),
        parser=_PARSERS[given.get("parse") or "lines"],
    )


def _words(given: Any) -> tuple[str, ...]:
    return tuple(str(word) for word in given or ())


def _script(given: dict[str, Any]) -> Script:
    fault = scripts.text_fault(given["script"])
    if fault is not None:
        raise ValueError(f"script: {fault}")
    return Script(given["interpreter"], given["script"])
