"""Limits of the tools for files."""

from __future__ import annotations

from typing import Final

#: Of one file; the output says what stood in the way.
MOST_FILE_BYTES: Final = 64 * 1024**3
#: Of one folder, and of a tree that is removed.
MOST_ENTRIES: Final = 100_000
#: Folders of a tree within each other.
MOST_DEPTH: Final = 100
#: Of the old and of the new text, for a diff between them.
MOST_DIFFED_BYTES: Final = 64 * 1024
#: Of a diff in the output.
MOST_DIFF_CHARACTERS: Final = 16 * 1024
#: Of a file's content in the output.
MOST_SHOWN_BYTES: Final = 64 * 1024
#: Of a template, and of what it becomes.
MOST_TEMPLATE_BYTES: Final = 256 * 1024
MOST_RENDERED_BYTES: Final = 4 * 1024**2
#: Of the lists of users and groups of a host.
MOST_ACCOUNT_BYTES: Final = 4 * 1024**2
