import assert from 'node:assert/strict';
import { test } from 'node:test';

/** As much of a document as a table needs. */
class Node {
  constructor(tag) { Object.assign(this, { tag, children: [], attributes: {}, listeners: {}, dataset: {} }); }
  append(...nodes) { for (const node of nodes) { this.children = this.children.filter((each) => each !== node); this.children.push(node); } }
  addEventListener(name, then) { this.listeners[name] = then; }
  setAttribute(name, value) { this.attributes[name] = value; if (name === 'data-id') this.dataset.id = value; }
  removeAttribute(name) { delete this.attributes[name]; }
  get text() { return this.children.map((child) => child.text ?? String(child)).join(''); }
}
globalThis.document = { createElement: (tag) => new Node(tag) };

const { csv } = await import('../../assets/web/shared/dom.js');
const { sorted } = await import('../../assets/web/shared/sorted.js');

test('a column sorts both ways, and what is missing stays last', () => {
  const rows = [['b', 2], ['a', null], ['c', 10]];
  const { node } = sorted({ columns: ['name', 'value'], rows, ids: ['b', 'a', 'c'] }, () => {});
  const [head, body] = node.children[0].children;
  const press = (column) => head.children[0].children[column].children[0].listeners.click();
  const order = () => body.children.map((line) => line.dataset.id).join('');
  press(1);
  assert.equal(order(), 'cba');
  press(1);
  assert.equal(order(), 'bca');
  press(0);
  assert.equal(order(), 'abc');
});

test('a CSV file opens as it was: quoted, and without formulas', () => {
  assert.equal(csv(['a', 'b'], [['x,"y"', 1], [null, '=1+1']]), 'a,b\n"x,""y""",1\n,\'=1+1\n');
});
