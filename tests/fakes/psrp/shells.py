"""Shells and pipelines of the fake: what was asked is recorded, what is answered is canned."""

from __future__ import annotations

import base64
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.psrp import remoting
from tests.fakes.psrp.clixml import Thing, parameters_of
from tests.fakes.psrp.remoting import Fault


@dataclass
class Reply:
    """What a command gives: objects, then errors; `hang` waits until it is stopped."""

    objects: list[Any] = field(default_factory=list)
    errors: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: The error that ends the pipeline.
    terminating: Fault | None = None
    progress: tuple[str, int] | None = None
    hang: bool = False
    #: A stop is not obeyed.
    stubborn: bool = False
    #: Objects made one by one while the client reads, for output of any size.
    stream: Callable[[], Any] | None = None
    #: The connection is cut instead of an answer.
    cut: bool = False


@dataclass
class Call:
    """One pipeline as it arrived."""

    commands: list[dict[str, Any]]
    stopped: bool = False

    @property
    def first(self) -> dict[str, Any]:
        """The first command."""
        return self.commands[0]


Answers = Callable[[dict[str, Any]], Reply]


class Pipeline:
    """One command of a shell."""

    def __init__(self, ident: str, sender: remoting.Sender, answers: Answers) -> None:
        self.ident = ident
        self._sender = sender
        self._answers = answers
        self._assembler = remoting.Assembler()
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._done = False
        self._objects: Any = None
        self.reply = Reply()
        self.call: Call | None = None

    def feed(self, data: bytes) -> Call | None:
        """Take fragments; returns the call once it is whole."""
        for kind, text in self._assembler.feed(data):
            assert kind == remoting.CREATE_PIPELINE, hex(kind)
            commands, _ = parameters_of(text)
            self.call = Call(commands)
            self._start(self._answers(commands[0]))
            return self.call
        return None

    def _start(self, reply: Reply) -> None:
        self.reply = reply
        if reply.progress is not None:
            self._say(remoting.PROGRESS_RECORD, remoting.progress(*reply.progress))
        objects = _shaped(reply.objects, self._commands[1:])
        for one in objects:
            self._say(remoting.PIPELINE_OUTPUT, remoting.output(one))
        for fault in reply.errors:
            self._say(remoting.ERROR_RECORD, remoting.error_record(fault))
        for text in reply.warnings:
            self._say(remoting.WARNING_RECORD, remoting.informational("Warning", text))
        if not reply.hang and reply.stream is None:
            state = remoting.FAILED if reply.terminating else remoting.COMPLETED
            self._end(state, reply.terminating)

    @property
    def _commands(self) -> list[dict[str, Any]]:
        return self.call.commands if self.call else []

    def _say(self, kind: int, text: str) -> None:
        with self._changed:
            self._waiting.extend(self._sender.message(kind, text, self.ident))
            self._changed.notify_all()

    def _end(self, state: int, fault: Fault | None = None) -> None:
        self._done = True
        self._say(remoting.PIPELINE_STATE, remoting.pipeline_state(state, fault))

    def stop(self) -> None:
        """What ctrl-c does."""
        if self.call is not None:
            self.call.stopped = True
        if not self._done and not self.reply.stubborn:
            stopped = Fault("The pipeline has been stopped.", 14, "PipelineStopped")
            self._end(remoting.STOPPED, stopped)

    def receive(self, seconds: float, room: int = 300_000) -> list[bytes]:
        """Fragments that wait, after at most `seconds`; none is a timeout."""
        deadline = time.monotonic() + seconds
        if self.reply.stream is not None and not self._done and len(self._waiting) < 16:
            for _ in range(16):
                one = self.reply.stream()
                if one is None:
                    self._end(remoting.COMPLETED)
                    break
                self._say(remoting.PIPELINE_OUTPUT, remoting.output(one))
        with self._changed:
            while not self._waiting:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return []
            taken: list[bytes] = []
            while self._waiting and sum(map(len, taken)) + len(self._waiting[0]) < room:
                taken.append(self._waiting.popleft())
            return taken


class Shell:
    """One runspace pool."""

    def __init__(self, ident: str, creation: bytes, answers: Answers) -> None:
        self.ident = ident
        self._answers = answers
        self.sender = remoting.Sender(ident)
        messages = remoting.Assembler().feed(creation)
        kinds = [kind for kind, _ in messages]
        assert kinds == [remoting.SESSION_CAPABILITY, remoting.INIT_RUNSPACEPOOL], kinds
        self.pipelines: dict[str, Pipeline] = {}
        self.waiting = [
            fragment
            for kind, text in (
                (remoting.SESSION_CAPABILITY, remoting.capability()),
                (remoting.APPLICATION_PRIVATE_DATA, remoting.private_data()),
                (remoting.RUNSPACEPOOL_STATE, remoting.pool_state(remoting.OPENED)),
            )
            for fragment in self.sender.message(kind, text)
        ]

    def begin(self, ident: str | None, first: str) -> tuple[Pipeline, Call | None]:
        """A new pipeline from its first fragment."""
        pipeline = Pipeline(ident or str(uuid.uuid4()).upper(), self.sender, self._answers)
        self.pipelines[pipeline.ident] = pipeline
        return pipeline, pipeline.feed(base64.b64decode(first))


def _shaped(objects: list[Any], commands: list[dict[str, Any]]) -> list[Any]:
    """What Select-Object and Out-String at the end of a pipeline make of the objects."""
    for command in commands:
        bound = command["parameters"]
        if command["name"] == "Out-String":
            objects = [str(getattr(one, "properties", one)) for one in objects]
            continue
        assert command["name"] == "Select-Object", command
        if "ExpandProperty" in bound:
            parts = [one.properties[bound["ExpandProperty"]] for one in objects]
            objects = [one for part in parts for one in part]
        if "Property" in bound:
            objects = [
                Thing(
                    f"Selected.{one.type}",
                    {name: one.properties.get(name) for name in bound["Property"]},
                )
                for one in objects
            ]
        if "First" in bound:
            objects = objects[: bound["First"]]
    return objects
