// The report: reads its figures out of the page, and writes every word as text, never as markup.

const report = JSON.parse(document.getElementById("report").textContent);
const part = (id) => document.getElementById(id);

// segments of the critical path in its order (voiceedge/trace.py), then what lies beyond the node
const NAMES = {
  zero_shift: "zero shift",
  wait: "endpoint wait", end_of_turn: "end of turn", stt: "stt", llm: "llm", tts: "tts", queue: "queueing", send: "send",
  network: "network", leading_silence: "leading silence", unexplained: "unexplained",
};
const legName = (segment) => NAMES[segment] ?? segment.replaceAll("_", " ");
const colour = (segment) => `var(--${segment in NAMES ? segment : "other"})`;

/** What was not right with a turn, in words. */
function wrong(turn) {
  const found = turn.problems.map((problem) => problem.replaceAll("_", " "));
  return turn.wrong_transcript ? [...found, "transcript wrong"] : found;
}

// ── what is chosen ─────────────────────────────────────────────────────────────────────────────────────────

const sum = (turn, segments) => (turn.critical_path.length ? turn.critical_path.filter((leg) => segments.includes(leg.segment)).reduce((all, leg) => all + leg.ms, 0) : null);
const leg = (turn, name) => turn.legs.find((one) => one.segment === name)?.ms ?? null;
const COLUMNS = [
  ["#", (turn, place) => place + 1],
  ["at s", (turn) => turn.at_s],
  ["conv.", (turn) => turn.session],
  ["recording", (turn) => turn.audio, "text name"],
  ["client", (turn) => turn.client_v2v_ms],
  ["node", (turn) => turn.server_v2v_ms],
  ["wait", (turn) => sum(turn, ["wait"])],
  ["queue", (turn) => sum(turn, ["queue"])],
  ["compute", (turn) => sum(turn, ["end_of_turn", "stt", "llm", "tts", "send"])],
  ["network", (turn) => turn.network_ms],
  ["silence", (turn) => turn.leading_silence_ms],
  ["zero shift", (turn) => turn.zero_shift_ms],
  ["unexplained", (turn) => leg(turn, "unexplained")],
  ["wrong", (turn) => [...wrong(turn), ...turn.errors].join(", "), "text bad"],
  ["user", (turn) => turn.user_text, "text words"],
  ["agent", (turn) => turn.agent_text, "text words"],
];

const median = report.turns.filter((turn) => turn.client_v2v_ms !== null && turn.legs.length)
  .sort((a, b) => a.client_v2v_ms - b.client_v2v_ms);
const state = {
  chosen: median[Math.ceil(median.length / 2) - 1] ?? report.turns[0] ?? null,
  order: report.turns.map((turn, place) => ({ turn, place })),
  by: 0,
  down: false,
  conversation: "all",
};

const page = {
  chosen: () => state.chosen,
  shows: (turn) => state.conversation === "all" || String(turn.session) === state.conversation,
  choose(turn) {
    state.chosen = turn;
    drawAll();
    showTurn();
    for (const row of part("turns").tBodies[0]?.rows ?? []) row.classList.toggle("chosen", row.turn === turn);
  },
};

function step(by) {
  const at = state.order.findIndex((one) => one.turn === state.chosen);
  const next = state.order[at + by];
  if (!next) return;
  page.choose(next.turn);
  const list = part("rows");
  const row = [...part("turns").tBodies[0].rows].find((one) => one.turn === next.turn);
  if (row) list.scrollTop = row.offsetTop - list.clientHeight / 2; // only the list moves, not the page
}

// ── words and figures ──────────────────────────────────────────────────────────────────────────────────────

const percentile = (times, value) => (value === null && times.failed ? "∞" : ms(value));

function showHead() {
  const about = report.environment;
  const when = about.finished_at ? new Date(about.finished_at * 1000).toLocaleString() : "";
  part("subject").textContent = [about.url, when, `${report.turns.length} turns`, report.node?.region?.name].filter(Boolean).join(" · ");
  part("interval").textContent = report.interval;
  const alarms = [...(report.self_check?.void ? [`Void: the bench itself could not keep up. ${report.self_check.faults.join("; ")}`] : [])];
  if (report.interrupted) alarms.push(`Ended early: ${report.interrupted}`);
  part("alarm").hidden = !alarms.length;
  part("alarm").textContent = alarms.join(" ");
  part("schema").textContent = report.schema;
}

function showCards() {
  const times = report.summary.client_v2v_ms;
  const figure = (name, value, unit) => element("div", "", element("span", "", name), element("b", "", value, element("small", "", ` ${unit}`)));
  const cards = ["p50", "p95", "p99"].map((name) => figure(`${name} voice to voice`, percentile(times, times[name]), "ms"));
  cards.push(figure("slowest answer", ms(times.max), "ms"));
  cards.push(figure("failed turns", String(report.summary.failed), `of ${report.summary.turns}`));
  if (report.ramp) cards.unshift(figure("capacity", String(report.ramp.capacity), "conversations"));
  part("cards").replaceChildren(...cards);
  part("verdicts").replaceChildren(...report.verdicts.map(verdict), ...changed());
}

const verdict = (one) => element("li", one.kept ? "" : "missed", element("b", "", one.kept ? "✓ " : "✗ "), one.said);

/** What became of the node since an older report. */
function changed() {
  if (!report.change) return [];
  const { verdict: became, sentence, warnings } = report.change;
  const line = element("li", { slower: "missed", faster: "" }[became] ?? "even", "Compared with the older report: ", element("b", "", sentence));
  return [line, ...warnings.map((warning) => element("li", "aside", `Mind: ${warning}`))];
}

function showPercentiles() {
  const { summary } = report;
  const rows = [
    ["client, all turns", summary.client_v2v_ms], ["warm", report.warm.client_v2v_ms], ["cold", report.cold.client_v2v_ms],
    ["endpoint wait", summary.wait_ms, "head"], ["queueing", summary.queue_ms], ["compute", summary.compute_ms],
    ["network", summary.network_ms], ["leading silence of the voice", summary.leading_silence_ms], ["node’s zero is later by", summary.zero_shift_ms], ["unexplained", summary.unexplained_ms],
    ["node’s own figure", summary.server_v2v_ms, "head"], ["client minus node", summary.remainder_ms],
    ["interrupted: silent after", summary.barge_in_ms, "head"], ["interrupted: still sent for", summary.dead_audio_ms],
  ].filter(([, times]) => times.n);
  const head = element("tr", "", ...["", "n", "p50", "p95", "p99", "max"].map((name) => element("th", "", name)));
  const body = rows.map(([name, times, kind]) => {
    const cells = [String(times.n), ...["p50", "p95", "p99"].map((one) => percentile(times, times[one])), ms(times.max)];
    const title = element("th", "", name);
    title.scope = "row";
    return element("tr", kind ?? "", title, ...cells.map((cell) => element("td", "", cell)));
  });
  part("percentiles").replaceChildren(element("thead", "", head), element("tbody", "", ...body));
  part("judged").replaceChildren(...judgement().map((line) => element("li", "", line)));
}

function judgement() {
  const { summary } = report;
  const lines = Object.entries(summary.problems).filter(([, count]) => count).map(([name, count]) => `${count} × ${name.replaceAll("_", " ")}`);
  if (summary.transcripts) {
    const { errors, words, wrong: bad, turns } = summary.transcripts;
    lines.push(`Words: ${((100 * errors) / Math.max(words, 1)).toFixed(1)} % wrong of ${words}; ${bad} of ${turns} turns with more than half wrong.`);
  }
  if (summary.drafts) {
    const { ready_percent: ready, drafted_percent: drafted, wasted_percent: wasted } = summary.drafts;
    lines.push(`Drafted before the user had finished: ${ms(drafted)} % of the turns; ready at the endpoint: ${ms(ready)} %; engine time thrown away: ${wasted === null ? "unknown" : `${ms(wasted)} %`}.`);
  }
  if (report.drift) {
    const { first, last } = report.drift;
    lines.push(`From the first to the last quarter of the run: p50 ${percentile(first, first.p50)} to ${percentile(last, last.p50)} ms, p95 ${percentile(first, first.p95)} to ${percentile(last, last.p95)} ms.`);
  }
  if (report.arrivals) {
    const { per_minute: rate, arrived, dropped, refused, most_at_once: most } = report.arrivals;
    lines.push(`Open model, ${rate} conversations a minute: ${arrived} arrived, ${dropped} dropped, ${refused} refused, ${most} at once at most.`);
  }
  if (report.self_check && !report.self_check.void) lines.push(`Self-check passed: the bench used ${ms(report.self_check.cpu_percent)} % of a core.`);
  return lines;
}

function showTurn() {
  const turn = state.chosen;
  part("turn").hidden = !turn;
  if (!turn) return;
  const place = report.turns.indexOf(turn) + 1;
  part("which").textContent = [`${place} of ${report.turns.length}`, turn.audio, `conversation ${turn.session}`, turn.cold ? "cold" : "warm"].join(" · ");
  const words = [["user", turn.user_text || "(nothing transcribed)"], ["agent", turn.agent_text || "(nothing said)"]];
  if (turn.wrong_transcript) words.splice(1, 0, ["said", turn.expected_text]);
  const lines = words.flatMap(([name, text]) => [element("dt", "", name), element("dd", "", text)]);
  for (const text of [...wrong(turn), ...turn.errors]) lines.push(element("dt", "", "wrong"), element("dd", "bad", text));
  const facts = Object.entries(turn.facts).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`).join(", ");
  if (facts) lines.push(element("dt", "", "node says"), element("dd", "", facts));
  part("words").replaceChildren(...lines);
}

function showTurns() {
  const heads = COLUMNS.map(([name, , kind], column) => {
    const sorter = element("button", "", name);
    sorter.type = "button";
    sorter.addEventListener("click", () => sortBy(column));
    const head = element("th", kind?.startsWith("text") ? "text" : "", sorter);
    if (column === state.by) head.ariaSort = state.down ? "descending" : "ascending";
    return head;
  });
  const rows = state.order.map(({ turn, place }) => {
    const cells = COLUMNS.map(([name, value, kind]) => element("td", kind ?? "", cell(value(turn, place), name)));
    const row = element("tr", turn === state.chosen ? "chosen" : "", ...cells);
    row.turn = turn;
    row.addEventListener("click", () => page.choose(turn));
    return row;
  });
  part("turns").replaceChildren(element("thead", "", element("tr", "", ...heads)), element("tbody", "", ...rows));
}

const cell = (value, name) => (typeof value === "string" ? value : name === "at s" && value !== null ? value.toFixed(1) : name === "client" && value === null ? "∞" : ms(value));

function sortBy(column) {
  state.down = column === state.by && !state.down;
  state.by = column;
  const [, value] = COLUMNS[column];
  const key = ({ turn, place }) => value(turn, place) ?? Infinity;
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a === b ? 0 : a - b);
  state.order.sort((a, b) => (compare(key(a), key(b)) || a.place - b.place) * (state.down ? -1 : 1));
  showTurns();
}

/** Anything as lines of text: a node may say of itself what it likes. */
function told(value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.map(told).join("; ");
  if (typeof value === "object") return Object.entries(value).map(([name, one]) => `${name.replaceAll("_", " ")} ${told(one)}`).join(", ");
  return String(value);
}

function showEnvironment() {
  const groups = { ...report.environment };
  const lines = Object.entries(groups).filter(([, value]) => value !== null).flatMap(([name, value]) => [element("dt", "", name.replaceAll("_", " ")), element("dd", "", told(value))]);
  for (const [name, value] of Object.entries(report.node ?? {})) lines.push(element("dt", "", `node: ${name.replaceAll("_", " ")}`), element("dd", "", told(value)));
  part("environment").replaceChildren(...lines);
  part("again").hidden = !report.command;
  part("command").textContent = report.command ?? "";
}

function showFilter() {
  const names = [...new Set(report.turns.map((turn) => turn.session))].sort((a, b) => a - b);
  if (names.length < 2) return;
  const select = element("select", "", ...["all", ...names].map((name) => new Option(name === "all" ? "all conversations" : `conversation ${name}`, name)));
  select.ariaLabel = "Which conversation";
  select.addEventListener("change", () => { state.conversation = select.value; drawAll(); });
  part("filter").append(select);
}

// ── drawing ────────────────────────────────────────────────────────────────────────────────────────────────

const CHARTS = { cumulative, compositions, waterfall, timeline, capacity };

function drawAll() {
  for (const place of document.querySelectorAll("[data-chart]")) {
    if (place.closest("[hidden]")) continue;
    CHARTS[place.dataset.chart](place, report, page);
  }
}

function showLegend() {
  const used = new Set(report.breakdown.flatMap((one) => Object.keys(one.legs_ms)));
  const keys = [...used].map((segment) => {
    const patch = element("i");
    patch.style.background = colour(segment);
    return element("li", "", patch, legName(segment));
  });
  document.querySelector(".legend").replaceChildren(...keys);
}

function download() {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([`${JSON.stringify(report, null, 1)}\n`], { type: "application/json" }));
  link.download = "voiceedge-bench.json";
  link.click();
  URL.revokeObjectURL(link.href);
}

function listen() {
  part("previous").addEventListener("click", () => step(-1));
  part("next").addEventListener("click", () => step(1));
  part("download").addEventListener("click", download);
  for (const place of [part("rows"), part("turn")]) {
    place.addEventListener("keydown", (event) => {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      step(by);
    });
  }
  let width = 0;
  new ResizeObserver(() => {
    if (document.body.clientWidth === width) return; // heights change with what is drawn
    width = document.body.clientWidth;
    drawAll();
  }).observe(document.body);
}

part("curve").hidden = !report.ramp;
part("composition").hidden = !report.breakdown.length;
part("capacity").textContent = report.ramp ? `${report.ramp.capacity} conversations at once keep the limits: ${report.ramp.limit_reason}` : "";
for (const show of [showHead, showCards, showPercentiles, showTurn, showTurns, showEnvironment, showFilter, showLegend, listen]) show();
