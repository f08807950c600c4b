// Single turns and runs: the waterfall of one turn, all turns over time, and how much a node carries.

const LANE_PX = 24;

/** What the user waited for, one after the other; below it the stages at the time when they ran. */
function waterfall(place, report, page) {
  const turn = page.chosen();
  if (!turn) return place.replaceChildren();
  const legs = turn.legs.length ? turn.legs : turn.critical_path;
  if (!legs.length) return place.replaceChildren(element("p", "note", "The node tells nothing of this turn."));
  const shift = leg(turn, "zero_shift") ?? 0;
  const total = legs.reduce((all, one) => all + Math.max(one.ms, 0), Math.min(shift, 0));
  const least = Math.min(0, shift, ...turn.stages.map((stage) => shift + stage.begin_ms));
  const most = Math.max(1, total, turn.client_v2v_ms ?? 0, ...turn.stages.map((stage) => shift + stage.end_ms));
  const names = 92;
  const lanes = turn.stages.filter((stage) => stage.end_ms > stage.begin_ms);
  const box = canvas(place, 74 + lanes.length * LANE_PX + 44, { left: names, right: 112, top: 22, bottom: 40 }, `Waterfall of ${turn.audio}`);
  const x = scale(least, most, box.left, box.right);
  horizontalAxis(box, x, least, most, "ms from the last voiced sample");
  box.svg.append(draw("line", { x1: x(0), x2: x(0), y1: box.top - 6, y2: box.bottom, stroke: "var(--ink)", "stroke-width": 1.5 }));
  box.svg.append(draw("text", { x: x(0), y: 10 }, "last voiced sample"));
  box.svg.append(draw("text", { class: "strong", x: 0, y: box.top + 20 }, "waited for"));
  const end = stacked(box.svg, legs.map((one) => [one.segment, one.ms]), x, box.top + 2, 28);
  heard(box, x, turn, end);
  lanes.forEach((stage, row) => lane(box, (at) => x(shift + at), stage, box.top + 44 + row * LANE_PX));
}

/** Where the first audible sample was. */
function heard(box, x, turn, end) {
  if (turn.client_v2v_ms === null) return;
  const at = x(turn.client_v2v_ms);
  box.svg.append(draw("line", { x1: at, x2: at, y1: box.top - 4, y2: box.top + 36, stroke: "var(--ink)", "stroke-width": 2 }));
  const label = draw("text", { class: "strong", x: Math.max(at, x(end)) + 8, y: box.top + 15 }, `${ms(turn.client_v2v_ms)} ms`);
  const unexplained = leg(turn, "unexplained");
  const below = unexplained < -0.5 ? `unexplained ${ms(unexplained)}` : "heard";
  label.append(draw("tspan", { x: Math.max(at, x(end)) + 8, dy: 14, "font-weight": 400 }, below));
  box.svg.append(label);
}

function lane(box, x, stage, top) {
  const [begin, end] = [x(stage.begin_ms), x(stage.end_ms)];
  const cut = stage.hidden_from_ms === null ? end : x(Math.min(Math.max(stage.hidden_from_ms, stage.begin_ms), stage.end_ms));
  const id = `hidden-${stage.segment}`;
  hatching(box.svg, id, colour(stage.segment), "transparent");
  box.svg.append(draw("text", { x: 0, y: top + 13 }, legName(stage.segment)));
  const shape = { y: top, height: LANE_PX - 7, rx: 2 };
  const bar = draw("g");
  if (cut > begin) bar.append(draw("rect", { x: begin, width: cut - begin, ...shape, fill: colour(stage.segment) }));
  if (end > cut || cut === begin) {
    bar.append(draw("rect", { x: cut, width: Math.max(end - cut, 1), ...shape, fill: `url(#${id})`, stroke: colour(stage.segment) }));
  }
  const words = `${ms(stage.begin_ms)} to ${ms(stage.end_ms)}`;
  hint(bar, () => `${legName(stage.segment)}: ${words} ms`);
  box.svg.append(bar);
  const fits = end + 8 + words.length * INSIDE_PX < box.right + 112;
  box.svg.append(draw("text", fits ? { x: end + 6, y: top + 13 } : { x: begin - 6, y: top + 13, "text-anchor": "end" }, words));
}

/** Every turn at its moment of the run; what went wrong is red and has another shape. */
function timeline(place, report, page) {
  const turns = report.turns.filter((turn) => turn.at_s !== null && page.shows(turn));
  const box = canvas(place, 260, { left: 52, right: 16, top: 30, bottom: 40 }, "Time to the answer over the run");
  if (!turns.length) return place.replaceChildren(element("p", "note", "No turn has a moment."));
  const last = Math.max(1, ...report.turns.map((turn) => turn.at_s ?? 0));
  const most = Math.max(1, ...report.turns.map((turn) => turn.client_v2v_ms ?? 0)) * 1.06;
  const x = scale(0, last, box.left + 8, box.right - 8);
  const y = scale(0, most, box.bottom, box.top);
  horizontalAxis(box, x, 0, last, "s since the first turn");
  verticalAxis(box, y, ticks(0, most, 4), (time) => `${time}`);
  box.svg.append(draw("text", { x: 0, y: 12 }, "ms"));
  if (turns.some((turn) => turn.client_v2v_ms === null)) box.svg.append(draw("text", { class: "bad", x: box.left, y: 12 }, "× never answered"));
  for (const turn of turns) {
    const mark = turn.client_v2v_ms === null ? cross(x(turn.at_s), box.top - 8) : circle(x(turn.at_s), y(turn.client_v2v_ms), wrong(turn).length > 0);
    if (turn === page.chosen()) mark.classList.add("chosen");
    mark.addEventListener("click", () => page.choose(turn));
    hint(mark, () => [`${ms(turn.client_v2v_ms)} ms, conversation ${turn.session}: ${turn.audio}`, ...wrong(turn)].join(", "));
    box.svg.append(mark);
  }
  limitLines(box, y, report.verdicts, most);
}

/** What turns are held against, across the drawing. */
function limitLines(box, y, verdicts, most) {
  for (const limit of verdicts.filter((one) => one.what === "total" && one.limit_ms < most)) {
    const at = y(limit.limit_ms);
    box.svg.append(draw("line", { class: "limit", x1: box.left, x2: box.right, y1: at, y2: at }));
    box.svg.append(draw("text", { class: "bad", x: box.left + 6, y: at - 5 }, limit.limit));
  }
}

const circle = (x, y, bad) => draw(bad ? "rect" : "circle", {
  class: bad ? "dot bad" : "dot",
  ...(bad ? { x: x - 4.5, y: y - 4.5, width: 9, height: 9, transform: `rotate(45 ${x} ${y})` } : { cx: x, cy: y, r: 5 }),
});
const cross = (x, y) => draw("path", { class: "cross", d: `M${x - 5},${y - 5}l10,10m0,-10l-10,10` });

/** p50 and p95 for every number of conversations that was tried. */
function capacity(place, report) {
  const tried = [...report.ramp.steps].sort((a, b) => a.sessions - b.sessions);
  const box = canvas(place, 280, { left: 52, right: 64, top: 28, bottom: 40 }, "Time to the answer against conversations at once");
  const limits = (tried[0]?.verdicts ?? []).filter((one) => one.what === "total");
  const times = tried.flatMap((step) => [step.summary.client_v2v_ms.p50, step.summary.client_v2v_ms.p95]);
  const most = Math.max(1, ...times.map((time) => time ?? 0), ...limits.map((one) => one.limit_ms)) * 1.08;
  const x = scale(0, Math.max(1, ...tried.map((step) => step.sessions)), box.left, box.right);
  const y = scale(0, most, box.bottom, box.top);
  horizontalAxis(box, x, 0, Math.max(1, ...tried.map((step) => step.sessions)), "conversations at once");
  verticalAxis(box, y, ticks(0, most, 4), (time) => `${time}`);
  box.svg.append(draw("text", { x: 0, y: 12 }, "ms"));
  limitLines(box, y, limits, most);
  for (const [name, kind] of [["p50", "server"], ["p95", "client"]]) {
    const there = tried.filter((step) => step.summary.client_v2v_ms[name] !== null);
    const points = there.map((step) => `${x(step.sessions)},${y(step.summary.client_v2v_ms[name])}`);
    box.svg.append(draw("path", { class: `line ${kind}`, d: points.length ? `M${points.join("L")}` : "M0,0" }));
    const [end] = there.slice(-1);
    if (end) box.svg.append(draw("text", { class: kind === "client" ? "is-client" : "", x: x(end.sessions) + 12, y: y(end.summary.client_v2v_ms[name]) + 4 }, name));
  }
  for (const step of tried) {
    const p95 = step.summary.client_v2v_ms.p95;
    const mark = p95 === null ? cross(x(step.sessions), box.top - 8) : circle(x(step.sessions), y(p95), !step.kept);
    const found = `p95 ${p95 === null ? "among failed turns" : `${ms(p95)} ms`}, ${step.kept ? "kept" : "missed"}`;
    hint(mark, () => `${step.sessions} at once: ${step.summary.turns ? found : "refused"}`);
    box.svg.append(mark);
  }
}
