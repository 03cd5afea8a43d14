// Tables whose columns sort; the rows of `sorted` can be picked and brushed, too, by mouse and by keyboard.
import { h } from './dom.js';

const compare = (a, b) => Number(a == null) - Number(b == null) || (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)));

/** The heads of a table that sort its lines, which show `rows` and stand in `body`; order { by, falling } is kept by the caller, so that new
 * rows keep it; hints[i] says what column i means. */
export function heads({ columns, rows, hints = [] }, lines, body, order) {
  const all = columns.map((name, column) => h('th', { scope: 'col', title: hints[column] },
    h('button', { type: 'button', class: 'tw-sort', onclick: () => turn(column) }, name)));

  function turn(column) {
    order.falling = order.by === column ? !order.falling : typeof rows.find((row) => row[column] != null)?.[column] === 'number';
    order.by = column;
    sort();
  }

  function sort() {
    const { by, falling } = order;
    all.forEach((head, i) => (i === by ? head.setAttribute('aria-sort', falling ? 'descending' : 'ascending') : head.removeAttribute('aria-sort')));
    const places = rows.map((_, i) => i).sort((a, b) => {
      const [left, right] = [rows[a][by], rows[b][by]];
      return left == null || right == null || !falling ? compare(left, right) : -compare(left, right);
    });
    body.append(...places.map((i) => lines[i]));
  }

  if (order.by != null) sort();
  return all;
}

/** { node, mark(ids, selected, brushed) } for { columns, rows, ids, show, hints }: ids name the rows, show[i] writes column i's values; the rest
 * as for `heads`. onRow(id, event) hears a click or Enter on a row, onBrush(ids) rows that the mouse was dragged over or that Shift and the
 * arrow keys took in. */
export function sorted({ columns, rows, ids, show = [], hints = [] }, onRow, order = {}, onBrush = null) {
  let from = null;
  let dragged = false;

  function span(to) {
    const lines = [...body.children];
    const [low, high] = [lines.indexOf(from), lines.indexOf(to)].sort((a, b) => a - b);
    onBrush(lines.slice(low, high + 1).map((line) => /** @type {HTMLElement} */ (line).dataset.id));
  }

  function key(event, id) {
    if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); onRow(id, event); }
    const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
    if (!step) return;
    event.preventDefault();
    const line = event.currentTarget[step];
    if (!line) return;
    line.focus();
    if (event.shiftKey && onBrush) {
      from ??= event.currentTarget;
      span(line);
    } else from = null;
  }

  const lines = rows.map((row, i) => h('tr', {
    tabindex: 0, 'data-id': ids[i], onclick: (event) => { if (!dragged) onRow(ids[i], event); }, onkeydown: (event) => key(event, ids[i]),
    onpointerdown: (event) => { from = event.pointerType === 'mouse' ? event.currentTarget : null; dragged = false; },
    onpointerenter: (event) => {
      if (!onBrush || !from || !(event.buttons & 1)) return;
      dragged = true;
      span(event.currentTarget);
    },
  }, row.map((value, column) => h('td', {}, value == null ? '' : (show[column] ?? String)(value, i)))));
  const body = h('tbody', {}, lines);
  function mark(picked, selected, brushed = null) {
    for (const line of lines) {
      line.setAttribute('aria-selected', String(picked.includes(line.dataset.id)));
      line.classList.toggle('tw-now', line.dataset.id === selected);
      line.classList.toggle('tw-aside', Boolean(brushed) && !brushed.has(line.dataset.id));
    }
  }

  const node = h('div', { class: 'tw-scroll' },
    h('table', { class: `tw-table tw-sorted${onBrush ? ' tw-brushed' : ''}`, role: 'grid', 'aria-multiselectable': 'true' },
      h('thead', {}, h('tr', {}, heads({ columns, rows, hints }, lines, body, order))), body));
  return { node, mark };
}
