// One mark and one colour a method (Okabe-Ito), the same in the plot, in its legend and over the texts.
import { svg } from '../shared/dom.js';

const corners = (n, from, r = 7) => Array.from({ length: n }, (_, i) => {
  const angle = from + (2 * Math.PI * i) / n;
  return `${(8 + r * Math.cos(angle)).toFixed(2)} ${(8 + r * Math.sin(angle)).toFixed(2)}`;
});
const polygon = (n, from, r) => `M${corners(n, from, r).join('L')}Z`;
const UP = -Math.PI / 2;
const CROSS = 'M6 1.5H10V6H14.5V10H10V14.5H6V10H1.5V6H6Z';
const star = (points, dent) => {
  const [outer, inner] = [corners(points, UP, 8), corners(points, UP + Math.PI / points, dent)];
  return `M${outer.flatMap((point, i) => [point, inner[i]]).join('L')}Z`;
};

const SYMBOLS = {
  circle: polygon(40, 0, 6),
  square: 'M2.5 2.5H13.5V13.5H2.5Z',
  'triangle-up': polygon(3, UP, 8),
  'triangle-down': polygon(3, -UP, 8),
  diamond: polygon(4, UP, 7.5),
  pentagon: polygon(5, UP),
  hexagon: polygon(6, UP),
  star: star(5, 3.4),
  hexagram: star(6, 4.6),
  bowtie: 'M1.5 2.5L8 8L1.5 13.5ZM14.5 2.5L8 8L14.5 13.5Z',
  cross: CROSS,
  x: CROSS,
};
const TURNS = { x: 45 };

/** The marks of policies that are not trained. Those of trained ones come from pareto/combiners.py with the front. */
const marks = {
  base: { symbol: 'x', color: 'var(--tw-unsteered)' },
  single: { symbol: 'triangle-down', color: 'var(--tw-ink)' },
  soup: { symbol: 'cross', color: 'var(--tw-soup)' },
  curve: { symbol: 'hexagon', color: 'var(--tw-curve)' },
  scaled: { symbol: 'hexagram', color: 'var(--tw-curve)' },
  steered: { symbol: 'star', color: 'var(--tw-accent)' },
  own: { symbol: 'bowtie', color: 'var(--tw-low)' },
  other: { symbol: 'hexagon', color: 'var(--tw-line)' },
};

/** Takes up the methods of the registry: { key: { symbol, color, dark, edge } }. Their colours become CSS variables. */
export function learn(told) {
  const rules = { ':root': [], '.dark': [] };
  for (const [key, { symbol, color, dark, edge }] of Object.entries(told)) {
    marks[key] = { symbol, color: `var(--tw-${key})`, edge: edge && `var(--tw-${key}-edge)`, line: `var(--tw-${key}-line)` };
    rules[':root'].push(`--tw-${key}: ${color}; --tw-${key}-line: ${edge || color};`, edge ? `--tw-${key}-edge: ${edge};` : '');
    rules['.dark'].push(`--tw-${key}: ${dark || color}; --tw-${key}-line: ${dark || color};`, edge ? `--tw-${key}-edge: #17181a;` : '');
  }
  const sheet = document.createElement('style');
  sheet.textContent = Object.entries(rules).map(([where, lines]) => `${where} { ${lines.join(' ')} }`).join('\n');
  document.head.append(sheet);
}

/** { symbol, color, edge, line } of a method; line: the colour of a hollow mark. */
export const markOf = (method) => marks[method] ?? marks.other;

/** All methods, in the order in which they are drawn. */
export const methods = () => Object.keys(marks);

/** The line round a method's mark: a pale colour gets a dark one. */
export const edge = (method) => markOf(method).edge || 'var(--tw-paper)';

/** A method's mark as a small picture, filled or hollow. */
export function mark(method, hollow = false) {
  const { symbol, color, edge: around, line = color } = markOf(method);
  const shape = svg('path', { d: SYMBOLS[symbol], transform: `rotate(${TURNS[symbol] ?? 0} 8 8)` });
  shape.style.fill = hollow ? 'none' : color;
  shape.style.stroke = hollow ? line : around || 'none';
  shape.style.strokeWidth = hollow ? '1.75' : '1';
  return svg('svg', { viewBox: '-1 -1 18 18', class: 'tw-method', 'aria-hidden': 'true' }, shape);
}
