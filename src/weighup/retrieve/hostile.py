"""Fetched text is hostile: find instructions aimed at a language model, and take them out before one reads it.

Indirect prompt injection (Greshake et al. 2023, arXiv 2302.12173). Rules cannot catch every wording; so besides, no
model's text decides alone, summaries must be grounded in the passages, and passages are quoted between marks. Disguises
are undone for looking only (`disguises`): what is kept is kept as it was written.
"""

from __future__ import annotations

import re

from weighup.retrieve.disguises import ENCODED, unmasked
from weighup.texts import clean, sentences

# What chat templates hold between two tokens of theirs is a turn of a conversation: never text. Of bounded length, so
# that two stray tokens do not take an article with them.
_TURN = re.compile(
    r"<\|im_start\|>.{0,400}?<\|im_end\|>|\[INST\].{0,400}?\[/INST\]|<<SYS>>.{0,400}?<</SYS>>"
    r"|<start_of_turn>.{0,400}?<end_of_turn>|<(tool_call|tool_response|function_call|think)>.{0,400}?</\1>",
    re.I | re.S,
)
# Tokens that chat templates give a meaning to: never text.
_CONTROL = re.compile(
    r"<\|[^|>\n]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|</?(?:system|assistant|user|tool_call|tool_response|function_call|think)>"
    r"|<<<|>>>|^\s*#{2,}\s*(?:system|instruction|assistant|user)\b.*$",
    re.I | re.M,
)
# Markdown and HTML that would fetch, run or lead elsewhere: in a passage it is no statement. A link's words stay, an
# image's are an image's. JSON that speaks as a tool or a turn.
_IMAGE = re.compile(r"!\[[^\[\]\n]{0,1000}\](?:\([^()\n]{0,1000}\)|\[[^\[\]\n]{0,100}\])?|<img\b[^<>]{0,1000}>", re.I)
_LINK = re.compile(r"\[([^\[\]\n]{1,300})\]\([^()\n]{0,1000}\)")
_SCRIPT_LINK = re.compile(
    r"\[[^\[\]\n]{1,300}\]\( ?<? ?(?:javascript|data|vbscript):(?:[^()\n]|\([^()\n]{0,200}\)){0,1000}\)", re.I
)
_REFERENCE = re.compile(r"^ {0,3}\[[^\[\]\n]{1,100}\]: ?<?(?:[a-z][a-z0-9+.-]{1,20}:|/).*$", re.I | re.M)
_JSON = re.compile(
    r"\{[^{}\n]{0,200}\"(?:role|tool|function|verdict|tool_calls?|arguments)\" ?:"
    r"(?:[^{}\n]|\{[^{}\n]{0,500}\}){0,1000}\}",
    re.I,
)
_ROLE = re.compile(r"^\W*(?:system|assistant|developer)(?: (?:prompt|message|instruction)s?)?\s*[:：]", re.I)
_TRUTH = r"(?:true|false|real|fake|accurate|inaccurate|correct|incorrect|hoax|verified|reliable|credible|debunked)"
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|do not follow)\b.{0,40}"
    r"\b(?:previous|prior|above|earlier|all|any|your|these|the)\b.{0,30}\b(?:instructions?|prompts?|rules|context|guidelines|system"
    r"|messages?|text|passages?)\b"
    r"|\b(?:you are|act as|pretend to be|you're) (?:now |an? |the )?(?:\w+ ){0,3}"
    r"(?:ai|assistant|language model|chatbot|llm|dan)\b"
    r"|\b(?:as an|dear|attention|note to(?: the)?|hey) (?:ai|llm|language model|chatbot|fact[- ]check\w*)\b"
    r"|\b(?:dear|attention|note to(?: the)?|hey) assistant\b"
    r"|\b(?:ai|llm|language) models?\b.{0,40}\b(?:must|should|shall|have to|are required to)\b"
    r"|\b(?:you|the (?:assistant|model|ai)) (?:must|should|shall|will|have to|are to)\b.{0,60}"
    r"\b(?:answer|respond|reply|output|say|classify|label|mark|rate|conclude|report|state|declare)\b"
    r"|\b(?:answer|respond|reply|output|print|say) (?:only|exactly|with|that)\b.{0,40}"
    r"\b(?:true|false|real|fake|supports?|refutes?|yes|no|verdict)\b"
    r"|\b(?:mark|label|classify|rate|treat) (?:this|the|it)\b.{0,40}\bas\b.{0,20}"
    r"\b(?:true|false|real|fake|verified|reliable|credible)\b"
    rf"|\b(?:please|kindly)\b.{{0,40}}\b(?:conclude|answer|classify|label|rate|judge|assess|mark|treat)\b.{{0,60}}\b{_TRUTH}\b"
    rf"|\bwhen you (?:assess|judge|check|rate|evaluate|summari[sz]e)\b.{{0,80}}\b{_TRUTH}\b"
    r"|\b(?:reveal|print|repeat|show|leak)\b.{0,30}"
    r"\b(?:system prompt|api[ _-]?key|your instructions|password|secrets?)\b"
    r"|\bnew instructions?\b|\bend of (?:passages?|context|document)\b"
    r"|(?:忽略|无视|忘记).{0,20}(?:指令|提示|规则|内容)|你(?:现在)?是.{0,10}(?:助手|模型|人工智能)"
    r"|请(?:回答|输出|判定|标记).{0,15}(?:真|假|属实|可信)"
    # The commonest order, to ignore what was said before, in the languages that most pages are written in.
    r"|\b(?:ignor[aeo]\w*|olvid[ae]\w*|descart[ae]\w*)\b.{0,30}\b(?:instruc[ct]i?[oõ]\w*|instru[çc]\w*)"
    r"|\b(?:ignore[zr]?|oublie[zr]?)\b.{0,30}\binstructions?\b|\b(?:ignora\w*|dimentica\w*)\b.{0,30}\bistruzion\w*"
    r"|\b(?:ignorier\w*|vergiss|missacht\w*)\b.{0,40}\b(?:anweisung\w*|instruktion\w*|befehl\w*)"
    r"|(?:игнорир\w*|забудь\w*).{0,40}(?:инструкци\w*|указани\w*)|تجاهل.{0,30}(?:التعليمات|الأوامر)"
    r"|(?:निर्देश\w*|अनुदेश\w*).{0,30}(?:अनदेखा|नज़रअंदाज़)|(?:指示|命令|指令).{0,12}(?:無視|忘れ)"
    r"|(?:지시|명령|지침).{0,12}(?:무시|잊)|\btalimat\w*.{0,20}\b(?:yok say|görmezden|unut)",
    re.I,
)


def suspicious_instructions(text: str) -> list[str]:
    """The sentences of `text` that read as orders to a model, and what only a machine would read; empty if none."""
    found: list[str] = []
    for pattern in (_TURN, _CONTROL, *_NO_TEXT):
        found += [match.group() for match in pattern.finditer(text)]
        text = pattern.sub(" ", text)
    return found + [part for part in _parts(text) if _is_order(part)]


def defuse(text: str) -> str:
    """`text` cleaned, without what only a machine would read (turns and tokens of chat templates, encoded runs, images
    and scripts in Markdown, tool calls) and without the sentences that read as orders to a model."""
    for pattern in (_TURN, _CONTROL, *_NO_TEXT):
        text = pattern.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    return " ".join(part for part in _parts(text) if not _is_order(part))


_NO_TEXT = (ENCODED, _IMAGE, _SCRIPT_LINK, _REFERENCE, _JSON)


def _parts(text: str) -> list[str]:
    """Sentences, those apart too that begin in a script without capitals, or after a line end."""
    return [part for one in sentences(clean(text)) for part in _BEGINS.split(one)]


_BEGINS = re.compile(r"(?<=[.!?…।؟])\s+(?=[^\W\d_A-Za-z])|\n+")


def _is_order(sentence: str) -> bool:
    head = sentence[:2000]
    return any(_ROLE.search(told) or _ORDER.search(told) for told in (head, *unmasked(head)))
