// One mark and one colour a method (Okabe-Ito), the same in the plot, in its legend and over the texts.
import { svg } from '../shared/dom.js';

const corners = (n, from, r = 7) => Array.from({ length: n }, (_, i) => {
  const angle = from + (2 * Math.PI * i) / n;
  return `${(8 + r * Math.cos(angle)).toFixed(2)} ${(8 + r * Math.sin(angle)).toFixed(2)}`;
});
const polygon = (n, from, r) => `M${corners(n, from, r).join('L')}Z`;
const UP = -Math.PI / 2;
const CROSS = 'M6 1.5H10V6H14.5V10H10V14.5H6V10H1.5V6H6Z';
const star = () => {
  const [outer, inner] = [corners(5, UP, 8), corners(5, UP + Math.PI / 5, 3.4)];
  return `M${outer.flatMap((point, i) => [point, inner[i]]).join('L')}Z`;
};

export const MARKS = {
  base: { symbol: 'x', color: 'var(--tw-unsteered)', path: CROSS, turn: 45 },
  pgapo: { symbol: 'circle', color: 'var(--tw-pgapo)', path: polygon(40, 0, 6) },
  gapo: { symbol: 'square', color: 'var(--tw-gapo)', path: 'M2.5 2.5H13.5V13.5H2.5Z' },
  mgda: { symbol: 'triangle-up', color: 'var(--tw-mgda)', path: polygon(3, UP, 8) },
  linear: { symbol: 'diamond', color: 'var(--tw-linear)', path: polygon(4, UP, 7.5) },
  normalized: { symbol: 'pentagon', color: 'var(--tw-normalized)', path: polygon(5, UP) },
  single: { symbol: 'triangle-down', color: 'var(--tw-ink)', path: polygon(3, -UP, 8) },
  soup: { symbol: 'cross', color: 'var(--tw-soup)', path: CROSS },
  steered: { symbol: 'star', color: 'var(--tw-accent)', path: star() },
  other: { symbol: 'hexagon', color: 'var(--tw-line)', path: polygon(6, UP) },
};
const EDGE = { mgda: 'var(--tw-mgda-edge)' };

/** The line round a method's mark: a pale colour gets a dark one. */
export const edge = (method) => EDGE[method] ?? 'var(--tw-paper)';

/** A method's mark as a small picture. */
export function mark(method) {
  const { color, path, turn = 0 } = MARKS[method];
  const shape = svg('path', { d: path, transform: `rotate(${turn} 8 8)` });
  shape.style.fill = color;
  shape.style.stroke = EDGE[method] ?? 'none';
  return svg('svg', { viewBox: '-1 -1 18 18', class: 'tw-method', 'aria-hidden': 'true' }, shape);
}
