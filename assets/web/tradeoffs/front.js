// The front: plot, legend with each method's hypervolume, and the table that picks the same points.
import { choice } from '../shared/controls.js';
import { h, heard, tell } from '../shared/dom.js';
import { figure, lambda, places, short } from './figure.js';
import { learn, mark } from './marks.js';
import { now } from './now.js';
import { chart } from '../shared/plot.js';
import { sorted } from '../shared/sorted.js';

const SETS = [['models', 'Reward models'], ['people', 'Human votes'], ['both', 'Both, joined'], ['paper', 'The paper’s']];
const HINTS = {
  models: matchMedia('(pointer: coarse)').matches ? 'Tap a point to read its answers.' : 'Click a point to read its answers; with Shift it joins those on the page. Drag to zoom, double-click to zoom out.',
  paper: 'Published numbers: there are no checkpoints behind these points.',
};

const number = (value) => short(value);
const interval = (ends) => (ends ? `${short(ends[0])} to ${short(ends[1])}` : '');
const rewards = (set, objectives) => (set === 'models'
  ? objectives.flatMap((name) => [[name, (p) => p[name] ?? null, number], ['95 %', (p) => interval(p[`${name}_ci`])]])
  : [['helpful', (p) => p.x, number], ['95 %', (p) => interval(p.xs)], ['harmless', (p) => p.y, number], ['95 %', (p) => interval(p.ys)]]);
const columnsOf = (set, objectives) => [
  ['policy', (p) => p.name],
  [`λ ${objectives[0]}`, (p) => p.lambda ?? null, lambda],
  ...rewards(set, objectives),
  ['KL', (p) => p.kl ?? null, (value) => short(value, 1)],
  ['length', (p) => p.length ?? null, (value) => short(value, 0)],
  ['steps', (p) => p.steps ?? null],
  ['seeds', (p) => p.seeds?.length ?? null],
  ['prompts', (p) => p.prompts ?? null],
  ['comparisons', (p) => p.comparisons ?? null],
  ['refuses unsafe', (p) => p.refusal_unsafe ?? null, number],
  ['refuses safe', (p) => p.refusal_safe ?? null, number],
  ['refuses unsafe twins', (p) => p.refusal_unsafe_alike ?? null, number],
  ['refuses safe twins', (p) => p.refusal_safe_alike ?? null, number],
  ['toxic', (p) => p.toxicity ?? null, (value) => short(value, 3)],
  ['repetition', (p) => p.repetition ?? null, number],
  ['front', (p) => (p.dominated ? 'dominated' : 'on it')],
];

function tableOf(points, known, set, objectives) {
  const columns = columnsOf(set, objectives).filter(([, of]) => points.some((point) => of(point) != null && of(point) !== ''));
  const rows = points.map((point) => columns.map(([, of]) => of(point)));
  const show = columns.map(([name, , say = String]) => (name === 'policy' ? (value, i) => h('span', { class: 'tw-who' }, mark(known[i].method), value) : say));
  return { columns: columns.map(([name]) => name), rows, show, ids: points.map((point) => point.id) };
}

const LOOK = 5000; // milliseconds between two looks whether somebody has scored another checkpoint

export default function mount({ element, props, trigger, watch }) {
  let data = props.value;
  let set = 'models';
  let dim = true;
  let seeds = false;
  let axes = data.objectives.slice(0, 2);
  learn(data.marks);
  let hidden = new Set();
  let twin = null;
  let tables = {};
  const orders = {};

  const plot = h('div', { class: 'tw-chart tw-plane' });
  const side = h('div', { class: 'tw-methods' });
  const hint = h('p', { class: 'tw-hint', role: 'status' });
  const sets = choice('What the axes show', SETS, (value) => {
    set = value;
    if (set === 'people' || set === 'both') tell('front-people');
    draw();
  });
  const dimmer = h('button', { type: 'button', class: 'tw-quiet', onclick: () => { dim = !dim; draw(); } }, 'Dim what is dominated');
  const picker = (at, label) => h('select', { 'aria-label': label, onchange: (event) => {
    axes = axes.with(at, event.target.value);
    tables = {};
    draw();
  } });
  const pickers = [picker(0, 'Horizontal axis'), picker(1, 'Vertical axis')];
  const cloud = h('button', { type: 'button', class: 'tw-quiet', onclick: () => { seeds = !seeds; draw(); } }, 'Show every training');
  const axisBar = h('div', { class: 'tw-axes' }, h('label', {}, 'across', pickers[0]), h('label', {}, 'up', pickers[1]), cloud);
  element.firstElementChild.replaceChildren(h('div', { class: 'tw-sets' }, sets.node), axisBar, plot);
  const update = chart(plot, ({ customdata, shift }) => pick(customdata, shift), (table) => {
    twin = sorted(table, (id, event) => pick(id, event.shiftKey), (orders[set] ??= {}));
    highlight();
    return twin.node;
  });
  plot.append(side);
  plot.querySelector('.tw-twin').append(hint);

  const points = () => (set === 'both' ? places(data, 'models').filter((p) => data.both.points.some(({ id }) => id === p.id)) : places(data, set, axes));
  const about = () => data[set];

  function pick(id, add) {
    if (id == null) return;
    const point = points().find((each) => each.id === id);
    if (set === 'paper') hint.textContent = HINTS.paper;
    else if (point.method === 'base') hint.textContent = 'The base model’s answer is always shown.';
    else if (!point.answers) hint.textContent = `${point.name} cannot answer here: only its scores are stored.`;
    else {
      tell('front-pick', { point, add });
      hint.textContent = `${point.name} answers below.`;
    }
  }

  function highlight() {
    twin?.mark(now.asked?.picks ?? [], now.asked?.selected);
  }

  function legend() {
    const shown = points();
    const methods = (set === 'paper' ? data.paper : data).methods
      .map((method) => ({ ...method, count: shown.filter((point) => point.method === method.id).length })).filter(({ count }) => count);
    side.replaceChildren(
      h('div', { class: 'tw-method-head' }, h('span', {}, 'Method'), set === 'models' || set === 'paper' ? h('span', {}, 'hypervolume') : ''),
      ...methods.map(({ id, name, hypervolume, count }) => h('button', {
        type: 'button', class: 'tw-method-row', 'aria-pressed': String(!hidden.has(id)), title: 'Hide or show',
        onclick: () => { hidden = new Set(hidden.has(id) ? [...hidden].filter((each) => each !== id) : [...hidden, id]); draw(); },
      }, mark(id), h('span', {}, name, count > 1 ? h('small', {}, ` × ${count}`) : ''), h('span', { class: 'tw-number' }, set === 'models' || set === 'paper' ? short(hypervolume, hypervolume >= 100 ? 0 : 2) : ''))),
      set === 'both' ? '' : h('div', { class: 'tw-method-key' }, h('i', { 'aria-hidden': 'true' }), h('span', {}, 'front'), dimmer),
      set === 'models' || set === 'paper' ? h('p', { class: 'tw-hint' }, `Hypervolume: what lies above ${set === 'paper' ? '' : 'the base model at '}(${(set === 'paper' ? data.paper : data).reference.map((value) => short(value, set === 'paper' ? 0 : 2)).join(', ')}); more points cover more.`) : '');
    dimmer.setAttribute('aria-pressed', String(dim));
  }

  function draw() {
    const { title, note, empty } = about();
    const shown = points();
    tables[set] ??= tableOf(shown, shown, set, data.objectives);
    sets.set(set);
    axisBar.hidden = set !== 'models' || Boolean(empty);
    pickers.forEach((node, at) => node.replaceChildren(...data.axes.map(({ id, title: name }) => h('option', { value: id, selected: axes[at] === id }, name))));
    cloud.hidden = !data.points.some((point) => point.cloud.length > 1);
    cloud.setAttribute('aria-pressed', String(seeds));
    const usual = set !== 'models' || String(axes) === String(data.objectives.slice(0, 2));
    side.hidden = Boolean(empty);
    hint.textContent = HINTS[set] ?? HINTS.models;
    update({
      title: usual ? title : `${axes[1]} against ${axes[0]}`.replaceAll('_', ' '), note, empty, table: empty ? null : tables[set], file: `tradewind-front-${set}.csv`,
      figure: empty ? null : figure(data, set, { dim, hidden, picks: now.asked?.picks ?? [], selected: now.asked?.selected, seeds, axes }),
    });
    if (!empty) legend();
    highlight();
  }

  heard('front-asked', draw);
  watch('value', () => {
    if (!props.value?.points) return;
    data = { ...props.value, paper: data.paper };
    tables = {};
    draw();
  });
  draw();
  const look = () => { if (!document.hidden && element.offsetParent) trigger('look', {}); };
  setInterval(look, LOOK);
  look();
}
