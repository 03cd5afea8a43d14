// The answers of the base model and of the picked points, as they stream, and what each is worth.
import { copy, download, csv, h, heard, tell } from '../shared/dom.js';
import { silence } from '../shared/words.js';
import { mark, markOf } from './marks.js';
import { store } from './store.js';

const quiet = (label, act, more = {}) => h('button', { type: 'button', class: 'tw-quiet', onclick: act, ...more }, label);

export default function mount({ element, props, watch }) {
  const root = element.firstElementChild;
  let state = null;
  let sides = [];
  let announced = 0;

  const stop = quiet('Stop', () => tell('front-stop', 'run'), { class: 'tw-quiet tw-stop', hidden: true });
  const toCompare = quiet('Send to Compare', () => tell('front-compare', pair()), { hidden: true });
  const save = quiet('CSV', () => download('tradewind-answers.csv', csv(['policy', 'prompt', 'text', ...(state.rows ?? []).map(([name]) => name)],
    state.sides.map((side, i) => [side.name, store.asked.prompt, state.texts[i], ...(state.rows ?? []).map((row) => row[2 + i])])), 'text/csv'));
  const link = quiet('Copy link', () => copy(link, location.href), { title: 'The address brings back the prompt, the seed and the points' });
  const prompt = h('p', { class: 'tw-question' });
  const problem = h('p', { class: 'tw-problem', role: 'alert' });
  const columns = h('div', { class: 'tw-columns' });
  const status = h('p', { class: 'tw-status', role: 'status' });
  const metrics = h('div', { class: 'tw-metrics' });
  root.replaceChildren(h('div', { class: 'tw-bar' }, prompt, h('div', { class: 'tw-tools' }, stop, toCompare, link, save)), problem, columns, status, metrics);

  /** The two texts that a blind comparison takes: the newest picks, or the base model and the one pick. */
  const pair = () => state.sides.map(({ id }) => id).slice(-2);

  function side(head) {
    const text = h('div', { class: 'tw-text', tabindex: 0, role: 'group', 'aria-label': `Answer of ${head.name}` });
    const silent = h('p', { class: 'tw-hint' });
    const keep = quiet('Keep', () => tell('front-keep', head.id), { title: 'It stays when you pick another point' });
    const drop = quiet('×', () => tell('front-drop', head.id), { 'aria-label': `Take ${head.name} away`, title: 'Take it away' });
    const base = head.id === 'base';
    const node = h('section', { class: base ? 'tw-side tw-base' : 'tw-side', 'aria-label': head.name },
      h('h2', {}, mark(head.method), h('span', {}, head.name), base ? '' : h('span', { class: 'tw-hold' }, keep, drop), h('span', { class: 'tw-about' }, head.about)), text, silent);
    node.style.setProperty('--method', markOf(head.method).color);
    return { ...head, node, text, silent, keep, drawn: '' };
  }

  function lay(heads) {
    store.heads = heads;
    const old = new Map(sides.map((each) => [each.id, each]));
    sides = heads.map((head) => {
      const known = old.get(head.id);
      return known?.about === head.about && known.name === head.name ? known : side(head);
    });
    columns.replaceChildren(...sides.map(({ node }) => node));
    held();
    if (heads.some(({ id }) => !old.has(id)) || heads.length !== old.size) metrics.replaceChildren();
  }

  function held() {
    for (const { id, keep } of sides) keep.setAttribute('aria-pressed', String(store.asked?.kept.includes(id) ?? false));
  }

  function stream(current, text) {
    if (!text || text === current.drawn) return;
    if (text.startsWith(current.drawn) && current.drawn) current.text.append(text.slice(current.drawn.length));
    else current.text.replaceChildren(text);
    current.drawn = text;
  }

  function drawMetrics(rows) {
    root.dataset.measured = state.run;
    metrics.classList.remove('tw-stale');
    metrics.replaceChildren(h('table', { class: 'tw-table' },
      h('thead', {}, h('tr', {}, h('td', {}), sides.map(({ name, method }) => h('th', { scope: 'col' }, mark(method), ' ', name)))),
      h('tbody', {}, rows.map(([label, means, ...values]) =>
        h('tr', { title: means }, h('th', { scope: 'row' }, label, h('small', {}, means)), values.map((value) => h('td', {}, value)))))));
  }

  /** A request that was refused because of one field: the texts stay, dimmed, and the sentence stands by the field. */
  function refused(next) {
    root.dataset.phase = next.phase;
    root.dataset.run = next.run;
    stop.hidden = true;
    problem.textContent = '';
    tell('front-shown', next.run);
  }

  function update() {
    const next = props.value;
    if (!next || !store.asked || next.run !== store.asked.run) return;
    tell('front-wrong', next);
    root.classList.toggle('tw-by-field', Boolean(next.field));
    if (next.field) return refused(next);
    const first = state?.run !== next.run;
    state = next;
    const live = next.phase === 'running';
    const shown = !live || next.texts.some(Boolean);
    if (first) sides.forEach((each) => { each.drawn = ''; });
    if (next.sides.length && (first || sides.length !== next.sides.length)) lay(next.sides);
    next.texts.forEach((text, i) => stream(sides[i], text));
    root.dataset.phase = next.phase;
    root.dataset.run = next.run;
    stop.hidden = !live;
    problem.textContent = next.problem ?? '';
    status.textContent = next.note ?? '';
    toCompare.hidden = !store.compare || next.phase !== 'done' || next.sides.length < 2;
    save.hidden = next.phase === 'running' || next.phase === 'error';
    toCompare.title = `Sends the answers of ${next.sides.slice(-2).map(({ name }) => name).join(' and ')} to blind judging`;
    if (next.rows) drawMetrics(next.rows);
    if (shown) root.classList.remove('tw-old');
    if (shown && announced !== next.run) {
      announced = next.run;
      tell('front-shown', next.run);
    }
    for (const [i, each] of sides.entries()) {
      each.silent.textContent = next.phase === 'done' ? silence(next.texts[i]) : '';
      if (live) continue;
      if (!next.texts[i]) each.text.replaceChildren();
      each.text.style.minHeight = '';
    }
  }

  function asked() {
    if (!store.asked) return;
    prompt.textContent = store.asked.prompt;
    root.classList.add('tw-old');
    metrics.classList.add('tw-stale');
    sides.forEach((each) => { each.text.style.minHeight = `${each.text.offsetHeight}px`; });
    held();
  }

  heard('front-asked', asked);
  heard('front-held', held);
  heard('front-said', (text) => (status.textContent = text));
  watch('value', update);
  asked();
  update();
}
