// What the page asks for: prompt, plan, seed, length, temperature. The address bar holds it, so that a link restores it.
// way: 'chat', where `prompt` follows the turns of `history` under a `system` message, or 'continue', where it is plain text.

import { addressOf, DRAWN, fieldsOf, leftOut, numbersIn } from '../shared/address.js';
import { kept, packed } from './own.js';

/** The columns that every turn has an answer of; a third, the request in words, may be there. */
export const SIDES = ['unsteered', 'steered'];
const RIVALS = ['request', 'both'];
const KNOWN = ['plan', 'from', 'prompt', 'continue', 'system', 'thinking', 'rival', 'watch', 'begin', ...DRAWN];
const filled = (list) => (list?.length ? JSON.stringify(list) : null);
const number = (value) => typeof value === 'number';
const text = (value) => typeof value === 'string';
const target = (value) => text(value?.concept) && ['amplify', 'remove'].includes(value.direction) && number(value.p0);
/** What the items of a list must be; items that are not are left out. */
const ITEMS = { targets: target, hold: text, watch: text, begin: number };
const SHAPES = {
  targets: (value) => value.length > 0,
  layers: (value) => value === 'auto' || (Array.isArray(value) && value.every(number)),
  method: (value) => ['auto', 'gcav', 'diffmean', 'fixed'].includes(value),
  scope: (value) => ['all', 'answer'].includes(value),
  strength: (value) => value === null || number(value),
  cap: (value) => value === null || number(value),
  budget: (value) => value === null || number(value),
  hold: () => true,
  when: (value) => value === null || (text(value?.concept) && ['above', 'below'].includes(value.side) && number(value.p)),
};

/** The items of a field's list that are of its kind; leave() hears where one is not, or where there is no list. */
function itemsIn(field, value, leave) {
  const items = Array.isArray(value) ? value.filter(ITEMS[field]) : [];
  if (!Array.isArray(value) || items.length < value.length) leave(field);
  return items;
}

/** The plan that a text holds, over `own`; leave(field) hears of what the controls cannot show. Throws where it is no plan at all. */
function planIn(json, own, leave) {
  const given = JSON.parse(json);
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new Error('no plan');
  const asked = { targets: null, ...given };
  if (Array.isArray(asked.targets)) asked.targets = asked.targets.map((each) => ({ concept: each?.concept, direction: 'amplify', p0: 0.99, ...each }));
  const plan = { ...own, budget: null, hold: [], when: null };
  for (const [field, value] of Object.entries(asked)) {
    const shown = Object.hasOwn(ITEMS, field) ? itemsIn(field, value, leave) : value;
    if (Object.hasOwn(SHAPES, field) && SHAPES[field](shown)) plan[field] = shown;
    else leave(field);
  }
  if (plan.targets === own.targets) plan.hold = plan.hold.filter((name) => own.targets.every(({ concept }) => concept !== name));
  if (plan.method === 'fixed' && plan.budget === null) plan.strength ??= 1;
  return plan;
}

/** The turns in a fragment. Throws where they are of no shape that the page shows. */
function historyIn(fragment) {
  const history = JSON.parse(new URLSearchParams(fragment.slice(1)).get('chat') ?? '[]');
  if (!Array.isArray(history) || !history.every((turn) => ['prompt', ...SIDES].every((key) => typeof turn?.[key] === 'string'))) throw new Error('no turns');
  return history;
}

/** The request in the page's address, over the page's own; null where the address says nothing. problem: a sentence that names what
 * cannot be read, where there is something: all else is as it was sent. */
export function fromAddress(own, search = location.search, fragment = location.hash) {
  const query = fieldsOf('steer', search);
  if (!KNOWN.some((field) => query.has(field))) return null;
  const request = structuredClone(own);
  const left = new Set();
  const leave = (field) => left.add(field);
  /** read(value) of a field that the address has; it is left where it throws. */
  const take = (field, value, read) => {
    if (value === null) return;
    try { read(value); } catch { leave(field); }
  };
  take('plan', query.get('plan'), (json) => { request.plan = planIn(json, request.plan, leave); });
  request.way = query.has('continue') ? 'continue' : query.has('prompt') ? 'chat' : own.way;
  request.prompt = query.get('continue') ?? query.get('prompt') ?? own.prompt;
  request.system = query.get('system') ?? '';
  request.thinking = query.has('thinking');
  if (request.way === 'chat') take('history', fragment, (turns) => { request.history = historyIn(turns); });
  Object.assign(request, numbersIn(query, leave));
  if (RIVALS.includes(query.get('rival'))) request.rival = query.get('rival');
  else if (query.has('rival')) leave('rival');
  for (const field of ['watch', 'begin']) take(field, query.get(field), (json) => { request[field] = itemsIn(field, JSON.parse(json), leave); });
  if (query.get('from')) request.from = query.get('from').slice(0, 80);
  if (left.size) request.problem = leftOut([...left]);
  return request;
}

/** The fields of an address that restores a request. */
export function placeOf({ way, prompt, system, history, thinking, plan, ...request }) {
  const asked = way === 'continue' ? { continue: prompt } : { prompt, system, thinking: thinking ? 1 : null };
  const fragment = way === 'chat' && history.length ? `chat=${encodeURIComponent(JSON.stringify(history))}` : '';
  const more = { rival: request.rival, watch: filled(request.watch), begin: filled(request.begin), top_p: request.top_p === 1 ? null : request.top_p };
  return { ...asked, fragment, plan: JSON.stringify(plan), ...Object.fromEntries(DRAWN.map((field) => [field, request[field]])), ...more };
}

/** A request as the server takes it. */
export function asSent({ way, prompt, system, history, thinking, undo: _, from: __, ...request }) {
  return way === 'continue' ? { ...request, continue: prompt } : { ...request, prompt, system, history, thinking };
}

/** The concepts that a request names. */
export const namesOf = ({ plan, watch = [] }) => [...new Set([...plan.targets.map(({ concept }) => concept), ...plan.hold, ...(plan.when ? [plan.when.concept] : []), ...watch])];

/** Takes missing concepts out of a request; `opening` lends its targets where none stay. */
export function without(request, names, opening) {
  const stays = (name) => !names.includes(name);
  const { plan } = request;
  const targets = plan.targets.filter(({ concept }) => stays(concept));
  if (!targets.length) Object.assign(plan, { targets: structuredClone(opening.plan.targets), budget: opening.plan.budget });
  else plan.targets = targets;
  plan.hold = plan.hold.filter((name) => stays(name) && plan.targets.every(({ concept }) => concept !== name));
  if (plan.when && !stays(plan.when.concept)) plan.when = null;
  request.watch = (request.watch ?? []).filter(stays);
}

/** The address that restores a request, and what to say of it: concepts of one's own go along where they are small. */
export async function toAddress(request, shipped) {
  const mine = namesOf(request).filter((name) => !shipped.includes(name));
  const concepts = kept().filter(({ name }) => mine.includes(name));
  const own = concepts.length ? await packed(concepts) : null;
  const names = mine.map((name) => `“${name}”`).join(', ');
  const says = !mine.length ? '' : own && concepts.length === mine.length ? `The link carries the examples of ${names}.`
    : `The link names ${names}, which is too large for a link or not kept here: send its file along.`;
  return { href: addressOf('steer', { ...placeOf(request), own }), says };
}
