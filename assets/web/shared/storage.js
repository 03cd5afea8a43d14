// What this browser keeps for the page, or one tab of it (TAB). In a frame of another site it may keep nothing, and then nothing breaks.

export const TAB = 'sessionStorage';

/** The kept text of a name; null where there is none, or nothing may be kept. */
export function recall(name, where = 'localStorage') {
  try {
    return window[where].getItem(`tw-${name}`);
  } catch {
    return null;
  }
}

/** Keeps a text where that is allowed. */
export function keep(name, text, where = 'localStorage') {
  try {
    window[where].setItem(`tw-${name}`, text);
  } catch {
    // a frame of another site: the choice holds until the page is left
  }
}
