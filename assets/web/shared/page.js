// What the Steer tab asked last, and whether texts can be sent to Compare: the other parts of the page read it.

export const page = { asked: null, compare: false };
