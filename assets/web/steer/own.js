// Concepts of one's own: kept in this browser, within bounds, and carried by a link where they are small.
import { keep, recall } from '../shared/storage.js';

const MAX_KEPT = 8;
const MAX_CHARACTERS = 1_000_000;
const MAX_LINK = 6_000;

/** @typedef {{ name: string, positive?: string[], negative?: string[], gguf?: string }} Own */

const texts = (value) => Array.isArray(value) && value.every((text) => typeof text === 'string');
const whole = (value) => typeof value?.name === 'string' && (typeof value.gguf === 'string' || (texts(value.positive) && texts(value.negative)));

/** What this browser keeps. @returns {Own[]} */
export function kept() {
  try {
    const list = JSON.parse(recall('concepts') ?? '[]');
    return Array.isArray(list) ? list.filter(whole) : [];
  } catch {
    return [];
  }
}

/** Keeps a concept in place of one of its name; says whether it stays. The oldest goes where there is no room. @param {Own} concept */
export function keepOwn(concept) {
  const list = [...kept().filter(({ name }) => name !== concept.name), concept].slice(-MAX_KEPT);
  while (list.length > 1 && JSON.stringify(list).length > MAX_CHARACTERS) list.shift();
  if (JSON.stringify(list).length > MAX_CHARACTERS) return false;
  keep('concepts', JSON.stringify(list));
  return kept().some(({ name }) => name === concept.name);
}

/** Forgets a concept. */
export const forget = (name) => keep('concepts', JSON.stringify(kept().filter((own) => own.name !== name)));

/** A concept as the JSON Lines that the trainer and the command line read. @param {Own} concept */
export function lines({ positive = [], negative = [] }) {
  const count = Math.max(positive.length, negative.length);
  return [...Array(count).keys()].map((at) => JSON.stringify({ positive: positive[at], negative: negative[at] })).join('\n');
}

const through = async (bytes, stream) => new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

/** Concepts as a text for a link; null where they are too long for one. @param {Own[]} concepts */
export async function packed(concepts) {
  if (concepts.some(({ gguf }) => gguf)) return null;
  const bytes = await through(new TextEncoder().encode(JSON.stringify(concepts)), new CompressionStream('deflate-raw'));
  if (bytes.length > MAX_LINK) return null;
  const text = btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
  return text.length <= MAX_LINK ? text : null;
}

/** The concepts that a link carries; none where it cannot be read. @returns {Promise<Own[]>} */
export async function unpacked(text) {
  try {
    if (!text || text.length > MAX_LINK) return [];
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
    const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
    const parts = [];
    for (let size = 0, part = await reader.read(); !part.done; part = await reader.read()) {
      size += part.value.length;
      if (size > MAX_CHARACTERS) return [];
      parts.push(part.value);
    }
    const list = JSON.parse(await new Blob(parts).text());
    return Array.isArray(list) ? list.filter(whole).slice(0, MAX_KEPT) : [];
  } catch {
    return [];
  }
}
