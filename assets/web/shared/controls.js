// Controls of the left columns.
import { h } from './dom.js';

/** A label over its control. */
export const field = (label, control, hint) => h('label', { class: 'tw-field' }, h('span', {}, label), control, hint);
/** A folded section for what is seldom used. */
export const fold = (title, open, ...inside) => h('details', { class: 'tw-fold', open }, h('summary', {}, title), h('div', { class: 'tw-inside' }, ...inside));

/** A few options of which one is pressed: { node, set(value) }. options: [value, text]. */
export function choice(label, options, picked) {
  const buttons = options.map(([value, text]) => h('button', { type: 'button', 'data-value': value, onclick: () => { set(value); picked(value); } }, text));
  const set = (value) => buttons.forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.value === value)));
  return { node: h('div', { class: 'tw-choice', role: 'group', 'aria-label': label }, buttons), set };
}

/** A range that says its value in words: { node, input, set(value) }. options: { min, max, step }. */
export function slider(label, options, say, moved) {
  const output = h('output', { class: 'tw-number' });
  const input = h('input', { type: 'range', class: 'tw-range', ...options, 'aria-label': label, oninput: () => { show(); moved(Number(input.value)); } });
  function show(value = Number(input.value)) {
    output.textContent = say(value);
    input.setAttribute('aria-valuetext', output.textContent);
    const at = (100 * (input.value - options.min)) / (options.max - options.min);
    input.style.setProperty('--from', '0%');
    input.style.setProperty('--to', `${at}%`);
  }
  return { node: h('div', { class: 'tw-field' }, h('span', { class: 'tw-split' }, label, output), input), input, set: (value) => { input.value = value; show(value); } };
}

const WARM = 0.7;

/** The seed and the dice that roll another: { node, input, set(seed) }. max: the largest seed; says: { label, roll, same: what every
 * seed gives at temperature 0 }. changed(seed) hears a choice. A roll raises a temperature of 0; warm(temperature) does it and returns whether
 * it was 0. */
function seedBox(max, says, changed, warm) {
  const choose = (seed) => { input.value = seed; changed(seed); };
  const input = h('input', { type: 'number', min: 0, max, step: 1, 'aria-label': says.label,
    onchange: () => choose(Math.min(max, Math.max(0, Math.round(Number(input.value) || 0)))) });
  const dice = h('button', { type: 'button', class: 'tw-dice', 'aria-label': says.roll, title: says.roll, onclick: () => {
    rolled.textContent = warm(WARM) ? `The temperature is ${WARM} now: at 0 every seed gives the same ${says.same}.` : '';
    choose(Math.floor(Math.random() * 10000));
  } }, h('span', { 'aria-hidden': 'true' }, '⚄'));
  const rolled = h('p', { class: 'tw-hint', role: 'status' });
  return { node: h('div', { class: 'tw-seed' }, h('span', {}, 'Seed'), input, dice, rolled), input, set: (seed) => { input.value = seed; } };
}

/** How texts are drawn: { seed, length, temperature, topP, inputs, show() }, the first four as sliders are. What is chosen goes to
 * the request and changed() hears it; show() brings back what the request holds. limits: { seed, tokens, temperature }; says: see seedBox. */
export function drawing(limits, says, request, changed) {
  const asks = (name) => (value) => { request[name] = value; show(); changed(); };
  const seed = seedBox(limits.seed, says, asks('seed'), (warmth) => {
    const cold = request.temperature === 0;
    if (cold) request.temperature = warmth;
    return cold;
  });
  const length = slider('Length', { min: 8, max: limits.tokens, step: 8 }, (value) => `${value} tokens`, asks('max_new_tokens'));
  const temperature = slider('Temperature', { min: 0, max: limits.temperature, step: 0.05 }, (value) => (value ? value.toFixed(2) : '0, the likeliest token'), asks('temperature'));
  const likeliest = (p) => (request.temperature === 0 ? 'no effect at temperature 0' : p === 1 ? '1, every token' : `${p.toFixed(2)}, the likeliest`);
  const topP = slider('Top p', { min: 0, max: 1, step: 0.05 }, likeliest, asks('top_p'));
  function show() {
    seed.set(request.seed);
    length.set(request.max_new_tokens);
    temperature.set(request.temperature);
    topP.set(request.top_p);
  }
  return { seed, length, temperature, topP, show, inputs: { seed: seed.input, max_new_tokens: length.input, temperature: temperature.input, top_p: topP.input } };
}

/** The box by which the model thinks first: { node, set(on) }; hidden where its chat template has no such switch. */
export function thinkingBox(model, knows, changed) {
  const box = h('input', { type: 'checkbox', onchange: () => changed(box.checked) });
  const node = h('label', { class: 'tw-think', title: `The chat template of ${model} has this switch`, hidden: !knows }, box, ' Think before answering');
  return { node, set: (on) => { box.checked = on; } };
}

let sheets = 0;

/** What a phone folds into a sheet at its lower edge, and a wider page shows in its place: [the button that opens it, the sheet]. */
export function sheet(label, ...inside) {
  const id = `tw-sheet-${(sheets += 1)}`;
  const turn = (open) => {
    panel.classList.toggle('tw-open', open);
    opener.setAttribute('aria-expanded', String(open));
    (open ? close : opener).focus();
  };
  const close = h('button', { type: 'button', class: 'tw-quiet', onclick: () => turn(false) }, 'Done');
  const opener = h('button', { type: 'button', class: 'tw-quiet tw-sheet-open', 'aria-expanded': 'false', 'aria-controls': id,
    onclick: () => turn(!panel.classList.contains('tw-open')) }, label);
  const panel = h('div', { class: 'tw-sheet', id, role: 'group', 'aria-label': label,
    onkeydown: (event) => { if (event.key === 'Escape' && panel.classList.contains('tw-open')) turn(false); } },
  h('div', { class: 'tw-sheet-head tw-split' }, h('h2', {}, label), close), ...inside);
  return [opener, panel];
}

/** Shows an error by the control that it is about, under the control's name on the page; told(wrong) takes { problem, field } or nothing. controls: { field: control }. */
export function faults(controls) {
  const says = h('p', { class: 'tw-problem tw-fault', role: 'alert', id: `tw-fault-${(sheets += 1)}` });
  return function told({ problem = '', field: name = '' } = {}) {
    for (const control of Object.values(controls)) for (const key of ['aria-invalid', 'aria-describedby']) control.removeAttribute(key);
    const control = controls[name];
    const called = control?.getAttribute('aria-label');
    says.textContent = !control ? '' : called && problem.startsWith(`${name} is `) ? called + problem.slice(name.length) : problem;
    if (!control) return;
    control.setAttribute('aria-invalid', 'true');
    control.setAttribute('aria-describedby', says.id);
    control.closest('.tw-field, .tw-seed').after(says);
    const folded = control.closest('details');
    if (folded) folded.open = true;
    control.closest('.tw-sheet')?.classList.add('tw-open');
  };
}
