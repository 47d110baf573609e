// Curves as SVG, with the same numbers as a table for who cannot see them.

import { el, number, svg } from "./dom.js";

const WIDTH = 480, HEIGHT = 220, LEFT = 64, RIGHT = 10, TOP = 10, BOTTOM = 28, MOST = 400;

/** Even numbers that cover a range. */
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

/** At most so many points, the last one among them. */
export function thinned(points, most = MOST) {
  if (points.length <= most) return points;
  const every = Math.ceil(points.length / most);
  return points.filter((_, index) => index % every === 0 || index === points.length - 1);
}

/** A number at an axis, in few letters: ticks have few digits, as even numbers do. */
function short(value) {
  return value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e5) ? value.toExponential() : String(value);
}

/** A chart of series {name, points: [[x, y], ...]}; null where there is nothing to draw. */
export function chart(title, unit, series) {
  const drawn = series.map((one) => ({ ...one, points: thinned(one.points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))) })).filter((one) => one.points.length);
  if (!drawn.length) return null;
  const xs = drawn.flatMap((one) => one.points.map(([x]) => x));
  const ys = drawn.flatMap((one) => one.points.map(([, y]) => y));
  const range = (values) => {
    const low = Math.min(...values), high = Math.max(...values);
    const room = high > low ? 0 : Math.abs(high) / 2 || 0.5; // a single value stands in the middle
    return [low - room, high + room];
  };
  const [left, right] = range(xs), [low, high] = range(ys);
  const x = (value) => LEFT + ((value - left) / (right - left)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": `${title} by ${unit}` });
  for (const value of ticks(low, high)) {
    picture.append(svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }));
    picture.append(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  for (const value of ticks(left, right).filter(Number.isInteger)) {
    picture.append(svg("text", { x: x(value), y: HEIGHT - 8, "text-anchor": "middle" }, String(value)));
  }
  drawn.forEach((one, index) => {
    const style = `s${index % 6}`;
    if (one.points.length === 1) picture.append(svg("circle", { cx: x(one.points[0][0]), cy: y(one.points[0][1]), r: 3, class: style }));
    else picture.append(svg("polyline", { points: one.points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" "), class: `line ${style}`, fill: "none" }));
  });
  const last = (one) => one.points[one.points.length - 1][1];
  const rows = [...new Set(xs)].sort((a, b) => a - b);
  return el("figure", {},
    el("figcaption", {}, `${title}, by ${unit}`), picture,
    el("ul.legend", {}, drawn.map((one, index) => el("li", {}, el(`i.s${index % 6}`), `${one.name} ${number(last(one))}`))),
    el("details", {}, el("summary", {}, "As a table"), el("div.wide", {}, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, unit), drawn.map((one) => el("th.number", { scope: "col" }, one.name)))),
      el("tbody", {}, rows.slice(-100).map((at) => el("tr", {}, el("td", {}, String(at)), drawn.map((one) => {
        const point = one.points.find(([px]) => px === at);
        return el("td.number", {}, point ? number(point[1]) : "");
      }))))))));
}
