"""Alerts by mail: plain text over SMTP, SMTPS or STARTTLS.

What can reach a header is either checked where it was set (mailboxes) or squeezed onto one line and kept from holding
encoded words (the subject). No HTML, no picture, nothing loaded from anywhere. A password is only ever sent over TLS,
or to this machine; certificates are verified (roots of trust: the system's, or SSL_CERT_FILE).
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from weighup.retrieve.guard import is_loopback
from weighup.serve.alerts.delivery import Undelivered
from weighup.serve.alerts.message import headline, letter, one_line
from weighup.serve.alerts.targets import MailTarget, is_mailbox
from weighup.serve.db.records import Alert

LONGEST = 40.0
"""Seconds from greeting to goodbye, however slowly the server speaks; less than the courier's lease."""


class Mail:
    """Sends alerts by mail, one connection each. Thread-safe. `timeout` is in seconds, for each step."""

    def __init__(self, target: MailTarget, *, timeout: float = 10.0, longest: float = LONGEST) -> None:
        self.target = target
        self.timeout = timeout
        self.longest = longest

    def send(self, alert: Alert) -> None:
        """Hand one alert to the mail server. Raises Undelivered; `final` where the server will never take it."""
        if not is_mailbox(alert.target):
            raise Undelivered("its target is not a mailbox", final=True)
        name = f"mail server {self.target.host}:{self.target.port}"
        message = compose(alert, self.target.sender)
        try:
            with self._session() as session:
                session.send_message(message, self.target.sender, [alert.target])
        except smtplib.SMTPRecipientsRefused as error:
            code, said = error.recipients.get(alert.target, (0, b""))
            raise self._refused(f"{name} refused the recipient", code, said) from None
        except smtplib.SMTPAuthenticationError as error:
            # What the server says may hold what it was told.
            raise Undelivered(f"{name} refused user name or password ({error.smtp_code})") from None
        except smtplib.SMTPResponseException as error:
            raise self._refused(f"{name} refused", error.smtp_code, error.smtp_error) from None
        except ssl.SSLCertVerificationError as error:
            said_why = one_line(str(error.verify_message), 100)
            raise Undelivered(f"{name} has a certificate that is not trusted: {said_why}") from None
        except (smtplib.SMTPException, OSError) as error:
            what = "did not answer in time" if isinstance(error, TimeoutError) else type(error).__name__
            raise Undelivered(f"{name} cannot be reached or broke off: {what}") from None

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """A connection that is as secure as it must be, signed in if there is a user."""
        target, here = self.target, is_loopback(self.target.host)
        own = socket.gethostname()
        told = own if "." in own and own.isascii() else "[127.0.0.1]"  # what we call ourselves; asks no name server
        trust = ssl.create_default_context()
        session: smtplib.SMTP
        if target.tls:
            session = smtplib.SMTP_SSL(target.host, target.port, told, timeout=self.timeout, context=trust)
        else:
            session = smtplib.SMTP(target.host, target.port, told, timeout=self.timeout)
        # Each step has its own timeout, which a server that drips could renew for ever.
        watch = threading.Timer(self.longest, _cut, [session])
        watch.daemon = True
        watch.start()
        try:
            if not target.tls:
                session.ehlo_or_helo_if_needed()
                if session.has_extn("starttls") and (target.user or not here):
                    session.starttls(context=trust)
                    session.ehlo()
                elif target.user and not here:
                    raise Undelivered(
                        f"mail server {target.host}:{target.port} offers no STARTTLS, so the password was not sent"
                    )
            if target.user:
                session.login(target.user, target.password or "")
            yield session
            try:
                session.quit()
            except (smtplib.SMTPException, OSError):
                return  # the message was taken before
        finally:
            watch.cancel()
            session.close()

    def _refused(self, what: str, code: int, said: bytes | str) -> Undelivered:
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        if self.target.password:
            text = text.replace(self.target.password, "***")
        return Undelivered(f"{what}: {code} {one_line(text, 200)}", final=500 <= code < 600)


def compose(alert: Alert, sender: str) -> EmailMessage:
    """The message. Its Message-ID is the alert's id, so that a copy can be told from the first."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = alert.target
    # The library decodes encoded words (RFC 2047) in what it is given, and the line breaks that they may hold end up
    # in the header: a claim may not write any.
    message["Subject"] = f"[weighup] {one_line(headline(alert.payload), 180)}".replace("=?", "= ?")
    message["Date"] = format_datetime(alert.created_at)
    message["Message-ID"] = f"<{alert.id}@{sender.rpartition('@')[2]}>"
    message["Weighup-Alert-Id"] = str(alert.id)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter(alert), charset="utf-8", cte="quoted-printable")
    return message


def _cut(session: smtplib.SMTP) -> None:
    connection = session.sock
    if connection is not None:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it ended by itself
