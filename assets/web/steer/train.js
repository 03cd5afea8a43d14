// A concept of one's own: two boxes of examples, or a file; trained on the server, used at once.
import { h } from '../shared/dom.js';

const MAX_BYTES = 5_000_000;
const IDLE = 'Learn it';
const example = (text) => text.split('\n').filter((line) => line.trim());

async function read(file) {
  if (file.size > MAX_BYTES) throw new Error(`${file.name} is larger than 5 MB; give fewer or shorter examples.`);
  const text = new TextDecoder('utf-8', { fatal: true });
  try {
    return text.decode(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} is not UTF-8 text; save it as JSON Lines or as plain lines.`);
  }
}

/** The form in `node`; train({ name, positive, negative, lines }) sends it, stop() ends it. */
export function trainer(node, train, stop) {
  let working = false;
  const name = h('input', { type: 'text', maxlength: 60, placeholder: 'pirate', 'aria-label': 'Name of the concept' });
  const boxes = ['Texts that show it', 'Texts that do not'].map((label) => ({
    label, box: h('textarea', { rows: 4, maxlength: 1_000_000, 'aria-label': label, placeholder: 'One example a line, 8 to 300', oninput: count }), number: h('span', { class: 'tw-number' }),
  }));
  const file = h('input', { type: 'file', accept: '.jsonl,.txt', hidden: true, onchange: opened });
  const send = h('button', { type: 'button', class: 'tw-button', onclick: () => (working ? stop() : submit('')) }, IDLE);
  const note = h('p', { class: 'tw-hint', role: 'status' });
  const meter = h('div', { class: 'tw-meter', hidden: true }, h('div'));
  node.append(
    h('label', { class: 'tw-field' }, h('span', {}, 'Name'), name),
    ...boxes.map(({ label, box, number }) => h('label', { class: 'tw-field' }, h('span', { class: 'tw-split' }, label, number), box)),
    h('div', { class: 'tw-line' }, send, h('button', { type: 'button', class: 'tw-quiet', onclick: () => file.click() }, 'Open a file'), file),
    meter, note,
    h('p', { class: 'tw-hint' }, 'A file holds JSON Lines, each {"positive": …, "negative": …}. The concept lives in this tab only.'));

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
      const lines = await read(chosen);
      name.value ||= chosen.name.replace(/\.\w+$/, '').slice(0, 60);
      submit(lines);
    } catch (error) {
      problem(error.message);
    }
  }

  function submit(lines) {
    problem('');
    train({ name: name.value.trim(), lines, positive: example(boxes[0].box.value), negative: example(boxes[1].box.value) });
  }

  /** What the server says: { fraction, note, problem, done }. */
  return function show(state) {
    working = state.fraction != null;
    send.textContent = working ? 'Stop' : IDLE;
    meter.hidden = state.fraction == null;
    meter.firstChild.style.width = `${100 * (state.fraction ?? 0)}%`;
    problem(state.problem ?? '');
    if (!state.problem) note.textContent = state.note ?? '';
  };
}
