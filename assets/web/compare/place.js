// The place of the Compare tab in the address: its part, the study, and the name of whoever judges.
import { addressOf, fieldsOf, leftOut, note, returned, tabRow } from '../shared/address.js';
import { h, heard } from '../shared/dom.js';

const VIEWS = { judge: 'Judge', results: 'Results', studies: 'Studies' };
/** The view of Studies in which the form of a new study is open. */
export const NEW = 'new';
const isView = (view) => view in VIEWS || view === NEW;
export const place = { view: 'judge', study: '', name: '' };

const FORM = '.tw-new > button';
const tabs = tabRow('.tw-compare', VIEWS);
const fields = () => ({ ...place, view: place.view === 'judge' ? '' : place.view });

/** Says in the address which study is looked at. */
export function look(study) {
  place.study = study;
  if (place.view === NEW) place.view = 'studies';
  note('compare', fields(), true);
}

/** The address of a study, for one person where a name is given. */
export const linkTo = (study, name = '') => addressOf('compare', { study, name }, new URL(location.pathname, location.href).href);

export default function mount({ element, props, trigger, watch }) {
  const root = element.firstElementChild;
  let asked = false;
  let left = ''; // what a link named that is not there
  let visit = 0; // a place that is as it was before is told, too

  function take(query, otherwise = 'judge') {
    place.view = isView(query.get('view')) ? query.get('view') : otherwise;
    place.study = query.get('study') ?? '';
    place.name = query.get('name') ?? '';
    left = query.has('view') && !isView(query.get('view')) ? leftOut(['view']) : '';
    asked = Boolean(place.study || place.name);
    if (asked) open();
    else show();
    says(left);
  }

  function show() {
    tabs.show(place.view === NEW ? 'studies' : place.view);
    if (place.view === NEW) unfold();
  }

  /** Opens the form, which is drawn when Studies is first shown, and for organizers alone. */
  function unfold() {
    const button = /** @type {HTMLElement | null} */ (document.querySelector(FORM));
    if (button) button.classList.contains('open') || button.click();
    else if (place.view === NEW) setTimeout(unfold, 100);
  }

  /** Judge shows its own sentence about a study that it cannot open. */
  const says = (sentence) => root.replaceChildren(...(sentence ? [h('p', { class: 'tw-problem', role: 'alert' }, sentence)] : []));

  function open() {
    says(left);
    root.toggleAttribute('data-known', false); // nobody signs in before the answer is there
    trigger('open', { study: place.study, name: place.name, visit: (visit += 1) });
  }

  heard('place-failed', () => root.replaceChildren(h('p', { class: 'tw-problem', role: 'alert' }, 'The server failed over what this link names. ',
    h('button', { type: 'button', class: 'tw-quiet', onclick: open }, 'Try again'))));

  document.addEventListener('click', (/** @type {MouseEvent & { target: Element }} */ { target, isTrusted }) => {
    const button = isTrusted && target.closest(FORM);
    if (!button) return;
    place.view = button.classList.contains('open') ? 'studies' : NEW;
    note('compare', fields(), true);
  }, true); // as it is before it heeds the click
  tabs.clicked((view) => {
    if (view === place.view) return;
    place.view = view;
    left = '';
    says(left);
    note('compare', fields(), true);
    greet();
  });
  /** Whoever comes to Judge without a name is told whether anything waits, or of the study that is looked at. */
  const greet = () => { if (place.view === 'judge' && !place.name && !asked) open(); };
  returned('compare', take);
  watch('value', () => {
    const { study, name, refused } = props.value;
    Object.assign(place, { study, name });
    says((place.view === 'results' && refused) || left);
    if (asked) show();
    asked = false;
    root.toggleAttribute('data-known', true);
    note('compare', fields());
  });
  new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) greet(); }).observe(root);
  take(fieldsOf('compare'), tabs.open() ?? undefined); // a part that was clicked before this file arrived stays open
}
