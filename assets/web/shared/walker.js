// The points of a chart by keyboard: arrow keys walk from point to point and read each one, Enter picks it, Escape lets go.

const KEYS = { ArrowRight: ['x', 1], ArrowLeft: ['x', -1], ArrowUp: ['y', 1], ArrowDown: ['y', -1] };
const plain = (html) => html.replace(/<br>/g, ', ').replace(/<[^>]*>/g, '').replaceAll('&lt;', '<');

/** The next of points { x, y } from the one at `from`, by rising or falling values of an axis; the first one where none is `from`. */
export function next(points, from, axis, way) {
  const order = points.map((_, i) => i).sort((a, b) => points[a][axis] - points[b][axis] || a - b);
  if (from == null || from >= points.length) return order[way > 0 ? 0 : order.length - 1];
  return order[Math.min(order.length - 1, Math.max(0, order.indexOf(from) + way))];
}

/** walk(plotly) after every drawing: takes up the points of `plot` that have customdata. say(text) reads a point, pick({ trace, index,
 * customdata, shift }) hears Enter. */
export function walker(plot, say, pick) {
  let points = [];
  let at = null;
  let library = null;

  function show() {
    const { trace, index, text } = points[at];
    library.Fx.hover(plot, [{ curveNumber: trace, pointNumber: index }]);
    say(text);
  }

  plot.addEventListener('keydown', (event) => {
    if (!points.length) return;
    const move = KEYS[event.key];
    if (move) {
      at = next(points, at, ...move);
      show();
    } else if ((event.key === 'Enter' || event.key === ' ') && at != null) pick({ ...points[at], shift: event.shiftKey });
    else if (event.key === 'Escape') library.Fx.unhover(plot);
    else return;
    event.preventDefault();
  });
  plot.addEventListener('blur', () => library?.Fx.unhover(plot));

  return function walk(plotly) {
    library = plotly;
    const known = at == null ? null : points[at]?.customdata;
    points = plot._fullData.flatMap((trace, number) => (trace.customdata ?? []).map((id, index) => (
      { trace: number, index, customdata: id, x: trace.x[index], y: trace.y[index], text: plain(String(trace.text?.[index] ?? id)) })));
    const kept = points.findIndex(({ customdata }) => customdata === known);
    at = kept < 0 ? null : kept;
    plot.tabIndex = points.length ? 0 : -1;
    plot.setAttribute('role', points.length ? 'application' : 'img');
    if (points.length) plot.setAttribute('aria-roledescription', 'chart; arrow keys walk through its points');
  };
}
