"""What a run will cost, before it is sent, and what it did cost.

There is no built-in price list, because it would be wrong next month. Tokens are estimated from characters
(4 a token, OpenAI's rule of thumb for English); medical words and other tokenizers give up to a third more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from radvlm.errors import InputError

CHARACTERS_PER_TOKEN = 4.0
#: Expected reply: an empty list and a few objects of about 90 tokens.
EXPECTED_OUTPUT_TOKENS = 500


@dataclass(frozen=True)
class Prices:
    """Price of a million tokens in any currency; None when unknown."""

    input_per_million: float | None = None
    output_per_million: float | None = None

    def __post_init__(self) -> None:
        if any(p is not None and not p >= 0 for p in (self.input_per_million, self.output_per_million)):
            raise InputError("a price is not negative", repr(self))

    def cost(self, input_tokens: float, output_tokens: float) -> float | None:
        """Cost of so many tokens; None unless both prices are known."""
        if self.input_per_million is None or self.output_per_million is None:
            return None
        return (input_tokens * self.input_per_million + output_tokens * self.output_per_million) / 1e6


#: Nothing known about prices.
NO_PRICES = Prices()


@dataclass(frozen=True)
class CostEstimate:
    """Before sending.

    Attributes:
        cases: pairs asked for; requests: distinct questions (pairs x votes, equal pairs once).
        kept: of these, already in the cache and free.
        input_tokens, output_tokens: expected for the others, without repairs and retries.
        output_tokens_at_most: when every reply is as long as allowed.
        cost, cost_at_most: None without prices.
    """

    cases: int
    requests: int
    kept: int
    input_tokens: int
    output_tokens: int
    output_tokens_at_most: int
    cost: float | None
    cost_at_most: float | None

    def text(self) -> str:
        """A few lines for people."""
        lines = [
            f"{self.cases} cases, {self.requests} requests, {self.kept} of them already in the cache",
            f"to send: {self.requests - self.kept} requests, about {self.input_tokens:,} tokens in and "
            f"{self.output_tokens:,} out (at most {self.output_tokens_at_most:,} out)",
        ]
        lines.append(
            "cost: unknown; give --price-input and --price-output for a million tokens"
            if self.cost is None
            else f"cost: about {self.cost:.2f}, at most {self.cost_at_most:.2f}, repairs and retries not counted"
        )
        return "\n".join(lines)


def tokens(text: str) -> int:
    """Estimated tokens of a text."""
    return ceil(len(text) / CHARACTERS_PER_TOKEN)


def estimate(cases: int, requests: int, to_send: Sequence[int], max_tokens: int, prices: Prices) -> CostEstimate:
    """From the estimated input tokens of each request that is not in the cache."""
    n_in, n_out, most = sum(to_send), min(EXPECTED_OUTPUT_TOKENS, max_tokens) * len(to_send), max_tokens * len(to_send)
    return CostEstimate(
        cases, requests, requests - len(to_send), n_in, n_out, most, prices.cost(n_in, n_out), prices.cost(n_in, most)
    )
