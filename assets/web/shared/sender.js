// Requests that follow each other: faster than they are answered, or again and again.

/** Sends requests one after another, always the newest. A request waits while the one before has shown nothing yet, at most
 * `patience` milliseconds, and replaces one that waits. */
export function lastWins(send, patience = 350) {
  let waiting = null;
  let timer = null;
  function go(request) {
    timer = setTimeout(shown, patience);
    send(request);
  }
  function shown() {
    clearTimeout(timer);
    timer = null;
    if (!waiting) return;
    const request = waiting;
    waiting = null;
    go(request);
  }
  return { shown, push: (request) => (timer === null ? go(request) : (waiting = request)) };
}

const EVERY = 2000; // milliseconds

/** follow(running): asks again and again while something runs. */
export function follower(ask) {
  let timer = null;
  return (running) => {
    if (running) {
      timer ??= setInterval(ask, EVERY);
      return;
    }
    clearInterval(timer);
    timer = null;
  };
}
