// The preference slider's ways: where a policy stands on them, and its name there.

/** The ways of the slider: whose answer it shows. A mix of the two ends that were trained for all preferences at once, the nearest
 * training's, a mix of two trainings. */
export const WAYS = [['curve', 'Continuous'], ['trained', 'Trained'], ['soup', 'Interpolated']];
const LIVE = /^(curve|soup):([\d.]+)$/;
const MIX = /^mix:([^+]+)\+([^@]+)@([\d.]+)$/;
const at = (points, weight) => points?.find(({ lambda }) => Math.abs(lambda - weight) < 1e-9);

/** [a policy's id without its scale, the scale]: 1 where it has none. */
export function scaleOf(id) {
  const [, bare, times] = /^(.+)\*([\d.]+)$/.exec(id) ?? [];
  return bare ? [bare, Number(times)] : [id, 1];
}

/** The id of a policy at a scale; as it was trained it has none. */
export const scaledTo = (id, scale) => (scale === 1 ? id : `${id}*${scale}`);

/** The method and the weight of a live mix, by its short name or by that of its two ends; null for other names. */
function live(id, ends) {
  const short = LIVE.exec(id);
  if (short) return short[1] in ends && Number(short[2]) <= 1 ? [short[1], Number(short[2])] : null;
  const [, first, second, share] = MIX.exec(id) ?? [];
  const method = Object.keys(ends).find((each) => String(ends[each]) === String([first, second]));
  return method && Number(share) <= 1 ? [method, Number(share)] : null;
}

/** The id of a policy on the page, whatever its name elsewhere: `curve-0.5` for curve:0.50, where that place is scored. mixes: the scored
 * points of each method that mixes, { id, lambda }; ends: the two checkpoints of each. */
export function called(id, { mixes, ends }) {
  const [bare, scale] = scaleOf(id.replace(/^checkpoint:/, '').replace(/^(mix:\S+) /, '$1+')); // an address has a space for +
  const [method, weight] = live(bare, ends) ?? [];
  if (!method) return scaledTo(bare, scale);
  return scale === 1 ? at(mixes[method], weight)?.id ?? `${method}:${weight}` : scaledTo(`${method}:${weight}`, scale);
}

/** [way, preference, scale] of a policy that stands on one of the ways; null for others. */
export function placeOf(id, { trained, mixes, ends }) {
  const [bare, scale] = scaleOf(id);
  const scored = [['trained', trained], ...Object.entries(mixes)].map(([way, points]) => [way, points.find((point) => point.id === bare)?.lambda]);
  const place = live(bare, ends) ?? scored.find(([, weight]) => weight != null);
  return place ? [...place, scale] : null;
}
