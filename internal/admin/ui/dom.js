// Small helpers for the document. Text only ever becomes text: nothing that a client can name is read as HTML.

export const $ = (id) => document.getElementById(id);

// h makes an element. Attributes that begin with "on" are listeners.
export function h(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes ?? {})) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v !== undefined && v !== false) e.setAttribute(k, v);
  }
  e.append(...children.filter((c) => c !== undefined));
  return e;
}

// text changes what an element says, if it says something else.
export function text(e, value) {
  const s = String(value);
  if (e.textContent !== s) e.textContent = s;
}

// rows shows a list as the rows of a table. A row belongs to a key and stays the same element as long as that is in the list, so that focus and
// selection survive; make returns its cells, and each cell is replaced only if it has changed.
export function rows(table, list, key, make, empty) {
  const body = table.tBodies[0];
  const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const wanted = list.map((item) => {
    const name = "k" + key(item);
    const row = old.get(name) ?? h("tr", { "data-key": name });
    cells(row, make(item));
    return row;
  });
  if (wanted.length === 0) {
    const row = old.get("none") ?? h("tr", { "data-key": "none" }, h("td", { colspan: table.tHead.rows[0].cells.length, class: "quiet" }, empty));
    wanted.push(row);
  }
  wanted.forEach((row, i) => { if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null); });
  while (body.children.length > wanted.length) body.lastChild.remove();
}

function cells(row, list) {
  list.forEach((cell, i) => {
    const now = row.cells[i];
    if (now === undefined) row.append(cell);
    else if (!now.isEqualNode(cell)) row.replaceChild(cell, now);
  });
}

let hiding;

// toast says what an action has done.
export function toast(message) {
  const e = $("toast");
  e.textContent = message;
  e.classList.add("shown");
  clearTimeout(hiding);
  hiding = setTimeout(() => e.classList.remove("shown"), 4000);
}

// ask opens the dialog with fields of {name, label, type, value} and runs go with their values, until that succeeds or the user gives up. It
// resolves to whether go was done.
export function ask({ title, about = "", fields = [], ok = "OK", go }) {
  const dialog = $("ask");
  if (dialog.open) return Promise.resolve(false);
  text($("ask-title"), title);
  text($("ask-text"), about);
  text($("ask-error"), "");
  text($("ask-go"), ok);
  const inputs = fields.map((f) => f.options
    ? h("select", { name: f.name }, ...f.options.map((o) => h("option", { value: o }, o)))
    : h("input", { name: f.name, type: f.type ?? "text", value: f.value ?? "", required: f.required ? "" : undefined, autocomplete: "off", placeholder: f.placeholder }));
  $("ask-fields").replaceChildren(...fields.map((f, i) => h("label", {}, f.label, inputs[i])));
  dialog.showModal();
  return new Promise((resolve) => {
    const form = dialog.querySelector("form");
    const end = (done) => {
      form.removeEventListener("submit", submit);
      dialog.removeEventListener("close", closed);
      if (dialog.open) dialog.close();
      resolve(done);
    };
    const closed = () => {
      if (!dialog.open) end(false); // the event comes late: it may be that of the question before
    };
    const submit = async (event) => {
      event.preventDefault();
      if (event.submitter?.value !== "go") return end(false);
      try {
        await go(Object.fromEntries(inputs.map((i) => [i.name, i.value])));
        end(true);
      } catch (error) {
        text($("ask-error"), error.message);
      }
    };
    form.addEventListener("submit", submit);
    dialog.addEventListener("close", closed);
  });
}
