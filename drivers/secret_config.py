"""What the secret broker is told at its start: where secrets are, and who may use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter

from runtime.settings import ExecutorSettings

VaultAuth = Literal["token", "approle", "kubernetes"]


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """How the server is reached and how this process proves itself to it."""

    url: str
    auth: VaultAuth = "token"
    token: str | None = field(default=None, repr=False)
    #: Of AppRole: the role's id; of Kubernetes: its name.
    role: str | None = None
    #: Of AppRole.
    secret_id: str | None = field(default=None, repr=False)
    #: Of Kubernetes: the file of the service account's token.
    token_file: str = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105
    #: Where the auth method is mounted; None: at its usual path.
    auth_mount: str | None = None
    namespace: str | None = None
    #: PEM file of the authorities; None: those of certifi.
    ca_file: str | None = None
    #: Mounts of KV engines of version 1; all others have version 2.
    kv1_mounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """The region, and credentials where they are not those that boto3 finds by itself."""

    region: str
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    #: Of a service in a private network, or of a test.
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class SecretsConfig:
    """Sources of secrets; one that is not set has none."""

    #: Of `env/NAME`, without `SECRET_`.
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    #: Of `file/NAME`.
    directory: str | None = None
    vault: VaultAccess | None = None
    aws: AwsAccess | None = None
    #: The file of the rules; None: the default rules.
    policy: str | None = None
    cache_seconds: float = 60.0

    @property
    def is_empty(self) -> bool:
        """Whether there is no secret anywhere."""
        return not (self.variables or self.directory or self.vault or self.aws)


#: For the way to the broker, over its socket.
CONFIG: TypeAdapter[SecretsConfig] = TypeAdapter(SecretsConfig)


def config_of(settings: ExecutorSettings, variables: Mapping[str, str]) -> SecretsConfig:
    """What the settings of an executor say about its secrets."""
    vault = aws = None
    if settings.vault_url is not None:
        vault = VaultAccess(
            settings.vault_url,
            settings.vault_auth,
            _text(settings.vault_token),
            settings.vault_role,
            _text(settings.vault_secret_id),
            namespace=settings.vault_namespace,
            ca_file=settings.vault_ca_file,
            auth_mount=settings.vault_auth_mount,
            kv1_mounts=frozenset(filter(None, settings.vault_kv1_mounts.split(","))),
        )
    if settings.aws_region is not None:
        aws = AwsAccess(
            settings.aws_region,
            settings.aws_access_key_id,
            _text(settings.aws_secret_access_key),
            _text(settings.aws_session_token),
            settings.aws_endpoint_url,
        )
    return SecretsConfig(
        dict(variables),
        settings.secrets_dir,
        vault,
        aws,
        settings.secrets_policy,
        settings.secrets_cache_seconds,
    )


def _text(secret: object) -> str | None:
    reveal = getattr(secret, "get_secret_value", None)
    return None if reveal is None else str(reveal())
