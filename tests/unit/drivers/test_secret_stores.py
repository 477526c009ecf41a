"""Files and variables as sources of secrets: what is found, and which permissions are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drivers.secret_stores.files import SecretFiles
from drivers.secret_stores.variables import SecretVariables
from drivers.secret_use import SecretError
from tests.secret_kit import secret_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    for part in (folder, folder / "acme", folder / "other", folder / "..data"):
        part.mkdir(mode=0o755)
    secret_file(folder, "shared", "shared-value\n")
    secret_file(folder / "acme", "own", "acme-value\r\n")
    secret_file(folder / "acme", "shared", "acme-shared")
    secret_file(folder / "other", "theirs", "other-value")
    secret_file(tmp_path, "outside", "outside-value")
    secret_file(folder, "large", "x" * 70_000)
    secret_file(folder / "..data", "mounted", "mounted-value")
    (folder / "mounted").symlink_to("..data/mounted")
    (folder / "link").symlink_to(tmp_path / "outside")
    return folder


@pytest.mark.parametrize(
    ("name", "tenant", "value"),
    [
        ("own", "acme", "acme-value"),
        ("shared", "acme", "acme-shared"),
        ("shared", "other", "shared-value"),
        ("mounted", "acme", "mounted-value"),
        ("theirs", "acme", None),
        ("absent", "acme", None),
        ("acme", "other", None),
        ("shared", "a\u00dferhalb", "shared-value"),
    ],
)
def test_files(folder: Path, name: str, tenant: str, value: str | None) -> None:
    assert SecretFiles(str(folder)).read(name, tenant) == value


def refused(folder: Path, name: str, tenant: str = "acme") -> str:
    with pytest.raises(SecretError) as caught:
        SecretFiles(str(folder)).read(name, tenant)
    assert "value" not in str(caught.value)
    return f"{caught.value.error_class}: {caught.value}"


def test_what_leads_out_of_the_folder_is_refused(folder: Path) -> None:
    assert refused(folder, "link").startswith("secret_denied")
    assert refused(folder, "shared", "../acme").startswith("secret_denied")
    assert refused(folder, "shared", "..").startswith("secret_denied")


def test_a_large_file_and_bytes_are_refused(folder: Path) -> None:
    assert "larger" in refused(folder, "large")
    (folder / "shared").write_bytes(b"\xff\xfe\xfd\xfc\xfb")
    assert "UTF-8" in refused(folder, "shared", "other")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602, 0o604, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(folder: Path, mode: int) -> None:
    (folder / "acme" / "own").chmod(mode)
    told = refused(folder, "own")
    assert told.startswith("secret_denied")
    assert f"mode {mode:o}" in told and "chmod 600" in told


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_its_owner_alone_may(folder: Path, mode: int) -> None:
    (folder / "acme" / "own").chmod(mode)
    assert SecretFiles(str(folder)).read("own", "acme") == "acme-value"


@pytest.mark.parametrize("part", [".", "acme"])
def test_a_folder_that_others_may_write_is_refused(folder: Path, part: str) -> None:
    (folder / part).chmod(0o777)
    assert "A folder of the secret" in refused(folder, "own")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_owner_is_refused(folder: Path) -> None:
    os.chown(folder / "acme" / "own", 65_534, 65_534)
    assert "the owner 65534" in refused(folder, "own")


def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe", 0o600)
    assert SecretFiles(str(folder)).read("pipe", "acme") is None


def test_variables() -> None:
    store = SecretVariables({"TOKEN": "value-1"})
    assert store.read("TOKEN", "acme") == "value-1"
    assert store.read("OTHER", "acme") is None
