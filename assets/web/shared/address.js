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

/** A row of tabs inside `parent`, by their keys: { open(), show(key), clicked(then) }. titles: what the tab of each key says. */
export function tabRow(parent, titles) {
  const selector = `${parent} > .tab-wrapper button[role="tab"]`;
  const buttons = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll(selector)]);
  const keyOf = (button) => Object.keys(titles).find((key) => titles[key] === button?.textContent.trim());
  return {
    /** The key of the tab that is open; null before there are tabs. */
    open: () => keyOf(buttons().find((button) => button.getAttribute('aria-selected') === 'true')) ?? null,
    show: (key) => buttons().find((button) => keyOf(button) === key)?.click(),
    /** then(key) hears which tab a person clicks. */
    clicked: (then) => document.addEventListener('click', (/** @type {MouseEvent & { target: Element }} */ { target, isTrusted }) => {
      const key = keyOf(target.closest?.(selector));
      if (key && isTrusted) then(key);
    }),
  };
}

const tabs = tabRow('.tw-tabs', NAMES);
/** The tab that is open; null before there are tabs. */
export const { open } = tabs;

/** Opens the tab that the address names, and from then on keeps the address true. A click on a tab before that counts too. */
export function followTabs() {
  if (!open()) {
    requestAnimationFrame(followTabs);
    return;
  }
  tabs.clicked((tab) => history.pushState(null, '', placeOf(tab)));
  addEventListener('popstate', () => tabs.show(tabOf() ?? 'steer'));
  if (tabOf()) tabs.show(tabOf());
  else if (open() !== 'steer') history.pushState(null, '', placeOf(open()));
}
