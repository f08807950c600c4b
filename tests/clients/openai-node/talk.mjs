// openai-node: OpenAIRealtimeWS, which speaks only wss: to a node with a certificate.

import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { readFileSync } from 'node:fs';
import { assert, ATLAS, CAPITAL, main, Microphone, milliseconds, node, sleep, STORYTELLER, TOOL, until } from './scenarios.mjs';

const { version } = JSON.parse(readFileSync(new URL('./node_modules/openai/package.json', import.meta.url)));
const NAMES = {
  type: 'realtime',
  model: 'gpt-realtime',
  audio: {
    input: {
      noise_reduction: { type: 'near_field' },
      transcription: { model: 'gpt-4o-mini-transcribe' },
      turn_detection: { type: 'semantic_vad' },
    },
    output: { voice: 'marin' },
  },
};

/** An open connection and what came over it. */
class Call {
  static async open(session, config = { model: 'voiceedge' }) {
    const client = new OpenAI({ baseURL: node.baseUrl, apiKey: 'any' });
    const call = new Call();
    call.events = [];
    call.errors = [];
    call.rt = new OpenAIRealtimeWS(config, client);
    call.rt.on('event', (event) => call.events.push(event));
    call.rt.on('error', (error) => call.errors.push(error));
    await call.until('session.created');
    if (session) {
      call.rt.send({ type: 'session.update', session });
      await call.until('session.updated');
    }
    return call;
  }

  of(type) {
    return this.events.filter((event) => event.type === type);
  }

  async until(type, times = 1) {
    await until(() => this.errors.length || this.of(type).length >= times, `${type} ${times}`);
    if (this.errors.length) throw this.errors[0];
    return this.of(type)[times - 1];
  }

  bytes(responseId) {
    const deltas = this.of('response.output_audio.delta').filter((event) => event.response_id === responseId);
    return deltas.reduce((sum, event) => sum + Buffer.from(event.delta, 'base64').length, 0);
  }

  append(pcm16) {
    this.rt.send({ type: 'input_audio_buffer.append', audio: Buffer.from(pcm16).toString('base64') });
  }

  microphone() {
    this.mic = new Microphone((pcm16) => this.append(pcm16));
    return this.mic;
  }

  write(text, fields = {}) {
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text }], ...fields };
    this.rt.send({ type: 'conversation.item.create', item });
  }

  /** Words of the answer number `times`, once its audio has been checked. */
  async answers(times, leastMs = 500) {
    const { response } = await this.until('response.done', times);
    assert(response.status === 'completed', JSON.stringify(response.status_details));
    assert(milliseconds(this.bytes(response.id)) > leastMs, `less than ${leastMs} ms of audio`);
    return response.output[0].content[0].transcript;
  }

  close() {
    this.mic?.close();
    this.rt.close();
    if (this.errors.length) throw this.errors[0];
  }
}

async function greeting() {
  const call = await Call.open();
  call.rt.send({ type: 'response.create', response: { instructions: 'Greet the user.' } });
  const answer = await call.answers(1);
  call.close();
  return answer;
}

async function speech() {
  const call = await Call.open(NAMES);
  await call.microphone().say(node.say('question'));
  const { transcript } = await call.until('conversation.item.input_audio_transcription.completed');
  assert(transcript.includes('capital'), transcript);
  const answer = await call.answers(1);
  call.close();
  return `${transcript} ${answer}`;
}

async function second() {
  const call = await Call.open(NAMES);
  const microphone = call.microphone();
  await microphone.say(node.say('question'));
  await call.answers(1);
  // who speaks earlier interrupts what is still being played
  await sleep(milliseconds(call.bytes(call.of('response.done')[0].response.id)));
  await microphone.say(node.say('followup'));
  const answer = node.shown(await call.answers(2), 2, 1);
  call.close();
  return answer;
}

async function toolTurn() {
  const call = await Call.open({ type: 'realtime', instructions: ATLAS, tools: [{ type: 'function', ...TOOL }] });
  call.write('What is the capital of France?');
  call.rt.send({ type: 'response.create' });
  const asked = await call.until('response.function_call_arguments.done');
  assert(asked.name === 'capital' && 'country' in JSON.parse(asked.arguments), JSON.stringify(asked));
  await call.until('response.done');
  const item = { type: 'function_call_output', call_id: asked.call_id, output: CAPITAL };
  call.rt.send({ type: 'conversation.item.create', item });
  call.rt.send({ type: 'response.create' });
  const answer = await call.answers(2, 200); // one word may do
  assert(answer.includes(CAPITAL), answer);
  call.close();
  return `capital${asked.arguments} ${answer}`;
}

async function bargeIn() {
  const call = await Call.open({ ...NAMES, instructions: STORYTELLER });
  const microphone = call.microphone();
  await microphone.say(node.say('story'));
  const first = await call.until('response.output_audio.delta');
  await microphone.say(node.say('stop'));
  const { response: dead } = await call.until('response.done');
  assert(dead.id === first.response_id && dead.status === 'cancelled', JSON.stringify(dead.status_details));
  call.rt.send({
    type: 'conversation.item.truncate',
    item_id: first.item_id,
    content_index: 0,
    audio_end_ms: 400,
  });
  await call.until('conversation.item.truncated');
  const after = await call.until('response.created', 2);
  await until(() => call.bytes(after.response.id), 'audio of the next answer');
  call.close();
  return 'cancelled, truncated, answered again';
}

async function pushToTalk() {
  const call = await Call.open({ type: 'realtime', audio: { input: { turn_detection: null } } });
  const question = node.say('question');
  for (let begin = 0; begin < question.length; begin += 4800) call.append(question.subarray(begin, begin + 4800));
  call.rt.send({ type: 'input_audio_buffer.commit' });
  call.rt.send({ type: 'response.create' });
  const answer = await call.answers(1);
  call.close();
  return answer;
}

async function text() {
  const call = await Call.open({ type: 'realtime', output_modalities: ['text'] });
  call.write('What is the capital of France?');
  call.rt.send({ type: 'response.create' });
  const { response } = await call.until('response.done');
  const words = call.of('response.output_text.delta').map((event) => event.delta).join('');
  assert(words && words === response.output[0].content[0].text, words);
  call.close();
  return words;
}

async function transcription() {
  const session = { type: 'transcription', audio: { input: { transcription: { model: 'gpt-4o-transcribe' } } } };
  const call = await Call.open(session, { intent: 'transcription' });
  await call.microphone().say(node.say('question'));
  const { transcript } = await call.until('conversation.item.input_audio_transcription.completed');
  assert(transcript.includes('capital'), transcript);
  call.close();
  return transcript;
}

async function noReply() {
  const detection = { type: 'server_vad', create_response: false, interrupt_response: false };
  const call = await Call.open({ type: 'realtime', audio: { input: { turn_detection: detection } } });
  await call.microphone().say(node.say('question'));
  await call.until('conversation.item.done');
  await sleep(1500);
  assert(!call.of('response.created').length, 'answered unasked');
  call.rt.send({ type: 'response.create' });
  const answer = await call.answers(1);
  call.close();
  return answer;
}

async function reconnect() {
  const call = await Call.open();
  call.write('What is the capital of France?', { id: 'mine-1' });
  call.rt.send({
    type: 'conversation.item.create',
    previous_item_id: 'mine-1',
    item: { id: 'mine-2', type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Paris.' }] },
  });
  const { item } = await call.until('conversation.item.done', 2);
  assert(item.id === 'mine-2', item.id);
  call.write('And how many people live there?');
  call.rt.send({ type: 'response.create' });
  const answer = node.shown(await call.answers(1), 2, 1);
  call.close();
  return answer;
}

await main(
  { openai: version },
  {
    greeting,
    speech,
    'second turn': second,
  'tool turn': toolTurn,
    'barge-in': bargeIn,
    'push-to-talk': pushToTalk,
    text,
    transcription,
    'no reply': noReply,
    reconnect,
  },
);
