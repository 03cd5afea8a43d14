// Training on a study's votes: weights of its questions, begun, followed and stopped here. The value: a study with its questions, and the
// state of the training; what a value lacks stays as it was.
import { addressOf } from '../shared/address.js';
import { filled, h, meter } from '../shared/dom.js';
import { duration } from '../shared/prepare.js';
import { follower } from '../shared/sender.js';

const STEPS = [[8, '8 steps, a first try'], [32, '32 steps'], [96, '96 steps']];
const percent = (value) => `${Math.round(100 * value)} %`;

export default function mount({ element, props, trigger, watch }) {
  const root = element.firstElementChild;
  let known = /** @type {any} */ ({});
  let weights = {};
  const follow = follower(() => trigger('look', {}));
  const steps = h('select', {}, STEPS.map(([value, text]) => h('option', { value }, text)));

  const button = (label, act) => h('button', { type: 'button', class: 'tw-button', onclick: act }, label);
  const link = (text, tab, fields) => h('a', { href: addressOf(tab, fields, new URL(location.pathname, location.href).href) }, text);
  const says = (...words) => h('p', { class: 'tw-hint', role: 'status' }, ...words);

  function share(key) {
    const total = Object.values(weights).reduce((sum, value) => sum + value, 0) || 1;
    return percent(weights[key] / total);
  }

  function weigh(questions) {
    const shown = {};
    return questions.map(({ key, text }) => {
      const input = h('input', { type: 'range', min: 0, max: 10, step: 1, value: weights[key], 'aria-label': `Weight of ${text}`, oninput: () => {
        weights[key] = Number(input.value);
        for (const each of Object.keys(shown)) shown[each].textContent = share(each);
      } });
      shown[key] = h('output', {}, share(key));
      return h('label', { class: 'tw-weight' }, h('bdi', {}, text), input, shown[key]);
    });
  }

  function came({ name, checkpoint, accuracy, note, study, study_name: back }) {
    const measured = Object.entries(accuracy).map(([key, { value, low, high }]) => `${key} ${percent(value)} (${percent(low)} to ${percent(high)})`);
    const guesses = Object.keys(accuracy).filter((key) => accuracy[key].low <= 0.5);
    return h('div', { class: 'tw-came', role: 'status' },
      h('p', {}, h('bdi', {}, name), ` is trained. Of battles that they never saw the heads call as people did: ${measured.join(', ')}; 50 % is chance.`),
      guesses.length ? says(`So few votes do not show that ${guesses.join(' and ')} ${guesses.length > 1 ? 'are' : 'is'} learned better than by chance: judge more battles, and train again.`) : '',
      h('p', {}, note || link('See it on the front', 'tradeoffs', { point: checkpoint }), ' · ', link(`Judge “${back}”`, 'compare', { study })));
  }

  function bar() {
    const { of, study, fraction, note, seconds_left: left } = known;
    return [filled(meter('Training'), fraction ?? 0),
      says(of === study ? '' : 'For another study: ', note, left == null ? '' : `, about ${duration(left)} left in all`),
      h('div', {}, button('Stop', () => trigger('stop', {})))];
  }

  function form(ready) {
    const start = () => trigger('start', { weights: Object.fromEntries(ready.map(({ key }) => [key, weights[key]])), steps: Number(steps.value) });
    return [h('div', { class: 'tw-weights' }, weigh(ready), h('label', { class: 'tw-weight' }, h('span', {}, 'Length'), steps)),
      h('div', {}, button('Train', start))];
  }

  function show() {
    const { questions = [], study, running, of, problem, refused, stopped, result } = known;
    const ready = questions.filter(({ lacks }) => !lacks);
    const wrong = refused || (of === study && problem);
    root.hidden = !study;
    root.replaceChildren(
      h('h3', { class: 'tw-title' }, 'Train on these votes'),
      h('p', { class: 'tw-lead' }, 'A reward head learns each question, a checkpoint learns from the heads, and its answers go back to your annotators in a new study.'),
      ...questions.filter(({ lacks }) => lacks).map(({ key, lacks }) => says(`${key}: ${lacks}`)),
      ...(running ? bar() : ready.length ? form(ready) : []),
      stopped && !running ? says('Stopped: nothing came of it.') : '',
      wrong ? h('p', { class: 'tw-error', role: 'alert' }, wrong) : '',
      result ? came(result) : '');
    follow(running);
  }

  function take() {
    const before = known;
    const value = props.value ?? {};
    known = { ...known, refused: '', ...(value.running && { stopped: false }), ...value };
    if (known.study !== before.study) {
      weights = Object.fromEntries((known.questions ?? []).map(({ key }) => [key, 5]));
      known.stopped = false;
    }
    show();
  }

  watch('value', take);
  take();
}
