"""Small tokenizers for own text bases, trained in seconds.

Digits are split one by one and carry no leading space, so a number reads the same wherever it stands and a decoder can
copy it. Every byte has a token, so no text is lost. Control tokens (``<pad>``, ``<s>``, ``</s>``) are never read out of
text: a report that holds ``</s>`` keeps those four characters as characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from radvlm.errors import FileFormatError, InputError

PAD, BEGIN, END = "<pad>", "<s>", "</s>"
CONTROL = (PAD, BEGIN, END)
#: One digit; a word with the space before it; punctuation with the space before it; white space.
_PIECES = r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s"


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 4096, specials: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Byte-level BPE over ``texts``; a word seen often becomes one token, any other is spelled from pieces.

    Pairs that are seen once are not joined.

    Args:
        texts: the training corpus; read once.
        vocab_size: largest number of tokens, at least 256 bytes + control tokens + ``specials``.
        specials: markers of the prompts, such as ``"<report>"``, each one token wherever it stands.
            They are text, not control tokens: decoding keeps them.

    The same texts give the same tokenizer. Save it with ``save_pretrained`` (one ``tokenizer.json``).
    """
    smallest = 256 + len(CONTROL) + len(specials)
    if vocab_size < smallest:
        raise InputError(
            "a vocabulary holds every byte, the control tokens and the specials",
            f"vocab_size={vocab_size}",
            f"Ask for at least {smallest}",
        )
    if len(set(specials) | set(CONTROL)) != len(specials) + len(CONTROL) or "" in specials:
        raise InputError("specials differ from each other and from the control tokens", repr(tuple(specials)))
    backend = Tokenizer(models.BPE(unk_token=None))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(specials),
        min_frequency=2,
        special_tokens=list(CONTROL),
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_tokens([AddedToken(text, normalized=False, special=False) for text in specials])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, bos_token=BEGIN, eos_token=END, clean_up_tokenization_spaces=False
    )


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a local folder. Raises FileFormatError when there is none; nothing is downloaded."""
    from transformers import AutoTokenizer

    path = Path(folder)
    if not path.is_dir():
        raise FileFormatError(
            "a tokenizer is read from a local folder", str(folder), "Fetch the model first and pass its folder"
        )
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise FileFormatError(
            "the folder holds a tokenizer",
            f"{path}: {error}".splitlines()[0],
            "Expected tokenizer.json, or tokenizer.model with its config",
        ) from error
