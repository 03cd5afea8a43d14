// The rows of concepts: which, more or less, and how sure the text has to be of it.
import { h } from '../shared/dom.js';
import { MAX_LOGIT, asks, logit, probability, sigmoid } from '../shared/words.js';

const MAX_ROWS = 3;
const GENTLE = 0.98;

/** Rows of targets in `node`. concepts(): name -> { low, high, description }; changed(targets) hears every move. set(targets, byCost):
 * where a budget says how far to go, the rows have no slider of their own. */
export function targetRows(node, concepts, changed) {
  let targets = [];
  let byCost = false;
  const list = h('div', { class: 'tw-targets' });
  const add = h('button', { class: 'tw-quiet tw-add', type: 'button', onclick: addRow }, '+ Add a concept');
  node.append(list, add);

  function addRow() {
    const used = new Set(targets.map((target) => target.concept));
    const concept = Object.keys(concepts()).find((name) => !used.has(name));
    targets.push({ concept, direction: 'amplify', p0: GENTLE });
    draw();
    list.lastChild.querySelector('select').focus();
    changed(targets);
  }

  function row(target, index) {
    const poles = concepts()[target.concept] ?? { low: `not ${target.concept}`, high: target.concept };
    const others = new Set(targets.filter((other) => other !== target).map((other) => other.concept));
    const names = [...new Set([...Object.keys(concepts()), target.concept])].filter((name) => !others.has(name));
    const select = h('select', { 'aria-label': `Concept ${index + 1}`, onchange: () => pick(select.value) },
      names.map((name) => h('option', { value: name, selected: name === target.concept }, name)));
    const says = h('output', { class: 'tw-says' });
    const number = h('output', { class: 'tw-number' });
    const range = h('input', {
      type: 'range', class: 'tw-range tw-magnitude', min: -MAX_LOGIT, max: MAX_LOGIT, step: MAX_LOGIT / 200, value: (target.direction === 'remove' ? -1 : 1) * logit(target.p0),
      'aria-label': `How ${poles.high}`, oninput: () => { target.p0 = sigmoid((target.direction === 'remove' ? -1 : 1) * Number(range.value)); say(); changed(targets); },
    });
    const ways = [['amplify', 'more'], ['remove', 'less']].map(([direction, word]) =>
      h('button', { type: 'button', 'aria-pressed': String(target.direction === direction), onclick: () => turn(direction) }, word));

    function say() {
      const bound = Math.min(1 - 1e-6, Math.max(1e-6, target.p0));
      target.p0 = bound;
      const sign = target.direction === 'amplify' ? '≥' : '≤';
      says.textContent = asks(bound, target.direction, poles.low, poles.high);
      const off = says.textContent === 'off';
      number.textContent = off ? '' : `p ${sign} ${probability(bound)}`;
      range.setAttribute('aria-valuetext', off ? 'off' : `${says.textContent}, ${number.textContent}`);
      range.style.setProperty('--from', '0%');
      range.style.setProperty('--to', `${50 + (50 * Number(range.value)) / MAX_LOGIT}%`);
      range.style.setProperty('--goal', target.direction === 'amplify' ? 'var(--tw-high)' : 'var(--tw-low)');
    }

    function pick(name) {
      target.concept = name;
      draw();
      list.children[index].querySelector('select').focus();
      changed(targets);
    }

    function turn(direction) {
      if (target.direction === direction) return;
      target.direction = direction;
      target.p0 = 1 - target.p0;
      draw();
      list.children[index].querySelector('[aria-pressed="true"]').focus();
      changed(targets);
    }

    say();
    return h('div', { class: 'tw-target', role: 'group', 'aria-label': `${target.concept}, concept ${index + 1}` },
      h('div', { class: 'tw-what' }, h('div', { class: 'tw-ways' }, ways), select,
        targets.length > 1 && h('button', { type: 'button', class: 'tw-quiet tw-drop', 'aria-label': `Remove ${target.concept}`, onclick: () => drop(index) }, '×')),
      byCost ? '' : range,
      byCost ? '' : h('div', { class: 'tw-poles', 'aria-hidden': 'true' }, h('span', {}, 'off'), h('span', {}, target.direction === 'amplify' ? poles.high : poles.low)),
      byCost ? '' : h('p', { class: 'tw-value' }, says, number));
  }

  function drop(index) {
    targets.splice(index, 1);
    draw();
    add.focus();
    changed(targets);
  }

  function draw() {
    list.replaceChildren(...targets.map(row));
    add.hidden = targets.length >= MAX_ROWS || targets.length >= Object.keys(concepts()).length;
  }

  return { set: (next, cost = false) => { targets = structuredClone(next); byCost = cost; draw(); } };
}
