// What a person sees of a conversation: one button, the captions, and where the last turn's time went.

import { Conversation } from "./conversation.js";

const STATES = {
  connecting: "connecting …",
  listening: "listening",
  hearing: "hearing you",
  thinking: "thinking",
  speaking: "speaking",
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
const QUIETEST_DB = -60; // level that the meter shows as nothing

const part = (id) => document.getElementById(id);
const button = part("talk");
const log = part("captions");

let conversation;

/** What a conversation tells the person. */
const listener = {
  state(state) {
    document.body.dataset.state = state;
    part("state").textContent = STATES[state];
  },
  level(rms) {
    const level = 1 - Math.max(QUIETEST_DB, 20 * Math.log10(rms + 1e-9)) / QUIETEST_DB;
    part("level").style.transform = `scaleX(${level.toFixed(2)})`;
  },
  userSays(itemId, text) {
    if (text) caption(itemId, "user").replaceChildren(text === "…" ? quiet("listening …") : text);
    else document.getElementById(itemId)?.remove();
  },
  agentSays(itemId, heard, unheard, isInterrupted) {
    const words = [heard];
    if (unheard) words.push(quiet(unheard));
    if (isInterrupted) words.push(interruption());
    caption(itemId, "agent").replaceChildren(...words);
  },
  turn(trace) {
    if (trace.total_ms !== null) showTurn(trace);
  },
  trouble(words) {
    part("trouble").textContent = words;
  },
  ended(words) {
    part("trouble").textContent = words ?? "";
    part("level").style.transform = "";
    button.textContent = "Start talking";
  },
};

button.addEventListener("click", () => {
  if (document.body.dataset.state !== "idle" && document.body.dataset.state !== "ended") {
    conversation.stop();
    return;
  }
  button.textContent = "Stop";
  part("trouble").textContent = "";
  part("turn").hidden = true;
  log.replaceChildren();
  conversation = new Conversation(listener);
  conversation.start();
});

/** The words of an item's caption, which is made where there is none yet. */
function caption(itemId, who) {
  let entry = document.getElementById(itemId);
  if (!entry) {
    entry = part(`${who}-caption`).content.firstElementChild.cloneNode(true);
    entry.id = itemId;
    log.append(entry);
  }
  entry.scrollIntoView({ block: "nearest" });
  return entry.querySelector("p");
}

function quiet(text) {
  return element("span", "quiet", text);
}

function interruption() {
  return element("small", "interruption", "interrupted");
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
  const entry = element("li", segment);
  const time = element("b", "", ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);
  entry.append(element("i", segment), element("span", "name", segment), time, element("span", "meaning", SEGMENTS[segment]));
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
