"""Random models of a few thousand weights, written as GGUF files of both families."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from voiceedge.engines.detokenise import BYTE_OF_CHARACTER

HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD_DIM, LAYERS = 64, 96, 4, 2, 16, 2
CONTEXT_TOKENS = 512
MARKUP = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("h e", "l l", "he ll", "hell o")
WORDS = (*MARKUP, *BYTE_OF_CHARACTER, *(merge.replace(" ", "") for merge in MERGES), "<tool_call>")
END = WORDS.index("<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_tiny(path: Path, family: str, *, tied: bool = True, **changes) -> Path:
    """Write a model; `changes` replace metadata fields (None leaves one out)."""
    writer = gguf.GGUFWriter(path, family)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(changes.get("model", "gpt2"))
    writer.add_tokenizer_pre(changes.get("pre", "smollm" if family == "llama" else "qwen2"))
    writer.add_token_list(list(WORDS))
    kinds = [3 if word in MARKUP else 4 if word == "<tool_call>" else 1 for word in WORDS]
    writer.add_token_types(kinds)
    writer.add_token_merges(list(MERGES))
    writer.add_eos_token_id(END)
    if (template := changes.get("template", TEMPLATE)) is not None:
        writer.add_chat_template(template)
    if "licence" in changes:
        writer.add_license(changes["licence"])
    for name, weight in weights(family, tied=tied).items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def weights(family: str, *, tied: bool) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)

    def matrix(rows, columns):
        return (random.normal(size=(rows, columns)) / np.sqrt(columns) * 1.5).astype(np.float32)

    def vector(size, around):
        return (around + 0.2 * random.normal(size=size)).astype(np.float32)

    made = {"token_embd.weight": matrix(len(WORDS), HIDDEN), "output_norm.weight": vector(HIDDEN, 1)}
    if not tied:
        made["output.weight"] = matrix(len(WORDS), HIDDEN)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for part, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            made[f"{block}attn_{part}.weight"] = matrix(heads * HEAD_DIM, HIDDEN)
            if family == "qwen2":
                made[f"{block}attn_{part}.bias"] = vector(heads * HEAD_DIM, 0)
        made[f"{block}attn_output.weight"] = matrix(HIDDEN, HEADS * HEAD_DIM)
        made[f"{block}ffn_gate.weight"] = matrix(FEED_FORWARD, HIDDEN)
        made[f"{block}ffn_up.weight"] = matrix(FEED_FORWARD, HIDDEN)
        made[f"{block}ffn_down.weight"] = matrix(HIDDEN, FEED_FORWARD)
        made[f"{block}attn_norm.weight"] = vector(HIDDEN, 1)
        made[f"{block}ffn_norm.weight"] = vector(HIDDEN, 1)
    return made
