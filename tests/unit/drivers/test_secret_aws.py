"""Secrets of AWS Secrets Manager, spoken with boto3 to moto's server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from drivers.secret_config import AwsAccess
from drivers.secret_stores.aws import AwsSecrets
from drivers.secret_use import SecretError


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def client(server: str) -> Any:
    return boto3.client(
        "secretsmanager", region_name="eu-central-1", endpoint_url=server,
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip


def store(server: str, **changed: str) -> AwsSecrets:
    given = {"access_key_id": "testing", "secret_access_key": "testing", **changed}
    return AwsSecrets(AwsAccess("eu-central-1", endpoint_url=server, **given))


def test_text_and_fields(server: str, client: Any) -> None:
    client.create_secret(Name="prod/plain", SecretString="aws-value")
    fields = {"password": "field-value", "port": 5432}
    client.create_secret(Name="prod/db", SecretString=json.dumps(fields))
    reader = store(server)
    assert reader.read("prod/plain", "acme") == "aws-value"
    assert reader.read("prod/db#password", "acme") == "field-value"
    assert reader.read("prod/db#port", "acme") == "5432"
    assert reader.read("prod/db#absent", "acme") is None
    assert reader.read("prod/absent", "acme") is None
    with pytest.raises(SecretError, match="no JSON object"):
        reader.read("prod/plain#field", "acme")
    client.put_secret_value(SecretId="prod/plain", SecretString="new-value")
    assert reader.read("prod/plain", "acme") == "new-value"


def test_bytes_and_what_is_to_be_deleted(server: str, client: Any) -> None:
    client.create_secret(Name="binary", SecretBinary=b"\x00\x01")
    with pytest.raises(SecretError, match="holds bytes"):
        store(server).read("binary", "acme")
    client.create_secret(Name="old", SecretString="old-value")
    client.delete_secret(SecretId="old")
    assert store(server).read("old", "acme") is None


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        ("AccessDeniedException", "secret_denied"),
        ("ExpiredTokenException", "secret_denied"),
        ("ThrottlingException", "secret_unavailable"),
        ("InternalServiceError", "secret_unavailable"),
    ],
)
def test_errors_of_the_service(server: str, code: str, error_class: str) -> None:
    from botocore.exceptions import ClientError

    reader = store(server)

    class Refusing:
        def get_secret_value(self, **given: Any) -> Any:
            raise ClientError({"Error": {"Code": code, "Message": "canary"}}, "GetSecretValue")

    reader._client = Refusing()
    with pytest.raises(SecretError) as caught:
        reader.read("prod/db", "acme")
    assert caught.value.error_class == error_class
    assert "canary" not in str(caught.value)


def test_no_server() -> None:
    with pytest.raises(SecretError) as caught:
        store("http://127.0.0.1:1").read("prod/db", "acme")
    assert caught.value.error_class == "secret_unavailable"
    assert "canary" not in repr(AwsAccess("eu", "id", "canary", "canary"))
