"""The writing half of ``tiny``: evidence tokens in front of a decoder.

A class of the evidence table is a token, so the decoder reads "what, how sure, how large, how dense, where" and never a
patch of pixels. The finding logits of the reader are one more column, so that prose and probabilities have one origin.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from radvlm.model.decoder.causal_lm import Decoder, TextBatch
from radvlm.model.decoder.fusion import EvidenceConfig, EvidenceTokens
from radvlm.model.tiny.encoder import EvidenceReader


class ReportWriter(nn.Module):
    """Evidence tables (B, classes, columns) and prompts to text."""

    def __init__(self, decoder: Decoder, config: EvidenceConfig) -> None:
        super().__init__()
        self.tokens = EvidenceTokens(config)
        self.decoder = decoder

    def prefix(self, table: Tensor, logits: Tensor) -> Tensor:
        """Evidence (B, classes, columns) and finding logits (B, F) -> prefix (B, classes, width)."""
        return self.tokens(with_logits(table, logits)).to(self.decoder.dtype)

    def forward(self, table: Tensor | None, logits: Tensor | None, batch: TextBatch) -> Tensor:
        prefix = None if table is None or logits is None else self.prefix(table, logits)
        return self.decoder.loss(prefix, batch)


def with_logits(table: Tensor, logits: Tensor) -> Tensor:
    """The table with one more column: the reader's logit of a finding, 0 in the rows of anatomy."""
    column = torch.cat([logits.new_zeros(len(logits), table.shape[1] - logits.shape[1]), logits], dim=1)
    return torch.cat([table, column[:, :, None]], dim=2)


@torch.no_grad()
def logits_of(reader: EvidenceReader, tables: Tensor) -> Tensor:
    """Finding logits (N, F) of kept tables."""
    reader.eval()
    return reader(tables)[0]
