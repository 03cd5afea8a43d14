// What the server sends once: a file { name, content } with base64 content, or a sentence { say }, told `as` an event.
import { download, tell } from './dom.js';

export default function mount({ props, watch }) {
  watch('value', () => {
    const { name, content, say, as = 'said' } = props.value ?? {};
    if (say) tell(as, say);
    if (name) download(name, Uint8Array.from(atob(content), (char) => char.charCodeAt(0)), 'application/octet-stream');
  });
}
