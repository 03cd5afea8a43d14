// Probabilities in numbers and in words.

export const MOST_LOGIT = Math.log((1 - 1e-6) / 1e-6);
export const sigmoid = (x) => 1 / (1 + Math.exp(-x));
export const logit = (p) => Math.log(p / (1 - p));

/** .98, .9995, .000001: two digits, more towards the ends. */
export function probability(p) {
  const digits = Math.min(6, Math.max(2, Math.ceil(-Math.log10(Math.min(p, 1 - p)) - 1e-9)));
  return p.toFixed(digits).replace(/^0/, '');
}

const DEGREES = [[0.999, 'almost surely'], [0.95, 'very likely'], [0.8, 'likely'], [0.6, 'rather']];

/** "very likely formal": what a probability of the upper pole means. */
export function words(p, low, high) {
  const [side, pole] = p >= 0.5 ? [p, high] : [1 - p, low];
  const degree = DEGREES.find(([least]) => side >= least - 1e-9);
  return degree ? `${degree[1]} ${pole}` : `between ${low} and ${high}`;
}

/** 3, 8–12, 15 for a list of block numbers. */
export function ranges(layers) {
  const parts = [];
  for (const layer of layers) {
    const last = parts.at(-1);
    if (last && last[1] === layer - 1) last[1] = layer;
    else parts.push([layer, layer]);
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(', ');
}
