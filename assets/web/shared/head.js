// The head of the page: the switch between light and dark, a link to what is seen, and a way out of another site's frame.
import { followTabs, open, tabOf } from './address.js';
import { copy, h } from './dom.js';
import { followModels } from './models.js';
import { keep, recall } from './storage.js';

export default function mount({ element }) {
  const button = element.querySelector('.tw-theme');
  const out = element.querySelector('.tw-out');
  const isDark = () => document.body.classList.contains('dark');

  function set(dark) {
    document.body.classList.toggle('dark', dark);
    button.setAttribute('aria-pressed', String(isDark()));
  }

  button.addEventListener('click', () => {
    set(!isDark());
    keep('theme', isDark() ? 'dark' : 'light');
  });
  button.disabled = false; // what is pressed before somebody listens would do nothing
  const kept = recall('theme');
  set(kept && !new URLSearchParams(location.search).has('__theme') ? kept === 'dark' : isDark());
  out.hidden = window.top === window;
  out.addEventListener('click', () => { out.href = location.href; });
  const menu = element.querySelector('.tw-models');
  if (menu) followModels(menu);
  const link = element.querySelector('.tw-link');
  link?.addEventListener('click', () => copy(link, location.href));

  /** Steer and Trade-offs have a link of their own, to the request that their texts answer. */
  function turned() {
    if (link) link.hidden = ['steer', 'tradeoffs', null].includes(open());
  }
  const wanted = new URLSearchParams(location.search).get('tab');
  if (wanted !== null && tabOf() === null) {
    element.append(h('p', { class: 'tw-problem tw-astray', role: 'alert' }, `The address asks for the tab “${wanted.slice(0, 40)}”: there are steer, tradeoffs, compare and about.`));
  }
  followTabs();
  new MutationObserver(() => requestAnimationFrame(turned)).observe(document.querySelector('.gradio-container'), { subtree: true, attributeFilter: ['aria-selected'] });
}
