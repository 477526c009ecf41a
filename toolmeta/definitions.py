"""The definitions of the catalogue as read from their files, not yet checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from toolmeta.converted import ConvertedFiles

_FOLDER: Final = Path(__file__).parent / "tools"
#: Beside the compiled modules: written where those can be written, ignored like them.
_CONVERTED: Final = Path(__file__).parent / "__pycache__" / "tools.json"


class CatalogueError(Exception):
    """A definition is wrong; the message names the file and every fault."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One file `tools/<domain>/<name>.yaml`, as JSON text."""

    domain: str
    name: str
    text: str
    #: The file, of a tool of the operator's own.
    file: str | None = None

    @property
    def where(self) -> str:
        """How messages name it."""
        return self.file or f"{self.domain}/{self.name}.yaml"


def read_all() -> list[Definition]:
    """Every definition, by domain and name; raises `CatalogueError` where one is not YAML."""
    converted = ConvertedFiles(_CONVERTED)
    found = []
    for path in sorted(_FOLDER.glob("*/*.yaml")):
        domain, name = path.parent.name, path.stem
        convert = partial(as_json, domain=domain, name=name)
        found.append(Definition(domain, name, converted.get(path.read_bytes(), convert)))
    converted.save()
    return found


def as_json(text: str, domain: str, name: str, file: str | None = None) -> str:
    """A definition's YAML as JSON, so that nothing but JSON (a date, a NaN) gets into it."""
    import yaml

    from toolmeta import definition_text

    try:
        return json.dumps(definition_text.read(text), allow_nan=False)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        where = file or f"{domain}/{name}.yaml"
        raise CatalogueError(f"{where}: {error}") from error
