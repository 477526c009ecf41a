"""How an output says which of its fields are not whole.

`truncated` is true, and `truncated_fields` has the path of each field that was shortened, spelled
as in a reference (`lines`, `json.items`, `rows[0].text`), with how much of it was `kept` `of` how
much: items of a list, characters of a text, fields of an object. An `of` of null is not known.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final, NamedTuple

TRUNCATED: Final = "truncated"
FIELDS: Final = "truncated_fields"
#: So many fields of one output are named; more are left out and not shortened.
MOST_NAMED: Final = 100
#: The path of an output of which whole fields were left out because it has very many.
WHOLE_OUTPUT: Final = "*"


class Kept(NamedTuple):
    """How much of a field is left."""

    kept: int
    of: int | None

    def __str__(self) -> str:
        first = f"{self.kept:,}"
        return f"the first {first}" if self.of is None else f"{first} of {self.of:,}"


def mark(output: dict[str, Any], path: str, kept: int, of: int | None) -> None:
    """Say in `output` that the field at `path` was shortened."""
    fields = output.get(FIELDS)
    if not isinstance(fields, dict):  # absent, or of a foreign document
        fields = output[FIELDS] = {}
    fields[path] = Kept(kept, of)._asdict()
    output[TRUNCATED] = True


def shortened_fields(value: Any) -> dict[str, Kept]:
    """What `value` says was shortened, by path; empty for whatever says nothing of that form.

    At most MOST_NAMED: what a foreign document has under these names must stay cheap.
    """
    if not isinstance(value, dict) or value.get(TRUNCATED) is not True:
        return {}
    fields = value.get(FIELDS)
    if not isinstance(fields, dict):
        return {}
    found: dict[str, Kept] = {}
    for path, entry in islice(fields.items(), MOST_NAMED):
        if not path or not isinstance(entry, dict):
            continue
        kept, of = entry.get("kept"), entry.get("of")
        if isinstance(kept, int) and (of is None or isinstance(of, int)):
            found[path] = Kept(kept, of)
    return found


def part_of(path: str, name: str) -> str:
    """The path of the field `name` of the object at `path`; at the top that is the empty text."""
    if not name.replace("-", "_").isidentifier() or name.startswith("-"):
        return f'{path}["{name}"]'
    return f"{path}.{name}" if path else name
