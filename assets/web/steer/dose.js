// Dose and response: a button, another that sweeps bands of layers beside the chosen ones, a fold that compares methods over several
// prompts, and the chart that answers. A click on a point takes its magnitude over.
import { field, fold } from '../shared/controls.js';
import { chart } from '../shared/plot.js';
import { filled, h, meter, tell } from '../shared/dom.js';

const IDLE = 'Sweep the magnitude';
const METHODS = 'Compare the methods';

export default function mount({ element, props, watch }) {
  let working = false;
  const plot = h('div', { class: 'tw-chart' });
  const button = h('button', { type: 'button', class: 'tw-button tw-sweep', onclick: () => tell(...(working ? ['stop', 'sweep'] : ['sweep'])) }, IDLE);
  const bands = h('button', { type: 'button', class: 'tw-quiet', onclick: () => tell('sweep', { bands: true }) }, 'Sweep early, middle and late layers too');
  const prompts = h('textarea', { rows: 5, value: props.value.prompts.join('\n') });
  const seeds = h('input', { type: 'text', inputmode: 'numeric', value: '0 1' });
  const compare = h('button', { type: 'button', class: 'tw-button', onclick: () => tell('sweep', { methods: {
    prompts: prompts.value.split('\n'), seeds: seeds.value.trim().split(/[\s,;]+/).filter(Boolean).map(Number),
  } }) }, METHODS);
  const several = fold('Methods against cost, over several prompts', false,
    h('p', { class: 'tw-hint' }, 'Steering, a constant push, the paper’s GCAV, the request in words, and both: score against KL for the first concept. Takes about a minute.'),
    field('Prompts, one a line', prompts),
    field('Seeds, with spaces between', seeds),
    compare);
  const bar = meter('Sweep');
  const problem = h('p', { class: 'tw-problem', role: 'alert' });
  element.firstElementChild.replaceChildren(plot, bar, problem, h('div', { class: 'tw-line tw-sweeps' }, button, bands), h('div', { class: 'tw-folds tw-versus' }, several));
  const update = chart(plot, ({ customdata }) => {
    if (customdata == null) return;
    tell('ask', (request) => {
      if (request.plan.budget !== null) request.plan.budget = customdata;
      else if (request.plan.method === 'fixed') request.plan.strength = customdata;
      else request.plan.targets[0].p0 = customdata;
    });
  });
  function show() {
    const { fraction = null, problem: wrong = '', chart: drawn } = props.value;
    working = fraction != null;
    button.textContent = working ? 'Stop' : IDLE;
    bands.hidden = compare.hidden = working;
    bar.hidden = fraction == null;
    filled(bar, fraction ?? 0);
    problem.textContent = wrong;
    if (drawn) update(drawn);
  }
  show();
  watch('value', show);
}
