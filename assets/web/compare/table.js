// A table of results with its title, columns that sort and a file to take along. Its value: { title, columns, rows, file }; nothing hides it.
import { csv, download, h } from '../shared/dom.js';
import { heads } from '../shared/sorted.js';

const written = (value) => (value == null ? '' : typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value));

export default function mount({ element, props, watch }) {
  const root = element.firstElementChild;
  const order = {};

  function draw() {
    const { title, columns, rows, file } = props.value ?? {};
    root.hidden = !rows?.length;
    if (root.hidden) return;
    const lines = rows.map((row) => h('tr', {}, row.map((value) => h('td', {}, written(value)))));
    const body = h('tbody', {}, lines);
    root.replaceChildren(
      h('div', { class: 'tw-heading' }, h('h3', {}, title),
        h('button', { type: 'button', class: 'tw-quiet', 'aria-label': `CSV: ${title}`, onclick: () => download(file, csv(columns, rows), 'text/csv') }, 'CSV')),
      h('div', { class: 'tw-scroll', tabindex: 0 },
        h('table', { class: 'tw-table tw-sorted' }, h('thead', {}, h('tr', {}, heads({ columns, rows }, lines, body, order))), body)));
  }

  watch('value', draw);
  draw();
}
