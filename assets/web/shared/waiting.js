// Stands in for the page of a model that is still being made: shows progress or a problem, then opens the page.
import { h } from './dom.js';
import { cost, size } from './models.js';
import { duration } from './prepare.js';
import { recall } from './storage.js';

const EVERY = 500;
const find = (selector) => /** @type {HTMLElement} */ (document.querySelector(selector));
const [meter, says, again, others] = ['.meter', '[role="status"]', 'button', 'ul'].map(find);
const read = async (name) => (await fetch(new URL(name, location.href), { cache: 'no-store' })).json();

const dark = new URLSearchParams(location.search).get('__theme') ?? recall('theme') ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
document.body.classList.toggle('dark', dark === 'dark');
again.addEventListener('click', () => location.reload());

/** The task under way and the time that it takes, by the last measured time where that is known. */
function progress({ state, note, fraction, elapsed, seconds, bytes }) {
  const last = seconds == null ? '' : ` It took ${duration(Math.max(1, seconds))} last time${bytes >= 1e6 ? `, and ${size(bytes)} of memory` : ''}.`;
  if (state === 'ready') return [1, 'In memory. Its page is being made.'];
  if (state !== 'loading') return [0, `Waiting for its turn.${last}`];
  const share = seconds ? Math.min(0.95, elapsed / seconds) : fraction;
  return [share, `Loading, ${duration(elapsed)} so far${note && fraction > 0 ? `: ${note}` : ''}.${last}`];
}

function tell(share, text, failed = false) {
  /** @type {HTMLElement} */ (meter.firstElementChild).style.width = `${100 * share}%`;
  meter.setAttribute('aria-valuenow', String(Math.round(100 * share)));
  meter.hidden = failed;
  says.classList.toggle('problem', failed);
  if (says.textContent !== text) says.textContent = text;
  again.hidden = !failed;
}

function offer(models, own) {
  others.hidden = false;
  others.replaceChildren(...models.map((model, at) => model.slug !== own && h('li', {},
    h('a', { href: at ? `../${model.slug}/` : '../../' }, model.name),
    h('span', {}, model.state === 'ready' ? 'in memory' : model.seconds == null ? '' : cost(model)))).filter(Boolean));
}

async function look() {
  try {
    const model = await read('opening.json');
    if (model.open) return location.reload();
    if (model.problem) tell(0, model.problem, true);
    else tell(...(model.waits ? [0, `${model.waits} This page tries again by itself.`] : progress(model)));
    offer(await read('../../models.json'), model.slug);
    if (model.problem) return undefined;
  } catch {
    tell(0, 'The server does not answer: this page asks again in a moment.');
  }
  return setTimeout(look, EVERY);
}

const refused = document.body.dataset.problem;
if (refused) {
  tell(0, refused, true);
  again.hidden = true;
  offer(await read('../../models.json'), '');
} else look();
