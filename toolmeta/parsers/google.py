"""Output of the Google Cloud command line, with its messages."""

from __future__ import annotations

from typing import Any, Final

import orjson

from toolmeta.parsers import cli_json

_ENDS: Final = {"[": "]", "{": "}"}
#: gcloud ends with 0 after this, and with a list that lacks whatever failed.
_PARTLY: Final = "Some requests did not succeed"


def parse(text: str) -> dict[str, Any]:
    """The JSON document among the lines of stdout and stderr, as `cli_json` gives it.

    Raises `ValueError` where gcloud itself reports that the result is not complete.
    """
    lines = text.split("\n")
    failed = next((at for at, line in enumerate(lines) if _PARTLY in line), None)
    if failed is not None:
        raise ValueError(" ".join(line.strip() for line in lines[failed : failed + 3]))
    for at, line in enumerate(lines):
        if line in ("[]", "{}"):
            return cli_json.parse(line)
        if line in _ENDS:
            try:
                end = lines.index(_ENDS[line], at)
                document = "\n".join(lines[at : end + 1])
                orjson.loads(document)
            except ValueError:
                continue
            return cli_json.parse(document)
    return cli_json.parse(text)
