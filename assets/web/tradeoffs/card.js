// All that is known of the selected point: how it was made and scored, and how its training went.
import { copy, h } from '../shared/dom.js';
import { mark, markOf } from './marks.js';
import { chart } from '../shared/plot.js';

export default function mount({ element, props, watch }) {
  const root = element.firstElementChild;
  const facts = h('div', { class: 'tw-facts' });
  const charts = h('div', { class: 'tw-charts' });
  root.replaceChildren(facts, charts);
  let drawn = null;

  function show() {
    const card = props.value;
    root.hidden = !card;
    if (!card || card === drawn) return;
    if (drawn?.id !== card.id) {
      charts.replaceChildren(...card.charts.map((value) => {
        const node = h('div', { class: 'tw-chart' });
        chart(node)(value);
        return node;
      }));
    }
    drawn = card;
    const button = h('button', { type: 'button', class: 'tw-quiet', onclick: () => copy(button, card.command) }, 'Copy command');
    facts.style.setProperty('--method', markOf(card.method).color);
    facts.replaceChildren(
      h('h2', {}, mark(card.method), h('span', {}, card.name), card.command ? button : ''),
      h('dl', {}, card.facts.map(([label, value]) => h('div', {}, h('dt', {}, label), h('dd', {}, value)))));
  }

  watch('value', show);
  show();
}
