"""What an alert says: the payload that webhooks carry, and its words for people.

Claims, titles, addresses and what a language model wrote are hostile text. In the payload they are cleaned of control
and direction-changing characters and bounded; in words for people each stays on its own line, and addresses inside
them are written so that no mail program makes links of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from weighup.serve.db.records import Alert, Check, Recorded
from weighup.texts import clean, shorten

VERSION = 1
"""Of the payload. Fields may be added under the same number, never renamed or removed."""

Kind = Literal["verdict.first", "verdict.changed", "test"]
_CLAIM, _WHY, _TITLE, _URL = 1_000, 1_000, 200, 2_000  # characters
_EVIDENCE = 5  # passages named in a message
_HEADS = {"verdict.first": "First verdict", "verdict.changed": "Verdict changed", "test": "Test of alerts"}


def payload(kind: Kind, check: Check, recorded: Recorded, *, public_url: str | None = None) -> dict[str, Any]:
    """What an alert carries, JSON-like. The alert's id is not in it yet: `body` adds that."""
    verdict, at = check.verdict, check.at or datetime.now(UTC)
    before, label_before = standing(recorded)
    known = kind == "verdict.changed" and before is not None
    return {
        "version": VERSION,
        "type": kind,
        "at": _moment(at),
        "tenant": check.tenant,
        "verdict_id": str(recorded.id),
        "claim": shorten(clean(verdict.claim), _CLAIM),
        "claim_date": verdict.date,
        "source": None if check.source is None else one_line(check.source, _TITLE),
        "url": _link(check.url),
        "label": verdict.verdict,
        "probability_fake": verdict.probability_fake,
        "interval": list(verdict.interval),
        "expert": verdict.expert,
        "why": shorten(clean(verdict.why), _WHY),
        "reason": check.reason,
        "before": {"label": label_before, "probability_fake": before} if known else None,
        "evidence": [
            {
                "stance": one.stance,
                "title": None if one.title is None else one_line(one.title, _TITLE),
                "url": _link(one.url),
                "source": None if one.source is None else one_line(one.source, _TITLE),
                "date": one.date,
            }
            for one in verdict.evidence[:_EVIDENCE]
        ],
        "link": f"{public_url.rstrip('/')}/verdicts/{recorded.id}" if public_url else None,
    }


def standing(recorded: Recorded) -> tuple[float | None, str | None]:
    """P(fake) and label as last told, or as first called where nothing was told yet; None for a new claim."""
    if recorded.told is not None and recorded.told_label is not None:
        return recorded.told, recorded.told_label
    return recorded.before, recorded.label_before


def trial_payload() -> dict[str, Any]:
    """What `weighup alerts test` sends: the shape of a verdict's message, about nothing."""
    return {
        "version": VERSION,
        "type": "test",
        "at": _moment(datetime.now(UTC)),
        "tenant": "",
        "verdict_id": None,
        "claim": "This is a test: nothing was checked.",
        "claim_date": None,
        "source": None,
        "url": None,
        "label": "unknown",
        "probability_fake": 0.5,
        "interval": [0.0, 1.0],
        "expert": None,
        "why": "Somebody ran `weighup alerts test`.",
        "reason": "first",
        "before": None,
        "evidence": [],
        "link": None,
    }


def body(alert: Alert) -> bytes:
    """The JSON that a webhook posts: the payload and the alert's id, the same each time it is tried."""
    told = {"id": str(alert.id), **alert.payload}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def headline(told: Mapping[str, Any]) -> str:
    """One line: what happened, to which claim."""
    head = _HEADS.get(str(told.get("type")), "Alert")
    return f"{head}: {_standing(told)}: {_unlinked(one_line(str(told.get('claim', '')), 100))}"


def line(told: Mapping[str, Any]) -> str:
    """One line for a console: as the headline, with the time before and the verdict's id after it."""
    end = f" [{told['verdict_id']}]" if told.get("verdict_id") else ""
    return f"{one_line(str(told.get('at', '')), 40)} {headline(told)}{end}"


def letter(alert: Alert) -> str:
    """The message as plain text, for mail."""
    told = alert.payload
    parts = [f"{_HEADS.get(str(told.get('type')), 'Alert')}: {_standing(told)}."]
    parts.append("The claim:\n" + _quoted(str(told.get("claim", ""))))
    facts = [
        f"{name}: {_unlinked(one_line(str(told[key]), _TITLE))}"
        for name, key in (("Dated", "claim_date"), ("Source", "source"))
        if told.get(key)
    ]
    facts += [f"Found at: {told['url']}"] if _link(told.get("url")) else []
    expert = f" by {told['expert']}" if told.get("expert") else ""
    facts.append(f"Decided{expert}, {told.get('at')} ({told.get('reason')})")
    parts.append("\n".join(facts))
    if told.get("why"):
        parts.append("Why:\n" + _quoted(str(told["why"])))
    if told.get("evidence"):
        parts.append("Evidence:\n" + "\n".join(_passage(one) for one in told["evidence"]))
    if told.get("link"):
        parts.append(f"Details: {told['link']}")
    parts.append(f"-- \nAlert {alert.id} of weighup. What follows a > and the names of pages were written by others.")
    return "\n\n".join(parts) + "\n"


def one_line(text: str, limit: int) -> str:
    """Hostile text as at most `limit` characters on one line."""
    return shorten(" ".join(clean(text).split()), limit)


def _standing(told: Mapping[str, Any]) -> str:
    low, high = told.get("interval") or (0.0, 1.0)
    now = f"{_label(told)}, P(fake) {told['probability_fake']:.2f} (90 % interval {low:.2f} to {high:.2f})"
    before = told.get("before")
    return f"{now}, was {_label(before)} at {before['probability_fake']:.2f}" if before else now


def _label(told: Mapping[str, Any]) -> str:
    return str(told.get("label")).replace("_", " ")


def _passage(one: Mapping[str, Any]) -> str:
    where = ", ".join(one_line(str(one[key]), _TITLE) for key in ("source", "date") if one.get(key))
    title = one_line(str(one.get("title") or "untitled"), _TITLE)
    told = f"- {one.get('stance')}: {_unlinked(title)}{f' ({_unlinked(where)})' if where else ''}"
    return f"{told}\n  {one['url']}" if _link(one.get("url")) else told


def _quoted(text: str) -> str:
    return "\n".join(f"> {_unlinked(' '.join(part.split()))}" for part in clean(text).split("\n"))


def _unlinked(text: str) -> str:
    """Addresses as readers can read them and mail programs do not link them."""
    return text.replace("://", "[:]//").replace("www.", "www[.]").replace("WWW.", "WWW[.]")


def _link(url: str | None) -> str | None:
    """An address that may stand in a message: http or https, one line, not too long; else None."""
    if not url or len(url) > _URL or url != "".join(clean(url).split()):
        return None
    return url if url.lower().startswith(("https://", "http://")) else None


def _moment(at: datetime) -> str:
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
