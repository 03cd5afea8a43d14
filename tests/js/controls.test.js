// What both left columns share, and the rows of tabs that the address follows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHTML } from 'linkedom';

const { window, document } = parseHTML('<!doctype html><html><body></body></html>');
Object.assign(globalThis, { document, CustomEvent: window.CustomEvent, location: new URL('https://example.org/'), addEventListener() {} });
const { seedBox } = await import('../../assets/web/shared/controls.js');
const { tabRow } = await import('../../assets/web/shared/address.js');
const { follower } = await import('../../assets/web/shared/sender.js');

test('a seed stays within its bounds, and a roll of the dice warms a temperature of 0 and says so', () => {
  const heard = [];
  let temperature = 0;
  const box = seedBox(100, { label: 'Seed', roll: 'Roll', same: 'text' }, (seed) => heard.push(seed), (warmth) => {
    const cold = temperature === 0;
    if (cold) temperature = warmth;
    return cold;
  });
  box.set(7);
  assert.equal(box.input.value, '7');
  assert.deepEqual(heard, [], 'what is shown is not asked for');
  for (const [typed, seed] of [['12', 12], ['-3', 0], ['1e9', 100], ['x', 0]]) {
    box.input.value = typed;
    box.input.dispatchEvent(new window.Event('change'));
    assert.equal(heard.at(-1), seed);
  }
  const dice = box.node.querySelector('button');
  const says = box.node.querySelector('p');
  dice.dispatchEvent(new window.Event('click'));
  assert.equal(temperature, 0.7);
  assert.match(says.textContent, /every seed gives the same text/);
  assert.equal(heard.at(-1), Number(box.input.value));
  dice.dispatchEvent(new window.Event('click'));
  assert.equal(says.textContent, '');
});

test('a row of tabs knows which is open, opens others, and hears no click of a script', () => {
  document.body.innerHTML = '<div class="row"><div class="tab-wrapper"><button role="tab" aria-selected="false">One</button><button role="tab" aria-selected="true"> Two </button></div></div>';
  const row = tabRow('.row', { a: 'One', b: 'Two' });
  assert.equal(row.open(), 'b');
  assert.equal(tabRow('.none', { a: 'One' }).open(), null);
  const clicks = [];
  const [first] = document.querySelectorAll('button');
  first.addEventListener('click', () => clicks.push('a'));
  const heard = [];
  row.clicked((key) => heard.push(key));
  row.show('a');
  assert.deepEqual([clicks, heard], [['a'], []]);
});

test('what runs is asked for again and again, by one clock, until it has ended', () => {
  const clocks = [];
  const { setInterval: real, clearInterval: end } = globalThis;
  Object.assign(globalThis, { setInterval: (act) => clocks.push(act), clearInterval: (clock) => { if (clock) clocks.length = 0; } });
  const follow = follower(() => {});
  follow(true);
  follow(true);
  assert.equal(clocks.length, 1);
  follow(false);
  assert.equal(clocks.length, 0);
  follow(true);
  assert.equal(clocks.length, 1);
  Object.assign(globalThis, { setInterval: real, clearInterval: end });
});
