// How strongly to steer, by cost: one slider from off to the largest budget whose texts stay fluent, linear in nats a token.
import { h } from '../shared/dom.js';

const STEPS = 100;
const DEGREES = [[7, 'extremely'], [4, 'strongly'], [1.5, 'clearly'], [-9, 'a little']];
const nats = (value) => (value < 0.1 ? value.toFixed(3) : value.toFixed(2)).replace(/^0/, '');

/** Linear interpolation between points [x, y] by rising x. */
function between(points, x) {
  const next = points.findIndex(([at]) => at >= x);
  if (next < 0) return points.at(-1)[1];
  if (next === 0) return points[0][1];
  const [[a, low], [b, high]] = [points[next - 1], points[next]];
  return low + ((high - low) * (x - a)) / (b - a || 1);
}

/** The calibrated cost of every target of a plan; null where one has none. concepts: name -> { costs }. */
export function costsOf(plan, concepts) {
  const costs = plan.targets.map(({ concept, direction }) => concepts[concept]?.costs?.[`${plan.method} ${direction}`]);
  return costs.every(Boolean) ? costs : null;
}

/** The largest budget that a plan can have while its texts stay fluent. */
export const mostOf = (costs) => costs.length * Math.min(...costs.map(({ most }) => most));

/** The control in `node`; changed(budget) hears every move. show(plan, concepts) draws it, hidden where nothing is calibrated. */
export function budgetControl(node, changed) {
  let plan = null;
  let concepts = {};
  let most = 1;
  const says = h('output', { class: 'tw-says' });
  const number = h('output', { class: 'tw-number' });
  const effect = h('p', { class: 'tw-hint tw-effect' });
  const range = h('input', {
    type: 'range', class: 'tw-range tw-budget', min: 0, max: STEPS, step: 1, 'aria-label': 'How far to go, in cost',
    oninput: () => { plan.budget = Number(((most * range.value) / STEPS).toPrecision(3)); say(); changed(plan.budget); },
  });
  const box = h('div', { class: 'tw-cost' }, range,
    h('div', { class: 'tw-poles', 'aria-hidden': 'true' }, h('span', {}, 'off'), h('span', {}, 'as much as stays fluent')),
    h('p', { class: 'tw-value' }, says, number), effect);
  node.querySelector('.tw-targets').after(box);

  function words({ points }, { concept, direction }) {
    const { low, high } = concepts[concept];
    const share = Math.sqrt(plan.budget / plan.targets.length);
    const dose = between(points.map(([at, kl]) => [Math.sqrt(Math.max(0, kl)), at]), share);
    const scored = points.every(([, , score]) => score != null);
    const after = scored && between(points.map(([, kl, score]) => [Math.sqrt(Math.max(0, kl)), score]), share);
    return {
      asks: plan.method === 'fixed' ? `${direction === 'amplify' ? high : low}, the same push at every token` : `at least ${DEGREES.find(([least]) => dose >= least)[1]} ${direction === 'amplify' ? high : low}`,
      tells: scored ? `${concept} judged ${points[0][2].toFixed(2)} → ${after.toFixed(2)}`.replaceAll('0.', '.') : '',
    };
  }

  function say() {
    const costs = costsOf(plan, concepts);
    const off = plan.budget === 0;
    const told = costs.map((cost, index) => words(cost, plan.targets[index]));
    says.textContent = off ? 'off: the base text' : told.map(({ asks }) => asks).join('; ');
    number.textContent = off ? '' : `about ${nats(plan.budget)} nats a token, on average`;
    const breaks = costs.some(({ most: fluent, end }) => fluent < end) ? `Beyond ${nats(most)} nats the text starts to break.` : `Measured up to ${nats(most)} nats.`;
    effect.textContent = [off ? '' : `On other prompts: ${told.map(({ tells }) => tells).filter(Boolean).join('; ')}.`, breaks].filter((text) => !/: \.$/.test(text)).join(' ');
    range.setAttribute('aria-valuetext', off ? 'off' : `${says.textContent}, ${number.textContent}`);
    range.style.setProperty('--from', '0%');
    range.style.setProperty('--to', `${range.value}%`);
    range.style.setProperty('--goal', plan.targets[0].direction === 'amplify' ? 'var(--tw-high)' : 'var(--tw-low)');
  }

  return function show(next, known) {
    plan = structuredClone(next);
    concepts = known;
    const costs = costsOf(plan, concepts);
    box.hidden = plan.budget === null || !costs;
    if (box.hidden) return;
    most = Math.max(mostOf(costs), 1e-3);
    range.value = Math.round((STEPS * plan.budget) / most);
    say();
  };
}
