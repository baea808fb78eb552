"""What to ask the sources about a claim, by rule and without a language model: one to three short queries.

News indexes mostly require every word, so a query is the claim's telling words (names, numbers, long words) rather
than the claim. English: function words and reporting verbs are dropped, capitals mark names. Chinese, which is written
without blanks: the text is cut at function words and punctuation; what stands in quotes or title marks is kept whole.
"""

from __future__ import annotations

import re
from itertools import islice

from weighup.texts import clean, language, sentences

_MOST_WORDS = 12
_MOST_IN_FOCUS = 5
_MOST_ADDRESSES = 2
_ADDRESS = re.compile(r"https?://[^\s<>\"'，。、；）)]+", re.IGNORECASE)
_STOP = frozenset(
    """a about above after again all also although am an and any are aren't as at be because been before being below
    between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each either
    ever every few for from further had hadn't has hasn't have haven't having he her here hers herself him himself his
    how however i if in into is isn't it it's its itself just let like many may me might more most much must my myself
    no nor not now of off on once only or other our ours out over own per quite rather really same shall she should
    shouldn't since so some still such than that the their theirs them themselves then there these they this those
    though through to too under until up upon us very was wasn't we were weren't what when where whether which while
    who whom whose why will with within without won't would wouldn't yet you your yours
    according allegedly announce announced announces claim claimed claims confirm confirmed confirms reveal revealed
    reveals report reported reportedly reports said say saying says show showed shows state stated states tell told
    monday tuesday wednesday thursday friday saturday sunday
    breaking exclusive just new news today tonight tomorrow yesterday watch video photo update updated
    get gets getting go goes going got make makes making made one ones thing things way""".split()
)
_WORD = re.compile(r"\$?\d[\d.,]*\d%?|\d%?|[^\W\d_]+(?:['’.-][^\W\d_]+|-\d+|\d+)*")
_HAN_SPLIT = re.compile(
    r"[\s，。！？；：、,.!?;:…—()（）\[\]【】<>|/]+"
    r"|(?:表示|宣布|声称|據|据悉|据称|报道|報道|认为|認為|称|日前|近日|目前|已经|已經|正在|将会|將會|因为|因為|所以|但是|以及"
    r"|并且|並且|或者|如果|虽然|雖然|对于|對於|关于|關於|通过|通過|进行|進行|我们|我們|他们|他們|一个|一個|这个|這個|那个|那個"
    r"|这些|那些|没有|沒有|不是|就是|都是|可以|是否|什么|什麼|怎么|网传|網傳|震惊|震驚|突发|突發"
    r"|[的了吗呢吧啊着是在被把将將与與及])"
)
_QUOTED = re.compile(r"[《“「『‘\"]([^《》“”「」『』‘’\"]{2,30})[》”」』’\"]")


def plan_queries(claim_text: str, lang: str | None = None) -> list[str]:
    """One to three queries for a claim, most specific first, then the web addresses it names, two at most.

    Empty only for a text without telling words. `lang` is `en` or `zh`; None: by script.
    """
    text = clean(_ADDRESS.sub(" ", claim_text[:20_000]))[:2000]
    lang = lang or language(text)
    planned = _chinese(text) if lang in ("zh", "mixed") else _english(text)
    distinct = dict.fromkeys(query for query in planned if query)
    return list(distinct)[:3] + addresses_in(claim_text[:20_000])[:_MOST_ADDRESSES]


def addresses_in(text: str) -> list[str]:
    """The http(s) addresses in a text, each once, without the punctuation that ends a sentence."""
    return list(dict.fromkeys(match[0].rstrip(".,;:!?") for match in _ADDRESS.finditer(text)))


def is_address(query: str) -> bool:
    """Whether a query is a web address and nothing else."""
    return _ADDRESS.fullmatch(query) is not None


def content_words(text: str) -> list[str]:
    """The telling words of a text, lower-cased, in order; for Chinese the pairs of neighbouring characters."""
    found = [word.lower() for word in _tokens(text) if not re.search(r"[\u3400-\u9fff]", word)]
    for run in re.findall(r"[\u3400-\u9fff]+", text):
        for piece in _HAN_SPLIT.split(run):
            found += [piece[at : at + 2] for at in range(len(piece) - 1)]
    return found


def _english(text: str) -> list[str]:
    spoken = sentences(text) or [text]
    main = _tokens(spoken[0]) or _tokens(text)
    keywords = _shortest_of(main, _MOST_WORDS)
    planned = [" ".join(keywords), " ".join(_focus(spoken[0], main))]
    if len(spoken) > 1:
        # A longer text: the sentence with the most names and numbers says what else could be checked.
        rest = max(spoken[1:8], key=lambda sentence: len(_names(sentence)))
        planned.append(" ".join(_focus(rest, _tokens(rest))))
    return planned


def _tokens(text: str) -> list[str]:
    """Words without function words, possessive endings and repetitions, in order."""
    found = (re.sub(r"['’]s$", "", match[0]) for match in _WORD.finditer(text))
    kept = [word for word in found if word.lower().replace("’", "'") not in _STOP and (len(word) > 1 or word.isdigit())]
    return list({word.lower(): word for word in reversed(kept)}.values())[::-1]


def _names(text: str) -> list[str]:
    """Words with capitals or digits, in order. The first word is capitalised anyway: it counts beside another name."""
    tokens = _tokens(text)
    marked = [word.lower() != word or any(c.isdigit() for c in word) for word in tokens]
    if marked[:1] == [True] and marked[1:2] != [True] and not re.search(r"\d|.[A-Z]", tokens[0]):
        marked[0] = False
    names = [word for word, is_name in zip(tokens, marked, strict=True) if is_name]
    # A headline In Title Case or IN CAPITALS marks nothing.
    written = re.findall(r"[^\W\d_]+", text)
    headline = sum(word[0].isupper() for word in written) >= 0.8 * len(written)
    return [] if headline and len(written) > 1 else names


def _focus(text: str, tokens: list[str]) -> list[str]:
    """Names and numbers, filled up with the longest other words to at least four; in the text's order."""
    chosen = _names(text)[:_MOST_IN_FOCUS]
    others = sorted((word for word in tokens if word not in chosen), key=len, reverse=True)
    chosen += others[: max(0, 4 - len(chosen))]
    return [word for word in tokens if word in chosen]


def _shortest_of(tokens: list[str], most: int) -> list[str]:
    """At most so many words: names, numbers and the longest stay; in the text's order."""
    telling = sorted(tokens, key=lambda w: (not (w[0].isupper() or w[0].isdigit()), -len(w)))
    kept = set(islice(telling, most))
    return [word for word in tokens if word in kept]


def _chinese(text: str) -> list[str]:
    quoted = [match[1] for match in _QUOTED.finditer(text)]
    unquoted = re.sub(r"[《》“”「」『』‘’\"]", " ", text)
    pieces = [piece for piece in _HAN_SPLIT.split(unquoted) if len(piece) > 1]
    keywords: list[str] = []
    for piece in dict.fromkeys(pieces):
        if sum(len(word) for word in keywords) + len(piece) > 38 and keywords:
            break
        keywords.append(_cut(piece, 38))
    telling = [*quoted, *(p for p in pieces if re.search(r"[\dA-Za-z]", p)), *sorted(pieces, key=len, reverse=True)]
    chosen = list(dict.fromkeys(telling))[:3]
    focus = sorted(chosen, key=text.find)
    return [" ".join(keywords), " ".join(_cut(word, 16) for word in focus)]


def _cut(piece: str, most: int) -> str:
    """The piece's start, not ended inside a number or a Latin word."""
    if len(piece) <= most:
        return piece
    start = piece[:most]
    if re.match(r"[A-Za-z\d]", piece[most]):
        start = re.sub(r"[A-Za-z\d.]+$", "", start)
    return start or piece[:most]
