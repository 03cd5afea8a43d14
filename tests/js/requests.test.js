import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf, fieldsOf, tabOf } from '../../assets/web/shared/address.js';
import { EVENTS, eventName } from '../../assets/web/shared/events.js';
import { carried } from '../../assets/web/shared/models.js';
import { lastWins } from '../../assets/web/shared/sender.js';
import { keep, recall } from '../../assets/web/shared/storage.js';
import { forget, keepOwn, kept, lines, packed, unpacked } from '../../assets/web/steer/own.js';
import { asSent, fromAddress, namesOf, placeOf } from '../../assets/web/steer/request.js';

const plan = { targets: [{ concept: 'sports', direction: 'amplify', p0: 0.98 }], layers: 'auto', method: 'gcav', strength: null, scope: 'all', cap: null, budget: null, hold: [], when: null };
const own = { way: 'chat', prompt: 'Hello', system: '', history: [], thinking: false, plan, seed: 7, max_new_tokens: 64, temperature: 0, top_p: 1 };

test('of requests that come too fast the newest is sent, and only when the one before is shown', () => {
  const sent = [];
  const sender = lastWins((request) => sent.push(request), 10_000);
  for (const request of [1, 2, 3]) sender.push(request);
  assert.deepEqual(sent, [1]);
  sender.shown();
  assert.deepEqual(sent, [1, 3]);
  sender.shown();
  sender.shown();
  assert.deepEqual(sent, [1, 3]);
});

test('a request that shows nothing is waited for no longer than patience', async () => {
  const sent = [];
  const sender = lastWins((request) => sent.push(request), 5);
  sender.push('slow');
  sender.push('next');
  await new Promise((done) => setTimeout(done, 40));
  assert.deepEqual(sent, ['slow', 'next']);
});

test('an address brings its request back', () => {
  const asked = { ...own, prompt: 'a & b = ü?', seed: 4_294_967_295, temperature: 0.75, top_p: 0.9, plan: { ...plan, layers: [3, 4], cap: 0.5 } };
  const { search } = new URL(addressOf('steer', placeOf(asked), 'http://lab.example/x/?__theme=dark&old=1'));
  const back = fromAddress(own, search, '');
  assert.deepEqual(back, asked);
  assert.equal(new URL(addressOf('steer', placeOf(back), 'http://lab.example/x/?__theme=dark')).search, search);
  assert.equal(tabOf(search), 'steer');
  assert.equal(fieldsOf('compare', search).size, 0);
});

test("a tab is named in the address as on the page, too", () => {
  for (const name of ['tradeoffs', 'trade-offs', 'Trade-offs']) assert.equal(tabOf(`?tab=${name}`), 'tradeoffs');
  assert.equal(tabOf('?tab=trade'), null);
});

test('an address brings a conversation and a text to continue back, and tells no server what was said before', () => {
  const turn = { prompt: 'a#b & c', unsteered: '½ %', steered: '"quoted"\n' };
  for (const asked of [{ ...own, system: 'Be kind.', history: [turn, turn], thinking: true }, { ...own, way: 'continue', prompt: 'Once # upon' }]) {
    const { search, hash } = new URL(addressOf('steer', placeOf(asked), 'http://lab.example/?old=1#old'));
    assert.deepEqual(fromAddress(own, search, hash), asked);
    assert.ok(!search.includes('quoted'));
  }
});

test('a broken conversation in a link is left out and named', () => {
  const { search } = new URL(addressOf('steer', placeOf(own), 'http://lab.example/'));
  for (const broken of ['{', '7', '[{"prompt": "a"}]', '[null]']) {
    const request = fromAddress(own, search, `#chat=${encodeURIComponent(broken)}`);
    assert.deepEqual(request.history, [], broken);
    assert.match(request.problem, /^Left out of the link[^.]*: the earlier turns\.$/);
    assert.equal(request.prompt, own.prompt);
  }
});

test('the server hears one way to ask', () => {
  assert.deepEqual(asSent({ ...own, way: 'continue' }), { continue: 'Hello', plan, seed: 7, max_new_tokens: 64, temperature: 0, top_p: 1 });
  assert.deepEqual(asSent({ ...own, undo: { history: [] } }), { prompt: 'Hello', system: '', history: [], thinking: false, plan, seed: 7, max_new_tokens: 64, temperature: 0, top_p: 1 });
});

test('a link whose plan cannot be read keeps the own plan, and all else that it says', () => {
  for (const broken of ['{', '[]', '7', 'null', '"plan"', '']) {
    const request = fromAddress(own, `?tab=steer&prompt=Why%3F&seed=3&plan=${encodeURIComponent(broken)}`, '');
    assert.deepEqual(request, { ...own, prompt: 'Why?', seed: 3, problem: 'Left out of the link, since it cannot be read here: the plan.' }, broken);
  }
});

test('what cannot be read is left out alone, and named in one sentence', () => {
  const link = (more, fields = '') => fromAddress(own, `?prompt=Why%3F&plan=${encodeURIComponent(JSON.stringify({ ...plan, ...more }))}${fields}`, '');
  const says = (names) => `Left out of the link, since it cannot be read here: ${names}.`;
  const cases = [
    [{ hold: 7 }, '', {}, 'hold'], [{ hold: ['film', 3] }, '', { hold: ['film'] }, 'hold'], [{ hold: null }, '', {}, 'hold'], [{ hold: { a: 1 } }, '', {}, 'hold'],
    [{ when: 'film' }, '', {}, 'the condition'], [{ layers: 'all' }, '', {}, 'layers'], [{ cap: 'none' }, '', {}, 'cap'], [{ scope: 'some' }, '', {}, 'scope'],
    [{ method: 'fixed', strength: 'much' }, '', { method: 'fixed', strength: 1 }, 'strength'], [{ constructor: 1 }, '', {}, 'constructor'],
    [{ targets: [{ concept: 'film' }, { concept: 3 }] }, '', { targets: [{ concept: 'film', direction: 'amplify', p0: 0.99 }] }, 'targets'],
    [{ targets: [{ concept: 'film', p0: 'high' }] }, '', {}, 'targets'], [{ targets: [] }, '', {}, 'targets'], [{ layers: null }, '', {}, 'layers'], [{ layers: [{}] }, '', {}, 'layers'],
    [{ method: [] }, '', {}, 'method'], [{ scope: null }, '', {}, 'scope'], [{ cap: {} }, '', {}, 'cap'], [{ strength: '1' }, '', {}, 'strength'],
    [{ targets: [], hold: ['sports', 'film'] }, '', { hold: ['film'] }, 'targets'], [{ targets: 'film' }, '', {}, 'targets'], [{ targets: [null] }, '', {}, 'targets'],
    [{ colour: 1, hold: 1 }, '&seed=many&temperature=', {}, 'hold, colour, seed, temperature'],
    [{}, '&watch=%7B&begin=[1,"a"]&rival=me', { }, 'the request in words, what is watched, the beginning'],
  ];
  for (const [broken, fields, kept, names] of cases) {
    const { begin: _, ...request } = link(broken, fields);
    assert.deepEqual(request, { ...own, prompt: 'Why?', plan: { ...plan, ...kept }, problem: says(names) }, names);
  }
  assert.deepEqual(link({}, '&begin=[1,"a"]').begin, [1]);
});

test('a link may say as little as a prompt, and only of its own tab', () => {
  assert.deepEqual(fromAddress(own, '?tab=steer&prompt=Why%3F', ''), { ...own, prompt: 'Why?' });
  assert.deepEqual(fromAddress(own, '?tab=steer&seed=3', ''), { ...own, seed: 3 });
  assert.equal(fromAddress(own, '?tab=steer', ''), null);
  assert.equal(fromAddress(own, '?tab=tradeoffs&prompt=Why%3F&seed=3', ''), null);
});

test('another model is asked the same, but for what is this model’s own', () => {
  const asked = { ...own, temperature: 0.7, top_p: 0.8, thinking: true, rival: 'both', watch: ['film'], plan: { ...plan, layers: [3, 4], method: 'fixed', scope: 'answer', budget: 0.3, cap: 0.5, hold: ['formality'] } };
  const from = addressOf('steer', placeOf(asked), 'http://lab.example/?__theme=dark');
  const to = carried('http://lab.example/models/other/', 'steer', from);
  const there = { ...own, plan: { ...plan, layers: 'auto', method: 'auto', budget: 0.1 } };
  const told = fromAddress(there, new URL(to).search, '');
  assert.deepEqual(told, { ...asked, plan: { ...asked.plan, layers: 'auto', strength: 1, cap: null, budget: null } });
  assert.ok(to.includes('__theme=dark'));
  const front = carried('http://lab.example/models/other/', 'tradeoffs', 'http://lab.example/?tab=tradeoffs&prompt=a&seed=3&top_p=.5&thinking=1&point=pgapo-0.1');
  assert.equal(front, 'http://lab.example/models/other/?tab=tradeoffs&prompt=a&seed=3&top_p=.5&thinking=1');
});

test('a name that is in no list is no event', () => {
  for (const name of Object.keys(EVENTS)) assert.equal(eventName(name), `tw:${name}`);
  assert.throws(() => eventName('asekd'), /no event/);
  assert.throws(() => eventName('toString'), /no event/);
});

test('where nothing may be kept, nothing breaks', () => {
  globalThis.window = { get localStorage() { throw new Error('denied'); } };
  keep('theme', 'dark');
  assert.equal(recall('theme'), null);
  const kept = new Map();
  globalThis.window = { localStorage: { getItem: (name) => kept.get(name) ?? null, setItem: (name, text) => kept.set(name, text) } };
  keep('theme', 'dark');
  assert.equal(recall('theme'), 'dark');
});

test('an address brings the third text, what is watched and a chosen beginning back', () => {
  const asked = { ...own, rival: 'both', watch: ['formality', 'a, b'], begin: [3, 0, 12] };
  const { search } = new URL(addressOf('steer', placeOf(asked), 'http://lab.example/'));
  assert.deepEqual(fromAddress(own, search, ''), asked);
  const broken = fromAddress({ ...own, begin: [] }, search.replace(/&begin=[^&]*/, '&begin=%7B'), '');
  assert.deepEqual(broken.begin, []);
});

test('an address brings what is held back, and one from before there was holding holds nothing', () => {
  const asked = { ...own, plan: { ...plan, hold: ['formality'] } };
  const { search } = new URL(addressOf('steer', placeOf(asked), 'http://lab.example/'));
  assert.deepEqual(fromAddress(own, search, ''), asked);
  assert.deepEqual(namesOf(asked), ['sports', 'formality']);
  const { hold: _, ...earlier } = plan;
  assert.deepEqual(fromAddress({ ...own, plan: asked.plan }, `?plan=${encodeURIComponent(JSON.stringify(earlier))}`, '').plan.hold, []);
});

test('small concepts travel in a link and come back, large and damaged ones do not', async () => {
  const small = [{ name: 'mine', positive: ['Ärr, ye!', 'b'], negative: ['plain', 'c'] }];
  assert.deepEqual(await unpacked(await packed(small)), small);
  const large = [{ name: 'mine', positive: Array.from({ length: 300 }, () => crypto.randomUUID()), negative: ['c'] }];
  assert.equal(await packed(large), null);
  assert.equal(await packed([{ name: 'vector', gguf: 'R0dVRg==' }]), null);
  for (const text of ['', '!', 'AAAA', null, (await packed(small)).slice(0, 20)]) assert.deepEqual(await unpacked(text), []);
});

test('a browser keeps eight concepts, the newest ones, within its bounds', () => {
  const store = new Map();
  globalThis.window = { localStorage: { getItem: (name) => store.get(name) ?? null, setItem: (name, text) => store.set(name, text) } };
  for (let n = 0; n < 10; n += 1) assert.ok(keepOwn({ name: `c${n}`, positive: ['a'], negative: ['b'] }));
  assert.deepEqual(kept().map(({ name }) => name), ['c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9']);
  assert.equal(keepOwn({ name: 'huge', positive: ['x'.repeat(2_000_000)], negative: ['b'] }), false);
  assert.equal(kept().length, 8);
  forget('c9');
  assert.equal(kept().at(-1).name, 'c8');
  store.set('tw-concepts', '[{"name": 3}, {"name": "ok", "positive": ["a"], "negative": ["b"]}, 7]');
  assert.deepEqual(kept().map(({ name }) => name), ['ok']);
  assert.equal(lines({ name: 'ok', positive: ['a', 'b'], negative: ['c'] }), '{"positive":"a","negative":"c"}\n{"positive":"b"}');
});
