"""Settings of executors: where the secrets of steps are, and who may read them there."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, SecretStr


class SecretSettings(BaseModel):
    """Where the secrets of steps are."""

    secrets_dir: str | None = Field(
        default=None, description="folder of the secrets that steps refer to as file/NAME"
    )
    secrets_policy: str | None = Field(
        default=None,
        description="YAML file of the rules who may use which secret; by default env/, vault/ and "
        "aws/ are for the tenant default only",
    )
    secrets_user: str | None = Field(
        default=None,
        description="user of the process that reads secrets; by default the executor's own. Only "
        "an executor of root can have another one",
    )
    secrets_cache_seconds: float = Field(
        default=60.0, ge=0, le=3_600, description="how long a secret is kept in memory; 0: never"
    )
    vault_url: str | None = Field(
        default=None,
        pattern=r"^(https://|http://(localhost|127\.0\.0\.1|\[::1\])[:/]|http://localhost$)",
        description="Vault or OpenBao server of vault/ references; https, or http on this machine",
    )
    vault_auth: Literal["token", "approle", "kubernetes"] = "token"
    vault_token: SecretStr | None = Field(default=None, description="token, for vault_auth token")
    vault_role: str | None = Field(
        default=None, description="role id, for vault_auth approle; role name, for kubernetes"
    )
    vault_secret_id: SecretStr | None = Field(
        default=None, description="secret id, for vault_auth approle"
    )
    vault_auth_mount: str | None = Field(
        default=None, description="mount of the auth method; by default its own name"
    )
    vault_namespace: str | None = Field(default=None, description="namespace of Vault")
    vault_ca_file: str | None = Field(
        default=None, description="PEM file of a private certificate authority of Vault"
    )
    vault_kv1_mounts: str = Field(
        default="", description="mounts of KV engines of version 1, comma separated"
    )
    aws_region: str | None = Field(
        default=None, description="region of the Secrets Manager of aws/ references"
    )
    aws_access_key_id: str | None = Field(
        default=None, description="key id; by default what boto3 finds (profile, role)"
    )
    aws_secret_access_key: SecretStr | None = Field(default=None, description="key of that id")
    aws_session_token: SecretStr | None = Field(
        default=None, description="token of temporary credentials"
    )
    aws_endpoint_url: str | None = Field(
        default=None, description="another address of Secrets Manager than its public one"
    )
