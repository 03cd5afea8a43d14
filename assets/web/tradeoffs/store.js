// What the parts of the Trade-offs tab share: the newest request { prompt, picks, selected, kept, … }, what the tab offers, and the points
// of the front, of which `point(id)` is one. heads: of the answers that are shown; title(id): what a policy is called, where that is known.
export const store = {
  asked: null, compare: false, points: /** @type {any[]} */ ([]), heads: /** @type {any[]} */ ([]),
  point: (id) => store.points.find((point) => point.id === id),
  title: (id) => (store.point(id) ?? store.heads.find((head) => head.id === id))?.name,
};
