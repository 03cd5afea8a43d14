// What the Steer tab asked last, whether texts can be sent to Compare, and which concepts there are: the other parts of the page read it.

export const page = { asked: null, compare: false, shipped: /** @type {string[]} */ ([]), concepts: () => /** @type {string[]} */ ([]) };
