"""The claim of a long text is found, quickly, whatever the text."""

from __future__ import annotations

from weighup.verify.extraction import CLAIM_CHARACTERS, POST_CHARACTERS, extract

ARTICLE = (
    """LONDON — The Bank of England raised interest rates to 5.25% on Thursday. It was a long day for markets.
What will happen next? Analysts at three banks said the Bank of England would raise rates again in September.
I think it is a terrible idea. The pound rose 1% against the dollar after the Bank of England decision.
Readers may send their views to the editor. Mortgage rates have risen to 6% as the Bank of England raised rates. """
    * 2
)


def test_a_short_text_is_its_own_claim() -> None:
    found = extract("  Drinking bleach\u200b cures COVID-19. ")
    assert found.claim == "Drinking bleach cures COVID-19."
    assert found.others == ()
    assert found.checkability.checkable


def test_the_central_checkable_sentence_of_an_article_is_judged_and_others_listed() -> None:
    found = extract(ARTICLE)
    assert "raised interest rates to 5.25%" in found.claim
    assert any("The pound rose 1%" in other for other in found.others)
    assert not any(other.endswith("?") or "terrible" in other for other in found.others)
    assert found.claim not in found.others
    assert "most central" in found.warnings[0]


def test_a_long_text_without_facts_is_not_checkable() -> None:
    found = extract("What do you think of it? I love this song. Who would not? " * 20)
    assert not found.checkability.checkable
    assert "no sentence" in found.checkability.why


def test_a_megabyte_is_cut_and_the_reader_told() -> None:
    found = extract("The mayor signed the law on 3 May 2020. " * 25_000)
    assert len(found.claim) <= CLAIM_CHARACTERS
    assert any("sentences" in warning for warning in found.warnings)


def test_text_without_sentence_ends_is_shortened() -> None:
    assert len(extract("the minister said " * 5000).claim) <= CLAIM_CHARACTERS


def test_the_wording_of_a_post_is_all_of_it_and_of_an_article_the_claim() -> None:
    post = extract(ARTICLE[:POST_CHARACTERS])
    assert post.wording.startswith(ARTICLE[:100])
    assert len(post.wording) > len(post.claim)
    article = extract(ARTICLE * 2)
    assert article.wording == article.claim
    assert extract("Drinking bleach cures COVID-19.").wording == "Drinking bleach cures COVID-19."
