"""What a sentence means, as numbers: how near it is to phrases whose meaning is known.

The model is all-MiniLM-L6-v2 (Wang et al., "MiniLM", 2020; trained by the Sentence
Transformers project), 23 MB in 8-bit numbers, about 3 ms a sentence on one core. It was
trained on English; other languages come out as noise.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.engines import weights

if TYPE_CHECKING:
    import numpy as np

ARTEFACTS = ("minilm", "minilm-tokenizer")
"""The weights that everything here needs."""

DIMENSIONS = 384
TOKENS = 256
"""What the model was trained to read; the rest of a longer text is not looked at."""


def warm() -> None:
    """Load the model and its vocabulary now rather than with the first sentence."""
    weights.session("minilm")
    _tokenizer(weights.verify("minilm-tokenizer"))


def embed(sentences: Sequence[str]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """One row of length 1 for each sentence, shape (n, 384): near rows mean near sentences.

    The scalar product of two rows is their likeness: 1 for the same sentence, around 0 for
    strangers. Raises what `weights.session` and `weights.verify` raise.
    """
    import numpy as np

    rows = np.empty((len(sentences), DIMENSIONS), dtype=np.float32)
    # One at a time: the 8-bit model scales its numbers by the largest of a whole run, so that
    # a sentence would mean something slightly different in every company.
    for row, sentence in zip(rows, sentences, strict=True):
        row[:] = _embed_one(sentence)
    return rows


def nearest(sentence: str, phrases: Mapping[str, Sequence[str]]) -> list[tuple[str, float]]:
    """The names of ``phrases`` with the likeness (-1 to 1) of the best phrase of each.

    Best first; names that are equally near stay in the order of ``phrases``. A name without
    phrases is left out.
    """
    names, rows = _rows(tuple((name, tuple(said)) for name, said in phrases.items()))
    best: dict[str, float] = {}
    for name, likeness in zip(names, (rows @ _embed_one(sentence)).tolist(), strict=True):
        best[name] = max(likeness, best.get(name, -1.0))
    return sorted(best.items(), key=lambda found: -found[1])


@lru_cache(maxsize=32)
def _rows(
    phrases: tuple[tuple[str, tuple[str, ...]], ...],
) -> "tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.float32]]]":
    """A name and a row for each phrase; worked out once for each set of phrases."""
    flat = [(name, phrase) for name, said in phrases for phrase in said]
    return tuple(name for name, _ in flat), embed([phrase for _, phrase in flat])


def _embed_one(sentence: str) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """The mean of the tokens' vectors, at length 1."""
    import numpy as np

    model = weights.session("minilm")
    read = _tokenizer(weights.verify("minilm-tokenizer")).encode(sentence)
    tokens = np.array([read.ids], dtype=np.int64)
    given = {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "token_type_ids": np.zeros_like(tokens),
    }
    mean = weights.run(model, given)["last_hidden_state"][0].mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


@lru_cache(maxsize=1)
def _tokenizer(vocabulary: Path) -> Any:
    """What cuts a sentence into the model's words and pieces of words."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(vocabulary))
    tokenizer.no_padding()  # the file asks for 128 tokens whatever the sentence
    tokenizer.enable_truncation(TOKENS)
    return tokenizer
