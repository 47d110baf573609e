// Making elements, and small helpers that every view needs.

/** An element: name with classes ("p.faint.wide"), attributes (`on...` are listeners), children. */
export function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && key !== "list" && key !== "form") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of SVG. */
export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** Says something at the foot of the page, and to screen readers. */
export function notice(text) {
  const place = document.getElementById("notice");
  place.replaceChildren(el("p", {}, text));
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => place.replaceChildren(), 6000);
}

export const number = (value) => {
  if (typeof value !== "number") return String(value ?? "");
  if (Number.isInteger(value)) return (value + 0).toLocaleString(); // + 0: no "-0"
  return Math.abs(value) >= 0.001 && Math.abs(value) < 1e6 ? value.toPrecision(4) : value.toExponential(2);
};

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value, unit = 0;
  while (size >= 1000 && unit < 4) { size /= 1000; unit++; }
  return `${unit ? size.toFixed(1) : size} ${units[unit]}`;
}

export const when = (text) => (text ? new Date(text).toLocaleString() : "");

/** A status as a word that has its colour too. */
export const status = (word) => el(`span.status.${word}`, {}, word);

/** A table whose columns sort: each is {title, value(row), show(row)?, number?, optional?}. */
export function table(caption, columns, rows) {
  const body = el("tbody");
  const sorted = { column: -1, up: false };
  const fill = () => {
    const shown = [...rows];
    if (sorted.column >= 0) {
      const { value } = columns[sorted.column];
      shown.sort((a, b) => compare(value(a), value(b)) * (sorted.up ? 1 : -1));
    }
    body.replaceChildren(...shown.map((row) => el("tr", {}, columns.map((column) =>
      el(`td${column.number ? ".number" : ""}${column.optional ? ".optional" : ""}`, {},
        column.show ? column.show(row) : number(column.value(row)))))));
  };
  const heads = columns.map((column, index) => el(
    `th${column.number ? ".number" : ""}${column.optional ? ".optional" : ""}`, { scope: "col" },
    column.value ? el("button", { type: "button", onclick: () => {
      sorted.up = sorted.column === index ? !sorted.up : !column.number;
      sorted.column = index;
      heads.forEach((head, other) => head.setAttribute("aria-sort", other !== index ? "none" : sorted.up ? "ascending" : "descending"));
      fill();
    } }, column.title) : column.title));
  fill();
  return el("div.wide", {}, el("table", { "aria-label": caption }, el("thead", {}, el("tr", {}, heads)), body));
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "number" || typeof b === "number") return typeof a === "number" ? 1 : -1;
  return String(a ?? "").localeCompare(String(b ?? ""));
}

/** A place to drop a file on, or to choose one with the keyboard. */
export function dropZone(label, accept, take) {
  const input = el("input", { type: "file", accept, hidden: true, onchange: () => { if (input.files[0]) take(input.files[0]); input.value = ""; } });
  const zone = el("div.drop", {
    ondragover: (event) => { event.preventDefault(); zone.classList.add("over"); },
    ondragleave: () => zone.classList.remove("over"),
    ondrop: (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    },
  }, el("p", {}, label), el("button", { type: "button", onclick: () => input.click() }, "Choose a file"), input);
  return zone;
}
