"""Settings, alerts and a mail server for the tests of alerts."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from db_samples import NOON, check

from weighup.serve.alerts.message import payload
from weighup.serve.db.records import Alert, NewAlert, Recorded
from weighup.settings import Settings, load_settings

VERDICT = uuid.UUID(int=7)
DESK = "desk@example.org"
SECRET = "a-secret-of-the-tests-0123456789"
PASSWORD = "pass-word-of-the-tests-98765"


def settings(*, loopback: bool = True, timeout: float = 2.0, public_url: str | None = None, **watch: Any) -> Settings:
    watch = {"console": False, **watch}
    retrieve = {"allow_loopback": loopback, "timeout": timeout}
    return load_settings({"watch": watch, "retrieve": retrieve, "serve": {"public_url": public_url}})


def recorded(probability: float, label: str, before: float | None = None, label_before: str | None = None) -> Recorded:
    return Recorded(VERDICT, before is None, True, probability, label, before, label_before)


def told(claim: str = "The bridge has collapsed.", **more: Any) -> dict[str, Any]:
    made = check(claim, 0.9, seen=("two witnesses",), **more)
    return payload("verdict.changed", made, recorded(0.9, "fake", 0.3, "real"))


def new(key: str, channel: Any = "webhook", target: str = "-", claim: str = "The bridge has collapsed.") -> NewAlert:
    return NewAlert(key, channel, target, told(claim))


def alert(channel: str = "webhook", target: str = "-", **more: Any) -> Alert:
    return Alert(uuid.UUID(int=42), "", None, channel, target, told(**more), "queued", 1, NOON, None, NOON)


class Mailbox:
    """A handler for aiosmtpd that keeps what it is given and refuses whom it is told to."""

    def __init__(self) -> None:
        self.got: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.signed_in: list[tuple[bytes, bytes]] = []
        self.refuse: dict[str, str] = {}
        self.data_reply = "250 kept"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.data_reply.startswith("250"):
            self.raw.append(envelope.content)
            parsed = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(parsed, EmailMessage)
            self.got.append(parsed)
        return self.data_reply

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.signed_in.append((data.login, data.password))
        return AuthResult(success=data.login == b"weighup@example.org", handled=False)


class _AnyPort(Controller):
    """Port 0 is any free one: which, the controller's own first call has to know."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(mailbox: Mailbox, *, tls: ssl.SSLContext | None = None, **more: Any) -> Iterator[int]:
    """A real SMTP server on a free loopback port; `tls`: from the first byte."""
    controller = _AnyPort(mailbox, hostname="127.0.0.1", port=0, ssl_context=tls, **more)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def certificate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for localhost that this process trusts."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make a certificate with")
    key, cert = folder / "key.pem", folder / "cert.pem"
    made = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost"]
    subprocess.run([*made, "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    return context
