// Finds the view for the address, and shows it.

import { el, notice } from "./dom.js";
import { datasetView, datasetsView } from "./datasets.js";
import { jobView, jobsView } from "./jobs.js";
import { generateView } from "./generate.js";
import { modelsView, tryView } from "./models.js";
import { newJobView } from "./form.js";

const VIEWS = [
  [/^#\/jobs$/, jobsView, "Jobs"],
  [/^#\/jobs\/([\w-]+)$/, jobView, "Job"],
  [/^#\/new(?:\?(.*))?$/, newJobView, "New job"],
  [/^#\/datasets$/, datasetsView, "Data sets"],
  [/^#\/datasets\/([\w-]+)$/, datasetView, "Data set"],
  [/^#\/models$/, modelsView, "Models"],
  [/^#\/try\/([\w-]+)\/(.+)$/, tryView, "Try a model"],
  [/^#\/generate\/([\w-]+)\/(.+)$/, generateView, "Make images"],
];

let leave = new AbortController();

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  if (location.hash === "#main") return;
  const found = VIEWS.map(([pattern, view, title]) => ({ match: pattern.exec(location.hash), view, title })).find(({ match }) => match);
  if (!found) { location.replace("#/jobs"); return; }
  document.title = `${found.title} - tao_like`;
  for (const link of document.querySelectorAll("nav a")) {
    if (location.hash.split("?")[0].startsWith(link.getAttribute("href"))) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  const place = el("div");
  main.replaceChildren(place);
  try {
    await found.view(place, signal, ...found.match.slice(1).map((part) => part && decodeURIComponent(part)));
  } catch (error) {
    if (!signal.aborted) place.append(el("p.bad", { role: "alert" }, error.message));
  }
}

addEventListener("hashchange", async () => { await show(); document.getElementById("main").focus(); });
addEventListener("unhandledrejection", (event) => { if (event.reason?.name !== "AbortError") notice(event.reason?.message || "Something went wrong."); });
show();
