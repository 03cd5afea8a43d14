// A clickable chart with its title sentence and table twin. plotly.js comes from the app itself, when the first chart is seen.
//
// As a gr.HTML:  html_template='<div class="tw-chart"></div>', apply_default_css=False, and js_on_load:
//   import(new URL('tw/shared/plot.js', document.baseURI)).then((m) => m.default({ element, trigger, props, watch })); // 'point'
// Its value: { title, note, figure: { data, layout }, table: { columns, rows }, file: 'name.csv', empty: 'what to do next' }.
// A zoom is kept while layout.uirevision stays the same.
// Colours in a figure are written as CSS variables ('var(--tw-accent)'); they follow the theme. A click triggers
// 'point' with { trace, index, customdata, shift }.
import { csv, download, h, table } from './dom.js';

const COARSE = matchMedia('(pointer: coarse)').matches;
let library = null;

function plotly() {
  library ??= new Promise((done, failed) => {
    const script = h('script', { src: new URL('tw/plotly/plotly.min.js', document.baseURI).href });
    script.onload = () => done(/** @type {any} */ (window).Plotly);
    script.onerror = () => failed(new Error('The charts could not be loaded; reload the page.'));
    document.head.append(script);
  });
  return library;
}

function resolved(value, style) {
  if (typeof value === 'string') return value.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  if (Array.isArray(value)) return value.map((item) => resolved(item, style));
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item, style)]));
  return value;
}

function themed(figure, style) {
  const axis = {
    gridcolor: 'var(--tw-rule)', zerolinecolor: 'var(--tw-rule)', linecolor: 'var(--tw-line)', tickcolor: 'var(--tw-line)', ticks: 'outside',
    ticklen: 4, automargin: true, title: { standoff: 8 },
  };
  const layout = {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', margin: { l: 48, r: 12, t: 12, b: 40 }, uirevision: 'kept',
    font: { family: 'var(--tw-sans)', size: 13, color: 'var(--tw-muted)' }, autosize: true, dragmode: COARSE ? false : 'zoom',
    hoverlabel: { bgcolor: 'var(--tw-ink)', bordercolor: 'var(--tw-ink)', font: { color: 'var(--tw-paper)', family: 'var(--tw-sans)', size: 13 } },
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0, font: { color: 'var(--tw-ink)' } },
    ...figure.layout,
  };
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    layout[name] = { ...axis, ...layout[name], title: { ...axis.title, ...layout[name].title } };
  }
  return resolved({ data: figure.data, layout }, style);
}

/** Draws charts into `node`; returns update(value). onPoint hears { trace, index, customdata, shift }; twinOf makes the table. */
export function chart(node, onPoint = (/** @type {any} */ _point) => {}, twinOf = (/** @type {any} */ value) => table(value)) {
  const heading = h('h3');
  const note = h('p', { class: 'tw-note' });
  const plot = h('div', { class: 'tw-plot', role: 'img' });
  const empty = h('div', { class: 'tw-empty-chart' });
  const twin = h('div', { hidden: true });
  const asTable = h('button', { class: 'tw-quiet', type: 'button', 'aria-pressed': 'false', onclick: toggle }, 'Table');
  const asFile = h('button', { class: 'tw-quiet', type: 'button', onclick: save }, 'CSV');
  const tools = h('div', { class: 'tw-twin' }, asTable, asFile);
  node.replaceChildren(heading, note, plot, empty, tools, twin);
  let value = null;
  let seen = false;

  function toggle() {
    twin.hidden = !twin.hidden;
    asTable.setAttribute('aria-pressed', String(!twin.hidden));
  }

  function save() {
    download(value.file ?? 'chart.csv', csv(value.table.columns, value.table.rows), 'text/csv');
  }

  async function draw() {
    if (!seen || !value?.figure) return;
    const { react } = await plotly();
    const { data, layout } = themed(value.figure, getComputedStyle(node));
    await react(plot, data, layout, { displaylogo: false, responsive: true, displayModeBar: false, doubleClick: 'reset', showTips: false });
    plot.removeAllListeners('plotly_click');
    plot.on('plotly_click', ({ points: [point], event }) => {
      onPoint({ trace: point.curveNumber, index: point.pointIndex ?? point.pointNumber, customdata: point.customdata ?? null, shift: event.shiftKey });
    });
  }

  function update(next) {
    if (next?.table !== value?.table) twin.replaceChildren(next?.table ? twinOf(next.table) : '');
    value = next;
    heading.textContent = next?.title ?? '';
    note.textContent = next?.note ?? '';
    note.hidden = !next?.note;
    plot.hidden = !next?.figure;
    empty.hidden = Boolean(next?.figure);
    empty.textContent = next?.empty ?? '';
    tools.hidden = !next?.table;
    plot.setAttribute('aria-label', [next?.title, next?.note].filter(Boolean).join('. '));
    draw();
  }

  new IntersectionObserver((entries) => {
    if (seen || !entries.some((entry) => entry.isIntersecting)) return;
    seen = true;
    draw();
  }, { rootMargin: '300px' }).observe(node);
  new MutationObserver(draw).observe(document.body, { attributeFilter: ['class'] });
  return update;
}

export default function mount({ element, props, watch, trigger }) {
  const update = chart(element.querySelector('.tw-chart'), (point) => trigger('point', point));
  update(props.value);
  watch('value', () => update(props.value));
}
