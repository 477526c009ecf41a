"""The folder of an attempt is measured and removed whatever its owner has made of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drivers import private_folder


def nested(folder: Path, depth: int) -> None:
    """Folders in folders, deeper than any path may be long."""
    current = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=current)
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=current))
    os.close(current)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "private"
    made.mkdir()
    return made


def test_links_are_neither_followed_nor_counted_as_what_they_point_at(
    folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"x" * 100_000)
    (folder / "to-folder").symlink_to(outside)
    (folder / "to-file").symlink_to(outside / "kept")
    files, used = private_folder.measure(str(folder), 100)
    assert files == 2 and used < 50_000
    private_folder.remove(str(folder))
    assert not folder.exists() and (outside / "kept").exists()


def test_a_folder_that_was_replaced_by_a_link_is_left_alone(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    folder.rmdir()
    folder.symlink_to(outside)
    assert private_folder.measure(str(folder), 100) == (0, 0)
    private_folder.remove(str(folder))
    assert (outside / "kept").exists()


def test_depth_hides_nothing_and_stops_no_removal(folder: Path) -> None:
    nested(folder, 3_000)
    assert private_folder.measure(str(folder), 100_000)[0] > 100_000
    private_folder.remove(str(folder))
    assert not folder.exists()


def test_all_is_counted_up_to_the_limit(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(10):
            (folder / name / str(number)).write_bytes(b"x" * 4_096)
    files, used = private_folder.measure(str(folder), 100)
    assert files == 22 and used >= 20 * 4_096
    assert private_folder.measure(str(folder), 15)[0] == 16


def test_what_its_owner_made_unreadable_is_removed_too(folder: Path) -> None:
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for one in (inner, folder / "a"):
        one.chmod(0o000)
    private_folder.remove(str(folder))
    assert not folder.exists()


def test_very_many_files_and_other_kinds_are_removed(folder: Path) -> None:
    for number in range(2_500):
        (folder / str(number)).touch()
    os.mkfifo(folder / "pipe")
    private_folder.remove(str(folder))
    assert not folder.exists()
