// Runs on the audio thread: turns what the microphone hears into chunks of PCM for the socket.

const RATE_HZ = 24_000;
const CHUNK_SAMPLES = 480; // 20 ms: the node notices speech as soon as it can, at 50 messages a second

class Chunks extends AudioWorkletProcessor {
  #chunk = new Int16Array(CHUNK_SAMPLES);
  #filled = 0;
  #energy = 0;
  // Where the browser captures at another rate than ours, the samples that fall into one of ours are averaged. Plain,
  // but speech survives it; at our own rate, the usual case, every sample passes unchanged.
  #phase = 0;
  #sum = 0;
  #count = 0;

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.#sum += sample;
      this.#count += 1;
      this.#phase += RATE_HZ / sampleRate;
      if (this.#phase >= 1) {
        this.#push(this.#sum / this.#count);
        this.#phase -= 1;
        this.#sum = this.#count = 0;
      }
    }
    return true;
  }

  #push(sample) {
    this.#chunk[this.#filled] = Math.max(-1, Math.min(1, sample)) * 32_767;
    this.#energy += sample * sample;
    this.#filled += 1;
    if (this.#filled === CHUNK_SAMPLES) this.#post();
  }

  #post() {
    const pcm = this.#chunk.buffer;
    this.port.postMessage({ pcm, rms: Math.sqrt(this.#energy / CHUNK_SAMPLES) }, [pcm]);
    this.#chunk = new Int16Array(CHUNK_SAMPLES);
    this.#filled = this.#energy = 0;
  }
}

registerProcessor("chunks", Chunks);
