// Scoring another policy, so that it gets its place on the plot: a checkpoint by name, a steered model, a mix.
import { field } from '../shared/controls.js';
import { filled, h, meter } from '../shared/dom.js';
import { page } from '../shared/page.js';

const OPEN = 'The plan that is open in the Steer tab';

/** The forms `checkpoint` and `plan`, start(asked, place) and show(state). How far it is, and what is wrong, stands in the form that asked,
 * or in `place`. answer(id) hears of a point that is ready. */
export function scorer({ plans, steered, scored, most, start, stop, answer, types }) {
  let working = false;
  const many = `Scored on ${scored} held-out prompts: enough to see where it lies, with wide intervals.`;
  const name = h('input', {
    'aria-describedby': 'tw-score-fault', type: 'text', maxlength: 200, placeholder: 'folder, or owner/name on the hub', spellcheck: 'false',
    onkeydown: (event) => { if (event.key === 'Enter') named(); },
  });
  const which = h('select', { 'aria-describedby': 'tw-score-fault' }, (steered ? [OPEN, ...plans] : plans).map((plan) => h('option', { value: plan }, plan)));
  const buttons = [
    h('button', { type: 'button', class: 'tw-button', onclick: named }, 'Add and score'),
    h('button', { type: 'button', class: 'tw-button', onclick: scorePlan }, 'Score and plot'),
  ];
  const files = h('button', { type: 'button', class: 'tw-quiet', onclick: () => taker()?.click() }, 'Upload a zip, or its files');
  const taker = () => document.getElementById('tw-checkpoint'); // Gradio's own button, which is not seen
  document.addEventListener('change', (event) => {
    const taken = /** @type {HTMLInputElement} */ (event.target);
    if (taken.type !== 'file' || !taker()?.parentElement.contains(taken)) return;
    const wrong = unfit([...taken.files]);
    checkpoint.append(progress);
    show(wrong ? { problem: wrong } : { note: 'Uploading.' });
    if (wrong) event.stopImmediatePropagation();
    else uploads.observe(document.body, { childList: true, subtree: true });
  }, true);

  /** Why files are not sent at all; nothing where they are. */
  function unfit(given) {
    const size = given.reduce((sum, file) => sum + file.size, 0);
    const odd = given.find(({ name }) => !types.some((type) => name.toLowerCase().endsWith(type)));
    if (odd) return `${odd.name.slice(0, 80)} is no file of a checkpoint: give a zip of its folder, or its files (${types.slice(1).join(', ')}).`;
    if (size > most) return `The upload has ${size.toLocaleString('en')} bytes: it may have ${most.toLocaleString('en')}. Put the checkpoint on the hub, and give its id.`;
    return '';
  }

  /** Gradio shows a failed upload in a toast and sends no event: this closes the toast and says it in the form. */
  const uploads = new MutationObserver(() => {
    const toast = document.querySelector('.toast-body.error');
    if (!toast) return;
    /** @type {HTMLElement} */ (toast.querySelector('.toast-close'))?.click();
    show({ problem: 'The upload failed: look whether the server can be reached, and choose the file again.' });
  });

  const end = h('button', { type: 'button', class: 'tw-quiet tw-stop', onclick: stop }, 'Stop');
  const bar = meter('Scoring');
  const line = h('div', { class: 'tw-line tw-scoring', hidden: true }, bar, end);
  const note = h('p', { class: 'tw-hint', role: 'status' });
  const problem = h('p', { class: 'tw-problem', role: 'alert', id: 'tw-score-fault' });

  const progress = h('div', { class: 'tw-score' }, line, note, problem);
  const checkpoint = h('div', {}, field('Folder or hub id', name), h('div', { class: 'tw-line' }, buttons[0], files), h('p', { class: 'tw-hint' }, `${many} Only safetensors are read. It lives in this tab only.`));
  const plan = h('div', {}, field('Plan of the Steer tab', which), buttons[1], h('p', { class: 'tw-hint' }, many));

  function named() {
    begin({ checkpoint: name.value.trim() }, checkpoint);
  }

  function scorePlan() {
    plan.append(progress);
    if (which.value !== OPEN) begin({ pick: `plan:${which.value}` }, plan);
    else if (page.asked) begin({ plan: page.asked.plan }, plan);
    else show({ problem: 'No plan is open: look into the Steer tab first, or choose one of the list.' });
  }

  function begin(asked, place) {
    if (working) return;
    place.append(progress);
    show({ fraction: 0, note: 'Waiting for its turn.' });
    start(asked);
  }

  function show({ fraction = null, note: says = '', problem: wrong = '', done = null }) {
    working = fraction != null;
    uploads.disconnect();
    [...buttons, files].forEach((button) => { button.disabled = working; });
    line.hidden = !working;
    filled(bar, fraction ?? 0);
    note.textContent = says;
    problem.textContent = wrong;
    for (const [control, form] of [[name, checkpoint], [which, plan]]) control.setAttribute('aria-invalid', String(Boolean(wrong) && form.contains(problem)));
    if (done) answer(done);
  }

  return { checkpoint, plan, start: begin, show };
}
