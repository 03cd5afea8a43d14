// The figure of a front for plot.js, from the message of pareto/view.py: one set of points on its own axes at a time.
import { edge, markOf, methods } from './marks.js';
import { scaleOf } from './ways.js';

const SIZES = { diamond: 13, 'triangle-up': 14, 'triangle-down': 14, star: 15, cross: 12, x: 11 };
const AXES = {
  people: ['helpful: strength in votes, log-odds', 'harmless: strength in votes, log-odds'],
  both: ['helpful: standard score', 'harmless: standard score'],
  paper: ['helpful: beaver-7b reward', 'harmless: minus beaver-7b cost'],
};

/** A number with so many digits and a real minus. */
export const short = (value, digits = 2) => (value == null ? '' : value.toFixed(digits).replace('-', '−'));
/** 0.3 as .3. */
export const lambda = (value) => String(Number(value.toFixed(2))).replace(/^0\./, '.');

/** The points of a set: { id, name, method, x, y, xs: [from, to], ys, dominated, … }; axes: what the reward models' set shows. */
export function places(data, set, axes = data.objectives) {
  if (set === 'paper') return data.paper.points.map((point) => ({ ...point, x: point.helpful, y: point.harmless }));
  if (set !== 'people') {
    const [x, y] = set === 'models' ? axes : data.objectives;
    return data.points.map((point) => ({ ...point, x: point[x], y: point[y], xs: point[`${x}_ci`], ys: point[`${y}_ci`] }))
      .filter((point) => point.x != null && point.y != null);
  }
  const judged = data.points.filter((point) => point.people).map(({ people, ...point }) => ({
    ...point, x: people.helpful, y: people.harmless, xs: people.helpful_ci, ys: people.harmless_ci, comparisons: people.comparisons,
  }));
  return ranked(judged, ['x', 'y']);
}

/** Points that say whether another of them is as good by all keys, and better by one. */
export const ranked = (points, keys) => points.map((point) => ({
  ...point, dominated: points.some((other) => keys.every((key) => other[key] >= point[key]) && keys.some((key) => other[key] > point[key])),
}));

/** The points that no other one beats on both axes, from left to right. */
const best = (points) => ranked(points, ['x', 'y']).filter(({ dominated }) => !dominated).sort((a, b) => a.x - b.x);

const interval = (ends) => (ends ? ` [${short(ends[0])}, ${short(ends[1])}]` : '');

function hover(point, [x, y]) {
  return [
    `<b>${plain(point.name)}</b>`,
    point.lambda == null ? '' : `λ helpful ${lambda(point.lambda)}`,
    `${x} ${short(point.x)}${interval(point.xs)}`,
    `${y} ${short(point.y)}${interval(point.ys)}`,
    point.refusal_safe == null ? '' : `${Math.round(100 * point.refusal_safe)} % of safe prompts refused`,
    point.kl == null ? '' : `KL ${short(point.kl, 1)} nats an answer`,
    point.length == null ? '' : `${Math.round(point.length)} tokens an answer`,
    point.steps ? `${point.steps} steps of training` : '',
    point.prompts ? `${point.prompts} prompts` : '',
    point.seeds?.length > 1 ? `${point.seeds.length} trainings` : point.seeds?.length === 1 && point.method !== 'base' ? `seed ${point.seeds[0]}` : '',
    point.comparisons ? `${point.comparisons} comparisons by people` : '',
    hollow(point) ? SCORES_ALONE : '',
  ].filter(Boolean).join('<br>');
}

/** @param {any[]} points */
const bars = (points, ends, at, color) => ({
  type: 'data', symmetric: false, array: points.map((p) => (p[ends] ? p[ends][1] - p[at] : 0)), arrayminus: points.map((p) => (p[ends] ? p[at] - p[ends][0] : 0)),
  thickness: 1, width: 0, color,
});
export const SCORES_ALONE = 'scores alone, no answers';
/** Whether a point has scores alone: its policy is not here, so it cannot answer. Its mark is hollow. */
export const hollow = (point) => point.answers === false;
const pale = (color, share) => color + Math.round(2.55 * share).toString(16).padStart(2, '0');
/** A name for a chart's texts, with its tags escaped. */
export const plain = (text) => text.replaceAll('<', '&lt;');

function marks(points, method, dim, names, brushed, title) {
  const { symbol, color, line = color } = markOf(method);
  const chosen = points.flatMap((point, i) => (brushed?.has(point.id) ? [i] : []));
  const aside = brushed && { selectedpoints: chosen, selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 0.15 } } };
  const strength = dim || (brushed && !chosen.length) ? 22 : 55;
  const intervals = points.some((point) => point.xs) && { error_x: bars(points, 'xs', 'x', pale(color, strength)), error_y: bars(points, 'ys', 'y', pale(color, strength)) };
  return {
    type: 'scatter', mode: 'markers', x: points.map((p) => p.x), y: points.map((p) => p.y), customdata: points.map((p) => p.id), text: points.map((point) => hover(point, names)),
    marker: {
      symbol: points.map((point) => (hollow(point) ? `${symbol}-open` : symbol)), size: SIZES[symbol] ?? 11, opacity: dim ? 0.35 : 1,
      color: points.map((point) => (hollow(point) ? line : color)),
      line: { color: edge(method), width: points.map((point) => (hollow(point) ? 1.75 : 1)) },
    },
    hovertemplate: '%{text}<extra></extra>', cliponaxis: false, showlegend: false, meta: { legend: title }, ...intervals, ...aside,
  };
}

function path(points, line) {
  return { type: 'scatter', mode: 'lines', x: points.map((p) => p.x), y: points.map((p) => p.y), hoverinfo: 'skip', showlegend: false, line };
}

const ring = (points) => ({
  type: 'scatter', mode: 'markers', x: points.map((p) => p.x), y: points.map((p) => p.y), hoverinfo: 'skip', showlegend: false, cliponaxis: false,
  marker: { symbol: 'circle-open', size: points.map((p) => (p.selected ? 25 : 21)), color: 'var(--tw-ink)', line: { width: points.map((p) => (p.selected ? 2 : 1)) } },
});

/** The trainings behind a method's means, one small mark a seed. */
function cloud(points, method, [x, y]) {
  const { symbol, color } = markOf(method);
  const runs = points.flatMap((point) => point.cloud.map((run) => ({ ...run, name: point.name }))).filter((run) => run[x] != null && run[y] != null);
  return {
    type: 'scatter', mode: 'markers', x: runs.map((run) => run[x]), y: runs.map((run) => run[y]), showlegend: false, cliponaxis: false,
    marker: { symbol: `${symbol}-open`, size: 6, color: pale(color, 75) },
    text: runs.map((run) => `${plain(run.name)}, seed ${run.seed}`), hovertemplate: '%{text}<extra></extra>',
  };
}

const titlesOf = ({ methods: listed }) => new Map(listed.map(({ id, name }) => [id, name]));

/** @returns {any[]} */
function single(data, shown, { dim, picks, selected, seeds, axes, brushed }, names) {
  const titles = titlesOf(data);
  const rewards = !axes || axes.every((axis) => data.objectives.includes(axis));
  /** @type {any[]} */
  const traces = rewards ? [path(best(shown), { color: 'var(--tw-line)', width: 1.5, dash: 'dot', shape: 'vh' })] : [];
  for (const method of methods()) {
    const own = shown.filter((point) => point.method === method);
    const ordered = own.filter((point) => point.lambda != null).sort((a, b) => a.lambda - b.lambda);
    const scales = new Set(ordered.map(({ id }) => scaleOf(id)[1]));
    if (ordered.length > 2 && scales.size === 1) traces.push(path(ordered, { color: pale(markOf(method).color, 50), width: 1.5 }));
    const surface = data.attainment[method];
    if (seeds && surface && own.some((point) => point.cloud?.length) && String(axes) === String(data.objectives)) {
      const corners = surface.map(([x, y]) => ({ x, y })).sort((a, b) => a.x - b.x);
      traces.push(path(corners, { color: pale(markOf(method).color, 60), width: 1, dash: 'dash', shape: 'vh' }));
    }
    if (seeds && axes && own.some((point) => point.cloud?.length > 1)) traces.push(cloud(own, method, axes));
    for (const low of [true, false]) {
      const part = own.filter((point) => Boolean(point.dominated) === low);
      if (part.length) traces.push(marks(part, method, low && dim, names, brushed, titles.get(method)));
    }
  }
  const picked = shown.filter((point) => picks.includes(point.id)).map((point) => ({ ...point, selected: point.id === selected }));
  if (picked.length) traces.push(ring(picked));
  return traces;
}

function joined(data, { hidden }) {
  const known = new Map(data.points.map((point) => [point.id, point]));
  const titles = titlesOf(data);
  const traces = [];
  for (const { id, helpful, harmless } of data.both.points) {
    const { method, name } = known.get(id);
    if (hidden.has(method)) continue;
    const { symbol, color } = markOf(method);
    traces.push({
      type: 'scatter', mode: 'lines+markers', x: helpful, y: harmless, customdata: [id, id], showlegend: false, meta: { legend: titles.get(method) }, cliponaxis: false,
      line: { color: pale(color, 55), width: 1.5 },
      marker: { symbol: [symbol, `${symbol}-open`], size: SIZES[symbol] ?? 11, color, opacity: 1, line: { color: [edge(method), color], width: [1, 2] } },
      text: ['reward models', 'people'].map((who, i) => `<b>${plain(name)}</b>, ${who}<br>helpful ${short(helpful[i])}, harmless ${short(harmless[i])}`),
      hovertemplate: '%{text}<extra></extra>',
    });
  }
  return traces;
}

const COLORS = { helpful: 'var(--tw-helpful)', harmless: 'var(--tw-harmless)' };

/**
 * { data, layout } of a set ("models", "people", "both" or "paper").
 * points: those of `places` that are looked at. how: { dim, hidden: Set of methods, picks, selected, seeds: whether to draw them, axes: [x, y]
 * of the reward models' set, brushed: Set of ids or null, drag: "zoom" or "select", revision: of what was brushed }.
 */
export function figure(data, set, points, how) {
  const own = set === 'models';
  const shown = own ? how.axes : ['helpful', 'harmless'];
  const titles = own ? shown.map((id) => data.axes.find((each) => each.id === id).title) : AXES[set];
  const axis = (at) => ({
    title: { text: titles[at], font: { color: 'var(--tw-ink)' } }, showline: true, linewidth: 3, linecolor: COLORS[shown[at]] ?? 'var(--tw-line)',
    zeroline: false, ticklen: 0, nticks: 7,
  });
  return {
    data: set === 'both' ? joined(data, how) : single(data, points, own ? how : { ...how, axes: null }, shown),
    layout: {
      height: 380, uirevision: set + (own ? shown : ''), selectionrevision: how.revision, ...(how.drag === 'select' && { dragmode: 'select' }), hovermode: 'closest', hoverdistance: 24, showlegend: false,
      margin: { l: 52, r: 14, t: 14, b: 44 }, xaxis: axis(0), yaxis: axis(1),
    },
  };
}
