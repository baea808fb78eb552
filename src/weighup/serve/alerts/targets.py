"""Who is told, from the settings: refused here, by name, if word could never reach them.

Secrets come from the environment and are held out of every `repr`. A webhook's path may be a secret as well (chat
services put a token there), so people are only shown its origin, and it is not kept in the database: what waits in the
outbox goes to the address that is set when it leaves.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from weighup.errors import AddressRefused, SettingsError
from weighup.retrieve.guard import Address, check_address, is_loopback
from weighup.settings import Settings, WatchSettings

SHORTEST_SECRET = 16
"""Characters. A shorter secret could be guessed from one message and its signature."""

# The part of RFC 5321 that mail in use keeps to; nothing that could end a header or a command.
_MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """Where webhooks go and what they are signed with. `name` is how it may be shown."""

    address: Address = field(repr=False)
    secret: str = field(repr=False)

    @property
    def name(self) -> str:
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        return f"{self.address.scheme}://{host}:{self.address.port}"


@dataclass(frozen=True, slots=True)
class MailTarget:
    """Who gets mail, and through which server. `tls`: from the first byte; else by STARTTLS."""

    sender: str
    to: tuple[str, ...]
    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Targets:
    """All who are told."""

    webhook: WebhookTarget | None
    mail: MailTarget | None
    console: bool

    @property
    def channels(self) -> list[tuple[str, str]]:
        """Each channel with the name of who is reached by it; mail once for each mailbox."""
        found = [("webhook", self.webhook.name)] if self.webhook else []
        found += [("email", mailbox) for mailbox in (self.mail.to if self.mail else ())]
        return [*found, ("console", "console")] if self.console else found


def targets(settings: Settings) -> Targets:
    """Who is told under these settings. Raises SettingsError naming the one that cannot be used; resolves nothing."""
    watch = settings.watch
    return Targets(_webhook(watch, settings.retrieve.allow_loopback), _mail(watch), watch.console)


def is_mailbox(text: str) -> bool:
    """Whether mail can be sent there: an ASCII mailbox without quotes, comments or a display name."""
    return _MAILBOX.fullmatch(text) is not None and ".." not in text


def _webhook(watch: WatchSettings, allow_loopback: bool) -> WebhookTarget | None:
    if not watch.webhook:
        return None
    try:
        address = check_address(watch.webhook, allow_loopback=allow_loopback, any_port=True)
    except AddressRefused as error:
        why = str(error).partition(" was not fetched: ")[2] or "it is refused"
        raise SettingsError(f"setting watch.webhook: cannot be used: {why}") from None
    secret = os.environ.get(watch.webhook_secret_env, "")
    if len(secret) < SHORTEST_SECRET:
        raise SettingsError(
            f"setting watch.webhook: put the secret that messages are signed with, at least {SHORTEST_SECRET} "
            f"characters, into the environment variable {watch.webhook_secret_env}"
        )
    return WebhookTarget(address, secret)


def _mail(watch: WatchSettings) -> MailTarget | None:
    if not watch.email_to:
        return None
    for mailbox in watch.email_to:
        if not is_mailbox(mailbox):
            raise SettingsError(f"setting watch.email_to: {mailbox[:60]!r} is not a mailbox such as desk@example.org")
    if not watch.email_from or not is_mailbox(watch.email_from):
        raise SettingsError("setting watch.email_from: name the mailbox that alerts come from")
    if not watch.smtp:
        raise SettingsError("setting watch.smtp: name the mail server, as in smtps://user@host:465")
    parts, port = _split(watch.smtp)
    tls = parts.scheme.lower() == "smtps"
    host, user = (parts.hostname or "").rstrip("."), unquote(parts.username or "") or None
    if not host or re.search(r"[^\w.:-]", host, re.ASCII):
        raise SettingsError("setting watch.smtp: names no server; write smtp://user@host:587 or smtps://user@host:465")
    if parts.password is not None:
        raise SettingsError(
            f"setting watch.smtp: holds a password; put it into the environment variable {watch.smtp_password_env}"
        )
    password = os.environ.get(watch.smtp_password_env) or None
    if user and not password:
        raise SettingsError(
            f"setting watch.smtp: put the password of {user[:60]!r} into the environment variable "
            f"{watch.smtp_password_env}"
        )
    to = tuple(dict.fromkeys(watch.email_to))
    standard = 465 if tls else 25 if is_loopback(host) else 587
    return MailTarget(watch.email_from, to, host, port or standard, tls, user, password if user else None)


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError("setting watch.smtp: is not a well-formed address; write smtps://user@host:465") from None
    if parts.scheme.lower() not in ("smtp", "smtps") or parts.path.strip("/") or parts.query or parts.fragment:
        raise SettingsError("setting watch.smtp: write smtp://user@host:587 or smtps://user@host:465")
    return parts, port
