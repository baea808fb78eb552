"""Experts that read: what the claim says against what a perspective says of it, run without torch.

The experts of EASE (arXiv 2510.11277) as networks (`weighup/train/ease/neural_net.py`), an alternative to the heads of
`ease.py` that see numbers only. Each takes the states that the frozen trunk, the encoder's own file, gives of the
content (at most 64 tokens) and of the knowledge (at most 197), and says how likely the claim is fake. The knowledge is
the perspective's telling with the evaluator's assessment before it, where cutting never reaches. English only, as the
trunk is. How they are trained: `weights/neural_experts.py`; the card: `neural.json`.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import ModelUnavailable
from weighup.files import sha256
from weighup.models.onnx import OnnxModel
from weighup.models.types import Encoder, TokenStates
from weighup.verify import weights
from weighup.verify.types import KINDS, Kind

Array = NDArray[np.float32]
CARD = "neural.json"
FORMAT = 1
CONTENT_TOKENS, KNOWLEDGE_TOKENS = 64, 197
DIMENSION = 384
BATCH = 32
_WINDOW = 8  # batches whose texts are encoded together: less padding, some 100 MB
_SURE = ((0.35, "probably wrong"), (0.5, "perhaps wrong"), (0.65, "perhaps right"), (0.8, "probably right"))

logger = logging.getLogger(__name__)


def file_of(kind: Kind) -> str:
    """The name of an expert's file."""
    return f"expert-{kind}.onnx"


def knowledge_text(
    telling: str, opinion: Array | Sequence[float], reliability: float, available: bool, *, justified: bool = True
) -> str:
    """What an expert reads of a perspective: its verdict and how far the evaluator trusts it, then what it tells.

    `opinion`: P(real, fake, unknown) by the perspective itself; `reliability`: P(that is right). Numbers are rounded to
    tenths: the text is read by a small model, and equal texts are computed once. The telling alone where the
    perspective could not be had, or if not `justified` (an ablation).
    """
    if not available or not justified:
        return telling
    leading = int(np.argmax(opinion))
    verdict = ("real", "fake", "unknown")[leading]
    sure = next((word for least, word in _SURE if reliability < least), "most probably right")
    return f"Its own verdict: {verdict} ({opinion[leading]:.1f}), {sure} ({reliability:.1f}). {telling}"


class NeuralExperts:
    """The trained networks. Safe across threads and forks: sessions belong to the process and open at first use.

    `temperature` divides the logits, by kind; `justified`: whether they learned from knowledge with assessments;
    `trunk`: name and version of the encoder whose states they learned from.
    """

    def __init__(
        self,
        networks: Mapping[Kind, OnnxModel],
        temperature: Mapping[Kind, float],
        version: str,
        *,
        justified: bool = True,
        trunk: tuple[str, str] | None = None,
    ) -> None:
        self._networks = dict(networks)
        self.temperature = dict(temperature)
        self.version = version
        self.justified = justified
        self.trunk = trunk

    @classmethod
    def load(cls, folder: Path | None = None, *, threads: int | None = None) -> NeuralExperts:
        """Reads `neural.json` and the three files it names from `folder`, else those shipped; ask `has` if there are
        any. `threads`: cores one call may use (None: all). Raises WeightsError."""
        home = _home(folder)
        card = _card(home)
        networks = {kind: OnnxModel(home / file_of(kind), threads=threads or 0) for kind in KINDS}
        if home != weights.SHIPPED:
            for network in networks.values():
                _try_out(network)
        trunk = card["trunk"]
        return cls(
            networks,
            {kind: float(card["temperature"][kind]) for kind in KINDS},
            card["version"],
            justified=card["justified"],
            trunk=(trunk["name"], trunk["version"]),
        )

    def logits(self, kind: Kind, content: TokenStates, knowledge: TokenStates) -> Array:
        """Log-odds of fake [n], before the temperature, from the states of n contents and n knowledge texts, cut at 64
        and 197 tokens. Those of about equal length are run together. Raises ValueError for other numbers of rows."""
        if len(content.states) != len(knowledge.states):
            raise ValueError(f"{len(content.states)} contents and {len(knowledge.states)} knowledge texts")
        out = np.zeros(len(content.states), np.float32)
        order = np.lexsort((content.mask.sum(1), knowledge.mask.sum(1)))
        for start in range(0, len(order), BATCH):
            at = order[start : start + BATCH]
            here, told = _cut(content, at, CONTENT_TOKENS), _cut(knowledge, at, KNOWLEDGE_TOKENS)
            out[at] = _run(self._networks[kind], here, told)[0]
        return out

    def probability(self, kind: Kind, texts: Sequence[str], knowledge: Sequence[str], encoder: Encoder) -> Array:
        """P(fake) [n] of n claims, given what the perspective of that kind tells of each (`knowledge_text`).

        Memory does not grow with n. Raises WeightsError for an encoder of another width.
        """
        if len(texts) != len(knowledge):
            raise ValueError(f"{len(texts)} claims and {len(knowledge)} knowledge texts")
        self._compare(encoder)
        out = np.zeros(len(texts), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(knowledge[i]))
        for start in range(0, len(order), BATCH * _WINDOW):
            at = order[start : start + BATCH * _WINDOW]
            here = encoder.tokens([texts[i] for i in at], max_tokens=CONTENT_TOKENS)
            told = encoder.tokens([knowledge[i] for i in at], max_tokens=KNOWLEDGE_TOKENS)
            out[at] = fake_of(self.logits(kind, here, told), self.temperature[kind])
        return out

    def _compare(self, encoder: Encoder) -> None:
        if encoder.dimension != DIMENSION:
            raise weights.unusable(
                self._networks[KINDS[0]].path.with_name(CARD),
                f"is of experts on top of a trunk of width {DIMENSION}, and the encoder {encoder.name} has "
                f"{encoder.dimension}; use the encoder {self.trunk[0] if self.trunk else 'minilm'}",
            )
        if self.trunk is not None and self.trunk != (encoder.name, encoder.version):
            _warn(self.trunk, (encoder.name, encoder.version))


def has(folder: Path | None = None) -> bool:
    """Whether any file of neural experts is in `folder`, or among the shipped ones. Raises nothing."""
    return any(os.path.lexists(_home(folder) / name) for name in (CARD, *map(file_of, KINDS)))


def fake_of(logits: Array, temperature: float = 1.0) -> Array:
    """Log-odds -> P(fake)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits / temperature, -30, 30))), np.float32)


def _home(folder: Path | None) -> Path:
    """`folder`, absolute, if it holds any of the files, else the shipped ones."""
    if folder is None:
        return weights.SHIPPED
    home = folder.absolute()
    held = any(os.path.lexists(home / name) for name in (CARD, *map(file_of, KINDS)))
    return home if held else weights.SHIPPED


def _card(home: Path) -> dict[str, Any]:
    """The card, after checking what of it is used, and that the files are those it names. Raises WeightsError."""
    path = home / CARD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise weights.unusable(path, f"cannot be read ({error.strerror or error}), expected a card") from error
    except (ValueError, RecursionError) as error:
        raise weights.unusable(path, f"is not JSON ({error}), expected a card") from error
    if not isinstance(found, dict):
        raise weights.unusable(path, "is not a JSON object, expected a card")
    layout = found.get("format")
    if type(layout) is not int or layout != FORMAT:
        newer = " (a newer weighup made it: upgrade)" if type(layout) is int and layout > FORMAT else ""
        raise weights.unusable(path, f"has format {repr(layout)[:40]}, expected {FORMAT}{newer}")
    if not isinstance(found.get("version"), str) or not found["version"].strip():
        raise weights.unusable(path, "has no `version`, expected a text")
    if not isinstance(found.get("justified"), bool):
        raise weights.unusable(path, "has no `justified`, expected true or false")
    trunk = found.get("trunk")
    if not isinstance(trunk, dict) or not all(isinstance(trunk.get(name), str) for name in ("name", "version")):
        raise weights.unusable(path, "has no `trunk`, expected the encoder's name and version")
    for kind in KINDS:
        divisor = found["temperature"].get(kind) if isinstance(found.get("temperature"), dict) else None
        if isinstance(divisor, bool) or not isinstance(divisor, int | float) or not 0 < divisor < 1e6:
            raise weights.unusable(path, f"temperature.{kind} is {str(divisor)[:40]}, expected a number above 0")
        _check_file(home / file_of(kind), found.get("sha256"), path)
    return found


def _check_file(file: Path, named: Any, card: Path) -> None:
    digest = named.get(file.name) if isinstance(named, dict) else None
    if not isinstance(digest, str):
        raise weights.unusable(card, f"names no sha256 of {file.name}, expected one")
    if not file.is_file():
        raise weights.unusable(file, f"is missing, expected because {card.name} names it")
    if file.parent == weights.SHIPPED:
        return
    try:
        have = sha256(file)
    except OSError as error:
        raise weights.unusable(file, f"cannot be read ({error.strerror or error}), expected a file") from error
    if have != digest.lower():
        raise weights.unusable(file, f"has sha256 {have[:12]}…, expected {digest[:12]}… as {card.name} says")


def _try_out(network: OnnxModel) -> None:
    """Run one item of two tokens. Raises WeightsError if the graph does not take or give what it should."""
    one = TokenStates(np.zeros((1, 2, DIMENSION), np.float32), np.ones((1, 2), np.bool_))
    try:
        given = _run(network, one, one)
    except ModelUnavailable as error:
        raise weights.unusable(network.path, f"cannot be run ({error}), expected an expert") from error
    shapes = [list(np.shape(array)) for array in given]
    if shapes != [[1], [1, 3]] or not all(np.isfinite(array).all() for array in given):
        raise weights.unusable(network.path, f"gives {shapes} for one claim, expected finite [1] and [1, 3]")


def _run(network: OnnxModel, content: TokenStates, knowledge: TokenStates) -> list[Array]:
    """Logit of fake [n] and logits of the knowledge's verdict [n, 3]."""
    feeds: dict[str, NDArray[Any]] = {
        "content": content.states,
        "content_mask": content.mask,
        "knowledge": knowledge.states,
        "knowledge_mask": knowledge.mask,
    }
    return network.run(feeds)


def _cut(states: TokenStates, at: NDArray[np.int64], limit: int) -> TokenStates:
    """Some rows, no wider than the longest of them or the limit."""
    mask = states.mask[at]
    width = max(1, min(limit, int(mask.sum(1).max(initial=1))))
    return TokenStates(states.states[at, :width], mask[:, :width])


@functools.cache
def _warn(learned: tuple[str, str], used: tuple[str, str]) -> None:
    """Once for each two."""
    logger.warning(
        "the neural experts learned from states of the encoder %s (%s), and read those of %s (%s); their probabilities "
        "may be off: train them again on these",
        *learned,
        *used,
    )
