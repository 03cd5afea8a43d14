// A concept of one's own: described in a sentence, in two boxes of examples, or as a file; learned on the server, used at once.
import { download, filled, h, meter } from '../shared/dom.js';
import { forget, kept, lines } from './own.js';

const MAX_BYTES = 5_000_000;
const MAX_SENTENCE = 300;
const IDLE = 'Learn it';
const WRITE = 'Write examples';
const example = (text) => text.split('\n').filter((line) => line.trim());

async function read(file) {
  if (file.size > MAX_BYTES) throw new Error(`${file.name} is larger than 5 MB; give fewer or shorter examples.`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (file.name.toLowerCase().endsWith('.gguf')) return { gguf: base64(bytes) };
  try {
    return { lines: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    throw new Error(`${file.name} is not UTF-8 text; save it as JSON Lines, or give a control vector as .gguf.`);
  }
}

function base64(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/** The form in `node`; act.train({ name, positive, negative, lines, gguf }) learns a concept, act.write({ sentence }) has examples
 * written, act.use(own) takes up one that this browser keeps, act.stop() ends either. Returns show(state), which hears the server. */
export function trainer(node, act) {
  let working = '';
  let ofFile = ''; // the name that a file gave
  const sentence = h('input', {
    type: 'text', maxlength: MAX_SENTENCE, placeholder: 'like a weary ship’s captain', 'aria-label': 'What the concept is, in a sentence',
    onkeydown: (event) => { if (event.key === 'Enter') { event.preventDefault(); write(); } },
  });
  const draft = h('button', { type: 'button', class: 'tw-button', onclick: () => (working ? act.stop() : write()) }, WRITE);
  const name = h('input', { type: 'text', maxlength: 60, placeholder: 'seadog', 'aria-label': 'Name of the concept' });
  const boxes = ['Texts that show it', 'Texts that do not'].map((label) => ({
    label, box: h('textarea', { rows: 4, maxlength: 1_000_000, 'aria-label': label, placeholder: 'One example a line, 8 to 300', oninput: count }), number: h('span', { class: 'tw-number' }),
  }));
  const file = h('input', { type: 'file', accept: '.jsonl,.txt,.gguf', hidden: true, onchange: opened });
  const send = h('button', { type: 'button', class: 'tw-button', onclick: () => (working ? act.stop() : submit({})) }, IDLE);
  const note = h('p', { class: 'tw-hint', role: 'status' });
  const bar = meter('Learning');
  bar.hidden = true;
  const mine = h('div', { class: 'tw-mine' });
  node.append(
    mine,
    h('label', { class: 'tw-field' }, h('span', {}, 'In one sentence'), sentence),
    h('div', { class: 'tw-line' }, draft, h('span', { class: 'tw-hint' }, 'The model writes, you correct.')),
    h('label', { class: 'tw-field' }, h('span', {}, 'Name'), name),
    ...boxes.map(({ label, box, number }) => h('label', { class: 'tw-field' }, h('span', { class: 'tw-split' }, label, number), box)),
    h('div', { class: 'tw-line' }, send, h('button', { type: 'button', class: 'tw-quiet', onclick: () => file.click() }, 'Open a file'), file),
    bar, note,
    h('p', { class: 'tw-hint' }, 'A file holds JSON Lines, each {"positive": …, "negative": …}, or a llama.cpp control vector (.gguf). This browser keeps the last 8 concepts.'));

  function drawMine() {
    const quiet = (label, title, onclick) => h('button', { type: 'button', class: 'tw-quiet', title, 'aria-label': title, onclick }, label);
    mine.replaceChildren(...kept().map((own) => h('div', { class: 'tw-line' },
      h('b', {}, own.name),
      quiet('Use', `Learn ${own.name} again and use it`, () => act.use(own)),
      own.gguf ? '' : quiet('Edit', `Edit the examples of ${own.name}`, () => fill(own)),
      own.gguf ? '' : quiet('Export', `Save the examples of ${own.name} as a file`, () => download(`${own.name}.jsonl`, `${lines(own)}\n`)),
      quiet('×', `Forget ${own.name}`, () => { forget(own.name); drawMine(); }))));
  }

  function fill({ name: called = name.value, positive = [], negative = [] }) {
    name.value = called;
    boxes.forEach(({ box }, index) => (box.value = [positive, negative][index].map((text) => text.replaceAll('\n', ' ')).join('\n')));
    count();
    boxes[0].box.focus();
  }

  function count() {
    boxes.forEach(({ box, number }) => (number.textContent = example(box.value).length || ''));
  }

  function problem(text) {
    note.textContent = text;
    note.className = text ? 'tw-problem' : 'tw-hint';
  }

  async function opened() {
    const [chosen] = file.files;
    file.value = '';
    if (!chosen) return;
    try {
      const content = await read(chosen);
      if (!name.value || name.value === ofFile) name.value = ofFile = chosen.name.replace(/\.\w+$/, '').slice(0, 60);
      submit(content);
    } catch (error) {
      problem(error.message);
    }
  }

  function write() {
    problem('');
    working = 'write';
    act.write({ sentence: sentence.value.trim() });
  }

  function submit(content) {
    problem('');
    working = 'train';
    act.train({ name: name.value.trim(), positive: example(boxes[0].box.value), negative: example(boxes[1].box.value), ...content });
  }

  drawMine();

  /** What the server says: { fraction, note, problem, done, drafts }. */
  return function show(state) {
    const busy = state.fraction != null;
    send.textContent = busy && working !== 'write' ? 'Stop' : IDLE;
    draft.textContent = busy && working === 'write' ? 'Stop' : WRITE;
    if (!busy) working = '';
    bar.hidden = !busy;
    filled(bar, state.fraction ?? 0);
    problem(state.problem ?? '');
    if (!state.problem) note.textContent = state.note ?? '';
    if (state.drafts) fill(state.drafts);
    drawMine();
  };
}
