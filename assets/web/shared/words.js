// Probabilities in numbers and in words.

export const MAX_LOGIT = Math.log((1 - 1e-6) / 1e-6);
export const sigmoid = (x) => 1 / (1 + Math.exp(-x));
export const logit = (p) => Math.log(p / (1 - p));

/** .98, .9995, .000001: two digits, more towards the ends. */
export function probability(p) {
  const digits = Math.min(6, Math.max(2, Math.ceil(-Math.log10(Math.min(p, 1 - p)) - 1e-9)));
  return p.toFixed(digits).replace(/^0/, '');
}

/** A share of one in percent, as 12 % or 0.3 %. */
export const share = (p) => `${p >= 0.0995 || p === 0 ? Math.round(100 * p) : (100 * p).toFixed(p >= 0.00095 ? 1 : 2)} %`;

/** The words in place of a complete answer without readable text; empty for other answers. */
export const silence = (answer) => (answer === '' ? 'The model wrote no text.' : answer.trim() ? '' : 'The model wrote nothing but spaces and line breaks.');

/** A token's text with visible spaces and line breaks. */
export const visible = (text) => text.replaceAll('\n', '⏎').replace(/^ +| +$/g, (spaces) => '·'.repeat(spaces.length)) || '∅';

/** @type {[number, string][]} */
const DEGREES = [[0.999, 'almost surely'], [0.95, 'very likely'], [0.8, 'likely'], [0.6, 'rather']];

/** "at least very likely formal": what p0 asks for. It is a floor where a concept is amplified and a ceiling where it is removed. At
 * the bound that every text satisfies it is "off". */
export function asks(p, direction, low, high) {
  if (direction === 'remove') return asks(1 - p, 'amplify', high, low);
  if (p <= 1.0001e-6) return 'off';
  const side = Math.max(p, 1 - p);
  const degree = DEGREES.find(([least]) => side >= least - 1e-9);
  if (!degree) return `at least about as ${high} as ${low}`;
  return p >= 0.5 ? `at least ${degree[1]} ${high}` : `at most ${degree[1]} ${low}`;
}

/** 3, 8–12, 15 for a list of layer numbers. */
export function ranges(layers) {
  const parts = [];
  for (const layer of layers) {
    const last = parts.at(-1);
    if (last && last[1] === layer - 1) last[1] = layer;
    else parts.push([layer, layer]);
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(', ');
}
