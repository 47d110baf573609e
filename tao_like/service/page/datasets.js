// Data sets: upload one, look at its contact sheet and findings.

import { fileJson, fileUrl, get, post, remove, upload } from "./api.js";
import { bytes, dropZone, el, notice, table, when } from "./dom.js";
import { reportOf } from "./jobs.js";

export async function datasetsView(place, signal) {
  place.append(el("h1", {}, "Data sets"));
  const [{ tasks }, list] = [await get("/tasks"), el("div")];
  const task = el("select", { id: "task" }, tasks.map(({ name, description }) => el("option", { value: name }, `${name}: ${description.split("\n")[0]}`)));
  const name = el("input", { id: "name", maxLength: 200 });
  const path = el("input", { id: "path", placeholder: "/data/photos" });
  const progress = el("p", { role: "status" });
  const added = async (work) => {
    progress.textContent = "Sending, unpacking and looking at the data ...";
    try {
      const dataset = await work();
      location.hash = `#/datasets/${dataset.id}`;
    } catch (error) {
      progress.replaceChildren(el("span.bad", { role: "alert" }, error.message));
    }
  };
  place.append(
    el("div.columns", {},
      el("div", {}, el("label", { htmlFor: "task" }, "Task"), task, el("label", { htmlFor: "name" }, "Name", el("small", {}, "empty: the file's")), name,
        el("form", { onsubmit: (event) => { event.preventDefault(); added(() => post("/datasets", { task: task.value, path: path.value, name: name.value })); } },
          el("label", { htmlFor: "path" }, "Or a folder on the server", el("small", {}, "below one of the folders that it was started with")), path, el("p", {}, el("button", {}, "Use this folder")))),
      dropZone("Drop a zip or tar file of a folder here: images in a folder for each class, or COCO, VOC, YOLO, KITTI labels.", ".zip,.tar,.tgz,.gz,.xz",
        (file) => added(() => upload("/datasets:upload", { task: task.value, name: name.value || file.name }, file)))),
    progress, list);
  const { datasets } = await get("/datasets", { limit: 500 }, signal);
  list.append(el("h2", {}, "What there is"), datasets.length ? table("Data sets", [
    { title: "Data set", value: (one) => one.name, show: (one) => el("a", { href: `#/datasets/${one.id}` }, one.name) },
    { title: "Task", value: (one) => one.task },
    { title: "What", value: (one) => one.message, show: (one) => el(one.status === "invalid" ? "span.bad" : "span", {}, one.message.split("\n")[0]) },
    { title: "Upload", value: (one) => one.bytes, show: (one) => (one.bytes ? bytes(one.bytes) : ""), number: true, optional: true },
    { title: "Added", value: (one) => one.created_on, show: (one) => when(one.created_on), optional: true },
  ], datasets) : el("p", {}, "Nothing yet."));
}

export async function datasetView(place, signal, id) {
  const dataset = await get(`/datasets/${id}`);
  const check = async () => {
    const job = await post("/jobs", { task: dataset.task, action: "dataset_check", dataset_id: id, name: `check of ${dataset.name}`.slice(0, 200) });
    location.hash = `#/jobs/${job.id}`;
  };
  const ready = dataset.status === "ready";
  place.append(
    el("h1", {}, dataset.name), el(ready ? "p" : "p.bad", {}, dataset.message),
    el("div.row", {},
      ready ? el("button", { type: "button", onclick: () => check().catch((error) => notice(error.message)) }, "Check the data") : null,
      ready ? el("a.button", { href: `#/new?${new URLSearchParams({ task: dataset.task, action: "train", dataset: id })}` }, "Train ...") : null,
      el("button", { type: "button", onclick: async () => { if (!confirm("Remove the data set? What was uploaded is deleted.")) return; try { await remove(`/datasets/${id}`); location.hash = "#/datasets"; } catch (error) { notice(error.message); } } }, "Remove")),
    el("details", {}, el("summary", {}, "Suggested spec"), el("pre", {}, JSON.stringify(dataset.specs, null, 2))));
  const { jobs } = await get("/jobs", { dataset_id: id, action: "dataset_check", limit: 1 }, signal);
  if (!jobs.length) { if (ready) place.append(el("p.faint", {}, "Not checked yet.")); return; }
  const [job] = jobs;
  place.append(el("p", {}, "Last check: ", el("a", { href: `#/jobs/${job.id}` }, `${job.status}, ${when(job.created_on)}`)));
  const { files } = await get(`/jobs/${job.id}:list_files`);
  if (files.some((file) => file.path === "dataset_check/report.json")) place.append(...reportOf(await fileJson(job.id, "dataset_check/report.json")));
  for (const { path } of files.filter((file) => /\.(png|jpg)$/.test(file.path)).slice(0, 12)) {
    const url = await fileUrl(job.id, path);
    signal.addEventListener("abort", () => URL.revokeObjectURL(url));
    place.append(el("figure", {}, el("img", { src: url, alt: path }), el("figcaption", {}, path)));
  }
}
