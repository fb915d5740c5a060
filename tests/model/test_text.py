"""The hashed text encoder."""

from __future__ import annotations

import pytest
import torch

from radvlm.errors import InputError
from radvlm.model.hashed_text import HashedTextConfig, HashedTextEncoder, _pieces


@pytest.fixture(scope="module")
def text() -> HashedTextEncoder:
    torch.manual_seed(0)
    return HashedTextEncoder(HashedTextConfig(embedding=24, width=16, layers=1, heads=2, buckets=512, words=6)).eval()


@torch.no_grad()
def _vectors(text: HashedTextEncoder, *texts: str) -> torch.Tensor:
    return text.encode(texts)


def test_unit_vectors_whatever_the_batch(text: HashedTextEncoder) -> None:
    some = ["a cyst", "A large cyst in the liver, 12 mm", "Ödem?", "7"]
    together = _vectors(text, *some)
    assert together.shape == (4, 24) and torch.allclose(together.norm(dim=1), torch.ones(4), atol=1e-5)
    alone = torch.cat([_vectors(text, t) for t in some])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.equal(_vectors(text, "A Cyst"), _vectors(text, "a cyst"))


def test_a_word_that_nobody_saw_has_a_vector_and_is_near_its_kin(text: HashedTextEncoder) -> None:
    a, b, c = _vectors(text, "hepatosplenic", "hepatosplenism", "qwxyzv")
    assert a @ b > a @ c and not torch.allclose(a, b)
    assert set(_pieces("hepatosplenic", 512, 12)) & set(_pieces("hepatosplenism", 512, 12))


def test_order_and_digits_matter(text: HashedTextEncoder) -> None:
    pairs = (("no cyst left", "cyst left no"), ("12 mm", "21 mm"), ("12 mm", "13 mm"), ("a cyst", "a cyst."))
    for one, other in pairs:
        a, b = _vectors(text, one, other)
        assert (a - b).abs().max() > 1e-3, (one, other)


def test_long_texts_are_cut(text: HashedTextEncoder) -> None:
    a, b, c = _vectors(text, "one two a b c d", "one two a b c d and then much more", "one two a b c")
    assert torch.allclose(a, b, atol=1e-6) and not torch.allclose(a, c, atol=1e-3)
    assert text.tokenize(["word " * 50]).shape == (1, 6, 12)


def test_pieces() -> None:
    pieces = _pieces("cyst", 64, 12)
    assert len(pieces) == 12 and all(0 <= p <= 64 for p in pieces)
    groups = {g for n in (3, 4, 5) for g in ("<cyst>"[i : i + n] for i in range(7 - n))}
    assert sum(p > 0 for p in pieces) == 1 + len(groups) == 10
    assert sum(p > 0 for p in _pieces("of", 64, 12)) == 1, "a short word has no letter groups"
    assert all(_pieces("extraordinarily", 64, 12)), "and a long one is cut at twelve"


@pytest.mark.parametrize("texts", [[], [""], ["a", "  \n"], "a text that is no list"])
def test_nothing_to_embed_is_refused(text: HashedTextEncoder, texts: list[str]) -> None:
    with pytest.raises(InputError):
        text.encode(texts)
