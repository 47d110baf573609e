// Models: a table to compare them, and trying one on a picture.

import { get, post, upload } from "./api.js";
import { bytes, dropZone, el, notice, number, svg, table, when } from "./dom.js";

export async function modelsView(place, signal) {
  const { models } = await get("/models", { limit: 200 }, signal);
  place.append(el("h1", {}, "Models"));
  if (!models.length) { place.append(el("p", {}, "None yet: train one.")); return; }
  const chosen = new Set();
  const metrics = [...new Set(models.flatMap((model) => Object.keys(model.metrics)))].slice(0, 8);
  const compare = el("button", { type: "button", disabled: true, onclick: () => start().catch((error) => notice(error.message)) }, "Compare the chosen ones");
  const pick = (model) => el("input", { type: "checkbox", "aria-label": `choose ${model.job_name || model.job_id.slice(0, 8)} ${model.path}`, checked: chosen.has(model), onchange: (event) => {
    if (event.target.checked) chosen.add(model); else chosen.delete(model);
    compare.disabled = chosen.size < 2 || new Set([...chosen].map((one) => one.task)).size > 1;
  } });
  place.append(table("Models", [
    { title: "", show: pick },
    { title: "Job", value: (model) => model.job_name || model.job_id, show: (model) => el("a", { href: `#/jobs/${model.job_id}` }, model.job_name || model.job_id.slice(0, 8)) },
    { title: "Next", show: (model) => (model.kind !== "bundle" ? el("a", { href: `#/${model.generates ? "generate" : "try"}/${model.job_id}/${encodeURIComponent(model.path)}` }, "Try") : el("a", { href: `#/new?${new URLSearchParams({ task: model.task, action: "export", parent: model.job_id })}` }, "Export")) },
    { title: "File", value: (model) => model.path },
    { title: "Task", value: (model) => model.task, optional: true },
    { title: "Size", value: (model) => model.bytes, show: (model) => bytes(model.bytes), number: true },
    ...metrics.map((name) => ({ title: name, value: (model) => model.metrics[name], number: true })),
    { title: "Made", value: (model) => model.created_on, show: (model) => when(model.created_on), optional: true },
  ], models), el("p", {}, compare), el("p.faint", {}, "Metrics here are those that each job told. A comparison scores the chosen models on the same data, and measures size and speed."));

  async function start() {
    const [first] = chosen;
    const job = await post("/jobs", {
      task: first.task, action: "compare", parent_job_id: first.job_id, name: `compare ${chosen.size} models`, model_ids: [...chosen].map((model) => model.id),
    });
    location.hash = `#/jobs/${job.id}`;
  }
}

export async function tryView(place, signal, job, path) {
  const answer = el("div", { role: "status" });
  let url = null;
  signal.addEventListener("abort", () => url && URL.revokeObjectURL(url));
  const ask = async (file) => {
    answer.replaceChildren(el("p", {}, "Computing ..."));
    try {
      const found = await upload(`/models/${job}:predict`, { path }, file);
      if (url) URL.revokeObjectURL(url);
      url = URL.createObjectURL(file);
      answer.replaceChildren(...drawn(found, url, file.name));
    } catch (error) {
      answer.replaceChildren(el("p.bad", { role: "alert" }, error.message));
    }
  };
  place.append(el("h1", {}, "Try a model"), el("p.faint", {}, el("a", { href: `#/jobs/${job}` }, "Its job"), `, ${path}`), dropZone("Drop an image here", "image/*", ask), answer);
}

function drawn({ kind, width, height, seconds, prediction }, url, name) {
  const picture = el("img.tried", { src: url, alt: name });
  const time = el("p.faint", {}, `${(seconds * 1000).toFixed(0)} ms on the server`);
  if (kind === "boxes") {
    const labels = [...new Set(prediction.detections.map((one) => one.label))];
    const style = (label) => `s${labels.indexOf(label) % 6}`;
    const layer = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    const size = Math.max(width, height) / 28;
    for (const { label, score, box: [left, top, right, bottom] } of prediction.detections) {
      layer.append(svg("rect", { x: left, y: top, width: right - left, height: bottom - top, class: style(label) }));
      layer.append(svg("text", { x: left, y: Math.max(top - size * 0.3, size), "font-size": size, class: style(label) }, `${label} ${(score * 100).toFixed(0)}%`));
    }
    const counts = labels.map((label) => `${label}: ${prediction.detections.filter((one) => one.label === label).length}`).join(", ");
    return [el("p", {}, counts || "Nothing was found."), el("div.answer", {}, picture, layer), time,
      el("details", {}, el("summary", {}, "As a table"), table("Detections", [
        { title: "Label", value: (one) => one.label }, { title: "Score", value: (one) => one.score, number: true },
        { title: "Box", value: (one) => one.box[0], show: (one) => one.box.map((side) => side.toFixed(0)).join(", ") },
      ], prediction.detections))];
  }
  if (kind === "classes") {
    const top = Object.entries(prediction.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 5);
    return [el("p", {}, el("strong", {}, prediction.labels.join(", ") || "none sure")), el("div.columns", {}, picture,
      el("div", {}, top.map(([label, share]) => el("div.bar", {}, el("span", {}, label), el("progress", { max: 1, value: share, "aria-label": label }), el("span", {}, `${(share * 100).toFixed(1)}%`))))), time];
  }
  return [el("pre", {}, JSON.stringify(prediction, null, 2)), picture, time];
}
