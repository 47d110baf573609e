// Images out of sentences: a prompt, and one request an image, each of the next seed.

import { postForFile } from "./api.js";
import { el } from "./dom.js";

const MOST = 16;

export async function generateView(place, signal, job, path) {
  const prompt = el("input", { id: "prompt", required: true, maxLength: 10000, placeholder: "such as a red circle" });
  const seed = el("input", { id: "seed", type: "number", min: 0, max: Number.MAX_SAFE_INTEGER - MOST, step: 1, required: true, value: "0" });
  const count = el("input", { id: "count", type: "number", min: 1, max: MOST, step: 1, required: true, value: "4" });
  const guidance = el("input", { id: "guidance", type: "number", min: 0, max: 100, step: "any", placeholder: "the model's own" });
  const make = el("button.primary", {}, "Make");
  const told = el("p", { role: "status" });
  const problem = el("p.bad", { role: "alert" });
  const gallery = el("div.gallery");
  const urls = [];
  let earlier = null;
  signal.addEventListener("abort", () => { earlier?.abort(); urls.forEach((url) => URL.revokeObjectURL(url)); });
  const field = (input, name, help) => el("div", {}, el("label", { htmlFor: input.id }, name, help && el("small", {}, help)), input);
  place.append(el("h1", {}, "Make images"), el("p.faint", {}, el("a", { href: `#/jobs/${job}` }, "Its job"), `, ${path}`),
    el("form", { onsubmit: submit }, field(prompt, "Prompt"),
      el("div.columns", {}, field(seed, "Seed", "the same one gives the same image"), field(count, "Images", "each of the next seed"), field(guidance, "Guidance", "how much the prompt counts")),
      el("p", {}, make)),
    told, problem, gallery);
  prompt.focus();

  async function submit(event) {
    event.preventDefault();
    earlier?.abort();
    earlier = new AbortController();
    const own = earlier;
    const text = prompt.value, first = Number(seed.value), wanted = Number(count.value);
    const settings = guidance.value === "" ? {} : { guidance_scale: Number(guidance.value) };
    problem.textContent = "";
    gallery.replaceChildren();
    urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
    try {
      for (let number = 0; number < wanted; number++) {
        told.textContent = `Making image ${number + 1} of ${wanted} ...`;
        const began = performance.now();
        const file = await postForFile(`/models/${job}:generate`, { path }, { prompt: text, seed: first + number, settings }, own.signal);
        if (own.signal.aborted) return;
        const url = URL.createObjectURL(file);
        urls.push(url);
        const name = `${text}, seed ${first + number}`;
        gallery.append(el("figure", {}, el("a", { href: url, download: `${first + number}.png` }, el("img.made", { src: url, alt: name })), el("figcaption", {}, `${name}, ${((performance.now() - began) / 1000).toFixed(1)} s`)));
      }
      told.textContent = "Done. A click stores an image; its file says prompt, seed and model.";
    } catch (error) {
      if (own.signal.aborted) return;
      told.textContent = "";
      problem.textContent = error.message;
    }
  }
}
