"""What ansible-playbook writes, as its own default callback writes it: tasks, results, the recap.

The recap is the last one of the text and every host is in it, so the counts are Ansible's own.
Results between are told as they come; a failure of a host that the recap knows no failure of is
left out, since an item of a loop may have any text as its name, line breaks too.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Dict, List

from toolmeta.programs.report import Fields, cut, progress

COUNTS = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored")
_HEADING = re.compile(r"(PLAY|TASK|RUNNING HANDLER|HANDLER)(?: \[(.*)\])? \*+")
_RECAP = re.compile(r"PLAY RECAP \*+")
_COUNTED = re.compile(
    r"(\S.*?)\s*: " + r"\s+".join(rf"{name}=([0-9]+)" for name in COUNTS) + r"\s*"
)
_RESULT = re.compile(
    r"(ok|changed|skipping|failed|fatal|rescued|ignored): \[([^\]\s]+)(?: -> ([^\]]+))?\]"
    r"(?:: (FAILED|UNREACHABLE)!)?(?: \(item=.*?\))?(?: => (.*))?"
)
_ERROR = re.compile(r"(?:ERROR! |\[ERROR\]: )(.+)")
_WARNING = re.compile(r"\[WARNING\]: (.+)")
_STATES = {"skipping": "skipped", "fatal": "failed"}
#: What says no more than that it failed; the last line of its errors does.
_GENERAL = ("non-zero return code", "MODULE FAILURE")
_MOST_MESSAGE = 1_000
_MOST_TASKS = 1_000
_MOST_FAILED = 1_000
#: Of one result.
_MOST_LINES = 10_000
_MOST_CHARACTERS = 8 * 1024 * 1024
#: More than a playbook can be given; text that looks like a recap may have any number.
_MOST_HOSTS = 50_000


class Reading:
    """What was read so far."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._play = self._task = ""
        self._recap: Dict[str, Dict[str, int]] = {}
        self._in_recap = False
        self._failed: List[Fields] = []
        self.tasks: List[Fields] = []
        #: A result that goes on in the next lines, and what it has so far.
        self._open: List[str] = []
        self._open_characters = 0
        self._open_event: Fields = {}
        self.results = self._begun_tasks = 0
        self.error = ""
        self.warnings: List[str] = []
        self.last = ""

    def take(self, line: str) -> None:
        """Read one line; it is shown as it is, or as the event that it tells of."""
        if line.strip():
            self.last = line.strip()
        event = self._event(line)
        if not self._as_json:
            sys.stderr.write(line + "\n")
        elif event is not None:
            sys.stderr.write(json.dumps(event) + "\n")
        sys.stderr.flush()

    def _event(self, line: str) -> Fields | None:
        if self._open:
            self._open_characters += len(line)
            if self._open_characters <= _MOST_CHARACTERS:
                self._open.append(line)
            if line != "}" and len(self._open) < _MOST_LINES:
                return None
            event, text = self._open_event, "\n".join(self._open)
            self._open = []
            return self._ended(event, text)
        if _RECAP.fullmatch(line):
            self._recap, self._in_recap = {}, True
            return None
        heading = _HEADING.fullmatch(line)
        if heading is not None:
            self._in_recap = False
            return self._begun(heading[1], heading[2] or "")
        if self._in_recap:
            counted = _COUNTED.fullmatch(line)
            if counted is not None and len(self._recap) < _MOST_HOSTS:
                counts = dict(zip(COUNTS, map(int, counted.groups()[1:])))
                self._recap[counted[1]] = counts
                return {"event": "host", "host": counted[1], **counts}
        result = _RESULT.fullmatch(line)
        if result is not None and self._task:
            return self._result(result)
        if line == "...ignoring" and self._failed:
            self._failed[-1]["ignored"] = True
            return None
        self._said(line)
        return None

    def _begun(self, kind: str, name: str) -> Fields:
        if kind == "PLAY":
            self._play, self._task = name, ""
            return {"event": "play", "play": name}
        self._task = name or "task"
        self._begun_tasks += 1
        progress(None, f"task {self._begun_tasks}: {self._task}")
        if len(self.tasks) < _MOST_TASKS:
            self.tasks.append({"play": self._play, "task": self._task})
        return {"event": "task", "play": self._play, "task": self._task}

    def _result(self, found: re.Match[str]) -> Fields | None:
        word, host, at, kind, text = found.groups()
        state = "unreachable" if kind == "UNREACHABLE" else _STATES.get(word, word)
        self.results += 1
        if self.tasks and self.tasks[-1]["task"] == self._task:
            self.tasks[-1][state] = self.tasks[-1].get(state, 0) + 1
        event: Fields = {"event": "result", "host": host, "task": self._task, "state": state}
        if at is not None:
            event["delegated_to"] = at
        if state not in ("failed", "unreachable"):
            return event
        if text == "{":
            self._open, self._open_characters, self._open_event = [text], 0, event
            return None
        return self._ended(event, text or "")

    def _ended(self, event: Fields, text: str) -> Fields:
        """A failure with its whole result."""
        event["message"] = _message(text)
        if len(self._failed) < _MOST_FAILED:
            entry = {name: event[name] for name in ("host", "task", "state", "message")}
            self._failed.append({**entry, "play": self._play, "ignored": False})
        return event

    def _said(self, line: str) -> None:
        error = _ERROR.fullmatch(line)
        if error is not None and not self.error:
            self.error = error[1][:_MOST_MESSAGE]
        warning = _WARNING.fullmatch(line)
        if warning is not None and len(self.warnings) < 100:
            self.warnings.append(warning[1][:_MOST_MESSAGE])

    @property
    def hosts(self) -> Dict[str, Dict[str, int]]:
        """The recap: what each host was counted with."""
        return self._recap

    def failed(self) -> List[Fields]:
        """The tasks that failed, in their order, of the hosts that the recap has failures of."""
        bad = ("failed", "unreachable", "rescued", "ignored")
        return [
            entry
            for entry in self._failed
            if any(self._recap.get(entry["host"], {"failed": 1}).get(name) for name in bad)
        ]

    def report(self) -> Fields:
        """The fields of the output."""
        totals = {name: sum(host[name] for host in self._recap.values()) for name in COUNTS}
        failed = self.failed()
        return {
            "changed": totals["changed"] > 0,
            "hosts": [{"host": name, **counts} for name, counts in self._recap.items()],
            "host_count": len(self._recap),
            "totals": totals,
            "failed_tasks": cut(failed),
            "tasks": self.tasks,
            "warnings": self.warnings,
        }


def _message(text: str) -> str:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return text[:_MOST_MESSAGE]
    if not isinstance(found, dict):
        return text[:_MOST_MESSAGE]
    said = found.get("msg")
    message = said if isinstance(said, str) else json.dumps(said) if said is not None else ""
    if not message or message.startswith(_GENERAL):
        errors = str(found.get("stderr") or found.get("module_stderr") or "").strip()
        message = ": ".join(filter(None, (message, errors.splitlines()[-1] if errors else "")))
        if "rc" in found:
            message += f" (exit code {found['rc']})"
    return message[:_MOST_MESSAGE]
