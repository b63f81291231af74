// The dashboard: it shows each snapshot of /api/v1/live/stream and the events of /api/v1/events, and lets an operator act.

import { Chart, short } from "./chart.js";
import { call, Refused, stream, token } from "./api.js";
import { $, ask, h, rows, text, toast } from "./dom.js";

const POINTS = 300;
const EVENTS = 200;
const OUTCOMES = ["passed", "coalesced", "cached", "queued", "limited", "failed"];

const charts = {
  outcomes: new Chart($("chart-outcomes"), {
    label: "Requests per second by outcome", stacked: true,
    series: OUTCOMES.map((name) => ({ name, value: (p) => p.rates?.[name] })),
  }),
  latency: new Chart($("chart-latency"), {
    label: "Latency in milliseconds", series: [{ name: "p50", value: (p) => p.p50_ms }, { name: "p99", value: (p) => p.p99_ms }],
  }),
  calls: new Chart($("chart-calls"), {
    label: "Requests and upstream calls per second",
    series: [{ name: "requests", value: (p) => p.requests_per_s }, { name: "calls", value: (p) => p.calls_per_s }],
  }),
};
const legend = Object.fromEntries(OUTCOMES.map((name) => [name, h("b", {}, "0")]));
$("legend").append(...OUTCOMES.map((name) => h("li", {}, h("i", { class: name }), `${name} `, legend[name])));

let history = [];
let sharedRules = [];

const ms = (n) => (n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2));
const clock = (t) => new Date(t).toLocaleTimeString([], { hour12: false });
const cell = (name, ...children) => h("td", name ? { class: name } : {}, ...children.map((c) => (typeof c === "number" ? String(c) : c)));
const bytes = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} GB` : n >= 1e6 ? `${(n / 1e6).toFixed(2)} MB` : n >= 1e3 ? `${(n / 1e3).toFixed(1)} kB` : `${n} B`);

function age(s) {
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

function show(s) {
  history.push(s.now);
  history = history.slice(-POINTS);
  charts.outcomes.draw(history, POINTS);
  charts.latency.draw(history, POINTS);
  charts.calls.draw(history, POINTS);
  for (const name of OUTCOMES) text(legend[name], short(s.now.rates?.[name] ?? 0));
  text($("node"), `${s.node.listen} · ${s.node.version} · up ${age(s.node.uptime_s)}`);
  text($("requests"), short(s.now.requests_per_s));
  text($("p50"), ms(s.now.p50_ms));
  text($("p99"), ms(s.now.p99_ms));
  text($("calls"), short(s.now.calls_per_s));
  text($("saved"), (100 * s.upstream.saved_lately).toFixed(s.upstream.saved_lately > 0.99 && s.upstream.saved_lately < 1 ? 1 : 0));
  const ups = s.upstreams ?? [];
  text($("inflight"), short(ups.reduce((n, u) => n + u.in_flight, 0)));
  text($("waiting"), `${short(ups.reduce((n, u) => n + u.waiting, 0))} waiting`);
  showUpstreams(ups);
  showFlushes(s.flushes);
  showClients(s.clients ?? []);
  showJobs(s.jobs);
  showMarket(s.market);
  showQuotas(s.quotas ?? []);
  showParts(s.parts ?? []);
}

function showUpstreams(list) {
  rows($("upstreams"), list, (u) => u.name, (u) => [
    cell("name", u.name),
    cell("n", u.max_in_flight ? `${u.in_flight} of ${u.max_in_flight}` : u.in_flight),
    cell("n", u.max_waiting ? `${u.waiting} of ${u.max_waiting}` : "–"),
    cell("", ...(u.targets ?? []).map((t) => h("span", { class: t.healthy ? "chip up" : "chip down", title: `${t.calls} calls, ${t.in_flight} in flight` },
      t.healthy ? t.address : `${t.address} ${t.ejected ? "ejected" : "unhealthy"}`))),
  ], "no upstream");
}

function bars(host, list) {
  const max = Math.max(1, ...list.map((b) => b.n));
  list.forEach((b, i) => {
    let bar = host.children[i];
    if (!bar) {
      bar = h("div", { class: "bar" }, h("span", {}), h("div", { class: "track" }, h("i", {})), h("span", { class: "n" }));
      host.append(bar);
    }
    text(bar.children[0], b.label);
    bar.querySelector("i").className = b.name;
    bar.querySelector("i").style.width = `${(100 * b.n) / max}%`;
    text(bar.children[2], short(b.n));
  });
  while (host.children.length > list.length) host.lastChild.remove();
}

// merged puts the buckets above 128 together: there are few batches so large.
function merged(sizes) {
  const small = sizes.filter((b) => b.up_to > 0 && b.up_to <= 128);
  const rest = sizes.slice(small.length).reduce((n, b) => n + b.count, 0);
  return sizes.length ? [...small, { up_to: 0, count: rest }] : [];
}

const REASONS = ["policy", "timer", "size", "close", "joined", "cached", "passthrough"];

function showFlushes(f) {
  bars($("flushes"), REASONS.map((name) => ({ name, label: name, n: f.lately?.[name] ?? 0 })));
  const sizes = merged(f.sizes ?? []);
  text($("batch"), sizes.length ? `Requests in a batch: ${short(f.mean_size)} on average` : "No batches yet");
  let from = 0;
  bars($("sizes"), sizes.map((b) => {
    const label = b.up_to === 0 ? `above ${from}` : b.up_to === from + 1 ? `${b.up_to}` : `${from + 1} to ${b.up_to}`;
    from = b.up_to;
    return { name: "batch", label, n: b.count };
  }));
}

function showClients(list) {
  rows($("clients"), list, (c) => c.name, (c) => [
    cell("name", c.name),
    cell("n", short(c.rate_per_s)),
    cell("n", short(c.count)),
    cell(c.refused ? "n bad" : "n", short(c.refused)),
    cell("", ...(c.limits ?? []).map((l) => h("div", {}, h("meter", { min: 0, max: l.limit, value: Math.max(0, l.remaining), "aria-label": `${l.rule}: ${l.remaining} of ${l.limit}` }),
      `${l.rule} ${l.rate}: ${l.remaining} of ${l.limit}`))),
    cell("n", h("button", { type: "button", "data-client": c.name, "aria-label": `Set a limit for ${c.name}` }, "Set limit")),
  ], "no client has asked for anything lately");
}

function showJobs(jobs) {
  const panel = $("jobs");
  if (!jobs) {
    panel.replaceChildren();
    $("dead").hidden = true;
    return;
  }
  $("dead").hidden = false;
  const counts = [["queued", jobs.queued], ["running", jobs.running], ["done", jobs.done], ["failed", jobs.failed]].map(([name, n]) => h("span", {}, h("b", {}, short(n)), ` ${name}`));
  panel.replaceChildren(...counts, h("span", { class: "quiet" }, jobs.queued ? `oldest waits ${age(jobs.oldest_age_s)}` : "nothing waits"));
  rows($("dead"), jobs.dead ?? [], (j) => j.id, (j) => [
    cell("name", h("code", {}, j.id)), cell("name", j.queue), cell("n", j.attempts), cell("why", j.error),
    cell("n", h("button", { type: "button", "data-job": j.id, "aria-label": `Retry the job ${j.id}` }, "Retry")),
  ], "no dead letters");
}

function showMarket(m) {
  for (const id of ["levels", "fills"]) $(id).hidden = !m;
  if (!m) return $("market").replaceChildren();
  const count = (n, what) => h("span", {}, h("b", {}, short(n)), ` ${what}`);
  $("market").replaceChildren(count(m.bids, "open bids"), count(m.volume, "units wanted"), count(m.leftover, "units left over"));
  rows($("levels"), m.levels ?? [], (l) => l.price, (l) => [cell("n", l.price), cell("n", l.volume), cell("n", l.bids)], "no open bids");
  rows($("fills"), m.fills ?? [], (f) => `${f.time} ${f.username} ${f.price} ${f.volume}`, (f) => [
    cell("", clock(f.time)), cell("name", f.username), cell("n", f.price), cell("n", f.volume)], "nothing sold yet");
}

function showQuotas(list) {
  rows($("quotas"), list, (q) => q.user, (q) => [
    cell("name", q.user), cell("n", bytes(q.used_bytes)), cell("n", bytes(q.reserved_bytes)), cell("n", bytes(q.limit_bytes)), cell("", new Date(q.resets).toLocaleDateString()),
  ], "nobody has stored anything this month");
}

function showParts(parts) {
  for (const p of parts) {
    for (const e of document.querySelectorAll(`[data-part="${CSS.escape(p.name)}"]`)) {
      const shown = p.on ? "" : p.how;
      if (e.dataset.shown === shown) continue;
      e.dataset.shown = shown;
      e.replaceChildren(...(p.on ? [] : [`Off: ${p.name}. Switch it on with`, h("pre", {}, p.how)]));
    }
    const panel = { jobs: "dead", market: "market", quotas: "quotas" }[p.name];
    if (panel === "quotas") $("quotas").hidden = !p.on;
  }
}

let paused = false;
const held = [];

function showEvent(kind, event) {
  const data = event.data ?? event;
  const line = h("li", {}, h("span", { class: "quiet" }, event.time ? clock(event.time) : ""), h("span", {}, kind), h("span", {},
    Object.entries(data).map(([k, v]) => `${k}=${typeof v === "object" ? JSON.stringify(v) : v}`).join(" ")));
  held.unshift(line);
  held.length = Math.min(held.length, EVENTS);
}

function drawEvents() {
  if (!paused && held.length) {
    const list = $("events");
    list.prepend(...held.splice(0));
    while (list.children.length > EVENTS) list.lastChild.remove();
  }
}

function state(name, message) {
  $("state").className = name;
  text($("state-text"), message);
}

const sleep = (t) => new Promise((resolve) => setTimeout(resolve, t));

// follow keeps a stream going. A server that is away is asked again, ever more slowly; one that wants a token is asked with it.
async function follow(path, silence, take, changed) {
  for (let wait = 500; ; wait = Math.min(wait * 2, 5000)) {
    try {
      await stream(typeof path === "function" ? path() : path, silence, (...args) => {
        wait = 500;
        changed?.("live", "live");
        take(...args);
      });
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        changed?.("lost", "the token is missing or wrong");
        await login();
        wait = 250;
        continue;
      }
      changed?.("lost", error instanceof Refused ? error.message : "the node does not answer, trying again…");
    }
    await sleep(wait);
  }
}

let asking;

// login asks for the token, once for all who need it.
function login() {
  asking ??= ask({
    title: "Admin token", about: "This node asks for the token that admin.token sets. It is kept in this tab until that is closed.",
    fields: [{ name: "token", label: "Token", type: "password", required: true }], ok: "Use it",
    go: async (v) => {
      token.set(v.token);
      await call("GET", "/api/v1/version");
    },
  }).then(async (done) => {
    if (!done) await sleep(3000);
  }).finally(() => { asking = undefined; });
  return asking;
}

// act does something that changes the node, and asks for the token first if that is needed.
async function act(what, done) {
  try {
    await what();
    toast(done);
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      await login();
      return;
    }
    toast(error.message);
  }
}

$("reload").addEventListener("click", () => ask({
  title: "Reload the configuration?", about: "The file is read again and applied without dropping a connection. One with a mistake changes nothing.", ok: "Reload",
  go: () => call("POST", "/api/v1/reload"),
}).then((ok) => ok && toast("The configuration has been reloaded")));

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.job) act(() => call("POST", `/api/v1/jobs/${encodeURIComponent(button.dataset.job)}/retry`), "The job is queued again");
  if (button?.dataset.client !== undefined) setLimit(button.dataset.client);
});

async function setLimit(client) {
  try {
    const { limits } = await call("GET", "/api/v1/limits");
    sharedRules = limits.filter((l) => l.per === "client").map((l) => l.name);
  } catch (error) {
    return toast(error.message);
  }
  if (sharedRules.length === 0) return toast("There is no rule per client to set a limit of: see limits in the configuration");
  const done = await ask({
    title: `A limit for ${client}`, about: "It goes before the rule's own, and holds until it is unset.", ok: "Set",
    fields: [{ name: "rule", label: "Rule", options: sharedRules }, { name: "rate", label: "Rate", placeholder: "120/min", required: true }, { name: "burst", label: "Burst, if it is to be another", type: "number" }],
    go: (v) => call("PUT", "/api/v1/limits/overrides", { client, rule: v.rule, rate: v.rate, ...(v.burst === "" ? {} : { burst: Number(v.burst) }) }),
  });
  if (done) toast(`${client} has a limit of its own now`);
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  text($("pause"), paused ? "Go on" : "Pause");
});

const themes = ["auto", "light", "dark"];

function theme(name) {
  localStorage.setItem("sluice-theme", name);
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  text($("theme"), `Theme: ${name}`);
}

theme(themes.includes(localStorage.getItem("sluice-theme")) ? localStorage.getItem("sluice-theme") : "auto");
$("theme").addEventListener("click", () => theme(themes[(themes.indexOf(localStorage.getItem("sluice-theme")) + 1) % themes.length]));

let last = 0;
setInterval(drawEvents, 1000);
follow("/api/v1/live/stream", 10000, (kind, data) => {
  if (kind === "history") history = data.slice(0, -1); // the snapshot that follows has the last point
  else show(data);
}, state);
follow(() => (last ? `/api/v1/events?after=${last}` : "/api/v1/events"), 40000, (kind, data, id) => {
  if (id) last = Number(id);
  showEvent(kind, data);
});
