// The page's address says where the visitor is: ?tab=…, and the fields that the tab adds. Reload, back and forward keep the place.

const NAMES = { steer: 'Steer', tradeoffs: 'Trade-offs', compare: 'Compare', about: 'About' };
/** @type {Record<string, Record<string, any>>} */
const places = {};

/** The tab that a query names, also as it is written on the page; a link without a tab that holds a plan is one of the Steer tab. */
export function tabOf(search = location.search) {
  const query = new URLSearchParams(search);
  const named = query.get('tab')?.toLowerCase().replace('-', '');
  if (named in NAMES) return named;
  return query.has('plan') ? 'steer' : null;
}

/** The numbers of a link by which a text is drawn. */
export const DRAWN = ['seed', 'max_new_tokens', 'temperature', 'top_p'];
/** What a person calls the fields of a link. */
const CALLED = { plan: 'the plan', history: 'the earlier turns', max_new_tokens: 'length', top_p: 'top p', when: 'the condition', rival: 'the request in words', watch: 'what is watched', begin: 'the beginning' };

/** The fields of DRAWN that a query has, by name; leave(name) is called for one that is no number. A number out of bounds stays: the
 * server refuses it, and the page says so by its field. */
export function numbersIn(query, leave) {
  const numbers = {};
  for (const name of DRAWN) {
    const text = query.get(name);
    if (text?.trim() && Number.isFinite(Number(text))) numbers[name] = Number(text);
    else if (text !== null) leave(name);
  }
  return numbers;
}

/** A sentence that names the fields of a link that cannot be read; empty where there are none. */
export function leftOut(fields) {
  const names = fields.slice(0, 6).map((field) => (Object.hasOwn(CALLED, field) ? CALLED[field] : field.slice(0, 40)));
  return names.length ? `Left out of the link, since it cannot be read here: ${names.join(', ')}${fields.length > 6 ? ', …' : ''}.` : '';
}

/** The fields of a tab in a query; empty where the query is another tab's. */
export function fieldsOf(tab, search = location.search) {
  return tabOf(search) === tab ? new URLSearchParams(search) : new URLSearchParams();
}

/**
 * The address of a place: the tab and its fields, without those that are null or empty. The `fragment` never reaches the server.
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

/** Takes over fields that a tab's address has already. part: which of the tab's fields these are; the others stay. */
export function know(tab, fields, part = 'request') {
  places[tab] = { ...places[tab], [part]: fields };
}

/** Keeps fields of the address for a part of the page that has not read them yet. */
export function keep(tab, names, part) {
  const query = fieldsOf(tab);
  if (!places[tab]?.[part]) know(tab, Object.fromEntries(names.map((name) => [name, query.get(name)])), part);
}

/** Notes fields of a tab; the address shows them while the tab is open. step: adds an entry to the browser's history. */
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
