"""Fetched text is hostile: find instructions aimed at a language model, and take them out before one reads it.

Indirect prompt injection (Greshake et al. 2023, arXiv 2302.12173). Rules cannot catch every wording; so besides, no
model's text decides alone, summaries must be grounded in the passages, and passages are quoted between marks.
"""

from __future__ import annotations

import re

from weighup.texts import clean, sentences

# Tokens that chat templates give a meaning to: never text.
_CONTROL = re.compile(
    r"<\|[^|>\n]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?(?:system|assistant|user|tool_call)>"
    r"|<<<|>>>|^\s*#{2,}\s*(?:system|instruction|assistant|user)\b.*$",
    re.I | re.M,
)
_ROLE = re.compile(r"^\W*(?:system|assistant|developer)(?: (?:prompt|message|instruction)s?)?\s*[:：]", re.I)
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|do not follow)\b.{0,40}"
    r"\b(?:previous|prior|above|earlier|all|any|your|these|the)\b.{0,30}\b(?:instructions?|prompts?|rules|context|guidelines|system"
    r"|messages?|text|passages?)\b"
    r"|\b(?:you are|act as|pretend to be|you're) (?:now |an? |the )?(?:\w+ ){0,3}"
    r"(?:ai|assistant|language model|chatbot|llm|dan)\b"
    r"|\b(?:as an|dear|attention|note to(?: the)?|hey) (?:ai|llm|language model|chatbot|assistant|fact[- ]check\w*)\b"
    r"|\b(?:ai|llm|language) models?\b.{0,40}\b(?:must|should|shall|have to|are required to)\b"
    r"|\b(?:you|the (?:assistant|model|ai)) (?:must|should|shall|will|have to|are to)\b.{0,60}"
    r"\b(?:answer|respond|reply|output|say|classify|label|mark|rate|conclude|report|state|declare)\b"
    r"|\b(?:answer|respond|reply|output|print|say) (?:only|exactly|with|that)\b.{0,40}"
    r"\b(?:true|false|real|fake|supports?|refutes?|yes|no|verdict)\b"
    r"|\b(?:mark|label|classify|rate|treat) (?:this|the|it)\b.{0,40}\bas\b.{0,20}"
    r"\b(?:true|false|real|fake|verified|reliable|credible)\b"
    r"|\b(?:reveal|print|repeat|show|leak)\b.{0,30}"
    r"\b(?:system prompt|api[ _-]?key|your instructions|password|secrets?)\b"
    r"|\bnew instructions?\b|\bend of (?:passages?|context|document)\b"
    r"|(?:忽略|无视|忘记).{0,20}(?:指令|提示|规则|内容)|你(?:现在)?是.{0,10}(?:助手|模型|人工智能)"
    r"|请(?:回答|输出|判定|标记).{0,15}(?:真|假|属实|可信)",
    re.I,
)


def suspicious_instructions(text: str) -> list[str]:
    """The sentences of `text` that read as orders to a model, and its chat-template tokens; empty if none."""
    found = [match.group() for match in _CONTROL.finditer(text)]
    return found + [part for part in sentences(clean(_CONTROL.sub(" ", text))) if _is_order(part)]


def defuse(text: str) -> str:
    """`text` cleaned, without chat-template tokens and without the sentences that read as orders to a model."""
    kept = [part for part in sentences(clean(_CONTROL.sub(" ", text))) if not _is_order(part)]
    return " ".join(kept)


def _is_order(sentence: str) -> bool:
    return bool(_ROLE.search(sentence) or _ORDER.search(sentence[:2000]))
