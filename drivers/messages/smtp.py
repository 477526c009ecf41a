"""The `smtp` driver: one mail, through the server of the settings or one that the step names.

Arguments: `to`, `cc`, `bcc` (text with commas, or a list); `subject`; `body`; `html`; `from`;
`reply_to`; `attachments` (list of `name`, `content` as text, `content_base64` or `path`,
`content_type`); `server` with `port`, `tls`, `username`, `password`, `ca`.

Success means that the server accepted the mail for at least one recipient; `refused` has the
others.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from email.message import EmailMessage
from typing import Any, Final

import aiosmtplib
from aiosmtplib import errors

from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.messages import mail
from drivers.messages.mail_server import MailServer, server_of
from drivers.output import escaped
from drivers.spans import traced
from drivers.transfer_files import Moved, TransferFiles, Unusable
from runtime.recording import Attributes
from toolmeta.invocation import Invocation

_SECONDS: Final = 10.0


class SmtpDriver:
    """Plain, STARTTLS or implicit TLS; a certificate is always verified."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Send the mail once; a cancel before it goes out is certain."""
        context.not_acting()
        arguments = invocation.arguments
        try:
            files = await asyncio.to_thread(_files, invocation, context)
            message, recipients = mail.compose(
                arguments,
                context.resources.settings.smtp_from,
                context.command,
                {moved.path: data for moved, data in files},
            )
        except mail.Unmailable as error:
            return fail(invocation, "invalid_parameters", str(error))
        except Unusable as error:
            return error.failure
        server = await server_of(invocation, context)
        if isinstance(server, Failure):
            return server
        await context.resources.pacing.receiver(context, server.host, shown="the mail server")
        where = f"the mail server {server.host}:{server.port}"
        client: aiosmtplib.SMTP | None = None
        try:
            client = await _client(server)
            about: Attributes = {"server.address": server.host, "server.port": server.port}
            opened = _open(invocation, client, server, where)
            refusal = await traced(opened, "SMTP connect", about)
            if refusal is not None:
                return refusal
            context.acting()
            sent = _send(invocation, client, message, recipients, where)
            outcome = await traced(sent, "SMTP send", about)
        except ValueError as error:
            return fail(invocation, "invalid_parameters", str(error))
        except OSError as error:
            return _unconnected(invocation, error, where)
        finally:
            if client is not None:
                client.close()
        if files and isinstance(outcome, Success):
            outcome.output["attached"] = [moved.fields for moved, _ in files]
        return outcome


def _files(invocation: Invocation, context: RunContext) -> list[tuple[Moved, bytes]]:
    """The files to attach; raises Unmailable and Unusable."""
    files, left = TransferFiles(invocation, context), mail.ATTACHED_BYTES
    found: list[tuple[Moved, bytes]] = []
    for field, path in mail.paths_of(invocation.arguments):
        with files.reading(field, path, left) as (file, size):
            data = b""
            while len(data) < size and (piece := file.read(size - len(data))):
                data += piece
        left -= len(data)
        found.append((Moved(path, len(data), hashlib.sha256(data).hexdigest()), data))
    return found


async def _client(server: MailServer) -> aiosmtplib.SMTP:
    """A client that is not connected yet; raises OSError and ValueError."""
    context = await asyncio.to_thread(server.context)
    connected = await server.connected(_SECONDS)
    return aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port if connected is None else None,
        sock=connected,
        use_tls=server.tls == "implicit",
        start_tls=server.tls == "starttls",
        tls_context=context,
        timeout=_SECONDS,
    )


async def _open(
    invocation: Invocation, client: aiosmtplib.SMTP, server: MailServer, where: str
) -> Failure | None:
    """Connect and log in; nothing was sent yet."""
    connected = client.sock
    try:
        await client.connect()
        connected = None  # The transport has it now.
        if server.user is not None:
            await client.login(server.user, server.password)
    except errors.SMTPAuthenticationError as error:
        return fail(invocation, "login_refused", f"{where} refuses the login ({error.code})")
    except (errors.SMTPTimeoutError, TimeoutError):
        return fail(invocation, "unreachable", f"{where} does not answer within {_SECONDS:g} s")
    except (errors.SMTPException, OSError) as error:
        return _unopened(invocation, error, where)
    finally:
        if connected is not None:
            connected.close()
    return None


def _unconnected(invocation: Invocation, error: OSError, where: str) -> Failure:
    if isinstance(error, TimeoutError):
        return fail(invocation, "unreachable", f"{where} does not answer within {_SECONDS:g} s")
    return _unopened(invocation, error, where)


def _unopened(invocation: Invocation, error: Exception, where: str) -> Failure:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "verify_message", "") or cause.reason or "handshake failed"
            return fail(invocation, "tls_failed", f"{where}: no trusted TLS connection: {reason}")
        if isinstance(cause, ConnectionRefusedError):
            return fail(invocation, "connection_refused", f"{where} refuses the connection")
        cause = cause.__cause__ or cause.__context__
    if "STARTTLS" in str(error):
        return fail(invocation, "tls_failed", f"{where} offers no STARTTLS, and TLS is required")
    if "AUTH" in str(error):
        return fail(invocation, "login_refused", f"{where} offers no login")
    return fail(invocation, "unreachable", f"{where} cannot be reached")


async def _send(
    invocation: Invocation,
    client: aiosmtplib.SMTP,
    message: EmailMessage,
    recipients: list[str],
    where: str,
) -> Outcome:
    try:
        refusals, reply = await client.send_message(message, recipients=recipients)
    except errors.SMTPRecipientsRefused as error:
        return _all_refused(invocation, error, where)
    except errors.SMTPResponseException as error:
        answer = escaped(error.message)[:300]
        return fail(invocation, _by_code(error.code), f"{where} answered {error.code} {answer}")
    except (errors.SMTPTimeoutError, TimeoutError):
        return fail(invocation, "no_answer", f"{where} did not answer within {_SECONDS:g} s")
    except (errors.SMTPException, OSError):
        return fail(invocation, "connection_lost", f"{where} broke the connection")
    refused = {
        address: {"code": answer.code, "message": escaped(answer.message)[:300]}
        for address, answer in refusals.items()
    }
    output: dict[str, Any] = {
        "message_id": str(message["Message-ID"]),
        "accepted": [address for address in recipients if address not in refused],
        "refused": refused,
        "response": escaped(reply)[:300],
    }
    return Success(output)


def _all_refused(
    invocation: Invocation, error: errors.SMTPRecipientsRefused, where: str
) -> Failure:
    refused = {
        one.recipient: {"code": one.code, "message": escaped(one.message)[:300]}
        for one in error.recipients
    }
    later = all(_by_code(one.code) == "mail_deferred" for one in error.recipients)
    first = error.recipients[0]
    message = f"{where} refuses every recipient: {first.code} {escaped(first.message)[:300]}"
    error_class = "mail_deferred" if later else "mail_refused"
    return fail(invocation, error_class, message, {"accepted": [], "refused": refused})


def _by_code(code: int) -> str:
    """4yz is a transient refusal, 5yz a permanent one (RFC 5321, section 4.2.1)."""
    return "mail_deferred" if 400 <= code < 500 else "mail_refused"
