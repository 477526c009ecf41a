"""The `smtp` driver: one mail, through the server of the settings.

Arguments: `to`, `cc`, `bcc` (text with commas, or a list); `subject`; `body`; `html`; `from`;
`reply_to`; `attachments` (list of `name`, `content` as text or `content_base64`, `content_type`).

Success means that the server accepted the mail for at least one recipient; `refused` has the
others.
"""

from __future__ import annotations

import asyncio
import ssl
from email.message import EmailMessage
from typing import Any, Final

import aiosmtplib
from aiosmtplib import errors

from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.messages import mail
from drivers.output import escaped
from drivers.resources import trusted
from runtime.settings import ExecutorSettings
from toolmeta.invocation import Invocation

_SECONDS: Final = 10.0
_IMPLICIT_TLS_PORT: Final = 465
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class SmtpDriver:
    """Plain, STARTTLS or implicit TLS; a certificate is always verified."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Send the mail once; a cancel before it goes out is certain."""
        context.not_acting()
        settings = context.resources.settings
        try:
            message, recipients = mail.compose(
                invocation.arguments, settings.smtp_from, context.command
            )
        except mail.Unmailable as error:
            return fail(invocation, "invalid_parameters", str(error))
        if (
            settings.smtp_user is not None
            and not settings.smtp_use_tls
            and settings.smtp_host not in _LOOPBACK
        ):
            message_text = "SMTP_USER needs SMTP_USE_TLS: the password would travel in the clear"
            return fail(invocation, "not_configured", message_text)
        await context.resources.pacing.receiver(
            context, settings.smtp_host, shown="the mail server"
        )
        client = await _client(settings)
        where = f"the mail server {settings.smtp_host}:{settings.smtp_port}"
        try:
            refusal = await _open(invocation, client, settings, where)
            if refusal is not None:
                return refusal
            context.acting()
            return await _send(invocation, client, message, recipients, where)
        finally:
            client.close()


async def _client(settings: ExecutorSettings) -> aiosmtplib.SMTP:
    tls = settings.smtp_use_tls
    context = await asyncio.to_thread(trusted, settings.smtp_ca_file) if tls else None
    implicit = tls and settings.smtp_port == _IMPLICIT_TLS_PORT
    return aiosmtplib.SMTP(
        hostname=settings.smtp_host,
        port=settings.smtp_port,
        use_tls=implicit,
        start_tls=tls and not implicit,
        tls_context=context,
        timeout=_SECONDS,
    )


async def _open(
    invocation: Invocation, client: aiosmtplib.SMTP, settings: ExecutorSettings, where: str
) -> Failure | None:
    """Connect and log in; nothing was sent yet."""
    try:
        await client.connect()
        if settings.smtp_user is not None:
            password = settings.smtp_password
            await client.login(
                settings.smtp_user, password.get_secret_value() if password is not None else ""
            )
    except errors.SMTPAuthenticationError as error:
        return fail(invocation, "login_refused", f"{where} refuses the login ({error.code})")
    except (errors.SMTPTimeoutError, TimeoutError):
        return fail(invocation, "unreachable", f"{where} does not answer within {_SECONDS:g} s")
    except (errors.SMTPException, OSError) as error:
        return _unopened(invocation, error, where)
    return None


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
