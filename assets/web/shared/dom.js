// Elements without templates: text given as a child is always a text node, so nothing a model writes can become markup.
import { eventName } from './events.js';

/** An element with properties and children, as in h('p', { class: 'tw-note', onclick: f }, 'text', other). */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value == null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'open') node[name] = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}

/** Sends an event to the other parts of the page; `heard` listens. */
export const tell = (name, detail = undefined) => document.dispatchEvent(new CustomEvent(eventName(name), { detail }));
export const heard = (name, then) => document.addEventListener(eventName(name), (/** @type {any} */ event) => then(event.detail));

/** Offers a file for download. */
export function download(name, content, type = 'text/plain') {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** A CSV file of rows; cells that a spreadsheet would take for a formula are defused. */
export function csv(columns, rows) {
  const cell = (value) => {
    const text = value == null ? '' : String(value);
    const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return `${[columns, ...rows].map((row) => row.map(cell).join(',')).join('\n')}\n`;
}

/** A table of columns and rows, in a box that scrolls. */
export function table({ columns, rows }) {
  return h('div', { class: 'tw-scroll', tabindex: 0 },
    h('table', { class: 'tw-table' },
      h('thead', {}, h('tr', {}, columns.map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, rows.map((row) => h('tr', {}, row.map((value) => h('td', {}, value == null ? '' : String(value))))))));
}

/** A bar that tells how far something is, called `label`. */
export const meter = (label) => h('div', { class: 'tw-meter', role: 'progressbar', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100 }, h('div'));

/** The bar, filled by a share from 0 to 1. */
export function filled(bar, share) {
  bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
  bar.firstChild.style.width = `${100 * share}%`;
  return bar;
}

/** Copies text and says so on the button for a moment. */
export async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    window.prompt('Copy this:', text);
  }
  setTimeout(() => (button.textContent = label), 1400);
}
