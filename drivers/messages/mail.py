"""A mail from the arguments of a step: addresses checked, headers safe, size bounded."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Final

from streams.commands import StepCommand

_RECIPIENTS: Final = 100
_ATTACHMENTS: Final = 20
ATTACHED_BYTES: Final = 10 * 1024 * 1024
_CONTENTS: Final = ("content", "content_base64", "path")
_ATTACHMENT: Final = frozenset({"name", "content_type", *_CONTENTS})
#: A name before an address; with an `@` in it, it is a list of several.
_NAMED: Final = re.compile(r'"?([^<>@"\\]{1,200}?)"? ?<([^<>]+)>')
_TYPE: Final = re.compile(r"^[a-z]{1,32}/[a-z0-9][a-z0-9.+-]{0,99}$")


class Unmailable(Exception):
    """No mail can be made from the arguments; the message names the field."""


def compose(
    arguments: dict[str, Any], sender: str, command: StepCommand, files: Mapping[str, bytes]
) -> tuple[EmailMessage, list[str]]:
    """The message and the addresses of its envelope; raises Unmailable.

    `files` has the content of each `path` of an attachment.

    The Message-ID is the attempt's, so that a mail program shows a repeated mail once.
    """
    message = EmailMessage()
    _put_addresses(message, "From", [str(arguments.get("from") or sender)])
    if len(_addresses(message, "From")) != 1:
        raise Unmailable("from: one address is needed")
    recipients: list[str] = []
    for field in ("to", "cc", "bcc"):
        listed = _listed(arguments.get(field))
        if listed:
            _put_addresses(message, field.capitalize(), listed)
            recipients += _addresses(message, field.capitalize())
    # Blind copies are in the envelope only.
    del message["Bcc"]
    if not recipients:
        raise Unmailable("to: a recipient is needed")
    if len(recipients) > _RECIPIENTS:
        raise Unmailable(f"to, cc, bcc: at most {_RECIPIENTS} recipients")
    if arguments.get("reply_to"):
        _put_addresses(message, "Reply-To", [str(arguments["reply_to"])])
        _addresses(message, "Reply-To")
    _put(message, "Subject", arguments.get("subject") or "")
    message["Date"] = formatdate(usegmt=True)
    ident = f"{command.execution_id}.{command.step}.{command.attempt}"
    message["Message-ID"] = f"<{re.sub(r'[^A-Za-z0-9.-]', '-', ident)}@runstream>"
    message.set_content(str(arguments.get("body") or ""))
    if arguments.get("html"):
        message.add_alternative(str(arguments["html"]), subtype="html")
    _attach(message, arguments.get("attachments") or [], files)
    return message, list(dict.fromkeys(recipients))


def _listed(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _put(message: EmailMessage, name: str, value: Any) -> None:
    text = str(value)
    # EmailMessage refuses line breaks too; other control characters are refused here.
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise Unmailable(f"{name.lower()}: control characters and line breaks are not allowed")
    try:
        message[name] = text
    except (ValueError, IndexError, LookupError):
        raise Unmailable(f"{name.lower()}: not a valid header") from None


def _put_addresses(message: EmailMessage, name: str, listed: list[str]) -> None:
    """Names are quoted as they need it: a comma in one begins no further address."""
    _put(message, name, ", ".join(_quoted(one) for one in listed))


def _quoted(text: str) -> str:
    named = _NAMED.fullmatch(text.strip())
    if named is None or not named[1].isprintable():
        return text
    try:
        return str(Address(display_name=named[1], addr_spec=named[2]))
    except (ValueError, IndexError, LookupError, HeaderParseError):
        return text


def _addresses(message: EmailMessage, name: str) -> list[str]:
    header: Any = message[name]
    found = [address.addr_spec for address in header.addresses]
    if header.defects or not found or not all(_plausible(address) for address in found):
        raise Unmailable(f"{name.lower()}: not a valid mail address")
    return found


def _plausible(address: str) -> bool:
    local, at, domain = address.rpartition("@")
    return bool(at and local and domain) and not set(address) & set(" <>\r\n\t")


def paths_of(arguments: dict[str, Any]) -> list[tuple[str, str]]:
    """The files that are attached, each with the field that names it; raises Unmailable."""
    attachments = arguments.get("attachments") or []
    if len(attachments) > _ATTACHMENTS:
        raise Unmailable(f"attachments: at most {_ATTACHMENTS}")
    return [
        (f"attachments[{index}].path", str(one["path"]))
        for index, one in enumerate(attachments)
        if one.get("path") is not None
    ]


def _attach(
    message: EmailMessage, attachments: list[dict[str, Any]], files: Mapping[str, bytes]
) -> None:
    total = 0
    for attachment in attachments:
        unknown = sorted(set(attachment) - _ATTACHMENT)
        if unknown:
            raise Unmailable(
                f"attachments: {unknown[0][:40]} is not one of name, content, "
                "content_base64, path, content_type"
            )
        file = str(attachment.get("path") or "").rpartition("/")[2]
        name = str(attachment.get("name") or file or "attachment")
        if any(ord(char) < 0x20 for char in name) or "/" in name:
            raise Unmailable("attachments: a name holds control characters or a slash")
        text = attachment.get("content") is not None
        usual = "text/plain" if text else "application/octet-stream"
        kind = str(attachment.get("content_type") or usual).lower()
        if not _TYPE.match(kind):
            raise Unmailable("attachments: content_type must look like text/plain")
        data = _content(attachment, files)
        total += len(data)
        if total > ATTACHED_BYTES:
            raise Unmailable(f"attachments: at most {ATTACHED_BYTES} bytes together")
        main, _, sub = kind.partition("/")
        message.add_attachment(data, maintype=main, subtype=sub, filename=name)


def _content(attachment: dict[str, Any], files: Mapping[str, bytes]) -> bytes:
    if sum(attachment.get(name) is not None for name in _CONTENTS) > 1:
        raise Unmailable("attachments: give one of content, content_base64 and path")
    if attachment.get("content") is not None:
        return str(attachment["content"]).encode()
    if attachment.get("path") is not None:
        return files[str(attachment["path"])]
    try:
        return base64.b64decode(str(attachment.get("content_base64") or ""), validate=True)
    except (binascii.Error, ValueError):
        raise Unmailable("attachments: content_base64 must be base64") from None
