// The left column of the Steer tab: prompt, concepts, layers, and what is seldom used. Every change asks for a new run.
import { choice, drawing, faults, fold, sheet, slider } from '../shared/controls.js';
import { h, heard, tell } from '../shared/dom.js';
import { note } from '../shared/address.js';
import { page } from '../shared/page.js';
import { lastWins } from '../shared/sender.js';
import { asSent, fromAddress, namesOf, placeOf, without } from './request.js';
import { keepOwn, kept, unpacked } from './own.js';
import { promptBox } from './prompt.js';
import { layerControl } from './layers.js';
import { targetRows } from './targets.js';
import { holding } from './hold.js';
import { budgetControl, costsOf, mostOf } from './budget.js';
import { trainer } from './train.js';

const METHODS = [['auto', 'Best'], ['gcav', 'GCAV'], ['diffmean', 'DiffMean'], ['fixed', 'Fixed']];
const METHOD_NOTES = {
  auto: 'The direction and the layers that had the most effect at equal cost, each concept its own; just enough of it, token by token.',
  gcav: 'As in the paper: just enough of the classifier’s direction, token by token, on the layers where it reads best.',
  diffmean: 'Just enough of the difference of the class means, token by token.',
  fixed: 'Adds the same push at every token, whatever the text says (ActAdd, CAA): the method to compare with.',
};
const DOSINGS = [['cost', 'Cost'], ['p', 'Probability']];
/** All that an answer depends on: when it changes, a chosen beginning is dropped. */
const asking = ({ way, prompt, system, history, thinking }) => JSON.stringify([way, prompt, system, history, thinking]);
const SCOPES = [['all', 'Prompt and answer'], ['answer', 'Answer only']];

export default function mount({ element, props, trigger, watch }) {
  const { concepts, layers, limits, opening } = props.value;
  const known = { ...concepts };
  page.compare = props.value.compare;
  page.shipped = Object.keys(concepts);
  page.concepts = () => Object.keys(known);
  tell('ready');
  const request = fromAddress(opening) ?? structuredClone(opening);
  let run = 0;
  let begun = null;
  /** @type {import('./own.js').Own[]} */
  let waiting = [];
  const sender = lastWins((next) => trigger('run', next));

  function go() {
    if (begun !== null && begun !== asking(request)) request.begin = [];
    begun = asking(request);
    run += 1;
    const sent = { ...structuredClone(request), run };
    delete sent.problem;
    page.asked = sent;
    tell('asked', sent);
    sender.push(asSent(sent));
    if (run === 1) return;
    note('steer', placeOf(request));
    problem.textContent = moved.textContent = ''; // of the link, which was answered
  }
  const change = (edit) => (value) => { edit(value); go(); };

  const prompt = promptBox(request, props.value, () => { delete request.undo; go(); });
  const rows = h('section');
  const targets = targetRows(rows, () => known, change((value) => { request.plan.targets = structuredClone(value); release(); afford(); }));
  const cost = budgetControl(rows, change((value) => (request.plan.budget = value)));
  const alike = h('p', { class: 'tw-hint tw-alike', title: 'Cosine between the directions, mean over the layers: near 1, more of one is more of the other' });
  rows.append(alike);
  const holdBox = h('div');
  const hold = holding(holdBox, (names) => { request.plan.hold = names; showHeld(); go(); });
  const layerBox = h('div');
  const layer = layerControl(layerBox, layers, change((value) => (request.plan.layers = value)));

  const strength = slider('Strength', { min: 0, max: limits.strength, step: limits.strength / 200 }, (value) => `${value.toFixed(2)} × class gap`,
    change((value) => (request.plan.strength = value)));
  const methodNote = h('p', { class: 'tw-hint' });
  const method = choice('Method', METHODS, change((value) => {
    request.plan.method = value;
    request.plan.strength = value === 'fixed' && request.plan.budget === null ? (request.plan.strength ?? 1) : null;
    afford();
    shape();
  }));
  const dosing = choice('How far to go is given as', DOSINGS, change((value) => {
    const costs = costsOf(request.plan, known);
    request.plan.budget = value === 'cost' && costs ? Number((mostOf(costs) / 2).toPrecision(3)) : null;
    request.plan.strength = request.plan.method === 'fixed' && request.plan.budget === null ? (request.plan.strength ?? 1) : null;
    shape();
  }));
  const dosingNote = h('p', { class: 'tw-hint' });
  const scope = choice('Where', SCOPES, change((value) => (request.plan.scope = value)));
  const gate = h('select', { 'aria-label': 'Steer only if the prompt reads as', onchange: () => {
    request.plan.when = gate.value ? { concept: gate.value, side: request.plan.when?.side ?? 'above', p: request.plan.when?.p ?? 0.5 } : null;
    shape();
    go();
  } });
  const gateSide = choice('Above or below', [['above', 'at least'], ['below', 'below']], change((value) => (request.plan.when.side = value)));
  const gateAt = slider('P of the prompt', { min: 0, max: 1, step: 0.05 }, (value) => value.toFixed(2), change((value) => (request.plan.when.p = value)));
  const condition = h('div', { class: 'tw-field' }, h('span', {}, 'Steer only if the prompt reads as'), gate, gateSide.node, gateAt.node);
  const cap = slider('Cap on the push', { min: 0.05, max: 1, step: 0.05 }, (value) => (value >= 1 ? 'none' : `|ε| ≤ ${value.toFixed(2)} ‖e‖`),
    change((value) => (request.plan.cap = value >= 1 ? null : value)));

  const drawn = drawing(limits, { label: 'Seed', roll: 'Roll a new seed', same: 'text' }, request, go);

  const training = h('div');
  let taught = {};
  const teach = (asked) => { taught = asked; trigger('train', asked); };
  const learn = trainer(training, { train: teach, use: teach, write: (asked) => trigger('write', asked), stop: () => trigger('stop', { work: 'train' }) });
  const teaching = fold('Teach it a concept of your own', false, training);
  const problem = h('p', { class: 'tw-problem', role: 'alert' }, request.problem);
  const moved = h('p', { class: 'tw-hint tw-moved', role: 'status' }, request.from && `Taken over from ${request.from}. Layers, how far to go and earlier turns stayed there: they are that model’s own.`);
  prompt.box.append(problem, moved);

  const [settings, more] = sheet('Settings',
    holdBox,
    h('section', {}, h('h2', {}, 'Layers'), layerBox),
    drawn.seed.node,
    h('div', { class: 'tw-folds' }, prompt.system,
      fold('Length and sampling', false, drawn.length.node, drawn.temperature.node, drawn.topP.node),
      fold('Method and scope', request.plan.method !== 'auto', method.node, methodNote, dosing.node, dosingNote, strength.node, scope.node, cap.node, condition),
      teaching));
  const wrong = faults({ prompt: prompt.input, ...drawn.inputs });

  element.firstElementChild.replaceChildren(
    prompt.box,
    h('section', {}, h('div', { class: 'tw-split' }, h('h2', {}, 'Concepts'), settings), rows),
    more);

  const steered = () => request.plan.targets.map(({ concept }) => concept);
  /** A concept that is steered is no longer held. */
  function release() {
    request.plan.hold = request.plan.hold.filter((name) => !steered().includes(name));
    showHeld();
  }
  function showHeld() {
    const taken = [...request.plan.hold, ...steered()];
    hold(request.plan.hold, Object.keys(known).filter((name) => !taken.includes(name)));
  }

  /** A plan keeps its budget only while the cost is known and its texts stay fluent. */
  function afford() {
    if (request.plan.budget === null) return;
    const costs = costsOf(request.plan, known);
    request.plan.budget = costs && Math.min(request.plan.budget, Number(mostOf(costs).toPrecision(3)));
    if (!costs && request.plan.method === 'fixed') request.plan.strength = 1;
    shape();
  }

  function shape() {
    const costs = costsOf(request.plan, known);
    const byCost = request.plan.budget !== null;
    const fixed = request.plan.method === 'fixed';
    targets.set(request.plan.targets, byCost);
    cost(request.plan, known);
    dosing.set(byCost ? 'cost' : 'p');
    dosing.node.hidden = !costs && !byCost;
    dosing.node.querySelector('[data-value="p"]').textContent = fixed ? 'Strength' : 'Probability';
    dosingNote.textContent = byCost ? 'Mean KL to the base model over the answer, found from a calibration on other prompts.'
      : fixed ? 'In distances between the sides’ means.' : costs ? 'The paper’s p0: how likely the text reads as the concept at every token.' : 'The paper’s p0. What it costs was not measured for this concept, model or method.';
    showHeld();
    const { when } = request.plan;
    gate.replaceChildren(h('option', { value: '' }, 'anything'), ...Object.keys(known).map((name) => h('option', { value: name, selected: name === when?.concept }, name)));
    gateSide.node.hidden = gateAt.node.hidden = !when;
    if (when) { gateSide.set(when.side); gateAt.set(when.p); }
    strength.node.hidden = !fixed || byCost;
    strength.set(request.plan.strength ?? 1);
    methodNote.textContent = METHOD_NOTES[request.plan.method];
    rows.classList.toggle('tw-fixed', request.plan.method === 'fixed');
  }

  function show() {
    prompt.show();
    layer.set(request.plan.layers);
    method.set(request.plan.method);
    scope.set(request.plan.scope);
    cap.set(request.plan.cap ?? 1);
    drawn.show();
    shape();
  }

  heard('shown', (shown) => { if (shown === run) sender.shown(); });
  heard('wrong', wrong);
  heard('plan', ({ layers: used, curves, choice: how }) => layer.show(used, curves, how));
  heard('cosines', (cosines) => {
    const pairs = Object.entries(cosines).map(([names, cosine]) => `${names} ${cosine.toFixed(2).replace('0.', '.').replace('-', '−')}`);
    alike.textContent = pairs.length ? `Cosine between the directions: ${pairs.join(', ')}` : '';
  });
  heard('ask', (edit) => { edit(request); show(); go(); });
  heard('sweep', (asked) => trigger('sweep', { ...asSent(structuredClone(request)), ...asked }));
  heard('compare', () => trigger('compare', {}));
  heard('vector', (asked) => trigger('vector', asked));
  heard('inspect', (asked) => trigger('inspect', asked));
  heard('stop', (work) => trigger('stop', { work }));
  watch('value', () => {
    const { training: state, renewed, concepts: renewedConcepts } = props.value;
    if (renewed) {
      Object.assign(known, renewedConcepts);
      show();
    }
    if (!state) return;
    learn(state);
    if (state.problem && waiting.length) lost(waiting.splice(0, 1), `${state.problem} The link or the last visit named this concept, which is left out.`);
    if (!state.done) return;
    known[state.done.name] = state.done;
    remember(state);
    if (waiting.length) {
      next();
      return;
    }
    request.plan.targets = [{ concept: state.done.name, direction: 'amplify', p0: 0.98 }];
    request.plan.hold = [];
    request.plan.method = 'auto';
    request.plan.strength = null;
    request.plan.budget = state.done.opens ?? null;
    show();
    go();
  });

  /** Keeps a concept that was learned in this browser, with its examples or, where it came as one, its control vector. */
  function remember({ done, note: says }) {
    const { positive, negative } = done.texts;
    const stays = keepOwn({ name: done.name, ...(taught.gguf ? { gguf: taught.gguf } : { positive, negative }) });
    learn({ fraction: null, note: `${says} ${stays ? 'This browser keeps it.' : 'It is too large for this browser to keep: export it.'}` });
  }

  /** Learns the concepts of one's own that the request names, one after the other, and then asks for the run. */
  function next() {
    waiting = waiting.filter(({ name }) => !known[name]);
    if (waiting.length) {
      teach(waiting[0]);
      return;
    }
    show();
    go();
  }

  /** Goes on without concepts that are missing, and says so. */
  function lost(concepts, says) {
    without(request, concepts.map(({ name }) => name), opening);
    afford();
    problem.textContent = [problem.textContent, says].filter(Boolean).join(' ');
    next();
  }

  async function start() {
    const missing = namesOf(request).filter((name) => !known[name]);
    const carried = await unpacked(new URLSearchParams(location.search).get('own'));
    waiting = missing.map((name) => [...carried, ...kept()].find((own) => own.name === name)).filter(Boolean);
    teaching.open = waiting.length > 0;
    const gone = missing.filter((name) => !waiting.some((own) => own.name === name));
    if (gone.length) {
      const [what, where] = gone.length > 1 ? ['concepts that live in the browser where they were taught', 'their files, and open them'] : ['a concept that lives in the browser where it was taught', 'its file, and open it'];
      lost(gone.map((name) => ({ name })), `Left out of the link: ${gone.map((name) => `“${name}”`).join(', ')}, ${what}; ask for ${where} below.`);
    } else next();
  }

  show();
  if (namesOf(request).every((name) => known[name])) go();
  else start();
}
