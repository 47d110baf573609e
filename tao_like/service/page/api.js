// Talks to the server that this page came from.

const ROOT = "/api/v2";
const TOKEN = "tao_like_token";

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail || `The server answered ${problem.status}.`);
    this.status = problem.status;
    this.errors = problem.errors || [];
  }
}

let asking = null;

/** Asks for the token, once for all requests that wait for it. It stays in this tab alone. */
function askForToken() {
  asking ??= new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "password";
    input.autocomplete = "current-password";
    input.required = true;
    const dialog = document.createElement("dialog");
    const form = document.createElement("form");
    form.method = "dialog";
    const label = document.createElement("label");
    label.append("Token of this server", input);
    const button = document.createElement("button");
    button.textContent = "Enter";
    form.append(label, button);
    dialog.append(form);
    document.body.append(dialog);
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(TOKEN, input.value);
      dialog.remove();
      asking = null;
      resolve();
    });
    dialog.showModal();
  });
  return asking;
}

export async function send(method, path, { body, file, query, headers = {}, signal } = {}) {
  const url = new URL(ROOT + path, location.origin);
  for (const [name, value] of Object.entries(query || {})) {
    for (const one of [value].flat()) if (one !== undefined && one !== null && one !== "") url.searchParams.append(name, one);
  }
  const sent = { ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (file !== undefined) sent["Content-Type"] = "application/octet-stream";
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    if (token) sent.Authorization = `Bearer ${token}`;
    const response = await fetch(url, { method, headers: sent, signal, body: file ?? (body === undefined ? undefined : JSON.stringify(body)) });
    if (response.status === 401) { await askForToken(); continue; }
    if (response.ok) return response;
    let problem = { status: response.status };
    try { problem = await response.json(); } catch { /* not from this server */ }
    throw new Refused(problem);
  }
}

export const get = async (path, query, signal) => (await send("GET", path, { query, signal })).json();
export const post = async (path, body, headers) => (await send("POST", path, { body: body ?? {}, headers })).json();
/** What is answered as a file. */
export const postForFile = async (path, query, body, signal) => (await send("POST", path, { query, body, signal })).blob();
export const verb = async (job, name) => (await send("POST", `/jobs/${job}:${name}`)).json();
export const remove = (path) => send("DELETE", path);
export const upload = async (path, query, file) => (await send("POST", path, { query, file })).json();

/** The URL of a file of a job as a picture can show it; with a token it must be fetched. */
export async function fileUrl(job, path) {
  const response = await send("GET", `/jobs/${job}:download`, { query: { path } });
  return URL.createObjectURL(await response.blob());
}

export async function fileJson(job, path) {
  return JSON.parse(await (await send("GET", `/jobs/${job}:download`, { query: { path } })).text());
}

/** Follows a job: calls `hear(kind, data)` for each event until it has ended or `signal` says so. */
export async function follow(job, hear, signal) {
  let last = "", pause = 500;
  while (!signal.aborted) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const reader = (await send("GET", `/jobs/${job}:events`, { headers, signal })).body.pipeThrough(new TextDecoderStream()).getReader();
      pause = 500;
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const blocks = text.split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const fields = Object.fromEntries(block.split("\n").filter((line) => !line.startsWith(":")).map((line) => {
            const at = line.indexOf(": ");
            return [line.slice(0, at), line.slice(at + 2)];
          }));
          if (!fields.event) continue;
          last = fields.id;
          hear(fields.event, JSON.parse(fields.data));
          if (fields.event === "end") return;
        }
      }
    } catch (error) {
      if (signal.aborted || error instanceof Refused) return;
    }
    // The server is away for a moment; the job is not.
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 10000);
  }
}
