// The preference slider's ways: where a policy stands on them, and its name there.

/** The ways of the slider: whose answer it shows. A mix of the two ends that were trained for all preferences at once, the nearest
 * training's, a mix of two trainings. */
export const WAYS = [['curve', 'Continuous'], ['trained', 'Trained'], ['soup', 'Interpolated']];
const LIVE = /^(curve|soup):([\d.]+)$/;
const MIX = /^mix:([^+]+)\+([^@]+)@([\d.]+)$/;
const at = (points, weight) => points?.find(({ lambda }) => Math.abs(lambda - weight) < 1e-9);

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
  const [method, weight] = live(id.replace(/^checkpoint:/, ''), ends) ?? [];
  return method ? at(mixes[method], weight)?.id ?? `${method}:${weight}` : id.replace(/^checkpoint:/, '');
}

/** [way, preference] of a policy that stands on one of the ways; null for others. */
export function placeOf(id, { trained, mixes, ends }) {
  const scored = [['trained', trained], ...Object.entries(mixes)].map(([way, points]) => [way, points.find((point) => point.id === id)?.lambda]);
  return live(id, ends) ?? scored.find(([, weight]) => weight != null) ?? null;
}
