"""The help of the command line: commands under headings, in plain text.

Plain, because to import rich takes as long as everything else that `--help` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

#: Longer than the summary of any command, so that none is cut.
_SUMMARY_CHARACTERS = 200


class Sections(TyperGroup):
    """Lists each command below the heading of its `rich_help_panel`, in the order of registration;
    one without a heading is listed under `Commands`."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the commands that are not hidden; called by the help page."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is None or command.hidden:
                continue
            title = getattr(command, "rich_help_panel", None)
            rows = sections.setdefault(title if isinstance(title, str) else "Commands", [])
            rows.append((name, command.get_short_help_str(_SUMMARY_CHARACTERS)))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)
