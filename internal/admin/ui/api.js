// The admin API as the page needs it: JSON, streams of server-sent events, and the token, which stays in this tab.

const KEY = "sluice-admin-token";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

function headers(more) {
  const t = token.get();
  return t ? { ...more, Authorization: `Bearer ${t}` } : more;
}

async function refusal(response) {
  const text = await response.text();
  let detail = text.trim();
  try {
    detail = JSON.parse(text).detail ?? detail;
  } catch { /* not a problem in JSON */ }
  return new Refused(response.status, detail || `${response.status} ${response.statusText}`);
}

// call sends a request and returns what was answered, in JSON, or nothing.
export async function call(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: headers(body === undefined ? {} : { "Content-Type": "application/json" }),
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw await refusal(response);
  const text = await response.text();
  return text ? JSON.parse(text) : undefined;
}

// stream reads server-sent events and calls take(kind, data, id) for each, until the server ends it or nothing has come for `silence` ms: then
// it throws. EventSource cannot carry a token, so the format of HTML, section 9.2, is read here, as far as our server writes it.
export async function stream(path, silence, take) {
  const abort = new AbortController();
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(), silence);
  };
  alive();
  try {
    const response = await fetch(path, { headers: headers({ Accept: "text/event-stream" }), signal: abort.signal });
    if (!response.ok) throw await refusal(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the server ended the stream");
      alive();
      rest += value;
      for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) deliver(rest.slice(0, end), take);
    }
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}

function deliver(block, take) {
  const fields = { event: "message", data: "", id: "" };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
  }
  if (fields.data) take(fields.event, JSON.parse(fields.data), fields.id);
}
