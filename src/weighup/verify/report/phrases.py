"""The words all reports share, so that a verdict reads the same wherever it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from weighup.texts import clean, shorten
from weighup.verify.contract import EvidenceView, ExpertName, Label, PerspectiveView, UsageView, Verdict

HEADLINES: dict[Label, str] = {
    "real": "Likely real",
    "fake": "Likely fake",
    "unknown": "Too early to say",
    "not_checkable": "Not a checkable claim",
}
OPINIONS: dict[Label, str] = {"real": "real", "fake": "fake", "unknown": "unknown", "not_checkable": "not asked"}
KIND_NAMES: dict[ExpertName, str] = {"evidence": "Evidence", "reasoning": "Reasoning", "sentiment": "Sentiment"}
KIND_MEANINGS: dict[ExpertName, str] = {
    "evidence": "what was published about it before the claim",
    "reasoning": "what a model knows and infers",
    "sentiment": "tone, emotion and framing of the wording",
}
STANCES = {"supports": "supports", "refutes": "refutes", "neutral": "takes no side"}
METHOD = (
    "How this was judged. Three kinds of knowledge are gathered: evidence published before the claim, a model's "
    "reasoning, and the tone of the wording. A trained evaluator first judges how far each can be relied on for this "
    "claim; the first reliable one, in that order, decides (EASE, arXiv 2510.11277). The probability is calibrated; "
    "where evidence is too thin for the chosen risk, the verdict is “too early to say”."
)
LIMITS = (
    "Limits. This is an estimate by a machine, not a finding of fact: it may be wrong, and it changes as evidence "
    "appears. What a language model wrote is marked as such and is an opinion. Evidence without a date was supplied "
    "by the user. Read the sources before you rely on it."
)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


def percent(probability: float) -> str:
    """0.823 as `82 %`; certainty is never claimed by rounding."""
    if 0.0 < probability < 0.005:
        return "<1 %"
    if 0.995 <= probability < 1.0:
        return ">99 %"
    return f"{probability * 100:.0f} %"


def span(interval: tuple[float, float]) -> str:
    """An interval as `70–91 %`."""
    return f"{interval[0] * 100:.0f}–{interval[1] * 100:.0f} %"


def cost(usage: UsageView) -> str:
    """One line: seconds, calls, tokens, money."""
    parts = [f"{usage.seconds:.2f} s"]
    if usage.calls:
        cached = f" ({usage.cached} cached)" if usage.cached else ""
        parts.append(f"{usage.calls} model call{'s' if usage.calls != 1 else ''}{cached}")
        parts.append(f"{usage.tokens_in:,} tokens in, {usage.tokens_out:,} out")
    else:
        parts.append("no model calls")
    parts.append(f"${usage.usd:.4f}" if usage.usd else "no cost")
    return " · ".join(parts)


def reliability(view: PerspectiveView) -> str:
    """Whether the perspective may be relied on, in words."""
    if not view.available:
        return "unavailable"
    return f"{'reliable' if view.assessment.reliable else 'not reliable'} ({percent(view.assessment.probability)})"


def where_from(evidence: EvidenceView) -> str:
    """Who published a passage, or how it came."""
    if evidence.source:
        return plain(evidence.source)
    return "given with the claim" if evidence.origin == "row" else plain(evidence.origin)


def queries(verdict: Verdict) -> Iterator[str]:
    """What was searched for, each query once, in order."""
    asked = dict.fromkeys(query for view in verdict.perspectives.values() for query in view.queries)
    yield from (plain(query) for query in asked)


def plain(text: str) -> str:
    """One line of harmless text: no terminal escapes or other control characters, no line ends."""
    return " ".join(clean(_ESCAPES.sub("", text)).split())


def day(date: str | None) -> str:
    """A date as read by people: midnight is left out; None is undated."""
    if not date:
        return "undated"
    return shorten(plain(date), 25).removesuffix("T00:00:00Z").removesuffix(":00Z").replace("T", " ")


def safe_link(url: str | None) -> str | None:
    """The address if it is http(s) without blanks or quotes; anything else is never made a link."""
    if url is None or not url.lower().startswith(("http://", "https://")):
        return None
    return url if not any(c.isspace() or c in "<>\"'`\\" or ord(c) < 32 for c in url) else None
