// One turn, drawn: its critical path as a bar among others, and what can be known of it when somebody asks.

export const NETWORK = "network";
/** Segments of the critical path, in its order (trace.py), and the leg that is not the node's. */
export const SEGMENTS = {
  wait: "the silence that shows that the user has finished",
  end_of_turn: "judging whether the user has finished",
  stt: "turning speech into text",
  llm: "thinking of the first words",
  tts: "turning them into speech",
  queue: "standing in line for the processor",
  send: "handing the first sound over",
  [NETWORK]: "to the caller and back",
};
// what ran when: segment, its first mark that was reached, its last, and where its work went on to
const STAGES = [
  ["wait", [], ["wait_over"]],
  ["end_of_turn", ["wait_over"], ["endpoint"]],
  ["stt", ["stt_started"], ["stt_final"]],
  ["llm", ["llm_started", "stt_final"], ["llm_first_clause", "llm_first_token"], "llm_done"],
  ["tts", ["llm_first_clause"], ["tts_first_audio"]],
  ["send", ["tts_first_audio"], ["first_audio_out"]],
];
const FACTS = {
  prefill_tokens: ["tokens read", ""],
  cached_tokens: ["tokens already known", ""],
  completion_tokens: ["tokens written", ""],
  audio_ms: ["speech made", "ms"],
  work_ms: ["work of the engines", "ms"],
  wasted_ms: ["work thrown away", "ms"],
  speculated: ["drafted while deciding", "yes"],
  answer_ready_at_endpoint: ["ready when decided", "yes"],
  followed_ms: ["work while the user spoke", "ms"],
  barge_in_evidence_ms: ["interruption noticed after", "ms"],
  barge_in_stop_ms: ["engines free after another", "ms"],
  round_trip_ms: ["network, there and back", "ms"],
  last_voiced_ms: ["last word, in the session's sound", "ms"],
};
const VERDICT = ["over_budget", "over_budget_ms", "over_budget_limit_ms"]; // shown with the segments instead
const OUTCOMES = {
  cancelled: "interrupted before its first sound",
  failed: "failed",
  completed: "no sound",
  incomplete: "cut short, no sound",
};

export function element(name, className = "", ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

/** A time as it is read: whole milliseconds, below ten their tenths; – where there is none. */
export function ms(value) {
  if (value === null || value === undefined) return "–";
  return `${value.toFixed(value > 0 && value < 9.95 ? 1 : 0)} ms`;
}

export const words = (segment) => segment.replaceAll("_", " ");

/** The bar's length in ms: what the node took, and the network where it was measured. */
export const reach = (turn) => (turn.total_ms ?? 0) + (turn.facts.round_trip_ms ?? 0);

/** The button of a turn; `aria-expanded` says whether its details are shown. */
export function row(turn, span) {
  const time = new Date(turn.at * 1000).toLocaleTimeString();
  const made = element("button", "row", who(turn, time), plot(turn, span), took(turn));
  made.type = "button";
  made.setAttribute("aria-expanded", "false");
  made.setAttribute("aria-label", `Turn ${turn.turn} of ${turn.session}, ${time}: ${spoken(turn)}`);
  return made;
}

/** Tell a bar that the scale has changed. */
export function rescale(row, turn, span) {
  row.querySelector(".plot").classList.toggle("beyond", reach(turn) > span);
}

function who(turn, time) {
  return element("span", "who", `${time} `, element("small", "", `${turn.session} #${turn.turn}`));
}

function plot(turn, span) {
  const made = element("span", "plot");
  if (turn.total_ms === null) {
    made.append(element("span", "note", OUTCOMES[turn.status] ?? turn.status));
    return made;
  }
  const legs = turn.critical_path.filter((leg) => leg.ms > 0);
  if (turn.facts.round_trip_ms > 0) legs.push({ segment: NETWORK, ms: turn.facts.round_trip_ms });
  made.append(...legs.map(stretch));
  made.classList.toggle("beyond", reach(turn) > span);
  return made;
}

function stretch(leg) {
  const made = element("span", leg.segment);
  made.style.setProperty("--ms", leg.ms);
  made.title = `${words(leg.segment)}: ${ms(leg.ms)}`;
  return made;
}

function took(turn) {
  const blame = turn.facts.over_budget;
  const made = element("span", "took");
  if (blame) made.append(element("small", "over", `${words(blame)} ▲ `));
  made.append(element("b", blame ? "over" : "", turn.total_ms === null ? "–" : ms(turn.total_ms)));
  return made;
}

function spoken(turn) {
  if (turn.total_ms === null) return OUTCOMES[turn.status] ?? turn.status;
  const blame = turn.facts.over_budget;
  return `${ms(turn.total_ms)}${blame ? `, over budget because of ${words(blame)}` : ""}`;
}

/** Everything that is known of a turn. `limits` are those of the budget, by segment. */
export function detail(turn, limits) {
  const made = element("div", "detail");
  if (turn.total_ms !== null) made.append(path(turn, limits));
  if (Object.keys(turn.marks_ms).length) made.append(stages(turn));
  made.append(facts(turn));
  return made;
}

function path(turn, limits) {
  const table = element("table");
  const body = table.createTBody();
  for (const { segment, ms: took } of turn.critical_path) entry(body, segment, took, limits[segment], turn.total_ms);
  const foot = table.createTFoot();
  entry(foot, "total", turn.total_ms, limits.total, turn.total_ms);
  const trip = turn.facts.round_trip_ms;
  if (trip !== undefined) {
    entry(foot, NETWORK, trip, limits[NETWORK]);
    foot.lastChild.childNodes.forEach((cell) => cell.classList.add("quiet"));
  }
  return element("section", "", element("h2", "", "What the user waited for"), table);
}

function entry(part, segment, took, limit, total) {
  const made = part.insertRow();
  const name = made.insertCell();
  name.append(element("i", `swatch ${segment}`), words(segment));
  name.title = SEGMENTS[segment] ?? "";
  made.insertCell().append(limit ? `of ${ms(limit)}` : "");
  made.insertCell().append(element("span", limit && took >= limit ? "over" : "", ms(took)));
  made.insertCell().append(total && segment !== "total" ? `${Math.round((100 * took) / total)} %` : "");
}

/** Stages overlap: what was done while something else was waited for is not on the critical path. */
function stages(turn) {
  const marks = turn.marks_ms;
  const first = (names) => names.map((name) => marks[name]).find((at) => at !== undefined);
  const begin = Math.min(0, ...Object.values(marks));
  const end = marks.first_audio_out ?? Math.max(...Object.values(marks));
  const made = element("div", "stages");
  made.style.setProperty("--begin", begin);
  made.style.setProperty("--reach", Math.max((end - begin) * 1.04, 1));
  for (const [segment, begins, ends, rest] of STAGES) {
    const [from, to] = [begins.length ? first(begins) : 0, first(ends)];
    if (from === undefined || to === undefined) continue;
    const track = element("span", "track", bar(segment, Math.min(from, to), to));
    if (marks[rest] > to) track.append(bar(`${segment} rest`, to, marks[rest]));
    if (marks.endpoint !== undefined) track.append(line(marks.endpoint));
    track.title = `${words(segment)}: ${ms(from)} to ${ms(to)}`;
    made.append(element("span", "", words(segment)), track);
  }
  const scale = element("div", "scale", label(0, "last word"));
  const decided = marks.endpoint;
  if (decided !== undefined) scale.append(label(decided, `decided ${ms(decided)}`, "1.1em"));
  if (marks.first_audio_out !== undefined) scale.append(label(end, `first sound ${ms(end)}`));
  made.append(scale);
  return element("section", "", element("h2", "", "What ran when"), made);
}

function bar(className, from, to) {
  const made = element("i", className);
  made.style.setProperty("--from", from);
  made.style.setProperty("--to", to);
  return made;
}

function line(at) {
  const made = element("u");
  made.style.setProperty("--at", at);
  return made;
}

function label(at, text, top = "0") {
  const made = element("span", "", text);
  made.style.setProperty("--at", at);
  made.style.setProperty("--top", top);
  return made;
}

function facts(turn) {
  const list = element("dl", "facts");
  const known = { status: turn.status, ...turn.facts };
  const names = new Set(["status", ...Object.keys(FACTS), ...Object.keys(known)]); // what is explained comes first
  for (const name of names) {
    const value = known[name];
    if (value === undefined || VERDICT.includes(name)) continue;
    const [title, unit] = FACTS[name] ?? [words(name.replace(/_ms$/, "")), name.endsWith("_ms") ? "ms" : ""];
    list.append(element("dt", "", title), element("dd", "", shown(value, unit)));
  }
  return element("section", "", element("h2", "", "Facts"), list);
}

function shown(value, unit) {
  if (unit === "yes") return value ? "yes" : "no";
  if (unit === "ms") return ms(value);
  return String(value);
}
