// @openai/agents (Node): a RealtimeSession over its WebSocket transport.

import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents/realtime';
import { readFileSync } from 'node:fs';
import { assert, ATLAS, CAPITAL, main, Microphone, milliseconds, node, sleep, STORYTELLER, TOOL, until } from './scenarios.mjs';

const BRIEF = 'You are a helpful assistant. Answer in one sentence.';
const { version } = JSON.parse(readFileSync(new URL('./node_modules/@openai/agents/package.json', import.meta.url)));

/** A connected session and what it said. */
class Call {
  static async open(instructions = BRIEF, config = {}, tools = []) {
    const agent = new RealtimeAgent({ name: 'Test', instructions, tools });
    const call = new Call();
    call.session = new RealtimeSession(agent, { transport: 'websocket', config, tracingDisabled: true });
    call.events = [];
    call.audio = new Map(); // item id -> bytes
    call.interrupted = 0;
    call.errors = [];
    call.session.on('transport_event', (event) => call.events.push(event));
    call.session.on('error', (event) => call.errors.push(event.error));
    call.session.on('audio_interrupted', () => (call.interrupted += 1));
    call.session.transport.on('audio', (event) => {
      call.bytes = (call.bytes ?? 0) + event.data.byteLength;
      call.audio.set(event.responseId, (call.audio.get(event.responseId) ?? 0) + event.data.byteLength);
    });
    await call.session.connect({ apiKey: 'any', url: `${node.socketUrl}?model=voiceedge` });
    return call;
  }

  microphone() {
    this.mic = new Microphone((pcm16) => {
      const copy = new Uint8Array(pcm16);
      this.session.sendAudio(copy.buffer);
    });
    return this.mic;
  }

  of(type) {
    return this.events.filter((event) => event.type === type);
  }

  async until(condition, what) {
    await until(() => this.errors.length || condition(), what);
    assert(!this.errors.length, JSON.stringify(this.errors[0]));
  }

  said(role) {
    const items = this.session.history.filter((item) => item.type === 'message' && item.role === role);
    return items.map((item) => item.content.map((part) => part.transcript ?? part.text ?? '').join(' ')).filter(Boolean);
  }

  /** Words of the last answer, from the history that the session keeps. */
  async answers(times) {
    await this.until(() => this.of('response.done').length >= times, `response.done ${times}`);
    await this.until(() => this.said('assistant').length >= times, `answer ${times} in the history`);
    return this.said('assistant').at(-1);
  }

  close() {
    this.mic?.close();
    this.session.close();
    assert(!this.errors.length, JSON.stringify(this.errors[0]));
  }
}

async function greeting() {
  const call = await Call.open();
  await call.until(() => call.of('session.updated').length, 'session.updated');
  call.session.transport.sendEvent({ type: 'response.create' });
  const answer = await call.answers(1);
  assert(call.bytes > 24_000, 'less than half a second of audio');
  call.close();
  return answer;
}

async function speech() {
  const call = await Call.open();
  await call.microphone().say(node.say('question'));
  const answer = await call.answers(1);
  await call.until(() => call.said('user').length, 'the transcript in the history');
  const [heard] = call.said('user');
  assert(heard.includes('capital'), heard);
  call.close();
  return `${heard} ${answer}`;
}

async function second() {
  const call = await Call.open();
  const microphone = call.microphone();
  await microphone.say(node.say('question'));
  await call.answers(1);
  await sleep(milliseconds(call.bytes)); // who speaks earlier interrupts what is still being played
  await microphone.say(node.say('followup'));
  const answer = node.shown(await call.answers(2), 2, 1);
  call.close();
  return answer;
}

async function toolTurn() {
  const asked = [];
  const capital = tool({
    ...TOOL,
    execute: ({ country }) => {
      asked.push(country);
      return CAPITAL;
    },
  });
  const call = await Call.open(ATLAS, {}, [capital]);
  await call.microphone().say(node.say('question'));
  await call.until(() => call.of('response.done').length >= 2, 'response.done 2');
  await call.until(() => call.said('assistant').at(-1)?.includes(CAPITAL), 'the result in the answer');
  assert(asked.length === 1, JSON.stringify(asked));
  const answer = call.said('assistant').at(-1);
  call.close();
  return `capital(${asked[0]}) ${answer}`;
}

async function bargeIn() {
  const call = await Call.open(STORYTELLER);
  const microphone = call.microphone();
  await microphone.say(node.say('story'));
  await call.until(() => call.bytes > 24_000, 'the story');
  await microphone.say(node.say('stop'));
  await call.until(() => call.interrupted, 'audio_interrupted');
  await call.until(() => call.of('conversation.item.truncated').length, 'item.truncated');
  await call.until(() => call.of('response.done').length, 'response.done');
  assert(call.of('response.done')[0].response.status === 'cancelled', 'not cancelled');
  await call.until(() => call.of('response.created').length > 1 && call.audio.size > 1, 'the next answer');
  await sleep(1000);
  const after = call.of('response.done')[1]?.response.status ?? 'in_progress';
  assert(after !== 'cancelled', 'the next answer was cancelled too');
  call.close();
  return 'cancelled, truncated, answered again';
}

async function pushToTalk() {
  const call = await Call.open(BRIEF, { audio: { input: { turnDetection: null } } });
  await call.until(() => call.of('session.updated').length, 'session.updated');
  const question = node.say('question');
  for (let begin = 0; begin < question.length; begin += 4800) {
    call.session.sendAudio(new Uint8Array(question.subarray(begin, begin + 4800)).buffer);
  }
  call.session.sendAudio(new ArrayBuffer(0), { commit: true });
  call.session.transport.sendEvent({ type: 'response.create' });
  const answer = await call.answers(1);
  call.close();
  return answer;
}

async function text() {
  const call = await Call.open(BRIEF, { outputModalities: ['text'] });
  call.session.sendMessage('What is the capital of France?');
  await call.answers(1);
  call.session.sendMessage('And how many people live there?');
  const answer = node.shown(await call.answers(2), 2, 1);
  assert(!call.bytes, 'audio where text was asked for');
  call.close();
  return answer;
}

async function noReply() {
  const turnDetection = { type: 'server_vad', createResponse: false, interruptResponse: false };
  const call = await Call.open(BRIEF, { audio: { input: { turnDetection } } });
  await call.microphone().say(node.say('question'));
  await call.until(() => call.of('conversation.item.done').length, 'the item');
  await sleep(1500);
  assert(!call.of('response.created').length, 'answered unasked');
  call.session.transport.sendEvent({ type: 'response.create' });
  const answer = await call.answers(1);
  call.close();
  return answer;
}

async function reconnect() {
  const first = await Call.open(BRIEF, { outputModalities: ['text'] });
  first.session.sendMessage('What is the capital of France?');
  await first.answers(1);
  const { history } = first.session;
  first.close();
  const call = await Call.open(BRIEF, { outputModalities: ['text'] });
  call.session.updateHistory(history);
  await call.until(() => call.of('conversation.item.added').length >= 2, 'the replayed items');
  call.session.sendMessage('And how many people live there?');
  await call.until(() => call.of('response.done').length, 'response.done');
  const { content } = call.of('response.done')[0].response.output[0];
  const answer = node.shown(content[0].text, 2, 1);
  call.close();
  return answer;
}

await main(
  { '@openai/agents': version },
  {
    greeting,
    speech,
    'second turn': second,
  'tool turn': toolTurn,
    'barge-in': bargeIn,
    'push-to-talk': pushToTalk,
    text,
    'no reply': noReply,
    reconnect,
  },
);
