// One token under the lens: what both models would have said there, how every concept reads at every layer, and what was pushed.
import { h } from '../shared/dom.js';
import { probability, share, visible } from '../shared/words.js';

const SIDES = { unsteered: 'base', steered: 'steered', requested: 'requested' };

/** A cell of a reading: the colour says P, its title the number. */
function cell(p, title) {
  const strength = p == null ? 0 : Math.abs(p - 0.5) * 2;
  const color = p == null || strength < 0.04 ? 'transparent' : `color-mix(in srgb, var(${p > 0.5 ? '--tw-high' : '--tw-low'}) ${(100 * strength).toFixed(0)}%, transparent)`;
  return h('i', { title, style: `background: ${color}` });
}

const strip = (name, values, tell) => h('div', { class: 'tw-strip', role: 'img', 'aria-label': tell }, h('span', {}, name), h('div', { class: 'tw-cells' }, values));
const mean = (values) => { const known = values.filter((p) => p != null); return known.reduce((sum, p) => sum + p, 0) / (known.length || 1); };

/** The lens in `node`; goOn(token ids) hears where to go on from. Returns { show(what, sides), hide() }. */
export function lens(node, goOn) {
  node.hidden = true;
  node.tabIndex = -1;

  function hide() {
    node.hidden = true;
    node.replaceChildren();
  }

  function alternatives({ alternatives: each, prefix }) {
    const most = Math.max(...each.flatMap(({ base, steered }) => [base, steered]));
    const bar = (p, side) => h('td', {}, h('span', { class: `tw-bar-of tw-of-${side}`, style: `--share: ${(100 * p) / most}%` }), h('span', { class: 'tw-number' }, share(p)));
    const row = (token) => h('tr', { class: token.drawn ? 'tw-drawn' : '' },
      h('th', { scope: 'row' }, token.ends ? h('em', {}, 'end of the answer') : visible(token.text), token.drawn ? h('small', {}, ' drawn') : ''),
      bar(token.base, 'base'), bar(token.steered, 'steered'),
      h('td', {}, token.drawn || token.ends ? '' : h('button', { type: 'button', class: 'tw-quiet', 'aria-label': `Go on from ${token.text}`, onclick: () => goOn([...prefix, token.id]) }, 'Go on')));
    return h('table', { class: 'tw-table tw-alternatives' },
      h('thead', {}, h('tr', {}, ['next token', 'base model', 'steered'].map((name) => h('th', { scope: 'col' }, name)), h('td', {}))),
      h('tbody', {}, each.map(row)));
  }

  function readings({ readings: each, pushes }) {
    const layers = each[0]?.base.length ?? 0;
    const pushed = new Map(pushes.map((push) => [push.layer, push]));
    const longest = Math.max(...pushes.map((push) => push.share), 1e-9);
    const pushCells = [...Array(layers).keys()].map((layer) => {
      const push = pushed.get(layer);
      const height = push ? Math.max(push.share > 0 ? 8 : 0, (100 * push.share) / longest) : 0;
      return h('i', { class: 'tw-push', title: push ? `layer ${layer}: pushed by ${(100 * push.share).toFixed(1)} % of the state, ε ${push.eps.join(', ')}` : `layer ${layer}: not steered`, style: `--height: ${height}%` });
    });
    const concept = ({ name, high, base, steered }) => {
      const told = (side, values) => values.map((p, layer) => cell(p, `${name}, ${side}, layer ${layer}: P(${high}) ${p == null ? 'has no direction here' : probability(p)}`));
      const moved = `${share(mean(base))} → ${share(mean(steered))}`;
      return h('div', { class: 'tw-reading' },
        h('div', { class: 'tw-split' }, h('span', {}, name), h('span', { class: 'tw-number' }, moved)),
        strip('base', told('base', base), `${name}, base model: mean P(${high}) ${share(mean(base))}`),
        strip('steered', told('steered', steered), `${name}, steered model: mean P(${high}) ${share(mean(steered))}`));
    };
    return [
      h('p', { class: 'tw-hint' }, `How both models read every concept at layers 0 to ${layers - 1}, on the text up to here. Numbers are means over the layers.`),
      h('div', { class: 'tw-readings' }, each.map(concept)),
      h('div', { class: 'tw-reading tw-pushes' },
        h('div', { class: 'tw-split' }, h('span', {}, 'push'), h('span', { class: 'tw-number' }, pushes.some((push) => push.share > 0) ? `up to ${(100 * longest).toFixed(1)} % of the state` : 'none')),
        strip('by layer', pushCells, 'Length of the push by layer')),
    ];
  }

  return {
    hide,
    show(what, sides) {
      const side = SIDES[sides[what.side]];
      const close = h('button', { type: 'button', class: 'tw-quiet', 'aria-label': 'Close the lens', onclick: hide }, '×');
      node.replaceChildren(
        h('div', { class: 'tw-split' }, h('h3', {}, `“${visible(what.token)}”, token ${what.index + 1} of the ${side} text`), close),
        h('div', { class: 'tw-lens-parts' },
          h('div', {}, h('p', { class: 'tw-hint' }, `What both models say next, given this text up to here, at temperature ${what.temperature}.`), h('div', { class: 'tw-scroll' }, alternatives(what))),
          h('div', {}, readings(what))));
      node.hidden = false;
      node.focus({ preventScroll: true });
      node.scrollIntoView({ block: 'nearest', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
    },
  };
}
