// What the page asks for: prompt, plan, seed, length, temperature. The address bar holds it, so that a link restores it.

import { addressOf } from '../shared/address.js';

const FIELDS = ['seed', 'max_new_tokens', 'temperature'];
const number = (value) => typeof value === 'number';
const SHAPES = {
  targets: (value) => Array.isArray(value) && value.length > 0 && value.every(target),
  layers: (value) => value === 'auto' || (Array.isArray(value) && value.every(number)),
  method: (value) => ['auto', 'gcav', 'diffmean', 'fixed'].includes(value),
  scope: (value) => ['all', 'answer'].includes(value),
  strength: (value) => value === null || number(value),
  cap: (value) => value === null || number(value),
  budget: (value) => value === null || number(value),
};

function target(value) {
  return typeof value?.concept === 'string' && ['amplify', 'remove'].includes(value.direction) && number(value.p0);
}

/** The plan that a text holds, over `own`. Throws where a field is not of the shape that the controls show. */
function planIn(text, own) {
  const { targets, ...more } = JSON.parse(text);
  const plan = { ...own, budget: null, ...more, targets: targets.map((each) => ({ direction: 'amplify', p0: 0.99, ...each })) };
  const wrong = Object.keys(SHAPES).find((field) => !SHAPES[field](plan[field]));
  if (wrong) throw new Error(`${wrong} cannot be shown`);
  return plan;
}

/** The request in the page's address, over the page's own; null where the address says nothing. */
export function fromAddress(own, search = location.search) {
  const query = new URLSearchParams(search);
  if (!query.has('plan')) return null;
  const request = structuredClone(own);
  try {
    request.plan = planIn(query.get('plan'), own.plan);
  } catch {
    return { ...request, problem: 'The link holds no readable plan; ask for it again, or start from this one.' };
  }
  request.prompt = query.get('prompt') ?? own.prompt;
  for (const field of FIELDS) {
    const value = Number(query.get(field) ?? own[field]);
    if (Number.isFinite(value)) request[field] = value;
  }
  return request;
}

/** The fields of an address that restores a request. */
export function placeOf({ prompt, plan, ...request }) {
  return { prompt, plan: JSON.stringify(plan), ...Object.fromEntries(FIELDS.map((field) => [field, request[field]])) };
}

/** The address that restores a request. */
export const toAddress = (request) => addressOf('steer', placeOf(request));
