"""The tokenizer of a GGUF file as the `tokenizers` library reads it."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from voiceedge.errors import ConfigError
from voiceedge.modelstore.build.source import Source

CONTROL, USER_DEFINED = 3, 4
"""`tokenizer.ggml.token_type` (llama.cpp's llama_token_type) of markup and of added words."""

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's tokenizer.json; llama.cpp's LLAMA_VOCAB_PRE_TYPE_QWEN2 is the same."""


def write_tokenizer(source: Source, target: Path) -> None:
    """Write `target`, a tokenizer.json, from the vocabulary, merges and token types in `source`."""
    if source.field("tokenizer.ggml.model") != "gpt2":
        raise ConfigError(f"{source.path} has no byte-level BPE tokenizer, the only kind that can be built")
    words: list[str] = source.field("tokenizer.ggml.tokens")
    kinds: list[int] = source.field("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in source.field("tokenizer.ggml.merges")]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    flavour = source.field("tokenizer.ggml.pre", "default")
    tokenizer.pre_tokenizer = _pre_tokenizer(flavour, source.path)
    if flavour == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([_added(words[i], special=True) for i in _of(kinds, CONTROL)])
    tokenizer.add_tokens([_added(words[i], special=False) for i in _of(kinds, USER_DEFINED)])
    tokenizer.save(str(target), pretty=False)


def _pre_tokenizer(flavour: str, path: Path) -> pre_tokenizers.PreTokenizer:
    """How text is cut before merging; `flavour` is llama.cpp's name for it."""
    if flavour == "qwen2":
        split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if flavour == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if flavour in ("gpt-2", "default"):
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    raise ConfigError(f"{path} cuts text in a way that cannot be built yet: {flavour!r}")


def _of(kinds: list[int], kind: int) -> list[int]:
    return [index for index, value in enumerate(kinds) if value == kind]


def _added(word: str, *, special: bool) -> AddedToken:
    return AddedToken(word, special=special, normalized=False)
