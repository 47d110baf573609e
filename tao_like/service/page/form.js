// A new job: a form made from the JSON schema of the spec, with the spec as YAML beside it.

import { Refused, get, post } from "./api.js";
import { el } from "./dom.js";
import { NotSimple, parse, write } from "./yaml.js";

export async function newJobView(place, signal, query) {
  const given = new URLSearchParams(query || "");
  const [{ tasks }, { datasets }] = await Promise.all([get("/tasks"), get("/datasets", { limit: 500 }, signal)]);
  const { jobs } = await get("/jobs", { status: "Done", action: ["train", "prune", "export", "quantize"], limit: 200 }, signal);
  const task = el("select", { id: "task" }, tasks.map(({ name }) => el("option", { value: name, selected: name === given.get("task") }, name)));
  const action = el("select", { id: "action" }), dataset = el("select", { id: "dataset" }), parent = el("select", { id: "parent" });
  const name = el("input", { id: "name", maxLength: 200 });
  const text = el("textarea", { id: "yaml", spellcheck: false, autocapitalize: "off", "aria-describedby": "problems" });
  const problems = el("div", { id: "problems", role: "alert" });
  const search = el("input", { id: "search", type: "search", placeholder: "such as lr, epochs, batch" });
  const fields = el("div"), start = el("button.primary", {}, "Start");
  place.append(el("h1", {}, "New job"), el("form", { onsubmit: submit },
    el("div.columns", {},
      el("div", {},
        el("label", { htmlFor: "task" }, "Task"), task, el("label", { htmlFor: "action" }, "Action"), action,
        el("label", { htmlFor: "dataset" }, "Data set", el("small", {}, "its suggested spec is the base")), dataset,
        el("label", { htmlFor: "parent" }, "Model of", el("small", {}, "the job whose spec is the base, and whose model is taken")), parent,
        el("label", { htmlFor: "name" }, "Name"), name,
        el("label", { htmlFor: "search" }, "Find a key"), search, fields),
      el("div", {},
        el("label", { htmlFor: "yaml" }, "Spec", el("small", {}, "only what is to be different; the form writes here, and you may too")), text, problems,
        el("p", {}, start)))));

  let schema = null;
  const chosen = () => tasks.find((one) => one.name === task.value);
  const fill = async () => {
    action.replaceChildren(...chosen().actions.map((one) => el("option", { value: one, selected: one === (given.get("action") || "train") }, one)));
    dataset.replaceChildren(el("option", { value: "" }, "none"), ...datasets.filter((one) => one.task === task.value && one.status === "ready").map((one) => el("option", { value: one.id, selected: one.id === given.get("dataset") }, one.name)));
    parent.replaceChildren(el("option", { value: "" }, "none"), ...jobs.filter((one) => one.task === task.value).map((one) => el("option", { value: one.id, selected: one.id === given.get("parent") }, `${one.name || one.id.slice(0, 8)} (${one.action})`)));
    schema = await get("/jobs:schema", { task: task.value, action: action.value }, signal);
    draw();
  };
  const base = () => datasets.find((one) => one.id === dataset.value)?.specs ?? {};
  const read = () => { try { return parse(text.value); } catch (error) { if (error instanceof NotSimple) return null; throw error; } };
  const set = (key, value) => {
    const content = read();
    if (content === null) return;
    put(content, key, value);
    text.value = write(content);
  };
  const draw = () => {
    const content = read();
    if (content === null) { fields.replaceChildren(el("p.faint", {}, "The spec holds more than the form can show; it is sent as it stands there.")); return; }
    const wanted = search.value.trim().toLowerCase();
    const order = [action.value, "dataset", "model"];
    const blocks = Object.keys(schema.properties).sort((a, b) => rank(order, a) - rank(order, b));
    fields.replaceChildren(...blocks.map((block) => control(block, schema.properties[block], block, { content, base: base(), wanted, set, open: block === action.value })).filter(Boolean));
  };
  task.addEventListener("change", fill);
  dataset.addEventListener("change", draw);
  action.addEventListener("change", draw);
  search.addEventListener("input", draw);
  // While it is typed: fields that change when the text is left would move the button from under the mouse.
  let frame = 0;
  text.addEventListener("input", () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(draw); });
  await fill();

  async function submit(event) {
    event.preventDefault();
    start.disabled = true;
    problems.replaceChildren();
    try {
      const body = { task: task.value, action: action.value, name: name.value };
      if (text.value.trim()) body.spec_yaml = text.value;
      if (dataset.value) body.dataset_id = dataset.value;
      if (parent.value) body.parent_job_id = parent.value;
      const job = await post("/jobs", body, { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) });
      location.hash = `#/jobs/${job.id}`;
    } catch (error) {
      const told = error instanceof Refused ? error.errors : [];
      const line = told.find((one) => one.line)?.line;
      problems.replaceChildren(told.length ? el("ul", {}, told.map((one) => el("li.bad", {}, `${one.line ? `line ${one.line}: ` : ""}${one.key ? `${one.key}: ` : ""}${one.text}`))) : el("p.bad", {}, error.message));
      if (line) {
        const before = text.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
        text.focus();
        text.setSelectionRange(before, before + (text.value.split("\n")[line - 1] || "").length);
      }
      start.disabled = false;
    }
  }
}

const rank = (order, name) => (order.includes(name) ? order.indexOf(name) : order.length);
const at = (content, key) => key.split(".").reduce((block, part) => (block !== null && typeof block === "object" ? block[part] : undefined), content);

function put(content, key, value) {
  const parts = key.split(".");
  const last = parts.pop();
  const path = [];
  let block = content;
  for (const part of parts) {
    path.push([block, part]);
    if (block[part] === null || typeof block[part] !== "object") block[part] = {};
    block = block[part];
  }
  if (value === undefined) delete block[last];
  else block[last] = value;
  for (const [above, part] of path.reverse()) if (!Object.keys(above[part]).length) delete above[part];
}

/** A key, or a block of them; null where none of them is looked for. */
function control(name, schema, key, shared) {
  if (/^Another name of|^Ignored:/.test(schema.description || "") || name === "results_dir" || name === "defaults") return null;
  if (schema.properties) {
    const inner = Object.entries(schema.properties).map(([child, one]) => control(child, one, `${key}.${child}`, shared)).filter(Boolean);
    if (!inner.length) return null;
    return el("details", { open: Boolean(shared.wanted) || shared.open && key.split(".").length === 1 }, el("summary", {}, name), el("p.help", {}, schema.description || ""), inner);
  }
  if (shared.wanted && !key.toLowerCase().includes(shared.wanted) && !(schema.description || "").toLowerCase().includes(shared.wanted)) return null;
  const forms = [schema, ...(schema.anyOf || []), ...(schema.anyOf || []).flatMap((one) => one.anyOf || [])];
  const types = forms.map((one) => one.type);
  const choices = forms.find((one) => one.enum)?.enum;
  const value = at(shared.content, key), start = at(shared.base, key) ?? schema.default;
  const id = `field-${key}`;
  const shownDefault = start === undefined || start === null ? "none" : typeof start === "object" ? JSON.stringify(start) : String(start);
  const help = [schema.description, schema["x-unit"], limits(forms)].filter(Boolean).join("; ");
  let input;
  if (types.includes("boolean")) {
    input = el("select", { id }, ["", "true", "false"].map((word) => el("option", { value: word, selected: String(value ?? "") === word }, word || `default: ${shownDefault}`)));
    input.addEventListener("change", () => shared.set(key, input.value === "" ? undefined : input.value === "true"));
  } else if (choices && !types.includes("integer") && !types.includes("number") && !types.includes("array") && choices.length < 60) {
    input = el("select", { id }, el("option", { value: "" }, `default: ${shownDefault}`), choices.map((word) => el("option", { value: word, selected: value === word }, String(word))));
    input.addEventListener("change", () => shared.set(key, input.value === "" ? undefined : input.value));
  } else {
    const isNumber = (types.includes("integer") || types.includes("number")) && !types.includes("string");
    const shown = value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    input = el("input", { id, value: shown, placeholder: shownDefault, inputMode: isNumber ? "decimal" : "text" });
    input.addEventListener("change", () => {
      const typed = input.value.trim();
      if (typed === "") { shared.set(key, undefined); return; }
      let meant = typed;
      if (types.some((one) => ["integer", "number", "array", "object"].includes(one))) { try { meant = JSON.parse(typed); } catch { /* the server says what is wrong */ } }
      shared.set(key, meant);
    });
  }
  return el("div", {}, el("label", { htmlFor: id }, name, el("small", {}, help)), input);
}

function limits(forms) {
  const one = forms.find((form) => ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].some((key) => key in form));
  if (!one) return "";
  return [["minimum", "at least"], ["exclusiveMinimum", "more than"], ["maximum", "at most"], ["exclusiveMaximum", "less than"]].filter(([key]) => key in one).map(([key, word]) => `${word} ${one[key]}`).join(", ");
}
