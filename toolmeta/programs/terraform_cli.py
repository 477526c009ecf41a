"""terraform, or tofu, in one working folder: settings, messages, and what a plan would do.

Its data folder (`.terraform`) is the step's own: nothing is written into the working folder but
the state, where the configuration keeps that there.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, List, NamedTuple

from toolmeta.programs import private_files, running, streamed
from toolmeta.programs.report import Fields, Refused, progress

PROGRAMS = ("terraform", "tofu")
#: Of a plan as JSON, which holds the state too.
_MOST_PLAN = 256 * 1024 * 1024
#: A plan may not set what brings in other code or another configuration than the folder's.
_REFUSED_VARIABLE = re.compile(
    r"(TF|LD|DYLD|PYTHON|GIT|BASH|RUNSTREAM|STEP|KUBE|HELM)_?.*|PATH|HOME|SHELL|ENV|IFS|TMPDIR"
    r"|EDITOR|PAGER|.*_(FILE|PATH|DIR|CONFIG|COMMAND|PROCESS|EXEC|CREDENTIALS)|.*_PROXY"
)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
_ALWAYS = (
    ("busy", r"Error acquiring the state lock"),
    ("conflict", r"Saved plan is stale"),
    ("conflict", r"Provider dependency changes detected|Inconsistent dependency lock file"),
)
#: Before an apply nothing has been done.
_BEFORE = (
    *_ALWAYS,
    ("not_found", r"No configuration files|Unreadable module directory"),
    ("unreachable", r"no such host|i/o timeout|network is unreachable|could not connect"),
    ("connection_refused", r"connection refused"),
    ("invalid_parameters", r"[Vv]ariable"),
)


class Message(NamedTuple):
    """An error or a warning of terraform."""

    severity: str
    summary: str
    detail: str

    def sentence(self) -> str:
        """What it says, on one line."""
        return ": ".join(filter(None, (self.summary, self.detail.strip().split("\n\n")[0])))


class Told:
    """What a command said in its JSON messages; each is shown as text meanwhile."""

    def __init__(self, expected: int = 0) -> None:
        self.messages: List[Message] = []
        #: How many resources are to be changed.
        self._expected = expected
        self.applied = 0
        self.outputs: Fields = {}
        self.last = ""

    def take(self, line: str) -> None:
        """Read one line."""
        found = _object(line)
        text = str(found.get("@message", "")) if found else line
        if text.strip():
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
            self.last = text.strip()
        kind = found.get("type")
        if kind == "diagnostic":
            self._diagnostic(found.get("diagnostic") or {})
        elif kind == "apply_complete":
            self.applied += 1
            if self._expected:
                percent = 100.0 * self.applied / self._expected
                progress(percent, f"{self.applied} of {self._expected} resources")
        elif kind == "outputs":
            # terraform leaves out the values of sensitive ones.
            self.outputs = found.get("outputs") or {}

    def _diagnostic(self, found: Fields) -> None:
        if len(self.messages) < 1_000:
            words = (found.get("severity"), found.get("summary"), found.get("detail"))
            self.messages.append(Message(*(str(word or "") for word in words)))

    def failure(self, code: int, name: str, *, before: bool) -> Refused:
        """The failure of the command, by the first error that it named."""
        errors = [message for message in self.messages if message.severity == "error"]
        sentence = errors[0].sentence() if errors else self.last or "it said nothing"
        whole = " ".join(message.summary + message.detail for message in errors) or sentence
        for error_class, pattern in _BEFORE if before else _ALWAYS:
            if re.search(pattern, whole):
                return Refused(error_class, f"{name}: {sentence}{_remedy(whole)}")
        return Refused("exit_status", f"{name} ended with exit code {code}: {sentence}")


class Terraform:
    """The program in the working folder of one call."""

    def __init__(self, given: Fields, private: Path) -> None:
        self.folder = Path(given["folder"])
        if not self.folder.is_dir():
            raise Refused("not_found", f"{self.folder} is no folder of this machine")
        self.program = _program(given.get("program"))
        self.name = Path(self.program).name
        self._given = given
        self._private = private
        settings = {
            **_variables(given.get("env") or {}),
            "LC_ALL": "C.UTF-8",
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "TF_DATA_DIR": str(private / "data"),
            # Neither asks whether there is a newer version.
            "CHECKPOINT_DISABLE": "1",
        }
        if given.get("workspace") is not None:
            settings["TF_WORKSPACE"] = given["workspace"]
        if given.get("cli_config") is not None:
            settings["TF_CLI_CONFIG_FILE"] = given["cli_config"]
        self._env = running.environment(settings, without="TF_")

    def init(self) -> None:
        """Fetch what the configuration needs; the lock file of the folder stays as it is."""
        words = ["init", "-input=false", "-no-color", "-lockfile=readonly", self.lock_timeout()]
        if self._given.get("backend_config"):
            file = self._private / "backend.json"
            words.append(
                f"-backend-config={private_files.put_json(file, self._given['backend_config'])}"
            )
        if self._given.get("plugin_dir") is not None:
            words.append(f"-plugin-dir={self._given['plugin_dir']}")
        told = _Text()
        code = streamed.lines([self.program, *words], self._env, str(self.folder), told.take)
        if code != 0:
            said = told.said()
            for error_class, pattern in _BEFORE:
                if re.search(pattern, told.text):
                    raise Refused(error_class, f"{self.name} init: {said}{_remedy(told.text)}")
            raise Refused("invalid_parameters", f"{self.name} init: {said}")

    def lock_timeout(self) -> str:
        """How long it waits for a state that somebody else has locked."""
        return f"-lock-timeout={int(self._given['lock_timeout'])}s"

    def work(self, words: list[str], told: Told) -> int:
        """Run a command that tells what it does; its exit code."""
        return streamed.lines([self.program, *words], self._env, str(self.folder), told.take)

    def planned(self, plan: Path) -> Fields:
        """What the plan in this file would do: no value of anything, only what and where."""
        shown = _captured([self.program, "show", "-json", str(plan)], self._env, self.folder)
        changes, counts = [], dict.fromkeys(("add", "change", "destroy", "import"), 0)
        for item in shown.get("resource_changes") or []:
            change = item.get("change") or {}
            actions = change.get("actions") or []
            imported = "importing" in change
            counts["add"] += "create" in actions
            counts["change"] += "update" in actions
            counts["destroy"] += "delete" in actions
            counts["import"] += imported
            if imported or item.get("previous_address") or actions not in (["no-op"], ["read"]):
                changes.append({"address": item.get("address", ""), "actions": actions})
        outputs = [
            {"name": name, "actions": change.get("actions") or []}
            for name, change in (shown.get("output_changes") or {}).items()
            if change.get("actions") != ["no-op"]
        ]
        return {
            **counts,
            "changed": bool(changes or outputs),
            "changes": changes,
            "change_count": len(changes),
            "output_changes": outputs,
            "version": str(shown.get("terraform_version", "")),
            "program": self.name,
        }


class _Text:
    """What a command without JSON messages says."""

    def __init__(self) -> None:
        self.text = ""

    def take(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
        self.text = (self.text + line + "\n")[-64 * 1024 :]

    def said(self) -> str:
        """The last error: its first two lines with text, without the frame around them."""
        rows = [row.strip("│╷╵ \t") for row in self.text.splitlines()]
        starts = [index for index, row in enumerate(rows) if row.startswith("Error: ")]
        # One says only that there are others.
        telling = [index for index in starts if "encountered problems" not in rows[index]]
        at = (telling or starts or [0])[-1]
        rows = [row for row in rows[at : next((i for i in starts if i > at), None)] if row]
        where = rows[1:2] if rows[1:2] and rows[1].startswith("on ") else []
        detail = rows[1 + len(where) :]
        plain = [row for row in detail if not re.match(r"[0-9]+: ", row)]
        return " ".join([*rows[:1], *where, *plain])[:1_000] or "it said nothing"


def sha256_of(path: Path) -> str:
    """The hash of a file, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1024 * 1024), b""):
            digest.update(piece)
    return digest.hexdigest()


def _program(wanted: str | None) -> str:
    for name in (wanted,) if wanted is not None else PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return found
    named = wanted if wanted is not None else "neither terraform nor tofu"
    verb = "is not" if wanted is not None else "is"
    raise Refused("program_missing", f"{named} {verb} installed on this machine")


def _variables(given: Fields) -> Fields:
    for name in given:
        if _VARIABLE.fullmatch(name) is None:
            raise Refused(
                "invalid_parameters", f"env: {name!r:.60} is no name of capitals, digits and _"
            )
        if _REFUSED_VARIABLE.fullmatch(name) is not None:
            raise Refused(
                "invalid_parameters",
                f"env: {name} can bring in other code or another configuration than the folder's; "
                "give values here, and files by cli_config",
            )
    return given


def _captured(argv: list[str], env: dict[str, str], folder: Path) -> Fields:
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=env, cwd=str(folder)
    ) as process:
        assert process.stdout is not None  # noqa: S101
        text = process.stdout.read(_MOST_PLAN + 1)
        if len(text) > _MOST_PLAN:
            process.kill()
            raise Refused(
                "limit_exceeded",
                f"the plan is larger than {_MOST_PLAN} bytes of JSON: plan parts of it by targets",
            )
    found = _object(text.decode("utf-8", "replace"))
    if process.returncode != 0 or not found:
        raise Refused(
            "invalid_parameters",
            f"{Path(argv[0]).name} cannot read {argv[-1]}: it is no plan of this version",
        )
    return found


def _object(text: str) -> Fields:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _remedy(text: str) -> str:
    if "Saved plan is stale" in text:
        return "; make a new plan and have that approved"
    if "dependency" in text and "lock" in text:
        return "; run init in the folder and keep .terraform.lock.hcl with the configuration"
    if "acquiring the state lock" in text:
        return "; lock_timeout waits for it"
    return ""
