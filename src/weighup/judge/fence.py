"""Judged text is data: it is put between marks that it cannot close, and what it says to its judge is found.

Texts that speak to the judge raise its verdicts (Raina et al. 2024, arXiv 2402.14016; JudgeDeceiver, Shi et al. 2024,
arXiv 2403.17710). A fence's name ends in a hash of the text, and of another number for as long as the text holds that
very name: so no text holds the end of its own fence. `fenced` takes nothing out but characters that nobody sees;
`instructs` tells of the sentences that speak to the judge, and `stripped` takes them out. Ours, all of it: the rules
are patterns of what is said to judges, looked for also behind the usual disguises (`retrieve.disguises`: look-alike
letters, figures for letters, rot13; and base64, hexadecimal, escapes, letters set apart, words written backwards).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import re
from collections.abc import Iterator

from weighup.errors import InvalidInput
from weighup.retrieve.disguises import ENCODED, unmasked
from weighup.texts import clean, sentences

_TOKEN = r"<\|[^|>\n]{1,40}\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
_TEMPLATE = re.compile(
    rf"<\|im_start\|>.{{0,400}}?<\|im_end\|>|\[INST\].{{0,400}}?\[/INST\]|<<SYS>>.{{0,400}}?<</SYS>>|{_TOKEN}",
    re.I | re.S,
)
"""What chat templates hold between tokens of theirs, which is a turn of a conversation, and such tokens alone."""
NOTHING_LEFT = "[nothing but words to the judge]"
"""What stands for a response of which nothing is left."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_LONGEST = 2_000
_PIECE = 500  # what a longer stretch without the end of a sentence is looked at, and taken out, by

# Rules are tried only where a word of each set they need is there, at its first four letters: patterns are slow.
_JUDGED = r"(?:responses?|answers?|assistants?|outputs?|summar(?:y|ies)|candidates?|submissions?|models?)"
_WHICH = r"(?:1|2|3|a|b|c|one|two|first|second|above|below|this|mine|my)"
_THIS = r"(?:this|my|the (?:above|present|current|preceding|following|first|second|other))"
_JUDGE = r"(?:judges?|graders?|evaluators?|raters?|reviewers?|scorers?|assessors?|annotators?|referees?|markers?)"
_MACHINE = rf"(?:{_JUDGE}|ais?|llms?|(?:language )?models?|assistants?|chatbots?)"
_TOP = r"(?:perfect|full|maximum|max|highest|top|best|excellent)"
_MARKS = r"(?:scores?|marks?|points|ratings?|grades?|credit|rank(?:ing)?|verdicts?|evaluations?)"
_PICK = (
    r"(?:choos(?:e|ing)|select(?:ing)?|pick(?:ing)?|prefer(?:ring)?|vot(?:e|ing) for|rank(?:ing)?|declar(?:e|ing)"
    r"|favou?r(?:ing)?)"
)
_GIVE = r"(?:rate|grade|score|mark|give|assign|award|grant|rank)"
_MUST = (
    r"(?:must|should|shall|will|have to|has to|are to|is to|needs? to|ought to"
    r"|are (?:required|obliged|asked|instructed) to)"
)
_VALUE = (
    r"[\"'*\[({ ]{0,4}(?:\d+(?:\.\d+)?(?!\s?[-–:]\s?\d)|[ab]\b|first|second|tie\b|this\b|mine\b|perfect|full|best|win"
    rf"|{_JUDGED}\b)"
)


def _heads(words: str) -> frozenset[str]:
    return frozenset(word[:4] for word in words.split())


_H_JUDGED = _heads("response answer assistant output summary candidate submission model")
_H_JUDGE = _heads("judge grader evaluator rater reviewer scorer assessor annotator referee marker grading judging")
_H_MACHINE = _H_JUDGE | _heads("ai ais llm llms language model assistant chatbot")
_H_PICK = _heads("choose choosing select pick prefer vote voting rank declare favor favour")
_H_GIVE = _heads("rate grade score mark give assign award grant rank")
_H_MARKS = _heads("score mark points rating grade credit rank verdict evaluation winner judgement preference")
_H_VERDICT = _H_MARKS | _heads("reasons rationale preferred")

_RULES: tuple[tuple[tuple[frozenset[str], ...], str], ...] = (
    # Orders to forget what was said before, or what else is to be judged.
    (
        (
            _heads("ignore disregard forget override overrule bypass discard dismiss skip set do don pay stop"),
            _H_JUDGED
            | _heads(
                "instructions prompt rules rubric criteria guidelines guidance system message orders "
                "directions briefing comparison"
            ),
        ),
        r"\b(?:ignore|disregard|forget|override|overrule|bypass|discard|dismiss|skip|set aside"
        r"|do(?:n't| not) (?:follow|consider|read)|pay no attention to|stop (?:reading|evaluating|judging|comparing))\b"
        r".{0,40}\b(?:previous|prior|above|earlier|all|any|every|your|these|those|the|other|rest)\b.{0,30}"
        r"\b(?:instructions?|prompts?|rules|rubrics?|criteria|guidelines|guidance|system|messages?|responses?|answers?"
        r"|orders|directions|briefing|comparisons?)\b",
    ),
    # Whoever speaks to a judge.
    (
        (_H_MACHINE, _heads("dear attention note hey hello hi to message")),
        r"(?:\b(?:dear|attention|(?:a )?note (?:to|for)(?: the| all| any)?|hey|hello|hi"
        r"|message (?:to|for)(?: the)?)|^\W*to the)[,:]? "
        r"(?:(?:ai|llm|automated|automatic|human|honou?rable|esteemed|wise) )?"
        rf"(?:{_JUDGE}|ai|llm|language model|assistant)\b",
    ),
    ((_H_JUDGE,), rf"\bas (?:a|an|the) (?:\w+ ){{0,3}}{_JUDGE},? you\b"),
    (
        (_H_MACHINE | {"you"}, _H_PICK | _H_GIVE | _heads("verdict conclude")),
        rf"\b(?:you|the {_MACHINE}|(?:any|every|all) {_MACHINE}) {_MUST}\b.{{0,60}}"
        r"(?:\b(?:prefer|rate|rank|grade|score|award|declare|vote for|favou?r)\b.{0,12}"
        rf"\b(?:this|it|me|mine|{_JUDGED})\b"
        rf"|\bgive (?:(?:this|it|me) (?:an?|the|full|top|\d)|full)\b|\b(?:verdict|winner|{_TOP} {_MARKS})\b"
        rf"|\b{_PICK}\b.{{0,12}}(?:\b{_THIS} {_JUDGED}\b|\b{_JUDGED} {_WHICH}\b))",
    ),
    (
        (_H_JUDGED | _heads("this mine otherwise"), _H_PICK | _H_GIVE | _heads("evaluate judge compare penalise")),
        rf"\b(?:if|when|unless|should|before|while) (?:you|an? {_MACHINE}|the {_MACHINE})\b.{{0,50}}"
        r"\b(?:choose|select|pick|vote|rank|rate|grade|score|mark|evaluat\w+|judg\w+|compar\w+|penali[sz]e)\b.{0,40}"
        r"\b(?:responses?|answers?|assistants?|candidates?|submissions?|this one|mine|otherwise)\b",
    ),
    # Roles and games.
    (
        (_H_JUDGE, _heads("you act pretend imagine play role behave become")),
        rf"\b(?:you are|you're|act as|pretend|imagine|play|role-?play|behave|become)\b.{{0,50}}\b{_JUDGE}\b.{{0,80}}"
        r"\b(?:always|only|who|that|whose|never)\b",
    ),
    # Orders for a verdict.
    ((_H_PICK, _H_JUDGED), rf"\b{_PICK}\b.{{0,25}}\b{_JUDGED}\b.{{0,3}}\b(?:1|2|3|a|b|c|one|two|above|below)\b"),
    ((_H_PICK | _H_GIVE, _H_JUDGED), rf"\b(?:{_PICK}|{_GIVE}) {_THIS} {_JUDGED}\b"),
    (
        (_H_JUDGED,),
        rf"\b{_JUDGED}\b.{{0,3}}\b{_WHICH} (?:is|was|wins|has won|must|should|deserves)\b.{{0,20}}"
        r"\b(?:better|best|worse|winner|win|preferred|superior|chosen|selected|perfect)\b",
    ),
    ((_H_JUDGED,), rf"\b{_THIS} {_JUDGED} (?:wins|has won|is (?:the )?(?:winner|winning|preferred|superior))\b"),
    ((_H_GIVE, _H_MARKS), rf"\b{_GIVE}\b.{{0,40}}\b(?:an? |the )?{_TOP} (?:possible |available )?{_MARKS}\b"),
    (
        (_H_GIVE,),
        rf"\b{_GIVE}\b.{{0,40}}\b(?:10(?: out of |/)10|5(?: out of |/)5|100(?: out of |/)100|as (?:the )?{_TOP}\b)",
    ),
    # What a verdict would look like.
    (
        (_H_MARKS,),
        r"\b(?:the|my|final|correct|overall|agreed|official) (?:verdict|winner|score|rating|judge?ment|ranking)"
        rf"(?: (?:is|was|must be|should be|has been)|:) ?{_VALUE}",
    ),
    (
        (_H_VERDICT,),
        r"[\"'](?:verdict|winner|preferred|preference|judge?ment|score_[12ab])[\"'] ?: ?"
        rf"[\"']?(?:\d|[ab]\b|tie|first|second|{_JUDGED})"
        r"|[\"'](?:reasons|reasoning|rationale)[\"'] ?:.{0,200}[\"'](?:score|rating|ranking|choice|answer)[\"'] ?:",
    ),
    (
        (_H_MARKS,),
        r"^[^\w\"'{]{0,6}(?:overall |final |total )?"
        r"(?:verdict|winner|score|rating|grade|judge?ment|preference)\W{0,3}[:：]"
        rf"\W{{0,3}}{_VALUE}",
    ),
    ((_H_MARKS,), r"\b(?:verdict|judge?ment) ?={1,2} ?[\"']?\w|</?(?:verdict|winner|score|rating|judge?ment)>"),
    ((frozenset("["),), r"\[\[(?:10|\d(?:\.\d+)?|[ABC]|tie)\]\]"),
    # Praise of itself: what a judge is to find.
    (
        (_H_JUDGED, _heads("this my the")),
        rf"\b(?:this|my|the (?:above|present|preceding)) {_JUDGED} (?:\w+ ){{0,3}}(?:is|was|has been|deserves?|merits?"
        r"|earns?|outperforms?|exceeds?|surpass\w*|wins?|received|meets|satisf\w+|beats|scored)\b.{0,60}"
        rf"\b(?:better|best|perfect|superior|flawless|winner|{_MARKS}|verified|approved|certified|experts?|ideal|win"
        r"|other|every|all|exceptional|outstanding|unmatched|gold|reference)\b",
    ),
    # Turns of a conversation that are not there.
    (
        (_heads("system assistant developer judge evaluator administrator moderator"),),
        r"^\W*(?:system|assistant|developer|judge|evaluator|administrator|moderator)"
        r"(?: (?:prompt|message|instruction|note|override|notice|update)s?)?\s*[\]>)*]{0,3}\s*[:：]",
    ),
    (
        (_heads("system developer override"), frozenset("[<#")),
        r"(?:[\[<]{1,3}|#{1,4}) ?(?:system|developer|override)\b"
        r"(?: (?:prompt|message|instructions?|override|note|notice|update)s?)?[^\w\n]{0,2}(?:[\]>:]|$)",
    ),
    (
        (frozenset("<["),),
        r"</?(?:response|system)>"
        r"|</?(?:response|answer|question|request|reference|system)[_-][\w-]+>",
    ),
    (
        (_H_JUDGED | _heads("instructions rubric grading evaluation comparison"),),
        r"\b(?:new|updated|revised|additional|special) (?:instructions?|rubric|grading (?:rules|criteria))\b"
        r"|\bend of (?:the )?(?:responses?|answers?|evaluation|comparison)\b",
    ),
    # Orders to ignore in the languages that are written most.
    (
        (_heads("ignor olvid oubli vergi verge missa dimen esque esquç negee zigno abaik borts") | {"…"},),
        r"(?:忽略|无视|忘记|忽視|無視).{0,20}(?:指令|提示|规则|内容|指示|命令|説明)"
        r"|请(?:选择|给出|评|判定).{0,15}(?:满分|最高|回答|更好|胜)"
        r"|(?:\b(?:ignor\w*|olvid\w*|oubli\w*|vergiss|vergesst|missacht\w*|dimentic\w*|esque[cç]\w*|negeer|zignoruj\w*"
        r"|abaikan|bortse|игнорир\w*|забуд\w*|ігнор\w*|αγνό\w*)\b|تجاهل).{0,40}"
        r"(?:\b(?:instruc\w*|instru[çk]\w*|anweisung\w*|istruzion\w*|instructies|poleceni\w*|instruksi|инструкци\w*"
        r"|указани\w*|вказівк\w*|οδηγί\w*|regeln|reglas|règles|regole)|التعليمات)",
    ),
)
_TO_JUDGE = tuple((needs, re.compile(pattern, re.I)) for needs, pattern in _RULES)
# In other languages than English: an answer, and which to choose.
_ABROAD_ANSWER = re.compile(
    r"\b(?:respuesta|réponse|antwort|risposta|resposta|antwoord|odpowied[zź]|ответ|відповід|cevap|cevab|yanıt"
    r"|câu trả lời|jawaban|svaret|απάντησ)"
    r"|回答|答案|答复|応答|대답|답변|응답|إجابة|الرد|उत्तर|जवाब|תשובה|پاسخ|คำตอบ|উত্তর",
    re.I,
)
_ABROAD_CHOICE = re.compile(
    r"\b(?:eli[gj]|elegir|escog|escoj|prefier|prefir|mejor|puntuaci|choisi|préfér|meilleur|wähl|bevorzug|beste"
    r"|bessere|besser|höchst|bewerte|scegli|preferi|migliore|punteggio|escolh|melhor|pontua|kies|beter|hoogste|wybier"
    r"|lepsz|najlepsz|najwyż|выбер|выбир|предпоч|лучш|балл|обер|кращ|найкращ|seç|en iyi|daha iyi|chọn|tốt|pilih"
    r"|terbaik|välj|bäst|bättre|επίλεξ|καλύτερ)|选择|選[びぶん]|更好|最好|满分|最高|获胜|胜出|優れ|勝ち|최고|선택"
    r"|더 좋|만점|اختر|أفضل|चुन|बेहतर|सर्वश्रेष्ठ|בחר|انتخاب|بهتر|เลือก|ดีที่สุด|বেছে|সেরা",
    re.I,
)
_H_ABROAD = _heads("respuesta antwort risposta resposta antwoord odpowiedz cevap jawaban svaret") | {"…"}
_APART = re.compile(r"(?<!\w)(?:[A-Za-z][ ._*-]{1,3}){9,}[A-Za-z](?!\w)")
_SAID_APART = re.compile(
    r"ignor|judge|evaluat|grader|response|answer|prefer|verdict|winner|highest|instruction|score", re.I
)
_BEGINS = re.compile(r"(?<=[.!?…।؟])\s+(?=[^\W\d_A-Za-z])")  # sentences in scripts without capitals
_ASCII_WORD = re.compile(r"[a-z]+")


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
    return stripped(text)[1]


def stripped(text: str) -> tuple[str, list[str]]:
    """`text` as `shown`, without the sentences that speak to whoever judges it, and those sentences. Lines without any
    are kept as they are; NOTHING_LEFT if nothing else is left."""
    kept: list[str] = []
    bare = shown(text)
    taken = _TEMPLATE.findall(bare)
    for line in _TEMPLATE.sub("", bare).split("\n") if taken else bare.split("\n"):
        parts = list(_parts(line))
        found = [part for part in parts if _speaks(part)]
        if not found:
            kept.append(line)
            continue
        taken += found
        rest = " ".join(part for part in parts if part not in found)
        if rest:
            kept.append(line[: len(line) - len(line.lstrip(" \t"))] + rest)
    if not taken:
        return "\n".join(kept), taken
    left = "\n".join(kept).strip("\n")
    return left if left.strip() else NOTHING_LEFT, taken


def _parts(line: str) -> Iterator[str]:
    """Sentences of a line; of one that has no end for long, pieces."""
    for sentence in sentences(clean(line)):
        for part in _BEGINS.split(sentence):
            if len(part) <= _LONGEST:
                yield part
                continue
            for at in range(0, len(part), _PIECE):
                yield part[at : at + _PIECE]


def _speaks(part: str) -> bool:
    if any(_SAID_APART.search(re.sub(r"[^A-Za-z]", "", run)) for run in _APART.findall(part)):
        return True
    return any(map(_matches, (part, *_readings(part))))


def _matches(told: str) -> bool:
    there = {word[:4] for word in _ASCII_WORD.findall(told.lower())} | {sign for sign in "[<#" if sign in told}
    if not told.isascii():
        there.add("…")
    for needs, pattern in _TO_JUDGE:
        if not any(there.isdisjoint(need) for need in needs) and pattern.search(told):
            return True
    if there.isdisjoint(_H_ABROAD):
        return False
    return bool(_ABROAD_ANSWER.search(told) and _ABROAD_CHOICE.search(told))


def _readings(part: str) -> Iterator[str]:
    """What else `part` may read as once a disguise is taken off."""
    yield from unmasked(part)
    yield part[::-1]
    for match in ENCODED.finditer(part):
        yield from _decoded(match.group())


def _decoded(run: str) -> Iterator[str]:
    """Base64, hexadecimal and escapes as the text that they stand for, where they stand for one."""
    yield html.unescape(re.sub(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})", _escape, run))
    for decode in (base64.b64decode, _hexadecimal):
        with contextlib.suppress(ValueError):  # binascii.Error and UnicodeDecodeError are
            yield decode(run).decode("utf-8")


def _escape(match: re.Match[str]) -> str:
    return chr(int(match[1] or match[2], 16))


def _hexadecimal(run: str) -> bytes:
    return bytes.fromhex(run.replace(":", " "))
