import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asks, logit, probability, ranges, sigmoid, silence } from '../../assets/web/shared/words.js';

test('a probability has two digits, and more towards its ends', () => {
  const shown = [0.5, 0.98, 0.995, 0.9995, 0.000001].map(probability);
  assert.deepEqual(shown, ['.50', '.98', '.995', '.9995', '.000001']);
});

test('what stands for an answer with nothing to read', () => {
  assert.equal(silence('Well.'), '');
  assert.equal(silence(''), 'The model wrote no text.');
  assert.equal(silence(' \n'), 'The model wrote nothing but spaces and line breaks.');
});

test('logit undoes sigmoid', () => {
  for (const x of [-13, -1, 0, 0.5, 13]) assert.ok(Math.abs(logit(sigmoid(x)) - x) < 1e-6);
});

test('what is asked of one pole is asked of the other the other way round', () => {
  for (const p of [0.001, 0.2, 0.5, 0.7, 0.96, 0.9995]) {
    assert.equal(asks(p, 'remove', 'casual', 'formal'), asks(1 - p, 'amplify', 'formal', 'casual'));
  }
  assert.equal(asks(1e-6, 'amplify', 'casual', 'formal'), 'off');
});

test('layers in a row are told as a range', () => {
  assert.equal(ranges([3]), '3');
  assert.deepEqual(ranges([3, 8, 9, 10, 15]).match(/\d+/g), ['3', '8', '10', '15']);
});
