// Parallel coordinates: a line a policy, an axis a measure, each axis from its least to its largest value. A box drawn over an axis brushes.
import { MEASURES } from './columns.js';
import { SCORES_ALONE, hollow, lambda, plain, short } from './figure.js';
import { markOf } from './marks.js';

const AXES = ['refusal_safe', 'refusal_unsafe', 'kl', 'toxicity', 'length'];

/** The axes that at least two values can be told apart on: { key, title, words, low, high }. */
function axesOf(points, objectives) {
  const wanted = [['lambda', 'λ helpful', lambda], ...objectives.map((name) => [name, name, short]), ...AXES.map((key) => [key, MEASURES[key][0], MEASURES[key][2]])];
  return wanted.map(([key, title, words]) => {
    const values = points.map((point) => point[key]).filter((value) => value != null);
    return { key, title, words, low: Math.min(...values), high: Math.max(...values) };
  }).filter(({ low, high }) => high > low);
}

/** { data, layout } of points; how: { brushed: Set of ids or null, selected }. */
export function parallel(points, objectives, methods, { brushed, selected, revision }) {
  const titles = new Map(methods.map(({ id, name }) => [id, name]));
  const axes = axesOf(points, objectives);
  const at = (point, { key, low, high }) => (point[key] == null ? null : (point[key] - low) / (high - low));
  const rank = (point) => (point.id === selected ? 2 : brushed && !brushed.has(point.id) ? 0 : 1);
  const data = [...points].sort((a, b) => rank(a) - rank(b)).map((point) => ({
    type: 'scatter', mode: 'lines+markers', x: axes.map((_, i) => i), y: axes.map((axis) => at(point, axis)), customdata: axes.map(() => point.id),
    text: axes.map((axis) => [`<b>${plain(point.name)}</b>`, `${axis.title} ${point[axis.key] == null ? 'not measured' : axis.words(point[axis.key])}`, ...(hollow(point) ? [SCORES_ALONE] : [])].join('<br>')),
    hovertemplate: '%{text}<extra></extra>', showlegend: false, meta: { legend: titles.get(point.method) }, cliponaxis: false, opacity: rank(point) ? 1 : 0.12,
    line: { color: markOf(point.method).color, width: point.id === selected ? 3.5 : 1.5, dash: hollow(point) ? 'dot' : 'solid' },
    marker: { color: markOf(point.method).color, symbol: `${markOf(point.method).symbol}${hollow(point) ? '-open' : ''}`, size: 7 }, selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 1 } },
  }));
  const ends = axes.flatMap(({ words, low, high }, i) => [[low, -0.04, 'top'], [high, 1.04, 'bottom']].map(([value, y, anchor]) => (
    { x: i, y, xref: 'x', yref: 'y', yanchor: anchor, text: words(value), showarrow: false, font: { size: 12, color: 'var(--tw-muted)' } })));
  return {
    data,
    layout: {
      height: 380, hovermode: 'closest', hoverdistance: 16, dragmode: 'select', selectionrevision: revision, uirevision: 'parallel', margin: { l: 40, r: 40, t: 34, b: 14 },
      xaxis: { side: 'top', tickvals: axes.map((_, i) => i), ticktext: axes.map(({ title }) => title.replace(' ', '<br>')), range: [-0.25, axes.length - 0.75], fixedrange: true, showgrid: false, zeroline: false, ticks: '', tickfont: { color: 'var(--tw-ink)' } },
      yaxis: { visible: false, range: [-0.14, 1.14], fixedrange: true },
      shapes: axes.map((_, i) => ({ type: 'line', x0: i, x1: i, y0: 0, y1: 1, layer: 'below', line: { color: 'var(--tw-line)', width: 1 } })),
      annotations: ends,
    },
  };
}
