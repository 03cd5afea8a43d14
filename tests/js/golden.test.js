// The messages of tests/golden, which Python makes and types (tests/unit/test_messages.py), drawn by the parts that read them.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { parseHTML } from 'linkedom';

const { window, document } = parseHTML('<!doctype html><html><body></body></html>');
class Observer { observe() {} disconnect() {} }
Object.assign(globalThis, {
  document, CustomEvent: window.CustomEvent, MutationObserver: Observer, IntersectionObserver: Observer,
  matchMedia: () => ({ matches: false }), location: new URL('https://example.org/'), history: { replaceState() {} }, setInterval: () => 0,
  addEventListener() {},
});
window.HTMLElement.prototype.scrollIntoView = () => {};
Object.defineProperty(window.HTMLSelectElement.prototype, 'value', { writable: true });

const golden = (name) => JSON.parse(readFileSync(new URL(`../golden/${name}.json`, import.meta.url), 'utf8'));
const shared = '../../assets/web/shared';
const { page } = await import(`${shared}/page.js`);
const { store } = await import('../../assets/web/tradeoffs/store.js');
const { tell } = await import(`${shared}/dom.js`);

/** A part in a page of its own, with its first value; send(value) is what Gradio does when another comes. */
async function part(name, value, css = '') {
  const element = document.createElement('div');
  element.innerHTML = `<div class="${css}"></div>`;
  document.body.append(element);
  const props = { value };
  const watchers = [];
  const sent = [];
  const { default: mount } = await import(`../../assets/web/${name}.js`);
  mount({ element, props, trigger: (event, data) => sent.push([event, data]), watch: (_, then) => watchers.push(then) });
  const send = (next) => { props.value = next; for (const then of watchers) then(); };
  return { element, send, sent, all: (selector) => [...element.querySelectorAll(selector)], text: (selector) => element.querySelector(selector)?.textContent };
}

const written = (tokens) => tokens.map(([text]) => text).join('');

test('the stage draws its first state and its last, and asks for the lens of a token', async () => {
  const [first, last] = golden('stage');
  page.asked = { run: last.run, plan: { targets: [{ concept: 'long', direction: 'amplify', p0: 0.9 }], budget: 0.2, hold: ['film', 'formality'], when: { concept: 'sports', side: 'below', p: 0.3 } }, rival: 'request', watch: ['long'], history: [], begin: [] };
  const { element, send, all, text } = await part('steer/stage', null);
  send(first);
  assert.equal(element.firstElementChild.dataset.phase, first.phase);
  send(last);
  const texts = all('.tw-text').map((node) => node.textContent);
  assert.deepEqual(texts, ['unsteered', 'steered', 'requested'].map((name) => written(last[name])));
  assert.equal(all('.tw-token').length, last.unsteered.length + last.steered.length + last.requested.length);
  assert.deepEqual(all('.tw-metrics tbody tr').map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent)), last.rows.map((row) => row.slice(2)));
  assert.equal(text('.tw-status'), last.note);
  assert.match(text('.tw-steered .tw-about'), /^\+ [^·]+ · film and formality held · if sports < \.30 · layers/);
  const python = all('.tw-tools option').find((option) => option.textContent === 'Python, copied');
  assert.equal(python.disabled, false);
  tell('asked', { ...page.asked, run: last.run + 1 });
  assert.equal(python.disabled, true, 'the program is of the texts before');
  send({ ...last, run: last.run + 1 });
  assert.equal(python.disabled, false);
  const stale = () => element.querySelector('.tw-metrics').classList.contains('tw-stale');
  const { rows, ...unmeasured } = last;
  send({ ...unmeasured, run: last.run + 1 });
  assert.ok(rows && stale(), 'the numbers are of the texts before');
  send({ ...last, run: last.run + 1 });
  assert.ok(!stale());
  send(last);
  tell('asked', page.asked);
  send(last);
  const asked = [];
  document.addEventListener('tw:inspect', (event) => asked.push(event.detail));
  all('.tw-steered .tw-token')[2].dispatchEvent(new window.Event('click', { bubbles: true }));
  assert.deepEqual(asked, [{ run: last.run, side: 1, index: 2 }]);
  const [lens] = golden('lens');
  tell('inspected', { ...lens, run: last.run });
  assert.equal(all('.tw-alternatives tbody tr').length, lens.alternatives.length);
});

test('a sweep shows how far it is, then its chart', async () => {
  const [first, last] = golden('sweep');
  const { send, text, all } = await part('steer/dose', { prompts: ['Say hello.'] });
  send(first);
  assert.equal(text('.tw-sweep'), 'Stop');
  send(last);
  assert.equal(text('h3'), last.chart.title);
  assert.equal(all('tbody tr').length, last.chart.table.rows.length);
});

test('the texts of Trade-offs are drawn, with their numbers', async () => {
  const [first, last] = golden('texts');
  store.asked = { run: last.run, prompt: 'Say hello.', picks: ['helpful'], kept: [] };
  const { send, all, text } = await part('tradeoffs/texts', null);
  send(first);
  send(last);
  assert.deepEqual(all('.tw-text').map((node) => node.textContent), last.texts);
  assert.deepEqual(all('.tw-side .tw-about').map((node) => node.textContent), last.sides.map(({ about }) => about));
  assert.equal(all('.tw-metrics tbody tr').length, last.rows.length);
  assert.equal(text('.tw-status'), last.note);
});

test('an answer that ends at once is told in its place, and no earlier one stands for it', async () => {
  const [, last] = golden('stage');
  page.asked = { run: last.run, plan: { targets: [{ concept: 'long', direction: 'amplify', p0: 0.9 }], budget: 0.2, hold: [], when: null }, rival: null, watch: [], history: [], begin: [] };
  const stage = await part('steer/stage', null);
  stage.send(last);
  assert.equal(stage.text('.tw-steered .tw-text ~ .tw-hint'), '');
  const stopped = ['', ...last.steered[0].slice(1)];
  stage.send({ ...last, steered: [stopped] });
  assert.equal(stage.text('.tw-steered .tw-text ~ .tw-hint'), 'The model wrote no text.');
  stage.send({ ...last, steered: [stopped], phase: 'running' });
  assert.equal(stage.text('.tw-steered .tw-text ~ .tw-hint'), '');

  const [, answered] = golden('texts');
  store.asked = { run: answered.run, prompt: 'Say hello.', picks: ['helpful'], kept: [] };
  const texts = await part('tradeoffs/texts', null);
  texts.send(answered);
  store.asked = { ...store.asked, run: answered.run + 1 };
  texts.send({ ...answered, run: answered.run + 1, texts: ['Well.', ''] });
  assert.deepEqual(texts.all('.tw-text').map((node) => node.textContent), ['Well.', '']);
  assert.deepEqual(texts.all('.tw-text ~ .tw-hint').map((node) => node.textContent), ['', 'The model wrote no text.']);
});

test('a card tells all its facts', async () => {
  const [card] = golden('card');
  const { all, text } = await part('tradeoffs/card', card);
  assert.deepEqual(all('dl div').map((line) => [...line.children].map((node) => node.textContent)), card.facts);
  assert.equal(text('h2 span:last-of-type'), card.name);
});

test('the front names its points in the table, and its title', async () => {
  const [front] = golden('front');
  const { all, text } = await part('tradeoffs/front', front);
  assert.equal(text('h3'), front.models.title);
  assert.equal(all('tbody tr').length, front.points.length);
});

test('what a training of a concept sends has all that the controls read', () => {
  const { done } = golden('training').at(-1);
  for (const key of ['name', 'low', 'high', 'costs', 'curves', 'opens', 'texts']) assert.ok(key in done, key);
});

test('every event that a part sends to Python is in the list, and every one in the list is sent', async () => {
  const { TRIGGERS } = await import(`${shared}/events.js`);
  const web = new URL('../../assets/web/', import.meta.url);
  const files = readdirSync(web, { recursive: true }).map(String).filter((name) => name.endsWith('.js'));
  for (const name of files) {
    const source = readFileSync(new URL(name, web), 'utf8');
    const listed = Object.keys(TRIGGERS[name.replace(/\.js$/, '')] ?? {});
    const sent = [...source.matchAll(/trigger\('([\w-]+)'/g)].map(([, event]) => event);
    for (const event of sent) assert.ok(listed.includes(event), `${name} sends ${event}`);
    for (const event of listed) assert.ok(source.includes(`'${event}'`) || /trigger\((?!')/.test(source), `${name} never sends ${event}`);
  }
});
