// The layer control: held-out accuracy of every block as a curve, the chosen blocks shaded. Blocks are picked one by one on the
// curve (click, or arrow keys and space), or as a band by the two sliders under it.
import { h, svg } from '../shared/dom.js';
import { ranges } from '../shared/words.js';

const [WIDTH, HEIGHT, PAD] = [300, 96, 4];

/** The control in `node`; changed("auto" | [layers]) hears every choice. */
export function layerControl(node, count, changed) {
  let chosen = 'auto';
  let auto = [];
  let curves = null;
  let by = '';
  let active = 0;
  const step = WIDTH / count;
  const all = [...Array(count).keys()];
  /** @type {[string, () => any][]} */
  const presets = [
    ['Best', () => 'auto'], ['Early', () => band(0, 1 / 3)], ['Middle', () => band(1 / 3, 2 / 3)], ['Late', () => band(2 / 3, 1)], ['All', () => all],
  ];
  const buttons = presets.map(([name, layers]) => h('button', { type: 'button', class: 'tw-quiet', onclick: () => choose(layers()) }, name));
  const drawing = svg('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', tabindex: 0, role: 'listbox', 'aria-multiselectable': 'true', 'aria-label': 'Layers',
  });
  const caption = h('p', { class: 'tw-value' }, h('span'), h('output', { class: 'tw-number' }));
  const ends = ['First', 'Last'].map((name) => h('input', {
    type: 'range', class: 'tw-range tw-end', min: 0, max: count - 1, step: 1, 'aria-label': `${name} layer`, oninput: moved,
  }));
  node.append(
    h('div', { class: 'tw-presets' }, buttons), h('div', { class: 'tw-curve' }, drawing, h('div', { class: 'tw-ends' }, ends)), caption);

  const columns = all.map((layer) => {
    const column = svg('rect', { x: layer * step, y: 0, width: step, height: HEIGHT, role: 'option', id: `tw-layer-${layer}`, 'aria-label': `Layer ${layer}` });
    column.addEventListener('click', () => { active = layer; toggle(layer); });
    column.addEventListener('pointerenter', () => describe(layer));
    column.addEventListener('pointerleave', () => describe(null));
    return column;
  });
  const lines = svg('g', { 'pointer-events': 'none' });
  drawing.append(...columns, lines);
  drawing.addEventListener('keydown', (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move) {
      active = Math.min(count - 1, Math.max(0, active + move));
      if (event.shiftKey) {
        event.preventDefault();
        toggle(active);
        return;
      }
    } else if (event.key === ' ' || event.key === 'Enter') toggle(active);
    else return;
    event.preventDefault();
    draw();
    describe(active);
  });
  drawing.addEventListener('blur', () => { draw(); describe(null); });
  drawing.addEventListener('focus', () => { draw(); });

  const band = (from, to) => all.slice(Math.round(from * count), Math.round(to * count));
  const now = () => /** @type {number[]} */ (chosen === 'auto' ? auto : chosen);

  function choose(layers) {
    chosen = layers;
    draw();
    changed(chosen);
  }

  function toggle(layer) {
    const next = now().includes(layer) ? now().filter((other) => other !== layer) : [...now(), layer].sort((a, b) => a - b);
    if (next.length) choose(next);
  }

  function moved({ target }) {
    let [from, to] = ends.map((end) => Number(end.value));
    if (from > to) [from, to] = target === ends[0] ? [from, from] : [to, to];
    choose(all.slice(from, to + 1));
  }

  const y = (accuracy) => HEIGHT - PAD - ((accuracy - 0.4) / 0.6) * (HEIGHT - 2 * PAD);
  const path = (values) => values.map((value, layer) => `${layer ? 'L' : 'M'}${(layer + 0.5) * step} ${y(Math.max(0.4, value))}`).join('');

  function describe(layer) {
    const [left, right] = caption.children;
    if (layer === null || !curves) {
      left.textContent = chosen === 'auto' ? (auto.length ? `${ranges(auto)}, ${by}` : by) : `layers ${ranges(chosen)}`;
      right.textContent = now().length ? `${now().length} of ${count}` : '';
      return;
    }
    left.textContent = `layer ${layer}${now().includes(layer) ? ', steered' : ''}`;
    right.textContent = curves[0].accuracy.length ? `${Math.round(100 * curves[0].accuracy[layer])} % held-out` : '';
  }

  function draw() {
    const picked = new Set(now());
    const focused = document.activeElement === drawing;
    columns.forEach((column, layer) => {
      column.setAttribute('class', `tw-layer${picked.has(layer) ? ' tw-on' : ''}${focused && layer === active ? ' tw-active' : ''}`);
      column.setAttribute('aria-selected', String(picked.has(layer)));
    });
    drawing.setAttribute('aria-activedescendant', `tw-layer-${active}`);
    const controls = curves ? [['shuffled', curves[0].shuffled], ['random', curves[0].random]] : [];
    lines.replaceChildren(
      svg('line', { x1: 0, x2: WIDTH, y1: y(0.5), y2: y(0.5), class: 'tw-chance' }),
      ...controls.map(([name, values]) => svg('path', { d: path(values), class: `tw-control tw-${name}` })),
      ...(curves ?? []).map((curve, index) => svg('path', { d: path(curve.accuracy), class: `tw-accuracy tw-accuracy-${index}` })));
    buttons[0].setAttribute('aria-pressed', String(chosen === 'auto'));
    if (now().length) {
      ends[0].value = Math.min(...now());
      ends[1].value = Math.max(...now());
    }
    ends.forEach((end) => end.setAttribute('aria-valuetext', `layer ${end.value}`));
    describe(null);
  }

  draw();
  return {
    set(layers) { chosen = layers === 'auto' ? 'auto' : layers.filter((layer) => layer < count); draw(); },
    /** What the server says of the plan: its layers, the curves of its concepts, and how layers that nobody named were chosen. */
    show(layers, accuracies, choice) {
      if (chosen === 'auto') auto = layers;
      curves = accuracies;
      by = choice?.by ?? '';
      caption.title = choice?.chosen ?? '';
      draw();
    },
  };
}
