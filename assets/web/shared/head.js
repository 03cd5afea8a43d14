// The switch between light and dark; the choice is kept in this browser.
const button = element.querySelector('.tw-theme');
const kept = localStorage.getItem('tw-theme');
const show = () => button.setAttribute('aria-pressed', String(document.body.classList.contains('dark')));
const set = (dark) => {
  document.body.classList.toggle('dark', dark);
  show();
};
button.addEventListener('click', () => {
  const dark = !document.body.classList.contains('dark');
  localStorage.setItem('tw-theme', dark ? 'dark' : 'light');
  set(dark);
});
if (kept && !new URLSearchParams(location.search).has('__theme')) set(kept === 'dark');
show();
import(new URL('tw/shared/address.js', document.baseURI)).then(({ followTabs }) => followTabs());
