// What the page asks for: prompt, plan, seed, length, temperature. The address bar holds it, so that a link restores it.

/** What was asked last; the parts of the page share it. */
export const page = { asked: null, compare: false };

const FIELDS = ['seed', 'max_new_tokens', 'temperature'];

/** The request in the page's address, over the page's own; null where the address says nothing. */
export function fromAddress(own, search = location.search) {
  const query = new URLSearchParams(search);
  if (!query.has('plan')) return null;
  const request = structuredClone(own);
  try {
    const plan = JSON.parse(query.get('plan'));
    if (!Array.isArray(plan.targets) || !plan.targets.length) throw new Error('no targets');
    request.plan = { ...own.plan, ...plan };
  } catch {
    return { ...request, problem: 'The link holds no readable plan; ask for it again, or start from this one.' };
  }
  request.prompt = query.get('prompt') ?? own.prompt;
  for (const field of FIELDS) {
    const value = Number(query.get(field) ?? own[field]);
    if (Number.isFinite(value)) request[field] = value;
  }
  return request;
}

/** The address that restores a request. */
export function toAddress(request, base = location.href) {
  const url = new URL(base);
  url.searchParams.set('prompt', request.prompt);
  url.searchParams.set('plan', JSON.stringify(request.plan));
  for (const field of FIELDS) url.searchParams.set(field, request[field]);
  return url.href;
}

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
