"""AWS Secrets Manager: the text of a secret, or one field of a JSON text; spoken by `boto3`.

Source: the API reference of Secrets Manager, GetSecretValue.
"""

from __future__ import annotations

from typing import Any, Final

import boto3
import orjson
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from drivers.secret_config import AwsAccess
from drivers.secret_stores.fields import text_of
from drivers.secret_use import SecretError

_CONFIG: Final = Config(
    connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2, "mode": "standard"}
)
_MISSING: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})
_TRANSIENT: Final = frozenset(
    {
        "InternalServiceError",
        "InternalFailure",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
    }
)


class AwsSecrets:
    """Reads current versions; for several threads."""

    def __init__(self, access: AwsAccess) -> None:
        """Connects to nothing yet."""
        session = boto3.session.Session(
            region_name=access.region,
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            aws_session_token=access.session_token,
        )
        self._client = session.client(
            "secretsmanager", config=_CONFIG, endpoint_url=access.endpoint_url
        )

    def read(self, name: str, tenant: str) -> str | None:
        """`name` is `<name>` or `<name>#<field>`; one repetition after an error that may pass."""
        wanted, _, field = name.partition("#")
        where = f"aws/{wanted}"
        try:
            found = self._client.get_secret_value(SecretId=wanted)
        except ClientError as error:
            _raise_unless_missing(str(error.response["Error"].get("Code", "")), where)
            return None
        except NoCredentialsError:
            message = f"There are no AWS credentials to read {where} with."
            raise SecretError(message, "secret_denied") from None
        except BotoCoreError as error:
            message = f"Secrets Manager does not answer for {where} ({type(error).__name__})."
            raise SecretError(message, "secret_unavailable") from None
        text: Any = found.get("SecretString")
        if text is None:
            raise SecretError(f"The secret {where} holds bytes and no text.")
        if not field:
            return str(text)
        try:
            fields = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise SecretError(
                f"The secret {where} is no JSON object, so it has no fields."
            ) from None
        return text_of(fields, field, where)


def _raise_unless_missing(code: str, where: str) -> None:
    if code in _MISSING:
        return
    if code in _TRANSIENT:
        message = f"Secrets Manager does not answer for {where} ({code})."
        raise SecretError(message, "secret_unavailable") from None
    message = f"Secrets Manager refuses {where} ({code[:60]})."
    raise SecretError(message, "secret_denied") from None
