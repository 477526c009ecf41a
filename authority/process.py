"""The keys of a process: what it signs with, and whom it trusts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from authority.key_files import read_private
from authority.keys import KeyFault, Role
from authority.signing import RecordSigner
from authority.trust import TrustedKeys
from authority.verifier import Verifier

_REMEDY = "make keys with: runstream keys init"


@dataclass(frozen=True, slots=True)
class ProcessKeys:
    """The signer and the verifier of one process."""

    signer: RecordSigner
    verifier: Verifier
    #: The public keys that count now.
    trusted: TrustedKeys

    def on_cluster(self, cluster: str) -> None:
        """Set the id of the Kafka cluster: signatures count on one cluster only."""
        self.signer.cluster = self.verifier.cluster = cluster


def load(
    role: Role,
    signing_key: str | None,
    trusted_keys: str | None,
    on_fault: Callable[[str], None],
    now: Callable[[], float],
    domains: Sequence[str] = (),
) -> ProcessKeys:
    """The keys in these files; raises KeyFault with a sentence that names the setting.

    `on_fault` gets a sentence when the trusted keys later cannot be read again.
    """
    process = f"a process of the role {role}"
    if not signing_key:
        raise KeyFault(
            f"RUNSTREAM_SIGNING_KEY is not set: {process} signs what it writes; {_REMEDY}"
        )
    if not trusted_keys:
        raise KeyFault(
            f"RUNSTREAM_TRUSTED_KEYS is not set: {process} goes by those keys; {_REMEDY}"
        )
    key = read_private(Path(signing_key))
    if key.use.role != role:
        raise KeyFault(
            f"RUNSTREAM_SIGNING_KEY: {signing_key} is a key of the role {key.use.role}; this is "
            f"a process of the role {role}"
        )
    missing = [domain for domain in domains if domain not in key.use.domains]
    if missing:
        raise KeyFault(
            f"RUNSTREAM_SIGNING_KEY: {signing_key} is for the domains "
            f"{', '.join(key.use.domains)}, and this executor serves {missing[0]} too: make a key "
            f"with runstream keys new executor --domain {' --domain '.join(domains)}"
        )
    trusted = TrustedKeys(Path(trusted_keys), on_fault)
    return ProcessKeys(RecordSigner(key, now), Verifier(trusted), trusted)
