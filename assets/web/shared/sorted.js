// A table whose columns sort and whose rows can be picked, by mouse and by keyboard.
import { h } from './dom.js';

const compare = (a, b) => Number(a == null) - Number(b == null) || (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)));

/** { node, mark(ids, selected) } for { columns, rows, ids, show }: ids name the rows, show[i] writes column i's values.
 * onRow(id, event) hears a click or Enter on a row; order { by, falling } is kept by the caller, so that new rows keep it. */
export function sorted({ columns, rows, ids, show = [] }, onRow, order = {}) {
  const lines = rows.map((row, i) => h('tr', {
    tabindex: 0, 'data-id': ids[i], onclick: (event) => onRow(ids[i], event),
    onkeydown: (event) => {
      if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); onRow(ids[i], event); }
      const next = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
      if (next) { event.preventDefault(); event.currentTarget[next]?.focus(); }
    },
  }, row.map((value, column) => h('td', {}, value == null ? '' : (show[column] ?? String)(value, i)))));
  const body = h('tbody', {}, lines);
  const heads = columns.map((name, column) => h('th', { scope: 'col' },
    h('button', { type: 'button', class: 'tw-sort', onclick: () => turn(column) }, name)));

  function turn(column) {
    order.falling = order.by === column ? !order.falling : typeof rows.find((row) => row[column] != null)?.[column] === 'number';
    order.by = column;
    sort();
  }

  function sort() {
    const { by, falling } = order;
    heads.forEach((head, i) => (i === by ? head.setAttribute('aria-sort', falling ? 'descending' : 'ascending') : head.removeAttribute('aria-sort')));
    const places = rows.map((_, i) => i).sort((a, b) => {
      const [left, right] = [rows[a][by], rows[b][by]];
      return left == null || right == null || !falling ? compare(left, right) : -compare(left, right);
    });
    body.append(...places.map((i) => lines[i]));
  }

  function mark(picked, selected) {
    for (const line of lines) {
      line.setAttribute('aria-selected', String(picked.includes(line.dataset.id)));
      line.classList.toggle('tw-now', line.dataset.id === selected);
    }
  }

  if (order.by != null) sort();
  const node = h('div', { class: 'tw-scroll' },
    h('table', { class: 'tw-table tw-sorted', role: 'grid', 'aria-multiselectable': 'true' }, h('thead', {}, h('tr', {}, heads)), body));
  return { node, mark };
}
