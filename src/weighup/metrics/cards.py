"""Metric cards: what each text metric sees, its range, what it needs, where it is known to fail, who validated it.

A card per metric, as "The illusion of a perfect metric" (arXiv 2508.13816) asks for before a metric is chosen. The
words are data, below; range and needs are read from `weighup.metrics.text.METRICS`, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from weighup.metrics.text import METRICS, find_metric


@dataclass(frozen=True, slots=True)
class MetricCard:
    """One metric. least, most: its range, of which `higher_is_better` says the good end; needs: see `TextMetric`."""

    name: str
    sees: str
    least: float
    most: float
    higher_is_better: bool
    needs: tuple[str, ...]
    fails: str
    validated: str

    def as_markdown(self) -> str:
        """The card as a two-column Markdown table."""
        better = "higher" if self.higher_is_better else "lower"
        rows = [
            ("sees", self.sees),
            ("range", f"{self.least:g} to {self.most:g}, {better} is better"),
            ("needs", ", ".join(self.needs) or "nothing but the text"),
            ("known to fail", self.fails),
            ("validated", self.validated),
        ]
        lines = [f"| {self.name} | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)]
        return "\n".join(lines) + "\n"


def metric_card(name: str) -> MetricCard:
    """The card of a metric. Raises InvalidInput naming the metrics there are."""
    metric = find_metric(name)
    sees, fails, validated = _CARDS[name]
    return MetricCard(
        name=name,
        sees=sees,
        least=metric.least,
        most=metric.most,
        higher_is_better=metric.higher_is_better,
        needs=tuple(sorted(metric.needs)),
        fails=fails,
        validated=validated,
    )


def metric_cards() -> tuple[MetricCard, ...]:
    """All cards, in the order of `METRICS`."""
    return tuple(metric_card(name) for name in METRICS)


_PARAPHRASE = "a right paraphrase scores low, a wrong text of the same words high"
_CARDS: dict[str, tuple[str, str, str]] = {
    "bleu": (
        "share of the text's word 1- to 4-grams that are in a reference, with a penalty for brevity",
        f"made for whole test sets: on one sentence it is coarse and often near 0; {_PARAPHRASE}",
        "Papineni et al. 2002 (translation, system level); Reiter 2018, A Structured Review of the Validity of BLEU: "
        "little support outside system-level translation",
    ),
    "chrf": (
        "F2 of shared character 1- to 6-grams with a reference",
        f"rewards long texts, since recall weighs double; {_PARAPHRASE}",
        "Popović 2015 (WMT translation, rich morphology)",
    ),
    "ter": (
        "edits (words and shifts of blocks) that turn the text into a reference, in per cent of its words",
        "has no upper end, so one long text can rule a mean; lower is better; slow on long texts",
        "Snover et al. 2006 (translation, against human edits)",
    ),
    "rouge1": (
        "F1 of shared words with a reference",
        f"blind to word order and negation; reads Latin letters and digits only; {_PARAPHRASE}",
        "Lin 2004 (DUC summaries); Fabbri et al. 2021, SummEval, arXiv 2007.12626: weak at segment level",
    ),
    "rouge2": (
        "F1 of shared word pairs with a reference",
        f"0 for many short texts; reads Latin letters and digits only; {_PARAPHRASE}",
        "Lin 2004 (DUC summaries); Fabbri et al. 2021, SummEval, arXiv 2007.12626: weak at segment level",
    ),
    "rougeL": (
        "F1 of the longest common subsequence of words with a reference",
        "punishes sentences in another order; reads Latin letters and digits only",
        "Lin 2004 (DUC summaries); Fabbri et al. 2021, SummEval, arXiv 2007.12626: weak at segment level",
    ),
    "meteor": (
        "words that match a reference exactly or by stem, recall first, less where the matches are scattered",
        "no WordNet synonyms here, so its values are below those of METEOR; stems are English",
        "Banerjee and Lavie 2005 (translation; the form with synonyms)",
    ),
    "token_f1": (
        "F1 of shared tokens with a reference after SQuAD's normalisation",
        "for short answers; needs blanks between words, so not for Chinese; blind to order",
        "Rajpurkar et al. 2016, arXiv 1606.05250 (reading comprehension); Chen et al. 2019, Evaluating Question "
        "Answering Evaluation: poor on free-form answers",
    ),
    "exact_match": (
        "whether the text is a reference, after SQuAD's normalisation",
        "0 for every answer with one word more; the same for all texts of a free-form task, so not to be ranked by",
        "Rajpurkar et al. 2016, arXiv 1606.05250 (reading comprehension)",
    ),
    "length": (
        "number of words: no quality at all; the baseline to beat",
        "whatever it correlates with, padding improves it",
        "none; beats learned metrics where people like longer texts (Newsroom informativeness, `weighup claims`)",
    ),
    "length_ratio": (
        "length against the nearest reference's",
        "not monotone in quality: both too short and too long are bad, only one of which scores low",
        "none",
    ),
    "source_overlap": (
        "share of the text's words that are in its source",
        "best for copying; blind to order, so that words put together wrongly score full",
        "Grusky et al. 2018, arXiv 1804.11283, use coverage to describe summaries, not to judge them",
    ),
    "novel_bigrams": (
        "share of the text's word pairs that are not in its source: abstractiveness",
        "invention and good paraphrase look the same",
        "See et al. 2017, arXiv 1704.04368 (a description of summaries, not of quality)",
    ),
    "compression": (
        "length of the source over that of the text",
        "says nothing of what was kept",
        "Grusky et al. 2018, arXiv 1804.11283 (a description of data sets)",
    ),
    "embedding_cosine": (
        "cosine of the sentence vectors of text and reference",
        "negation, numbers and names hardly move it; values depend on the encoder, its length limit and its language",
        "Reimers and Gurevych 2019, arXiv 1908.10084 (sentence similarity, not quality of generated texts)",
    ),
    "bert_score": (
        "F1 of greedy cosine matches between token states of text and reference",
        "values crowd in a narrow band that depends on encoder and layer; weak on numbers and negation",
        "Zhang et al. 2020, arXiv 1904.09675 (WMT translation, captions; with other encoders than the embedded one)",
    ),
    "llm_score": (
        "a language model's mean grade from 1 to 5 by a rubric that is given",
        "prefers long and own texts, moves with the wording of the rubric and the model's version; may obey the text",
        "Liu et al. 2023, G-Eval, arXiv 2303.16634 (SummEval, Topical-Chat; GPT-4)",
    ),
}
