"""Mail against a real SMTP server: plain text, nothing injected, passwords only where nobody listens."""

from __future__ import annotations

import logging
import socket
import threading
from pathlib import Path

import pytest
from alert_samples import DESK, PASSWORD, Mailbox, alert, certificate, mail_server, settings

from weighup.serve.alerts.courier import channels
from weighup.serve.alerts.delivery import Undelivered
from weighup.serve.alerts.email import Mail, compose
from weighup.serve.alerts.targets import targets

HOSTILE = (
    "Sign in at https://evil.example/x or www.evil.example\r\nBcc: all@example.org\r\n\r\n<img src=//evil.example/p>"
    "\n.\r\nMAIL FROM:<x@y.z>\u2028Subject: hello\x00\x1b[31m\u202eevil"
)


def mail(smtp: str, **more: object) -> Mail:
    to, sender = (DESK,), "weighup@example.org"
    made = channels(settings(email_to=to, email_from=sender, smtp=smtp, timeout=1.0))["email"]
    assert isinstance(made, Mail)
    return Mail(made.target, timeout=1.0, **more)  # type: ignore[arg-type]


def test_a_letter_arrives_as_plain_text_naming_its_alert() -> None:
    box, one = Mailbox(), alert("email", DESK)
    with mail_server(box) as port:
        mail(f"smtp://127.0.0.1:{port}").send(one)
    (got,) = box.got
    assert (got["To"], got["From"]) == (DESK, "weighup@example.org")
    assert got["Subject"].startswith("[weighup] Verdict changed: fake, P(fake) 0.90")
    assert got["Message-ID"] == f"<{one.id}@example.org>"
    assert got["Weighup-Alert-Id"] == str(one.id)
    assert got["Auto-Submitted"] == "auto-generated"
    assert (got.get_content_type(), got.is_multipart()) == ("text/plain", False)
    text = got.get_content().replace("\r\n", "\n")
    assert "> The bridge has collapsed." in text
    assert "was real at 0.30" in text
    assert "refutes: Two Witnesses (example.org, 2026-05-09)\n  https://example.org/two-witnesses" in text
    assert max(map(len, box.raw[0].split(b"\r\n"))) < 998


def test_hostile_text_stays_text() -> None:
    box, one = Mailbox(), alert("email", DESK, claim=HOSTILE, source="x\r\nBcc: all@example.org")
    with mail_server(box) as port:
        mail(f"smtp://127.0.0.1:{port}").send(one)
    (got,) = box.got  # the lone full stop ended nothing
    assert got.get_all("Subject") == [got["Subject"]]
    assert got["Bcc"] is None
    assert set(map(str.lower, got.keys())) <= {
        "from", "to", "subject", "date", "message-id", "weighup-alert-id", "auto-submitted", "content-type",
        "content-transfer-encoding", "mime-version", "x-peer", "x-mailfrom", "x-rcptto",
    }  # fmt: skip
    text = got.get_content().replace("\r\n", "\n")
    assert "evil.example" in text
    assert "://evil" not in text + got["Subject"]
    assert "www.evil" not in text + got["Subject"]
    assert not any(ord(letter) < 32 and letter != "\n" for letter in text)
    assert "\u202e" not in text
    quoted = text.split("The claim:\n")[1].split("\n\nDated:")[0]
    assert all(line.startswith("> ") or line in (">", "> ") for line in quoted.split("\n"))


@pytest.mark.parametrize(
    "claim",
    [
        "",
        "x" * 5_000,
        "é" * 5_000,
        "=?utf-8?q?=0d=0aBcc:x?=",
        "==??utf-8?b?DQpCY2M6eA==?=",
        "\ud800",
        "\n.\n",
        "a\x85b",
    ],
)
def test_any_claim_makes_a_message(claim: str) -> None:
    raw = compose(alert("email", DESK, claim=claim), "w@example.org").as_bytes()
    head = raw.partition(b"\r\n\r\n")[0]
    assert b"\nbcc" not in head.lower()
    assert head.isascii()


def test_a_target_that_is_no_mailbox_is_never_sent_to() -> None:
    with pytest.raises(Undelivered, match="not a mailbox") as failed:
        mail("smtp://127.0.0.1:9").send(alert("email", "a@example.org>\r\nRCPT TO:<b@example.org"))
    assert failed.value.final


def test_a_refused_recipient_is_final_a_busy_server_is_not() -> None:
    box = Mailbox()
    with mail_server(box) as port:
        way = mail(f"smtp://127.0.0.1:{port}")
        box.refuse[DESK] = "550 no such user\x1b[2J"
        with pytest.raises(Undelivered, match="550 no such user") as failed:
            way.send(alert("email", DESK))
        assert failed.value.final
        assert "\x1b" not in str(failed.value)
        box.refuse[DESK] = "451 later"
        with pytest.raises(Undelivered, match="451 later") as failed:
            way.send(alert("email", DESK))
        assert not failed.value.final
        box.refuse.clear()
        box.data_reply = "554 looks like spam"
        with pytest.raises(Undelivered, match="554 looks like spam") as failed:
            way.send(alert("email", DESK))
        assert failed.value.final
    with pytest.raises(Undelivered, match="cannot be reached"):
        way.send(alert("email", DESK))


@pytest.mark.parametrize("implicit", [True, False], ids=["smtps", "starttls"])
def test_passwords_go_over_verified_tls(implicit: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, box = certificate(tmp_path, monkeypatch), Mailbox()
    more: dict[str, object] = {"authenticator": box.authenticate, "auth_require_tls": not implicit}
    if not implicit:
        more |= {"tls_context": context, "require_starttls": True}
    with mail_server(box, tls=context if implicit else None, **more) as port:
        scheme = "smtps" if implicit else "smtp"
        mail(f"{scheme}://weighup%40example.org@localhost:{port}").send(alert("email", DESK))
        assert box.signed_in == [(b"weighup@example.org", PASSWORD.encode())]
        assert len(box.got) == 1
        with pytest.raises(Undelivered, match="refused user name or password") as failed:
            mail(f"{scheme}://other@localhost:{port}").send(alert("email", DESK))
        assert PASSWORD not in str(failed.value)
        tried = len(box.signed_in)
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(Undelivered, match="not trusted"):
            mail(f"{scheme}://weighup%40example.org@localhost:{port}").send(alert("email", DESK))
        assert len(box.signed_in) == tried


def test_without_tls_no_password_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Mailbox()
    with mail_server(box, authenticator=box.authenticate, auth_require_tls=False) as port:
        way = mail(f"smtp://weighup%40example.org@127.0.0.1:{port}")
        monkeypatch.setattr("weighup.serve.alerts.email.is_loopback", lambda host: False)  # as if it were elsewhere
        with pytest.raises(Undelivered, match="offers no STARTTLS, so the password was not sent"):
            way.send(alert("email", DESK))
    assert (box.signed_in, box.got) == ([], [])


def test_a_server_that_drips_is_given_up() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 hello\r\n")
            try:
                while not over.wait(0.2):
                    connection.sendall(b"2")
            except OSError:
                return

    threading.Thread(target=drip, daemon=True).start()
    try:
        with pytest.raises(Undelivered, match="broke off"):
            mail(f"smtp://127.0.0.1:{listener.getsockname()[1]}", longest=1.5).send(alert("email", DESK))
    finally:
        over.set()
        listener.close()


def test_no_password_in_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found = targets(settings(email_to=(DESK,), email_from="w@example.org", smtp="smtps://me@127.0.0.1:9")).mail
    assert found is not None
    with pytest.raises(Undelivered) as failed:
        Mail(found, timeout=1.0).send(alert("email", DESK))
    assert PASSWORD not in f"{failed.value} {caplog.text} {found!r}"
