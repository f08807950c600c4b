// The live view: what the node tells of its turns over server-sent events, as it tells it.

import { detail, element, ms, NETWORK, reach, rescale, row, SEGMENTS, words } from "./waterfall.js";

const EVENTS = "../trace/events"; // relative to this module: works behind a proxy's prefix too
const KEPT_TURNS = 200; // as many as the node keeps
const OTHERS = 3; // kinds of events beside turns, of which the latest is held
const SILENT_MS = 40_000; // the node says something every 15 s: it is gone when it misses two of them
const RETRY_MS = 2000;
const TICK_PX = 130; // about so far apart are the axis's numbers
const LABEL_PX = 60; // and one needs so much
const NO_ROOM = { // instead of how much is left, in the states of `/readyz` but `ready`
  busy: "busy: takes no more for now",
  loading: "loads an engine anew: give it a moment",
  draining: "The node is about to stop and takes no more.",
};

const part = (id) => document.getElementById(id);
const list = part("list");

let limits = {}; // of the budget, by segment
let span = 1000; // ms that the bars' width stands for
let skew_s = 0; // of the node's clock and this one's
let sessions = [];
let paused = false;
let held = []; // events that came meanwhile: as many turns as would be shown, the latest of everything else
let source;
let silence;
const shownTurns = new Map(); // by the element of the list

// ── what the node says ──────────────────────────────────────────────────────────────────────────────────

const show = {
  snapshot({ version, at, limits: of, turns, figures, standing }) {
    document.title = `VoiceEdge ${version}: where the time goes`;
    skew_s = at - Date.now() / 1000;
    limits = of;
    shownTurns.clear();
    list.replaceChildren();
    for (const turn of turns) addTurn(turn);
    part("empty").hidden = turns.length > 0;
    show.figures(figures);
    show.sessions(standing);
    scale();
  },
  turn(turn) {
    addTurn(turn).classList.add("new");
    scale();
  },
  figures(figures) {
    showTotals(figures);
    showBudget(figures);
    showOverruns(figures);
    showLegend(figures.segments);
  },
  sessions({ sessions: open, capacity }) {
    sessions = open;
    showSessions();
    showCapacity(capacity);
  },
};

function connect() {
  source = new EventSource(new URL(EVENTS, import.meta.url));
  for (const name of [...Object.keys(show), "beat"]) {
    source.addEventListener(name, (event) => take(name, JSON.parse(event.data)));
  }
  source.addEventListener("error", lose);
  listenFor();
}

function take(name, data) {
  listenFor();
  if (name === "beat") return;
  if (name === "snapshot" && !paused) enter("live", "Live");
  if (!paused) {
    show[name](data);
    return;
  }
  if (name === "snapshot") held = []; // it holds all that came before
  else if (name !== "turn") held = held.filter(([other]) => other !== name);
  held.push([name, data]);
  if (held.length > KEPT_TURNS + OTHERS) held.splice(held.findIndex(([other]) => other === "turn"), 1);
  sayHeld();
}

/** The browser would try again by itself, but not after every kind of end, and it says nothing meanwhile. */
function lose() {
  source.close();
  clearTimeout(silence);
  enter("gone", "The node is gone, trying again …");
  setTimeout(connect, RETRY_MS);
}

function listenFor() {
  clearTimeout(silence);
  silence = setTimeout(lose, SILENT_MS);
}

function enter(state, says) {
  if (part("status").textContent === says && document.body.dataset.feed === state) return; // it is read aloud
  document.body.dataset.feed = state;
  part("status").textContent = says;
}

// ── pause ───────────────────────────────────────────────────────────────────────────────────────────────

part("pause").addEventListener("click", () => {
  paused = !paused;
  part("pause").setAttribute("aria-pressed", paused);
  part("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) {
    enter("paused", "Paused");
    return;
  }
  if (source.readyState === EventSource.OPEN) enter("live", "Live");
  else enter("connecting", "Connecting …");
  const missed = held;
  held = [];
  for (const [name, data] of missed) show[name](data);
});

function sayHeld() {
  const turns = held.filter(([name]) => name === "turn").length;
  enter("paused", turns ? `Paused, ${turns} more since` : "Paused");
}

// ── the turns ───────────────────────────────────────────────────────────────────────────────────────────

function addTurn(turn) {
  const entry = element("li");
  const bar = row(turn, span);
  bar.addEventListener("click", () => toggle(entry, bar, turn));
  entry.append(bar);
  shownTurns.set(entry, turn);
  list.prepend(entry);
  while (list.childElementCount > KEPT_TURNS) {
    shownTurns.delete(list.lastChild);
    list.lastChild.remove();
  }
  part("empty").hidden = true;
  return entry;
}

function toggle(entry, bar, turn) {
  const opened = bar.getAttribute("aria-expanded") === "true";
  bar.setAttribute("aria-expanded", !opened);
  if (opened) entry.lastChild.remove();
  else entry.append(detail(turn, limits));
}

/** Fit the axis to the turns, but not to a few that took many times as long: those run off it. */
function scale() {
  const turns = [...shownTurns.values()];
  const times = turns.map(reach).filter((time) => time > 0).sort((a, b) => a - b);
  const middle = times[Math.floor(times.length / 2)] ?? 0;
  const budget = limits.total ?? 0;
  const longest = Math.min(times.at(-1) ?? 0, Math.max(3 * middle, 1.5 * budget));
  const wanted = 1.02 * Math.max(longest, 1.1 * budget, 100);
  const width = Math.max(part("scale").clientWidth, TICK_PX);
  const step = niceStep((wanted * TICK_PX) / width);
  const next = Math.ceil(wanted / step) * step;
  if (next !== span) for (const [entry, turn] of shownTurns) rescale(entry.firstChild, turn, next);
  span = next;
  part("turns").style.setProperty("--span", span);
  drawAxis(step, (span * LABEL_PX) / width);
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}

/** Lines and numbers every `step` ms; a number that the budget's or the edge leaves no `room` (in ms) is not shown. */
function drawAxis(step, room) {
  const ticks = Array.from({ length: Math.floor(span / step) + 1 }, (_, index) => index * step);
  const budget = limits.total ?? Infinity;
  const named = ticks.filter((at) => Math.abs(at - budget) > 1.2 * room && at <= span - room / 4);
  const names = named.map((at) => placed(element("span", "", at ? String(at) : "0 ms"), at));
  const lines = ticks.map((at) => placed(element("i"), at));
  if (limits.total) {
    names.push(placed(element("span", "budget", `budget ${budget}`), budget));
    lines.push(placed(element("i", "budget"), budget));
  }
  part("scale").replaceChildren(...names);
  part("grid").replaceChildren(...lines);
}

function placed(made, at) {
  made.style.setProperty("--at", at);
  return made;
}

window.addEventListener("resize", scale);

// ── the figures ─────────────────────────────────────────────────────────────────────────────────────────

function showTotals({ total, segments, last, failed }) {
  part("p50").textContent = number(total.p50);
  part("p95").textContent = number(total.p95);
  const heard = last === 1 ? "one turn" : `the last ${last} turns`;
  part("of").textContent = `ms${last ? `, ${heard}` : ""}${failed ? `; ${failed} failed` : ""}`;
  part("make-up").replaceChildren(...Object.entries(segments).map(([name, { p50 }]) => share(name, p50)));
}

const number = (value) => (value === null ? "–" : Math.round(value).toString());

function share(name, size) {
  const made = element("span", name);
  made.style.setProperty("--part", size ?? 0);
  made.title = words(name);
  made.hidden = !size;
  return made;
}

function showBudget({ budget, last, failed }) {
  if (!budget.length) {
    const how = element("code", "", 'voiceedge serve --budget "p95<800ms"');
    part("budget").replaceChildren(element("small", "", "None is set: ", how));
    return;
  }
  const judged = last + failed > 0;
  part("budget").replaceChildren(...budget.map((limit) => limitEntry(limit, judged)));
}

function limitEntry({ what, percentile, limit_ms: limit, found_ms: found, kept }, judged) {
  const name = element("span", "", element("i", `swatch ${what}`), words(what));
  const verdict = kept ? "kept" : "over";
  const mark = element("span", judged ? verdict : "", judged ? { kept: "✓", over: "✕" }[verdict] : "");
  mark.setAttribute("aria-label", judged ? verdict : "");
  const reached = element("b", judged ? verdict : "", judged ? number(found) : "–");
  return element("li", "", name, element("span", "", `p${percentile} < ${limit}`), reached, mark);
}

function showOverruns({ over_budget: counts, turns }) {
  const ordered = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const sum = ordered.reduce((total, [, count]) => total + count, 0);
  part("overruns").textContent = sum;
  part("overruns").className = sum ? "over" : "";
  part("overruns-of").textContent = `of ${turns} turns`;
  part("blame").replaceChildren(...ordered.map(([name, count]) => share(name, count)));
  const blamed = ordered.map(([name, count]) => `${words(name)} ${count}`);
  part("blamed").textContent = blamed.join(" · ") || "since the start";
}

function showLegend(segments) {
  const entries = Object.keys(SEGMENTS).filter((name) => name !== NETWORK || segments[name]);
  part("legend").replaceChildren(...entries.map((name) => {
    const middle = segments[name]?.p50;
    const made = element("li", "", element("i", `swatch ${name}`), words(name));
    if (middle !== undefined) made.append(" ", element("b", "", ms(middle)));
    made.title = `${SEGMENTS[name]}; at the median`;
    return made;
  }));
}

// ── the node ────────────────────────────────────────────────────────────────────────────────────────────

function showCapacity({ sessions: taken, max_sessions: places, state, queue, cpu, cores }) {
  part("taken").textContent = taken;
  part("places").textContent = `of ${places}`;
  part("pips").replaceChildren(...pips(places, taken));
  const free = places - taken;
  part("left").textContent = NO_ROOM[state] ?? `room for ${free} more`;
  part("left").className = state !== "ready" || !free ? "over" : "";
  part("cpu").textContent = cpu === null ? "–" : cpu.toFixed(1);
  part("cores").textContent = `of ${cores} ${cores === 1 ? "core" : "cores"}`;
  part("load").replaceChildren(...pips(20, Math.round((20 * (cpu ?? 0)) / cores)));
  const waiting = `${queue} engine ${queue === 1 ? "step waits" : "steps wait"}`;
  part("queue").textContent = queue ? waiting : "nothing waits for it";
  if (!paused) enter("live", state === "draining" ? "Live, the node is stopping" : "Live");
}

function pips(places, taken) {
  const shown = Math.min(places, 64);
  return Array.from({ length: shown }, (_, index) => element("i", (index * places) / shown < taken ? "taken" : ""));
}

function showSessions() {
  part("sessions").replaceChildren(...sessions.map(sessionEntry));
}

function sessionEntry({ id, state, opened_at: opened, turn, total_ms: total, round_trip_ms: trip }) {
  const figures = [age(opened), `#${turn}`];
  if (total !== null) figures.push(ms(total));
  if (trip !== null) figures.push(`ping ${ms(trip)}`);
  const names = [element("span", "state", state), element("code", "", id)];
  const made = element("li", state, element("i"), ...names, element("span", "figures", figures.join(" · ")));
  made.title = "state, end of its name, age, last turn, what that took, and the network there and back";
  return made;
}

function age(opened) {
  const seconds = Math.max(0, Math.round(Date.now() / 1000 + skew_s - opened));
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes}:${String(seconds % 60).padStart(2, "0")} min` : `${seconds} s`;
}

setInterval(() => {
  if (!paused) showSessions();
}, 1000);

connect();

/** For tests, and for the curious with a console. */
window.voiceedge = {
  inspect: () => ({ feed: document.body.dataset.feed, turns: shownTurns.size, span, held: held.length }),
};
