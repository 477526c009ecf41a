"""Programs over SSH on a host that answers as it likes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh

from drivers.remote import MOST_ANSWERED
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.fakes.ssh_host import told
from toolmeta.invocation import Invocation


class Host:
    """A server that starts nothing, and answers without end when it is to stop something."""

    def __init__(self) -> None:
        self.begun = False
        self.sent = 0

    async def process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.channel.set_write_buffer_limits(0)
        if not self.begun:
            await told(process)
            self.begun = True
            await process.stdin.read()
            return
        try:
            while True:
                process.stdout.write(b"ended " + b"1" * 65_536 + b"\n")
                self.sent += 65_536
                await process.stdout.drain()
        except (BrokenPipeError, ConnectionError, asyncssh.Error):
            return


def test_an_endless_answer_to_a_cancel_is_not_kept(tmp_path: Path) -> None:
    client, own = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    client.write_private_key(str(tmp_path / "client"))
    client.write_public_key(str(tmp_path / "authorized"))

    async def inside() -> tuple[dict[str, object], Host]:
        host = Host()
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[own], process_factory=host.process, encoding=None,
            authorized_client_keys=str(tmp_path / "authorized"),
        )  # fmt: skip
        port = server.get_port()
        public = own.export_public_key().decode()
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
        opened = Resources(
            settings(
                ssh_known_hosts=str(tmp_path / "known_hosts"),
                ssh_key_file=str(tmp_path / "client"),
                ssh_user="anybody",
            )
        )
        try:
            where = f"127.0.0.1:{port}"
            attempt = Run(opened, Invocation("argv", "command", argv=("sleep", "9"), host=where))
            attempt.context.stop.grace_seconds = 0.0
            return await attempt.cancelled(lambda: host.begun), host
        finally:
            await opened.close()
            server.close()

    evidence, host = asyncio.run(inside())
    assert "did not say what is left" in str(evidence["cancel_unconfirmed"])
    # Beyond what is kept there is what the window of SSH lets through.
    assert host.sent < 64 * MOST_ANSWERED
