// The trainings of several checkpoints in one chart: a reward, KL, its weight beta, the gradients' cosines, each objective's share.
import { plain } from './figure.js';
import { markOf } from './marks.js';

const WINDOW = 3; // steps on either side of a running mean
const DASHES = ['solid', 'dash', 'dot', 'dashdot', 'longdash'];

/** A running mean over steps, without those that were not measured. */
export const smooth = (values) => values.map((_, at) => {
  const near = values.slice(Math.max(0, at - WINDOW), at + WINDOW + 1).filter((value) => value != null);
  return near.length ? near.reduce((sum, value) => sum + value, 0) / near.length : null;
});

/** Moves labels { y } apart where they would overlap, from the lowest up, by `gap` at least. */
export function spread(labels, gap) {
  let least = Number.NEGATIVE_INFINITY;
  return [...labels].sort((a, b) => a.y - b.y).map((label) => {
    least = Math.max(label.y, least + gap);
    return { ...label, y: least };
  });
}

const last = (values) => values.filter((value) => value != null).at(-1);

/** { figure, data, empty, title, note } of curves { id: { steps, measures: { title: values } } } of the points; how: { measure, brushed, selected }. */
export function training(points, curves, measures, { measure, brushed, selected }) {
  const own = points.filter(({ id }) => curves[id] && (!brushed || brushed.has(id)));
  const drawn = own.filter(({ id }) => curves[id].measures[measure]?.some((value) => value != null));
  const title = `${measure[0].toUpperCase()}${measure.slice(1)} in training`;
  if (!drawn.length) return { title, empty: own.length ? `No training of these has ${measure}: it is measured since a later version.` : 'None of these policies has a training curve: base model, mixes and steered models are not trained.' };
  const order = {};
  const traces = drawn.flatMap((point) => {
    const values = curves[point.id].measures[measure];
    const color = markOf(point.method).color;
    const dash = DASHES[(order[point.method] = (order[point.method] ?? -1) + 1) % DASHES.length];
    const shared = { type: 'scatter', mode: 'lines', x: curves[point.id].steps, showlegend: false };
    const bold = { ...shared, y: smooth(values), customdata: curves[point.id].steps.map(() => point.id), line: { color, dash, width: point.id === selected ? 3.5 : 2 }, text: values.map((value, i) => `<b>${plain(point.name)}</b><br>step ${curves[point.id].steps[i]}, ${measure} ${value == null ? 'not measured' : value.toPrecision(3)}`), hovertemplate: '%{text}<extra></extra>' };
    return point.id === selected ? [{ ...shared, y: values, opacity: 0.3, hoverinfo: 'skip', line: { color, width: 1 } }, bold] : [bold];
  });
  const all = traces.flatMap(({ y }) => y).filter((value) => value != null);
  const gap = (Math.max(...all) - Math.min(...all) || 1) / 18;
  const labels = spread(drawn.map((point) => ({ point, y: last(smooth(curves[point.id].measures[measure])) })), gap);
  return {
    title, note: 'Running means of seven steps; the thin line is the picked policy step by step. Brush rows of the table to choose whose trainings are drawn.',
    figure: {
      data: traces,
      layout: {
        height: 380, hovermode: 'closest', uirevision: `training ${measure}`, margin: { l: 52, r: 132, t: 14, b: 44 },
        xaxis: { title: { text: 'step' }, showgrid: false, zeroline: false }, yaxis: { title: { text: measure, font: { color: 'var(--tw-ink)' } }, nticks: 7 },
        annotations: labels.map(({ point, y }) => ({ x: 1.01, y, xref: 'paper', yref: 'y', xanchor: 'left', showarrow: false, text: plain(point.name.length > 18 ? `${point.name.slice(0, 17)}…` : point.name), font: { size: 12, color: 'var(--tw-ink)' } })),
      },
    },
    data: {
      columns: ['policy', 'step', ...measures],
      rows: drawn.flatMap(({ id, name }) => curves[id].steps.map((step, i) => [name, step, ...measures.map((each) => curves[id].measures[each]?.[i] ?? null)])),
    },
  };
}
