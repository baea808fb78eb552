"""Which answer is better, and may we trust the judge?

Types in `types`, judges in `llm`, `recorded`, `human`, `simulated`, `by_metric`, `panel`; asking in both orders and
combining in `orders`; exams and weights in `exam`; knowing when to ask people in `selective`. One published method a
file beside them.
"""

from weighup.judge.types import Criterion, Item, Judge, Judgement, Response, Rubric

__all__ = ["Criterion", "Item", "Judge", "Judgement", "Response", "Rubric"]
