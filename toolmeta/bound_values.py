"""Statements with bound values for clients of databases that bind none. Pure.

`mysql` reads statements and has no place for values. So the statement is prepared and run with user
variables, as a driver would do it; the statement and every text come as hexadecimal digits, which
mean the same in every mode of the server and every character set of the connection, and which no
client takes for a command, a quote or the end of anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from toolmeta.invocation import Problem

#: Of MySQL's integers, signed and unsigned.
_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1


def mysql(query: str, values: Sequence[Any]) -> str | list[Problem]:
    """What the client reads; the `?` of the statement take the values in their order."""
    literals: list[str] = []
    problems: list[Problem] = []
    for index, value in enumerate(values):
        literal = _literal(value)
        if isinstance(literal, Problem):
            problems.append(Problem(f"parameters.params[{index}]{literal.field}", literal.message))
        else:
            literals.append(literal)
    if problems:
        return problems
    names = [f"@runstream_{index}" for index in range(len(literals))]
    lines = [f"SET {name} = {text};" for name, text in zip(names, literals, strict=True)]
    using = f" USING {', '.join(names)}" if names else ""
    return "\n".join(
        (
            *lines,
            f"SET @runstream_statement = {_text(query)};",
            "PREPARE runstream FROM @runstream_statement;",
            f"EXECUTE runstream{using};",
            "",
        )
    )


def _literal(value: Any) -> str | Problem:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        if _LEAST <= value <= _MOST:
            return str(value)
        return Problem("", "is an integer of more than 64 bits; write it as text")
    if isinstance(value, float):
        # With an exponent it is a double, else a decimal number.
        shown = repr(value)
        if math.isfinite(value):
            return shown if "e" in shown else f"{shown}e0"
    if isinstance(value, str):
        return _text(value)
    return Problem("", "must be text, a finite number, true, false or null")


def _text(text: str) -> str:
    # Text of JSON may hold half of a surrogate pair, which no character set has.
    return f"_utf8mb4 X'{text.encode('utf-8', 'replace').hex()}'"
