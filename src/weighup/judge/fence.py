"""Judged text is data: it is put between marks that it cannot close, and what it says to its judge is found.

Texts that speak to the judge raise its verdicts (Raina et al. 2024, arXiv 2402.14016; JudgeDeceiver, Shi et al. 2024,
arXiv 2403.17710). A fence's name ends in a hash of the text, and of another number for as long as the text holds that
very name: so no text holds the end of its own fence. Nothing is taken out of a judged text but characters that nobody
sees: what a response says is what is to be judged. `instructs` tells of it, for a report or for a second look.
"""

from __future__ import annotations

import hashlib
import re

from weighup.errors import InvalidInput
from weighup.texts import clean, sentences

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")

_JUDGED = r"(?:responses?|answers?|assistants?|outputs?|summar(?:y|ies)|candidates?|submissions?|models?)"
_WHICH = r"(?:1|2|3|a|b|c|one|two|first|second|above|below|this|mine|my)"
_TO_JUDGE = re.compile(
    # Orders to forget what was said before.
    r"\b(?:ignore|disregard|forget|override|bypass|do not follow)\b.{0,40}"
    r"\b(?:previous|prior|above|earlier|all|any|your|these|the|other)\b.{0,30}"
    r"\b(?:instructions?|prompts?|rules|rubrics?|criteria|guidelines|system|messages?|responses?|answers?)\b"
    # Whoever speaks to a judge.
    r"|\b(?:dear|attention|note to(?: the)?|hey|hello|to the)[,:]? "
    r"(?:judges?|graders?|evaluators?|raters?|reviewers?|scorers?|ai|llm|language model|assistant)\b"
    r"|\bas (?:a|an|the) (?:judge|grader|evaluator|rater|impartial judge),? you\b"
    r"|\b(?:you|the (?:judge|grader|evaluator|rater|model|ai)) (?:must|should|shall|will|have to|are to|need to)\b"
    r".{0,60}"
    r"\b(?:scores?|rate|rank|grade|prefer|choose|select|pick|award|declare|vote|verdict|give (?:this|it|me|full))\b"
    # Orders for a verdict.
    rf"|\b(?:choose|select|pick|prefer|vote for|rank|declare|mark|rate)\b.{{0,25}}\b{_JUDGED}\b.{{0,3}}\b{_WHICH}\b"
    rf"|\b(?:choose|select|pick|prefer|vote for|rank|rate|grade|score|mark) {_WHICH} {_JUDGED}\b"
    rf"|\b{_JUDGED}\b.{{0,3}}\b{_WHICH} (?:is|was) (?:clearly |by far |obviously )?(?:the )?"
    r"(?:better|best|worse|winner)\b"
    r"|\b(?:rate|grade|score|mark|give|assign|award)\b.{0,40}\b(?:a |the )?"
    r"(?:perfect|full|maximum|highest|top|best|10(?: out of |/)10|5(?: out of |/)5|100 ?%)\b"
    r"|\b(?:the|my|final|correct) (?:verdict|winner|score|rating)(?: (?:is|must be|should be)|:)"
    r"|\"(?:verdict|winner|score|ranking)\" ?:"
    # Turns of a conversation that are not there.
    r"|^\W*(?:system|assistant|developer|judge|evaluator)(?: (?:prompt|message|instruction|note)s?)?\s*[:：]"
    r"|<\|[^|>\n]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?(?:response|answer|question|reference|system)[\w-]*>"
    r"|\bnew instructions?\b|\b(?:end|start) of (?:the )?(?:response|answer|context|document|input)\b"
    r"|(?:忽略|无视|忘记).{0,20}(?:指令|提示|规则|内容)|请(?:选择|给出|评|判定).{0,15}(?:满分|最高|回答|更好|胜)"
    r"|\b(?:ignor[aeo]\w*|olvid[ae]\w*|ignore[zr]|oublie[zr]|ignorier\w*|vergiss)\b.{0,40}"
    r"\b(?:instruc\w*|instruktion\w*|anweisung\w*)",
    re.I,
)


def shown(text: str) -> str:
    """`text` without control, zero-width and direction-changing characters. Indentation, which code needs, is kept."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join((line[: len(line) - len(line.lstrip(" \t"))] + clean(line)).rstrip() for line in lines).strip("\n")


def fenced(text: str, *, name: str = "text") -> str:
    """`text` between `<name-hash>` and `</name-hash>`, neither of which it holds. Raises InvalidInput for a name that
    is not letters, digits and underscores."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"fence: a name of letters, digits and underscores is needed, not {name!r}")
    inside = shown(text)
    lower = inside.lower()
    turn = 0
    while (mark := hashlib.sha256(f"{turn}\n{inside}".encode()).hexdigest()[:8]) in lower:
        turn += 1
    return f"<{name}-{mark}>\n{inside}\n</{name}-{mark}>"


def instructs(text: str) -> list[str]:
    """The sentences of `text` that speak to whoever judges it: orders for a verdict, to ignore what was asked, turns
    that are not there. Empty if none. It finds the usual wordings, and finds them too where they are only quoted."""
    parts = [part for line in clean(text).split("\n") for part in sentences(line)]
    return [part for part in parts if _TO_JUDGE.search(part[:2000])]
