"""DeepArchitect: describe a space of architectures in a few words, search it, get a torch module back.

Paper: DeepArchitect: Automatically Designing and Training Deep Architectures (Negrinho and Gordon 2017, arXiv
1704.08792). Faithful: the composable modules and their tree-structured space (`search.space`), compilation once all is
decided (`search.build`), the searchers random, MCTS, MCTS with bisection and SMBO with n-gram features and a ridge
regression (`search.searchers`; the form of UCT and the random candidates of SMBO follow the released code). Ours: torch
in place of TensorFlow, the layer kinds (mixtures of experts among them), n-grams of kind *and* values in place of kinds
only, SMBO refits each time, proposes nothing twice and has a smaller ridge, and UCT a smaller constant, for accuracies
of a few dozen evaluations.

    space = mixtures()
    history = search(space, evaluate, MCTSSearcher(space, seed=0, bisect=True), evaluations=64)
    model = build(specified(space, history.best[0]), width=64, classes=10, seed=0)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from weighup.errors import InvalidInput, JobFailed
from weighup.moe.search.searchers import History, MCTSSearcher, RandomSearcher, Searcher, SMBOSearcher
from weighup.moe.search.space import (
    Architecture,
    Choice,
    Hyperparameter,
    Module,
    Optional,
    Repeat,
    Residual,
    Sequence,
    layer,
    settings,
    specified,
)
from weighup.registry import Method

METHOD = Method(
    name="deep_architect",
    room="moe",
    paper="DeepArchitect: Automatically Designing and Training Deep Architectures (Negrinho and Gordon 2017)",
    arxiv="1704.08792",
    command="weighup claims --room moe",
    claim_check="weighup.moe.search.deep_architect_claim:check",
)

Kind = Literal["random", "mcts", "mcts_bisection", "smbo"]


def searcher(kind: Kind, space: Module, *, seed: int) -> Searcher:
    """A searcher by name, with its usual settings. Raises InvalidInput for another name."""
    if kind == "random":
        return RandomSearcher(space, seed=seed)
    if kind in ("mcts", "mcts_bisection"):
        return MCTSSearcher(space, seed=seed, bisect=kind == "mcts_bisection")
    if kind == "smbo":
        return SMBOSearcher(space, seed=seed)
    raise InvalidInput(f"search: one of {', '.join(get_args(Kind))}, not {kind!r}")


def search(space: Module, evaluate: Callable[[Architecture], float], by: Searcher, *, evaluations: int = 64) -> History:
    """Let a searcher propose, evaluate and tell it, `evaluations` times. `evaluate`: higher is better.

    Raises InvalidInput for fewer than one evaluation, JobFailed naming the architecture for a score that is no number.
    """
    if evaluations < 1:
        raise InvalidInput(f"search: one evaluation or more is needed, not {evaluations}")
    tried, scores = [], []
    for _ in range(evaluations):
        path = by.propose()
        architecture = specified(space, path)
        score = float(evaluate(architecture))
        if not math.isfinite(score):
            raise JobFailed(f"search: the score of {architecture} is {score}; give a low number to what fails")
        by.tell(path, score)
        tried.append(path)
        scores.append(score)
    return History(tuple(tried), tuple(scores), tuple(np.maximum.accumulate(scores).tolist()))


def mixtures() -> Sequence:
    """A space of small networks with and without mixtures of experts, and their learning rate.

    A rate; a dense layer; zero to two blocks, each of them dense or a mixture (experts, k, width), residual or not,
    normalised or not.
    """
    width = Hyperparameter((4, 8, 16, 32, 64))
    mixture = layer(
        "moe", n_experts=Hyperparameter((4, 8)), k=Hyperparameter((1, 2, 4)), hidden=Hyperparameter((4, 8, 16, 32))
    )
    dense = layer("dense", units=width, activation=Hyperparameter(("relu", "gelu"), ordered=False))
    inner = Choice((dense, mixture), name="block")
    block = Sequence((Optional(layer("norm"), name="norm"), Choice((inner, Residual(inner)), name="residual")))
    rates = tuple(float(f"{10 ** (-4 + n * 0.5):.2g}") for n in range(8))
    return Sequence(
        (settings(rate=Hyperparameter(rates)), layer("dense", units=width, activation="relu"), Repeat(block, (0, 1, 2)))
    )
