"""The texts that `runstream tools new` writes."""

from __future__ import annotations

from typing import Final

_HEAD: Final = """\
# A tool of your own. toolmeta/README.md says everything that may stand here;
# `runstream tools lint` says what is wrong with it.
name: NAME
# ^ the name of this file; plans say `tool: NAME`.
domain: DOMAIN
# ^ the name of this folder: executors of this domain run it.
platform: linux
group: own
kind: own
# Two lines: what it does, and what one must know before using it.
description: |-
  Greets somebody in one line.
  It writes to its own output only and touches nothing.
"""
_PARAMETERS: Final = """\
# What a plan may give. Bound everything: here a pattern that the whole value matches.
parameters:
  host:
    type: string
    format: host-port
    description: Machine to run on; the executor's own where absent.
  name:
    type: string
    required: true
    pattern: "[A-Za-z][A-Za-z .]{0,39}"
    description: Whom to greet.
    examples: [Ada]
"""
_TAIL: Final = """\
# JSON Schema of the output: later steps refer to {{ steps.ID.output.text }}.
output:
  type: object
  required: [exit_code, text]
  properties:
    exit_code: {type: integer}
    text: {type: string}
risk:
  effect: read            # read, modify or destroy: what it does at its worst
  why_read: It writes to its own output only.    # only where the effect is read
  idempotent: true        # twice is as once
  retry_safe: true        # twice does no harm
  # approval_in: [prod]   # what changes something waits in prod for an approval anyway
timeout_seconds: 30       # the longest sensible run
# What the parameters above make of one call; lint compares it.
example:
"""
_PROGRAM: Final = """\
program: echo
run:
  driver: command
  # Whole arguments, no shell. `{name}` stands for the value; one that is absent leaves its
  # argument out. After `--` a value may begin with a dash.
  argv: [echo, "Hello {name}"]
  parser: text            # text, lines, json, jsonl, key_value, jc:NAME, plugin:NAME
"""
_SCRIPT: Final = """\
run:
  driver: script
  script:
    interpreter: INTERPRETER
    # Beside this file; its text is a part of the definition.
    file: FILE
  # The arguments of the script, each a whole word; none becomes a part of its text.
  argv: ["{name}"]
  # env: {GREETING: Hello}    # variables; the place for secrets
  parser: text            # text, lines, json, jsonl, key_value, jc:NAME, plugin:NAME
"""

#: The scripts, by interpreter.
SCRIPTS: Final = {
    "sh": "#!/bin/sh\nset -eu\nprintf 'Hello %s\\n' \"$1\"\n",
    "bash": "#!/bin/bash\nset -euo pipefail\nprintf 'Hello %s\\n' \"$1\"\n",
    "python3": '#!/usr/bin/python3\nimport sys\n\nprint("Hello", sys.argv[1])\n',
    "pwsh": 'param([string]$Name)\n"Hello $Name"\n',
}


def program(name: str, domain: str) -> str:
    """A definition that starts a program."""
    return _named(_HEAD + _PARAMETERS + _PROGRAM + _TAIL + _example("Hello Ada"), name, domain)


def script(name: str, domain: str, interpreter: str, file: str) -> str:
    """A definition that runs a script beside it."""
    text = _named(_HEAD + _PARAMETERS + _SCRIPT + _TAIL + _example("Ada"), name, domain)
    return text.replace("INTERPRETER", interpreter).replace("file: FILE", f"file: {file}")


def _example(argv: str) -> str:
    first = "echo, " if argv != "Ada" else ""
    return (
        f"  parameters: {{name: Ada}}\n  argv: [{first}{argv}]\n"
        "  output: {exit_code: 0, text: Hello Ada}\n"
    )


def _named(text: str, name: str, domain: str) -> str:
    named = text.replace("name: NAME", f"name: {name}").replace("tool: NAME", f"tool: {name}")
    return named.replace("domain: DOMAIN", f"domain: {domain}")
