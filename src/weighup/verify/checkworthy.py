"""Is there something to check? Questions, opinions, greetings and orders have no truth value.

The categories follow ClaimBuster (Hassan et al. 2017, VLDB 10(12)): non-factual sentences are told from factual
ones. Ours: rules instead of a classifier, tuned towards letting through: refusing to check a real claim harms
more than checking an opinion, so a sentence is refused only when it shows a mark of non-fact and no mark of fact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from weighup.texts import language, sentences, words

_OPEN_QUESTION = re.compile(
    r"^(?:who|what|when|where|why|how|which|whose|is|are|was|were|do|does|did|can|could|should|would|will|has|have"
    r"|had|may|might|am|isn't|aren't|don't|doesn't|didn't|can't|won't)\b",
    re.I,
)
# A question that carries its claim: "Did you know that …?", "Isn't it true that …?"
_CARRIER = re.compile(
    r"^(?:(?:did|do) you know|isn't it true|have you heard|(?:so )?is it true) (?:that )?",
    re.I,
)
_HELD = re.compile(
    r"^(?:(?:i|we) (?:really |honestly |truly |firmly )?(?:think|believe|guess|suppose|reckon|feel)(?: that)?"
    r"|in my (?:humble )?(?:opinion|view),?|imho,?|我(?:觉得|认为))\s*",
    re.I,
)
_FIRST_PERSON = re.compile(
    r"\b(?:i|we) (?:really |just |personally |honestly |truly )?(?:think|believe|feel|hope|wish|love|hate|like|prefer"
    r"|want|guess|suppose|doubt|reckon|enjoy|adore)\b|\bin my (?:humble )?(?:opinion|view)\b|\bimho\b|\bif you ask me\b"
    r"|我(?:觉得|认为|希望|喜欢|讨厌|个人)|在我看来",
    re.I,
)
_OUGHT = re.compile(r"\b(?:should|ought to|need to|let's|let us|deserves? to)\b|应该|必须", re.I)
_TASTE = re.compile(
    r"\b(?:best|worst|greatest|nicest|ugliest|coolest|tastiest|funniest|beautiful|ugly|delicious|disgusting|boring"
    r"|awesome|amazing|awful|terrible|horrible|wonderful|lovely|pathetic|overrated|underrated|stupid|annoying|gorgeous"
    r"|fantastic|brilliant|lousy|fun|nice|(?-i:cool|great)|tastes?|morally|better than|worse than|more fun|cutest)\b"
    r"|最好|最差|好看|难看|好吃|难吃|太棒|糟糕|讨厌",
    re.I,
)
_ORDER = re.compile(
    r"^(?:please|share|retweet|rt if|click|follow|subscribe|vote|stop|don't|do not|never|always|remember|imagine"
    r"|listen|watch|look|read|join|donate|sign|stay|wash|wear|keep|buy|call|go|come|take|make sure|be|enjoy|wake up)\b",
    re.I,
)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+", re.I)
_GREETING = re.compile(
    r"^(?:hi|hello|hey|good (?:morning|evening|night|afternoon)|happy \w+|congratulations|congrats|thanks?|thank you"
    r"|welcome|wow|lol|omg|(?:yes|no|ok(?:ay)?)(?=[,!.])|你好|谢谢|早上好|晚安|哈哈)\b",
    re.I,
)
# Marks of a fact: figures, attributed speech, named things in mid-sentence, and verbs of happening.
_FIGURE = re.compile(
    r"\d|\b(?:half|double|twice|thousands?|millions?|billions?|percent|per cent|hundreds?|dozens?)\b", re.I
)
_HAPPENING = re.compile(
    r"\b(?:said|says|announced|reported|confirmed|killed|died|won|lost|voted|signed|passed|caused?s?|cures?|prevents?"
    r"|kills?|spread|arrested|banned|approved|born|founded|located|invented|discovered|increased?|decreased?|rose|fell"
    r"|contains?|infects?|according to|because of|leads? to|linked to|wrote|directed|starred|released|elected|paid|cost"
    r"|raised|cut|built|married|resigned|attacked|launched|published|found|shows?|showed|proves?|proved|was|were"
    r"|has been|have been|had)\b|宣布|报道|死亡|导致|治愈|发现|表示|称|确诊|发生|被|已经|将于",
    re.I,
)
_NAME = re.compile(r"(?<=[a-z,;] )(?:[A-Z][a-z]+|[A-Z]{2,})|^(?:The )?[A-Z][a-z]+ [A-Z][a-z]+|^[A-Z]{2,}")
_VERBISH = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|do|does|did|will|would|can|could|may|might|must|should|\w{3,}(?:s|ed|en|ing))\b"
    r"|\b(?:won|lost|fell|rose|cut|put|hit|led|ran|made|said|went|came|took|gave|got|saw|held|kept|left|met|paid|sent"
    r"|sold|told|wrote|built|bought|began|became|broke|brought|caught|chose|drew|drove|fought|found|grew|knew|meant"
    r"|spent|stood|taught|thought|threw|understood|wore)\b|n't\b|['’](?:s|re|ve|ll)\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Checkability:
    """Whether a text can be checked, why (one sentence for the reader), and how check-worthy it is (0..1)."""

    checkable: bool
    why: str
    score: float


def checkability(text: str) -> Checkability:
    """Judge one sentence or short claim. Never raises; text without words is not checkable."""
    text = text.strip()
    tokens = words(text)
    if not tokens:
        return Checkability(False, "there are no words in it", 0.0)
    if _ADDRESS.fullmatch(text):
        return Checkability(False, "it is an address; what the page says can be checked, its address cannot", 0.0)
    chinese = language(text) == "zh"
    if len(tokens) < (4 if chinese else 3):
        return Checkability(False, "it is too short to say something that could be true or false", 0.0)
    parts = sentences(text)
    if len(parts) > 1:
        return max((checkability(part) for part in parts), key=lambda c: (c.checkable, c.score))
    score = _score(text, len(tokens), chinese)
    held = _HELD.sub("", text)
    if held != text:  # "I believe that …" has a truth value exactly when what is believed has one
        inner = checkability(held)
        if inner.checkable and (inner.score >= 0.45 or not _TASTE.search(held)):
            return inner
        return Checkability(False, "it states an opinion or a wish, not a fact", 0.15)
    stated = _CARRIER.sub("", text)
    if stated != text:
        return checkability(stated.rstrip("?？ ") + ".")
    if _is_question(text, chinese):
        return Checkability(False, "it is a question, which is neither true nor false", 0.1)
    if _GREETING.search(text) and score < 0.45:
        return Checkability(False, "it is a greeting or exclamation, not a statement of fact", 0.1)
    if _FIRST_PERSON.search(text) and (_TASTE.search(text) or _OUGHT.search(text) or score < 0.45):
        return Checkability(False, "it states an opinion or a wish, not a fact", 0.15)
    if _TASTE.search(text) and score < 0.45:
        return Checkability(False, "it states a taste or a judgement of value, not a fact", 0.15)
    if _OUGHT.search(text) and score < 0.45:
        return Checkability(False, "it says what ought to be, not what is", 0.15)
    if _ORDER.search(text) and score < 0.45:
        return Checkability(False, "it asks the reader to do something and states no fact", 0.15)
    if not chinese and len(tokens) < 6 and not _FIGURE.search(text) and not _VERBISH.search(text):
        return Checkability(False, "it has no verb, so it states nothing", 0.1)
    return Checkability(True, "it states something that can be true or false", score)


def _is_question(text: str, chinese: bool) -> bool:
    if text.rstrip("\"'”’)").endswith(("?", "？")):
        return True
    if chinese:
        return text.rstrip("。！").endswith(("吗", "呢"))
    # Without the mark, only a short sentence that opens like one and does not go on to state something.
    return bool(_OPEN_QUESTION.match(text)) and len(text.split()) <= 8 and not text.endswith((".", "!"))


def _score(text: str, n_tokens: int, chinese: bool) -> float:
    score = 0.3
    score += 0.25 if _FIGURE.search(text) else 0.0
    score += 0.2 if _HAPPENING.search(text) else 0.0
    score += 0.2 if _NAME.search(text) else 0.0
    score += 0.1 if n_tokens >= (12 if chinese else 8) else 0.0
    score -= 0.15 if _TASTE.search(text) else 0.0
    score -= 0.1 if _FIRST_PERSON.search(text) else 0.0
    return min(1.0, max(0.0, score))
