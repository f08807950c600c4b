"""Judges from its words whether a speaker has finished: would the language model end the sentence here?

Smart Turn hears how it was said, this reads what was said; what one takes for an end the other often does not. The
node's own language model is asked, untrained for it: LiveKit's turn detector is the same SmolLM2, fine-tuned.
"""

from __future__ import annotations

import re
from threading import Lock

import numpy as np

from voiceedge.engines.decoder import Lane
from voiceedge.engines.kv_slab import KvSlab
from voiceedge.engines.onnx_llm import OnnxLlm

OPENING = """<|im_start|>user
What is the weather like?<|im_end|>
<|im_start|>assistant
It is sunny today.<|im_end|>
<|im_start|>user
"""
"""Shows the model that its user ends sentences with a mark. Always the same, so that probabilities can be compared;
both of the node's models know this format, another one reads it as text."""
LONGEST_TOKENS = 32
"""Of the end of the text: a sentence is judged, and one step of prefill is all that a listener should wait for."""
_FINAL_MARKS = re.compile(r"[\s.?!,;:…–—-]+$")
_ENDS = re.compile(r'[.?!…]+["Ġ]*Ċ*|Ċ+')
"""Tokens of the byte-level vocabulary that end a sentence: marks, and line breaks (Ċ)."""


class SentenceEndByLlm:
    """A view of a language model with a few rows of its own. May be used from any thread, one at a time."""

    def __init__(self, llm: OnnxLlm) -> None:
        self._tokenizer = llm.tokenizer
        opening: list[int] = self._tokenizer.encode(OPENING, add_special_tokens=False).ids
        keys, _ = llm.slab.layers[0]
        _, kv_heads, _, head_dim = keys.shape
        slab = KvSlab(
            layers=len(llm.slab.layers),
            slots=1,
            kv_heads=kv_heads,
            capacity=len(opening) + LONGEST_TOKENS,
            head_dim=head_dim,
        )
        (logits,) = (output for output in llm.session.get_outputs() if output.name == "logits")
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        self._ends = sorted({token for word, token in vocabulary.items() if _ENDS.fullmatch(word)} | llm.stop_tokens)
        self._lane = Lane(llm.session, slab, 0, logits.shape[-1])
        self._lock = Lock()
        self._lane.run(opening, 0)
        self._opening = len(opening)

    def probability(self, text: str) -> float | None:
        """Probability in [0, 1] that a sentence ends where `text` does, its own final mark aside.

        None where there are no words. May be called from any thread.

        Raises:
            EngineFailed: onnxruntime raised.
        """
        words = _FINAL_MARKS.sub("", text)
        if not words:
            return None
        said: list[int] = self._tokenizer.encode(words, add_special_tokens=False).ids
        with self._lock:
            logits = self._lane.run(said[-LONGEST_TOKENS:], self._opening)
            odds = np.exp(logits - logits.max())  # a new array: the next run overwrites the logits
        return float(odds[self._ends].sum() / odds.sum())
