// The front: as a plane, as parallel coordinates or by its trainings, with filters over it and beside it the table of the same points.
import { fieldsOf, know, leftOut, note as noted, returned } from '../shared/address.js';
import { choice, sheet } from '../shared/controls.js';
import { h, heard, tell } from '../shared/dom.js';
import { chart } from '../shared/plot.js';
import { sorted } from '../shared/sorted.js';
import { tableOf } from './columns.js';
import { figure, hollow, places, ranked, short } from './figure.js';
import { filters, kept } from './filters.js';
import { learn } from './marks.js';
import { store } from './store.js';
import { parallel } from './parallel.js';
import { training } from './training.js';

const SETS = [['models', 'Reward models'], ['people', 'Human votes'], ['both', 'Both, joined'], ['paper', 'The paper’s']];
const VIEWS = [['plane', 'Plane'], ['parallel', 'Parallel axes'], ['training', 'Training']];
const DRAGS = [['zoom', 'zooms'], ['select', 'selects']];
const narrow = matchMedia('(max-width: 68rem)'); // the answers stand under the controls, as tradeoffs.css has it
const TAP = matchMedia('(pointer: coarse)').matches;
const HINTS = {
  plane: TAP ? 'Tap a point to read its answers.' : 'Click a point to read its answers; with Shift it joins those on the page. Arrow keys walk from point to point.',
  parallel: TAP ? 'Tap a line to read its answers.' : 'Draw a box over an axis to select the lines that cross it; click a line to read its answers.',
  training: 'Click a line to read its answers.',
  paper: 'Published numbers: there are no checkpoints behind these points.',
};
const LOOK = 5000; // milliseconds between two looks whether somebody has scored another checkpoint

export default function mount({ element, props, trigger, watch }) {
  let data = props.value;
  let set = 'models';
  let view = 'plane';
  let axes = data.objectives.slice(0, 2);
  let measure = data.objectives[0];
  let drag = 'zoom';
  let brushed = null;
  let revision = 0;
  let twin = null;
  let tables = {};
  let asked = '';
  let unread = ''; // what could not be read of the address
  const orders = {};
  learn(data.marks);
  offer();

  const plot = h('div', { class: 'tw-chart tw-plane' });
  const hint = h('p', { class: 'tw-hint', role: 'status' });
  const about = h('p', { class: 'tw-hint tw-volume' });
  const sets = choice('What the axes show', SETS, (value) => go({ set: value }));
  const views = choice('How the points are drawn', VIEWS, (value) => go({ view: value }));
  const dragging = choice('What dragging does', DRAGS, (value) => { drag = value; draw(); });
  const tick = (label, act = () => draw()) => {
    const box = h('input', { type: 'checkbox', onchange: act });
    return { box, node: h('label', { class: 'tw-tick' }, box, label) };
  };
  const dim = tick('Dim what is dominated');
  const trainings = tick('Show every training');
  const example = tick('The judgements that ship, by a language model', people);
  dim.box.checked = true;
  const picker = (label, change) => h('select', { 'aria-label': label, onchange: (event) => change(event.target.value) });
  const across = picker('Horizontal axis', (value) => go({ axes: [value, axes[1]] }));
  const up = picker('Vertical axis', (value) => go({ axes: [axes[0], value] }));
  const measured = picker('What is drawn over the steps', (value) => { measure = value; draw(); });
  const { chips, line, filter, filtered, show: showFilters } = filters(() => { tables = {}; draw(); });
  const axisPair = [h('label', {}, 'across', across), h('label', {}, 'up', up)];
  const measureLabel = h('label', {}, 'over the steps', measured);
  const [more, axesAndFilters] = sheet('Axes, filters', h('div', { class: 'tw-axes' }, axisPair, measureLabel, line));
  const filterBox = h('div', { class: 'tw-filters' }, chips, more, axesAndFilters);
  const clear = h('button', { type: 'button', class: 'tw-quiet', hidden: true, onclick: () => brush(null) }, 'Clear selection');
  element.firstElementChild.replaceChildren(h('div', { class: 'tw-sets' }, sets.node, views.node), example.node, filterBox, plot);
  const update = chart(plot, ({ customdata, shift }) => pick(customdata, shift), (table) => {
    twin = sorted(table, (id, event) => pick(id, event.shiftKey), (orders[set] ??= {}), (ids) => brush(ids));
    highlight();
    return twin.node;
  }, (ids) => brush(ids, true));
  const tools = plot.querySelector('.tw-twin');
  tools.append(clear, h('span', { class: 'tw-drag' }, 'dragging ', dragging.node), dim.node, trainings.node, hint);
  plot.append(about);
  if (!narrow.matches) /** @type {HTMLElement} */ (tools.firstElementChild).click();
  plot.addEventListener('keydown', (event) => { if (event.key === 'Escape' && brushed) brush(null); });

  function offer() {
    store.points = data.points;
    tell('front-points');
  }

  const all = () => (set === 'both' ? places(data, 'models').filter((p) => data.both.points.some(({ id }) => id === p.id)) : places(data, set, axes));
  const points = () => {
    const shown = kept(all(), filter);
    const placed = set === 'models' && filter.seed !== '' ? places({ ...data, points: shown }, set, axes) : shown;
    return filtered() ? ranked(placed, set === 'models' ? data.objectives : ['x', 'y']) : placed;
  };

  /** What an axis shows, without its unit. */
  const named = (id) => data.axes.find((axis) => axis.id === id).title.split(/[:,] /)[0];

  /** Goes to another view, which the address names. change: { set, view, axes }, what is not given stays. */
  function go(/** @type {any} */ change) {
    turn(change);
    unread = '';
    noted('tradeoffs', place(), false, 'view');
    draw();
  }

  const place = () => ({ set: set === 'models' ? null : set, view: view === 'plane' ? null : view, axes: String(axes) === String(data.objectives.slice(0, 2)) ? null : axes.join(',') });

  function people() {
    tell('front-people', { example: example.box.checked });
    draw();
  }

  function turn(/** @type {any} */ change) {
    if (change.set && change.set !== set) brushed = null;
    set = change.set ?? set;
    view = change.view ?? view;
    axes = change.axes ?? axes;
    tables = {};
    if (set === 'people' || set === 'both') tell('front-people', { example: example.box.checked });
  }

  function restore(query) {
    const known = (options, name) => options.find(([value]) => value === query.get(name))?.[0] ?? options[0][0];
    const wanted = query.get('axes')?.split(',') ?? [];
    const fits = wanted.length === 2 && wanted.every((axis) => data.axes.some(({ id }) => id === axis));
    const left = Object.entries({ set: SETS, view: VIEWS }).filter(([name, options]) => query.has(name) && !options.some(([value]) => value === query.get(name))).map(([name]) => name);
    unread = leftOut([...left, ...(query.has('axes') && !fits ? ['axes'] : [])]);
    turn({ set: known(SETS, 'set'), view: known(VIEWS, 'view'), axes: fits ? wanted : data.objectives.slice(0, 2) });
    know('tradeoffs', place(), 'view');
    draw();
  }

  function pick(id, add) {
    if (id == null) return;
    const point = points().find((each) => each.id === id);
    if (set === 'paper') hint.textContent = HINTS.paper;
    else if (point.method === 'base') hint.textContent = 'The base model’s answer is always shown.';
    else if (!point.answers) hint.textContent = `${point.name} cannot answer here: only its scores are stored.`;
    else {
      tell('front-pick', { point, add });
      hint.textContent = `${point.name} answers below.`;
      if (narrow.matches) document.querySelector('.tw-answers').scrollIntoView();
    }
  }

  /** Selects points, in the plot and in the table alike; drawn: the plot shows its own box already. */
  function brush(ids, drawn = false) {
    brushed = ids?.length ? new Set(ids) : null;
    if (!drawn || !brushed) revision += 1;
    draw();
  }

  function highlight() {
    twin?.mark(store.asked?.picks ?? [], store.asked?.selected, brushed);
  }

  function showTools(empty) {
    const models = set === 'models';
    views.node.hidden = !models;
    example.node.hidden = data.example == null || !(set === 'people' || set === 'both');
    views.set(view);
    sets.set(set);
    axisPair.forEach((label) => { label.hidden = !models || view !== 'plane'; });
    measureLabel.hidden = !models || view !== 'training' || !data.measures;
    dim.node.hidden = set === 'both' || (models && view !== 'plane');
    const fill = (node, options, value) => {
      if (node.children.length !== options.length) node.replaceChildren(...options.map(([key, title]) => h('option', { value: key }, title)));
      node.value = value;
    };
    [across, up].forEach((node, at) => fill(node, data.axes.map(({ id }) => [id, named(id)]), axes[at]));
    fill(measured, (data.measures ?? []).map((each) => [each, each]), measure);
    trainings.node.hidden = !models || view !== 'plane' || !data.points.some((point) => point.cloud.length > 1) || filter.seed !== '';
    dragging.set(drag);
    tools.querySelector('.tw-drag').hidden = TAP || !(view === 'plane' || !models) || set === 'both';
    clear.hidden = !brushed;
    clear.textContent = brushed ? `Clear selection of ${brushed.size}` : '';
    filterBox.hidden = Boolean(empty);
    about.hidden = Boolean(empty) || !(set === 'models' || set === 'paper') || view !== 'plane';
    const { reference } = set === 'paper' ? data.paper : data;
    about.textContent = `Numbers by the methods: hypervolume, what lies above ${set === 'paper' ? '' : 'the base model at '}(${reference.map((value) => short(value, set === 'paper' ? 0 : 2)).join(', ')}); more points cover more. Dotted: the front.`;
    const counted = (set === 'paper' ? data.paper : data).methods.map((method) => ({ ...method, count: all().filter((point) => point.method === method.id).length })).filter(({ count }) => count);
    const seeds = models ? [...new Set(data.points.flatMap((point) => (point.cloud.length > 1 ? point.seeds : [])))].sort((a, b) => a - b) : [];
    showFilters(counted, seeds, models || set === 'paper');
  }

  /** What is drawn of the points: { title, note, figure, empty, data }. */
  function drawing(shown, { title, note, empty }) {
    const how = { dim: dim.box.checked, hidden: filter.hidden, picks: store.asked?.picks ?? [], selected: store.asked?.selected, seeds: trainings.box.checked && filter.seed === '', axes, brushed, drag, revision };
    if (empty) return { title, note, empty };
    if (set === 'models' && view === 'parallel') return { title: 'What each policy gains, and what it pays', note: `A line is a policy; each axis runs from the least to the largest value here.${shown.some(hollow) ? ' Dotted lines have scores alone and cannot answer.' : ''}`, figure: parallel(shown, data.objectives, data.methods, how) };
    if (set === 'models' && view === 'training') {
      if (!data.curves) return { title: 'Training', empty: 'Reading the trainings.' };
      return training(shown, data.curves, data.measures, { measure, brushed, selected: how.selected });
    }
    const usual = set !== 'models' || String(axes) === String(data.objectives.slice(0, 2));
    const rewards = set === 'models' && axes.every((id) => data.objectives.includes(id));
    const says = filtered() ? `${shown.length} of ${all().length} points are shown, ${shown.filter((point) => point.dominated).length} of them dominated` : title;
    const about = set === 'models' && filter.seed !== '' ? `Trained policies as seed ${filter.seed} left them, without intervals.` : note;
    return { title: usual ? says : `${named(axes[1])} against ${named(axes[0])}`, note: [rewards && 'Up and right is better.', about, shown.some(hollow) && 'Hollow marks have scores alone and cannot answer.'].filter(Boolean).join(' '), figure: figure(data, set, shown, how) };
  }

  function draw() {
    const heading = { ...data[set] };
    if (heading.empty && data.example != null && example.box.checked !== data.example) heading.empty = 'Reading the judgements.';
    const shown = heading.empty ? [] : points();
    if (set === 'models' && view === 'training' && !data.curves && asked !== 'curves') {
      asked = 'curves';
      trigger('curves', {});
    }
    if (brushed && !shown.some(({ id }) => brushed.has(id))) brushed = null;
    tables[set] ??= tableOf(shown, set, data.objectives);
    showTools(heading.empty);
    hint.textContent = unread || (HINTS[set] ?? HINTS[view]);
    const drawn = shown.length || heading.empty ? drawing(shown, heading) : { title: heading.title, empty: 'The filters hide every point: show all, or choose others.' };
    plot.classList.toggle('tw-alone', Boolean(heading.empty));
    plot.classList.toggle('tw-wide', set === 'models' && view !== 'plane');
    update({ ...tables[set], file: `tradewind-front-${set}${view === 'plane' ? '' : `-${view}`}.csv`, ...drawn, ...(heading.empty && { table: null }) });
    highlight();
  }

  heard('front-asked', draw);
  returned('tradeoffs', restore);
  watch('value', () => {
    if (!props.value?.points) return;
    const { paper, curves, measures } = data;
    data = { paper, ...(curves && { curves, measures }), ...props.value };
    if (props.value.curves) asked = '';
    offer();
    tables = {};
    draw();
  });
  restore(fieldsOf('tradeoffs'));
  const look = () => { if (!document.hidden && element.offsetParent) trigger('look', {}); };
  setInterval(look, LOOK);
  look();
}
