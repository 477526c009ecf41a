"""The login of the embedded broker, and what clients of all kinds are told about it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

#: The user of whoever owns the state folder; the broker allows it everything.
OWNER: Final = "runstream"
#: The user of kcat, who may do what people may: submit, steer, and read what happens.
KCAT: Final = "local-people"
#: The broker proves in turn that it knows the password, so that another program that listens on
#: the port of a stopped broker learns nothing.
MECHANISM: Final = "SCRAM-SHA-256"


#: That of kcat: librdkafka before 2.6.1, which distributions build it with, repeats the client's
#: nonce in its last SCRAM message, and Kafka 4 refuses that. The password is sent as it is; so it
#: is another one at each start of the broker, and worth nothing to whoever listens on the port of
#: a stopped one. Source: librdkafka pull request 4895, RFC 5802 section 5.1.
KCAT_MECHANISM: Final = "PLAIN"


@dataclass(frozen=True)
class Login:
    """A user of the broker and its password: letters, digits, `-` and `_` only."""

    username: str
    password: str = field(repr=False)

    def options(self) -> dict[str, str]:
        """The options of a client, as librdkafka spells them; the address is not among them."""
        return {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": MECHANISM,
            "sasl.username": self.username,
            "sasl.password": self.password,
        }

    def jaas(self) -> str:
        """The SCRAM login of a Java client."""
        module = "org.apache.kafka.common.security.scram.ScramLoginModule"
        return f'{module} required username="{self.username}" password="{self.password}";'


def new_login(username: str) -> Login:
    """A login with a random password of 192 bits."""
    return Login(username, secrets.token_urlsafe(24))


def stored_login(file: Path) -> Login | None:
    """The owner's login, whose password is the content of the file; None if there is no file."""
    try:
        return Login(OWNER, file.read_text().strip())
    except FileNotFoundError:
        return None


def client_properties(bootstrap_servers: str, login: Login) -> str:
    """A file for `kcat -F`, in librdkafka's names; kcat refuses a file with a SCRAM JAAS login."""
    options = {
        "bootstrap.servers": bootstrap_servers,
        **login.options(),
        "sasl.mechanism": KCAT_MECHANISM,
    }
    return "".join(f"{name}={value}\n" for name, value in options.items())


def java_properties(bootstrap_servers: str, login: Login) -> str:
    """A file for the Java tools and what else reads Java's names."""
    return (
        f"bootstrap.servers={bootstrap_servers}\n"
        "security.protocol=SASL_PLAINTEXT\n"
        f"sasl.mechanism={MECHANISM}\n"
        f"sasl.jaas.config={login.jaas()}\n"
    )
