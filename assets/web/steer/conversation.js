// The conversation round the two columns: earlier turns above, where each column keeps its own answers, and the reply below.
import { h, tell } from '../shared/dom.js';

const TITLES = { unsteered: 'Base model', steered: 'Steered', requested: 'Requested in words' };
const quiet = (label, title, act) => h('button', { type: 'button', class: 'tw-quiet', title, onclick: act }, label);
const plural = (count) => `${count} earlier turn${count === 1 ? '' : 's'}`;

/** Goes back to a turn: its words are the prompt again, and the turns behind it are given up. again: from another seed, where the temperature is above 0. */
function back(index, again) {
  tell('ask', (request) => {
    const { history, prompt, seed } = request;
    request.undo = { history, prompt, seed };
    Object.assign(request, { prompt: history[index].prompt, history: history.slice(0, index) });
    if (again && request.temperature > 0) request.seed = (seed + 1) % 2 ** 32;
  });
}

function edit(index) {
  back(index, false);
  const prompt = /** @type {HTMLTextAreaElement} */ (document.querySelector('#tw-prompt'));
  prompt.focus();
  prompt.select();
}

function turn({ prompt, ...answers }, index, dropped) {
  return h('li', { class: `tw-turn${index < dropped ? ' tw-dropped' : ''}` },
    h('div', { class: 'tw-words' }, h('p', {}, prompt),
      h('div', { class: 'tw-again' }, quiet('Edit', 'Change these words; the turns after them are given up', () => edit(index)),
        quiet('Answer again', 'Answer these words with what is set now; the turns after them are given up', () => back(index, true)))),
    h('div', { class: 'tw-replies' }, Object.keys(TITLES).filter((side) => side in answers).map((side) => h('blockquote', { class: `tw-answer tw-${side}`, 'aria-label': TITLES[side] }, answers[side]))));
}

const WAITS = 'Your reply goes out when both answers are complete.';
const INCOMPLETE = 'The answers are not complete, so nobody can reply to them: run them again, and your reply goes out.';

/** The parts { earlier, reply, show(request), dropped(count), open(answers, phase) }. open: the answers of both columns by name when they
 * are complete, null before, as { unsteered, steered }. A reply that is sent earlier waits for them. */
export function conversation() {
  let answers = null;
  let asked = null;
  let left = 0;
  let unfolded = false;
  let waits = false;
  const fold = h('details', { class: 'tw-fold', ontoggle: () => (unfolded = fold.open) });
  const list = h('ol', { class: 'tw-turns' });
  const note = h('p', { class: 'tw-hint tw-left-out', role: 'status' });
  const newest = h('p', { class: 'tw-newest' });
  const undo = h('p', { class: 'tw-hint tw-given-up' }, 'Later turns were given up. ', quiet('Take them back', '', () => tell('ask', (request) => { Object.assign(request, request.undo); delete request.undo; })));
  const earlier = h('section', { class: 'tw-earlier', 'aria-label': 'Earlier turns', hidden: true }, fold, list, note, undo, newest);

  const words = h('input', { type: 'text', 'aria-label': 'Reply to both', placeholder: 'Reply to both…', autocomplete: 'off', oninput: ready, onkeydown: (event) => { if (event.key === 'Enter') send(); } });
  const button = h('button', { type: 'button', class: 'tw-button', disabled: true, onclick: send }, 'Reply');
  const says = h('p', { class: 'tw-hint', role: 'status' });
  const reply = h('div', { class: 'tw-reply' }, words, button, says);

  function ready() {
    button.disabled = !words.value.trim();
    if (button.disabled) wait(false);
  }

  function wait(on, sentence = '') {
    waits = on;
    says.textContent = sentence;
  }

  function send() {
    if (button.disabled) return;
    if (!answers) return wait(true, WAITS);
    wait(false);
    const prompt = words.value.trim();
    const given = answers;
    words.value = '';
    open(null);
    tell('ask', (request) => {
      delete request.undo;
      request.history = [...request.history, { prompt: request.prompt, ...given }];
      request.prompt = prompt;
    });
    newest.scrollIntoView({ block: 'nearest' });
  }

  function draw() {
    const { history, undo: kept } = asked;
    const turns = history.map((each, index) => turn(each, index, left));
    const folded = turns.slice(0, -1);
    fold.replaceChildren(h('summary', {}, plural(folded.length)), h('ol', { class: 'tw-turns' }, folded));
    fold.open = unfolded;
    fold.hidden = !folded.length;
    list.replaceChildren(...turns.slice(-1));
    note.textContent = left ? `The model’s context has no room for the first ${left === 1 ? 'turn' : `${left} turns`}: ${left === 1 ? 'it was' : 'they were'} left out.` : '';
    newest.textContent = history.length ? asked.prompt : '';
    undo.hidden = !kept;
    earlier.hidden = !history.length && !kept;
    reply.hidden = asked.way !== 'chat';
  }

  function show(request) {
    asked = request;
    left = 0;
    draw();
  }

  function dropped(count) {
    if (count === left) return;
    left = count;
    draw();
  }

  function open(next, phase = 'running') {
    answers = next;
    ready();
    if (waits && answers) send();
    else if (waits) says.textContent = phase === 'stopped' || phase === 'error' ? INCOMPLETE : WAITS;
  }

  return { earlier, reply, show, dropped, open };
}
