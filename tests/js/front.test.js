import assert from 'node:assert/strict';
import { test } from 'node:test';
import { next } from '../../assets/web/shared/walker.js';
import { figure, ranked } from '../../assets/web/tradeoffs/figure.js';
import { parallel } from '../../assets/web/tradeoffs/parallel.js';
import { kept, open } from '../../assets/web/tradeoffs/filters.js';
import { smooth, spread } from '../../assets/web/tradeoffs/training.js';

const run = (seed, helpful) => ({ seed, helpful, harmless: 0, kl: null });
const POINTS = [
  { id: 'base', method: 'base', lambda: null, helpful: 0, seeds: [0], cloud: [] },
  { id: 'a', method: 'pgapo', lambda: 0.3, helpful: 2, kl: 5, helpful_ci: [1, 3], seeds: [0, 1], cloud: [run(0, 1), run(1, 3)] },
  { id: 'b', method: 'linear', lambda: 0.7, helpful: 4, seeds: [0], cloud: [] },
];
const ids = (filter) => kept(POINTS, { ...open(), ...filter }).map(({ id }) => id);

test('points are filtered by method, by preference and by seed', () => {
  assert.deepEqual(ids({}), ['base', 'a', 'b']);
  assert.deepEqual(ids({ hidden: new Set(['pgapo']) }), ['base', 'b']);
  assert.deepEqual(ids({ from: 0.3, to: 0.5 }), ['base', 'a'], 'what has no preference stays');
  assert.deepEqual(ids({ seed: '1' }), ['base', 'a'], 'a policy without that training goes');
});

test('a point of one seed has the values of that training, and no interval of the mean', () => {
  const [, point] = kept(POINTS, { ...open(), seed: '1' });
  assert.deepEqual([point.helpful, point.helpful_ci, point.kl, point.id], [3, null, null, 'a']);
});

test('a point is dominated among those that are shown', () => {
  const points = [{ x: 0, y: 0 }, { x: 1, y: 1 }, { x: 1, y: 1 }, { x: 2, y: 1 }];
  const dominated = (shown) => ranked(shown, ['x', 'y']).map((point) => point.dominated);
  assert.deepEqual(dominated(points), [true, true, true, false]);
  assert.deepEqual(dominated(points.slice(0, 3)), [true, false, false], 'equals dominate nobody');
});

test('a point that cannot answer has a hollow mark', () => {
  const shown = [true, false].map((answers, x) => ({ id: `p${x}`, name: 'p', method: 'soup', x, y: -x, answers, dominated: false }));
  const data = { attainment: {}, methods: [], objectives: ['helpful', 'harmless'] };
  const drawn = figure(data, 'people', shown, { picks: [] }).data.find(({ customdata }) => customdata);
  assert.deepEqual([drawn.customdata, drawn.marker.symbol], [['p0', 'p1'], ['cross', 'cross-open']]);
});

test('a line of a point that cannot answer is dotted, its marks are hollow', () => {
  const points = [true, false].map((answers, x) => ({ id: `p${x}`, name: 'p', method: 'soup', answers, lambda: x, helpful: x, harmless: -x }));
  const { data } = parallel(points, ['helpful', 'harmless'], [], { brushed: null, selected: null });
  assert.deepEqual(data.map(({ line, marker }) => [line.dash, marker.symbol]), [['solid', 'cross'], ['dot', 'cross-open']]);
  assert.deepEqual(data.map(({ text }) => text[0].includes('scores alone')), [false, true]);
});

test('arrow keys walk through all points in the order of an axis and stay at its ends', () => {
  const points = [{ x: 3, y: 1 }, { x: 1, y: 2 }, { x: 2, y: 0 }];
  const walk = (axis, way, steps) => { let at = null; return steps.map(() => (at = next(points, at, axis, way))); };
  assert.deepEqual(walk('x', 1, [1, 2, 3, 4]), [1, 2, 0, 0]);
  assert.deepEqual(walk('y', -1, [1, 2, 3, 4]), [1, 0, 2, 2]);
});

test('a running mean leaves out what was not measured', () => {
  assert.deepEqual(smooth([1, null, 3]), [2, 2, 2]);
  assert.deepEqual(smooth([null, null]), [null, null]);
});

test('labels keep their order and their distance', () => {
  const apart = spread([{ y: 0.1 }, { y: 0 }, { y: 5 }], 1).map(({ y }) => y);
  assert.deepEqual(apart, [0, 1, 5]);
});
