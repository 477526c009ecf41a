"""Settings of executors: over what mails and chat messages go out."""

from __future__ import annotations

from pydantic import AliasChoices, BaseModel, Field, SecretStr


class MessageSettings(BaseModel):
    """The mail server and the webhooks of tools that write to people."""

    smtp_host: str = Field(
        default="localhost",
        validation_alias=AliasChoices("SMTP_HOST"),
        description="mail server of the sendmail tool",
    )
    smtp_port: int = Field(default=25, ge=1, le=65535, validation_alias=AliasChoices("SMTP_PORT"))
    smtp_user: str | None = Field(default=None, validation_alias=AliasChoices("SMTP_USER"))
    smtp_password: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("SMTP_PASSWORD")
    )
    smtp_use_tls: bool = Field(
        default=False,
        validation_alias=AliasChoices("SMTP_USE_TLS"),
        description="STARTTLS (implicit TLS on port 465), certificate verified",
    )
    smtp_ca_file: str | None = Field(
        default=None,
        validation_alias=AliasChoices("SMTP_CA_FILE"),
        description="PEM file of a private certificate authority for mail",
    )
    smtp_from: str = Field(
        default="runstream@localhost", validation_alias=AliasChoices("SMTP_FROM")
    )
    slack_webhook_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("SLACK_WEBHOOK_URL")
    )
    teams_webhook_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("TEAMS_WEBHOOK_URL")
    )
