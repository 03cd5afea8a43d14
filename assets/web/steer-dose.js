// Dose and response: a button, and the chart that answers. A click on a point takes its p over.
import { chart } from './plot.js';
import { h, tell } from './dom.js';

const IDLE = 'Sweep the magnitude';

export default function mount({ element, props, watch }) {
  let working = false;
  const plot = h('div', { class: 'tw-chart' });
  const button = h('button', { type: 'button', class: 'tw-button tw-sweep', onclick: () => tell(...(working ? ['stop', 'sweep'] : ['sweep'])) }, IDLE);
  const meter = h('div', { class: 'tw-meter', hidden: true }, h('div'));
  const problem = h('p', { class: 'tw-problem', role: 'alert' });
  element.firstElementChild.replaceChildren(plot, meter, problem, button);
  const update = chart(plot, ({ customdata }) => {
    if (customdata == null) return;
    tell('ask', (request) => {
      if (request.plan.method === 'fixed') request.plan.strength = customdata;
      else request.plan.targets[0].p0 = customdata;
    });
  });
  function show() {
    const { fraction = null, problem: wrong = '', chart: drawn } = props.value;
    working = fraction != null;
    button.textContent = working ? 'Stop' : IDLE;
    meter.hidden = fraction == null;
    meter.firstChild.style.width = `${100 * (fraction ?? 0)}%`;
    problem.textContent = wrong;
    if (drawn) update(drawn);
  }
  show();
  watch('value', show);
}
