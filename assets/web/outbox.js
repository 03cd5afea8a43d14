// Hands files that the server made to the browser: { name, content } with base64 content.
import { download } from './dom.js';

export default function mount({ props, watch }) {
  watch('value', () => {
    const { name, content } = props.value ?? {};
    if (name) download(name, Uint8Array.from(atob(content), (char) => char.charCodeAt(0)), 'application/octet-stream');
  });
}
