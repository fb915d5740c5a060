"""Merlin's text side against transformers' Longformer and, where it is installed, the published package itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LongformerConfig, LongformerModel, RobertaTokenizer

from radvlm.errors import FileFormatError, InputError
from radvlm.model.merlin.layout import HEAD_OF_LAYOUT, expected_keys
from radvlm.model.merlin.random_files import SMALL_SHAPE, random_state, write_text_tokenizer
from radvlm.model.merlin.text import (
    LocalTransformer,
    MerlinTextEncoder,
    MerlinTextModel,
    TextShape,
    attention_mask,
    load_text_tokenizer,
    prepare_text,
)

KEYS = Path(__file__).resolve().parents[3] / "shared" / "reference"
SHAPE = SMALL_SHAPE.text
PREFIX = "encode_text."


def encoder() -> MerlinTextEncoder:
    model = MerlinTextEncoder(SHAPE).eval()
    state = random_state("default")
    model.load_state_dict({k.removeprefix(PREFIX): v for k, v in state.items() if k.startswith(PREFIX)})
    return model


def longformer(model: MerlinTextEncoder) -> LongformerModel:
    config = LongformerConfig(
        vocab_size=SHAPE.vocabulary,
        hidden_size=SHAPE.hidden,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        intermediate_size=SHAPE.feed_forward,
        attention_window=[512] * SHAPE.layers,
        max_position_embeddings=SHAPE.positions,
        layer_norm_eps=1e-5,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    reference = LongformerModel(config).eval()
    reference.load_state_dict(model.text_encoder.state_dict())  # strict: the keys are the same
    return reference


@pytest.fixture(scope="module")
def pair() -> tuple[MerlinTextEncoder, LongformerModel]:
    model = encoder()
    return model, longformer(model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_tokenizer(tmp_path_factory.mktemp("text"), SHAPE.vocabulary)


@pytest.fixture(scope="module")
def text_model(folder: Path) -> MerlinTextModel:
    return MerlinTextModel(encoder(), load_text_tokenizer(folder, SHAPE))


def batch(*lengths: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(lengths))
    ids = torch.ones(len(lengths), max(lengths), dtype=torch.long)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(3, SHAPE.vocabulary, (length,), generator=generator)
        row[0] = 0
    return ids


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [(1,), (7,), (257,), (258,), (700,), (1024,), (5, 9), (3, 257, 258), (300, 900)])
def test_equals_the_chunked_longformer(
    pair: tuple[MerlinTextEncoder, LongformerModel], lengths: tuple[int, ...]
) -> None:
    own, reference = pair
    ids = batch(*lengths)
    with torch.inference_mode():
        expected = reference(ids, attention_mask=(ids != 1).long()).last_hidden_state[:, 0]
        found = own.text_encoder(ids)
    assert expected.abs().max() > 0.5
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.slow
def test_the_band_matters(pair: tuple[MerlinTextEncoder, LongformerModel]) -> None:
    """Without it the answer is another one, so the test above can fail."""
    own, _ = pair
    wide = LocalTransformer(TextShape(**{**SHAPE.__dict__, "reach": 2000})).eval()
    wide.load_state_dict(own.text_encoder.state_dict())
    with torch.inference_mode():
        assert (wide(batch(700)) - own.text_encoder(batch(700))).abs().max() > 1e-3
        assert torch.allclose(wide(batch(257)), own.text_encoder(batch(257)), atol=1e-6)


def test_mask_by_hand() -> None:
    ids = torch.tensor([[0, 5, 6, 7, 2], [0, 5, 2, 1, 1]])
    assert attention_mask(ids[:1], 4) is None
    padded = attention_mask(ids, 4)
    assert padded is not None
    assert padded[1, 0, 0].tolist() == [True, True, True, False, False]
    band = attention_mask(ids, 1)
    assert band is not None
    assert band[0, 0].int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1],
    ]
    assert band[1, 0].any(-1).all(), "no row is empty, or its softmax is NaN"


def test_published_keys_and_shapes() -> None:
    if not KEYS.is_dir():
        pytest.skip("key lists are not beside this checkout")
    published = json.loads((KEYS / "merlin-text-encoder-keys.json").read_text())
    with torch.device("meta"):
        own = MerlinTextEncoder()
    expected = {f"text_encoder.{key}": tuple(size) for key, size in published.items()}
    expected |= {"linear_layer.weight": (512, 768), "linear_layer.bias": (512,)}
    assert {key: tuple(value.shape) for key, value in own.state_dict().items()} == expected


def test_key_lists_of_all_three_layouts() -> None:
    if not KEYS.is_dir():
        pytest.skip("key lists are not beside this checkout")
    image = [
        {key: tuple(size) for key, size in keys.items()}
        for keys in json.loads((KEYS / "merlin-image-encoder-state-dict.json").read_text()).values()
    ]
    words = json.loads((KEYS / "merlin-report-llm-keys.json").read_text())
    default = expected_keys("default")
    assert {k: v for k, v in default.items() if k.startswith("encode_image.")} == {
        f"encode_image.{key}": size for key, size in image[0].items()
    }
    assert len(default) == 934 + 271 + 2 + 1
    assert expected_keys("five_year") == image[1]
    report = {f"encode_image.{key}": size for key, size in image[2].items()}
    report |= {"adapter.linear2.weight": (4096, 2048), "adapter.linear2.bias": (4096,)}
    report |= {f"decode_text.text_decoder.{key}": tuple(size) for key, size in words.items()}
    assert expected_keys("report") == report
    assert set(HEAD_OF_LAYOUT) == {"default", "five_year", "report"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No focal lesion.", "no focal lesion ."),
        ("1.2 x 3-cm  (segment VI)\n", "1 . 2 x 3 - cm ( segment vi )"),
        ("T2-weighted; don't", "t2 - weighted ; don ' t"),
        ("a...b", "a ... b"),
        ("Übergröße_1", "übergröße_1"),
    ],
)
def test_text_preparation_by_hand(text: str, expected: str) -> None:
    assert prepare_text(text) == expected


@settings(max_examples=100)
@given(
    st.text(
        st.characters(categories=("L", "Nd", "P", "Sm", "Sc", "Zs"), include_characters="\n\t", exclude_characters="İ"),
        max_size=60,
    )
)
def test_text_preparation_is_wordpunct(text: str) -> None:
    """Without superscripts, combining marks and control characters, on which versions of NLTK differ."""
    tokenize = pytest.importorskip("nltk.tokenize").wordpunct_tokenize
    expected = " ".join(tokenize(text.lower()))
    if expected:
        assert prepare_text(text) == expected
    else:
        with pytest.raises(InputError, match="at least one word"):
            prepare_text(text)


def test_tokens_are_those_of_transformers(text_model: MerlinTextModel, folder: Path) -> None:
    reference = RobertaTokenizer.from_pretrained(folder, local_files_only=True)
    texts = ["The liver is normal.", "Zyxgallstones 12.5 mm µ – <mask> <s>", "a", "pleural effusion " * 700]
    expected = reference([prepare_text(t) for t in texts], truncation=True, max_length=1024)["input_ids"]
    found = text_model.token_ids(texts)
    assert found == expected
    assert len(found[3]) == 1024
    assert (found[3][0], found[3][-1]) == (0, 2)


@pytest.mark.slow
def test_texts_of_any_length_give_the_reference_vectors(text_model: MerlinTextModel) -> None:
    texts = ["Ascites.", "the liver is normal . " * 300, "No ascites.", "pleural effusion " * 60, "gallstones " * 40]
    lengths = [len(ids) for ids in text_model.token_ids(texts)]
    assert max(lengths) == 1024
    assert min(lengths) < 20
    found = text_model.embed(texts)
    reference = longformer(text_model.encoder)
    for text, vector in zip(texts, found, strict=True):
        ids = torch.tensor([text_model.token_ids([text])[0]])
        with torch.inference_mode():
            hidden = reference(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[:, 0]
            expected = torch.nn.functional.normalize(text_model.encoder.linear_layer(hidden), dim=-1)[0].numpy()
        assert np.abs(vector - expected).max() < 1e-4
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert text_model.embed([]).shape == (0, SHAPE.embedding)


@pytest.mark.slow
def test_a_text_does_not_depend_on_its_neighbors(text_model: MerlinTextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["Ascites.", "the spleen is enlarged", "no focal lesion . " * 100, "b", "pleural effusion " * 30]
    alone = np.concatenate([text_model.embed([text]) for text in texts])
    assert np.abs(text_model.embed(texts) - alone).max() < 1e-5
    monkeypatch.setattr("radvlm.model.merlin.text._TOKENS_A_BATCH", 30)
    assert np.abs(text_model.embed(texts) - alone).max() < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
def test_published_package_gives_the_same_text_features(
    text_model: MerlinTextModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``TextEncoder`` of merlin-vlm, its downloads replaced by the same weights and tokenizer."""
    for name in ("merlin", "nltk"):
        pytest.importorskip(name)
    build = sys.modules.get("merlin.models.build") or pytest.importorskip("merlin.models.build")
    reference = longformer(text_model.encoder)

    class Local:
        def __init__(self, value: object) -> None:
            self.value = value

        def from_pretrained(self, name: str) -> object:
            return self.value

    monkeypatch.setattr(build, "AutoTokenizer", Local(RobertaTokenizer.from_pretrained(folder, local_files_only=True)))
    monkeypatch.setattr(build, "AutoModel", Local(reference))
    monkeypatch.setattr(build.nn, "Linear", lambda *_: text_model.encoder.linear_layer)
    published = build.TextEncoder().eval()
    texts = ["Liver: No focal lesion.", "the liver is normal . " * 100, "Spleen 12.5 cm; (normal)", "effusion " * 400]
    with torch.inference_mode():
        expected = published(texts)
    assert (text_model.project(texts) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("texts", ["one string", ["fine", ""], ["fine", " \n"], [7]])
def test_bad_texts_are_refused(text_model: MerlinTextModel, texts: object) -> None:
    with pytest.raises(InputError):
        text_model.embed(texts)  # type: ignore[arg-type]


def test_tokenizer_json_is_read_too(folder: Path, tmp_path: Path, text_model: MerlinTextModel) -> None:
    text_model.tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = MerlinTextModel(text_model.encoder, load_text_tokenizer(tmp_path, SHAPE))
    assert again.token_ids(["No gallstones, 3 cm"]) == text_model.token_ids(["No gallstones, 3 cm"])


def test_tokenizer_mismatches_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="holds a RoBERTa tokenizer"):
        load_text_tokenizer(tmp_path, SHAPE)
    with pytest.raises(FileFormatError, match=r"320 tokens in .* 50265 rows"):
        load_text_tokenizer(folder)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    vocabulary["<s>"], vocabulary["</s>"] = vocabulary["</s>"], vocabulary["<s>"]
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text((folder / "merges.txt").read_text())
    with pytest.raises(FileFormatError, match=r'ids .*"<s>": 2'):
        load_text_tokenizer(tmp_path, SHAPE)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nxq zz\n")
    with pytest.raises(FileFormatError, match="readable"):
        load_text_tokenizer(tmp_path, SHAPE)
    names = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{n}" for n in range(4, 320))]
    (tmp_path / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(FileFormatError, match="256 byte tokens are missing"):
        load_text_tokenizer(tmp_path, SHAPE)
