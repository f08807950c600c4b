// What the Node clients' scripts share: arguments, a microphone that never stops, results as JSON lines.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

export const RATE_HZ = 24_000;
export const STORYTELLER = 'You are a storyteller. Tell long stories of at least ten sentences.';
export const ATLAS = 'You look up capitals in the atlas: call the function capital for every country. It knows better than you.';
export const TOOL = {
  name: 'capital', // the fake node calls it when its name is heard, and it is in the first question
  description: 'Looks up the capital of a country in the atlas.',
  parameters: {
    type: 'object',
    properties: { country: { type: 'string' } },
    required: ['country'],
    additionalProperties: false,
  },
};
export const CAPITAL = 'Lyon'; // what it returns: nobody says so who has not seen the result
const CHUNK_MS = 20;
const CHUNK_BYTES = (CHUNK_MS * RATE_HZ * 2) / 1000;
const WAV_HEADER_BYTES = 44;
const SCENARIO_MS = 45_000; // a scenario is 1 to 15 s of talk; what takes this long hangs

const { values: asked } = parseArgs({
  options: {
    node: { type: 'string' },
    speech: { type: 'string' },
    fake: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
});

export const node = {
  baseUrl: `${asked.node}/v1`,
  socketUrl: `${asked.node.replace('http', 'ws')}/v1/realtime`,
  /** The samples of a sentence, pcm16 at 24 kHz. */
  say: (name) => readFileSync(`${asked.speech}/${name}.wav`).subarray(WAV_HEADER_BYTES),
  /** The answer, once it is clear that the model saw this much of the conversation. */
  shown(answer, users, answers) {
    const expected = `You said ${users} things and I said ${answers}.`;
    assert(!asked.fake || answer.trim() === expected, `${answer}, not ${expected}`);
    return answer;
  },
};

export function assert(condition, message) {
  if (!condition) throw new Error(message);
}

export { sleep };

/** How long audio plays, in ms. */
export const milliseconds = (bytes) => (bytes / (2 * RATE_HZ)) * 1000;

/** Wait for something that a client's events bring about. */
export async function until(condition, what, withinMs = 15_000) {
  const end = Date.now() + withinMs;
  while (!condition()) {
    assert(Date.now() < end, `waited ${withinMs / 1000} s for ${what}`);
    await sleep(20);
  }
}

/** Hands on what is said in real time, and silence in between, as a microphone does. */
export class Microphone {
  constructor(send) {
    this.speech = Buffer.alloc(0);
    this.sent = 0;
    const begun = Date.now();
    this.timer = setInterval(() => {
      for (; begun + this.sent * CHUNK_MS <= Date.now(); this.sent += 1) {
        const chunk = Buffer.alloc(CHUNK_BYTES);
        this.speech.copy(chunk);
        this.speech = this.speech.subarray(CHUNK_BYTES);
        send(chunk);
      }
    }, CHUNK_MS);
  }

  async say(pcm16) {
    this.speech = Buffer.concat([this.speech, pcm16]);
    await until(() => this.speech.length === 0, 'the microphone');
  }

  close() {
    clearInterval(this.timer);
  }
}

/** Run the scenarios that were asked for, one JSON line each: name, ok, note. */
export async function main(versions, scenarios) {
  print({ versions });
  const chosen = asked.only ? asked.only.split(',') : Object.keys(scenarios);
  for (const name of chosen.filter((known) => known in scenarios)) {
    const begun = Date.now();
    let stray; // what a client throws where nobody can catch it would end a user's process
    const onStray = (error) => (stray = error);
    process.on('uncaughtException', onStray).on('unhandledRejection', onStray);
    try {
      const late = sleep(SCENARIO_MS, undefined, { ref: false }).then(() => {
        throw new Error('timed out');
      });
      const note = await Promise.race([scenarios[name](), late]);
      if (stray) throw stray;
      print({ scenario: name, ok: true, note: note ?? '', seconds: (Date.now() - begun) / 1000 });
    } catch (error) {
      console.error(stray ?? error);
      print({ scenario: name, ok: false, note: described(stray ?? error).slice(0, 300) });
    }
    process.off('uncaughtException', onStray).off('unhandledRejection', onStray);
  }
  process.exit(0);
}

/** Errors, and what clients throw instead of them. */
function described(error) {
  return error instanceof Error ? String(error) : JSON.stringify(error);
}

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
