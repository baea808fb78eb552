"""Would evaluators be better if they read the texts? A measurement: heads on numbers alone, with the verdicts of the
other perspectives, with the claim's embedding, and with embeddings of news and perspective by the frozen MiniLM.

Embeddings u (news) and v (perspective) come as u, v, |u - v| and u · v by element (InferSent, Conneau et al. 2017,
arXiv 1705.02364, section 3.1), each reduced to 32 numbers by principal components that are fitted inside each fold, so
that nothing of a held-out claim is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.models.types import Encoder
from weighup.train.ease.fit import Evaluators, evaluator_scores, there
from weighup.train.ease.heads import FOLD_MEMBERS, FOLDS, Sample, Shape, fit_head, log_loss
from weighup.train.ease.table import Table
from weighup.verify.ease import evaluator_rows
from weighup.verify.types import KINDS, Kind

Array = NDArray[np.float32]
COMPONENTS = 32
SHAPES = (Shape(0, 0.003), Shape(0, 0.03), Shape(8, 0.3))
VARIANTS = ("heads without agreement", "heads", "heads + claim embedding", "heads + text embeddings")


def compare(
    table: Table,
    evaluators: Evaluators,
    encoder: Encoder,
    shapes: Sequence[Shape] = SHAPES,
    *,
    advance: Advance | None = None,
) -> dict[str, Any]:
    """By variant and kind: AUROC, Brier score and expected calibration error of P(reliable) out of fold, in all, by set
    and by q, and the shape of head that had the least log-loss."""
    report: dict[str, Any] = {variant: {} for variant in VARIANTS}
    for kind in KINDS:
        on = there(table, kind)
        part = table.taken(on)
        opinion = {k: evaluators.opinion[k][on] for k in KINDS}
        right = (opinion[kind].argmax(1) == part.label).astype(np.int64)
        numbers = evaluator_rows(kind, part.knowledge[kind], opinion)
        own = numbers[:, : part.knowledge[kind].shape[1] + 4]  # without the others' verdicts
        wide: dict[str, tuple[Array, Mapping[str, Array]]] = {
            VARIANTS[0]: (own, {}),
            VARIANTS[1]: (numbers, {}),
            VARIANTS[2]: (numbers, {"claim": part.vector}),
            VARIANTS[3]: (numbers, text_features(part, kind, encoder)),
        }
        for variant, (rows, blocks) in wide.items():
            found = {shape: folded(rows, blocks, right, part.group, shape) for shape in shapes}
            best = min(found, key=lambda shape: log_loss(found[shape], right))
            scores = evaluator_scores(right, found[best][:, 1], part)
            report[variant][kind] = {"shape": str(best), **scores}
            if advance is not None:
                advance(1, note=f"{kind}, {variant}")
    return report


def text_features(table: Table, kind: Kind, encoder: Encoder) -> dict[str, Array]:
    """u, v, |u - v| and u · v of each row [n, dimension]. Each text is embedded once."""
    texts = [table.texts[i] for i in table.claim]
    tellings = [table.tellings[i] for i in table.told[kind]]
    u, v = encoder.encode(texts), encoder.encode(tellings)
    return {"news": u, "telling": v, "apart": np.abs(u - v), "together": u * v}


def folded(
    rows: Array, blocks: Mapping[str, Array], right: NDArray[np.int64], group: NDArray[np.str_], shape: Shape
) -> Array:
    """Probabilities [n, 2], each row's by a head, and by components of the blocks, that were fitted without its
    group."""
    from sklearn.model_selection import GroupKFold

    p = np.zeros((len(right), 2), np.float32)
    for train, held in GroupKFold(FOLDS).split(rows, right, group):
        x, seen = _reduced(rows, blocks, train, held)
        sample = Sample(x, right[train], np.ones(len(train)), group[train])
        p[held] = fit_head(sample, 2, shape, FOLD_MEMBERS)(seen)
    return p


def _reduced(
    rows: Array, blocks: Mapping[str, Array], train: NDArray[np.int64], held: NDArray[np.int64]
) -> tuple[Array, Array]:
    """Rows to learn from and rows held out, with the components of each block beside them."""
    from sklearn.decomposition import PCA

    first, second = [rows[train]], [rows[held]]
    for block in blocks.values():
        count = min(COMPONENTS, block.shape[1], len(train))
        components = PCA(count, svd_solver="randomized", random_state=0).fit(block[train])
        first.append(components.transform(block[train]).astype(np.float32))
        second.append(components.transform(block[held]).astype(np.float32))
    return np.concatenate(first, axis=1), np.concatenate(second, axis=1)
