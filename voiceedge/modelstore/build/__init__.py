"""Weights in, onnxruntime graphs out: gguf, numpy and onnx only, no PyTorch.

The folder of an LLM holds `model.onnx`, `model.weights`, `tokenizer.json` and `llm.json`; that of Whisper's decoder is
described in `whisper`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from voiceedge.errors import ConfigError

if TYPE_CHECKING:
    from voiceedge.modelstore.build.source import Source

__all__ = ["BUILDER_VERSION", "build_graphs", "build_llm"]

GGUF_MAGIC = b"GGUF"
BUILDER_VERSION = 2
"""Raised whenever the same file would give another folder; part of the cache key."""


def build_graphs(source: Path, target: Path, progress: Callable[[float, str], None]) -> None:
    """Build the folder `target` from a GGUF file or, what everything else is taken for, a CTranslate2 Whisper.

    Raises:
        ConfigError: neither, or of a kind that cannot be built.
    """
    with source.open("rb") as file:
        magic = file.read(len(GGUF_MAGIC))
    if magic == GGUF_MAGIC:
        build_llm(source, target, progress)
        return
    # onnx takes 0.3 s to import, and every start asks this package for its version
    from voiceedge.modelstore.build.whisper import build_whisper  # noqa: PLC0415

    build_whisper(source, target, progress)


def build_llm(
    gguf: Path,
    target: Path,
    progress: Callable[[float, str], None] | None = None,
    quantise: bool = True,  # noqa: FBT001, FBT002 - the store passes it by name
) -> None:
    """Build the folder `target` from a quantised GGUF file of the llama or qwen2 family.

    Args:
        gguf: the file.
        target: a folder, made where missing; files of these names in it are replaced.
        progress: told the share done in [0, 1] and what is being done.
        quantise: False writes float32 weights, four to eight times the size: the form that can be compared
            with a float32 forward pass to the last digits.

    Raises:
        ConfigError: not a GGUF file, or of a kind that cannot be built.
    """
    # gguf and onnx take 0.3 s to import, and every start asks this package for its version
    import onnx  # noqa: PLC0415

    from voiceedge.modelstore.build.external import WeightFile  # noqa: PLC0415
    from voiceedge.modelstore.build.graph import DecoderGraph  # noqa: PLC0415
    from voiceedge.modelstore.build.source import Source  # noqa: PLC0415
    from voiceedge.modelstore.build.words import write_tokenizer  # noqa: PLC0415

    tell = progress or (lambda _share, _what: None)
    source = Source(gguf)
    target.mkdir(parents=True, exist_ok=True)
    tell(0.0, "tokenizer")
    write_tokenizer(source, target / "tokenizer.json")
    with WeightFile(target / "model.weights") as weights:
        model = DecoderGraph(source, weights, quantised=quantise).build(tell)
    onnx.save(model, target / "model.onnx")
    (target / "llm.json").write_text(json.dumps(_settings(source), indent=1), encoding="utf-8")
    tell(1.0, "done")


def _settings(source: Source) -> dict[str, object]:
    """What an engine must know beside the graph."""
    shape = source.architecture
    words: list[str] = source.field("tokenizer.ggml.tokens")
    end = source.field("tokenizer.ggml.eos_token_id")
    stops = {end, *(i for i, word in enumerate(words) if word in ("<|im_end|>", "<|endoftext|>"))}
    begin = source.field("tokenizer.ggml.bos_token_id")
    template = source.field("tokenizer.chat_template")
    if template is None:
        raise ConfigError(f"{source.path} has no chat template: it is not a model that converses")
    return {
        "builder_version": BUILDER_VERSION,
        "name": source.field("general.name", ""),
        "family": shape.family,
        "layers": shape.layers,
        "kv_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocabulary": shape.vocabulary,
        "context_tokens": shape.context_tokens,
        "begin_token": begin if source.field("tokenizer.ggml.add_bos_token", False) else None,
        "stop_tokens": sorted(int(token) for token in stops if token is not None),
        "chat_template": template,
        "template_words": {
            name: words[index] for name, index in (("bos_token", begin), ("eos_token", end)) if index is not None
        },
    }
