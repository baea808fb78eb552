"""What well-known models cost, in US dollars for a million tokens, so that money can be metered.

List prices for standard (not batch, not cached) use. Each is the one on which several public price tables that cite
the vendors' pages agreed in November 2026 (gptme's and GitHub's docs' among them); the vendors' own pages,
openai.com/api/pricing and docs.anthropic.com/en/docs/about-claude/pricing, are what counts and may have moved on.
`models.prices` in weighup.toml overrides any of them and adds others.
"""

from __future__ import annotations

import re

from weighup.settings import ModelSettings, Price

# A name also stands for its dated releases (gpt-4o-mini-2024-07-18), not for other models that begin alike.
_LISTED: dict[str, tuple[float, float]] = {
    "openai:gpt-4o-mini": (0.15, 0.60),
    "openai:gpt-4o": (2.50, 10.00),
    "openai:gpt-4.1": (2.00, 8.00),
    "openai:gpt-4.1-mini": (0.40, 1.60),
    "openai:gpt-4.1-nano": (0.10, 0.40),
    "openai:gpt-5": (1.25, 10.00),
    "openai:gpt-5-mini": (0.25, 2.00),
    "openai:gpt-5-nano": (0.05, 0.40),
    "openai:gpt-5.2": (1.75, 14.00),
    "anthropic:claude-3-5-haiku": (0.80, 4.00),
    "anthropic:claude-haiku-4-5": (1.00, 5.00),
    "anthropic:claude-sonnet-4": (3.00, 15.00),
    "anthropic:claude-sonnet-4-5": (3.00, 15.00),
    "anthropic:claude-sonnet-4-6": (3.00, 15.00),
    "anthropic:claude-opus-4-1": (15.00, 75.00),
    "anthropic:claude-opus-4-5": (5.00, 25.00),
}
_DATED = re.compile(r"-(?:latest|\d{8}|\d{4}-\d{2}-\d{2})$")


def price_of(name: str, settings: ModelSettings) -> Price | None:
    """The price of a model, by its full name (`openai:gpt-4o-mini`) or the part after the colon; None if unknown."""
    plain = name.partition(":")[2]
    for wanted in (name, plain):
        if wanted in settings.prices:
            return settings.prices[wanted]
    listed = _LISTED.get(name) or _LISTED.get(_DATED.sub("", name))
    return Price(input=listed[0], output=listed[1]) if listed else None
