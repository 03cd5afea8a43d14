// What the model lacks on a tab, and its preparation: begun, followed and stopped here.
import { filled, h, meter } from './dom.js';
import { follower } from './sender.js';

const LACKS = {
  steer: (model, concepts) => `${model} has no calibrated vectors ${concepts.length ? `of ${list(concepts)} ` : ''}yet. Steering works without them, after a minute a concept, but nobody knows what it costs.`,
  'trade-offs': (model) => `${model} has no trained policies yet, and so no front.`,
};
/** The sentence where no preparation is possible. */
const UNTRAINED = (model) => `${model} has no front: policies are trained of Llama, Mistral and Qwen models alone. PEFT adapters of it can be added below, and its steered versions scored, by the reward heads that tradewind prepare makes.`;
const MAKES = { steer: 'Make vectors and calibrations', 'trade-offs': 'Train policies and score them' };

/** a, b and c. */
function list(words) {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

/** 40 s, 12 min, 3.5 h. */
export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export default function mount({ element, props, trigger, watch }) {
  const root = element.firstElementChild;
  const follow = follower(() => trigger('look', {}));

  function show() {
    const { part, model, command, missing, concepts, makes, allowed, running, fraction, seconds_left: left, note, problem } = props.value;
    root.hidden = !missing && !running;
    const button = (label, name) => h('button', { type: 'button', class: 'tw-button', onclick: () => trigger(name, {}) }, label);
    root.replaceChildren(
      h('p', {}, missing ? (makes ? LACKS[part](model, concepts) : UNTRAINED(model)) : 'All is there for this tab; the rest is being made.'),
      running ? filled(meter('Preparation'), fraction ?? 0) : '',
      h('div', { class: 'tw-line' },
        running ? button('Stop', 'stop') : !makes ? '' : allowed ? button(MAKES[part], 'start') : h('span', { class: 'tw-hint' }, 'Whoever runs this app makes them with ', h('code', {}, command), '.'),
        h('span', { class: 'tw-hint', role: 'status' }, running ? [note, left == null ? '' : `, about ${duration(left)} left in all`].join('')
          : makes && allowed ? 'It tells first how long it takes, and can be stopped: what is done stays done.' : '')),
      problem ? h('p', { class: 'tw-problem', role: 'alert' }, problem) : '');
    follow(running);
  }

  watch('value', show);
  show();
  trigger('look', {});
}
