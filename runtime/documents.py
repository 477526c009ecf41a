"""Settings that are small documents: JSON in the variable itself, or a path of a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

_FILE_BYTES: Final = 1024 * 1024


def document(value: Any) -> Any:
    """What a variable holds: the JSON or YAML that begins with a bracket, else that of a file.

    Raises ValueError with one sentence part; anything but text is taken as it is.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text.startswith(("{", "[")):
        try:
            file = Path(text)
            if file.stat().st_size > _FILE_BYTES:
                raise ValueError(f"the file {text} is larger than {_FILE_BYTES} bytes")
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            message = f"it is neither JSON nor a file that can be read: {error.strerror}"
            raise ValueError(message) from None
    try:
        # JSON is YAML, and the messages name the line.
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not valid YAML or JSON: {' '.join(str(error).split())}") from None
