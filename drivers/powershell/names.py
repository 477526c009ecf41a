"""Names of PowerShell in snake case."""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER: Final = re.compile(r"[^a-z0-9]+")

#: [MS-PSRP] 2.2.3.9, ErrorCategory, in the order of their numbers.
CATEGORIES: Final = (
    "NotSpecified", "OpenError", "CloseError", "DeviceError", "DeadlockDetected",
    "InvalidArgument", "InvalidData", "InvalidOperation", "InvalidResult", "InvalidType",
    "MetadataError", "NotImplemented", "NotInstalled", "ObjectNotFound", "OperationStopped",
    "OperationTimeout", "SyntaxError", "ParserError", "PermissionDenied", "ResourceBusy",
    "ResourceExists", "ResourceUnavailable", "ReadError", "WriteError", "FromStdErr",
    "SecurityError", "ProtocolError", "ConnectionError", "AuthenticationError", "LimitsExceeded",
    "QuotaExceeded", "NotEnabled",
)  # fmt: skip


def snake(name: str) -> str:
    """`DisplayName` as `display_name`, `IPAddress` as `ip_address`."""
    spaced = _WORD.sub("_", name.replace("IPv", "Ipv"))
    return _OTHER.sub("_", spaced.lower()).strip("_") or "value"
