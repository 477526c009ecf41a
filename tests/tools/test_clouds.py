"""Cloud tools: aws on a local moto server, gcloud on a fake of two APIs, az recorded."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.catalogue import needs, refusal
from tests.tools.conftest import Execute
from tests.tools.fakes.google import BUCKET, PROJECT, TOKEN, ZONE, FakeGoogle, fake_google
from tests.tools.fakes.program import FakePrograms

_PATIENCE_SECONDS = 60.0
_IMAGE = "ami-12c6146b"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of a moto server, which keeps the state of several AWS services."""
    needs("moto_server", "nothing, it is on PyPI: pip install 'moto[server]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _post(f"{url}/moto-api/config", {"lambda": {"use_docker": False}}):
            assert server.poll() is None, "moto ended"
            assert time.monotonic() < deadline, "moto did not come up"
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(_PATIENCE_SECONDS)


def _post(url: str, document: dict[str, Any]) -> bool:
    request = urllib.request.Request(url, json.dumps(document).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def aws(moto: str, stack: tuple[object, Path]) -> Iterator[dict[str, str]]:
    """Where and as whom: parameters of every aws tool."""
    needs("aws", "awscli")
    # Debian's is version 2; another one that stands before it on the PATH may not be.
    debian, front = Path("/usr/bin/aws"), stack[1].parent / "fakes" / "aws"
    if debian.exists():
        front.parent.mkdir(exist_ok=True)
        front.symlink_to(debian)
    yield {"endpoint_url": moto, "region": "eu-central-1"}
    front.unlink(missing_ok=True)


@pytest.fixture
def credentials() -> dict[str, str]:
    """What moto accepts: anything."""
    return {"access_key_id": "testing", "secret_access_key": "testing"}


def _aws(url: str, *words: str) -> Any:
    """The same program outside the system, to prepare what a tool will find."""
    program = "/usr/bin/aws" if Path("/usr/bin/aws").exists() else "aws"
    done = subprocess.run(
        [program, "--output=json", f"--endpoint-url={url}", "--region=eu-central-1", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_PAGER": "",
        },
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


#: Several values of one option; words after an option would be refused.
TWO_REGIONS = '--region-names=["eu-west-1", "eu-west-2"]'


def test_aws(execute: Execute, aws: dict[str, str], credentials: dict[str, str]) -> None:
    at = {**aws, **credentials}
    who = execute("aws", {**at, "service": "sts", "verb": "get", "noun": "caller-identity"})
    assert who.status == "succeeded", who
    assert who.output["data"]["Account"] == "123456789012"
    queue = {**at, "service": "sqs", "arguments": ["--queue-name=jobs; id"]}
    refused = execute("aws", {**queue, "verb": "create", "noun": "queue"})
    assert refused.error_class == "exit_status"
    queue["arguments"] = ["--queue-name=jobs"]
    made = execute("aws", {**queue, "verb": "create", "noun": "queue"})
    assert made.status == "succeeded", made
    url = made.output["data"]["QueueUrl"]
    assert execute("aws", {**at, "service": "sqs", "verb": "list", "noun": "queues"}).output[
        "data"
    ]["QueueUrls"] == [url]
    both = {"service": "ec2", "noun": "regions", "arguments": [TWO_REGIONS]}
    assert len(execute("aws", {**at, **both}).output["data"]["Regions"]) == 2
    missing = {"service": "sqs", "verb": "get", "noun": "queue-url"}
    gone = execute("aws", {**at, **missing, "arguments": ["--queue-name=nobody"]})
    assert gone.error_class in ("not_found", "exit_status")
    assert "does not exist" in gone.error["message"]


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"service": "ec2", "verb": "terminate", "noun": "instances"}, "allow_destructive"),
        ({"service": "secretsmanager", "verb": "get", "noun": "secret-value"}, "must match"),
        ({"service": "sts", "verb": "get", "noun": "session-token"}, "must match"),
        ({"service": "iam", "verb": "create", "noun": "access-key"}, "must match"),
        ({"service": "configure", "verb": "list", "noun": "profiles"}, "must match"),
        ({"service": "ec2", "noun": "x", "arguments": ["--endpoint-url=x"]}, "must not give"),
        ({"service": "ec2", "noun": "instances", "arguments": ["--no-verify"]}, "must not give"),
        ({"service": "ec2", "noun": "instances", "arguments": ["--debug"]}, "must not give"),
        ({"service": "ec2", "noun": "x", "arguments": ["--a", "file:///etc/shadow"]}, "must match"),
        ({"service": "ec2", "noun": "x", "arguments": ["--a=fileb:///etc/shadow"]}, "must match"),
        ({"service": "ec2", "noun": "x", "arguments": ["--a", "http://10.0.0.1"]}, "must match"),
        ({"service": "ssm", "verb": "get", "noun": "parameter", "arguments": ["--with"]},
         "must not give"),
        ({"service": "ec2", "noun": "instances", "arguments": ["/etc/passwd"]}, "must match"),
    ],
)  # fmt: skip
def test_what_aws_may_not_do(parameters: dict[str, Any], reason: str) -> None:
    assert reason in refusal("aws", parameters)


def test_aws_s3(
    execute: Execute, aws: dict[str, str], credentials: dict[str, str], tmp_path: Path
) -> None:
    at = {**aws, **credentials}
    file = tmp_path / "a b;id.txt"
    file.write_text("12345")
    assert execute("aws_s3", {**at, "action": "mb", "uri": "s3://backups"}).status == "succeeded"
    copying = {"action": "cp", "source": str(file), "destination": "s3://backups/db/a.txt"}
    copied = execute("aws_s3", {**at, **copying})
    assert copied.status == "succeeded", copied
    [transfer] = copied.output["transfers"]
    assert (transfer["action"], transfer["destination"]) == ("upload", "s3://backups/db/a.txt")
    listed = execute("aws_s3", {**at, "uri": "s3://backups/db/"})
    assert [item["key"] for item in listed.output["objects"]] == ["a.txt"]
    assert listed.output["total_bytes"] == 5
    assert execute("aws_s3", {**at, "uri": "s3://backups"}).output["prefixes"] == ["db/"]
    assert [b["name"] for b in execute("aws_s3", at).output["buckets"]] == ["backups"]
    removing = {"action": "rm", "uri": "s3://backups/db/a.txt"}
    assert "allow_destructive" in refusal("aws_s3", removing)
    removed = execute("aws_s3", {**at, **removing, "allow_destructive": True})
    assert removed.output["transfers"][0]["action"] == "delete"
    missing = execute("aws_s3", {**at, "uri": "s3://nobodys-bucket"})
    assert missing.error_class == "not_found"


def test_aws_ec2(
    execute: Execute, moto: str, aws: dict[str, str], credentials: dict[str, str]
) -> None:
    at = {**aws, **credentials}
    _aws(moto, "ec2", "describe-images", "--owners=amazon", "--query=Images[0].ImageId")
    started = {"action": "run-instances", "image_id": _IMAGE, "instance_type": "t3.micro"}
    ran = execute("aws_ec2", {**at, **started, "name": "web-01"})
    assert ran.status == "succeeded", ran
    ident = ran.output["instances"][0]["instance_id"]
    wanted = {"filters": "Name=tag:Name,Values=web-01"}
    [shown] = execute("aws_ec2", {**at, **wanted}).output["instances"]
    assert (shown["instance_id"], shown["name"], shown["state"]) == (ident, "web-01", "running")
    one = {"instance_ids": ident}
    stopped = execute("aws_ec2", {**at, "action": "stop-instances", **one})
    assert stopped.output["changes"][0]["previous_state"] == "running"
    ending = {"action": "terminate-instances", **one}
    assert "allow_destructive" in refusal("aws_ec2", ending)
    ended = execute("aws_ec2", {**at, **ending, "allow_destructive": True})
    assert ended.output["changes"][0]["instance_id"] == ident
    missing = execute("aws_ec2", {**at, "instance_ids": "i-0123456789abcdef0"})
    assert missing.error_class == "not_found", missing


def test_aws_rds(
    execute: Execute, moto: str, aws: dict[str, str], credentials: dict[str, str]
) -> None:
    at = {**aws, **credentials}
    _aws(
        moto, "rds", "create-db-instance", "--db-instance-identifier=orders-db",
        "--db-instance-class=db.t3.micro", "--engine=postgres", "--allocated-storage=20",
        "--master-username=ops", "--master-user-password=not-a-secret",
    )  # fmt: skip
    [shown] = execute("aws_rds", at).output["instances"]
    assert (shown["instance"], shown["engine"], shown["size_gib"]) == ("orders-db", "postgres", 20)
    saving = {"action": "create-db-snapshot", "instance": "orders-db", "snapshot": "before"}
    saved = execute("aws_rds", {**at, **saving})
    assert saved.output["snapshots"][0]["snapshot"] == "before"
    stopped = execute("aws_rds", {**at, "action": "stop-db-instance", "instance": "orders-db"})
    assert stopped.status == "succeeded", stopped
    missing = execute("aws_rds", {**at, "instance": "nobody"})
    assert missing.error_class == "not_found"
    deleting = {"action": "delete-db-instance", "instance": "orders-db", "snapshot": "last"}
    assert "allow_destructive" in refusal("aws_rds", deleting)


def test_aws_lambda(
    execute: Execute, moto: str, aws: dict[str, str], credentials: dict[str, str], tmp_path: Path
) -> None:
    at = {**aws, **credentials}
    code = tmp_path / "code.zip"
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("main.py", "def handle(event, context): return event")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = _aws(
        moto, "iam", "create-role", "--role-name=run", f"--assume-role-policy-document={trust}"
    )
    _aws(
        moto, "lambda", "create-function", "--function-name=resize", "--runtime=python3.11",
        f"--role={role['Role']['Arn']}", "--handler=main.handle", f"--zip-file=fileb://{code}",
        "--environment=Variables={PASSWORD=hunter2}",
    )  # fmt: skip
    listed = execute("aws_lambda", at)
    assert listed.status == "succeeded", listed
    [shown] = listed.output["functions"]
    assert (shown["function"], shown["runtime"]) == ("resize", "python3.11")
    assert "hunter2" not in json.dumps(listed.output)
    if not Path("/usr/bin/aws").exists():
        pytest.skip("invoke needs AWS CLI 2: apt install awscli")
    invoked = execute("aws_lambda", {**at, "action": "invoke", "function": "resize",
                                     "payload": {"text": "$(id)"}})  # fmt: skip
    assert invoked.status == "succeeded", invoked
    assert invoked.output["status_code"] == 200
    assert invoked.output["function_error"] is None
    assert invoked.output["answer"]
    missing = execute("aws_lambda", {**at, "action": "get-function-configuration",
                                     "function": "nobody"})  # fmt: skip
    assert missing.error_class == "not_found"


def test_nobody_answers_aws(
    execute: Execute, aws: dict[str, str], credentials: dict[str, str]
) -> None:
    result = execute("aws_rds", {**aws, **credentials, "endpoint_url": "http://127.0.0.1:1"})
    assert result.error_class == "unreachable", result


@pytest.fixture
def google() -> Iterator[FakeGoogle]:
    if shutil.which("gcloud") is None:
        pytest.skip("program gcloud is not installed: it is not in Debian (google-cloud-cli)")
    with fake_google() as made:
        yield made


@pytest.fixture
def account(tmp_path: Path) -> dict[str, str]:
    """An empty configuration of its own, so that no other account is ever looked at."""
    return {"config_dir": str(tmp_path), "project": PROJECT, "access_token": TOKEN}


def test_gcloud_compute(execute: Execute, google: FakeGoogle, account: dict[str, str]) -> None:
    at = {**account, "endpoint_url": google.compute}
    listed = execute("gcloud_compute", at)
    assert listed.status == "succeeded", listed
    assert [(i["name"], i["status"], i["zone"]) for i in listed.output["items"]] == [
        ("web-01", "RUNNING", ZONE),
        ("web-02", "TERMINATED", ZONE),
    ]
    assert "hunter2" not in json.dumps(listed.output)
    one = {"name": "web-01", "zone": ZONE}
    assert execute("gcloud_compute", {**at, **one, "action": "stop"}).status == "succeeded"
    assert google.machines["web-01"] == "TERMINATED"
    missing = execute("gcloud_compute", {**at, **one, "action": "describe", "name": "nobody"})
    assert missing.error_class == "not_found"
    assert "allow_destructive" in refusal("gcloud_compute", {**one, "action": "delete"})
    # gcloud itself calls that a success with an empty list.
    refused = execute("gcloud_compute", {**at, "access_token": "wrong"})
    assert refused.error_class == "output_unparsable", refused
    assert "invalid authentication credentials" in refused.error["message"]


def test_gcloud_storage(execute: Execute, google: FakeGoogle, account: dict[str, str]) -> None:
    at = {**account, "endpoint_url": google.storage}
    [bucket] = execute("gcloud_storage", at).output["items"]
    assert (bucket["name"], bucket["location"]) == (BUCKET, "EUROPE-WEST3")
    listed = execute("gcloud_storage", {**at, "action": "list", "uri": f"gs://{BUCKET}/**"})
    assert {i["name"]: i["size"] for i in listed.output["items"]} == google.objects
    removing = {"action": "rm", "uri": f"gs://{BUCKET}/db/a.tar"}
    assert "allow_destructive" in refusal("gcloud_storage", removing)
    removed = execute("gcloud_storage", {**at, **removing, "allow_destructive": True})
    assert removed.status == "succeeded", removed
    assert list(google.objects) == ["db/b.tar"]


def test_gcloud(execute: Execute, google: FakeGoogle, account: dict[str, str]) -> None:
    folder = {"config_dir": account["config_dir"]}
    listed = execute("gcloud", {**folder, "groups": ["config", "configurations"]})
    assert listed.status == "succeeded", listed
    assert [(i["name"], i["is_active"]) for i in listed.output["items"]] == [("default", True)]
    nobody = execute("gcloud", {**folder, "groups": ["projects"]})
    assert nobody.error_class == "not_configured", nobody


@pytest.mark.parametrize(
    ("tool", "parameters"),
    [
        ("gcloud", {"groups": ["auth"]}),
        ("gcloud", {"groups": ["secrets", "versions"]}),
        ("gcloud", {"groups": ["projects"], "arguments": ["--key-file=/x"]}),
        ("az", {"groups": ["storage", "account", "keys"]}),
        ("az", {"groups": ["keyvault", "secret"]}),
        ("az", {"groups": ["vm"], "arguments": ["@/etc/shadow"]}),
        ("az", {"groups": ["vm"], "arguments": ["--tags=@/etc/shadow"]}),
        ("az", {"groups": ["vm"], "arguments": ["--admin-password", "x"]}),
    ],
)
def test_what_the_others_may_not_do(tool: str, parameters: dict[str, Any]) -> None:
    assert "must match" in refusal(tool, parameters)


def test_az(execute: Execute, fake_program: FakePrograms) -> None:
    az = fake_program("az", stdout='[{"name": "shop-net"}]')
    words = {"groups": ["network", "vnet"], "arguments": ["--resource-group", "shop"]}
    result = execute("az", {**words, "config_dir": "/srv/azure"})
    assert result.status == "succeeded", result
    assert az.argv == [
        "az", "network", "vnet", "list", "--output=json", "--only-show-errors",
        "--resource-group", "shop",
    ]  # fmt: skip
    assert az.environment["AZURE_CONFIG_DIR"] == "/srv/azure"
    assert result.output["items"] == [{"name": "shop-net"}]
    removing = {**words, "verb": "delete"}
    assert "allow_destructive" in refusal("az", removing)
    assert "AZURE_CORE_DISABLE_CONFIRM_PROMPT" not in az.environment
    execute("az", {**removing, "allow_destructive": True})
    assert az.environment["AZURE_CORE_DISABLE_CONFIRM_PROMPT"] == "true"
    fake_program("az", stderr="ERROR: Please run 'az login' to setup account.\n", exit_code=1)
    assert execute("az", words).error_class == "not_configured"


def test_az_vm(execute: Execute, fake_program: FakePrograms) -> None:
    rows = [{"name": "web-01", "power_state": "VM running"}, {"name": "old", "power_state": None}]
    az = fake_program("az", stdout=json.dumps(rows))
    result = execute("az_vm", {"subscription": "shop prod"})
    assert result.status == "succeeded", result
    assert az.argv[:6] == [
        "az", "vm", "list", "--output=json", "--only-show-errors", "--subscription=shop prod",
    ]  # fmt: skip
    assert (result.output["count"], result.output["running"]) == (2, 1)
    fake_program("az", stderr="ERROR: (ResourceNotFound) The Resource\n", exit_code=3)
    one = {"action": "show", "resource_group": "shop", "name": "nobody"}
    assert execute("az_vm", one).error_class == "not_found"
    assert "allow_destructive" in refusal("az_vm", {**one, "action": "delete"})


def test_az_storage_keeps_its_key_out_of_argv(execute: Execute, fake_program: FakePrograms) -> None:
    blob = {"name": "2026/a.tar", "properties": {"contentLength": 5, "blobTier": "Hot"}}
    az = fake_program("az", stdout=json.dumps([blob]))
    at = {"account": "shopbackups", "container": "db", "account_key": "hunter2"}
    result = execute("az_storage", {**at, "prefix": "2026/"})
    assert result.status == "succeeded", result
    assert az.argv == [
        "az", "storage", "blob", "list", "--output=json", "--only-show-errors",
        "--account-name=shopbackups", "--container-name=db", "--prefix=2026/",
    ]  # fmt: skip
    assert az.environment["AZURE_STORAGE_KEY"] == "hunter2"
    assert result.output["total_bytes"] == 5
    assert execute("az_storage", {**at, "action": "list-containers"}).status == "succeeded"
    assert az.argv[:4] == ["az", "storage", "container", "list"]
    assert "allow_destructive" in refusal("az_storage", {**at, "action": "delete", "blob": "x"})
