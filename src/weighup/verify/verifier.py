"""From claims to verdicts: gather, take stances, write, evaluate, select, decide.

Everything is done for a batch at a time: one search per store, one pass of each encoder, arrays throughout. Written
parts go through the language model for several claims at once. Memory is bounded by the batch, not by the input.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.dates import iso, now, parse_bound
from weighup.errors import InvalidInput
from weighup.models.metering import Budget, Meter
from weighup.models.types import Encoder, LanguageModel
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Source
from weighup.settings import Settings, load_settings
from weighup.texts import clean, language
from weighup.verify import calibrated, decision, weights
from weighup.verify.bounds import without_later
from weighup.verify.content import ContentModel
from weighup.verify.contract import Verdict
from weighup.verify.counting import counted, trusting
from weighup.verify.decision import Judged, Prepared, Weighed
from weighup.verify.ease import Ease
from weighup.verify.evaluators import Evaluator, HeadsEvaluator, LanguageModelEvaluator
from weighup.verify.evidence import numbers, take_stances
from weighup.verify.extraction import extract
from weighup.verify.gathering import Found, Gatherer, Wanted
from weighup.verify.stance import StanceModel, Stances
from weighup.verify.tone import tone
from weighup.verify.types import Claim, Stanced
from weighup.verify.writing import Written, opine, summarise

_UNSET: Any = object()


class Verifier:
    """Checks claims. Opens models and stores when first needed; safe to use from several threads.

    `offline`: nothing leaves this machine (no online sources, no remote language model). `search=False`: only a
    claim's own evidence. `brief`: no text is generated. Models, store and sources may be given instead of what the
    settings name; None means none. Raises WeightsError if the folder in `verify.weights` cannot be used, InvalidInput
    if its heads have no calibration by which `verify.risk` could be kept.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        offline: bool = False,
        search: bool = True,
        brief: bool | None = None,
        language_model: LanguageModel | None = _UNSET,
        encoder: Encoder | None = None,
        stances: Stances | None = None,
        stores: Sequence[EvidenceStore] | None = None,
        sources: Sequence[Source] | None = None,
    ) -> None:
        self.settings = settings or load_settings()
        self.offline = offline
        self.search = search
        self.brief = self.settings.verify.brief if brief is None else brief
        limits = self.settings.verify
        weights.check(limits.weights)
        calibrated.require(limits.weights, limits.risk)
        self.run_meter = Meter(Budget(limits.run_tokens, limits.run_seconds, limits.run_usd))
        self._given_model = language_model
        self._given_encoder = encoder
        self._given_stances = stances
        self._given_stores = stores
        self._given_sources = sources
        self._lock = threading.RLock()
        self._opened: list[Any] = []

    def check(self, items: Sequence[str | Claim], *, budget: Budget | None = None) -> list[Verdict]:
        """Verdicts in the order of `items` (texts or Claims). `budget` is per claim; None takes the settings'.

        Raises InvalidInput for an empty text or a date in the future, ModelMissing if a model is not on this machine.
        """
        given = list(items)
        if isinstance(items, str) or not all(isinstance(item, str | Claim) for item in given):
            raise InvalidInput("what is checked is a list of texts or Claims; of one text write check([text])")
        claims = [Claim(text=item) if isinstance(item, str) else item for item in given]
        return list(self.check_stream(claims, budget=budget))

    def check_stream(
        self, claims: Iterable[Claim], *, batch_size: int = 64, budget: Budget | None = None
    ) -> Iterator[Verdict]:
        """As `check`, lazily: reads `batch_size` claims, yields their verdicts, reads on."""
        rest = iter(claims)
        while batch := list(itertools.islice(rest, batch_size)):
            yield from self._batch(batch, budget)

    def judge(self, claims: Sequence[Claim]) -> list[Judged | None]:
        """What every expert says of each claim, in order, by the way that `check` takes; None: not checkable.

        For measuring: nothing is written down in words. One batch: memory grows with the number of claims.
        """
        weighed = self.weigh(claims)
        done = iter(decision.judge([w for w in weighed if w is not None], self._ease, self._evaluator))
        return [None if w is None else next(done) for w in weighed]

    def weigh(self, claims: Sequence[Claim]) -> list[Weighed | None]:
        """All that is gathered about each claim, before anything is evaluated, in order; None: not checkable.

        For training and measuring, as `judge`.
        """
        prepared = [self._prepare(claim) for claim in claims]
        todo = [p for p in prepared if p.checkability.checkable]
        done = iter(self._weigh(todo, self._budget()) if todo else [])
        return [next(done) if p.checkability.checkable else None for p in prepared]

    def versions(self) -> dict[str, str]:
        """The version of every model that takes part."""
        parts = {"ease": self._ease.version, **self.weighing_versions()}
        if self._ease.calibration is not None:
            parts["calibration"] = self._ease.calibration.version
        if self._evaluator is not None:
            parts["evaluator"] = self._evaluator.version
        return parts

    def weighing_versions(self) -> dict[str, str]:
        """The version of every model that `weigh` asks."""
        parts = {"stance": self._stance_model.version, "content": self._content.version}
        parts["encoder"] = f"{self._encoder.name}@{self._encoder.version}"
        if self._writer is not None:
            parts["language_model"] = f"{self._writer.name}@{self._writer.version}"
        return parts

    def close(self) -> None:
        """Close the stores and clients this verifier opened (not those it was given)."""
        with self._lock:
            for opened in reversed(self._opened):
                opened.close()
            self._opened.clear()
            for name in ("_stores", "_sources", "_gatherer"):
                self.__dict__.pop(name, None)

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- the way of a batch ---------------------------------------------------------------------------------------

    def _batch(self, claims: Sequence[Claim], budget: Budget | None) -> list[Verdict]:
        started = time.monotonic()
        prepared = [self._prepare(claim) for claim in claims]
        todo = [p for p in prepared if p.checkability.checkable]
        weighed = self._weigh(todo, budget or self._budget()) if todo else []
        judged = decision.judge(weighed, self._ease, self._evaluator, written=not self.brief)
        seconds = (time.monotonic() - started) / len(claims)
        done = iter(zip(weighed, judged, strict=True))
        versions = self.versions()
        return [
            decision.conclude(*next(done), self._ease, seconds, versions)
            if p.checkability.checkable
            else decision.refuse(p, seconds, versions)
            for p in prepared
        ]

    def _prepare(self, claim: Claim) -> Prepared:
        text = clean(claim.text)
        if not text:
            raise InvalidInput(f"claim{f' {claim.id}' if claim.id else ''}: the text is empty")
        bound = parse_bound(claim.date) if claim.date is not None else now()
        if bound > now():
            raise InvalidInput(f"claim{f' {claim.id}' if claim.id else ''}: dated {iso(bound)}, which is in the future")
        found = extract(text)
        # By what is written: a wrong `lang` must not send a text to a model that cannot read it.
        lang = language(found.claim)
        claim, later = without_later(claim)
        warnings = [*claim.warnings, *later, *found.warnings]
        if lang == "mixed":
            warnings.append("the text mixes languages; it was read as English")
            lang = "en"
        elif lang == "other":
            warnings.append("the language is not supported (English and Chinese are); only tone and form were weighed")
        return Prepared(claim, found.claim, found.wording, found.others, found.checkability, lang, bound, warnings)

    def _weigh(self, todo: Sequence[Prepared], budget: Budget) -> list[Weighed]:
        meters = [Meter(budget, parent=self.run_meter) for _ in todo]
        with self._writers(len(todo)) as writers:
            opinions = [writers.submit(self._opine, p, m) for p, m in zip(todo, meters, strict=True)]
            chinese = [p.lang == "zh" for p in todo]
            wordings = [p.wording for p in todo]
            vectors, worded = self._encoded(todo)
            found = self._find(todo, vectors, budget)
            stanced = self._stances(todo, found)
            tones = tone(wordings)
            priors = self._content.prior(wordings, worded, tones, chinese)
            leanings = self._content.tone(tones, chinese)
            written = list(writers.map(self._summarise, todo, stanced, meters, opinions))
        return [
            Weighed(
                prepared=p,
                found=f,
                stanced=s,
                evidence_row=numbers(p.text, s),
                prior=float(priors[i]),
                leaning=float(leanings[i]),
                tones=tones[i],
                vector=vectors[i],
                written=written[i],
                writer=self._writer.name if self._writer is not None else None,
                usage=meters[i].usage,
            )
            for i, (p, f, s) in enumerate(zip(todo, found, stanced, strict=True))
        ]

    def _encoded(self, todo: Sequence[Prepared]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors of the claims and of the wordings, [n, d] each."""
        # Chinese is weighed by its characters: no vector of a post is looked at.
        more = [i for i, p in enumerate(todo) if p.wording != p.text and p.lang != "zh"]
        both = self._encoder.encode([*(p.text for p in todo), *(todo[i].wording for i in more)])
        claims = both[: len(todo)]
        if not more:
            return claims, claims
        wordings = claims.copy()
        wordings[more] = both[len(todo) :]
        return claims, wordings

    def _find(self, todo: Sequence[Prepared], vectors: NDArray[np.float32], budget: Budget) -> list[Found]:
        wanted = [Wanted(p.text, p.lang, p.before, p.claim.evidence or (), budget.seconds, p.claim.url) for p in todo]
        return self._gatherer.gather(wanted, vectors if self._stores else None)

    def _stances(self, todo: Sequence[Prepared], found: Sequence[Found]) -> list[list[Stanced]]:
        readable = [f.passages if p.lang == "en" else [] for p, f in zip(todo, found, strict=True)]
        judged = take_stances(self._stance_model, [p.text for p in todo], readable)
        trusted = trusting(self.settings.retrieve.credibility)
        for i, (p, f) in enumerate(zip(todo, found, strict=True)):
            judged[i], told = counted(judged[i], trusted)
            p.warnings.extend([*f.warnings, *told])
            if p.lang != "en" and f.passages:
                p.warnings.append("the stance model reads English only: the passages are listed, and were not weighed")
                judged[i] += [Stanced(e, 0.0, 0.0, 1.0) for e in f.passages]
        return judged

    def _writers(self, n: int) -> ThreadPoolExecutor:
        # Without a model nothing waits on it: one thread costs least.
        most = self.settings.models.concurrency if self._writer is not None else 1
        return ThreadPoolExecutor(min(n, most), thread_name_prefix="write")

    def _opine(self, p: Prepared, meter: Meter) -> Written | None:
        model = self._writer
        if model is None:
            return None
        embedded = self.settings.models.language == "embedded"
        if p.lang != "en" and (embedded or p.lang != "zh"):
            p.warnings.append(f"{model.name} does not know this language; nothing was written")
            return None
        return opine(model, p.text, p.lang, meter, self.settings.verify.prompts)

    def _summarise(
        self, p: Prepared, stanced: Sequence[Stanced], meter: Meter, opinion: Future[Written | None]
    ) -> Written | None:
        done, model = opinion.result(), self._writer
        if done is not None and model is not None and self._sums_up(model):
            passages = [s.evidence for s in sorted(stanced, key=lambda s: s.neutral)]
            summarise(model, done, p.text, p.lang, passages, meter, self.settings.verify.prompts)
        return done

    def _sums_up(self, model: LanguageModel) -> bool:
        # Of the built-in model's summaries 14 in 20 had to be dropped, and the rest said less than an extract does.
        wish = self.settings.verify.summarise
        return wish == "always" or (wish == "auto" and model.name != "smollm2")

    # --- parts, opened when first needed ---------------------------------------------------------------------------

    def _budget(self) -> Budget:
        limits = self.settings.verify
        return Budget(limits.budget_tokens, limits.budget_seconds, limits.budget_usd)

    @functools.cached_property
    def _encoder(self) -> Encoder:
        from weighup.models.open import encoder

        return self._given_encoder if self._given_encoder is not None else encoder(self.settings)

    @functools.cached_property
    def _stance_model(self) -> Stances:
        if self._given_stances is not None:
            return self._given_stances
        return StanceModel.load(self.settings.verify.weights, threads=self.settings.models.threads or None)

    @functools.cached_property
    def _content(self) -> ContentModel:
        return ContentModel.load(self.settings.verify.weights)

    @functools.cached_property
    def _ease(self) -> Ease:
        return Ease.load(self.settings.verify.weights, self.settings.verify.risk)

    @functools.cached_property
    def _evaluator(self) -> Evaluator | None:
        """None: the heads of EASE."""
        limits = self.settings.verify
        if limits.evaluator == "heads":
            return None
        otherwise = HeadsEvaluator(self._ease)
        return LanguageModelEvaluator.load(limits.weights, otherwise=otherwise, threads=self.settings.models.threads)

    @functools.cached_property
    def _language_model(self) -> LanguageModel | None:
        if self._given_model is not _UNSET:
            given: LanguageModel | None = self._given_model
            return given
        from weighup.models.open import language_model

        name = self.settings.models.language
        if self.offline and not self.settings.models.is_local:
            raise InvalidInput(
                f"--offline, but the language model is {name}; use --brief, or models.language = 'embedded'"
            )
        return language_model(self.settings)

    @property
    def _writer(self) -> LanguageModel | None:
        return None if self.brief else self._language_model

    @functools.cached_property
    def _stores(self) -> list[EvidenceStore]:
        if not self.search:
            return []
        if self._given_stores is not None:
            return list(self._given_stores)
        from weighup.retrieve.pack import open_starter_pack

        found: list[EvidenceStore] = []
        path = self.settings.retrieve.store
        if path is not None:
            found.append(EvidenceStore.open(path, encoder=self._encoder))
        if self.settings.retrieve.starter_pack:
            found.append(open_starter_pack(encoder=self._encoder))
        self._opened += found
        return found

    @functools.cached_property
    def _sources(self) -> list[Source]:
        if not self.search or self.offline:
            return []
        if self._given_sources is not None:
            return list(self._given_sources)
        from weighup.retrieve.sources import open_sources
        from weighup.retrieve.web import WebClient

        client = WebClient(self.settings.retrieve)
        self._opened.append(client)
        return list(open_sources(self.settings.retrieve, client))

    @functools.cached_property
    def _gatherer(self) -> Gatherer:
        encoder = self._encoder if self._stores else None
        trusted = self.settings.retrieve.credibility
        return Gatherer(self._stores, self._sources, encoder, self.settings.verify.passages, trusted)
