// openai-node as a browser runs it: a client secret, brought as a subprotocol because browsers' sockets have no headers.

import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';
import { WebSocket } from 'ws';

globalThis.WebSocket = WebSocket; // Node has none of its own before version 22
const baseURL = `${process.argv[2]}/v1`;
const owner = new OpenAI({ baseURL, apiKey: 'any' });
const { value } = await owner.realtime.clientSecrets.create({
  expires_after: { anchor: 'created_at', seconds: 60 },
  session: { type: 'realtime', instructions: 'Be brief.' },
});
const page = new OpenAI({ baseURL, apiKey: value, dangerouslyAllowBrowser: true });
const connection = new OpenAIRealtimeWebSocket({ model: 'voiceedge' }, page);
connection.on('error', (error) => {
  throw error;
});
connection.on('session.created', ({ session }) => {
  console.log(connection.socket.protocol, session.instructions);
  connection.close();
});
