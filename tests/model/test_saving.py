"""A save that fails anywhere leaves the older model as it was, for every family of models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from radvlm.files.atomic import sha256_of
from radvlm.model import store
from radvlm.model.adapters.text_towers import TextTower, TextTowerConfig
from radvlm.model.adapters.token_encoder import TokenEncoder, TokenEncoderConfig
from radvlm.model.decoder.causal_lm import Decoder, LlamaShape
from radvlm.model.decoder.tokenizer import train_tokenizer
from radvlm.model.inputs import InputSpec
from radvlm.model.merlin import checkpoint
from radvlm.model.merlin.checkpoint import FILES, verify_folder
from radvlm.model.merlin.model import MerlinModel, MerlinOptions
from radvlm.model.merlin.random_files import SMALL_SHAPE, random_state
from radvlm.model.registry import FORMATS, load_model
from radvlm.model.tokens.model import LabelTerm, TokensModel, TokensSettings
from radvlm.model.tokens.visual_prefix import PrefixConfig, TokenWriter, VisualPrefix


def _tiny(made: Any, place: Path, seed: int) -> Any:
    return made.model(seed=seed)


def _tokens(made: Any, place: Path, seed: int) -> TokensModel:
    shape = TokenEncoderConfig("merlin", 16, 1, blocks=(1, 1, 1, 1), width=4, seed=seed)
    encoder = TokenEncoder(shape, InputSpec((6.0, 6.0, 6.0), (16, 16, 16)))
    text = TextTower(TextTowerConfig(embedding=16, shape={"width": 16, "layers": 1, "heads": 2, "buckets": 64}))
    decoder = Decoder.new_llama(train_tokenizer(["a report"], 300), LlamaShape(32, 1, 2), seed=seed)
    writer = TokenWriter(VisualPrefix(PrefixConfig(queries=2, inner=16), encoder.channels, 32), decoder)
    terms = (LabelTerm("x", "a lesion", "liver", "liver"),)
    return TokensModel(encoder, text, TokensSettings("m", "n", "t", terms, ("liver",)), writer=writer)


def _merlin(made: Any, place: Path, seed: int) -> MerlinModel:
    file = place / f"{seed}" / FILES["five_year"]
    file.parent.mkdir(parents=True)
    torch.save(random_state("five_year", SMALL_SHAPE, seed=seed), file)
    return MerlinModel.load(file, options=MerlinOptions(shape=SMALL_SHAPE))


MAKERS: dict[str, Callable[[Any, Path, int], Any]] = {"tiny": _tiny, "tokens": _tokens, "merlin": _merlin}


class _Stops:
    """Counts what puts content in its place, and stops at one of these calls as a full disk or a key would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None = None, error: type[BaseException] = OSError):
        self.calls, self.at, self.error = 0, at, error
        for owner, name in (
            (Path, "rename"),
            (Path, "replace"),
            (Path, "write_text"),
            (Path, "write_bytes"),
            (store, "save_file"),
            (checkpoint, "save_file"),
        ):
            monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name)))

    def _wrapped(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **more: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                raise self.error(28, "no space left")
            return plain(*given, **more)

        return counted


def _tree(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): sha256_of(p) if p.is_file() else "folder" for p in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("family", MAKERS)
def test_a_save_that_fails_anywhere_leaves_the_old_model(
    made: Any, family: str, error: type[BaseException], tmp_path: Path
) -> None:
    place = tmp_path / "place"
    first, second = (MAKERS[family](made, tmp_path / "sources", seed) for seed in (1, 2))
    first.save_pretrained(place / "model")
    before, digest = _tree(place), load_model(place / "model").digest
    with pytest.MonkeyPatch.context() as patch:
        counted = _Stops(patch)
        second.save_pretrained(tmp_path / "elsewhere" / "model")
        second.save_pretrained(tmp_path / "elsewhere" / "model")
    assert counted.calls >= 4
    stopped = 0
    for at in range(1, counted.calls + 1):
        with pytest.MonkeyPatch.context() as patch:
            _Stops(patch, at, error)
            try:
                second.save_pretrained(place / "model")
            except (OSError, KeyboardInterrupt, store.RadvlmError):
                stopped += 1
            else:
                break
        assert _tree(place) == before, f"stopped at call {at}"
        assert load_model(place / "model").digest == digest
    else:
        pytest.fail("the save never came to its end")
    assert stopped >= 2
    assert load_model(place / "model").digest != digest
    assert [p.name for p in place.iterdir()] == ["model"]
    if family == "merlin":
        assert verify_folder(place / "model") == ("five_year",)
        files = {p.name for p in (place / "model").iterdir()}
        assert len(files) == 3, "manifest, trunk and heads of the new one"


def test_every_format_of_the_registry_is_among_them(made: Any, tmp_path: Path) -> None:
    said = {store.format_of(MAKERS[f](made, tmp_path, 0).save_pretrained(tmp_path / f)) for f in ("tiny", "tokens")}
    assert said == set(FORMATS)
