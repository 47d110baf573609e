// Jobs: the list, and one with its curves, log, pictures and files.

import { fileJson, fileUrl, follow, get, remove, send, verb } from "./api.js";
import { chart } from "./chart.js";
import { bytes, el, notice, number, status, table, when } from "./dom.js";

const AT_WORK = ["Pending", "Started", "Running", "Canceling", "Pausing", "Resuming"];
const PICTURE = /\.(png|jpe?g|gif)$/i;

const pause = (seconds, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, seconds * 1000);
  signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); });
});

export async function jobsView(place, signal) {
  place.append(el("h1", {}, "Jobs"));
  const list = el("div"), more = el("button", { type: "button", hidden: true }, "Older jobs");
  place.append(list, el("p", {}, more));
  let limit = 50, shown = "";
  more.addEventListener("click", () => { limit += 50; draw(); });
  const draw = async () => {
    const { jobs, next_cursor } = await get("/jobs", { limit }, signal);
    if (JSON.stringify(jobs) === shown || signal.aborted) return;
    shown = JSON.stringify(jobs);
    more.hidden = !next_cursor;
    if (!jobs.length) {
      list.replaceChildren(el("p", {}, "No jobs yet. ", el("a", { href: "#/datasets" }, "Add some data"), ", or ", el("a", { href: "#/new" }, "start a job"), "."));
      return;
    }
    const focused = document.activeElement?.getAttribute("href");
    list.replaceChildren(table("Jobs", [
      { title: "Status", value: (job) => job.status, show: (job) => status(job.status) },
      { title: "Job", value: (job) => job.name || job.id, show: (job) => el("a", { href: `#/jobs/${job.id}` }, job.name || job.id.slice(0, 8)) },
      { title: "What", value: (job) => `${job.task} ${job.action}`, show: (job) => `${job.task} ${job.action}`, optional: true },
      { title: "How far", value: (job) => job.progress.epoch ?? 0, show: howFar },
      { title: "Asked for", value: (job) => job.created_on, show: (job) => when(job.created_on), optional: true },
    ], jobs));
    if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  };
  while (!signal.aborted) {
    await draw().catch(() => {});
    await pause(2, signal);
  }
}

function howFar(job) {
  const { epoch, max_epoch, eta, message } = job.progress;
  if (job.error) return el("span.bad", {}, job.error.split("\n")[0].slice(0, 160));
  if (job.status === "Running" && epoch) return `epoch ${epoch} of ${max_epoch}, ${eta} to go`;
  return message || "";
}

export async function jobView(place, signal, id) {
  const job = await get(`/jobs/${id}`);
  const head = el("div"), live = el("div"), curves = el("div.columns"), results = el("div");
  const log = el("pre", { tabIndex: 0, "aria-label": "Log" });
  place.append(head, live, curves, results, el("h2", {}, "Log"), log,
    el("details", {}, el("summary", {}, "Spec"), el("pre", {}, JSON.stringify(job.specs, null, 2))));
  const seen = { job, steps: new Map(), epochs: new Map(), part: null, offset: 0 };
  const header = () => head.replaceChildren(...headOf(seen.job, async (name) => {
    if (name === "delete") { if (!confirm("Delete the job with all that it has left?")) return; await remove(`/jobs/${id}`); location.hash = "#/jobs"; return; }
    seen.job = await verb(id, name);
    header();
    if (name === "resume" || name === "retry") location.reload();
  }));
  header();
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; if (!signal.aborted) { live.replaceChildren(...liveOf(seen)); curves.replaceChildren(...curvesOf(seen)); } }, 250);
  };
  const readLog = async () => {
    const response = await send("GET", `/jobs/${id}:logs`, { query: { offset: seen.offset } });
    const text = await response.text();
    seen.offset = Number(response.headers.get("X-Next-Offset"));
    if (!text) return;
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.append(text);
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  const refresh = async () => { seen.job = await get(`/jobs/${id}`); header(); redraw(); };
  const logs = (async () => {
    do { await readLog().catch(() => {}); await pause(1, signal); } while (!signal.aborted && AT_WORK.includes(seen.job.status));
    if (!signal.aborted) await readLog().catch(() => {});
  })();
  await follow(id, (kind, data) => {
    if (kind === "metric") hearMetric(seen, data);
    else if (kind === "progress") seen.part = data;
    else if (kind === "status") Object.assign(seen.job.progress, data);
    else if (kind === "state") refresh().catch(() => {});
    redraw();
  }, signal);
  if (signal.aborted) return;
  await refresh();
  await showResults(results, id, seen.job, signal);
  await logs;
}

function headOf(job, act) {
  const verbs = {
    Pending: ["cancel"], Started: ["cancel", "pause"], Running: ["cancel", "pause"], Resuming: ["cancel", "pause"], Pausing: ["cancel"],
    Paused: ["resume", "cancel"], Error: ["retry", "resume", "delete"], Canceled: ["retry", "resume", "delete"], Done: ["delete"],
  }[job.status] || [];
  const able = verbs.filter((name) => job.action === "train" || !["pause", "resume"].includes(name));
  const next = job.status === "Done" ? ["evaluate", "export", "prune", "quantize", "inference"].filter((action) => ["train", "prune", "export"].includes(job.action) && action !== job.action) : [];
  return [
    el("h1", {}, job.name || `${job.task} ${job.action}`, " ", status(job.status)),
    el("dl", {},
      el("dt", {}, "What"), el("dd", {}, `${job.task} ${job.action}, attempt ${job.attempt}`),
      el("dt", {}, "Asked for"), el("dd", {}, when(job.created_on)),
      job.ended_on ? [el("dt", {}, "Ended"), el("dd", {}, when(job.ended_on))] : [],
      job.gpu_ids.length ? [el("dt", {}, "GPUs"), el("dd", {}, job.gpu_ids.join(", "))] : [],
      job.parent_job_id ? [el("dt", {}, "After"), el("dd", {}, el("a", { href: `#/jobs/${job.parent_job_id}` }, "the job before"))] : []),
    job.error ? el("p.bad", { role: "alert" }, job.error) : null,
    el("div.row", {},
      able.map((name) => el("button", { type: "button", onclick: () => act(name).catch((error) => notice(error.message)) }, name[0].toUpperCase() + name.slice(1))),
      next.map((action) => el("a.button", { href: `#/new?${new URLSearchParams({ task: job.task, action, parent: job.id })}` }, `${action[0].toUpperCase()}${action.slice(1)} ...`))),
  ].filter(Boolean);
}

function liveOf({ job, part }) {
  if (!AT_WORK.includes(job.status)) return [];
  const { epoch = 0, max_epoch, eta, message } = job.progress;
  const whole = max_epoch ? (epoch + (part ? part.done / part.total : 0)) / max_epoch : part ? part.done / part.total : null;
  return [
    el("p", { role: "status" }, [part?.description || message, eta ? `${part?.values?.whole_training || `${eta} to go`}` : null].filter(Boolean).join(", ")),
    el("progress", { max: 1, value: whole === null ? undefined : Math.min(whole, 1), "aria-label": "How far" }),
  ];
}

function hearMetric(seen, { values, step, epoch }) {
  const [into, at] = epoch ? [seen.epochs, epoch] : [seen.steps, step];
  if (at === null || at === undefined) return;
  for (const [name, value] of Object.entries(values)) {
    if (!into.has(name)) into.set(name, new Map());
    into.get(name).set(at, value); // a resumed training tells some steps again
  }
}

function curvesOf({ steps, epochs }) {
  const series = (from, choose) => [...from].filter(([name]) => choose(name)).map(([name, points]) => ({ name, points: [...points].sort((a, b) => a[0] - b[0]) }));
  return [
    chart("Loss", "step", series(steps, (name) => name.startsWith("train/"))),
    chart("Loss", "epoch", series(epochs, (name) => name.endsWith("_loss"))),
    chart("Metrics on val", "epoch", series(epochs, (name) => name.startsWith("val_") && !name.endsWith("_loss"))),
    chart("Learning rate", "step", series(steps, (name) => name.startsWith("learning_rate/"))),
  ].filter(Boolean);
}

async function showResults(place, id, job, signal) {
  const { files } = await get(`/jobs/${id}:list_files`);
  const report = files.find((file) => file.path === `${job.action}/report.json`) ? await fileJson(id, `${job.action}/report.json`) : null;
  if (report) place.append(...reportOf(report));
  const pictures = files.filter((file) => PICTURE.test(file.path) && !/curves\.png$/.test(file.path)).slice(0, 60);
  if (pictures.length) {
    place.append(el("h2", {}, "Images"));
    const gallery = el("div.gallery");
    place.append(gallery);
    for (const { path } of pictures) {
      const url = await fileUrl(id, path);
      if (signal.aborted) { URL.revokeObjectURL(url); return; }
      signal.addEventListener("abort", () => URL.revokeObjectURL(url));
      gallery.append(el("figure", {}, el("a", { href: url, target: "_blank" }, el("img", { src: url, alt: path, loading: "lazy" })), el("figcaption", {}, path)));
    }
  }
  if (!files.length) return;
  place.append(el("details", {}, el("summary", {}, `Files (${files.length})`), table("Files", [
    { title: "File", value: (file) => file.path, show: (file) => el("button", { type: "button", onclick: () => save(id, file.path) }, file.path) },
    { title: "Size", value: (file) => file.bytes, show: (file) => bytes(file.bytes), number: true },
  ], files)));
}

/** Findings of a check, rows of a comparison, or figures. */
export function reportOf(report) {
  const parts = [];
  if (Array.isArray(report.findings)) {
    parts.push(el("h2", {}, "Findings"), report.findings.length ? el("ul", {}, report.findings.map((finding) =>
      el(`li${finding.level === "error" ? ".bad" : ""}`, {}, `${finding.level}: ${finding.message ?? finding.text ?? JSON.stringify(finding)}`))) : el("p", {}, "Nothing is wrong with the data."));
  }
  const rows = report.models ?? report.rows;
  if (Array.isArray(rows) && rows.length) {
    const flat = rows.map((row) => flatten(row));
    // The model and how good it is first; where its file lies says the log.
    const rank = (name) => (name === "name" ? 0 : name.startsWith("metrics.") ? 1 : 2);
    const names = [...new Set(flat.flatMap(Object.keys))].filter((name) => name !== "path" && flat.some((row) => row[name] !== null && typeof row[name] !== "object"))
      .sort((a, b) => rank(a) - rank(b)).slice(0, 24);
    parts.push(el("h2", {}, "Comparison"), table("Comparison", names.map((name) => ({
      title: name.replace(/^metrics\./, ""), value: (row) => row[name], number: flat.some((row) => typeof row[name] === "number"), show: name === "name" ? modelLink : undefined,
    })), flat));
  }
  if (report.metrics && typeof report.metrics === "object") {
    const figures = Object.entries(flatten(report.metrics)).filter(([, value]) => typeof value === "number");
    if (figures.length) parts.push(el("h2", {}, "Metrics"), el("dl", {}, figures.slice(0, 60).map(([name, value]) => [el("dt", {}, name), el("dd", {}, number(value))])));
  }
  return parts;
}

/** A compared model by its job, where it is one of this server's. */
function modelLink({ name }) {
  const found = /^([0-9a-f-]{36})\/results\/(.+)$/.exec(name);
  return found ? [el("a", { href: `#/jobs/${found[1]}` }, found[1].slice(0, 8)), ` ${found[2]}`] : name;
}

function flatten(value, prefix = "") {
  return Object.entries(value).reduce((found, [name, inner]) => {
    if (inner !== null && typeof inner === "object" && !Array.isArray(inner)) return { ...found, ...flatten(inner, `${prefix}${name}.`) };
    return { ...found, [prefix + name]: inner };
  }, {});
}

async function save(id, path) {
  const url = await fileUrl(id, path);
  el("a", { href: url, download: path.split("/").pop() }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
