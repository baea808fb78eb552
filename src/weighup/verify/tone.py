"""How a text is said: emotion, certainty, appeal and form, as numbers and as a sentence for the reader.

The cues are those that stylistic studies of misinformation report: emotive and absolute wording, capitals and
exclamation, appeals to share, unnamed authorities, against hedging, attribution and figures (Horne & Adali 2017,
arXiv 1703.09398; Rashkin et al. 2017, doi 10.18653/v1/D17-1317). The word lists are ours, English and Chinese.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weighup.texts import words


def _any(latin: str, other: str = "") -> re.Pattern[str]:
    """Alternatives parted by blanks (an underscore stands for a blank within one); Latin ones match whole words."""
    joined = "|".join(latin.split()).replace("_", " ")
    return re.compile("|".join([rf"\b(?:{joined})\b", *other.split()]), re.I)


CUES: dict[str, re.Pattern[str]] = {
    "alarm": _any(
        r"shock(?:ing|ed)? horrif\w+ terrif\w+ deadly danger\w* threat\w* panic\w* crisis disaster\w* "
        r"catastroph\w* destroy\w* toxic poison\w* kill\w* warning urgent alert emergency collaps\w+ "
        r"apocalyp\w* nightmare",
        "震惊 可怕 紧急 危险 致命 警告 惊人 恐怖",
    ),
    "anger": _any(
        r"outrag\w+ disgrac\w+ corrupt\w* betray\w* traitor\w* evil criminal\w* lie[sd]? lying liar\w* "
        r"scandal\w* shame\w* disgust\w* idiot\w* stupid\w* hate\w* attack\w* crooked",
        "愤怒 无耻 可恶 骗子 谎言 丑闻 腐败",
    ),
    "absolute": _any(
        r"always never everyone everybody no_one nobody all every completely totally absolutely 100% proven "
        r"guaranteed? undeniabl\w+ definitely only none nothing",
        "都 绝对 从来 所有 完全 百分之百",
    ),
    "hedge": _any(
        r"may might could possibly perhaps likely appears? suggests? suggesting estimated? about approximately "
        r"around probably can some often",
        "可能 或许 大约 据估计 约",
    ),
    "attribution": _any(
        r"according_to said says reported reports? announced study studies researchers? officials? spokes\w+ "
        r"survey poll data",
        "据 表示 报道 指出 记者 专家",
    ),
    "secrecy": _any(
        r"secret\w* hidden cover[-_]?up they_don't_want truth_about exposed? hoax conspira\w+ mainstream_media "
        r"wake_up big_pharma deep_state banned censor\w* bioweapon plandemic",
        "内幕 真相 曝光 秘密 封锁 隐瞒",
    ),
    "appeal": _any(
        r"share retweet rt spread_the_word please must watch look don't_miss click forward tell_everyone pls",
        "转发 扩散 分享 速看 必看 求转 告诉 注意",
    ),
    "remedy": _any(
        r"cures? cured remedy remedies miracle detox immun\w+ vaccin\w+ drink\w* garlic lemon vitamin\w* "
        r"herbal",
        "治愈 偏方 秘方 疗效 养生 致癌",
    ),
    "negation": _any(
        r"no not n't without neither nor cannot don't didn't isn't",
        "不 没 无 未",
    ),
    "first_person": _any(
        r"i we my our us me",
        "我 我们",
    ),
}
NAMES: tuple[str, ...] = (
    *CUES,
    "exclamation",
    "question",
    "capitals",
    "digits",
    "quotes",
    "links",
    "hashtags",
    "length",
    "word_length",
    "ellipsis",
)
_HASHTAG = re.compile(r"#\w+|@\w+")
_LINK = re.compile(r"https?://|www\.")
_CAPITALS = re.compile(r"\b[A-Z]{4,}\b")
_SAID: dict[str, str] = {
    "alarm": "alarming words",
    "anger": "angry or accusing words",
    "absolute": "absolute wording",
    "hedge": "hedged wording",
    "attribution": "names where it comes from",
    "secrecy": "hints at hidden truths",
    "appeal": "asks the reader to act or share",
    "remedy": "speaks of cures or remedies",
    "exclamation": "exclamation marks",
    "capitals": "words in capitals",
    "digits": "gives figures",
    "quotes": "quotes somebody",
    "question": "asks questions",
}


def tone(texts: Sequence[str]) -> NDArray[np.float32]:
    """Float array [n, len(NAMES)]: cues per word (square root), marks per text, log lengths; each about 0..2."""
    rows = np.zeros((len(texts), len(NAMES)), np.float32)
    for row, text in zip(rows, texts, strict=True):
        text = text[:5000]
        tokens = words(text)
        n = max(len(tokens), 1)
        for column, pattern in enumerate(CUES.values()):
            row[column] = (len(pattern.findall(text)) / n) ** 0.5
        row[len(CUES) :] = (
            min(text.count("!") + text.count("！"), 4) / 2,
            min(text.count("?") + text.count("？"), 3) / 2,
            min(len(_CAPITALS.findall(text)), 6) / 3,
            (sum(t[0].isdigit() for t in tokens) / n) ** 0.5,
            min(sum(text.count(q) for q in '"“「『'), 4) / 4,
            min(len(_LINK.findall(text)), 3) / 2,
            min(len(_HASHTAG.findall(text)), 6) / 3,
            float(np.log1p(n)) / 3,
            sum(map(len, tokens)) / n / 6,
            min(text.count("…") + text.count("..."), 3) / 2,
        )
    return rows


def describe(features: NDArray[np.float32]) -> str:
    """One sentence on the cues that stand out in one row of `tone`, or that none does."""
    marked = [
        (float(value), _SAID[name])
        for name, value in zip(NAMES, features, strict=True)
        if name in _SAID and value >= (0.25 if name in CUES else 0.3)
    ]
    if not marked:
        return "The tone is plain: no emotive, absolute or appealing wording stands out."
    said = [phrase for _, phrase in sorted(marked, reverse=True)[:3]]
    return f"What stands out in how it is said: {', '.join(said)}."
