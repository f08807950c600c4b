"""The language model: own decode loop on onnxruntime, a slot of the KV slab for every session."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from voiceedge.engines import Finished, Prefilled, Prompt, Sampling, Step, Tool
from voiceedge.engines.batching import Batching, TokenRow
from voiceedge.engines.chat import ChatFormat
from voiceedge.engines.constraint import Grammars
from voiceedge.engines.decoder import Lane, read_settings
from voiceedge.engines.kv_slab import KvSlab, Prefix, PrefixCache, Slot, common_length
from voiceedge.engines.onnx_session import open_session
from voiceedge.engines.writing import Writer
from voiceedge.errors import ContextFull, EngineFailed, ModelCorrupt

CHUNK_TOKENS = 32
"""Prefill goes in steps of at most so many tokens: what a more urgent session waits, 28 (SmolLM2-135M) and 61 ms
(Qwen2.5-0.5B) with two threads on a Zen 5, 41 and 105 with one. Steps of 16 are shorter by a third and cost 34 and
25 % more in all; Whisper's steps are longer than either."""
SHORTEST_ANSWER_TOKENS = 16
"""A prompt that leaves less room than this is refused rather than cut off in its first words."""
SHARED_PREFIXES = 4
"""Prompts' beginnings kept; one of 500 tokens takes 12 (Qwen2.5-0.5B) to 23 MB (SmolLM2-135M)."""


class OnnxLlm:
    """Weights, shared by all; `open` gives a session its slot.

    Streams may be used from different threads at the same time. Shared are the onnxruntime session, whose
    runs are thread-safe, the tokenizer, which is only read, and the lists of free slots and of shared
    prefixes, which have a lock each, held for no engine call. The rows of a slot have a lock that is held during
    a run: a batch of neighbours makes a stream that stands between them wait until it is over.
    """

    def __init__(
        self, folder: Path, *, slots: int, context_tokens: int = 2048, threads: int = 2, reuses: bool = True
    ) -> None:
        """Load the folder that `modelstore.build` wrote.

        Args:
            folder: holds model.onnx, model.weights, tokenizer.json and llm.json.
            slots: streams that can be open at once.
            context_tokens: rows of a slot; memory is taken as they are used.
            threads: of the engine's pool, shared by all streams.
            reuses: whether what a slot holds of a prompt is kept for the next; not to, to compare with.

        Raises:
            ModelCorrupt: a file is missing or not what it should be.
        """
        settings = read_settings(folder)
        self.context_tokens = min(context_tokens, settings.context_tokens)
        self.name = settings.name
        self.reuses = reuses
        self.stop_tokens = frozenset(settings.stop_tokens)
        self.session = open_session(folder / "model.onnx", threads)
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises a bare Exception
            raise ModelCorrupt(f"{folder / 'tokenizer.json'} cannot be read: {error}") from error
        self.chat = ChatFormat(
            self.tokenizer,
            settings.chat_template,
            settings.template_words,
            self.stop_tokens,
            settings.begin_token,
        )
        self.slab = KvSlab(
            layers=settings.layers,
            slots=slots,
            kv_heads=settings.kv_heads,
            capacity=self.context_tokens,
            head_dim=settings.head_dim,
        )
        self.prefixes = PrefixCache(SHARED_PREFIXES)
        self.batching = Batching(self.session, self.slab, settings.vocabulary)
        self.grammars = Grammars(self.tokenizer, settings.vocabulary, self.stop_tokens)
        self._vocabulary = settings.vocabulary

    def check_tools(self, tools: tuple[Tool, ...]) -> None:
        """Get ready for `tools`: 2 ms a schema, and up to 0.5 s the first time in the life of the process.

        Raises:
            InvalidTool: a schema that answers cannot be held to; says which tool and why.
        """
        self.grammars.check(tools)

    def open(self) -> OnnxLlmStream:
        """Take a slot.

        Raises:
            Overloaded: every slot is taken.
        """
        slot = self.slab.take()
        return OnnxLlmStream(self, slot, Lane(self.session, self.slab, slot.index, self._vocabulary))

    def shed(self) -> None:
        """Drop the shared prefixes, up to 92 MB: memory may be short. Their next prompts are prefilled."""
        self.prefixes.clear()


class OnnxLlmStream:
    """One session's slot. Used by one thread at a time; at most one of its generators is alive."""

    def __init__(self, llm: OnnxLlm, slot: Slot, lane: Lane) -> None:
        self._llm = llm
        self._slot: Slot | None = slot
        self._lane = lane
        # counts the generators: one that was left behind must not write into the slot again
        self._turn = 0

    def count(self, prompt: Prompt) -> int:
        """Tokens that `prompt` takes, with the header of the answer."""
        return len(self._llm.chat.tokens(prompt))

    def warm(self, prompt: Prompt, *, unfinished: bool = False) -> Generator[Prefilled, None, None]:
        """Prefill what stands before the first thing a user adds to `prompt`.

        Instructions and tools are shared with all streams; a prompt with a conversation in it is nobody else's.

        Args:
            prompt: the chat so far.
            unfinished: the last message is still growing; what will stand when it is longer is prefilled as well.

        Raises:
            ContextFull: there would be no room for an answer.
        """
        tokens = self._stable(prompt) if unfinished else self._llm.chat.opening(prompt)
        self._require_room(tokens)
        turn = self._begin_turn()
        if common_length(self._slot_of(turn).tokens, tokens) < len(tokens):  # else a conversation goes on behind it
            cached = self._reuse(tokens)
            for chunk in self._chunks(tokens, cached):
                self._run(turn, chunk)
                yield Prefilled(len(chunk), cached)
        is_shared = all(message.role == "system" for message in prompt.messages)
        if is_shared and tokens not in self._llm.prefixes:
            slot = self._slot_of(turn)
            rows = self._llm.slab.copy_out(slot, len(tokens))
            self._llm.prefixes.add(Prefix(tuple(tokens), rows))

    def generate(self, prompt: Prompt, sampling: Sampling) -> Answer:
        """Answer `prompt`: a Prefilled a chunk, a Piece a token, Finished.

        Where the end of the answer sets text free that was held back, it comes as the Piece of the end token;
        a Message may keep that id or not.

        Raises:
            ContextFull: the prompt leaves no room for an answer.
            EngineFailed: onnxruntime raised, or the stream was closed meanwhile.
        """
        return Answer(self, prompt, sampling)

    def answer(self, prompt: Prompt, sampling: Sampling, answer: Answer) -> Generator[Step, None, None]:
        """The steps of `answer`, which is told of each run that others could share."""
        tokens = self._llm.chat.tokens(prompt)
        self._require_room(tokens)
        turn = self._begin_turn()
        # the last token is always run again: its logits are the answer's beginning
        cached = self._reuse(tokens[:-1])
        logits: NDArray[np.float32] | None = None
        for chunk in self._chunks(tokens, cached):
            logits = self._run(turn, chunk)
            yield Prefilled(len(chunk), cached)
        assert logits is not None
        written = yield from self._decode(turn, logits, prompt, sampling, answer)
        yield Finished(written.reason, len(tokens), cached, written.tokens)

    def close(self) -> None:
        """Give the slot back. Idempotent."""
        if self._slot is not None:
            self._turn += 1
            slot, self._slot = self._slot, None
            self._llm.slab.give_back(slot)

    def _decode(
        self, turn: int, logits: NDArray[np.float32], prompt: Prompt, sampling: Sampling, answer: Answer
    ) -> Generator[Step, None, Writer]:
        room = self._llm.context_tokens - len(self._slot_of(turn).tokens)
        llm = self._llm
        writer = Writer(llm.tokenizer, llm.stop_tokens, prompt, sampling, limit=room, grammars=llm.grammars)
        while not writer.is_over:
            steps = list(writer.write(logits))
            # known before the step is handed out, so that it can join others meanwhile
            if self._llm.reuses and len(writer.pending) == 1:
                answer.next_run = TokenRow(self._llm.batching, self._slot_of(turn), writer.pending[0])
            yield from steps
            if writer.pending:
                shared = answer.take_logits()
                logits = self._run(turn, writer.pending) if shared is None else shared
        return writer

    def _begin_turn(self) -> int:
        self._turn += 1
        return self._turn

    def _slot_of(self, turn: int) -> Slot:
        if self._slot is None:
            raise EngineFailed("the language model's stream is closed")
        if turn != self._turn:
            raise EngineFailed("another answer has begun on this stream of the language model")
        return self._slot

    def _require_room(self, tokens: list[int]) -> None:
        limit = self._llm.context_tokens
        if len(tokens) + SHORTEST_ANSWER_TOKENS > limit:
            raise ContextFull(
                f"the prompt has {len(tokens)} tokens and an answer needs {SHORTEST_ANSWER_TOKENS}; "
                f"the context holds {limit}"
            )

    def _stable(self, prompt: Prompt) -> list[int]:
        """Token ids of `prompt` that stay when its last message goes on: all but the last of its words so far."""
        *before, last = prompt.messages
        longer = replace(prompt, messages=(*before, replace(last, text=f"{last.text} and")))
        tokens = self._llm.chat.tokens(prompt, header=False)
        stays = common_length(tokens, self._llm.chat.tokens(longer, header=False))
        opening = self._llm.chat.opening(replace(prompt, messages=tuple(before)))
        # the last word may still become another one, or be tokenised otherwise with more behind it
        return tokens[: max(stays - 1, common_length(tokens, opening))]

    def _reuse(self, tokens: list[int]) -> int:
        """Rewind the slot to what it shares with `tokens`, or copy a shared prefix that reaches further."""
        slot = self._slot_of(self._turn)
        with slot.rows:
            if not self._llm.reuses:
                slot.tokens.clear()
                return 0
            own = common_length(slot.tokens, tokens)
            prefix, shared = self._llm.prefixes.longest(tokens)
            if prefix is not None and shared > own:
                self._llm.slab.copy_in(slot, prefix, shared)
                return shared
            del slot.tokens[own:]
            return own

    def _chunks(self, tokens: list[int], cached: int) -> list[list[int]]:
        begins = range(cached, len(tokens), CHUNK_TOKENS)
        return [tokens[begin : begin + CHUNK_TOKENS] for begin in begins]

    def _run(self, turn: int, tokens: list[int]) -> NDArray[np.float32]:
        """Put `tokens` behind what the slot holds. They count as held only when the run has succeeded."""
        slot = self._slot_of(turn)
        with slot.rows:
            logits = self._lane.run(tokens, len(slot.tokens))
            slot.tokens.extend(tokens)
        return logits


class Answer(Generator[Step, None, None]):
    """An answer in the making. Iterating it runs the model; whoever iterates several may let them share runs."""

    def __init__(self, stream: OnnxLlmStream, prompt: Prompt, sampling: Sampling) -> None:
        self._steps = stream.answer(prompt, sampling, self)
        self.next_run: TokenRow | None = None
        """The run that comes next, if it is of one token."""

    @property
    def row(self) -> TokenRow | None:
        """The run that the next step needs and others could share; None once it has run, and where there is none."""
        return self.next_run if self.next_run is not None and self.next_run.logits is None else None

    def take_logits(self) -> NDArray[np.float32] | None:
        """What a batch has made of the next run, None when there was no batch; the run is then over."""
        row, self.next_run = self.next_run, None
        return None if row is None else row.logits

    def send(self, value: None) -> Step:
        """Run up to the next step."""
        return self._steps.send(value)

    def throw(self, *error: Any) -> Step:
        """Raise inside, where the answer stands; how `close` ends it."""
        self.next_run = None
        return self._steps.throw(*error)
