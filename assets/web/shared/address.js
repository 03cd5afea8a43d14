// The page's address says where the visitor is: ?tab=…, and the fields that the tab adds. Reload, back and forward keep the place.

const NAMES = { steer: 'Steer', tradeoffs: 'Trade-offs', compare: 'Compare', about: 'About' };
/** @type {Record<string, Record<string, any>>} */
const places = {};

/** The tab that a query names; a link without a tab that holds a plan is one of the Steer tab. */
export function tabOf(search = location.search) {
  const query = new URLSearchParams(search);
  const named = query.get('tab');
  if (named in NAMES) return named;
  return query.has('plan') ? 'steer' : null;
}

/** The fields of a tab in a query; empty where the query is another tab's. */
export function fieldsOf(tab, search = location.search) {
  return tabOf(search) === tab ? new URLSearchParams(search) : new URLSearchParams();
}

/**
 * The address of a place: the tab and its fields, without those that are null or empty. `fragment` is told to no server.
 * @param {string} tab
 * @param {Record<string, any>} [place]
 */
export function addressOf(tab, { fragment = '', ...fields } = {}, base = location.href) {
  const url = new URL(base);
  url.hash = fragment;
  const kept = [...url.searchParams].filter(([name]) => name.startsWith('__')); // Gradio's own, such as __theme
  url.search = '';
  for (const [name, value] of kept) url.searchParams.set(name, value);
  url.searchParams.set('tab', tab);
  for (const [name, value] of Object.entries(fields)) {
    if (value != null && value !== '') url.searchParams.set(name, value);
  }
  return url.href;
}

const placeOf = (tab) => addressOf(tab, Object.assign({}, ...Object.values(places[tab] ?? {})));

/** Knows fields of a tab that its address has already; part: which fields of the tab these are, the others stay. */
export function know(tab, fields, part = 'request') {
  places[tab] = { ...places[tab], [part]: fields };
}

/** Notes fields of a tab; the address shows them while the tab is open. step: back comes to where it was. */
export function note(tab, fields, step = false, part = 'request') {
  know(tab, fields, part);
  const address = placeOf(tab);
  if (open() !== tab || address === location.href) return;
  if (step) history.pushState(null, '', address);
  else history.replaceState(null, '', address);
}

/** then(fields) hears that back or forward came to a place of this tab. */
export function returned(tab, then) {
  addEventListener('popstate', () => { if (tabOf() === tab) then(fieldsOf(tab)); });
}

const buttons = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll('.tw-tabs > .tab-wrapper button[role="tab"]')]);
const keyOf = (button) => Object.keys(NAMES).find((key) => NAMES[key] === button.textContent.trim());
/** The tab that is open; null before there are tabs. */
export const open = () => {
  const selected = buttons().find((button) => button.getAttribute('aria-selected') === 'true');
  return selected ? keyOf(selected) : null;
};
const show = (tab) => buttons().find((button) => keyOf(button) === tab)?.click();

/** Opens the tab that the address names, and from then on keeps the address true. A click on a tab before that counts too. */
export function followTabs() {
  if (!open()) {
    requestAnimationFrame(followTabs);
    return;
  }
  document.addEventListener('click', (/** @type {MouseEvent & { target: Element }} */ { target, isTrusted }) => {
    const button = target.closest?.('.tw-tabs > .tab-wrapper button[role="tab"]');
    if (button && isTrusted) history.pushState(null, '', placeOf(keyOf(button)));
  });
  addEventListener('popstate', () => show(tabOf() ?? 'steer'));
  if (tabOf()) show(tabOf());
  else if (open() !== 'steer') history.pushState(null, '', placeOf(open()));
}
