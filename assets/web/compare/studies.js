// The list of studies and, of the one that is picked, its links and its people. A part whose value is what the list shows.
import { copy, filled, h, meter } from '../shared/dom.js';
import { NEW, linkTo, look, place } from './place.js';

const STATES = { open: 'Open', closed: 'Closed', archived: 'Archived' };
const percent = (value) => (value == null ? '' : `${Math.round(100 * value)}%`);
const number = (value, digits = 1) => (value == null ? '' : value.toLocaleString('en', { maximumFractionDigits: digits }));
const day = (value) => (value ? new Date(value).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' }) : 'not yet');

/** Gradio's accessible name of the drop area differs from the words on it. */
function unnamed() {
  for (const drop of document.querySelectorAll('.upload-container[aria-label]')) drop.removeAttribute('aria-label');
}

export default function mount({ element, props, trigger, watch }) {
  new MutationObserver(unnamed).observe(document.querySelector('.gradio-container'), { subtree: true, childList: true });
  let wanted = '';
  let restored = false;
  const root = element.querySelector('.tw-studies');
  const search = h('input', { type: 'search', class: 'tw-text', placeholder: 'Search studies', 'aria-label': 'Search studies', oninput: () => { wanted = search.value.trim().toLowerCase(); draw(); } });
  const body = h('div', {});
  root.append(body);

  function row(study, picked) {
    const open = () => { look(study.id); trigger('pick', { study: study.id }); };
    return h('tr', { class: study.id === picked ? 'tw-picked' : null },
      h('td', {}, h('button', { type: 'button', class: 'tw-study', 'aria-pressed': String(study.id === picked), onclick: open }, h('bdi', {}, study.name)),
        study.notice ? h('p', { class: 'tw-count' }, study.notice) : null),
      h('td', {}, STATES[study.state]),
      h('td', {}, `${study.done} of ${study.battles}`, filled(meter(`Battles of ${study.name} with all votes`), study.battles ? study.done / study.battles : 0)),
      h('td', {}, `${study.votes} of ${study.wanted}`),
      h('td', {}, String(study.people)),
      h('td', {}, study.created_at));
  }

  function list({ studies, picked }) {
    const listed = studies.filter(({ name }) => name.toLowerCase().includes(wanted));
    if (!studies.length) return h('p', { class: 'tw-lead' }, 'No study yet: make one below from a file of outputs or from the app’s policies, or add the example.');
    if (!listed.length) return h('p', { class: 'tw-lead' }, `No study has “${search.value}” in its name.`);
    return h('div', { class: 'tw-scroll', tabindex: 0 }, h('table', { class: 'tw-table' },
      h('thead', {}, h('tr', {}, ['Study', 'State', 'Battles done', 'Votes', 'People', 'Made'].map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, listed.map((study) => row(study, picked)))));
  }

  function linked(label, address) {
    const button = h('button', { type: 'button', class: 'tw-quiet', onclick: () => copy(button, address) }, label);
    return button;
  }

  /** Who judges a study. One under a notice, such as the example, is nobody's work: it has neither a pace nor reminders. */
  function people({ picked, people: json, login, studies }) {
    const listed = JSON.parse(json || '[]');
    const { state, notice } = studies.find(({ id }) => id === picked);
    const open = state === 'open';
    const led = !notice;
    const fixed = new Set(['annotator', 'votes', 'median_seconds', 'repeats', 'traps', 'traps_passed', 'pace', 'last', 'corrected']);
    const questions = [...new Set(listed.flatMap((person) => Object.keys(person)))].filter((name) => !fixed.has(name));
    const columns = [
      { title: 'Votes', of: (person) => person.votes },
      ...(led ? [
        { title: 'Seconds a vote', of: (person) => number(person.median_seconds) },
        { title: 'Votes an hour', of: (person) => number(person.pace, 0) },
      ] : []),
      ...questions.map((name) => ({ title: `Same again: ${name}`, of: (person) => percent(person[name]) })),
      { title: 'Traps passed', of: (person) => (person.traps ? `${percent(person.traps_passed)} of ${person.traps}` : '') },
      { title: 'Corrected', of: (person) => person.corrected },
      { title: 'Last vote', of: (person) => day(person.last) },
      ...(led && open ? [{ title: 'Own link', of: (person) => linked('Copy link', linkTo(picked, login ? '' : person.annotator)) }] : []),
    ];
    const says = !open ? `Nobody can judge it while it is ${state}, so its links are not shown.`
      : login ? 'Whoever follows the link signs in, and comes back to where they stopped.'
        : `The link asks for a name.${led ? ' A person’s own link, a reminder, brings them back to where they stopped.' : ''}`;
    return h('section', { class: 'tw-people' },
      h('div', { class: 'tw-heading' }, h('h3', {}, 'People'), open && linked('Copy link to judge', linkTo(picked))),
      h('p', { class: 'tw-count' }, says),
      listed.length ? h('div', { class: 'tw-scroll', tabindex: 0 }, h('table', { class: 'tw-table' },
        h('thead', {}, h('tr', {}, ['Person', ...columns.map(({ title }) => title)].map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, listed.map((person) => h('tr', {},
          h('td', {}, h('bdi', {}, person.annotator)), columns.map(({ of }) => h('td', {}, of(person) ?? ''))))))) : open && h('p', { class: 'tw-lead' }, 'Nobody has judged it yet: send them the link.'));
  }

  function draw() {
    const value = props.value ?? {};
    if (value.refused) body.replaceChildren(h('p', { class: 'tw-lead' }, 'Studies are for the organizers of this arena: sign in as one.'));
    else if (value.studies) {
      const linked = !restored && !value.picked && place.view === 'studies' && value.studies.some(({ id }) => id === place.study);
      const lost = !restored && place.view === 'studies' && place.study && !linked;
      restored = true;
      if (linked) trigger('pick', { study: place.study });
      else if (value.picked && value.picked !== place.study && ['studies', NEW].includes(place.view)) look(value.picked);
      if (!search.isConnected) root.prepend(search);
      search.hidden = value.studies.length < 2;
      body.replaceChildren(lost ? h('p', { class: 'tw-problem', role: 'alert' }, 'There is no study at this address: choose one of these.') : '', list(value), value.picked ? people(value) : h('span', {}));
    }
  }

  watch('value', draw);
  draw();
}
