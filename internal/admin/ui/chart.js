// Charts of the last minutes as SVG: one path for each series, drawn anew once a second. A chart keeps its size whatever it shows.

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 160;
const LEFT = 44; // for the numbers at the axis
const BOTTOM = 18;
const TOP = 6;

function element(name, attributes, text) {
  const e = document.createElementNS(NS, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

// top is the next round number above what is shown: 1, 2 or 5 times a power of ten.
export function top(max) {
  if (!(max > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(max));
  for (const m of [1, 2, 5, 10]) if (m * power >= max) return m * power;
  return 10 * power;
}

// short writes a number in few letters.
export function short(n) {
  if (!Number.isFinite(n)) return "–";
  const abs = Math.abs(n);
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (abs >= size * 0.9995) return trim(n / size) + unit;
  }
  return trim(n);
}

function trim(n) {
  const abs = Math.abs(n);
  return n.toFixed(abs >= 100 || abs === 0 ? 0 : abs >= 10 ? 1 : 2).replace(/\.0+$/, "");
}

// Chart draws series of numbers over the points of the history. A stacked one has the first series at the bottom.
export class Chart {
  constructor(host, { series, stacked = false, label }) {
    this.series = series;
    this.stacked = stacked;
    this.label = label;
    this.svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.axis = document.createElement("div");
    this.axis.className = "axis";
    this.paths = series.map((s) => element("path", { class: (stacked ? "area " : "line ") + s.name, "vector-effect": "non-scaling-stroke" }));
    const grid = [0, 0.5, 1].map((part) => {
      const y = TOP + (HEIGHT - TOP - BOTTOM) * part;
      return element("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y, y2: y, "vector-effect": "non-scaling-stroke" });
    });
    this.svg.append(...grid, ...this.paths);
    this.marks = [0, 0.5, 1].map((part) => {
      const mark = document.createElement("span");
      mark.className = "mark";
      mark.style.top = `${((TOP + (HEIGHT - TOP - BOTTOM) * part) / HEIGHT) * 100}%`;
      this.axis.append(mark);
      return mark;
    });
    this.times = [0, 0.5, 1].map((part, i) => {
      const mark = document.createElement("span");
      mark.className = "time t" + i;
      mark.style.left = `${((LEFT + (WIDTH - LEFT) * part) / WIDTH) * 100}%`;
      this.axis.append(mark);
      return mark;
    });
    host.replaceChildren(this.svg, this.axis);
  }

  // draw shows the last `points` of the history, which holds one point a second at most. One that is missing leaves a gap at the left.
  draw(history, points) {
    const values = this.series.map((s) => history.map((p) => Math.max(0, s.value(p) || 0)));
    const sums = history.map((_, i) => values.reduce((sum, v) => sum + v[i], 0));
    const max = top(this.stacked ? Math.max(0, ...sums) : Math.max(0, ...values.flat()));
    const x = (i) => (LEFT + ((WIDTH - LEFT) * (points - history.length + i)) / Math.max(1, points - 1)).toFixed(1);
    const y = (v) => (TOP + (HEIGHT - TOP - BOTTOM) * (1 - v / max)).toFixed(1);
    const below = history.map(() => 0);
    this.series.forEach((_, k) => {
      if (history.length === 0) return this.paths[k].setAttribute("d", "");
      if (!this.stacked) {
        this.paths[k].setAttribute("d", "M" + values[k].map((v, i) => `${x(i)} ${y(v)}`).join("L"));
        return;
      }
      const floor = below.slice();
      values[k].forEach((v, i) => { below[i] += v; });
      const up = below.map((v, i) => `${x(i)} ${y(v)}`);
      const back = floor.map((v, i) => `${x(i)} ${y(v)}`).reverse();
      this.paths[k].setAttribute("d", "M" + up.concat(back).join("L") + "Z");
    });
    [max, max / 2, 0].forEach((v, i) => { this.marks[i].textContent = short(v); });
    [points, points / 2, 0].forEach((v, i) => { this.times[i].textContent = v === 0 ? "now" : `−${Math.round(v / 6) / 10} min`; });
    const last = this.series.map((s, k) => `${s.name} ${short(values[k].at(-1) ?? 0)}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.label}, now: ${last}`);
  }
}
