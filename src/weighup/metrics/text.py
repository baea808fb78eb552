"""Text metrics by name: `score("chrf", hypotheses, references)`. Batch in, batch out: float array [n].

The standard ones are the standard libraries': BLEU (Papineni et al. 2002), chrF (Popović 2015) and TER (Snover et al.
2006) by sacrebleu (Post 2018) at sentence level, in per cent as it has them; ROUGE (Lin 2004) by rouge-score, F1
without stemming, as it is by default. Ours: `text_words` and, asking a model that is given, `text_models`.

references [n]: a text or several each. With several, BLEU, chrF and TER do as sacrebleu does and all others take the
best. An empty hypothesis gets the metric's least value (TER, an error rate: 100, all of the reference missing); None
in place of a text is InvalidInput. What a metric sees and where it fails: `weighup.metrics.cards.metric_card`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from weighup.errors import InvalidInput
from weighup.metrics import text_models, text_words
from weighup.metrics.arrays import Floats
from weighup.metrics.extras import need
from weighup.metrics.text_words import References, Texts, checked_references, checked_texts

if TYPE_CHECKING:
    from weighup.models.types import Encoder, LanguageModel


def bleu(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """sacrebleu's sentence BLEU with effective order, in [0, 100]."""
    return _by_sacrebleu(need("sacrebleu.metrics").BLEU(effective_order=True), hypotheses, references)


def chrf(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """sacrebleu's sentence chrF2 (characters up to 6, no words), in [0, 100]."""
    return _by_sacrebleu(need("sacrebleu.metrics").CHRF(), hypotheses, references)


def ter(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """sacrebleu's sentence TER, in per cent of the reference's words, ≥ 0; lower is better."""
    return _by_sacrebleu(need("sacrebleu.metrics").TER(), hypotheses, references)


def _by_sacrebleu(metric: Any, hypotheses: Texts, references: References | None) -> Floats:
    texts = checked_texts("hypotheses", hypotheses)
    several = checked_references(references, len(texts))
    found = [metric.sentence_score(text, refs).score for text, refs in zip(texts, several, strict=True)]
    return np.array(found, dtype=np.float64)


def rouge1(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """ROUGE-1 F1 in [0, 1]."""
    return _by_rouge("rouge1", hypotheses, references)


def rouge2(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """ROUGE-2 F1 in [0, 1]."""
    return _by_rouge("rouge2", hypotheses, references)


def rougeL(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """ROUGE-L F1 in [0, 1], the text read as one sentence."""
    return _by_rouge("rougeL", hypotheses, references)


def _by_rouge(kind: str, hypotheses: Texts, references: References | None) -> Floats:
    scorer = need("rouge_score.rouge_scorer").RougeScorer([kind])
    return text_words.best_of(lambda text, ref: scorer.score(ref, text)[kind].fmeasure, hypotheses, references)


@dataclass(frozen=True, slots=True)
class TextMetric:
    """A metric and what it needs besides hypotheses: "reference", "source", "encoder", "model".

    least, most: its range. Call it like a function once nothing of `encoder` and `model` is needed any more: `bind`.
    """

    name: str
    function: Callable[..., Any]
    needs: frozenset[str]
    least: float = 0.0
    most: float = 1.0
    higher_is_better: bool = True

    def bind(
        self, *, encoder: Encoder | None = None, model: LanguageModel | None = None, rubric: str = ""
    ) -> TextMetric:
        """This metric with its model in place; itself where it needs none. Raises InvalidInput where one is missing."""
        if "encoder" in self.needs:
            if encoder is None:
                raise InvalidInput(f"{self.name}: give encoder=, for example weighup.models.onnx_encoder.OnnxEncoder")
            return replace(self, function=self.function(encoder), needs=self.needs - {"encoder"})
        if "model" in self.needs:
            if model is None:
                raise InvalidInput(f"{self.name}: give model=, a LanguageModel, and rubric=, what a good text is")
            return replace(self, function=self.function(model, rubric), needs=self.needs - {"model"})
        return self

    def __call__(self, hypotheses: Texts, references: References | None = None, sources: Texts | None = None) -> Floats:
        """Values [n]. Raises InvalidInput for a metric whose model is not in place, and as the metric does."""
        if self.needs & {"encoder", "model"}:
            raise InvalidInput(f"{self.name}: it needs a model; put one in place with bind(encoder=…) or bind(model=…)")
        found: Floats = self.function(hypotheses, references, sources)
        return found


def _metric(function: Callable[..., Any], *needs: str, **rest: Any) -> TextMetric:
    return TextMetric(function.__name__, function, frozenset(needs), **rest)


METRICS: Mapping[str, TextMetric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _metric(bleu, "reference", most=100.0),
            _metric(chrf, "reference", most=100.0),
            _metric(ter, "reference", most=math.inf, higher_is_better=False),
            _metric(rouge1, "reference"),
            _metric(rouge2, "reference"),
            _metric(rougeL, "reference"),
            _metric(text_words.meteor, "reference"),
            _metric(text_words.token_f1, "reference"),
            _metric(text_words.exact_match, "reference"),
            _metric(text_words.length, most=math.inf),
            _metric(text_words.length_ratio, "reference", most=math.inf),
            _metric(text_words.source_overlap, "source"),
            _metric(text_words.novel_bigrams, "source"),
            _metric(text_words.compression, "source", most=math.inf),
            _metric(text_models.embedding_cosine, "reference", "encoder", least=-1.0),
            _metric(text_models.bert_score, "reference", "encoder"),
            _metric(text_models.llm_score, "model", least=1.0, most=5.0),
        )
    }
)


def find_metric(name: str) -> TextMetric:
    """The metric of that name. Raises InvalidInput naming those there are."""
    if name not in METRICS:
        raise InvalidInput(f"no metric is called {name!r}; there are {', '.join(METRICS)}")
    return METRICS[name]


def score(
    name: str,
    hypotheses: Texts,
    references: References | None = None,
    sources: Texts | None = None,
    *,
    encoder: Encoder | None = None,
    model: LanguageModel | None = None,
    rubric: str = "",
) -> Floats:
    """Values [n] of the metric called `name`. Raises InvalidInput for an unknown name or what it needs and lacks."""
    return find_metric(name).bind(encoder=encoder, model=model, rubric=rubric)(hypotheses, references, sources)
