// What the parts of the Trade-offs tab share: the newest request { prompt, picks, selected, kept, … } and what the tab offers.
export const now = { asked: null, compare: false };
