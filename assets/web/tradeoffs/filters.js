// Filters for the points of a front: by method, by preference, by seed.
import { h } from '../shared/dom.js';
import { lambda, short } from './figure.js';
import { mark } from './marks.js';

/** A point with the scores of its training from one seed; null where it has none. */
const trained = (point, seed) => {
  const run = point.cloud?.find((each) => String(each.seed) === seed);
  if (run) return { ...point, ...run, id: point.id, steps: point.steps, seeds: [run.seed], cloud: [], ...Object.fromEntries(Object.keys(point).filter((key) => key.endsWith('_ci')).map((key) => [key, null])) };
  return point.seeds?.some((each) => String(each) === seed) || point.method === 'base' ? point : null;
};

/** The points that a filter lets through. */
export const kept = (points, { hidden, from, to, seed }) => points
  .filter(({ method, lambda: weight }) => !hidden.has(method) && (weight == null || (weight >= from - 1e-9 && weight <= to + 1e-9)))
  .map((point) => (seed === '' ? point : trained(point, seed))).filter(Boolean);

export const open = () => ({ hidden: new Set(), from: 0, to: 1, seed: '' });

/** { chips, line, filter, filtered(), show(methods, seeds, told) }: changed() hears every move. told: hypervolumes are known; methods: { id, name, count, hypervolume }. */
export function filters(changed) {
  const filter = open();
  const chips = h('div', { class: 'tw-methods', role: 'group', 'aria-label': 'Methods that are shown' });
  const says = h('output', { class: 'tw-number' });
  const ends = ['from', 'to'].map((end) => h('input', {
    type: 'range', class: 'tw-range tw-end', min: 0, max: 1, step: 0.05, value: filter[end], 'aria-label': `Preference, ${end} λ helpful`, oninput: moved,
  }));
  const seed = h('select', { 'aria-label': 'Seed of the training', onchange: () => { filter.seed = seed.value; changed(); } });
  const seeds = h('label', {}, 'seed', seed);
  const all = h('button', { type: 'button', class: 'tw-quiet', onclick: () => { Object.assign(filter, open()); changed(); } }, 'Show all');
  const line = [h('div', { class: 'tw-between' }, h('span', {}, 'λ helpful'), h('div', { class: 'tw-ends' }, ends), says), seeds];
  const filtered = () => filter.hidden.size > 0 || filter.from > 0 || filter.to < 1 || filter.seed !== '';

  function moved({ target }) {
    const [low, high] = ends.map((end) => Number(end.value));
    if (low > high) [filter.from, filter.to] = target === ends[0] ? [low, low] : [high, high];
    else [filter.from, filter.to] = [low, high];
    changed();
  }

  function show(methods, known, told) {
    chips.replaceChildren(...methods.map(({ id, name, count, hypervolume }) => h('button', {
      type: 'button', class: 'tw-chip', 'data-method': id, 'aria-pressed': String(!filter.hidden.has(id)), title: told && hypervolume != null ? `${count} points, hypervolume ${short(hypervolume, 2)}. Hide or show` : `${count} points. Hide or show`,
      onclick: () => {
        if (!filter.hidden.delete(id)) filter.hidden.add(id);
        changed();
        /** @type {HTMLElement} */ (chips.querySelector(`[data-method="${id}"]`)).focus();
      },
    }, mark(id), name, told ? h('span', { class: 'tw-number' }, short(hypervolume, hypervolume >= 100 ? 0 : 2)) : '')), all);
    ends.forEach((end, i) => { end.value = i ? filter.to : filter.from; });
    says.textContent = filter.from === 0 && filter.to === 1 ? 'all' : `${lambda(filter.from)} to ${lambda(filter.to)}`;
    seeds.hidden = known.length < 2;
    if (seed.children.length !== known.length + 1) seed.replaceChildren(...[['', 'mean of all'], ...known.map((each) => [each, each])].map(([value, text]) => h('option', { value }, String(text))));
    seed.value = filter.seed;
    all.hidden = !filtered();
  }

  return { chips, line, filter, filtered, show };
}
