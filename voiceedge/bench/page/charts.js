// Drawing: every chart is a function that fills an element with an SVG as wide as the element.

const SVG = "http://www.w3.org/2000/svg";
const INSIDE_PX = 7; // of text, for each character: to see whether a label fits

/** An SVG element; values are attributes, never markup. */
function draw(name, attributes = {}, ...children) {
  const drawn = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) drawn.setAttribute(key, value);
  drawn.append(...children);
  return drawn;
}

/** An HTML element with a class and children. */
function element(name, kind = "", ...children) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

const ms = (value) => (value === null || value === undefined ? "–" : String(Math.round(value)));

/** Round numbers from 0 (or below) to `most`, about `count` of them. */
function ticks(least, most, count) {
  const raw = (most - least) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const found = [];
  for (let at = Math.ceil(least / step) * step; at <= most + step / 1e6; at += step) found.push(Math.round(at * 1e6) / 1e6);
  return found;
}

const scale = (from, to, left, right) => (value) => left + ((value - from) / (to - from || 1)) * (right - left);

/** An empty drawing with margins, and what lies inside them. */
function canvas(place, height, margin, label) {
  const width = Math.max(place.clientWidth, 240);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
  place.replaceChildren(svg);
  return { svg, width, left: margin.left, right: width - margin.right, top: margin.top, bottom: height - margin.bottom };
}

/** Numbers below, and lines upwards from them. */
function horizontalAxis(box, x, least, most, unit) {
  for (const at of ticks(least, most, Math.min(8, (box.right - box.left) / 80))) {
    box.svg.append(draw("line", { class: "grid", x1: x(at), x2: x(at), y1: box.top, y2: box.bottom }));
    box.svg.append(draw("text", { x: x(at), y: box.bottom + 16, "text-anchor": "middle" }, String(at)));
  }
  box.svg.append(draw("text", { x: box.right, y: box.bottom + 32, "text-anchor": "end" }, unit));
}

function verticalAxis(box, y, values, show) {
  for (const at of values) {
    box.svg.append(draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(at), y2: y(at) }));
    box.svg.append(draw("text", { x: box.left - 8, y: y(at) + 4, "text-anchor": "end" }, show(at)));
  }
}

/** Diagonal lines in a colour, as a fill. */
function hatching(svg, id, colour, paper) {
  const pattern = draw("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(draw("rect", { width: 6, height: 6, fill: paper }), draw("rect", { width: 2.5, height: 6, fill: colour }));
  svg.append(draw("defs", {}, pattern));
}

/** Words that follow the pointer over an element. */
function hint(target, words) {
  const bubble = document.getElementById("hint");
  target.addEventListener("pointermove", (event) => {
    bubble.textContent = words(event);
    bubble.hidden = !bubble.textContent;
    bubble.style.left = `${Math.min(event.clientX + 12, innerWidth - bubble.offsetWidth - 8)}px`;
    bubble.style.top = `${Math.max(event.clientY - bubble.offsetHeight - 12, 4)}px`;
  });
  target.addEventListener("pointerleave", () => { bubble.hidden = true; });
}

/** A step function of the share of `all` turns that took at most so long. */
function steps(times, all, x, y) {
  let path = `M${x(0)},${y(0)}`;
  times.forEach((time, place) => { path += `H${x(time)}V${y((place + 1) / all)}`; });
  return path;
}

function cumulative(place, report, page) {
  const box = canvas(place, 316, { left: 48, right: 16, top: 28, bottom: 40 }, "Cumulative distribution of the time to the answer");
  const answered = report.turns.filter((turn) => turn.client_v2v_ms !== null).sort((a, b) => a.client_v2v_ms - b.client_v2v_ms);
  const node = report.turns.filter((turn) => turn.server_v2v_ms !== null).map((turn) => turn.server_v2v_ms).sort((a, b) => a - b);
  const times = answered.map((turn) => turn.client_v2v_ms);
  const limits = report.verdicts.filter((one) => one.what === "total");
  const most = Math.max(1, ...times.slice(-1), ...node.slice(-1), ...limits.map((one) => one.limit_ms)) * 1.04;
  const x = scale(0, most, box.left, box.right);
  const y = scale(0, 1, box.bottom, box.top);
  horizontalAxis(box, x, 0, most, "ms from the last voiced sample");
  verticalAxis(box, y, [0, 0.25, 0.5, 0.75, 0.95], (share) => `${Math.round(share * 100)} %`);
  const reached = answered.length / Math.max(report.turns.length, 1);
  hatching(box.svg, "never", "var(--bad)", "transparent");
  if (reached < 1) {
    const failed = report.turns.length - answered.length;
    box.svg.append(draw("rect", { class: "never", x: box.left, y: y(1), width: box.right - box.left, height: y(reached) - y(1), opacity: 0.35 }));
    const words = `never answered: ${failed} of ${report.turns.length}`;
    box.svg.append(draw("text", { class: "bad", x: box.left + 8, y: Math.max(y(reached) + 15, 15) }, words));
  }
  for (const limit of limits) {
    box.svg.append(draw("line", { class: "limit", x1: x(limit.limit_ms), x2: x(limit.limit_ms), y1: y(limit.percentile / 100) - 6, y2: box.bottom }));
  }
  if (node.length) box.svg.append(draw("path", { class: "line server", d: steps(node, node.length, x, y) }));
  box.svg.append(draw("path", { class: "line client", d: `${steps(times, report.turns.length, x, y)}${reached < 1 ? `H${box.right}` : ""}` }));
  limits.forEach((limit, place_) => {
    const fits = x(limit.limit_ms) + 5 + limit.limit.length * INSIDE_PX < box.right;
    const side = fits ? { x: x(limit.limit_ms) + 5 } : { x: x(limit.limit_ms) - 5, "text-anchor": "end" };
    const label = { class: "bad", ...side, y: box.bottom - 8 - 16 * (limits.length - 1 - place_) };
    box.svg.append(draw("text", label, limit.limit));
  });
  nameCurves(box);
  const chosen = page.chosen();
  if (chosen?.client_v2v_ms !== null && chosen) {
    const at = { cx: x(chosen.client_v2v_ms), cy: y((answered.indexOf(chosen) + 1) / report.turns.length), r: 5 };
    box.svg.append(draw("circle", { class: "dot chosen", ...at }));
  }
  const nearest = (event) => {
    const scaled = box.svg.getBoundingClientRect();
    const time = ((event.clientX - scaled.left - box.left) / (box.right - box.left)) * most;
    return answered.reduce((best, turn) => (Math.abs(turn.client_v2v_ms - time) < Math.abs(best.client_v2v_ms - time) ? turn : best), answered[0]);
  };
  const area = draw("rect", { class: "catch", x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top });
  if (answered.length) {
    area.addEventListener("click", (event) => page.choose(nearest(event)));
    hint(area, (event) => {
      const turn = nearest(event);
      const share = (answered.indexOf(turn) + 1) / report.turns.length;
      return `${ms(turn.client_v2v_ms)} ms, p${Math.round(share * 100)}: ${turn.audio}`;
    });
  }
  box.svg.append(area);
}

/** Their names above the drawing. */
function nameCurves(box) {
  [["client", "client", 0], ["server", "node’s own figure", 90]].forEach(([kind, name, shift]) => {
    const left = box.left + shift;
    box.svg.append(draw("path", { class: `line ${kind}`, d: `M${left},10h28` }));
    box.svg.append(draw("text", { class: kind === "client" ? "is-client" : "", x: left + 34, y: 14 }, name));
  });
}

/** Where the node's own time begins for the client: it may take the user's last voiced sample to be earlier. */
const nodeBegins = (legs) => Math.min(legs.find(([name]) => name === "zero_shift")?.[1] ?? 0, 0);

/** Legs one behind the other, labelled inside where there is room. */
function stacked(svg, legs, x, top, height) {
  let passed = nodeBegins(legs);
  for (const [name, time] of legs) {
    if (time <= 0) continue;
    const [left, right] = [x(passed), x(passed + time)];
    const bar = draw("rect", { x: left, y: top, width: Math.max(right - left - 1, 0.75), height, rx: 2, fill: colour(name) });
    hint(bar, () => `${legName(name)}: ${time.toFixed(1)} ms`);
    svg.append(bar);
    const label = [`${legName(name)} ${ms(time)}`, ms(time)].find((text) => text.length * INSIDE_PX < right - left - 6);
    if (label) svg.append(draw("text", { class: "inside", x: (left + right) / 2, y: top + height / 2 + 4, "text-anchor": "middle" }, label));
    passed += time;
  }
  return passed;
}

function compositions(place, report) {
  const row = 38;
  const box = canvas(place, report.breakdown.length * row + 44, { left: 44, right: 76, top: 4, bottom: 40 }, "Mean composition of the turns around each percentile");
  const begins = (one) => nodeBegins(Object.entries(one.legs_ms));
  const ends = (one) => Object.values(one.legs_ms).reduce((all, time) => all + Math.max(time, 0), begins(one));
  const least = Math.min(0, ...report.breakdown.map(begins));
  const most = Math.max(1, ...report.breakdown.map(ends));
  const x = scale(least, most, box.left, box.right);
  horizontalAxis(box, x, least, most, "ms from the last voiced sample");
  report.breakdown.forEach((one, place_) => {
    const top = box.top + place_ * row;
    box.svg.append(draw("text", { class: "strong", x: box.left - 8, y: top + 20, "text-anchor": "end" }, `p${one.percentile}`));
    if (!one.turns) {
      box.svg.append(draw("text", { class: "bad", x: box.left + 8, y: top + 20 }, "among failed turns"));
      return;
    }
    const end = stacked(box.svg, Object.entries(one.legs_ms), x, top + 3, row - 10);
    const client = x(one.client_v2v_ms);
    box.svg.append(draw("line", { x1: client, x2: client, y1: top, y2: top + row - 4, stroke: "var(--ink)", "stroke-width": 2 }));
    const label = draw("text", { x: x(end) + 8, y: top + 15 }, draw("tspan", { class: "strong" }, `${ms(one.client_v2v_ms)} ms`));
    label.append(draw("tspan", { x: x(end) + 8, dy: 14 }, one.turns === 1 ? "1 turn" : `${one.turns} turns`));
    box.svg.append(label);
  });
}
