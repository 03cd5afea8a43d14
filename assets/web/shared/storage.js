// What this browser keeps for the page. In a frame of another site it may keep nothing, and then nothing breaks.

/** The kept text of a name; null where there is none, or nothing may be kept. */
export function recall(name) {
  try {
    return window.localStorage.getItem(`tw-${name}`);
  } catch {
    return null;
  }
}

/** Keeps a text where that is allowed. */
export function keep(name, text) {
  try {
    window.localStorage.setItem(`tw-${name}`, text);
  } catch {
    // a frame of another site: the choice holds until the page is left
  }
}
