/** Every service has its colour, the same on every page and for everybody. */
const KNOWN = ['edge', 'users', 'albums', 'postgres', 'console', 'otel-collector', 'jaeger', 'loki'];

export function serviceColour(service: string): string {
  let index = KNOWN.indexOf(service);
  if (index < 0) {
    let hash = 0;
    for (const char of service) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
    index = hash % KNOWN.length;
  }
  return `var(--service-${index})`;
}
