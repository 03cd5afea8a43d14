// Controls of the left columns.
import { h } from './dom.js';

/** A label over its control. */
export const field = (label, control, hint) => h('label', { class: 'tw-field' }, h('span', {}, label), control, hint);
/** What is seldom used, folded. */
export const fold = (title, open, ...inside) => h('details', { class: 'tw-fold', open }, h('summary', {}, title), h('div', { class: 'tw-inside' }, ...inside));

/** A few options of which one is pressed: { node, set(value) }. options: [value, text]. */
export function choice(label, options, picked) {
  const buttons = options.map(([value, text]) => h('button', { type: 'button', 'data-value': value, onclick: () => { set(value); picked(value); } }, text));
  const set = (value) => buttons.forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.value === value)));
  return { node: h('div', { class: 'tw-choice', role: 'group', 'aria-label': label }, buttons), set };
}

/** A range that says its value in words: { node, set(value) }. options: { min, max, step }. */
export function slider(label, options, say, moved) {
  const output = h('output', { class: 'tw-number' });
  const input = h('input', { type: 'range', class: 'tw-range', ...options, 'aria-label': label, oninput: () => { show(); moved(Number(input.value)); } });
  function show() {
    output.textContent = say(Number(input.value));
    input.setAttribute('aria-valuetext', output.textContent);
    const at = (100 * (input.value - options.min)) / (options.max - options.min);
    input.style.setProperty('--from', '0%');
    input.style.setProperty('--to', `${at}%`);
  }
  return { node: h('div', { class: 'tw-field' }, h('span', { class: 'tw-split' }, label, output), input), set: (value) => { input.value = value; show(); } };
}
