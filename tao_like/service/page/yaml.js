// The part of YAML that the form writes: nested keys, plain values, lists in brackets.

export class NotSimple extends Error {}

const PLAIN = /^[A-Za-z_./][\w ./+-]*$/;
const WORDS = new Set(["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"]);

function scalar(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return `[${value.map(scalar).join(", ")}]`;
  if (typeof value === "object") return JSON.stringify(value);
  if (typeof value === "string") return PLAIN.test(value) && !WORDS.has(value.toLowerCase()) && !value.endsWith(" ") ? value : JSON.stringify(value);
  return String(value);
}

/** A nested object as YAML. */
export function write(content, indent = "") {
  return Object.entries(content).map(([key, value]) => {
    const isBlock = value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length;
    return isBlock ? `${indent}${key}:\n${write(value, indent + "  ")}` : `${indent}${key}: ${scalar(value)}\n`;
  }).join("");
}

function read(text, line) {
  const value = text.trim();
  if (value === "" || value === "null" || value === "~") return null;
  if (/^[[{"]/.test(value)) {
    try { return JSON.parse(value); } catch { /* a list of bare words */ }
    if (/^\[[^[\]{}"']*\]$/.test(value)) return value.slice(1, -1).split(",").filter((part) => part.trim()).map((part) => read(part, line));
    throw new NotSimple(`line ${line}`);
  }
  if (value === "true" || value === "false") return value === "true";
  if (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(value)) return Number(value);
  if (/^[&*!|>%@`'-]/.test(value) || value.includes(": ")) throw new NotSimple(`line ${line}`);
  return value;
}

/** Reads what `write` writes, and what people write like it. Throws NotSimple for anything else. */
export function parse(text) {
  const root = {};
  const open = [{ indent: -1, block: root }];
  text.split("\n").forEach((raw, index) => {
    const line = raw.replace(/(^|\s)#.*$/, "");
    if (!line.trim()) return;
    const match = /^( *)([\w-]+):(.*)$/.exec(line);
    if (!match) throw new NotSimple(`line ${index + 1}`);
    const indent = match[1].length;
    while (open[open.length - 1].indent >= indent) open.pop();
    const { block } = open[open.length - 1];
    if (block === null) throw new NotSimple(`line ${index + 1}`);
    if (match[3].trim() === "") {
      block[match[2]] = {};
      open.push({ indent, block: block[match[2]] });
    } else {
      block[match[2]] = read(match[3], index + 1);
    }
  });
  return root;
}
