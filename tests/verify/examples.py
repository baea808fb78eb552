"""Verdicts built by hand, for tests of what is made of a verdict (reports, batches)."""

from __future__ import annotations

from typing import Any, Literal

from weighup.verify.contract import AssessmentView, EvidenceView, ExpertName, PerspectiveView, UsageView, Verdict

VERSIONS = {"ease": "1", "stance": "stance-1", "encoder": "minilm-int8@8199be6f"}


def perspective(**changes: Any) -> PerspectiveView:
    """A perspective that says fake and is relied on, with changes."""
    base: dict[str, Any] = {
        "available": True,
        "text": "Of 4 passages, 1 supports it, 2 refute it and 1 says nothing either way.",
        "verdict": "fake",
        "probability_real": 0.1,
        "probability_fake": 0.8,
        "probability_unknown": 0.1,
        "assessment": AssessmentView(reliable=True, probability=0.86, why="4 passages, 3 taking a side"),
        "weight": 0.5,
        "chosen": False,
    }
    return PerspectiveView(**{**base, **changes})


def passage(text: str, stance: Literal["supports", "refutes", "neutral"], **changes: Any) -> EvidenceView:
    """A passage with a clear stance."""
    chances = {name: 0.9 if name == stance else 0.05 for name in ("supports", "refutes", "neutral")}
    return EvidenceView(**{"text": text, "stance": stance, "origin": "store", **chances, **changes})


def verdict(**changes: Any) -> Verdict:
    """A fake claim decided on four passages, one of them undated; with changes."""
    perspectives: dict[ExpertName, PerspectiveView] = {
        "evidence": perspective(chosen=True, weight=0.55, queries=["bleach cures COVID-19", "disinfectant treatment"]),
        "reasoning": perspective(
            text="Bleach is a disinfectant for surfaces; drinking it injures the throat and stomach.",
            written_by="SmolLM2-135M-Instruct",
            assessment=AssessmentView(
                reliable=True, probability=0.63, why="the model is decided, and often right here"
            ),
            weight=0.32,
            probability_fake=0.7,
            probability_unknown=0.2,
        ),
        "sentiment": perspective(
            text="Neutral in tone: no loaded words, no exclamation marks.",
            verdict="unknown",
            probability_real=0.3,
            probability_fake=0.3,
            probability_unknown=0.4,
            assessment=AssessmentView(reliable=False, probability=0.21, why="too few words to tell by tone"),
            weight=0.13,
        ),
    }
    base: dict[str, Any] = {
        "id": "bleach-1",
        "claim": "Drinking bleach cures COVID-19.",
        "date": "2020-05-01T00:00:00Z",
        "verdict": "fake",
        "probability_fake": 0.91,
        "interval": (0.78, 0.97),
        "expert": "evidence",
        "why": "Evidence decided: it is reliable here (86 %), and 2 of its 4 passages refute the claim.",
        "perspectives": perspectives,
        "evidence": [
            passage(
                "Drinking methanol, ethanol or bleach does not prevent or cure COVID-19 and can be very dangerous.",
                "refutes",
                url="https://www.who.int/emergencies/diseases/novel-coronavirus-2019/myth-busters",
                title="Coronavirus disease advice for the public: Mythbusters",
                date="2020-04-03",
                source="who.int",
                credibility=0.95,
                query="bleach cures COVID-19",
                score=0.93,
            ),
            passage(
                "The agency warned consumers against products sold as Miracle Mineral Solution, a form of bleach.",
                "refutes",
                url="https://www.fda.gov/news-events/press-announcements/mms-warning",
                title="FDA warns seller marketing dangerous chlorine dioxide products",
                date="2020-04-08",
                source="fda.gov",
                credibility=0.94,
                score=0.71,
            ),
            passage(
                "A post shared thousands of times says that a spoonful of diluted bleach clears the lungs.",
                "supports",
                url="https://blog.example.com/wonder-cure",
                title="The cure they hide",
                date="2020-04-24",
                source="blog.example.com",
                credibility=0.12,
                score=0.64,
            ),
            passage("Sales of household disinfectants rose in April.", "neutral", origin="row"),
        ],
        "other_claims": ["The health ministry approved it in March."],
        "usage": UsageView(calls=2, tokens_in=812, tokens_out=96, seconds=1.84, usd=0.0),
        "warnings": ["gdelt did not answer within 10 s; the other sources were used"],
        "model_versions": VERSIONS,
    }
    return Verdict(**{**base, **changes})


def without_evidence() -> Verdict:
    """Breaking news: nothing found, reasoning decides, too early to say."""
    return verdict(
        id="quake-7",
        claim="A magnitude 7.4 earthquake struck off the coast of Chile this morning.",
        verdict="unknown",
        probability_fake=0.46,
        interval=(0.14, 0.81),
        expert="reasoning",
        why="Too early to say: no evidence was found, and reasoning alone does not decide it.",
        perspectives={
            "evidence": perspective(
                available=False,
                text="No evidence was found that was published before the claim and is about it.",
                verdict="unknown",
                probability_real=0.0,
                probability_fake=0.0,
                probability_unknown=1.0,
                assessment=AssessmentView(reliable=False, probability=0.0, why="there is no evidence to rely on"),
                weight=0.0,
            ),
            "reasoning": perspective(
                chosen=True, weight=0.7, verdict="unknown", text="It is plausible for the region."
            ),
            "sentiment": perspective(weight=0.3, verdict="real", probability_real=0.6, probability_fake=0.2),
        },
        evidence=[],
        other_claims=[],
        warnings=[],
    )


def real() -> Verdict:
    """A claim that evidence supports."""
    return verdict(
        id=3, claim="水在海平面的沸点是100摄氏度。", verdict="real", probability_fake=0.06, interval=(0.02, 0.17)
    )


def not_checkable() -> Verdict:
    """An opinion."""
    none = perspective(
        available=False,
        text="Not gathered: this is not a checkable claim.",
        verdict="not_checkable",
        probability_real=0.0,
        probability_fake=0.0,
        probability_unknown=1.0,
        assessment=AssessmentView(reliable=False, probability=0.0, why="not asked"),
        weight=0.0,
    )
    return verdict(
        id=None,
        claim="I think the new park is beautiful.",
        verdict="not_checkable",
        probability_fake=0.5,
        interval=(0.0, 1.0),
        expert=None,
        why="Not a checkable claim: it states an opinion.",
        perspectives=dict.fromkeys(("evidence", "reasoning", "sentiment"), none),
        evidence=[],
        other_claims=[],
        warnings=[],
        usage=UsageView(seconds=0.01),
    )


HOSTILE = "\x1b[31m<script>alert(1)</script> [bold red]x[/] **b** [a](javascript:alert(1)) \u202e | `c` \x07"


def hostile() -> Verdict:
    """Every text from outside tries to break out of its place."""
    return verdict(
        id="<img src=x onerror=alert(1)>",
        claim=HOSTILE,
        why=HOSTILE,
        warnings=[HOSTILE],
        other_claims=[HOSTILE],
        perspectives={
            kind: view.model_copy(update={"text": HOSTILE, "written_by": HOSTILE, "queries": [HOSTILE]})
            for kind, view in verdict().perspectives.items()
        },
        evidence=[
            passage(HOSTILE, "supports", url="javascript:alert(1)", title=HOSTILE, source=HOSTILE, date="2020-04-01"),
            passage(HOSTILE, "refutes", url='https://x.example/"onmouseover="alert(1)', title=HOSTILE, origin=HOSTILE),
            passage(HOSTILE, "neutral", url="data:text/html,<script>alert(1)</script>", date=HOSTILE),
        ],
        model_versions={HOSTILE: HOSTILE},
    )
