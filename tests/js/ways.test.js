import assert from 'node:assert/strict';
import { test } from 'node:test';
import { called, placeOf } from '../../assets/web/tradeoffs/ways.js';

const KNOWN = {
  trained: [{ id: 'pgapo-0.3', lambda: 0.3 }],
  mixes: { curve: [{ id: 'curve-0.5', lambda: 0.5 }], soup: [] },
  ends: { curve: ['curve-1', 'curve-0'], soup: ['helpful', 'harmless'] },
};

test('a policy has one id on the page, by whatever name a link calls it', () => {
  const names = { 'mix:curve-1+curve-0@0.37': 'curve:0.37', 'curve:0.37': 'curve:0.37', 'curve:0.370': 'curve:0.37', 'curve:0.50': 'curve-0.5', 'mix:curve-1+curve-0@.5': 'curve-0.5', 'mix:helpful+harmless@0.2': 'soup:0.2', 'checkpoint:gapo-2': 'gapo-2', 'curve:0.50*1.8': 'curve:0.5*1.8', 'mix:curve-1+curve-0@.5*1.8': 'curve:0.5*1.8', 'curve:0.5*1': 'curve-0.5', 'mix:curve-1 curve-0@0.5*2': 'curve:0.5*2', 'checkpoint:gapo-2*0.5': 'gapo-2*0.5' };
  for (const [name, id] of Object.entries(names)) assert.equal(called(name, KNOWN), id, name);
  for (const other of ['mix:gapo-2+harmless@0.5', 'curve:2', 'curve:x', 'plan:sports', 'base']) assert.equal(called(other, KNOWN), other);
});

test('the slider stands where a policy is on one of its ways, and nowhere for others', () => {
  assert.deepEqual(placeOf('curve:0.37', KNOWN), ['curve', 0.37, 1]);
  assert.deepEqual(placeOf('curve-0.5', KNOWN), ['curve', 0.5, 1]);
  assert.deepEqual(placeOf('pgapo-0.3', KNOWN), ['trained', 0.3, 1]);
  assert.deepEqual(placeOf('pgapo-0.3*1.5', KNOWN), ['trained', 0.3, 1.5]);
  assert.deepEqual(placeOf('curve:0.5*0', KNOWN), ['curve', 0.5, 0]);
  for (const other of ['linear-0.3', 'linear-0.3*2', 'base', 'curve:2', 'mgda']) assert.equal(placeOf(other, KNOWN), null, other);
  assert.equal(placeOf('soup:0.5', { ...KNOWN, ends: {} }), null, 'no ends, no mix');
});
