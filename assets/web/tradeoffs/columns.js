// What the table of a front shows of a point, and what its CSV adds.
import { h } from '../shared/dom.js';
import { hollow, lambda, short } from './figure.js';
import { mark } from './marks.js';

const number = (value) => short(value);
const share = (value) => `${Math.round(100 * value)} %`;
const interval = (ends) => (ends ? `${short(ends[0])} to ${short(ends[1])}` : '');
/** Titles of what is measured beside the rewards: a short one, what it means, and how it is written. */
export const MEASURES = {
  refusal_safe: ['safe refused', 'safe prompts that are refused: the price of harmlessness', share],
  refusal_unsafe: ['unsafe refused', 'unsafe prompts that are refused', share],
  kl: ['KL', 'distance to the base model, nats an answer', (value) => short(value, 1)],
  toxicity: ['toxic', 'toxicity of answers to unsafe prompts, probability', (value) => short(value, 3)],
  length: ['length', 'tokens an answer', (value) => short(value, 0)],
  repetition: ['repeats', 'three-token sequences that come back', share],
  refusal_safe_alike: ['safe twins refused', 'safe prompts that sound unsafe and are refused', share],
  refusal_unsafe_alike: ['unsafe twins refused', 'unsafe prompts that sound safe and are refused', share],
};

const rewards = (set, objectives) => (set === 'models'
  ? objectives.flatMap((name) => [[name, 'reward, standard deviations', (p) => p[name] ?? null, number], [`${name} 95 %`, null, (p) => interval(p[`${name}_ci`])]])
  : [['helpful', '', (p) => p.x, number], ['helpful 95 %', null, (p) => interval(p.xs)], ['harmless', '', (p) => p.y, number], ['harmless 95 %', null, (p) => interval(p.ys)]]);

/** [title, meaning, value, words] of every column; a meaning of null: only in the file. */
const columnsOf = (set, objectives) => [
  ['policy', 'the model that answers', (p) => p.name],
  [`λ ${objectives[0]}`, `weight of ${objectives[0]} in training`, (p) => p.lambda ?? null, lambda],
  ...rewards(set, objectives),
  ...Object.entries(MEASURES).map(([key, [title, means, words]]) => [title, means, (p) => p[key] ?? null, words]),
  ['steps', 'of training', (p) => p.steps ?? null],
  ['seeds', 'trainings behind the mean', (p) => p.seeds?.length ?? null],
  ['prompts', 'held-out prompts that it answered', (p) => p.prompts ?? null],
  ['comparisons', 'by people', (p) => p.comparisons ?? null],
  ['front', 'whether another point is better on both axes', (p) => (p.dominated ? 'dominated' : 'on it')],
];

/** { table, data }: what stands beside the plot, and the whole of it for a file. */
export function tableOf(points, set, objectives) {
  const all = columnsOf(set, objectives).filter(([, , of]) => points.some((point) => of(point) != null && of(point) !== ''));
  const shown = all.filter(([, means]) => means !== null);
  const cells = (columns) => points.map((point) => columns.map(([, , of]) => of(point)));
  const show = shown.map(([title, , , words = String], column) => (value, i) => {
    if (title === 'policy') return h('span', { class: 'tw-who', title: value }, mark(points[i].method, hollow(points[i])), h('span', {}, value));
    const ends = all.find(([name]) => name === `${shown[column][0]} 95 %`)?.[2](points[i]);
    return ends ? h('span', { title: `95 %: ${ends}` }, words(value)) : words(value);
  });
  return {
    table: { columns: shown.map(([title]) => title), hints: shown.map(([, means]) => means), rows: cells(shown), show, ids: points.map(({ id }) => id) },
    data: { columns: all.map(([title]) => title), rows: cells(all) },
  };
}
