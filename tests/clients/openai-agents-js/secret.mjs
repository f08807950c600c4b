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
session.transport.on('*', (event) => {
  if (event.type !== 'session.created') return;
  console.log('realtime', event.session.audio.output.voice);
  session.close();
});
await session.connect({ apiKey: value, url: `${node.replace('http', 'ws')}/v1/realtime?model=voiceedge` });
