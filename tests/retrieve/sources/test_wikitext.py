"""Wikitext to text: prose stays, markup goes, and broken or hostile markup costs no more than its length."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighup.retrieve.sources.wikitext import is_redirect, plain_text

PAGE = """{{Short description|Capital of France}}
{{Infobox settlement
| name = Paris
| map = {{Location map|France|lat=1}}
}}
<!-- not for readers -->'''Paris''' ({{IPAc-en|p|ær|ɪ|s}}; {{IPA|fr|paʁi}}) is the [[Capital city|capital]] of \
[[France]].<ref name="a">{{cite web|url=http://x.y|title=A [[b]]}}</ref><ref name="a" /> It covers \
{{convert|105|km2|sqmi}} and has [http://x.org a site] [http://bare.org].

[[File:Paris.jpg|thumb|The [[Eiffel Tower]] in 2010]]
== History ==
* The ''Parisii'' lived here in 250&nbsp;BC.
{| class="wikitable"
! a !! b
|-
| 1 || {{n|2}}
|}
It was {{lang|fr|La Commune}} in 1871.

== References ==
{{reflist}}
* Smith, ''A book''
[[Category:Paris]]
"""


def test_prose_stays_and_markup_goes() -> None:
    assert plain_text(PAGE).split("\n") == [
        "Paris is the capital of France. It covers 105 km2 and has a site.",
        "The Parisii lived here in 250 BC.",
        "It was La Commune in 1871.",
    ]


def test_chinese_page_with_variants() -> None:
    text = (
        "'''北京市'''，简称“'''京'''”，是[[中国|中华人民共和国]]的-{zh-hans:首都;zh-hant:首都們}-。[[文件:a.jpg|thumb]]"
    )
    text += "\n==参考文献==\nx"
    assert plain_text(text) == "北京市，简称“京”，是中华人民共和国的首都。"


def test_cut_at_a_paragraph() -> None:
    assert plain_text("One line here.\n\nAnother line here.\n\nA third line.", limit=30) == "One line here."


@pytest.mark.parametrize("text", ["#REDIRECT [[Paris]]", " #redirect[[x]]", "#重定向 [[北京]]"])
def test_redirects_are_known(text: str) -> None:
    assert is_redirect(text)
    assert not is_redirect(f"See {text}")


@pytest.mark.parametrize(
    "broken", ["{{", "[[", "[[a|", "{|", "<ref>", "<!--", "[//", "-{", "{{a|", "( ; ", "=", "'", "<", "]]", "}}", "|}"]
)
def test_broken_markup_repeated_many_times_ends(broken: str) -> None:
    plain_text(broken * 20_000 + "\n\nThe end.")


def test_an_unclosed_reference_costs_its_line_only() -> None:
    assert plain_text("One.<ref>lost\n\nTwo is here.") == "One.\nTwo is here."


@given(st.text(alphabet="ab [](){}|<>/='!-#*\n:;ref", max_size=300))
@settings(max_examples=200, deadline=None)
def test_never_raises(text: str) -> None:
    plain_text(text)
