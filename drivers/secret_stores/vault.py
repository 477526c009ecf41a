"""HashiCorp Vault and OpenBao: fields of secrets in KV engines, version 2 and 1.

Source: the HTTP API of Vault, KV secrets engines and auth methods; spoken by `hvac`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import hvac
import requests
from hvac import exceptions

from drivers.secret_config import VaultAccess
from drivers.secret_stores.fields import text_of
from drivers.secret_use import SecretError

#: Of one request. With the second try all of a read stays below the time of the broker's answer.
_SECONDS: Final = 3
_PAUSE_SECONDS: Final = 0.2
#: A token is replaced when this part of its life is over.
_SHARE: Final = 2 / 3
_TRANSIENT: Final = (
    exceptions.VaultDown,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.RateLimitExceeded,
    exceptions.VaultNotInitialized,
    exceptions.PreconditionFailed,
    requests.RequestException,
)


class Vault:
    """Reads fields; for several threads."""

    def __init__(self, access: VaultAccess) -> None:
        """Connects to nothing yet."""
        self._access = access
        session = requests.Session()
        # Neither proxies nor authorities from the environment; and a redirect would get the token.
        session.trust_env = False
        session.verify = access.ca_file or True
        self._client = hvac.Client(
            url=access.url,
            token=access.token if access.auth == "token" else None,
            verify=session.verify,
            timeout=_SECONDS,
            allow_redirects=False,
            session=session,
            namespace=access.namespace,
        )
        self._login = threading.Lock()
        self._good_until = float("inf") if access.auth == "token" else 0.0

    def read(self, name: str, tenant: str) -> str | None:
        """`name` is `<mount>/<path>#<field>`; one repetition after an error that may pass."""
        path, _, field = name.partition("#")
        mount, _, path = path.partition("/")
        where = f"vault/{mount}/{path}"
        try:
            found = self._twice(lambda: self._fields(mount, path))
        except exceptions.InvalidPath:
            return None
        except (exceptions.Forbidden, exceptions.Unauthorized):
            message = f"Vault refuses {where}: its policy does not allow this process to read it."
            raise SecretError(message, "secret_denied") from None
        except exceptions.InvalidRequest:
            message = f"Vault refuses the login of this process, or the form of {where}."
            raise SecretError(message, "secret_denied") from None
        except (*_TRANSIENT, exceptions.VaultError, OSError, LookupError, TypeError) as error:
            # The texts of these errors hold addresses and answers; the last two are of an answer
            # that is none of Vault's.
            message = f"Vault does not answer for {where} ({type(error).__name__})."
            raise SecretError(message, "secret_unavailable") from None
        return text_of(found, field, where)

    def _twice(self, read: Callable[[], Any]) -> Any:
        anew = False
        try:
            self._log_in(self._good_until)
            return read()
        except _TRANSIENT:
            time.sleep(_PAUSE_SECONDS)
        except exceptions.Forbidden:
            # A token that was revoked is refused just as a path that is not allowed.
            if self._access.auth == "token":
                raise
            anew = True
        self._log_in(self._good_until, anew=anew)
        return read()

    def _fields(self, mount: str, path: str) -> Any:
        kv = self._client.secrets.kv
        if mount in self._access.kv1_mounts:
            return kv.v1.read_secret(path, mount_point=mount)["data"]
        found = kv.v2.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
        return found["data"]["data"]

    def _log_in(self, seen: float, *, anew: bool = False) -> None:
        """Get a token where the last one is about to end; one thread does it for all."""
        if not anew and time.monotonic() < self._good_until:
            return
        with self._login:
            if self._good_until != seen:
                return  # Another thread has just done it.
            began = time.monotonic()
            given = self._prove()["auth"]
            life = float(given.get("lease_duration") or 0)
            # A token without an end has 0.
            self._good_until = began + life * _SHARE if life else float("inf")

    def _prove(self) -> Any:
        access = self._access
        if access.auth == "approle":
            return self._client.auth.approle.login(
                role_id=access.role,
                secret_id=access.secret_id,
                mount_point=access.auth_mount or "approle",
            )
        # Read each time: the file is rotated.
        token = Path(access.token_file).read_text().strip()
        return self._client.auth.kubernetes.login(
            role=access.role, jwt=token, mount_point=access.auth_mount or "kubernetes"
        )
