// What the parts of the Trade-offs tab share: the newest request { prompt, picks, selected, kept, … }, what the tab offers, and the points
// of the front, of which `point(id)` is one.
export const now = {
  asked: null, compare: false, points: /** @type {any[]} */ ([]),
  point: (id) => now.points.find((point) => point.id === id),
};
