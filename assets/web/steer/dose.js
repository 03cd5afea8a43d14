// Dose and response: a button, another that sweeps bands of layers beside the chosen ones, and the chart that answers. A click on a
// point takes its p over.
import { chart } from '../shared/plot.js';
import { h, tell } from '../shared/dom.js';

const IDLE = 'Sweep the magnitude';

export default function mount({ element, props, watch }) {
  let working = false;
  const plot = h('div', { class: 'tw-chart' });
  const button = h('button', { type: 'button', class: 'tw-button tw-sweep', onclick: () => tell(...(working ? ['stop', 'sweep'] : ['sweep'])) }, IDLE);
  const bands = h('button', { type: 'button', class: 'tw-quiet', onclick: () => tell('sweep', { bands: true }) }, 'Sweep early, middle and late layers too');
  const meter = h('div', { class: 'tw-meter', hidden: true }, h('div'));
  const problem = h('p', { class: 'tw-problem', role: 'alert' });
  element.firstElementChild.replaceChildren(plot, meter, problem, h('div', { class: 'tw-line tw-sweeps' }, button, bands));
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
    bands.hidden = working;
    meter.hidden = fraction == null;
    meter.firstChild.style.width = `${100 * (fraction ?? 0)}%`;
    problem.textContent = wrong;
    if (drawn) update(drawn);
  }
  show();
  watch('value', show);
}
