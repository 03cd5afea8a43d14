// Requests that follow each other faster than they are answered.

/** Sends requests one after another, always the newest: one that comes while another has shown nothing yet waits for it, at most
 * `patience` milliseconds, and replaces any that waits already. */
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
