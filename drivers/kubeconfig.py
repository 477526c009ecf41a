"""The servers in credentials files of Kubernetes, as KUBECONFIG names them.

Programs in Go connect to loopback past every proxy, and a file may name a proxy of its own: so the
addresses in it are checked before the program starts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from runtime.config_folders import REFUSED, inside

_FILE_BYTES: Final = 1024 * 1024


class Unusable(Exception):
    """What the file names cannot be known; the message is one sentence part."""


def servers(paths: str) -> list[str]:
    """The URLs of all servers and proxies in the files, which colons separate; blocking.

    A file that is absent names none. Raises Unusable.
    """
    found: list[str] = []
    for path in filter(None, paths.split(":")):
        found.extend(_servers(_document(Path(path))))
    return found


def _document(file: Path) -> Any:
    if inside("/" + os.path.normpath(file).lstrip("/"), REFUSED):
        raise Unusable("it is another file for the program, so its servers cannot be checked")
    try:
        about = file.stat()
        if not stat.S_ISREG(about.st_mode):
            raise Unusable("it is no regular file, so its servers cannot be checked")
        if about.st_size > _FILE_BYTES:
            raise Unusable(f"it is larger than {_FILE_BYTES} bytes")
        return yaml.safe_load(file.read_bytes())
    except FileNotFoundError:
        return None  # The program says so.
    except OSError as error:
        raise Unusable(f"it cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Unusable("it is no YAML") from None


def _servers(document: Any) -> Iterator[str]:
    if document is None:
        return
    clusters = document.get("clusters") if isinstance(document, dict) else None
    if not isinstance(clusters, list | None):
        raise Unusable("its clusters are no list")
    for entry in clusters or ():
        cluster = entry.get("cluster") if isinstance(entry, dict) else None
        for name in ("server", "proxy-url"):
            url = cluster.get(name) if isinstance(cluster, dict) else None
            if isinstance(url, str) and url:
                yield url if "://" in url else f"https://{url}"
