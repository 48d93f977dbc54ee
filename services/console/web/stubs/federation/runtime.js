// Plugins are linked into the page; nothing is loaded from elsewhere while it runs.
export function createInstance() {
  throw new Error('remote plugins are not supported');
}
