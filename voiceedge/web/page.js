// What a person sees of a conversation: one button, the captions, and where the last turn's time went.

import { Conversation } from "./conversation.js";

const STATES = {
  connecting: "Connecting …",
  listening: "Listening",
  hearing: "Hearing you",
  thinking: "Thinking",
  speaking: "Speaking",
  ended: "",
};
// segments of the critical path, in its order: trace.py
const SEGMENTS = {
  wait: "the silence that shows you have finished",
  end_of_turn: "judging whether you have finished",
  stt: "turning your speech into text",
  llm: "thinking of the first words",
  tts: "turning them into speech",
  queue: "standing in line for the processor",
  send: "handing the first sound over",
};
const KEY = "voiceedge.key"; // in this tab's memory, which some browsers are set to have none of
const memory = (() => { try { return sessionStorage; } catch { return undefined; } })();
const QUIETEST_DB = -60; // level that the meter shows as nothing

const part = (id) => document.getElementById(id);
const button = part("talk");
const log = part("captions");

let conversation;

/** What a conversation tells the person. */
const listener = {
  state(state) {
    document.body.dataset.state = state;
    if (state === "hearing") part("trouble").textContent = ""; // they have gone on
    part("state").textContent = STATES[state];
  },
  level(rms) {
    const level = 1 - Math.max(QUIETEST_DB, 20 * Math.log10(rms + 1e-9)) / QUIETEST_DB;
    part("level").style.transform = `scaleX(${level.toFixed(2)})`;
  },
  userSpeaks(itemId) {
    caption(itemId, "user").replaceChildren(element("span", "quiet", "listening …"));
  },
  userSays(itemId, text) {
    if (text) caption(itemId, "user").replaceChildren(text);
    else part(itemId)?.remove();
  },
  agentSays(itemId, text) {
    caption(itemId, "agent").replaceChildren(text);
  },
  agentInterrupted(itemId, heard, unheard) {
    const mark = element("small", "interruption", "interrupted");
    caption(itemId, "agent").replaceChildren(heard, element("span", "quiet", unheard), " ", mark);
  },
  turn(trace) {
    if (trace.total_ms !== null) showTurn(trace);
  },
  trouble(words) {
    part("trouble").textContent = words;
  },
  keyWanted() {
    part("door").hidden = false;
    part("key").focus();
  },
  ended(words) {
    part("trouble").textContent = words ?? "";
    part("level").style.transform = "";
    button.textContent = "Start talking";
  },
};

part("key").value = memory?.getItem(KEY) ?? "";
part("door").hidden = !part("key").value;

button.addEventListener("click", () => {
  if (conversation && !conversation.hasEnded) {
    conversation.stop();
    return;
  }
  button.textContent = "Stop";
  part("trouble").textContent = "";
  part("turn").hidden = true;
  log.replaceChildren();
  const key = part("key").value.trim();
  memory?.setItem(KEY, key);
  conversation = new Conversation(listener, key);
  conversation.start();
});

/** The words of an item's caption, which is made where there is none yet. */
function caption(itemId, who) {
  let entry = part(itemId);
  if (!entry) {
    entry = part(`${who}-caption`).content.firstElementChild.cloneNode(true);
    entry.id = itemId;
    log.append(entry);
  }
  return entry.querySelector("p");
}

/** Show a turn's critical path as a bar, and beneath it every segment with its milliseconds. */
function showTurn({ total_ms: total, critical_path: path }) {
  part("total").textContent = `${Math.round(total)} ms`;
  part("bar").replaceChildren(...path.filter(({ ms }) => ms > 0).map(stretch));
  part("legend").replaceChildren(...path.map(legendEntry));
  part("turn").hidden = false;
}

function stretch({ segment, ms }) {
  const shown = element("span", segment, segment);
  shown.style.flexGrow = ms;
  shown.title = `${segment}: ${ms.toFixed(1)} ms`;
  return shown;
}

function legendEntry({ segment, ms }) {
  const entry = element("li", "");
  const parts = [
    element("i", segment),
    element("span", "name", segment),
    element("b", "", `${ms.toFixed(ms < 10 ? 1 : 0)} ms`),
    element("span", "meaning", SEGMENTS[segment]),
  ];
  entry.append(...parts);
  return entry;
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** For tests, and for the curious with a console. */
window.voiceedge = {
  inspect: () => conversation?.inspect() ?? { state: "idle", playedSeconds: 0, stretches: [], truncations: [] },
};
