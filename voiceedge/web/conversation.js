// A spoken conversation with a node: microphone → WebSocket → loudspeaker. Knows nothing of the page it runs in.
//
// The wire is OpenAI's Realtime protocol; `?trace=1` adds one event of our own, `voiceedge.turn`.

const RATE_HZ = 24_000; // of audio/pcm, in both directions: 16 bit, little-endian, mono
const LEAD_S = 0.02; // before the first sound of a stretch: what is scheduled for this very moment would begin late
const MAX_UNSENT_BYTES = 256 * 1024; // 4 s of audio; full: what the microphone hears is dropped, old audio helps nobody
const REALTIME = "../v1/realtime?trace=1&model=voiceedge"; // relative to this module: works behind a proxy's prefix too
const READINESS = "../readyz";
const CLIENT_SECRETS = "../v1/realtime/client_secrets"; // says why it refuses somebody, which a handshake cannot
const NO_MICROPHONE = {
  NotAllowedError: "The microphone was not allowed. Allow it in the browser's address bar, then start again.",
  NotFoundError: "There is no microphone. Plug one in, then start again.",
  NotReadableError: "The microphone cannot be used; perhaps another program has it. Close that, then start again.",
};

/** What went wrong, in words for the person who talks: what happened, and what to do. */
class Trouble extends Error {}

/** The node asks for a key, or for another one. */
class KeyWanted extends Trouble {}

/**
 * One conversation, from start to stop; the next one is a new object.
 *
 * What happens is told to a listener, an object with these methods:
 *   state(name)                                 connecting, listening, hearing, thinking, speaking or ended
 *   level(rms)                                  of the microphone, 0 to 1, fifty times a second
 *   userSpeaks(itemId)                          somebody has begun to speak
 *   userSays(itemId, text)                      what they have said; empty: there were no words in it
 *   agentSays(itemId, text)                     all that is being answered so far
 *   agentInterrupted(itemId, heard, unheard)    the same text, cut at what was heard
 *   turn(trace)                                 the event voiceedge.turn
 *   trouble(words)                              something failed, the conversation goes on
 *   keyWanted()                                 the node asks for a key, or for another one
 *   ended(words)                                the conversation is over; words say why, unless somebody stopped it
 */
export class Conversation {
  #listener;
  #key;
  #state = "idle";
  #kept = []; // what has to be closed at the end, in the order it was opened
  #socket;
  #speaker;
  #answer; // the answer that may be heard now; whatever arrives for another one is dropped
  #truncations = [];

  /** `key` opens the node; empty where it asks for none. */
  constructor(listener, key = "") {
    this.#listener = listener;
    this.#key = key;
  }

  /** Ask for the microphone, connect, and listen. Never throws: what goes wrong ends the conversation, in words. */
  async start() {
    this.#enter("connecting");
    try {
      await this.#open();
    } catch (error) {
      if (error instanceof KeyWanted) this.#listener.keyWanted();
      this.#end(error instanceof Trouble ? error.message : `Something went wrong in this page: ${error.message}`);
    }
  }

  stop() {
    this.#end();
  }

  get hasEnded() {
    return this.#state === "ended";
  }

  /** What tests and curious people look at. */
  inspect() {
    const { playedSeconds, stretches } = this.#speaker ?? { playedSeconds: 0, stretches: [] };
    return { state: this.#state, playedSeconds, stretches, truncations: this.#truncations };
  }

  // ── the parts, opened and closed ────────────────────────────────────────────────────────────────────────

  async #open() {
    this.#speaker = this.#keep(new Speaker(() => this.#settle())); // first: only a click may start sound
    const microphone = this.#keep(new Microphone(await askForMicrophone()));
    this.#socket = this.#keep(await connect(new URL(REALTIME, import.meta.url), this.#key));
    this.#socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    this.#socket.onclose = (close) => this.#end(whyClosed(close));
    this.#send({
      type: "session.update",
      session: {
        type: "realtime",
        audio: { input: { transcription: { model: "whisper-1" }, turn_detection: { type: "semantic_vad" } } },
      },
    });
    await microphone.listen(
      this.#speaker.context,
      (pcm, rms) => this.#hear(pcm, rms),
      () => this.#end("The microphone is gone. Plug it in again, then start again."),
    );
    this.#enter("listening");
  }

  /** Close `part` with the conversation; at once, if that has ended while the part was being opened. */
  #keep(part) {
    this.#kept.push(part);
    if (this.hasEnded) {
      this.#close();
      throw new Trouble("It was stopped before it had begun.");
    }
    return part;
  }

  #close() {
    for (const part of this.#kept.splice(0).reverse()) part.close();
  }

  #end(words) {
    if (this.hasEnded) return;
    this.#interrupt();
    this.#enter("ended");
    this.#close();
    this.#listener.ended(words);
  }

  #enter(state) {
    if (this.#state === state || this.hasEnded) return;
    this.#state = state;
    this.#listener.state(state);
  }

  // ── to the node ─────────────────────────────────────────────────────────────────────────────────────────

  #hear(pcm, rms) {
    if (this.hasEnded) return;
    this.#listener.level(rms);
    if (this.#isConnected && this.#socket.bufferedAmount < MAX_UNSENT_BYTES) {
      this.#send({ type: "input_audio_buffer.append", audio: toBase64(pcm) });
    }
  }

  #send(event) {
    this.#socket.send(JSON.stringify(event));
  }

  get #isConnected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  // ── from the node ───────────────────────────────────────────────────────────────────────────────────────

  #receive(event) {
    if (this.hasEnded) return;
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.#interrupt();
        this.#enter("hearing");
        return this.#listener.userSpeaks(event.item_id);
      case "input_audio_buffer.speech_stopped":
        return this.#enter("thinking");
      case "conversation.item.input_audio_transcription.completed":
        return this.#userSays(event.item_id, event.transcript.trim());
      case "conversation.item.input_audio_transcription.failed":
        this.#userSays(event.item_id, "");
        return this.#listener.trouble(`What you said could not be made out: ${event.error.message}`);
      case "response.output_item.added":
        this.#answer = new Answer(event.item.id);
        return undefined;
      case "response.output_audio_transcript.delta":
        return this.#agentSays(event.item_id, event.delta);
      case "response.output_audio.delta":
        return this.#play(event.item_id, fromBase64(event.delta));
      case "response.done":
        return this.#answered(event.response);
      case "voiceedge.turn":
        return this.#listener.turn(event);
      case "error":
        return this.#listener.trouble(`The server reports: ${event.error.message}`);
      default:
        return undefined; // the protocol has more events than a conversation needs
    }
  }

  #userSays(itemId, text) {
    this.#listener.userSays(itemId, text);
    if (!text && this.#state === "thinking") this.#enter("listening"); // no words: there will be no answer
  }

  #agentSays(itemId, text) {
    if (this.#answer?.itemId !== itemId) return;
    this.#answer.say(text);
    this.#listener.agentSays(itemId, this.#answer.text);
  }

  #play(itemId, samples) {
    if (this.#answer?.itemId !== itemId) return;
    this.#answer.sounds(samples.length);
    this.#speaker.play(itemId, samples);
    this.#enter("speaking");
  }

  #answered(response) {
    if (response.status === "failed") {
      this.#listener.trouble(`There is no answer: ${response.status_details?.error?.message ?? "the node failed."}`);
    }
    if (this.#answer) this.#answer.isComplete = true;
    if (response.status !== "cancelled") this.#settle();
  }

  /** Listen again once the answer has been made and heard. */
  #settle() {
    const isAnswering = this.#state === "thinking" || this.#state === "speaking";
    if (isAnswering && this.#answer?.isComplete !== false && this.#speaker.isSilent) this.#enter("listening");
  }

  /** Stop playing at once, and tell the node how much was heard: the rest is not part of the conversation. */
  #interrupt() {
    const answer = this.#answer;
    this.#answer = undefined;
    if (!answer || (answer.isComplete && this.#speaker.isSilent)) return;
    this.#speaker.stop();
    const heardMs = Math.min(this.#speaker.heardMs(answer.itemId), answer.audioMs);
    if (answer.audioMs > 0 && this.#isConnected) {
      const item = { item_id: answer.itemId, content_index: 0 };
      this.#send({ type: "conversation.item.truncate", ...item, audio_end_ms: heardMs });
    }
    this.#truncations.push({ itemId: answer.itemId, heardMs, audioMs: answer.audioMs });
    if (answer.text) this.#listener.agentInterrupted(answer.itemId, ...answer.cutAt(heardMs));
  }
}

/** What the agent says in one item, and when: a clause's text arrives just before its audio. */
class Answer {
  isComplete = false;
  #clauses = []; // {text, beginMs}
  #samples = 0;

  constructor(itemId) {
    this.itemId = itemId;
  }

  say(text) {
    this.#clauses.push({ text, beginMs: this.audioMs });
  }

  sounds(samples) {
    this.#samples += samples;
  }

  get audioMs() {
    return Math.round((this.#samples * 1000) / RATE_HZ);
  }

  get text() {
    return this.#clauses.map((clause) => clause.text).join("");
  }

  /** The text up to `heardMs` and the rest. Inside a clause the words are taken to be spoken evenly. */
  cutAt(heardMs) {
    let length = 0;
    for (const [index, { text, beginMs }] of this.#clauses.entries()) {
      const endMs = this.#clauses[index + 1]?.beginMs ?? this.audioMs;
      const share = heardMs > beginMs ? (heardMs - beginMs) / (endMs - beginMs) : 0;
      if (share < 1) {
        length += text.lastIndexOf(" ", Math.round(share * text.length)) + 1; // whole words only
        break;
      }
      length += text.length;
    }
    return [this.text.slice(0, length), this.text.slice(length)];
  }
}

/** Plays samples one after the other without a gap, and knows how much of an item has been heard. */
class Speaker {
  context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
  #onSilence;
  #sources = new Set();
  #stretches = []; // {itemId, begin, end}: speech without a gap, in samples of the context's time
  #end = 0; // sample after the last one that is scheduled

  constructor(onSilence) {
    this.#onSilence = onSilence;
    this.context.resume();
  }

  play(itemId, samples) {
    const buffer = this.context.createBuffer(1, samples.length, RATE_HZ);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    // whole samples: sums of seconds drift off the grid, and the browser would interpolate between samples
    const begin = Math.max(this.#end, Math.ceil((this.context.currentTime + LEAD_S) * RATE_HZ));
    this.#end = begin + samples.length;
    this.#note(itemId, begin);
    source.onended = () => this.#ended(source);
    this.#sources.add(source);
    source.start(begin / RATE_HZ);
  }

  /** Be silent at once. */
  stop() {
    const heard = this.#heard;
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
    }
    this.#sources.clear();
    this.#stretches = this.#stretches.filter(({ begin }) => begin < heard);
    for (const stretch of this.#stretches) stretch.end = Math.min(stretch.end, heard);
    this.#end = 0;
  }

  close() {
    this.context.close();
  }

  get isSilent() {
    return this.#sources.size === 0;
  }

  heardMs(itemId) {
    const ofItem = this.#stretches.filter((stretch) => stretch.itemId === itemId);
    return Math.round((this.#heardSamples(ofItem) * 1000) / RATE_HZ);
  }

  get playedSeconds() {
    return this.#heardSamples(this.#stretches) / RATE_HZ;
  }

  /** Stretches of speech by item: one for each answer, unless it was late. */
  get stretches() {
    return this.#stretches.map(({ itemId, begin, end }) => ({ itemId, seconds: (end - begin) / RATE_HZ }));
  }

  /** The sample that leaves the loudspeaker now. */
  get #heard() {
    return Math.floor((this.context.currentTime - (this.context.outputLatency || 0)) * RATE_HZ);
  }

  #heardSamples(stretches) {
    const heard = this.#heard;
    return stretches.reduce((sum, { begin, end }) => sum + Math.max(0, Math.min(end, heard) - begin), 0);
  }

  #note(itemId, begin) {
    const last = this.#stretches.at(-1);
    if (last?.itemId === itemId && last.end === begin) last.end = this.#end;
    else this.#stretches.push({ itemId, begin, end: this.#end });
  }

  #ended(source) {
    this.#sources.delete(source);
    if (this.isSilent) this.#onSilence();
  }
}

/** Hands over what a microphone hears, in chunks of 20 ms. */
class Microphone {
  #stream;
  #context;

  constructor(stream) {
    this.#stream = stream;
  }

  /** Call `onChunk(bytes, rms)` until closed; `onLost()` when the microphone goes away by itself. */
  async listen(context, onChunk, onLost) {
    this.#stream.getTracks().forEach((track) => track.addEventListener("ended", onLost));
    const source = this.#source(context);
    await source.context.audioWorklet.addModule(new URL("microphone.worklet.js", import.meta.url));
    const mono = { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" };
    const chunks = new AudioWorkletNode(source.context, "chunks", mono);
    chunks.port.onmessage = ({ data }) => onChunk(new Uint8Array(data.pcm), data.rms);
    source.connect(chunks);
  }

  close() {
    for (const track of this.#stream.getTracks()) track.stop();
    this.#context?.close();
  }

  #source(context) {
    try {
      return context.createMediaStreamSource(this.#stream);
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      // Firefox does not resample microphones: hear at their own rate, and let the worklet do it
      this.#context = new AudioContext();
      return this.#context.createMediaStreamSource(this.#stream);
    }
  }
}

async function askForMicrophone() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Trouble(
      "Browsers give the microphone only to pages from this machine or over HTTPS. " +
        "Open this page as http://localhost:… on the machine it runs on, or put HTTPS in front of the server.",
    );
  }
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new Trouble(NO_MICROPHONE[error.name] ?? `The microphone cannot be used: ${error.message}`);
  }
}

function connect(url, key) {
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, ["realtime", ...(key ? [`openai-insecure-api-key.${key}`] : [])]);
    socket.onopen = () => resolve(socket);
    // a browser does not say why a handshake was refused: ask the node how it is
    socket.onclose = () => whyRefused(key).then((words) => reject(new Trouble(words)), reject);
  });
}

async function whyRefused(key) {
  let node;
  try {
    node = await (await fetch(new URL(READINESS, import.meta.url), { cache: "no-store" })).json();
  } catch {
    return "The server cannot be reached. See whether it is still running, then start again.";
  }
  if (node.status === "draining") return "The server is shutting down. Start again when it is back.";
  if (node.status === "busy") return "The server is busy: it has no time for one more conversation. Start again in a while.";
  if (node.sessions >= node.max_sessions) {
    return `The server is full: it holds ${node.sessions} of ${node.max_sessions} conversations. Start again in a while.`;
  }
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch(new URL(CLIENT_SECRETS, import.meta.url), { method: "POST", headers });
  if (answer.status === 401) {
    if (!key) throw new KeyWanted("This server asks for a key. Enter it, then start again.");
    throw new KeyWanted(`${(await answer.json()).error.message} Enter another key, then start again.`);
  }
  if (answer.status === 403) return (await answer.json()).error.message; // the page's address is not one of `origins`
  // whoever comes is let in meanwhile, so this is no refusal of its own; a proxy may send nobody there
  if (node.status === "loading") return "The server loads one of its engines anew. Start again in a moment.";
  return "The server did not accept the connection. Start again; if that does not help, its log says why.";
}

function whyClosed({ code, reason }) {
  if (code === 1006) return "The connection was lost. Check the network and the server, then start again.";
  return `The server ended the conversation${reason ? `: ${reason}` : "."} Start again to go on.`;
}

function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes)); // chunks are small enough to be arguments
}

/** PCM of the wire as samples from -1 to 1. */
function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return Float32Array.from(new Int16Array(bytes.buffer), (sample) => sample / 32_768);
}
