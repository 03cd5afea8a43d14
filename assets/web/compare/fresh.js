// Asks for what is new while the results are looked at: `value.votes` is how many votes are drawn.
const EVERY = 15_000;

export default function mount({ element, props, trigger }) {
  setInterval(() => {
    const seen = element.parentElement.offsetParent !== null && !document.hidden;
    if (seen && props.value?.votes != null) trigger('fresh', { votes: props.value.votes });
  }, EVERY);
}
