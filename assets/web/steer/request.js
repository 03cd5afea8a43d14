// What the page asks for: prompt, plan, seed, length, temperature. The address bar holds it, so that a link restores it.
// way: 'chat', where `prompt` follows the turns of `history` under a `system` message, or 'continue', where it is plain text.

import { addressOf } from '../shared/address.js';
import { kept, packed } from './own.js';

/** The columns that every turn has an answer of; a third, the request in words, may be there. */
export const SIDES = ['unsteered', 'steered'];
const FIELDS = ['seed', 'max_new_tokens', 'temperature'];
const RIVALS = ['request', 'both'];
const listed = (query, name, kind) => {
  try {
    return JSON.parse(query.get(name)).filter((value) => typeof value === kind);
  } catch {
    return [];
  }
};
const filled = (list) => (list?.length ? JSON.stringify(list) : null);
const number = (value) => typeof value === 'number';
const SHAPES = {
  targets: (value) => Array.isArray(value) && value.length > 0 && value.every(target),
  layers: (value) => value === 'auto' || (Array.isArray(value) && value.every(number)),
  method: (value) => ['auto', 'gcav', 'diffmean', 'fixed'].includes(value),
  scope: (value) => ['all', 'answer'].includes(value),
  strength: (value) => value === null || number(value),
  cap: (value) => value === null || number(value),
  budget: (value) => value === null || number(value),
  hold: (value) => Array.isArray(value) && value.every((name) => typeof name === 'string'),
  when: (value) => value == null || (typeof value.concept === 'string' && ['above', 'below'].includes(value.side) && number(value.p)),
};

function target(value) {
  return typeof value?.concept === 'string' && ['amplify', 'remove'].includes(value.direction) && number(value.p0);
}

/** The plan that a text holds, over `own`. Throws where a field is not of the shape that the controls show. */
function planIn(text, own) {
  const { targets, ...more } = JSON.parse(text);
  const plan = { ...own, budget: null, hold: [], when: null, ...more, targets: targets.map((each) => ({ direction: 'amplify', p0: 0.99, ...each })) };
  const wrong = Object.keys(SHAPES).find((field) => !SHAPES[field](plan[field]));
  if (wrong) throw new Error(`${wrong} cannot be shown`);
  return plan;
}

/** The turns in a fragment. Throws where they are of no shape that the page shows. */
function historyIn(fragment) {
  const history = JSON.parse(new URLSearchParams(fragment.slice(1)).get('chat') ?? '[]');
  if (!Array.isArray(history) || !history.every((turn) => ['prompt', ...SIDES].every((key) => typeof turn?.[key] === 'string'))) throw new Error('no turns');
  return history;
}

/** The request in the page's address, over the page's own; null where the address says nothing. */
export function fromAddress(own, search = location.search, fragment = location.hash) {
  const query = new URLSearchParams(search);
  if (!query.has('plan')) return null;
  const request = structuredClone(own);
  try {
    request.plan = planIn(query.get('plan'), own.plan);
  } catch {
    return { ...request, problem: 'The link holds no readable plan; ask for it again, or start from this one.' };
  }
  request.way = query.has('continue') ? 'continue' : query.has('prompt') ? 'chat' : own.way;
  request.prompt = query.get('continue') ?? query.get('prompt') ?? own.prompt;
  request.system = query.get('system') ?? '';
  request.thinking = query.has('thinking');
  try {
    request.history = request.way === 'chat' ? historyIn(fragment) : [];
  } catch {
    return { ...request, history: [], problem: 'The link holds no readable conversation; ask for it again, or go on with its last prompt.' };
  }
  for (const field of FIELDS) {
    const value = Number(query.get(field) ?? own[field]);
    if (Number.isFinite(value)) request[field] = value;
  }
  if (RIVALS.includes(query.get('rival'))) request.rival = query.get('rival');
  if (query.has('watch')) request.watch = listed(query, 'watch', 'string');
  if (query.has('begin')) request.begin = listed(query, 'begin', 'number');
  return request;
}

/** The fields of an address that restores a request. */
export function placeOf({ way, prompt, system, history, thinking, plan, ...request }) {
  const asked = way === 'continue' ? { continue: prompt } : { prompt, system, thinking: thinking ? 1 : null };
  const fragment = way === 'chat' && history.length ? `chat=${encodeURIComponent(JSON.stringify(history))}` : '';
  const more = { rival: request.rival, watch: filled(request.watch), begin: filled(request.begin) };
  return { ...asked, fragment, plan: JSON.stringify(plan), ...Object.fromEntries(FIELDS.map((field) => [field, request[field]])), ...more };
}

/** A request as the server takes it. */
export function asSent({ way, prompt, system, history, thinking, undo: _, ...request }) {
  return way === 'continue' ? { ...request, continue: prompt } : { ...request, prompt, system, history, thinking };
}

/** The concepts that a request names. */
export const namesOf = ({ plan, watch = [] }) => [...new Set([...plan.targets.map(({ concept }) => concept), ...plan.hold, ...(plan.when ? [plan.when.concept] : []), ...watch])];

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
