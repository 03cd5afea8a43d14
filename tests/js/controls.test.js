// What both left columns share, and the rows of tabs that the address follows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHTML } from 'linkedom';

const { window, document } = parseHTML('<!doctype html><html><body></body></html>');
Object.assign(globalThis, { document, CustomEvent: window.CustomEvent, location: new URL('https://example.org/'), addEventListener() {} });
const { drawing, faults } = await import('../../assets/web/shared/controls.js');
const { tabRow } = await import('../../assets/web/shared/address.js');
const { follower } = await import('../../assets/web/shared/sender.js');

test('a seed stays within its bounds, and a roll of the dice warms a temperature of 0 and says so', () => {
  const heard = [];
  const request = { seed: 7, max_new_tokens: 16, temperature: 0, top_p: 0.9 };
  const drawn = drawing({ seed: 100, tokens: 64, temperature: 2 }, { label: 'Seed', roll: 'Roll', same: 'text' }, request, () => heard.push({ ...request }));
  drawn.show();
  assert.equal(drawn.inputs.seed.value, '7');
  assert.match(drawn.topP.node.textContent, /no effect at temperature 0/);
  assert.deepEqual(heard, [], 'what is shown is not asked for');
  for (const [typed, seed] of [['12', 12], ['-3', 0], ['1e9', 100], ['x', 0]]) {
    drawn.inputs.seed.value = typed;
    drawn.inputs.seed.dispatchEvent(new window.Event('change'));
    assert.deepEqual(heard.at(-1), { ...request, seed, temperature: 0 });
  }
  const dice = drawn.seed.node.querySelector('button');
  const says = drawn.seed.node.querySelector('p');
  dice.dispatchEvent(new window.Event('click'));
  assert.equal(request.temperature, 0.7);
  assert.equal(drawn.inputs.temperature.value, '0.7');
  assert.match(drawn.topP.node.textContent, /0.90, the likeliest/);
  assert.match(says.textContent, /every seed gives the same text/);
  assert.equal(heard.at(-1).seed, Number(drawn.inputs.seed.value));
  dice.dispatchEvent(new window.Event('click'));
  assert.equal(says.textContent, '');
});

test('a sentence by a control calls it as the page does', () => {
  const request = { seed: 7, max_new_tokens: 16, temperature: 0, top_p: 0.9 };
  const drawn = drawing({ seed: 100, tokens: 64, temperature: 2 }, { label: 'Seed', roll: 'Roll', same: 'text' }, request, () => {});
  const column = document.createElement('div');
  column.append(drawn.length.node);
  const told = faults(drawn.inputs);
  told({ problem: 'max_new_tokens is -5: give a number from 1 to 512.', field: 'max_new_tokens' });
  assert.match(column.textContent, /Length is -5: give a number from 1 to 512\./);
  told();
  assert.equal(drawn.inputs.max_new_tokens.getAttribute('aria-invalid'), null);
});

test('what a slider of drawing is moved to is asked for', () => {
  let asked = 0;
  const request = { seed: 7, max_new_tokens: 16, temperature: 0.5, top_p: 1 };
  const drawn = drawing({ seed: 100, tokens: 64, temperature: 2 }, { label: 'Seed', roll: 'Roll', same: 'text' }, request, () => { asked += 1; });
  for (const [name, to] of [['max_new_tokens', 32], ['temperature', 0], ['top_p', 0.5]]) {
    drawn.inputs[name].value = String(to);
    drawn.inputs[name].dispatchEvent(new window.Event('input'));
    assert.equal(request[name], to);
  }
  assert.equal(asked, 3);
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
