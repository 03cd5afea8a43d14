// What is asked: a chat or a text to continue, the newest words, and the system message.
import { choice, fold, thinkingBox } from '../shared/controls.js';
import { h, tell } from '../shared/dom.js';

const TYPING = 500;
const WAYS = [['chat', 'Chat'], ['continue', 'Continue']];
const HINTS = { chat: 'Ask for something', continue: 'Write how the text begins' };

/** The controls { box, input, system, show }: the prompt's section and its field, the fold of the system message, and what draws them from `request`.
 * changed() hears every change of the request, when typing pauses. */
export function promptBox(request, { examples, chats, limits }, changed) {
  const kept = {};
  let typing = null;
  const now = () => { clearTimeout(typing); changed(); };
  const soon = () => { clearTimeout(typing); typing = setTimeout(changed, TYPING); };

  const prompt = h('textarea', {
    rows: 3, 'aria-label': 'Prompt', id: 'tw-prompt', oninput: () => { request.prompt = prompt.value; tellFull(); soon(); },
    onkeydown: (event) => { if (event.key === 'Enter' && !event.shiftKey && request.way === 'chat') { event.preventDefault(); now(); } },
  });
  const ways = choice('How to ask', WAYS, (way) => {
    kept[request.way] = { prompt: request.prompt, history: request.history };
    Object.assign(request, { prompt: examples[way][0], history: [] }, kept[way] && { prompt: kept[way].prompt, history: kept[way].history }, { way });
    show();
    now();
  });
  const tries = h('div', { class: 'tw-tries' });
  const system = h('textarea', {
    rows: 2, maxlength: limits.chat, 'aria-label': 'System message', placeholder: 'You are …',
    oninput: () => { request.system = system.value; soon(); },
  });
  const note = h('p', { class: 'tw-hint' }, chats.system ? '' : `The chat template of ${chats.model} knows no system message: say it in the first prompt.`);
  const systemFold = fold('System message', request.system !== '', chats.system ? system : null, note);
  request.thinking &&= chats.thinking;
  const thinking = thinkingBox(chats.model, chats.thinking, (on) => { request.thinking = on; now(); });
  const hint = h('p', { class: 'tw-hint tw-untemplated' });

  const full = h('p', { class: 'tw-hint tw-untemplated', role: 'status' });
  /** Says that a paste was cut at the bound: the browser cuts it silently. */
  function tellFull() {
    const most = limits[request.way];
    full.textContent = prompt.value.length < most ? '' : `A prompt has ${most.toLocaleString('en')} characters at most: what is beyond them is left out.`;
  }

  const attempt = (text) => h('button', { type: 'button', class: 'tw-quiet', title: text, onclick: () => { request.prompt = prompt.value = text; now(); } }, text);
  const afresh = () => h('button', { type: 'button', class: 'tw-quiet', onclick: () => tell('ask', (asked) => { asked.history = []; asked.prompt = examples.chat[0]; }) }, 'New conversation');

  function show() {
    ways.set(request.way);
    prompt.value = request.prompt;
    prompt.maxLength = limits[request.way];
    prompt.placeholder = HINTS[request.way];
    tellFull();
    system.value = request.system;
    systemFold.hidden = request.way !== 'chat';
    thinking.set(request.thinking);
    thinking.node.hidden = request.way !== 'chat' || !chats.thinking;
    hint.textContent = request.way === 'chat' && !chats.template ? `${chats.model} has no chat template: turns are plain text with a blank line in between.` : '';
    tries.replaceChildren(...(request.history.length ? [`Turn ${request.history.length + 1} of a conversation`, afresh()] : ['Try ', ...examples[request.way].map(attempt)]));
  }

  const box = h('section', { class: 'tw-prompt-box' },
    h('div', { class: 'tw-field' }, h('div', { class: 'tw-split tw-ask' }, h('label', { for: 'tw-prompt' }, 'Prompt'), ways.node), prompt), full, thinking.node, tries, hint);
  return { box, input: prompt, system: systemFold, show };
}
