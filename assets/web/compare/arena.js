// The battle view: keys, view switches and the events 'vote', 'undo', 'next', 'earlier' and 'look' that Python listens to.
// A part of the page (ui/parts.py) whose value is the battle as HTML; the page knows no more than the two texts.
import { TAB, keep, recall } from '../shared/storage.js';
import { place } from './place.js';

const PATIENCE = 15_000;
const DRAFT = 'draft';

export default function mount({ element, props, trigger, watch }) {
  const views = { rich: false, diff: false };
  let timer = null;
  let waiting = null;
  let moved = false;

  const arena = () => element.querySelector('.tw-arena');
  const stage = () => arena()?.dataset.stage;
  const questions = () => [...element.querySelectorAll('fieldset[data-question]')];
  const answer = (question) => question.querySelector('input:checked')?.value ?? '';
  const focused = () => questions().find((question) => question.contains(document.activeElement));

  function active() {
    return focused() ?? questions().find((question) => !answer(question)) ?? questions().at(-1);
  }

  function mark() {
    const current = active();
    questions().forEach((question) => question.classList.toggle('tw-active', question === current));
    remember();
  }

  const given = () => Object.fromEntries(questions().map((question) => [question.dataset.question, answer(question)]));

  /** Choices that are not committed outlive a reload, such as after a restart of the server. */
  function remember() {
    if (stage() === 'vote') keep(DRAFT, JSON.stringify({ of: [arena().dataset.battle, place.name], answers: given(), comment: element.querySelector('textarea').value }), TAB);
    if (stage() === 'reveal') keep(DRAFT, '', TAB);
  }

  function restore() {
    const draft = JSON.parse(recall(DRAFT, TAB) || '{}');
    if (stage() !== 'vote' || draft.of?.join() !== [arena().dataset.battle, place.name].join()) return;
    for (const question of questions()) {
      const input = question.querySelector(`input[value="${draft.answers[question.dataset.question]}"]`);
      if (input) input.checked = true;
    }
    element.querySelector('textarea').value ||= draft.comment;
    element.querySelector('.tw-comment').open ||= Boolean(draft.comment);
  }

  function choose(question, index) {
    const input = question.querySelectorAll('input')[index];
    input.checked = true;
    const open = questions().find((other) => !answer(other));
    (open?.querySelector('input') ?? input).focus({ preventScroll: true });
    mark();
  }

  function step(question, by) {
    const inputs = [...question.querySelectorAll('input')];
    const now = inputs.findIndex((input) => input.checked);
    const next = now < 0 ? (by < 0 ? 0 : 1) : (now + by + inputs.length) % inputs.length;
    inputs[next].checked = true;
    inputs[next].focus({ preventScroll: true });
    mark();
  }

  function turn(by) {
    const all = questions();
    const next = all[Math.min(Math.max(all.indexOf(active()) + by, 0), all.length - 1)];
    (next.querySelector('input:checked') ?? next.querySelector('input')).focus();
  }

  function show() {
    for (const [view, on] of Object.entries(views)) {
      arena()?.classList.toggle(`tw-${view}-on`, on);
      element.querySelector(`[data-view=${view}]`)?.setAttribute('aria-pressed', String(on));
    }
  }

  function toggle(view) {
    views[view] = !views[view];
    show();
  }

  /** Ignores presses while the server works. If it does not answer, a press may be repeated without harm. */
  function busy() {
    const pressed = [...element.querySelectorAll('.tw-go, .tw-undo')];
    pressed.forEach((button) => (button.disabled = true));
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      pressed.forEach((button) => (button.disabled = false));
      const error = element.querySelector('.tw-error');
      if (error) error.textContent = 'The server does not answer yet, and your choice is still here: press again in a moment.';
    }, PATIENCE);
  }

  function commit() {
    const answers = given();
    if (Object.values(answers).includes('')) {
      element.querySelector('.tw-error').textContent = 'Answer every question first; one that you cannot answer can be skipped.';
      questions().find((question) => !answer(question)).querySelector('input').focus();
      return mark();
    }
    if (element.querySelector('.tw-go').disabled) return;
    busy();
    const comment = element.querySelector('textarea').value;
    moved = true;
    trigger('vote', { battle: arena().dataset.battle, answers, comment, correcting: stage() === 'correct' });
  }

  function next() {
    if (element.querySelector('.tw-go').disabled) return;
    busy();
    moved = true;
    trigger('next', {});
  }

  /** The server says beside an empty field that it wants a name. */
  function practise() {
    const name = /** @type {HTMLTextAreaElement | null} */ (document.querySelector('.tw-signin textarea'));
    if (name?.value.trim() === '') name.focus();
    trigger('practise', {});
  }

  function undo() {
    const button = element.querySelector('.tw-undo');
    if (!button || button.disabled) return;
    busy();
    trigger('undo', { battle: arena().dataset.battle });
  }

  function countdown() {
    clearInterval(timer);
    const button = element.querySelector('.tw-undo');
    if (!button) return;
    const end = Date.now() + 1000 * Number(button.dataset.seconds);
    timer = setInterval(() => {
      const left = Math.ceil((end - Date.now()) / 1000);
      if (left > 0) button.querySelector('.tw-seconds').textContent = `${left} s`;
      else {
        clearInterval(timer);
        button.remove();
      }
    }, 500);
  }

  element.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    if (button.dataset.open || button.dataset.correct) {
      moved = true;
      const { correct, open, page, battle } = button.dataset;
      if (correct) trigger('look', { battle: correct });
      else if (open === 'practise') practise();
      else trigger(open, open === 'earlier' ? { page: Number(page), battle } : {});
    } else if (button.dataset.view) toggle(button.dataset.view);
    else if (button.classList.contains('tw-undo')) undo();
    else if (button.type === 'button' && button.classList.contains('tw-go')) next();
  });
  element.addEventListener('submit', (event) => {
    event.preventDefault();
    commit();
  });
  element.addEventListener('change', mark);
  element.addEventListener('focusin', mark);
  element.addEventListener('input', remember);

  document.addEventListener('keydown', (/** @type {KeyboardEvent & { target: HTMLElement }} */ event) => {
    if (!arena() || element.offsetParent === null) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const writing = event.target.matches('textarea, select, [contenteditable], input:not([type=radio])');
    const elsewhere = !element.contains(event.target) && event.target !== document.body;
    if (event.key === 'Escape' && writing && element.contains(event.target)) return event.target.blur();
    if (writing || elsewhere) return;
    const voting = stage() === 'vote' || stage() === 'correct';
    const key = event.key.toLowerCase();
    /** @type {Record<string, () => void>} */
    const actions = {
      enter: () => (voting ? commit() : next()),
      f: () => toggle('rich'),
      d: () => toggle('diff'),
      u: undo,
      ...(voting && {
        arrowleft: () => step(active(), -1),
        arrowright: () => step(active(), 1),
        arrowup: () => turn(-1),
        arrowdown: () => turn(1),
        c: () => {
          element.querySelector('.tw-comment').open = true;
          element.querySelector('textarea').focus();
        },
      }),
    };
    const digit = '12345'.indexOf(event.key);
    const control = event.target.closest('button, summary');
    if (key === 'enter' && (control || !(voting || stage() === 'reveal'))) return;
    if (voting && digit >= 0) actions.digit = () => choose(active(), digit);
    const act = voting && digit >= 0 ? actions.digit : actions[key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  function drawn() {
    clearTimeout(waiting);
    element.querySelector('.tw-judge').innerHTML = props.value;
    show();
    restore();
    mark();
    countdown();
    const first = element.querySelector('fieldset input') ?? element.querySelector('.tw-go') ?? (moved && element.querySelector('.tw-heading button'));
    if (first) first.focus({ preventScroll: true });
    if (moved && stage() !== 'reveal') element.querySelector('.tw-judge').scrollIntoView({ block: 'start' });
    moved = false;
  }

  watch('value', drawn);
  drawn();
}
