"""Session: the cluster that a command is about, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from console import endpoints
from console.options import login

if TYPE_CHECKING:
    from authority.keys import PrivateKey
    from runtime.settings import CommonSettings


@dataclass(frozen=True, slots=True)
class Session:
    """The settings, the key that signs, and the tenant and actor that it says or that are named."""

    settings: CommonSettings
    key: PrivateKey | None
    tenant: str
    actor: str


def begin(tenant: str | None, actor: str | None = None) -> Session:
    """The session of a command with these options; raises Failure where the key is another's."""
    from console import signing
    from runtime.settings import CommonSettings

    settings = endpoints.load(CommonSettings)
    key = signing.private_key(settings)
    whose = signing.tenant_of(key, tenant) or "default"
    return Session(settings, key, whose, signing.actor_of(key, actor, login()))
