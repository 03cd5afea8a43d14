// The head of the page: the switch between light and dark, and a way out of another site's frame.
import { followTabs } from './address.js';
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
  const kept = recall('theme');
  set(kept && !new URLSearchParams(location.search).has('__theme') ? kept === 'dark' : isDark());
  out.hidden = window.top === window;
  out.addEventListener('click', () => { out.href = location.href; });
  followTabs();
}
