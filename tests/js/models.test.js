// The list of models in the head: what each costs, which is in memory, and what a change of the model takes along.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHTML } from 'linkedom';

const { window, document } = parseHTML('<!doctype html><html><body></body></html>');
Object.defineProperty(document, 'visibilityState', { value: 'visible' });
Object.defineProperty(document, 'baseURI', { get: () => globalThis.location.href });
const timers = [];
Object.assign(globalThis, {
  document, CustomEvent: window.CustomEvent, location: new URL('https://example.org/'), addEventListener() {},
  setTimeout: (_work, pause) => timers.push(pause), clearTimeout() {},
});
const { cost, followModels, size } = await import('../../assets/web/shared/models.js');
const { asSent, fromAddress, placeOf } = await import('../../assets/web/steer/request.js');

const READY = { name: 'first', state: 'ready', seconds: 0.4, bytes: 6e8, elapsed: null };
const ASLEEP = { name: 'second', state: 'asleep', seconds: 12, bytes: 2.13e9, elapsed: null };

/** The head's list as Python writes it, on a page at `address`, once the server has told of the models. */
async function menu(models, { here = 0, address = 'https://example.org/', tab = 'Steer' } = {}) {
  globalThis.location = new URL(address);
  globalThis.fetch = async (url) => {
    assert.match(new URL(url).pathname, /\/models\.json$/);
    return { json: async () => models };
  };
  const items = models.map(({ name }, at) => `<li><a href="./models/${name}/"${at === here ? ' aria-current="page"' : ''}><b>${name}</b><small></small></a></li>`);
  document.body.innerHTML = `<div class="tw-tabs"><div class="tab-wrapper"><button role="tab" aria-selected="true">${tab}</button></div></div>
    <details><summary></summary><ul>${items.join('')}</ul><p role="status"></p></details>`;
  const list = document.querySelector('details');
  timers.length = 0;
  followModels(list);
  await new Promise((done) => { setImmediate(done); });
  const links = [...list.querySelectorAll('a')];
  const pressed = (at) => { links[at].dispatchEvent(new window.Event('pointerdown', { bubbles: true })); return new URL(links[at].getAttribute('href')); };
  return { list, pressed, notes: links.map((link) => link.querySelector('small').textContent), says: list.querySelector('[role=status]').textContent };
}

test('sizes and costs are told in few digits, a cost of no measured memory without it', () => {
  assert.deepEqual([1.4e8, 9.994e8, 1e9, 2.13e9].map(size), ['140 MB', '999 MB', '1.0 GB', '2.1 GB']);
  assert.equal(cost({ seconds: 0.2, bytes: 2e9 }), '1 s to load, 2.0 GB');
  assert.equal(cost({ seconds: 120, bytes: 0 }), '2 min to load');
});

test('each model says whether it is in memory, and else what it takes', async () => {
  const loading = { ...ASLEEP, name: 'third', state: 'loading', elapsed: 7.2 };
  const unknown = { name: 'fourth', state: 'asleep', seconds: null, bytes: null, elapsed: null };
  const { notes, says, list } = await menu([READY, ASLEEP, loading, unknown]);
  assert.deepEqual(notes, ['in memory, 600 MB', '12 s to load, 2.1 GB', 'is being loaded, 7 s so far', 'not loaded here yet']);
  assert.equal(says, '');
  assert.equal(list.dataset.state, 'ready');
});

test('a page whose model sleeps says what wakes it, and is looked at more often than one at rest', async () => {
  await menu([READY, ASLEEP]);
  const [atRest] = timers;
  const { says } = await menu([READY, ASLEEP], { here: 1 });
  assert.match(says, /^second sleeps\. The next text wakes it, in about 12 s\.$/);
  assert.ok(timers[0] < atRest);
  const { says: untold } = await menu([READY, { ...ASLEEP, seconds: null }], { here: 1 });
  assert.match(untold, /^second sleeps\. The next text wakes it\.$/);
});

test('what is asked goes along to another model, what is this model’s own stays', async () => {
  const plan = { targets: [{ concept: 'sports', direction: 'amplify' }], hold: ['formality'], when: null, layers: [3], method: 'auto', budget: 0.1 };
  const query = new URLSearchParams({ tab: 'steer', prompt: 'Tell me & me', seed: '3', plan: JSON.stringify(plan), begin: '1,2', __theme: 'dark' });
  const { pressed } = await menu([READY, ASLEEP], { address: `https://example.org/?${query}` });
  const { pathname, searchParams } = pressed(1);
  assert.equal(pathname, '/models/second/');
  assert.deepEqual([searchParams.get('prompt'), searchParams.get('seed'), searchParams.get('__theme')], ['Tell me & me', '3', 'dark']);
  assert.deepEqual(JSON.parse(searchParams.get('plan')), { targets: plan.targets, hold: plan.hold, when: null, method: 'auto', scope: 'all', strength: null });
  assert.equal(searchParams.get('begin'), null);
  const own = { way: 'chat', prompt: '', system: '', plan };
  const asked = fromAddress(own, `?${searchParams}`, '');
  assert.equal(asked.from, 'first', 'the other page says where it was taken over from');
  assert.equal(asSent(asked).from, undefined);
  assert.equal(placeOf({ ...asked, history: [] }).from, undefined, 'and says it once');
});

test('the tab stays, and a point of this model’s front is left here', async () => {
  const { pressed } = await menu([READY, ASLEEP], { tab: 'Trade-offs', address: 'https://example.org/?tab=tradeoffs&prompt=Hi&point=gapo' });
  assert.equal(pressed(1).search, '?tab=tradeoffs&prompt=Hi');
});

test('a plan that cannot be read goes nowhere, and the rest goes along', async () => {
  const { pressed } = await menu([READY, ASLEEP], { address: 'https://example.org/?tab=steer&prompt=Hi&plan=%7B' });
  assert.equal(pressed(1).search, '?tab=steer&prompt=Hi');
});

test('the model that is shown leads to where one is, and Escape closes the list', async () => {
  const { pressed, list } = await menu([READY, ASLEEP], { address: 'https://example.org/?tab=about' });
  assert.equal(pressed(0).href, 'https://example.org/?tab=about');
  list.open = true;
  list.dispatchEvent(Object.assign(new window.Event('keydown'), { key: 'Escape' }));
  assert.equal(list.open, false);
});
