"""Which recorded checks raise alerts.

- *Changed*: the verdict stood at real, fake or unknown when last an alert told of it (or, if none did, when it first
  made a call) and does now, and either it is another of the three or P(fake) has moved by `watch.threshold` or more
  since then. So what moves a little at a time is told of once it adds up.
- *First*: a claim is new (or was not checkable until now) and is called fake. So no verdict stands at fake untold. A
  first `real` or `unknown` is what most of an honest feed gives, and nobody wants to be woken for it.

What is not checkable has no probability worth telling of: nothing is said when a verdict becomes that.

A check raises its alerts in the transaction that records it and only the first time it is recorded, and their keys
name verdict, check and receiver: the same change is never told twice.
"""

from __future__ import annotations

import hashlib

from weighup.serve.alerts.message import Kind, payload, standing
from weighup.serve.alerts.targets import targets
from weighup.serve.db.records import Check, NewAlert, Recorded
from weighup.serve.db.verdicts import Outbox
from weighup.settings import Settings
from weighup.verify.contract import Verdict

_CALLS = ("real", "fake", "unknown")
_SLACK = 1e-9  # 0.7 - 0.5 is a little less than 0.2


def outbox(settings: Settings) -> Outbox:
    """The alerts that a recorded check raises under these settings, one for each receiver.

    Raises SettingsError for a receiver that could not be reached: no secret, no mail server, a refused address.
    """
    channels = targets(settings).channels
    threshold, public_url = settings.watch.threshold, settings.serve.public_url

    def raised(check: Check, recorded: Recorded) -> list[NewAlert]:
        kind = worth_telling(check.verdict, recorded, threshold) if channels else None
        if kind is None:
            return []
        told = payload(kind, check, recorded, public_url=public_url)
        return [
            NewAlert(
                key=f"{recorded.id}:{_digest(check.check_key)}:{channel}:{_digest(target)}",
                channel=channel,  # type: ignore[arg-type]
                target=target,
                payload=told,
                tenant=check.tenant,
                verdict_id=recorded.id,
            )
            for channel, target in channels
        ]

    return raised


def worth_telling(verdict: Verdict, recorded: Recorded, threshold: float) -> Kind | None:
    """What kind of alert a recorded check is worth; None: none. `threshold` is in units of P(fake), above 0 to 1."""
    if not recorded.counted or verdict.verdict not in _CALLS:
        return None
    before, label = standing(recorded)
    if before is None or label not in _CALLS:
        return "verdict.first" if verdict.verdict == "fake" else None
    if label != verdict.verdict:
        return "verdict.changed"
    moved = abs(verdict.probability_fake - before)
    return "verdict.changed" if moved >= threshold - _SLACK else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
