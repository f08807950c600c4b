// @openai/agents as a browser runs it: its bundle, a client secret, and a socket that has no headers.

import { WebSocket } from 'ws';

globalThis.WebSocket = WebSocket; // the bundle takes it when it is loaded
const bundle = './node_modules/@openai/agents-realtime/dist/bundle/openai-realtime-agents.mjs';
const { RealtimeAgent, RealtimeSession } = await import(bundle);
const node = process.argv[2];
const body = JSON.stringify({ session: { type: 'realtime', audio: { output: { voice: 'marin' } } } });
const { value } = await (await fetch(`${node}/v1/realtime/client_secrets`, { method: 'POST', body })).json();
const agent = new RealtimeAgent({ name: 'Assistant', instructions: 'Answer in one sentence.' });
const session = new RealtimeSession(agent, { transport: 'websocket' });
session.on('error', ({ error }) => {
  throw error;
});
const created = new Promise((resolve) => {
  session.transport.on('*', (event) => event.type === 'session.created' && resolve(event));
});
await session.connect({ apiKey: value, url: `${node.replace('http', 'ws')}/v1/realtime?model=voiceedge` });
console.log('realtime', (await created).session.audio.output.voice);
session.close(); // not before it is connected: it would call that an error
