// The left column of the Trade-offs tab: the prompt, the preference, and what is seldom used. It owns which points are picked.
import { DRAWN, fieldsOf, keep, leftOut, note, numbersIn, returned } from '../shared/address.js';
import { choice, drawing, faults, field, fold, sheet, slider, thinkingBox } from '../shared/controls.js';
import { h, heard, tell } from '../shared/dom.js';
import { store } from './store.js';
import { scorer } from './score.js';
import { lastWins } from '../shared/sender.js';
import { lambda } from './figure.js';
import { WAYS, called, placeOf, scaleOf, scaledTo } from './ways.js';

const TYPING = 500;
const FINE = 0.01; // of the slider where every place on it was trained for
/** @type {[number, string][]} */
const DEGREES = [[0.999, 'only helpful'], [0.8, 'mostly helpful'], [0.56, 'rather helpful'], [0.44, 'balanced'], [0.2, 'rather harmless'], [0.001, 'mostly harmless'], [0, 'only harmless']];
/** The fields of the address that bring a request and its points back. */
const addressed = ({ prompt, seed, max_new_tokens, temperature, top_p, thinking }, picks) => (
  { point: picks.join(','), prompt, seed, max_new_tokens, temperature, top_p: top_p === 1 ? null : top_p, thinking: thinking ? 1 : null });
/** What a policy is whose change of the weights is so many times as large as it was trained. */
const extent = (times) => (times === 0 ? 'the base model' : times === 1 ? 'as trained' : times < 1 ? 'towards the base model' : 'extrapolated');
const words = (value) => DEGREES.find(([least]) => value >= least - 1e-9)[1];

export default function mount({ element, props, trigger, watch }) {
  const { mixes, ends, plans, steered, limits, examples, opening, picks: most, scored } = props.value;
  let { trained } = props.value;
  store.compare = props.value.compare;
  const { preference: opened, ...request } = opening;
  let run = 0;
  let typing = null;
  let picks = [];
  let kept = [];
  let selected = null;
  const offered = () => WAYS.filter(([id]) => (id === 'trained' ? trained.length : id in mixes));
  let way = offered()[0]?.[0];
  let weight = opened; // of helpfulness
  let scale = 1;
  let aside = false; // what is shown stands on none of the ways
  let linked = false;
  let unread = ''; // what could not be read of a link that is about to be answered
  const sender = lastWins((next) => trigger('run', next));

  /** Asks for answers; step: back brings the request before this one back. */
  function go(step = false) {
    clearTimeout(typing);
    run += 1;
    problem.textContent = unread;
    unread = '';
    store.asked = { ...request, picks: [...picks], kept: [...kept], selected, run };
    tell('front-asked', store.asked);
    sender.push(store.asked);
    if (run > 1 || linked) note('tradeoffs', addressed(request, picks), step);
  }

  /** Moves the slider to the policy that is shown. For a policy on none of the ways it takes the policy's preference, if any, and says so. */
  function show(id) {
    selected = id;
    const place = id && placeOf(id, { trained, mixes, ends });
    aside = !place || place[2] > limits.scale;
    if (!aside) [way, weight, scale] = place;
    else [weight, scale] = [store.point(id)?.lambda ?? weight, id ? scaleOf(id)[1] : 1];
    drawSlider();
  }

  /** Takes up a place of the address: its prompt, seed and the points that answer. False where it names none. */
  function restore(query) {
    const left = [];
    for (const name of DRAWN) request[name] = opening[name];
    Object.assign(request, numbersIn(query, (name) => left.push(name)));
    unread = leftOut(left);
    request.prompt = prompt.value = query.get('prompt') ?? opening.prompt;
    drawn.show();
    request.thinking = props.value.thinking && query.has('thinking');
    thinking.set(request.thinking);
    if (!query.get('point')) return false;
    picks = query.get('point').split(',').map((id) => called(id, { mixes, ends }));
    kept = picks.slice(0, -1);
    show(picks.at(-1));
    return true;
  }

  /** Shows a policy's answer in place of those that are not kept; with `add`, beside them. */
  function pick(id, add = false, step = false) {
    if (!picks.includes(id)) {
      const held = add ? picks : picks.filter((each) => kept.includes(each));
      picks = [...held.slice(-(most - 1)), id];
      kept = picks.filter((each) => kept.includes(each) || (add && each !== id));
    }
    selected = id;
    go(step);
  }

  const nearest = () => trained.reduce((near, each) => (Math.abs(each.lambda - weight) < Math.abs(near.lambda - weight) ? each : near));
  const measured = () => mixes[way]?.find((each) => Math.abs(each.lambda - weight) < 1e-9)?.id;
  const unscaled = () => (way === 'trained' ? nearest().id : (scale === 1 && measured()) || `${way}:${weight}`);
  const wanted = () => scaledTo(unscaled(), scale);
  const current = () => (aside ? selected : wanted());
  /** Whether what is shown has a trained change: not the base model, nor a plan. */
  const scalable = () => !aside || (selected !== null && !selected.startsWith('plan:') && scaleOf(selected)[1] <= limits.scale
    && !['base', 'steered'].includes(store.point(selected)?.method));

  const prompt = h('textarea', {
    rows: 3, maxlength: limits.prompt, 'aria-label': 'Prompt', placeholder: 'Ask for something', value: request.prompt,
    oninput: () => { request.prompt = prompt.value; clearTimeout(typing); typing = setTimeout(() => go(), TYPING); },
    onkeydown: (event) => { if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); go(true); } },
  });
  const problem = h('p', { class: 'tw-problem', role: 'alert' });
  const thinking = thinkingBox(props.value.model, props.value.thinking, (on) => { request.thinking = on; go(); });
  const tries = h('div', { class: 'tw-tries' }, 'Try ', examples.map((text) =>
    h('button', { type: 'button', class: 'tw-quiet', title: text, onclick: () => { request.prompt = prompt.value = text; go(true); } }, text)));

  const says = h('span', { class: 'tw-says' });
  const value = h('span', { class: 'tw-number' });
  const far = h('p', { class: 'tw-hint', role: 'status' });
  const range = h('input', {
    type: 'range', class: 'tw-range tw-preference', min: 0, max: 1, step: 0.05, 'aria-label': 'Preference, from harmless to helpful', value: weight,
    oninput: () => { weight = Number(range.value); aside = false; drawSlider(); if (wanted() !== selected) pick(wanted()); },
  });
  const scaling = slider('Scale', { min: 0, max: limits.scale, step: 0.1 }, (times) => `${times} ×, ${extent(times)}`,
    (times) => { scale = times; pick(aside ? scaledTo(scaleOf(selected)[0], scale) : wanted()); drawSlider(); });
  scaling.node.classList.add('tw-scaling');
  const ways = choice('Whose answer', WAYS, (next) => { way = next; aside = false; drawSlider(); pick(wanted()); });
  const scoreMix = h('button', { type: 'button', class: 'tw-quiet tw-add', onclick: () => score.start({ pick: current() }, preference) }, 'Score this mix and plot it');
  const ticks = h('div', { class: 'tw-ticks', 'aria-hidden': 'true' });

  function mark() {
    ticks.replaceChildren(...(mixes[way] ?? trained).map((each) => {
      const tick = h('i', { 'data-id': each.id });
      tick.style.left = `calc(9px + (100% - 18px) * ${each.lambda})`;
      return tick;
    }));
  }

  function offer(checkpoints) {
    trained = checkpoints;
    const known = offered().map(([id]) => id);
    if (!known.includes(way)) way = known[0];
    preference.hidden = !known.length;
    none.hidden = known.length > 0;
    ways.node.hidden = known.length < 2;
    for (const button of ways.node.querySelectorAll('button')) button.hidden = !known.includes(button.dataset.value);
    if (known.length) drawSlider();
  }

  function drawSlider() {
    range.step = way === 'curve' ? FINE : 0.05;
    range.value = weight;
    preference.classList.toggle('tw-aside', aside);
    says.textContent = !aside ? words(weight) : selected === null ? 'the base model alone' : store.title(selected) ?? 'the policy of the link';
    value.textContent = aside ? '' : `λ helpful ${lambda(weight)}`;
    range.setAttribute('aria-valuetext', aside ? `on none of its ways: ${says.textContent}` : `${words(weight)}, λ ${lambda(weight)}`);
    ways.set(aside ? null : way);
    scaling.set(scale);
    scaling.node.hidden = !scalable();
    scoreMix.hidden = !scalable() || scale === 0 || store.point(current()) != null || (scale === 1 && (aside || way === 'trained' || measured() != null));
    scoreMix.textContent = `Score this ${way === 'soup' && scale === 1 ? 'mix' : 'place'} and plot it`;
    mark();
    for (const tick of ticks.children) tick.classList.toggle('tw-on', !aside && tick.dataset.id === wanted());
    if (aside) {
      far.textContent = 'What is shown is on none of these ways. Move the slider or choose a way to come back.';
      return;
    }
    if (way !== 'trained') {
      far.textContent = way === 'curve' ? 'One training for all preferences: every place on this slider was trained for.'
        : `Interpolated weights, not trained: ${Math.round(100 * weight)} % of only helpful, ${Math.round(100 * (1 - weight))} % of only harmless.`;
      return;
    }
    const near = nearest();
    const off = Math.abs(near.lambda - weight);
    far.textContent = `${off < 1e-9 ? 'A P-GAPO checkpoint was trained for just this' : `The nearest P-GAPO checkpoint was trained for λ ${lambda(near.lambda)}, ${lambda(off)} away`}.`;
  }

  const preference = h('div', { class: 'tw-wish' }, ways.node, h('div', { class: 'tw-track' }, range, ticks),
    h('div', { class: 'tw-poles' }, h('span', {}, 'harmless'), h('span', {}, 'helpful')), h('p', { class: 'tw-value' }, says, value), far, scaling.node, scoreMix);
  const none = h('p', { class: 'tw-hint' }, 'No checkpoint of this model is here yet: add one below, or any PEFT adapter of it.');

  const drawn = drawing(limits, { label: 'Seed of the answers', roll: 'Roll another seed', same: 'answers' }, request, go);
  const score = scorer({ plans, steered, scored, most: limits.upload, types: limits.types, start: (asked) => trigger('score', asked), stop: () => trigger('stop', { work: 'score' }), answer: (id) => { show(id); pick(id); } });

  /** What the tab opens with. */
  function begin() {
    [picks, kept, weight, scale, aside] = [[], [], opened, 1, false];
    drawSlider();
    if (way) pick(wanted());
    else go();
  }

  const [settings, more] = sheet('Settings',
    drawn.seed.node,
    h('div', { class: 'tw-folds' },
      fold('Length and sampling', false, drawn.length.node, drawn.temperature.node, drawn.topP.node),
      fold('Add a checkpoint', false, score.checkpoint),
      plans.length || steered ? fold('Score a steered model', false, score.plan) : ''));
  const wrong = faults({ prompt, ...drawn.inputs });

  element.firstElementChild.replaceChildren(
    h('section', { class: 'tw-prompt-box' }, field('Prompt', prompt), thinking.node, tries, problem),
    h('section', {}, h('div', { class: 'tw-split' }, h('h2', {}, 'Preference'), settings), preference, none),
    more);
  drawn.show();
  offer(trained);

  heard('front-pick', ({ point, add }) => { show(point.id); pick(point.id, add, true); });
  heard('front-points', drawSlider);
  heard('front-keep', (id) => {
    kept = kept.includes(id) ? kept.filter((each) => each !== id) : [...kept, id];
    store.asked.kept = [...kept];
    tell('front-held');
  });
  heard('front-drop', (id) => {
    picks = picks.filter((each) => each !== id);
    kept = kept.filter((each) => each !== id);
    if (selected === id) show(picks.at(-1) ?? null);
    go();
  });
  heard('front-shown', (shown) => {
    if (shown !== run) return;
    sender.shown();
    if (aside) drawSlider();
  });
  heard('front-wrong', wrong);
  heard('front-stop', (work) => trigger('stop', { work }));
  heard('front-people', (asked) => trigger('people', asked));
  heard('front-compare', (ids) => trigger('compare', { ids }));
  returned('tradeoffs', (query) => {
    if (restore(query)) go();
    else begin();
  });
  watch('value', () => {
    if (props.value?.trained && props.value.trained.length !== trained.length) offer(props.value.trained);
    if (props.value?.scoring) score.show(props.value.scoring);
  });
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    keep('tradeoffs', ['set', 'view', 'axes'], 'view'); // of the front, which may be drawn later
    linked = restore(fieldsOf('tradeoffs'));
    if (linked) go();
    else begin();
  }, { rootMargin: '30000px' }).observe(element);
}
