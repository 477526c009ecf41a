"""Files of a folder: `<dir>/<tenant>/NAME` before `<dir>/NAME`, with their permissions checked."""

from __future__ import annotations

from pathlib import Path

from drivers.secret_use import SecretError
from runtime import secret_files
from runtime.secret_files import UnusableSecret


class SecretFiles:
    """Secrets as files; what anybody else could have written or can read is refused."""

    def __init__(self, directory: str) -> None:
        """Opens nothing."""
        self._directory = Path(directory)

    def read(self, name: str, tenant: str) -> str | None:
        """The text of the file without the line end after it."""
        if tenant in (".", "..") or "/" in tenant or "\x00" in tenant:
            raise SecretError("The tenant's name is no name of a folder.", "secret_denied")
        places = (f"{tenant}/{name}", name)
        try:
            return secret_files.read(self._directory, places, name, "the secret broker")
        except UnusableSecret as error:
            denied = error.denied
            raise SecretError(str(error), "secret_denied" if denied else "secret_missing") from None
