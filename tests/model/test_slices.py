"""The slice encoder on small models in open_clip's format, built from local folders without any network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from radvlm.errors import FileFormatError, InputError
from radvlm.model.adapters.slices import SliceEncoder, SlicePooling, load_slice_encoder
from radvlm.model.inputs import InputSpec

SPEC = InputSpec((8.0, 8.0, 20.0), (48, 40, 6))
PREPROCESS = {"mean": [0.48, 0.45, 0.40], "std": [0.26, 0.26, 0.27]}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenAI's layout: a vision transformer and a text transformer of open_clip's own."""
    folder = tmp_path_factory.mktemp("clip")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESS}))
    return folder


@pytest.fixture(scope="module")
def biomedical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BiomedCLIP's layout: a timm vision transformer and a BERT whose files lie beside the weights."""
    from transformers import BertConfig

    folder = tmp_path_factory.mktemp("biomed")
    BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    ).save_pretrained(folder)
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_model_pretrained": True,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 224,
        },
        "text_cfg": {
            "hf_model_name": "microsoft/BiomedNLP",
            "hf_tokenizer_name": "microsoft/BiomedNLP",
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": 8,
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESS}))
    return folder


def image(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 1, *SPEC.shape, generator=torch.Generator().manual_seed(0))  # type: ignore[misc]


@pytest.mark.slow
def test_before_training_the_embedding_is_the_mean_of_the_slices(plain: Path) -> None:
    torch.manual_seed(0)
    encoder = load_slice_encoder(plain, random_weights=True, spec=SPEC, heads={"findings": 3}).eval()
    with torch.no_grad():
        output = encoder(image())
        each = encoder.clip.encode_image(encoder.pictures(image()[1:]))
    assert output.token_grid == (1, 1, 6) and output.tokens.shape == (2, 6, 16)
    torch.testing.assert_close(output.tokens[1], each)
    torch.testing.assert_close(output.pooled[1], each.mean(0))
    torch.testing.assert_close(output.embedding[1], each.mean(0) / each.mean(0).norm())
    torch.testing.assert_close(encoder.slice_attention(output.tokens), torch.full((2, 6), 1 / 6))
    assert output.logits("findings").shape == (2, 3)
    text = encoder.embed_text(torch.ones(4, 8, dtype=torch.long))
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(4))


@pytest.mark.slow
def test_a_folder_in_biomedclip_s_format_gives_back_its_weights(biomedical: Path) -> None:
    torch.manual_seed(0)
    encoder = load_slice_encoder(biomedical, random_weights=True, spec=SPEC).eval()
    save_file(encoder.clip.state_dict(), biomedical / "open_clip_model.safetensors")
    torch.manual_seed(1)
    again = load_slice_encoder(biomedical, spec=SPEC).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(image()).embedding, encoder(image()).embedding)
        ids = torch.randint(1, 50, (2, 8))
        torch.testing.assert_close(again.embed_text(ids), encoder.embed_text(ids))
    weights = encoder.clip.state_dict()
    weights.pop("logit_scale")
    save_file(weights, biomedical / "open_clip_model.safetensors")
    with pytest.raises(FileFormatError, match="weights fit"):
        load_slice_encoder(biomedical, spec=SPEC)


def test_slices_are_shown_as_a_radiologist_sees_them(plain: Path) -> None:
    spec = InputSpec((8.0, 8.0, 20.0), (32, 32, 2))
    encoder = load_slice_encoder(plain, random_weights=True, spec=spec)
    scan = torch.full((1, 1, 32, 32, 2), 0.45)  # -100 HU
    scan[:, :, :, 24:, 0] = 0.55  # the front quarter of the lowest slice: 100 HU
    scan[:, :, 24:, :, 1] = 0.55  # the patient's right side of the highest
    red = (encoder.pictures(scan) * encoder.std + encoder.mean)[:, 0]
    fat, tissue = (-100 + 160) / 400, (100 + 160) / 400
    torch.testing.assert_close(red[0, :8], torch.full((8, 32), tissue))
    torch.testing.assert_close(red[0, 8:], torch.full((24, 32), fat))
    torch.testing.assert_close(red[1, :, :8], torch.full((32, 8), tissue))
    torch.testing.assert_close(red[1, :, 8:], torch.full((32, 24), fat))


@pytest.mark.slow
def test_attention_learns_to_prefer_a_slice() -> None:
    torch.manual_seed(0)
    pooling = SlicePooling(16, heads=4)
    slices = torch.randn(8, 6, 16)
    slices[:, 4, 0] += 6  # the slice to find
    optimizer = torch.optim.Adam(pooling.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = (pooling(slices)[0] - slices[:, 4]).square().mean()
        loss.backward()
        optimizer.step()
    weight = pooling(slices)[1]
    assert (weight[:, 4] > 0.8).all()
    torch.testing.assert_close(weight.sum(1), torch.ones(8))


@pytest.mark.slow
def test_checkpointing_gives_the_same_gradient(plain: Path) -> None:
    torch.manual_seed(0)
    encoder = load_slice_encoder(plain, random_weights=True, spec=SPEC)
    weight = encoder.clip.visual.conv1.weight
    gradients = []
    for encoder.checkpointing in (False, True):
        weight.grad = None
        encoder(image(1)).pooled.square().sum().backward()
        gradients.append(weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_bad_folders_and_settings_are_refused(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"open_clip_config\.json"):
        load_slice_encoder(tmp_path)
    with pytest.raises(FileFormatError, match="safetensors"):
        load_slice_encoder(plain, spec=SPEC)
    with pytest.raises(InputError, match="holds all windows"):
        load_slice_encoder(plain, random_weights=True, spec=InputSpec((1, 1, 1), hu_window=(-100, 100)))
    encoder = load_slice_encoder(plain, random_weights=True, spec=SPEC)
    with pytest.raises(InputError, match="three pairs"):
        SliceEncoder(encoder.clip, PREPROCESS, windows_hu=((0, 1),))
    with pytest.raises(InputError, match="multiple of the heads"):
        SlicePooling(10, heads=4)
