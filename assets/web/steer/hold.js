// Concepts that stay as they are while others are steered: no push has a part along which they are read.
import { h } from '../shared/dom.js';

const MAX_HELD = 3;

/** A line in `node`. changed(names) hears every change. The function that is returned draws the names that are held, those that may be. */
export function holding(node, changed) {
  const line = h('div', { class: 'tw-hold', role: 'group', 'aria-label': 'Concepts that stay as they are' });
  node.append(line);
  return (held, free) => {
    const chips = held.map((name) => h('span', { class: 'tw-stays' }, name,
      h('button', { type: 'button', class: 'tw-quiet tw-let-go', 'aria-label': `Hold ${name} no longer`, onclick: () => changed(held.filter((other) => other !== name)) }, '×')));
    const more = h('select', { class: 'tw-pick', 'aria-label': 'Hold a concept as it is', title: 'The push gets no part along which this concept is read', onchange: () => changed([...held, more.value]) },
      h('option', { value: '', selected: true }, 'Hold …'), free.map((name) => h('option', { value: name }, name)));
    line.replaceChildren(...(held.length ? [h('span', { class: 'tw-hint' }, 'Held:'), ...chips] : []), ...(free.length && held.length < MAX_HELD ? [more] : []));
  };
}
