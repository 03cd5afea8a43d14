// The list of models in the head of the page: which are in memory, and what each of the others costs.
import { fieldsOf, open } from './address.js';
import { duration } from './prepare.js';

const WATCHED = 1000;
const AT_REST = 5000;
/** The fields of a tab's address that hold for every model; all of them where none are named. */
const DRAWN = ['seed', 'max_new_tokens', 'temperature', 'top_p', 'thinking'];
const CARRIED = { steer: ['prompt', 'continue', 'system', 'rival', 'watch', ...DRAWN], tradeoffs: ['prompt', ...DRAWN] };

/** 0.6 GB, 140 MB. */
export const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`);

/** What a model takes to be loaded, as measured when it was loaded last. */
export const cost = ({ seconds, bytes }) => [`${duration(Math.max(1, seconds))} to load`, bytes >= 1e6 ? size(bytes) : ''].filter(Boolean).join(', ');

function told({ state, seconds, bytes, elapsed }) {
  if (state === 'loading') return `is being loaded, ${duration(elapsed)} so far`;
  if (state === 'ready') return bytes >= 1e6 ? `in memory, ${size(bytes)}` : 'in memory';
  return seconds == null ? 'not loaded here yet' : cost({ seconds, bytes });
}

/** The address of another model's page with the request at `from`, but for what holds for this model (`name`) alone: which layers are
 * steered and what it costs are. The other page says so. */
export function carried(address, tab, from, name = '') {
  const url = new URL(address);
  const { search } = new URL(from);
  const here = fieldsOf(tab, search);
  url.searchParams.set('tab', tab);
  for (const [name, value] of new URLSearchParams(search)) {
    if (name.startsWith('__') || (here.has(name) && (CARRIED[tab]?.includes(name) ?? true))) url.searchParams.set(name, value);
  }
  if (tab === 'steer' && here.has('plan')) {
    try {
      const { targets, hold = [], when = null, method = 'auto', scope = 'all', strength = null } = JSON.parse(here.get('plan'));
      url.searchParams.set('plan', JSON.stringify({ targets, hold, when, method, scope, strength }));
      if (name) url.searchParams.set('from', name);
    } catch { /* a plan that this page cannot read either */ }
  }
  return url.href;
}

export function followModels(menu) {
  const links = /** @type {HTMLAnchorElement[]} */ ([...menu.querySelectorAll('a')]);
  const addresses = links.map((link) => link.getAttribute('href'));
  const summary = menu.querySelector('summary');
  const own = links.findIndex((link) => link.hasAttribute('aria-current'));
  const says = menu.querySelector('[role="status"]');
  let timer = 0;

  function show(models) {
    models.forEach((model, at) => {
      links[at].dataset.state = model.state;
      links[at].querySelector('small').textContent = told(model);
    });
    const { state, name, seconds, elapsed } = models[own];
    menu.dataset.state = state;
    says.textContent = state === 'ready' ? '' : state === 'loading' ? `${name} is being loaded, ${duration(elapsed)} so far.`
      : `${name} sleeps. The next text wakes it${seconds == null ? '' : `, in about ${duration(Math.max(1, seconds))}`}.`;
    summary.title = says.textContent || 'Choose the model';
    return state === 'ready' && !menu.open ? AT_REST : WATCHED;
  }

  async function look() {
    clearTimeout(timer);
    if (!menu.isConnected) return;
    let pause = AT_REST;
    if (document.visibilityState === 'visible') {
      try {
        pause = show(await (await fetch(new URL('models.json', document.baseURI))).json());
      } catch { /* the server is away: the page says so elsewhere */ }
    }
    timer = setTimeout(look, pause);
  }

  const close = () => { menu.open = false; };
  menu.addEventListener('toggle', () => { if (menu.open) look(); });
  menu.addEventListener('keydown', (event) => { if (event.key === 'Escape' && menu.open) { close(); summary.focus(); } });
  document.addEventListener('pointerdown', (/** @type {any} */ event) => { if (!menu.contains(event.target)) close(); });
  links.forEach((link, at) => {
    const point = () => { link.href = at === own ? location.href : carried(new URL(addresses[at], document.baseURI), open() ?? 'steer', location.href, links[own].querySelector('b').textContent); };
    for (const name of ['pointerdown', 'focus', 'click']) link.addEventListener(name, point);
  });
  links[own].addEventListener('click', (event) => { event.preventDefault(); close(); });
  document.addEventListener('visibilitychange', look);
  look();
}
