"""A tool of the operator's own, and how its file is put into a folder."""

from __future__ import annotations

from pathlib import Path

SAY_HELLO = """
name: say_hello
domain: automation
platform: linux
group: linux
kind: linux_cli
description: |-
  Says hello to somebody.
  It writes one line and touches nothing.
program: echo
debian_package: coreutils
parameters:
  name: {type: string, required: true, pattern: '[A-Za-z]{1,20}', description: To whom.}
run: {driver: command, argv: [echo, "hello {name}"], parser: text}
output:
  type: object
  required: [exit_code, text]
  properties: {exit_code: {type: integer}, text: {type: string}}
risk:
  effect: read
  why_read: It writes to its own output only.
  idempotent: true
  retry_safe: true
timeout_seconds: 5
example:
  parameters: {name: Ada}
  argv: [echo, hello Ada]
  output: {exit_code: 0, text: "hello Ada"}
"""
SAY_GOODBYE = SAY_HELLO.replace("hello {name}", "goodbye {name}").replace(
    "hello Ada", "goodbye Ada"
)


def write(
    folder: Path, text: str = SAY_HELLO, name: str = "say_hello", domain: str = "automation"
) -> None:
    """Put a definition there at once, as an editor does it."""
    (folder / domain).mkdir(mode=0o755, exist_ok=True)
    path = folder / domain / f"{name}.yaml"
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o644)
    new.replace(path)
