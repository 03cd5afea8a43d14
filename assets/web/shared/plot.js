// A clickable chart with its title sentence, its table twin, and pictures to take along. plotly.js comes from the app itself, with the
// first chart of an open tab; charts below the fold draw too, so that they are there in print.
//
// Its value: { title, note, figure: { data, layout }, table: { columns, rows }, data: the same for the file where it holds more, file:
// 'name.csv', empty: 'what to do next' }.
// A zoom is kept while layout.uirevision stays the same.
// Colours in a figure are written as CSS variables ('var(--tw-accent)'); they follow the theme. A click triggers
// 'point' with { trace, index, customdata, shift }.
import { csv, download, h, table } from './dom.js';
import { walker } from './walker.js';

const COARSE = matchMedia('(pointer: coarse)').matches;
const [NARROW, NARROW_LABEL] = [480, 14]; // pixels of a chart, and letters of a name beside its axis
const PICTURE = { width: 960, height: 640, scale: 2 };
const MARGIN = { l: 48, r: 12, t: 12, b: 40 };
const DRAWN = 'system-ui, sans-serif'; // no web font reaches a picture, and what is measured in one would be cut
const LEGEND = { orientation: 'h', yanchor: 'bottom', x: 0, font: { color: 'var(--tw-ink)' } };
const lines = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replace(/(.{60,90}?) /g, '$1<br>');
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

/** A name beside an axis where there is little room: the ends of its lines. */
const ends = (text) => text.split('<br>').map(endsOf).join('<br>');
function endsOf(text) {
  const letters = text.match(/&#?\w+;|./gu) ?? [];
  return letters.length > NARROW_LABEL ? [...letters.slice(0, 7), '…', ...letters.slice(-6)].join('') : text;
}

function themed(figure, style, narrow = false) {
  const axis = {
    gridcolor: 'var(--tw-rule)', zerolinecolor: 'var(--tw-rule)', linecolor: 'var(--tw-line)', tickcolor: 'var(--tw-line)', ticks: 'outside',
    ticklen: 4, automargin: true, title: { standoff: 8 },
  };
  const layout = {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', margin: MARGIN, uirevision: 'kept',
    font: { family: 'var(--tw-sans)', size: 13, color: 'var(--tw-muted)' }, autosize: true, dragmode: COARSE ? false : 'zoom',
    hoverlabel: { bgcolor: 'var(--tw-ink)', bordercolor: 'var(--tw-ink)', font: { color: 'var(--tw-paper)', family: 'var(--tw-sans)', size: 13 } },
    legend: { ...LEGEND, y: 1.02 },
    ...figure.layout,
  };
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    layout[name] = { ...axis, ...layout[name], title: { ...axis.title, ...layout[name].title } };
    if (narrow && layout[name].ticktext) layout[name].ticktext = layout[name].ticktext.map(ends);
  }
  return resolved({ data: figure.data, layout }, style);
}

/** Draws charts into `node`; returns update(value). onPoint hears { trace, index, customdata, shift }, onBrush the customdata of the points
 * in a box that was drawn (null: none); twinOf makes the table. */
export function chart(node, onPoint = (/** @type {any} */ _point) => {}, twinOf = (/** @type {any} */ value) => table(value), onBrush = (/** @type {any} */ _ids) => {}) {
  const heading = h('h3');
  const note = h('p', { class: 'tw-note' });
  const plot = h('div', { class: 'tw-plot', role: 'img' });
  const empty = h('div', { class: 'tw-empty-chart' });
  const twin = h('div', { hidden: true });
  const quiet = (label, act, more = {}) => h('button', { class: 'tw-quiet', type: 'button', onclick: act, ...more }, label);
  const asTable = quiet('Table', toggle, { 'aria-pressed': 'false' });
  const unzoom = quiet('Reset zoom', () => { zooms += 1; draw(); }, { hidden: true, class: 'tw-quiet tw-unzoom' });
  const pictures = ['PNG', 'SVG'].map((format) => quiet(format, () => picture(format.toLowerCase())));
  const asFile = quiet('CSV', save);
  const tools = h('div', { class: 'tw-twin' }, asTable, asFile, pictures, unzoom);
  const says = h('p', { class: 'tw-heard', role: 'status' });
  node.replaceChildren(heading, note, plot, empty, tools, says, twin);
  const walk = walker(plot, (text) => (says.textContent = text), onPoint);
  let value = null;
  let seen = false;
  let zooms = 0;

  function toggle() {
    twin.hidden = !twin.hidden;
    asTable.setAttribute('aria-pressed', String(!twin.hidden));
  }

  const name = () => (value.file ?? 'chart.csv').replace(/\.csv$/, '');
  function save() {
    const { columns, rows } = value.data ?? value.table;
    download(`${name()}.csv`, csv(columns, rows), 'text/csv');
  }

  /** A picture of the chart as on the page, with its sentence above, and below it a legend of marks that the page explains elsewhere (traces' meta.legend). */
  async function picture(format) {
    const { downloadImage } = await plotly();
    const { data, layout: own } = value.figure;
    const named = [...new Map(data.filter(({ meta }) => meta?.legend).map(({ meta, marker }) => [meta.legend, marker]))];
    const legend = named.map(([name, marker]) => ({ type: 'scatter', mode: 'markers', x: [null], y: [null], name, marker: { ...marker, opacity: 1 } }));
    const below = legend.length || data.some(({ name, showlegend }) => name && showlegend !== false);
    const margin = { ...MARGIN, ...own.margin };
    const layout = {
      ...own, paper_bgcolor: 'var(--tw-paper)', height: undefined, font: { family: DRAWN, size: 13, color: 'var(--tw-muted)' },
      title: { text: lines(value.title), x: 0.02, y: 0.97, yanchor: 'top', xanchor: 'left', font: { color: 'var(--tw-ink)', size: 17 } },
      margin: { ...margin, t: margin.t + 64, b: margin.b + (below ? 56 : 0) }, showlegend: true,
      legend: { ...LEGEND, yref: 'container', y: 0.01 },
    };
    await downloadImage(themed({ data: [...data, ...legend], layout }, getComputedStyle(node)), { ...PICTURE, format, filename: name() });
  }

  async function draw() {
    if (!seen || !value?.figure) return;
    const library = await plotly();
    if (!value?.figure) return;
    const { data, layout } = themed(value.figure, getComputedStyle(node), node.clientWidth < NARROW);
    layout.uirevision = `${layout.uirevision} ${zooms}`;
    for (const name of ['plotly_click', 'plotly_selected', 'plotly_deselect', 'plotly_relayout']) plot.removeAllListeners?.(name);
    await library.react(plot, data, layout, { displaylogo: false, responsive: true, displayModeBar: false, doubleClick: 'reset', showTips: false });
    plot.on('plotly_click', ({ points: [point], event }) => {
      onPoint({ trace: point.curveNumber, index: point.pointIndex ?? point.pointNumber, customdata: point.customdata ?? null, shift: event.shiftKey });
    });
    plot.on('plotly_selected', (box) => onBrush(box ? [...new Set(box.points.map((point) => point.customdata).filter((id) => id != null))] : null));
    plot.on('plotly_deselect', () => onBrush(null));
    plot.on('plotly_relayout', zoomed);
    zoomed();
    walk(library);
  }

  function zoomed() {
    const drawn = plot._fullLayout;
    const axes = Object.keys(drawn).filter((key) => /^[xy]axis\d*$/.test(key) && !drawn[key].fixedrange);
    const moved = (key) => {
      const range = value.figure?.layout[key]?.range;
      return range ? range.some((end, i) => Math.abs(drawn[key].range[i] - end) > 1e-9) : !drawn[key].autorange;
    };
    unzoom.hidden = !axes.some(moved);
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
    tools.hidden = !next?.table && !next?.figure;
    for (const button of [asTable, asFile]) button.hidden = !next?.table;
    pictures.forEach((button) => { button.hidden = !next?.figure; });
    if (!next?.figure) unzoom.hidden = true;
    plot.setAttribute('aria-label', [next?.title, next?.note].filter(Boolean).join('. '));
    draw();
  }

  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    seen = true;
    draw();
  }, { rootMargin: '30000px' }).observe(node);
  new MutationObserver(draw).observe(document.body, { attributeFilter: ['class'] });
  return update;
}

export default function mount({ element, props, watch, trigger }) {
  const update = chart(element.querySelector('.tw-chart'), (point) => trigger('point', point));
  update(props.value);
  watch('value', () => update(props.value));
}
