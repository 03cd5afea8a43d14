// The right side of the Steer tab: both texts as they stream, shaded by the concept's probability, and what the steering cost.
import { choice } from '../shared/controls.js';
import { copy, csv, download, filled, h, heard, meter, table, tell } from '../shared/dom.js';
import { probability, ranges, silence } from '../shared/words.js';
import { page } from '../shared/page.js';
import { conversation } from './conversation.js';
import { lens } from './lens.js';
import { toAddress } from './request.js';

const [TEXT, AFTER, BEFORE, SHARE, FLAG, LOGPROB] = [0, 1, 2, 3, 4, 5];
const MAX_WATCHED = 6;
const SIDES = ['unsteered', 'steered', 'requested'];
const RIVALS = [['request', 'alone'], ['both', 'steered too']];

const COARSE = matchMedia('(pointer: coarse)').matches;

const shade = (p) => {
  const strength = Math.abs(p - 0.5) * 2;
  return strength < 0.04 ? '' : `color-mix(in srgb, var(${p > 0.5 ? '--tw-high' : '--tw-low'}) calc(${strength.toFixed(3)} * var(--tw-shade)), transparent)`;
};

function side(name, title) {
  const text = h('div', { class: 'tw-text', role: 'group', tabindex: 0, 'aria-label': `${title} text; arrow keys walk through the tokens` });
  const about = h('span', { class: 'tw-about' });
  const begin = h('span', { class: 'tw-begin' });
  const silent = h('p', { class: 'tw-hint' });
  const node = h('section', { class: `tw-side tw-${name}`, 'aria-label': title }, h('h2', {}, title, about), begin, text, silent);
  return { name, node, text, about, begin, silent, tokens: [], drawn: 0 };
}

const written = ({ tokens }) => tokens.map((entry) => entry[TEXT]).join('');

export default function mount({ element, props, watch }) {
  const root = element.firstElementChild;
  const sides = [side('unsteered', 'Base model'), side('steered', 'Steered'), side('requested', 'Asked in words')];
  const rival = choice('The request in words', RIVALS, (value) => tell('ask', (request) => (request.rival = value)));
  const noRival = h('button', { type: 'button', class: 'tw-quiet', 'aria-label': 'Drop the request in words', onclick: () => tell('ask', (request) => (request.rival = null)) }, '×');
  const wish = h('p', { class: 'tw-hint tw-worded' });
  sides[2].node.firstElementChild.after(h('div', { class: 'tw-rival' }, rival.node, noRival), wish);
  let asked = page.asked;
  let state = null;
  let picked = 0;
  let announced = 0;
  let lastTap = null;

  const legend = h('div', { class: 'tw-legend' });
  const status = h('p', { class: 'tw-status', role: 'status' });
  const held = h('p', { class: 'tw-held', role: 'status' });
  const bar = meter('Waiting');
  bar.hidden = true;
  const problem = h('p', { class: 'tw-problem', role: 'alert' });
  const stop = h('button', { type: 'button', class: 'tw-quiet tw-stop', hidden: true, onclick: () => tell('stop', 'run') }, 'Stop');
  const quiet = (label, act) => h('button', { type: 'button', class: 'tw-quiet', onclick: (event) => act(event.currentTarget) }, label);
  const toCompare = quiet('Send to Compare', () => tell('compare'));
  /** The program makes the texts that were asked for last, so there is none until they begin. */
  const exports = {
    'Python, copied': () => copy(idle, state.snippet),
    'Vector (safetensors)': () => tell('vector', { concept: concept().name }),
    'Vector (GGUF)': () => tell('vector', { concept: concept().name, kind: 'gguf' }),
    'Tokens (CSV)': () => download('tradewind-run.csv', csv(...Object.values(tokenTable())), 'text/csv'),
  };
  const idle = h('option', { value: '' }, 'Export …');
  const [python, ...files] = Object.keys(exports).map((label) => h('option', { value: label }, label));
  const leave = h('select', { class: 'tw-watch', 'aria-label': 'Export', onchange: () => { const { value } = leave; leave.value = ''; exports[value](); } }, idle, python, files);
  const program = () => (python.disabled = !state?.snippet || state.run !== asked?.run);
  const offer = () => (toCompare.hidden = !page.compare);
  const tools = h('div', { class: 'tw-tools' },
    quiet('Copy link', async (button) => { const { href, says } = await toAddress(asked, page.shipped); copy(button, href); if (says) status.textContent = says; }),
    toCompare,
    h('span', { class: 'tw-swap' }, stop, leave));
  const metrics = h('div', { class: 'tw-metrics' });
  const asTable = h('details', { class: 'tw-fold', ontoggle: () => asTable.open && fill() }, h('summary', {}, 'Tokens as a table'), h('div'));
  const talk = conversation();
  const under = h('section', { class: 'tw-lens', 'aria-label': 'One token under the lens' });
  const glass = lens(under, (ids) => { glass.hide(); tell('ask', (request) => (request.begin = ids)); });
  const forked = h('p', { class: 'tw-hint tw-forked', hidden: true }, 'Every answer goes on from the same beginning. ',
    h('button', { type: 'button', class: 'tw-quiet', onclick: () => tell('ask', (request) => (request.begin = [])) }, 'Begin anew'));
  const tip = h('div', { class: 'tw-tip', role: 'tooltip', hidden: true });
  root.replaceChildren(
    h('div', { class: 'tw-bar' }, legend, tools), problem, talk.earlier,
    forked, h('div', { class: 'tw-columns' }, sides.map(({ node }) => node)), under, bar, status, held, talk.reply, metrics, asTable, tip);

  const concept = () => state?.concepts?.[picked] ?? { name: '', low: '', high: '' };

  function drawLegend() {
    const { name, low, high } = concept();
    const watched = asked?.watch ?? [];
    const names = (state?.concepts ?? []).flatMap((each, index) => {
      const shadeBy = h('button', { type: 'button', class: 'tw-quiet', 'aria-pressed': String(index === picked), onclick: () => { picked = index; drawLegend(); repaint(); } }, each.name);
      return watched.includes(each.name) ? [shadeBy, h('button', { type: 'button', class: 'tw-quiet tw-unwatch', 'aria-label': `Watch ${each.name} no longer`, onclick: () => watchOnly(watched.filter((name) => name !== each.name)) }, '×')] : [shadeBy];
    });
    const free = page.concepts().filter((name) => !state?.concepts?.some((each) => each.name === name));
    const more = h('select', { class: 'tw-watch', 'aria-label': 'Watch a concept that is not steered', onchange: (event) => watchOnly([...watched, event.target.value]) },
      h('option', { value: '', selected: true }, 'Watch …'), free.map((name) => h('option', { value: name }, name)));
    legend.replaceChildren(
      h('div', { class: 'tw-which', role: 'group', 'aria-label': 'Shade by' }, names.length > 1 ? names : '', state && free.length && watched.length < MAX_WATCHED ? more : ''),
      name ? h('div', { class: 'tw-scale', title: `Shading: P(${high}) as the model reads its own text, token by token` },
        h('span', {}, low), h('i', { 'aria-hidden': 'true' }), h('span', {}, high)) : '',
      asked && !asked.rival ? h('button', { type: 'button', class: 'tw-quiet', title: 'A third text: the unsteered model, asked for the same in the system’s message and in yours', onclick: () => tell('ask', (request) => (request.rival = 'request')) }, '+ Ask in words') : '');
  }

  const watchOnly = (names) => tell('ask', (request) => (request.watch = names));

  function token(entry, index) {
    const span = h('span', { class: 'tw-token', 'data-index': index }, entry[TEXT]);
    span.style.background = shade(entry[AFTER][picked] ?? 0.5);
    if (entry[FLAG]) span.classList.add('tw-short');
    return span;
  }

  function repaint() {
    for (const { text, tokens } of sides) {
      [...text.children].forEach((span, index) => (span.style.background = shade(tokens[index][AFTER][picked] ?? 0.5)));
    }
  }

  function stream(current, tokens) {
    current.tokens = tokens;
    if (tokens.length < current.drawn) current.drawn = 0;
    if (!tokens.length) return;
    if (!current.drawn) current.text.replaceChildren();
    for (let index = current.drawn; index < tokens.length; index += 1) current.text.append(token(tokens[index], index));
    current.drawn = tokens.length;
  }

  function about() {
    if (!asked) return;
    const goals = asked.plan.budget === 0 ? ['off'] : asked.plan.targets.map(({ concept: name, direction, p0 }) => {
      const poles = state?.concepts?.find((each) => each.name === name) ?? { high: name };
      return asked.plan.method === 'fixed' || asked.plan.budget !== null ? `${direction === 'amplify' ? '+' : '−'} ${poles.high}` : `P(${poles.high}) ${direction === 'amplify' ? '≥' : '≤'} ${probability(p0)}`;
    });
    const { hold, when } = asked.plan;
    const held = hold.length ? [`${hold.join(' and ')} held`] : [];
    const gate = when ? [`if ${when.concept} ${when.side === 'above' ? '≥' : '<'} ${when.p.toFixed(2).replace(/^0/, '')}`] : [];
    sides[1].about.textContent = [...goals, ...held, ...gate, state?.layers?.length ? `layers ${ranges(state.layers)}` : ''].filter(Boolean).join(' · ');
  }

  const titleOf = (name) => (name === 'unsteered' ? 'base model' : name !== 'requested' ? name : asked.rival === 'both' ? 'asked and steered' : 'asked in words');

  function drawRival() {
    const three = Boolean(asked?.rival);
    root.classList.toggle('tw-three', three);
    sides[2].node.hidden = !three;
    rival.set(asked?.rival);
    wish.textContent = state?.wish ? `“${state.wish}”` : '';
    forked.hidden = !asked?.begin?.length;
    for (const each of sides) each.begin.textContent = asked?.begin?.length ? state?.begin ?? '' : '';
  }

  function drawMetrics(rows) {
    metrics.replaceChildren(rows ? h('table', { class: 'tw-table' },
      h('thead', {}, h('tr', {}, h('td'), (state.sides ?? SIDES).map(titleOf).map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, rows.map(([label, hint, ...cells]) =>
        h('tr', { title: hint }, h('th', { scope: 'row' }, label, h('small', {}, hint)), cells.map((cell) => h('td', {}, cell)))))) : '');
  }

  function tokenTable() {
    const columns = ['side', 'token', ...(state?.concepts ?? []).flatMap(({ high }) => [`P(${high}) before`, `P(${high}) after`]), '|push|/|e|', 'log-probability'];
    const rows = sides.filter(({ node }) => !node.hidden).flatMap(({ name, tokens }) => tokens.map((entry) =>
      [name, entry[TEXT], ...entry[AFTER].flatMap((after, index) => [entry[BEFORE][index], after]), entry[SHARE], entry[LOGPROB]]));
    return { columns, rows };
  }
  const fill = () => asTable.lastElementChild.replaceChildren(table(tokenTable()));

  /** A request that was refused because of one field: the texts stay, dimmed, and the sentence stands by the field. */
  function refused(next) {
    root.dataset.phase = next.phase;
    root.dataset.shown = next.run;
    stop.hidden = true;
    problem.textContent = '';
    tell('shown', next.run);
  }

  function update() {
    const next = props.value;
    if (!next || !asked || next.run !== asked.run) return;
    tell('wrong', next);
    root.classList.toggle('tw-by-field', Boolean(next.field));
    if (next.field) return refused(next);
    const first = state?.run !== next.run;
    state = next;
    if (first) {
      sides.forEach((each) => { each.drawn = 0; });
      picked = Math.min(picked, Math.max(0, (next.concepts?.length ?? 1) - 1));
    }
    if (first || next.concepts) { drawLegend(); drawRival(); }
    SIDES.forEach((name, index) => stream(sides[index], next[name] ?? []));
    const live = next.phase === 'running' || next.phase === 'learning';
    root.dataset.phase = next.phase;
    stop.hidden = !live;
    problem.textContent = next.problem ?? '';
    bar.hidden = next.fraction == null;
    filled(bar, next.fraction ?? 0);
    status.textContent = next.note ?? '';
    held.textContent = next.held ?? '';
    program();
    talk.dropped(next.dropped ?? 0);
    const done = next.phase === 'done';
    for (const each of sides) each.silent.textContent = done ? silence(written(each)) : '';
    talk.open(done ? Object.fromEntries(sides.filter(({ node }) => !node.hidden).map((each) => [each.name, each.begin.textContent + written(each)])) : null, next.phase);
    metrics.classList.toggle('tw-stale', !next.rows);
    if (next.rows) drawMetrics(next.rows);
    if (next.cosines) tell('cosines', next.cosines);
    if (next.curves) tell('plan', { layers: next.layers, curves: next.curves, choice: next.choice });
    about();
    const shown = sides[1].drawn > 0 || !live;
    if (shown) root.classList.remove('tw-old');
    if (shown && announced !== next.run) {
      announced = next.run;
      root.dataset.shown = next.run;
      tell('shown', next.run);
    }
    if (!live) {
      sides.forEach((each) => { if (!each.drawn) each.text.replaceChildren(); each.text.style.minHeight = ''; });
      if (asTable.open) fill();
    }
  }

  function explain(span, current) {
    const entry = current.tokens[Number(span.dataset.index)];
    current.text.querySelector('.tw-at')?.classList.remove('tw-at');
    span.classList.add('tw-at');
    const lines = state.concepts.map(({ high }, index) =>
      h('div', {}, `P(${high}) `, h('b', {}, entry[BEFORE][index] === entry[AFTER][index]
        ? probability(entry[AFTER][index]) : `${probability(entry[BEFORE][index])} → ${probability(entry[AFTER][index])}`)));
    tip.replaceChildren(...lines,
      entry[SHARE] > 0 ? h('div', {}, `pushed by ${(100 * entry[SHARE]).toFixed(0)} % of the state`) : h('div', {}, 'no push'),
      entry[FLAG] ? h('div', {}, 'held back: the target was not reached') : '',
      h('div', {}, `chance of this token ${(100 * Math.exp(entry[LOGPROB])).toFixed(0)} %`),
      state.phase === 'done' ? h('div', { class: 'tw-tip-more' }, COARSE ? 'tap again for more' : 'click for more') : '');
    tip.hidden = false;
    const [box, at] = [root.getBoundingClientRect(), span.getClientRects()[0] ?? span.getBoundingClientRect()];
    tip.style.left = `${Math.max(0, Math.min(at.left - box.left, box.width - tip.offsetWidth))}px`;
    tip.style.top = `${at.bottom - box.top + 6}px`;
  }
  function hush() {
    tip.hidden = true;
    root.querySelectorAll('.tw-at').forEach((span) => span.classList.remove('tw-at'));
  }

  /** Opens the lens on a token; on a touch screen the first tap shows the tip, the second the lens. */
  function look(span, current) {
    if (state?.phase !== 'done') return;
    tell('inspect', { run: state.run, side: SIDES.indexOf(current.name), index: Number(span.dataset.index) });
  }

  for (const current of sides) {
    current.text.addEventListener('click', ({ target }) => {
      if (!target.classList.contains('tw-token')) return;
      if (!COARSE || lastTap === target) look(target, current);
      lastTap = target;
    });
    current.text.addEventListener('pointerover', ({ target }) => (target.classList.contains('tw-token') ? explain(target, current) : hush()));
    current.text.addEventListener('pointerleave', hush);
    current.text.addEventListener('blur', hush);
    current.text.addEventListener('keydown', (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === 'Escape') { hush(); glass.hide(); }
      const at = current.text.querySelector('.tw-at');
      if (event.key === 'Enter' && at) look(at, current);
      if (!move || !current.text.children.length) return;
      event.preventDefault();
      const spans = [...current.text.children];
      const from = spans.findIndex((span) => span.classList.contains('tw-at'));
      explain(spans[Math.min(spans.length - 1, Math.max(0, from + move))], current);
    });
  }

  heard('asked', (request) => {
    asked = request;
    program();
    talk.show(request);
    talk.open(null);
    root.classList.add('tw-old');
    sides.forEach((each) => { each.text.style.minHeight = `${each.text.offsetHeight}px`; });
    hush();
    glass.hide();
    about();
    drawRival();
  });
  heard('inspected', (what) => { if (what.run === state?.run) { hush(); glass.show(what, state.sides); } });
  heard('ready', offer);
  heard('said', (text) => (status.textContent = text));
  offer();
  watch('value', update);
  drawRival();
  if (asked) talk.show(asked);
  update();
  program();
  about();
}
