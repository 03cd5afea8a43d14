// The figure of a front for plot.js, from what pareto/view.py tells: one set of points on its own axes at a time.
import { MARKS, edge } from './marks.js';

const SIZES = { diamond: 13, 'triangle-up': 14, 'triangle-down': 14, star: 15, cross: 12, x: 11 };
const AXES = {
  models: ['helpful: reward, standard deviations', 'harmless: reward, standard deviations'],
  people: ['helpful: strength in votes, log-odds', 'harmless: strength in votes, log-odds'],
  both: ['helpful: standard score', 'harmless: standard score'],
  paper: ['helpful: beaver-7b reward', 'harmless: minus beaver-7b cost'],
};

/** So many digits, with a real minus. */
export const short = (value, digits = 2) => (value == null ? '' : value.toFixed(digits).replace('-', '−'));
/** 0.3 as .3. */
export const lambda = (value) => String(Number(value.toFixed(2))).replace(/^0\./, '.');

/** The points of a set: { id, name, method, x, y, xs: [from, to], ys, dominated, … }. */
export function places(data, set) {
  if (set === 'paper') return data.paper.points.map((point) => ({ ...point, x: point.helpful, y: point.harmless }));
  if (set !== 'people') return data.points.map((point) => ({ ...point, x: point.helpful, y: point.harmless, xs: point.helpful_ci, ys: point.harmless_ci }));
  const judged = data.points.filter((point) => point.people).map(({ people, ...point }) => ({
    ...point, x: people.helpful, y: people.harmless, xs: people.helpful_ci, ys: people.harmless_ci, comparisons: people.comparisons,
  }));
  const front = new Set(best(judged));
  return judged.map((point) => ({ ...point, dominated: !front.has(point) }));
}

/** The points that no other one beats on both axes, from left to right. */
export const best = (points) => points.filter((one) => !points.some((other) =>
  other.x >= one.x && other.y >= one.y && (other.x > one.x || other.y > one.y))).sort((a, b) => a.x - b.x);

function hover(point) {
  const interval = (ends) => (ends ? ` [${short(ends[0])}, ${short(ends[1])}]` : '');
  return [
    `<b>${plain(point.name)}</b>`,
    point.lambda == null ? '' : `λ helpful ${lambda(point.lambda)}`,
    `helpful ${short(point.x)}${interval(point.xs)}`,
    `harmless ${short(point.y)}${interval(point.ys)}`,
    point.kl == null ? '' : `KL ${short(point.kl, 1)} nats an answer`,
    point.length == null ? '' : `${Math.round(point.length)} tokens an answer`,
    point.steps ? `${point.steps} steps of training` : '',
    point.prompts ? `${point.prompts} prompts` : '',
    point.comparisons ? `${point.comparisons} comparisons by people` : '',
  ].filter(Boolean).join('<br>');
}

const bars = (points, ends, at, color) => ({
  type: 'data', symmetric: false, array: points.map((p) => p[ends][1] - p[at]), arrayminus: points.map((p) => p[at] - p[ends][0]),
  thickness: 1, width: 0, color,
});
const pale = (color, share) => color + Math.round(2.55 * share).toString(16).padStart(2, '0');
const plain = (text) => text.replaceAll('<', '&lt;');

function marks(points, method, dim) {
  const { symbol, color } = MARKS[method];
  const intervals = points[0].xs && { error_x: bars(points, 'xs', 'x', pale(color, dim ? 22 : 55)), error_y: bars(points, 'ys', 'y', pale(color, dim ? 22 : 55)) };
  return {
    type: 'scatter', mode: 'markers', x: points.map((p) => p.x), y: points.map((p) => p.y), customdata: points.map((p) => p.id), text: points.map(hover),
    marker: { symbol, size: SIZES[symbol] ?? 11, color, opacity: dim ? 0.35 : 1, line: { color: edge(method), width: 1 } },
    hovertemplate: '%{text}<extra></extra>', cliponaxis: false, showlegend: false, ...intervals,
  };
}

function path(points, line) {
  return { type: 'scatter', mode: 'lines', x: points.map((p) => p.x), y: points.map((p) => p.y), hoverinfo: 'skip', showlegend: false, line };
}

const ring = (points) => ({
  type: 'scatter', mode: 'markers', x: points.map((p) => p.x), y: points.map((p) => p.y), hoverinfo: 'skip', showlegend: false, cliponaxis: false,
  marker: { symbol: 'circle-open', size: points.map((p) => (p.selected ? 25 : 21)), color: 'var(--tw-ink)', line: { width: points.map((p) => (p.selected ? 2 : 1)) } },
});

function single(points, { dim, hidden, picks, selected }) {
  const shown = points.filter((point) => !hidden.has(point.method));
  const traces = [path(best(shown), { color: 'var(--tw-line)', width: 1.5, dash: 'dot', shape: 'vh' })];
  for (const method of Object.keys(MARKS)) {
    const own = shown.filter((point) => point.method === method);
    const ordered = own.filter((point) => point.lambda != null).sort((a, b) => a.lambda - b.lambda);
    if (ordered.length > 2) traces.push(path(ordered, { color: pale(MARKS[method].color, 50), width: 1.5 }));
    for (const low of [true, false]) {
      const part = own.filter((point) => Boolean(point.dominated) === low);
      if (part.length) traces.push(marks(part, method, low && dim));
    }
  }
  const picked = shown.filter((point) => picks.includes(point.id)).map((point) => ({ ...point, selected: point.id === selected }));
  if (picked.length) traces.push(ring(picked));
  return traces;
}

function joined(data, { hidden }) {
  const known = new Map(data.points.map((point) => [point.id, point]));
  const traces = [];
  for (const { id, helpful, harmless } of data.both.points) {
    const { method, name } = known.get(id);
    if (hidden.has(method)) continue;
    const { symbol, color } = MARKS[method];
    traces.push({
      type: 'scatter', mode: 'lines+markers', x: helpful, y: harmless, customdata: [id, id], showlegend: false, cliponaxis: false,
      line: { color: pale(color, 55), width: 1.5 },
      marker: { symbol: [symbol, `${symbol}-open`], size: SIZES[symbol] ?? 11, color, opacity: 1, line: { color: [edge(method), color], width: [1, 2] } },
      text: ['reward models', 'people'].map((who, i) => `<b>${plain(name)}</b>, ${who}<br>helpful ${short(helpful[i])}, harmless ${short(harmless[i])}`),
      hovertemplate: '%{text}<extra></extra>',
    });
  }
  return traces;
}

/** { data, layout } of a set ("models", "people", "both" or "paper"). how: { dim, hidden: Set of methods, picks, selected }. */
export function figure(data, set, how) {
  const [x, y] = AXES[set];
  const axis = (title, color) => ({ title: { text: title, font: { color: 'var(--tw-ink)' } }, showline: true, linewidth: 3, linecolor: color, zeroline: false, ticklen: 0, nticks: 7 });
  return {
    data: set === 'both' ? joined(data, how) : single(places(data, set), how),
    layout: {
      height: 360, uirevision: set, hovermode: 'closest', hoverdistance: 24, showlegend: false,
      margin: { l: 52, r: 14, t: 14, b: 44 }, xaxis: axis(x, 'var(--tw-helpful)'), yaxis: axis(y, 'var(--tw-harmless)'),
    },
  };
}
