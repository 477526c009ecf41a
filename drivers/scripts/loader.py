"""How a script gets to its interpreter: over the standard input, into a file without a name.

The loader is one constant text for sh. It copies as many bytes as it is told from its standard
input into a file, opens that, removes it, and replaces itself by the interpreter, which reads
/dev/fd/3. What follows on the standard input is the script's own. So the script is part of no
command line, nothing of it is left, and exit codes and signals are the interpreter's own.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Final

from drivers.context import Failure, Outcome
from drivers.scripts.task import Script, Task
from toolmeta.invocation import Invocation

#: Exit code of the loader where it starts nothing; what it says then begins with its token.
_NOT_STARTED: Final = 125
# A shell of the Korn family closes 3 for what it starts, unless the start itself names it.
LOADER: Final = r"""
rs_t=$1 rs_n=$2 rs_d=$3
shift 3
rs_stop() { printf '%s\n%s\n' "$rs_t" "$1" >&2; exit 125; }
if [ -n "$rs_d" ]; then
  cd -- "$rs_d" 2>/dev/null || rs_stop "the folder $rs_d cannot be entered"
fi
command -v "$1" >/dev/null 2>&1 || rs_stop "$1 is not installed there"
if [ -n "$rs_n" ]; then
  rs_u=$(umask)
  umask 077
  rs_f=$(mktemp 2>/dev/null) || rs_stop "no file can be made in ${TMPDIR:-/tmp}"
  dd bs=1 count="$rs_n" of="$rs_f" 2>/dev/null
  if [ "$(wc -c <"$rs_f")" -ne "$rs_n" ]; then
    rm -f "$rs_f"
    rs_stop "the script did not arrive as a whole"
  fi
  exec 3<"$rs_f"
  rm -f "$rs_f"
  umask "$rs_u"
  [ -r /dev/fd/3 ] || rs_stop "there is no /dev/fd to read the script from"
  exec "$@" 3<&3
fi
exec "$@"
"""
#: What each sentence of the loader means.
_CLASSES: Final = (
    (r"the folder .* cannot be entered", "not_found"),
    (r"\S+ is not installed there", "program_missing"),
    (r"no file can be made in", "capability_missing"),
    (r"the script did not arrive", "connection_lost"),
    (r"there is no /dev/fd", "capability_missing"),
)
_FILE: Final = "/dev/fd/3"
#: PowerShell makes one text of what follows -Command, and options of words with a dash: words come
#: as data, and are splatted from an array, which binds each as a value.
_PWSH_WORDS: Final = "RUNSTREAM_SCRIPT_WORDS"
_PWSH: Final = (
    f"$words = @(ConvertFrom-Json $env:{_PWSH_WORDS}); Remove-Item env:{_PWSH_WORDS}; "
    f"& ([ScriptBlock]::Create([IO.File]::ReadAllText('{_FILE}'))) @words; "
    "if ($LASTEXITCODE) { exit $LASTEXITCODE }"
)
#: Before the words. Isolated, Python takes no module from the folder of the script, which is /tmp.
_STARTS: Final[dict[str, tuple[str, ...]]] = {
    "sh": ("sh", _FILE),
    "bash": ("bash", "--noprofile", "--norc", _FILE),
    "python3": ("python3", "-I", "-u", _FILE),
    "pwsh": ("pwsh", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", _PWSH),
}


def program_of(task: Task, invocation: Invocation) -> Invocation:
    """The call of the `command` driver that runs it, here or over SSH."""
    words, env = task.words, task.env
    script = task.script
    if script is not None:
        words, env = _interpreted(script, task)
    called = replace(
        invocation,
        argv=words,
        env=env,
        stdin=task.stdin or "",
        call=None,
        arguments={},
        success_codes=task.success_codes,
        parser=task.parser,
        called=task.called,
        stderr_lines=True,
    )
    if script is None and task.folder is None:
        return called
    token = secrets.token_hex(16)
    text = "" if script is None else script.text
    size = "" if script is None else str(len(text.encode()))
    said = tuple((rf"(?<={token}\n){sentence}", name) for sentence, name in _CLASSES)
    return replace(
        called,
        argv=("/bin/sh", "-c", LOADER, "sh", token, size, task.folder or "", *words),
        stdin=text + called.stdin if called.stdin else text,
        failures=(*said, *invocation.failures),
        # Also where the caller expects the exit code of the loader.
        warnings=(*said, *invocation.warnings),
    )


def _interpreted(script: Script, task: Task) -> tuple[tuple[str, ...], dict[str, str]]:
    start = _STARTS[script.interpreter]
    if script.interpreter != "pwsh":
        return (*start, *task.words), task.env
    import orjson

    return start, {**task.env, _PWSH_WORDS: orjson.dumps(list(task.words)).decode()}


def told(outcome: Outcome, task: Task) -> Outcome:
    """The same; where nothing was started, without the exit code of the loader."""
    said = f"{task.called} ended with exit code {_NOT_STARTED}: "
    if not isinstance(outcome, Failure) or outcome.error_class == "exit_status":
        return outcome
    if not outcome.message.startswith(said):
        return outcome
    why = outcome.message.removeprefix(said)
    return replace(outcome, message=f"{task.called} was not started: {why}", output=None)
